"""Commands of ports, VLANs and the bridge they are of; the keys of a port, with their help."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bridge.cli.command import Command, Key, query, settings
from bridge.cli.grammar import NUMBER, SWITCH, TEXT, VIDS, Grammar, Reader, UsageError, match, word_list
from bridge.control.protocol import Message

# -- keys


def _tpid(value: str) -> int | str:
    return int(value, 16) if value.lower().startswith("0x") else value


FLOOD_CLASSES = ("unknown", "multicast", "broadcast")


def _flood(value: str) -> list[str]:
    named: dict[str, list[str]] = {"all": list(FLOOD_CLASSES), "none": []}
    if value in named:
        return named[value]
    return [match(word, FLOOD_CLASSES, "flood class") for word in value.split(",")]


def _storm_control(value: str) -> dict[str, str] | None:
    """Read `broadcast=1000frames/s,unknown=5%`; `none` for no limits."""
    if value == "none":
        return None
    pairs = [item.partition("=") for item in value.split(",")]
    if not all(name and limit for name, _, limit in pairs):
        raise ValueError
    return {match(name, FLOOD_CLASSES, "flood class"): limit for name, _, limit in pairs}


_KEYS = (
    Key("kind", "tap|link|memory", "what the port is", TEXT),
    Key("device", "DEVICE", "tap to make or attach to, or network device to bind to", TEXT),
    Key("netns", "NAME", "network namespace that holds the device", TEXT),
    Key("access", "VID", "untagged, in one VLAN", NUMBER),
    Key("trunk", "LIST", "tagged: VLAN IDs and ranges like 10,20,100-119", VIDS),
    Key("native", "VID", "with trunk: the VLAN of untagged frames", NUMBER),
    Key("native_tagged", "on|off", "with native: its frames leave tagged", SWITCH),
    Key(
        "map",
        "LIST|none",
        "with trunk: VLANs with other tags on the wire, WIRE:VLAN like 100:10,200.30:20",
        Reader("none or a list like 100:10,200.30:20", word_list),
    ),
    Key(
        "mirror",
        "on",
        "in no VLAN: takes the copies of mirrors, and nothing it receives enters the bridge",
        SWITCH,
    ),
    Key("tunnel", "VID", "untagged, inner tags are payload (dot1q-tunnel)", NUMBER),
    Key("tpid", "802.1Q|802.1ad", "the tag protocol", Reader("802.1Q or 802.1ad", _tpid)),
    Key("mtu", "BYTES", "layer-3 bytes", NUMBER),
    Key(
        "flood",
        "LIST|all|none",
        "what is flooded to it: unknown, multicast, broadcast",
        Reader("all, none or a list like unknown,multicast,broadcast", _flood),
    ),
    Key("mac_limit", "N", "most FDB entries, 0 for no limit", NUMBER),
    Key("learning", "on|off", "learn source addresses", SWITCH),
    Key("locked", "on|off", "only sources that are allowed or known on the port may send", SWITCH),
    Key(
        "allow",
        "LIST|none",
        "with locked: sources that may, like 02:00:00:00:00:01,00:00:5e:00:01:00/40",
        Reader("none or a list like 02:00:00:00:00:01,00:00:5e:00:01:00/40", word_list),
    ),
    Key(
        "source_guard",
        "LIST|none",
        "IP addresses that may be spoken from, like 10.0.0.5,2001:db8::/64,'MAC ADDRESS'",
        Reader("none or a list like 10.0.0.5,2001:db8::/64,'MAC ADDRESS'", word_list),
    ),
    Key(
        "priority_tags",
        "never|if_nonzero|always",
        "frames that would leave untagged get a tag with VID 0",
        TEXT,
    ),
    Key("default_pcp", "0-7", "PCP of frames that come untagged", NUMBER),
    Key("isolated", "on|off", "no traffic between isolated ports", SWITCH),
    Key("horizon", "N", "no traffic between ports of split-horizon group N, 0 for none", NUMBER),
    Key("hairpin", "on|off", "frames may leave by the port they came by", SWITCH),
    Key("direction", "both|ingress|egress", "ingress: it only receives; egress: it only sends", TEXT),
    Key("enabled", "on|off", "administrative state", SWITCH),
    Key(
        "offload", "on|off", "the kernel may forward its known unicast, if the bridge has offload on", SWITCH
    ),
    Key(
        "kernel_filter",
        "on|off",
        "with link: frames of VLANs not carried end in the kernel, uncounted",
        SWITCH,
    ),
    Key(
        "storm_control",
        "LIMITS",
        "none, or limits by class: broadcast=1000frames/s,multicast=10Mbit/s,unknown=5%",
        Reader("none or limits like broadcast=1000frames/s,unknown=5%", _storm_control),
    ),
)
PORT_KEYS = settings(_KEYS)
# Keys of the `vlan` table.
MEMBERSHIP = ("access", "trunk", "tunnel", "mirror", "native", "native_tagged", "map", "tpid")
PORT_ARGUMENTS = "".join(map(str, _KEYS)) + "The value 'default' puts a key back to its default.\n"


def port_table(values: Mapping[str, Any]) -> dict[str, Any]:
    """Shape values read with PORT_KEYS like a [[port]] table of the file."""
    table = {key: value for key, value in values.items() if key not in MEMBERSHIP}
    vlan = {key: value for key, value in values.items() if key in MEMBERSHIP}
    return {**table, "vlan": vlan} if vlan else table


# -- commands


def port_to_add(values: Message) -> Message:
    """Shape the words of `port add` for PortAdd."""
    return {"port": port_table({key: value for key, value in values.items() if value is not None})}


def port_to_set(values: Message) -> Message:
    """Shape the words of `port set` for PortSet."""
    name = values.pop("name")
    if not values:
        raise UsageError("nothing to set")
    return {"port": name, "changes": port_table(values)}


COMMANDS = (
    Command(
        "bridge show",
        "",
        "settings of the bridge as a whole",
        query("BridgeShow", "blocks"),
        """\
