"""One `[[port]]` of the configuration: its value, and how its table is read and written.

Pure. Reading a table checks types, ranges, spelling and what its keys mean together; what takes other ports to know is
for `config` to say. A flawed key leaves its field blank.

Refuses, with ConfigError and nothing else, whatever the data plane could not honour.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from bridge.config import checks, security, words
from bridge.config.key import REQUIRED, Key, ValueType, key, keys, row_of, write_keys
from bridge.config.kinds import KINDS, PortKind
from bridge.config.multicast import MDB_MAX
from bridge.config.section import Section, Unique
from bridge.config.security import OPEN, Security, check_totals, read_security, security_table
from bridge.config.storm_control import NO_LIMITS, StormControl, read_storm_control, storm_control_table
from bridge.config.table import BadValueError, Table, read_alone, show
from bridge.config.text import listing, plain
from bridge.config.translation import Translation, carried_outside, flaws, translation
from bridge.config.vids import format_vids, written_runs
from bridge.declared import PORTS_MAX
from bridge.errors import ConfigError, Problem
from bridge.mac import format_mac

MODES = ("access", "trunk", "tunnel", "mirror")
FLOOD_CLASSES = ("unknown", "multicast", "broadcast")
PRIORITY_TAGS = ("never", "if_nonzero", "always")
DIRECTIONS = ("both", "ingress", "egress")
HORIZON_MAX = 65535
NAME_MAX = 15  # bytes of a device name; an alternative name, which a link may be given by, has up to 127
ROUTERS = ("auto", "always", "never")
GROUP_LIMIT = 256


@dataclass(frozen=True)
class PortConfig:
    """One `[[port]]`. The native VLAN of a trunk is a member whether or not `vids` lists it."""

    name: str = key(REQUIRED, checks.name, row=None)
    kind: str = key(REQUIRED, checks.choice(*KINDS), "what the port is")
    device: str = key(  # "" for memory
        "",
        checks.text("a device name", 127, " /:%"),
        "tap to make or attach to, the guest's end of a veth, or network device to bind to",
        syntax="DEVICE",
    )
    netns: str | None = key(  # None: the daemon's own
        None,
        checks.network_namespace,
        "network namespace of the device: its name, or a path like /proc/PID/ns/net",
    )
    mode: str = "access"  # access | trunk | tunnel | mirror: of no VLAN, takes copies
    pvid: int = 0  # VLAN of an access or tunnel port, native VLAN of a trunk; 0: none
    vids: tuple[int, ...] = ()  # trunk: as listed
    tpid: int = 0x8100
    native_tagged: bool = False  # trunk: frames of the native VLAN leave tagged
    translations: tuple[Translation, ...] = ()  # trunk: by VLAN
    mtu: int | None = key(  # None: the device's own, 1500 for memory
        None, checks.integer(68, 65521), "layer-3 bytes", syntax="BYTES", row=None
    )
    mac: int = key(  # 0: derived
        0,
        checks.station,
        "with tap or veth: the address of the guest's interface",
        row=lambda mac: format_mac(mac) if mac else None,
    )
    persist: bool = key(
        False,
        checks.boolean,
        "with tap or veth: what was made stays when the port or the bridge ends",
        row=None,
    )
    learning: bool = key(True, checks.boolean, "learn source addresses")
    priority_tags: str = key(
        "never", checks.choice(*PRIORITY_TAGS), "frames that would leave untagged get a tag with VID 0"
    )
    default_pcp: int = key(
        0, checks.integer(0, 7, "a priority"), "PCP of frames that come untagged", syntax="0-7"
    )
    isolated: bool = key(False, checks.boolean, "no traffic between isolated ports")
    horizon: int = key(
        0,
        checks.integer(0, HORIZON_MAX, "a split-horizon group (0: none)"),
        "no traffic between ports of split-horizon group N, 0 for none",
        row=lambda group: group or None,
    )
    hairpin: bool = key(False, checks.boolean, "frames may leave by the port they came by")
    direction: str = key(
        "both", checks.choice(*DIRECTIONS), "ingress: it only receives; egress: it only sends"
    )
    mac_limit: int = key(0, checks.mac_limit, "most FDB entries, 0 for no limit")
    admin_up: bool = key(True, checks.boolean, "administrative state", name="enabled")
    kernel_filter: bool = key(
        True, checks.boolean, "with link: frames of VLANs not carried end in the kernel, uncounted", row=None
    )
    offload: bool = key(
        True,
        checks.boolean,
        "the kernel may forward its known unicast, if the bridge has offload on",
        row=None,
    )
    multicast_router: str = key(
        "auto", checks.choice(*ROUTERS), "a multicast router is there: found out, always, never"
    )
    fast_leave: bool = key(False, checks.boolean, "a leave ends a membership at once: one host is there")
    group_limit: int | None = key(  # None: GROUP_LIMIT, of a trunk all that there may be
        None, checks.integer(1, MDB_MAX), "most groups; with more it gets every group"
    )
    flood_unknown: bool = True
    flood_multicast: bool = True
    flood_broadcast: bool = True
    security: Security = OPEN  # who may send
    storm_control: StormControl = NO_LIMITS

    @property
    def can(self) -> PortKind:
        """What ports of this kind are and can do."""
        return KINDS[self.kind]

    @cached_property
    def members(self) -> frozenset[int]:
        """Every VLAN the port carries, the native one included."""
        return frozenset(self.vids) | ({self.pvid} - {0})

    @property
    def most_groups(self) -> int:
        """Groups it may be a member of."""
        return self.group_limit or (MDB_MAX if self.mode == "trunk" else GROUP_LIMIT)

    @property
    def flood(self) -> str:
        """What is flooded out of the port: `unknown,multicast`."""
        return ",".join(word for word in FLOOD_CLASSES if getattr(self, f"flood_{word}"))

    @property
    def untagged(self) -> int:
        """VLAN whose frames leave without its VID; 0: none."""
        return 0 if self.native_tagged else self.pvid

    @property
    def outside(self) -> frozenset[int]:
        """VID of the tag, the outer one if there are two, that each VLAN has on the wire when it is tagged."""
        return carried_outside(self.members, self.translations)

    @property
    def place(self) -> tuple[str, str | None]:
        """The device that the port is attached to, and its namespace: of a pair our end."""
        return (pair_end(self.name), None) if self.can.is_pair else (self.device, self.netns)

    @property
    def attachment(self) -> tuple[str, str, str | None]:
        """What the port is attached to; another attachment is another port."""
        return self.kind, self.device, self.netns


def pair_end(port: str) -> str:
    """Name our end of the pair of a port: `veth-guests`, shortened by a digest where that is too long."""
    name = f"veth-{port}"
    if len(name) <= NAME_MAX:
        return name
    return f"veth-{port[:4]}-{hashlib.blake2b(port.encode(), digest_size=2).hexdigest()}"


# -- reading

KEYS = keys(PortConfig)
_flood_class = checks.choice(*FLOOD_CLASSES)
FLOOD = Key(
    "flood",
    "flood",
    ValueType(lambda word: (_flood_class(word),), syntax="LIST|all|none", is_list=True),
    help="what is flooded to it: unknown, multicast, broadcast",
)
STORM = Key(
    "storm_control",
    "storm_control",
    ValueType(lambda table: table, syntax="LIMITS"),
    help="none, or limits by class: broadcast=1000frames/s,multicast=10Mbit/s,unknown=5%",
)


def _true(value: object) -> bool:
    if value is True:
        return True
    raise BadValueError(f"expected true, got {show(value)}; leave the key out of other ports")


MEMBERSHIP = (  # keys of the `vlan` table
    Key("access", "access", checks.vid, help="untagged, in one VLAN"),
    Key("trunk", "trunk", checks.vids, help="tagged: VLAN IDs and ranges like 10,20,100-119"),
    Key("native", "native", checks.vid, help="with trunk: the VLAN of untagged frames"),
    Key("native_tagged", "native_tagged", checks.boolean, help="with native: its frames leave tagged"),
    Key(
        "map",
        "map",
        ValueType(
            lambda text: (translation(text),),
            syntax="LIST|none",
            expected="none or a list like 100:10,200.30:20",
            read=words.texts,
            is_list=True,
        ),
        help="with trunk: VLANs with other tags on the wire, WIRE:VLAN like 100:10,200.30:20",
    ),
    Key(
        "mirror",
        "mirror",
        replace(checks.boolean, check=_true, syntax="on"),
        help="in no VLAN: takes the copies of mirrors, and nothing it receives enters the bridge",
    ),
    Key("tunnel", "tunnel", checks.vid, help="untagged, inner tags are payload (dot1q-tunnel)"),
    Key("tpid", "tpid", checks.tpid, help="the tag protocol"),
)
PLACE = ("kind", "device", "netns")
WORDS = (  # of the command line, in the order of its help
    *(one for one in KEYS if one.name in PLACE),
    *MEMBERSHIP,
    *(one for one in KEYS if one.help and one.name not in PLACE),
    FLOOD,
    *security.KEYS,
    STORM,
)


def parse_port(table: Mapping[str, object], where: str = "port") -> PortConfig:
    """Validate one port given as an object shaped like a `[[port]]` table; `where` begins every key path."""
    return read_alone(read_port, table, where)


def update_port(port: PortConfig, changes: Mapping[str, object], where: str = "port") -> PortConfig:
    """Return the port with keys of its `[[port]]` table replaced; None puts a key back to its default."""
    table = {**port_table(port), **changes}
    if table["name"] != port.name:
        raise ConfigError([Problem(f"{where}.name", "a port keeps its name; delete it and add another")])
    return parse_port({key: value for key, value in table.items() if value is not None}, where)


def read_port(table: Table) -> PortConfig:
    """Read one `[[port]]` table and report what is wrong with it."""
    fields = table.fields(KEYS, required=("name", "kind"))
    fields |= _read_membership(table)
    fields["security"] = read_security(table)
    flood = table.union(FLOOD.name, FLOOD.type)
    fields["storm_control"] = read_storm_control(table.table(STORM.name))
    table.refuse_unknown()
    _check_device(table, fields)
    _check_roles(table, fields)
    for word in FLOOD_CLASSES:
        fields[f"flood_{word}"] = flood is None or word in flood
    return PortConfig(**{"name": "", "kind": "", **fields})


def _check_device(table: Table, fields: dict[str, Any]) -> None:
    kind = fields.get("kind")
    if kind and not KINDS[kind].has_device:
        for key in ("device", "netns"):
            if key in table:
                table.fail(f"a {kind} port has no device; remove this key or change the kind", key)
    elif kind and "device" not in table:
        table.fail(f"a {kind} port needs a device; add device = '...'")
    elif kind and KINDS[kind].is_made and (length := len(fields.get("device", "").encode())) > NAME_MAX:
        name = show(fields["device"])
        table.fail(f"{name} has {length} bytes; a device name has at most {NAME_MAX}, shorten it", "device")
    if kind and not KINDS[kind].is_made:
        for key in ("mac", "persist"):
            if fields.get(key):
                table.fail(
                    f"a {kind} port makes no device for a guest; remove this key or change the kind", key
                )
    if "netns" in table and "netns" not in fields:
        fields.pop("device", None)  # in an unknown namespace it cannot be compared with other ports' devices


def _check_roles(table: Table, fields: Mapping[str, Any]) -> None:
    """Refuse what would have no effect, or two settings that contradict each other."""
    if fields.get("hairpin") and fields.get("direction", "both") != "both":
        table.fail(
            f"a port that only {_DOES[fields['direction']]} sends nothing back; remove one of the two",
            "hairpin",
        )
    mode = fields.get("mode")
    if mode == "mirror":
        for key, (field, off) in _NOT_OF_MIRRORS.items():
            if fields.get(field, off) != off:
                table.fail(
                    "a port that takes copies is in no VLAN and receives nothing; remove this key", key
                )
        return
    if fields.get("priority_tags", "never") != "never":
        if mode == "tunnel":
            table.fail("a tunnel port gives frames back as they came; remove this key", "priority_tags")
        elif mode == "trunk" and not fields["pvid"]:
            table.fail(
                "nothing leaves this trunk untagged; add native = VID, or remove this key", "priority_tags"
            )
        elif fields.get("native_tagged"):
            table.fail("native_tagged leaves no frame untagged; remove one of the two", "priority_tags")
    if fields.get("default_pcp") and mode == "trunk" and not fields["pvid"]:
        table.fail("this trunk takes no untagged frames; add native = VID, or remove this key", "default_pcp")


_NOT_OF_MIRRORS = {  # key: its field, and the value that does no harm
    "direction": ("direction", "both"),
    "hairpin": ("hairpin", False),
    "horizon": ("horizon", 0),
    "isolated": ("isolated", False),
    "priority_tags": ("priority_tags", "never"),
    "default_pcp": ("default_pcp", 0),
    "mac_limit": ("mac_limit", 0),
}
_DOES = {"ingress": "receives", "egress": "sends"}


def _read_membership(port: Table) -> dict[str, Any]:
    """Return mode, pvid, vids, tpid and what a trunk makes of them, or nothing if anything is wrong with them."""
    problems = len(port.report)
    table = port.table("vlan")
    fields = table.fields(MEMBERSHIP)
    vids, translations = {*fields.get("trunk", ())}, {*fields.get("map", ())}
    table.refuse_unknown()
    modes = [mode for mode in MODES if mode in table]
    if len(port.report) == problems:
        _check_mode(table, modes, bool(vids))
    if len(port.report) == problems:
        native = fields.get("native", 0)
        for flaw in flaws(translations, vids | {native} - {0}, native):
            table.fail(flaw, "map")
    if len(port.report) > problems:
        return {}
    native = 0 if modes == ["mirror"] else fields.get("native" if modes == ["trunk"] else modes[0], 0)
    return {
        "mode": modes[0],
        "pvid": native,
        "vids": tuple(sorted(vids)),
        "tpid": fields.get("tpid", 0x8100),
        "native_tagged": fields.get("native_tagged", False),
        "translations": tuple(sorted(translations, key=lambda one: one.vid)),
    }


def _check_mode(table: Table, modes: Sequence[str], lists_vids: bool) -> None:
    if len(modes) != 1:
        table.fail("write exactly one of access = VID, tunnel = VID, trunk = [VID, ...] or mirror = true")
    elif modes == ["trunk"]:
        if not lists_vids and "native" not in table:
            table.fail("a trunk carries at least one VLAN; list it", "trunk")
        if "native_tagged" in table and "native" not in table:
            table.fail(
                "says how frames of the native VLAN leave; add native = VID, or remove it", "native_tagged"
            )
    else:
        for key, what in _TRUNK_ONLY.items():
            if key in table:
                table.fail(f"only a trunk {what}; remove this key or replace {modes[0]} by trunk", key)


_TRUNK_ONLY = {
    "native": "has a native VLAN",
    "native_tagged": "has a native VLAN",
    "map": "translates VLANs",
}


# -- writing


def port_table(port: PortConfig) -> dict[str, object]:
    """Return the `[[port]]` table, as `parse_port` takes it once the absent keys are left out."""
    flood = [word for word in FLOOD_CLASSES if getattr(port, f"flood_{word}")]
    table = write_keys(port, KEYS) | {"vlan": _membership_table(port), "flood": flood}
    table["storm_control"] = storm_control_table(port.storm_control)
    return table | security_table(port.security)


def _membership_table(port: PortConfig) -> dict[str, object]:
    table: dict[str, object] = {port.mode: True if port.mode == "mirror" else port.pvid}
    if port.mode == "trunk":
        table = {"trunk": written_runs(port.vids)}
        if port.pvid:
            table["native"] = port.pvid
        if port.native_tagged:
            table["native_tagged"] = True
        if port.translations:
            table["map"] = [str(one) for one in port.translations]
    if port.tpid != checks.TPIDS["802.1Q"]:
        table["tpid"] = next(name for name, number in checks.TPIDS.items() if number == port.tpid)
    return table


def port_row(port: PortConfig) -> dict[str, object]:
    """Give what rows show of the configuration of a port."""
    trunk = port.mode == "trunk"
    return {
        "mode": port.mode,
        "vlan": format_vids(port.vids) if trunk else port.pvid,
        "native": (port.pvid or None) if trunk else None,
        "native_tagged": port.native_tagged,
        "map": ",".join(map(str, port.translations)) or None,
        "tpid": next(name for name, number in checks.TPIDS.items() if number == port.tpid),
        **row_of(port, KEYS),
        "flood": port.flood or None,
        **row_of(port.security, security.KEYS),
        "storm_control": port.storm_control != NO_LIMITS,
    }


def _describe(port: PortConfig) -> str:
    place = f" in namespace {port.netns}" if port.netns else ""
    table = port_table(port)
    known = port_table(SECTION.blank) | {
        key: table[key] for key in ("name", "kind", "device", "netns", "vlan")
    }
    parts = [f"{port.kind} {port.device}".rstrip() + place, plain(table["vlan"]), listing(table, known)]
    return ", ".join(part for part in parts if part)


SECTION = Section(
    name="port",
    field="ports",
    read=read_port,
    write=port_table,
    blank=PortConfig("", ""),
    actions=("open_port", "set_port", "close_port"),
    subject=lambda port: port.name,
    describe=_describe,
    identity=lambda port: port.name,
    label=lambda port: port.name,
    limit=PORTS_MAX,
    unique=(
        Unique("name", lambda port: port.name, "give each port its own name"),
        Unique(
            "device",
            lambda port: port.device and (port.device, port.netns),
            "a device is one port, which vlan = { trunk = [...] } lets carry several VLANs",
        ),
    ),
    is_changeable=lambda before, after: before.attachment == after.attachment,
    check=check_totals,
)
