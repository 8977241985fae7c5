"""One `[[port]]` of the configuration: its value, and how its table is read and written.

Pure. Reading a table checks types, ranges, spelling and what its keys mean together; what takes other ports to know is
for `config` to say. A flawed key leaves its field blank.

Refuses, with ConfigError and nothing else, whatever the data plane could not honour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bridge.config import checks
from bridge.config.kinds import KINDS, PortKind
from bridge.config.section import Section, Unique
from bridge.config.security import OPEN, Security, check_totals, read_security, security_table
from bridge.config.storm_control import NO_LIMITS, StormControl, read_storm_control, storm_control_table
from bridge.config.table import BadValueError, Keys, Report, Table, plain_table, show
from bridge.config.text import listing, plain
from bridge.config.translation import Translation, carried_outside, flaws, translation
from bridge.config.vids import vid_runs
from bridge.declared import PORTS_MAX
from bridge.errors import ConfigError, Problem

MODES = ("access", "trunk", "tunnel", "mirror")
FLOOD_CLASSES = ("unknown", "multicast", "broadcast")
PRIORITY_TAGS = ("never", "if_nonzero", "always")
DIRECTIONS = ("both", "ingress", "egress")
HORIZON_MAX = 65535


@dataclass(frozen=True)
class PortConfig:
    """One `[[port]]`. The native VLAN of a trunk is a member whether or not `vids` lists it."""

    name: str
    kind: str  # a name of KINDS
    device: str = ""  # "" for memory
    netns: str | None = None  # named network namespace that holds the device; None: the daemon's own
    mode: str = "access"  # access | trunk | tunnel | mirror: of no VLAN, takes copies
    pvid: int = 0  # VLAN of an access or tunnel port, native VLAN of a trunk; 0: none
    vids: tuple[int, ...] = ()  # trunk: as listed
    tpid: int = 0x8100
    mtu: int | None = None  # layer-3 bytes; None: the device's own, 1500 for memory
    learning: bool = True
    flood_unknown: bool = True
    flood_multicast: bool = True
    flood_broadcast: bool = True
    native_tagged: bool = False  # trunk: frames of the native VLAN leave tagged
    translations: tuple[Translation, ...] = ()  # trunk: by VLAN
    priority_tags: str = "never"  # never | if_nonzero | always: VID 0 in front of frames that leave untagged
    default_pcp: int = 0  # of frames that come untagged
    isolated: bool = False
    horizon: int = 0  # split-horizon group; 0: none
    hairpin: bool = False  # frames may leave by the port they came by
    direction: str = "both"  # both | ingress: it only receives | egress: it only sends
    mac_limit: int = 0  # FDB entries; 0: no limit
    admin_up: bool = True
    security: Security = OPEN  # who may send
    offload: bool = True  # the kernel may forward known unicast of the port (bridge.offload)
    kernel_filter: bool = True  # link: the kernel holds back frames of VLANs the port does not carry
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
    def attachment(self) -> tuple[str, str, str | None]:
        """What the port is attached to; another attachment is another port."""
        return self.kind, self.device, self.netns


# -- reading

_flood_class = checks.choice(*FLOOD_CLASSES)

_PORT_KEYS: Keys = {
    "name": ("name", checks.name),
    "kind": ("kind", checks.choice(*KINDS)),
    "device": ("device", checks.text("a device name", 15, " /:%")),
    "netns": ("netns", checks.text("a network namespace", 255, "/")),
    "mtu": ("mtu", checks.integer(68, 65521)),
    "learning": ("learning", checks.boolean),
    "priority_tags": ("priority_tags", checks.choice(*PRIORITY_TAGS)),
    "default_pcp": ("default_pcp", checks.integer(0, 7, "a priority")),
    "isolated": ("isolated", checks.boolean),
    "horizon": ("horizon", checks.integer(0, HORIZON_MAX, "a split-horizon group (0: none)")),
    "hairpin": ("hairpin", checks.boolean),
    "direction": ("direction", checks.choice(*DIRECTIONS)),
    "mac_limit": ("mac_limit", checks.mac_limit),
    "enabled": ("admin_up", checks.boolean),
    "kernel_filter": ("kernel_filter", checks.boolean),
    "offload": ("offload", checks.boolean),
}


def _true(value: object) -> bool:
    if value is True:
        return True
    raise BadValueError(f"expected true, got {show(value)}; leave the key out of other ports")


_MEMBERSHIP_KEYS: Keys = {
    "access": ("access", checks.vid),
    "tunnel": ("tunnel", checks.vid),
    "native": ("native", checks.vid),
    "native_tagged": ("native_tagged", checks.boolean),
    "mirror": ("mirror", _true),
    "tpid": ("tpid", checks.tpid),
}


def parse_port(table: Mapping[str, object], where: str = "port") -> PortConfig:
    """Validate one port given as an object shaped like a `[[port]]` table; `where` begins every key path."""
    report = Report(where=where)
    port = read_port(Table(table, (), report))
    report.raise_problems()
    return port


def update_port(port: PortConfig, changes: Mapping[str, object], where: str = "port") -> PortConfig:
    """Return the port with keys of its `[[port]]` table replaced; None puts a key back to its default."""
    table = {**port_table(port), **changes}
    if table["name"] != port.name:
        raise ConfigError([Problem(f"{where}.name", "a port keeps its name; delete it and add another")])
    return parse_port({key: value for key, value in table.items() if value is not None}, where)


def read_port(table: Table) -> PortConfig:
    """Read one `[[port]]` table and report what is wrong with it."""
    fields = table.fields(_PORT_KEYS, required=("name", "kind"))
    fields |= _read_membership(table)
    fields["security"] = read_security(table)
    flood = table.union("flood", lambda word: (_flood_class(word),))
    fields["storm_control"] = read_storm_control(table.table("storm_control"))
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
    fields = table.fields(_MEMBERSHIP_KEYS)
    vids = table.union("trunk", checks.vids) or set()
    translations = table.union("map", lambda text: (translation(text),)) or set()
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
    table = plain_table(port, _PORT_KEYS) | {"vlan": _membership_table(port), "flood": flood}
    table["storm_control"] = storm_control_table(port.storm_control)
    return table | security_table(port.security)


def _membership_table(port: PortConfig) -> dict[str, object]:
    table: dict[str, object] = {port.mode: True if port.mode == "mirror" else port.pvid}
    if port.mode == "trunk":
        table = {
            "trunk": [first if first == last else f"{first}-{last}" for first, last in vid_runs(port.vids)]
        }
        if port.pvid:
            table["native"] = port.pvid
        if port.native_tagged:
            table["native_tagged"] = True
        if port.translations:
            table["map"] = [str(one) for one in port.translations]
    if port.tpid != checks.TPIDS["802.1Q"]:
        table["tpid"] = next(name for name, number in checks.TPIDS.items() if number == port.tpid)
    return table


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