They are the [bridge] table of the file; a reload changes all but name, fdb_size, address and control_socket.
""",
    ),
    Command(
        "port show",
        "[PORT]",
        "ports: configuration, state, totals",
        query("PortShow", "port", Grammar(option="port")),
    ),
    Command(
        "port add",
        "PORT kind KIND [KEY VALUE]...",
        "add a port",
        query("PortAdd", "lines", Grammar(("name",), keys=PORT_KEYS, required=("kind",)), port_to_add),
        f"""\
{PORT_ARGUMENTS}
The port is gone after a restart or reload unless the file has it too.

examples:
  framebridge port add guests kind tap device tap0 access 10
  framebridge port add uplink kind link device eth1 trunk 10,20,100-119 native 1
""",
    ),
    Command(
        "port set",
        "PORT KEY VALUE...",
        "change a port in place",
        query("PortSet", "lines", Grammar(("name",), keys=PORT_KEYS), port_to_set),
        f"""\
{PORT_ARGUMENTS}
examples:
  framebridge port set guests mtu 9000 isolated on
  framebridge port set uplink native default
""",
    ),
    Command("port del", "PORT", "remove a port", query("PortDel", "lines", Grammar(("port",)))),
    Command(
        "port unblock",
        "PORT",
        "let a blocked port forward again",
        query("PortUnblock", "lines", Grammar(("port",))),
        """\
A port is blocked when a loop is found behind it, or an address moves too often ([loop_detection], [move_guard]). It
comes back by itself after the recovery time; 'port show' tells which is, and why.
""",
    ),
    Command(
        "port storm",
        "[PORT]",
        "what storm control limits, and what became of it",
        query(
            "PortStorm", "storm", Grammar(option="port"), empty="no limits; see 'port set PORT storm_control'"
        ),
    ),
    Command(
        "port audit",
        "[PORT]",
        "what about the devices of ports loses frames or costs cycles, and what to do",
        query("PortAudit", "lines", Grammar(option="port"), empty="nothing found that would hurt"),
        """\
error: frames are lost, doubled or sent in circles. warning: some are lost, or may be. notice: all arrive, at the
price of cycles. The daemon looks whenever a port or its device changes, and logs what is new.
""",
    ),
    Command(
        "port guard",
        "[PORT]",
        "who may send on locked and guarded ports, from which addresses, and how often others tried",
        query("PortGuard", "table", Grammar(option="port"), empty="no port is locked or guarded"),
        """\
A station that a locked port kept out shows in `monitor` as fdb-locked; let it in for as long as it keeps talking:
  framebridge fdb add 02:00:00:00:00:01 vlan 10 dynamic
or for good:
  framebridge port set guests locked on allow 02:00:00:00:00:01
""",
    ),
    Command("vlan show", "", "VLANs and the ports that carry them", query("VlanShow", "vlan")),
)
