"""Configuration: TOML in, frozen values out; every problem at once, each with its key path, line and way out.

Pure but for `load`. A `Config` is a value: its tuples are sorted, files that mean the same give equal values,
and `parse(to_toml(c)) == c`. Reading goes in three steps: tomllib; each table on its own (types, ranges,
spelling); the whole (uniqueness, references). A flawed key leaves its field blank, and later steps pass over
blanks, so that one mistake is reported once.

Refuses, with ConfigError and nothing else, whatever the data plane could not honour.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from bridge import checks
from bridge._core import MIRRORS_MAX
from bridge.budgets import BUDGETS_MAX, BudgetConfig, budget_table, read_budget
from bridge.checks import Keys, Report, Table, did_you_mean, plain_table, show
from bridge.config_port import PortConfig, port_table, read_port
from bridge.errors import ConfigError, Problem
from bridge.guards import check_totals
from bridge.loop_detection import NO_DETECTION, LoopDetectionConfig, loop_detection_table, read_loop_detection
from bridge.mac import format_mac, parse_mac
from bridge.mirrors import MirrorConfig, check_mirrors, mirror_table, read_mirror
from bridge.mirrors import without_port as mirrors_without_port
from bridge.move_guard import NO_GUARD, MoveGuardConfig, move_guard_table, read_move_guard
from bridge.toml_lines import KeyPath, error_line, line_map
from bridge.vids import format_vids, vid_runs

PORTS_MAX = 256  # the data plane's limit; tests compare it with bridge._core.PORTS_MAX
# The data plane's; tests compare them with bridge._core.WAITINGS.
WAITINGS = ("latency", "balanced", "throughput")

T = TypeVar("T")
Named = TypeVar("Named", PortConfig, MirrorConfig)


# -- values


@dataclass(frozen=True, slots=True)
class VlanConfig:
    """One `[[vlan]]`: a name and a limit. A VLAN needs no such table to be used."""

    vid: int
    name: str = ""
    mac_limit: int = 0  # FDB entries; 0: no limit
    learning: bool = True


@dataclass(frozen=True, slots=True)
class StaticEntry:
    """One `[[fdb]]`: an FDB entry that is not learned."""

    vid: int
    mac: int
    kind: str = "static"  # static | sticky | drop
    port: str = ""  # "" for drop


@dataclass(frozen=True, slots=True)
class BridgeConfig:
    """The `[bridge]` table."""

    name: str = "bridge0"
    ageing_time: float = 300  # seconds; 0: entries do not age
    fdb_size: int = 65536  # entries
    control_socket: str = ""  # "": see socket_path
    learning: str = "automatic"  # automatic | controlled
    static_move: str = "drop"  # drop | forward
    waiting: str = "balanced"  # latency | balanced | throughput
    reserved: int = 0  # bit n set: 01-80-C2-00-00-0n is forwarded
    heartbeat_ports: tuple[int, ...] = (5404, 5405)  # UDP; frames to them are of class heartbeat
    full_table: str = "evict"  # evict | refuse: new stations where the table or a VLAN is full
    mac_limit: int = 0  # dynamic and sticky entries in all; 0: as many as fdb_size
    vrrp_aware: bool = False  # what backup routers emit does not move the virtual address
    local_first: bool = False  # entries of access and tunnel ports do not move to trunks
    fdb_file: str = ""  # keeps the FDB over a restart; "": nothing does
    address: int = 0  # the bridge's own; 0: see own_address

    @property
    def socket_path(self) -> str:
        """Path of the control socket, configured or default."""
        return self.control_socket or f"/run/framebridge/{self.name}.sock"


@dataclass(frozen=True, slots=True)
class CostConfig:
    """The `[cost]` table: what a core costs, so that the bill can be told in money."""

    price_per_core_hour: float | None = None  # in units of the currency; None: no money is told
    currency: str = "EUR"


@dataclass(frozen=True, slots=True)
class MetricsConfig:
    """The `[metrics]` table: metrics for Prometheus over HTTP."""

    address: str = ""  # 127.0.0.1:9464 or [::1]:9464; "": off
    vlans: int = 100  # VLANs with series of their own at most, the dearest; the others are summed up
    talkers: int = 0  # the same for source addresses, which are not summed up


@dataclass(frozen=True, slots=True)
class Config:
    """A whole configuration. Sorted: ports, budgets, mirrors by name, VLANs by ID, entries by VLAN, address."""

    bridge: BridgeConfig = BridgeConfig()
    ports: tuple[PortConfig, ...] = ()
    vlans: tuple[VlanConfig, ...] = ()
    entries: tuple[StaticEntry, ...] = ()
    cost: CostConfig = CostConfig()
    metrics: MetricsConfig = MetricsConfig()
    budgets: tuple[BudgetConfig, ...] = ()
    mirrors: tuple[MirrorConfig, ...] = ()
    move_guard: MoveGuardConfig = NO_GUARD
    loop_detection: LoopDetectionConfig = NO_DETECTION


# -- reading


def load(path: str | os.PathLike[str]) -> Config:
    """Read and validate a file."""
    source = os.fspath(path)
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise _refusal("no such file; check the path", source) from None
    except IsADirectoryError:
        raise _refusal("is a directory; name the TOML file in it", source) from None
    except OSError as error:
        raise _refusal(f"cannot be read: {error.strerror}", source) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        message = f"byte 0x{error.object[error.start]:02x} is not UTF-8; save the file as UTF-8"
        raise _refusal(message, source, line) from None
    except ValueError as error:  # a path with a NUL in it
        raise _refusal(f"is not a path: {error}", source) from None
    return parse(text, source)


def parse(text: str, source: str = "") -> Config:
    """Validate the text of a file; `source` names it in messages."""
    try:
        document = tomllib.loads(text)
    except RecursionError:
        raise _refusal(
            "arrays or tables are nested too deeply; nothing here needs more than three", source
        ) from None
    except ValueError as error:
        raise _refusal(f"not valid TOML: {error}", source, error_line(error, text)) from None
    report = Report(source, make_lines=partial(_find_lines, text))
    config = _read_config(Table(document, (), report))
    report.raise_problems()
    return config


def _find_lines(text: str) -> Mapping[KeyPath, int]:
    """Say where keys stand: only asked when there is something to report, for it takes longer than reading."""
    try:
        return line_map(text)
    except RecursionError:  # just shallow enough for tomllib
        return {}


def with_port(config: Config, port: PortConfig) -> Config:
    """Return a configuration that also has this port; its name and device must be new."""
    return _validated(replace(config, ports=(*config.ports, port)))


def replace_port(config: Config, port: PortConfig) -> Config:
    """Return a configuration where this port takes the place of the one with its name."""
    others = _all_but("port", config.ports, port.name)
    return _validated(replace(config, ports=(*others, port)))


def without_port(config: Config, name: str) -> Config:
    """Return a configuration without this port and without the static entries, budgets and mirrors on it."""
    entries = tuple(entry for entry in config.entries if entry.port != name)
    budgets = tuple(budget for budget in config.budgets if budget.port != name)
    ports = _all_but("port", config.ports, name)
    mirrors = mirrors_without_port(config.mirrors, name)
    return _validated(replace(config, ports=ports, entries=entries, budgets=budgets, mirrors=mirrors))


def with_mirror(config: Config, mirror: MirrorConfig) -> Config:
    """Return a configuration that also has this mirror; its name must be new."""
    return _validated(replace(config, mirrors=(*config.mirrors, mirror)))


def without_mirror(config: Config, name: str) -> Config:
    """Return a configuration without this mirror."""
    return _validated(replace(config, mirrors=_all_but("mirror", config.mirrors, name)))


def _all_but(what: str, values: tuple[Named, ...], name: str) -> tuple[Named, ...]:
    """Leave out the one of that name, which there must be."""
    others = tuple(value for value in values if value.name != name)
    if len(others) == len(values):
        hint = did_you_mean(name, [value.name for value in values])
        raise _refusal(f"there is no {what} {show(name)}{hint}")
    return others


def _validated(config: Config) -> Config:
    """Check values that did not come from one file; key paths say names where a file would have indexes."""
    report = Report()
    ports = [(("port", port.name), port) for port in config.ports]
    vlans = [(("vlan", str(vlan.vid)), vlan) for vlan in config.vlans]
    entries = [(("fdb", format_mac(entry.mac)), entry) for entry in config.entries]
    budgets = [(("budget", budget.name), budget) for budget in config.budgets]
    mirrors = [(("mirror", mirror.name), mirror) for mirror in config.mirrors]
    checked = _combine(config.bridge, ports, vlans, entries, budgets, mirrors, report)
    report.raise_problems()
    return replace(
        checked,
        cost=config.cost,
        metrics=config.metrics,
        move_guard=config.move_guard,
        loop_detection=config.loop_detection,
    )


def _refusal(message: str, source: str = "", line: int | None = None) -> ConfigError:
    return ConfigError([Problem("", message, line)], source)


# -- tables: what each may say and where it is kept; keys that take more than a check stand in the readers


_BRIDGE_KEYS: Keys = {
    "name": ("name", checks.name),
    "ageing_time": ("ageing_time", checks.ageing_time),
    "fdb_size": ("fdb_size", checks.integer(64, checks.FDB_MAX)),
    "control_socket": ("control_socket", checks.socket_path),
    "learning": ("learning", checks.choice("automatic", "controlled")),
    "static_move": ("static_move", checks.choice("drop", "forward")),
    "full_table": ("full_table", checks.choice("evict", "refuse")),
    "mac_limit": ("mac_limit", checks.mac_limit),
    "vrrp_aware": ("vrrp_aware", checks.boolean),
    "local_first": ("local_first", checks.boolean),
    "fdb_file": ("fdb_file", checks.file_path),
    "waiting": ("waiting", checks.choice(*WAITINGS)),
    "address": ("address", checks.station),
}
_VLAN_KEYS: Keys = {
    "id": ("vid", checks.vid),
    "name": ("name", checks.name),
    "mac_limit": ("mac_limit", checks.mac_limit),
    "learning": ("learning", checks.boolean),
}
_COST_KEYS: Keys = {
    "price_per_core_hour": ("price_per_core_hour", checks.price),
    "currency": ("currency", checks.currency),
}
_ENTRY_KEYS: Keys = {
    "mac": ("mac", checks.station),
    "vlan": ("vid", checks.vid),
    "kind": ("kind", checks.choice("static", "sticky", "drop")),
    "port": ("port", checks.name),
}
_METRICS_KEYS: Keys = {
    "address": ("address", checks.listen_address),
    "vlans": ("vlans", checks.integer(0, checks.VID_MAX)),
    "talkers": ("talkers", checks.integer(0, 1000)),
}


def _read_config(root: Table) -> Config:
    bridge = _read_bridge(root.table("bridge"))
    metrics = _read_metrics(root.table("metrics"), required=("address",) if "metrics" in root else ())
    ports = [(table.path, read_port(table)) for table in root.tables("port")]
    vlans = [(table.path, _read_vlan(table)) for table in root.tables("vlan")]
    entries = [(table.path, _read_entry(table)) for table in root.tables("fdb")]
    budgets = [(table.path, read_budget(table)) for table in root.tables("budget")]
    mirrors = [(table.path, read_mirror(table)) for table in root.tables("mirror")]
    cost = _read_cost(root.table("cost"))
    move_guard = read_move_guard(root.table("move_guard"), present="move_guard" in root)
    loop_detection = read_loop_detection(root.table("loop_detection"), present="loop_detection" in root)
    root.refuse_unknown()
    return replace(
        _combine(bridge, ports, vlans, entries, budgets, mirrors, root.report),
        cost=cost,
        metrics=metrics,
        move_guard=move_guard,
        loop_detection=loop_detection,
    )


def _read_metrics(table: Table, required: Sequence[str]) -> MetricsConfig:
    fields = table.fields(_METRICS_KEYS, required)
    table.refuse_unknown()
    return MetricsConfig(**fields)


def _read_bridge(table: Table) -> BridgeConfig:
    fields = table.fields(_BRIDGE_KEYS)
    passed = table.union("pass_reserved", checks.reserved) or set()
    heartbeat = table.union("heartbeat_ports", checks.udp_ports)
    table.refuse_unknown()
    _check_fdb_keys(table, fields)
    if heartbeat is not None:
        fields["heartbeat_ports"] = tuple(sorted(heartbeat))
    return BridgeConfig(**fields, reserved=sum(1 << (parse_mac(mac) & 0xF) for mac in passed))


def _check_fdb_keys(table: Table, fields: Mapping[str, Any]) -> None:
    size = fields.get("fdb_size", BridgeConfig().fdb_size)
    if ("fdb_size" in fields or "fdb_size" not in table) and fields.get("mac_limit", 0) > size:
        table.fail(f"the table has room for {size} entries; lower this limit or raise fdb_size", "mac_limit")
    if "fdb_file" in fields and fields["fdb_file"] == fields.get("control_socket"):
        table.fail("this is the control socket; name a file of its own", "fdb_file")


def _read_vlan(table: Table) -> VlanConfig:
    fields = table.fields(_VLAN_KEYS, required=("id",))
    table.refuse_unknown()
    return VlanConfig(**{"vid": 0, **fields})


def _read_cost(table: Table) -> CostConfig:
    fields = table.fields(_COST_KEYS)
    table.refuse_unknown()
    return CostConfig(**fields)


def _read_entry(table: Table) -> StaticEntry:
    fields = table.fields(_ENTRY_KEYS, required=("mac", "vlan"))
    table.refuse_unknown()
    kind = fields.get("kind", "" if "kind" in table else "static")
    if kind == "drop" and "port" in table:
        table.fail("a drop entry holds on every port; remove this key", "port")
    elif kind in ("static", "sticky") and "port" not in table:
        table.fail(f"a {kind} entry needs a port; add port = '...'")
    return StaticEntry(**{"vid": 0, "mac": 0, **fields})


# -- the whole

_Found = Sequence[tuple[KeyPath, T]]


def _combine(
    bridge: BridgeConfig,
    ports: _Found[PortConfig],
    vlans: _Found[VlanConfig],
    entries: _Found[StaticEntry],
    budgets: _Found[BudgetConfig],
    mirrors: _Found[MirrorConfig],
    report: Report,
) -> Config:
    """Check what no table can know alone and put the parts together, sorted."""
    if len(ports) > PORTS_MAX:
        report.add(
            ports[PORTS_MAX][0], f"{len(ports)} ports, but a bridge has at most {PORTS_MAX}; remove some"
        )
    _check_unique(report, ports, "name", lambda port: port.name, "give each port its own name")
    one_device = "a device is one port, which vlan = { trunk = [...] } lets carry several VLANs"
    _check_unique(report, ports, "device", lambda port: port.device and (port.device, port.netns), one_device)
    _check_unique(report, vlans, "id", lambda vlan: vlan.vid, "keep one table per VLAN")
    _check_unique(report, vlans, "name", lambda vlan: vlan.name, "give each VLAN its own name")
    _check_unique(report, entries, "mac", _entry_identity, "keep one entry per VLAN and address")
    _check_references(report, ports, entries)
    for path, entry in entries:
        if bridge.address and entry.mac == bridge.address:
            report.add((*path, "mac"), "this is bridge.address, which never has an entry; remove the entry")
    if len(budgets) > BUDGETS_MAX:
        report.add(budgets[BUDGETS_MAX][0], f"a bridge has at most {BUDGETS_MAX} budgets; remove some")
    _check_unique(report, budgets, "name", lambda budget: budget.name, "give each budget its own name")
    _check_budget_ports(report, ports, budgets)
    check_totals(report, ports)
    if len(mirrors) > MIRRORS_MAX:
        report.add(mirrors[MIRRORS_MAX][0], f"a bridge has at most {MIRRORS_MAX} mirrors; remove some")
    _check_unique(report, mirrors, "name", lambda mirror: mirror.name, "give each mirror its own name")
    _check_unique(report, mirrors, "file", lambda mirror: mirror.file, "give each mirror its own file")
    check_mirrors(report, ports, mirrors)
    return Config(
        bridge,
        tuple(sorted((port for _, port in ports), key=lambda port: port.name)),
        tuple(sorted((vlan for _, vlan in vlans), key=lambda vlan: vlan.vid)),
        tuple(sorted((entry for _, entry in entries), key=lambda entry: (entry.vid, entry.mac))),
        budgets=tuple(sorted((budget for _, budget in budgets), key=lambda budget: budget.name)),
        mirrors=tuple(sorted((mirror for _, mirror in mirrors), key=lambda mirror: mirror.name)),
    )


def _entry_identity(entry: StaticEntry) -> Hashable:
    return entry.vid and entry.mac and (entry.vid, entry.mac)


def _check_unique(
    report: Report, found: _Found[T], key: str, identity: Callable[[T], Hashable], remedy: str
) -> None:
    """Report every value whose identity an earlier one has; blank identities are passed over."""
    first: dict[Hashable, KeyPath] = {}
    for path, value in found:
        if (known_as := identity(value)) and (earlier := first.setdefault(known_as, path)) is not path:
            report.add((*path, key), f"already taken by {report.place(earlier)}; {remedy}")


def _check_references(report: Report, ports: _Found[PortConfig], entries: _Found[StaticEntry]) -> None:
    """Report entries on ports that do not exist or do not carry the VLAN; blanks may stand for anything."""
    by_name = {port.name: port for _, port in ports}
    for path, entry in entries:
        port = by_name.get(entry.port)
        if not entry.port or entry.kind == "drop":
            continue
        if port is None:
            if "" not in by_name:
                hint = did_you_mean(entry.port, by_name) or "; add it, or remove the entry"
                report.add((*path, "port"), f"there is no port {entry.port!r}{hint}")
        elif entry.vid and port.members and entry.vid not in port.members:
            carried = f"port {port.name!r} carries {format_vids(port.members)}"
            report.add(
                (*path, "vlan"), f"{carried}, not VLAN {entry.vid}; add it to the port or correct the entry"
            )


def _check_budget_ports(report: Report, ports: _Found[PortConfig], budgets: _Found[BudgetConfig]) -> None:
    names = {port.name for _, port in ports}
    for path, budget in budgets:
        if budget.port and "" not in names and budget.port not in names:
            hint = did_you_mean(budget.port, names) or "; add it, or remove the budget"
            report.add((*path, "port"), f"there is no port {budget.port!r}{hint}")


# -- writing: tables shaped like the file, absent keys None


def bridge_table(bridge: BridgeConfig) -> dict[str, object]:
    """Return the `[bridge]` table."""
    names = {number: name for name, number in checks.RESERVED_NAMES.items()}
    passed = [number for number in range(16) if bridge.reserved >> number & 1]
    table = plain_table(bridge, _BRIDGE_KEYS)
    return table | {
        "address": format_mac(bridge.address) if bridge.address else None,
        "pass_reserved": [names.get(n) or format_mac(checks.RESERVED_BASE + n) for n in passed],
        "heartbeat_ports": [
            first if first == last else f"{first}-{last}" for first, last in vid_runs(bridge.heartbeat_ports)
        ],
    }


def vlan_table(vlan: VlanConfig) -> dict[str, object]:
    """Return the `[[vlan]]` table."""
    return plain_table(vlan, _VLAN_KEYS)


def entry_table(entry: StaticEntry) -> dict[str, object]:
    """Return the `[[fdb]]` table."""
    return plain_table(entry, _ENTRY_KEYS) | {"mac": format_mac(entry.mac)}


def cost_table(cost: CostConfig) -> dict[str, object]:
    """Return the `[cost]` table."""
    return plain_table(cost, _COST_KEYS)


def metrics_table(metrics: MetricsConfig) -> dict[str, object]:
    """Return the `[metrics]` table."""
    return plain_table(metrics, _METRICS_KEYS)


def to_toml(config: Config) -> str:
    """Write a file that parses to the same value; keys at their default are left out."""
    blocks = [_block("[bridge]", bridge_table(config.bridge), bridge_table(BridgeConfig()))]
    blocks += [_block("[[port]]", port_table(port), port_table(PortConfig("", ""))) for port in config.ports]
    blocks += [_block("[[vlan]]", vlan_table(vlan), vlan_table(VlanConfig(0))) for vlan in config.vlans]
    blocks += [
        _block("[[fdb]]", entry_table(entry), entry_table(StaticEntry(0, 0))) for entry in config.entries
    ]
    blocks += [
        _block("[[budget]]", budget_table(budget), budget_table(BudgetConfig("", "", 0.0)))
        for budget in config.budgets
    ]
    blocks += [
        _block("[[mirror]]", mirror_table(mirror), mirror_table(MirrorConfig("")))
        for mirror in config.mirrors
    ]
    if config.cost != CostConfig():
        blocks.append(_block("[cost]", cost_table(config.cost), cost_table(CostConfig())))
    if config.metrics.address:
        blocks += [_block("[metrics]", metrics_table(config.metrics), metrics_table(MetricsConfig()))]
    if config.move_guard.moves:
        default = move_guard_table(NO_GUARD)
        blocks.append(_block("[move_guard]", move_guard_table(config.move_guard), default))
    if config.loop_detection.interval:
        default = loop_detection_table(NO_DETECTION)
        blocks.append(_block("[loop_detection]", loop_detection_table(config.loop_detection), default))
    return "\n".join(blocks)


def _block(header: str, table: Mapping[str, object], default: Mapping[str, object]) -> str:
    lines = [f"{key} = {toml_value(item)}" for key, item in table.items() if item != default[key]]
    return "\n".join([header, *lines]) + "\n"


def toml_value(value: object) -> str:
    """Write one value of a table inline."""
    match value:
        case dict():
            return "{ " + ", ".join(f"{key} = {toml_value(item)}" for key, item in value.items()) + " }"
        case list():
            return "[" + ", ".join(toml_value(item) for item in value) + "]"
        case float() if value.is_integer():
            return str(int(value))
        case _:  # JSON agrees with TOML on numbers, booleans and printable strings
            return json.dumps(value, ensure_ascii=False)
