"""Commands of ports, VLANs and the bridge they are of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from bridge.cli.command import Command, explain, query, settings
from bridge.cli.grammar import NUMBER, TEXT, Grammar, Reader, UsageError, match
from bridge.config import words
from bridge.control.protocol import Message

# -- keys


def _flood(value: str) -> list[str]:
    from bridge.config.port import FLOOD_CLASSES

    named: dict[str, list[str]] = {"all": list(FLOOD_CLASSES), "none": []}
    if value in named:
        return named[value]
    return [match(word, FLOOD_CLASSES, "flood class") for word in value.split(",")]


def _storm_control(value: str) -> dict[str, str] | None:
    """Read `broadcast=1000frames/s,unknown=5%`; `none` for no limits."""
    from bridge.config.port import FLOOD_CLASSES

    if value == "none":
        return None
    pairs = [item.partition("=") for item in value.split(",")]
    if not all(name and limit for name, _, limit in pairs):
        raise ValueError
    return {match(name, FLOOD_CLASSES, "flood class"): limit for name, _, limit in pairs}


# Words that may be shortened within their value.
_SPECIAL = {
    "native": Reader("a number, or none", lambda value: None if value == "none" else words.number(value)),
    "flood": Reader("all, none or a list like unknown,multicast,broadcast", _flood),
    "storm_control": Reader("none or limits like broadcast=1000frames/s,unknown=5%", _storm_control),
}


def port_keys() -> dict[str, Reader]:
    """Give the words of a port and how their values are read."""
    from bridge.config.port import WORDS

    return settings(WORDS, **_SPECIAL)


def _with_keys(text: str) -> Callable[[], str]:
    """Make a help text that begins with the keys of a port."""

    def notes() -> str:
        from bridge.config.port import WORDS

        return f"{explain(WORDS)}The value 'default' puts a key back to its default.\n\n{text}"

    return notes


def port_table(values: Mapping[str, Any]) -> dict[str, Any]:
    """Shape values read with `port_keys` like a [[port]] table of the file."""
    from bridge.config.port import MEMBERSHIP

    inner = {key.name for key in MEMBERSHIP}
    vlan = {name: value for name, value in values.items() if name in inner}
    table = {name: value for name, value in values.items() if name not in inner}
    return {**table, "vlan": vlan} if vlan else table


# -- commands


def _bridge_notes() -> str:
    from bridge.config.bridge import KEYS

    *first, last = [key.name for key in KEYS if key.needs_restart]
    return (
        f"They are the [bridge] table of the file; a reload changes all but {', '.join(first)} and {last}.\n"
    )


def port_to_add(values: Message) -> Message:
    """Shape the words of `port add` for PortAdd."""
    return {"port": port_table({key: value for key, value in values.items() if value is not None})}


def port_to_set(values: Message) -> Message:
    """Shape the words of `port set` for PortSet."""
    name = values.pop("name")
    if not values:
        raise UsageError("nothing to set")
    return {"port": name, "changes": port_table(values)}


def vlan_to_show(values: Message) -> Message:
    """Shape the words of `vlan show` for VlanShow."""
    return {key: NUMBER(key, value) for key, value in values.items()}


def vlan_to_change(values: Message) -> Message:
    """Shape the words of `vlan add` and `vlan del` for VlanAdd and VlanDel."""
    native = {"native": True} if "native" in values else {}
    return {"port": values["port"], "vlans": values["vid"], **native}


VLAN_OF_PORT = Grammar(keys={"port": TEXT, "vid": TEXT}, required=("port", "vid"))
NEW_VLAN_OF_PORT = replace(VLAN_OF_PORT, flags={"native": "native"})

COMMANDS = (
    Command(
        "bridge show",
        "",
        "settings of the bridge as a whole",
        query("BridgeShow", "blocks"),
        _bridge_notes,
    ),
    Command(
        "facts",
        "",
        "what the daemon runs on, as whom, and which capabilities it holds",
        query("Facts", "blocks"),
        """\
The data thread holds none. What the daemon gave up when it started is gone for good: see `framebridge run -h`.
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
        query(
            "PortAdd", "lines", lambda: Grammar(("name",), keys=port_keys(), required=("kind",)), port_to_add
        ),
        _with_keys("""\
The port is gone after a restart or reload unless the file has it too.

examples:
  framebridge port add guests kind tap device tap0 access 10
  framebridge port add uplink kind link device eth1 trunk 10,20,100-119 native 1
"""),
    ),
    Command(
        "port set",
        "PORT KEY VALUE...",
        "change a port in place",
        query("PortSet", "lines", lambda: Grammar(("name",), keys=port_keys()), port_to_set),
        _with_keys("""\
examples:
  framebridge port set guests mtu 9000 isolated on
  framebridge port set uplink native none
"""),
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
    Command(
        "vlan show",
        "[VID]",
        "VLANs and the ports that carry them",
        query("VlanShow", "vlan", Grammar(option="vlan"), vlan_to_show, empty="no port carries it"),
    ),
    Command(
        "vlan add",
        "port PORT vid LIST [native]",
        "have a trunk carry more VLANs",
        query("VlanAdd", "lines", NEW_VLAN_OF_PORT, vlan_to_change),
        """\
With `native`, the one VLAN of the list is that of untagged frames, too.

examples:
  framebridge vlan add port uplink vid 30,40-49
  framebridge vlan add port uplink vid 1 native
""",
    ),
    Command(
        "vlan del",
        "port PORT vid LIST",
        "have a trunk carry some VLANs no more",
        query("VlanDel", "lines", VLAN_OF_PORT, vlan_to_change),
        """\
Its FDB entries in them are forgotten; a native VLAN, or tags on the wire, that it had for them are gone, too.

example:
  framebridge vlan del port uplink vid 100-119
""",
    ),
)
