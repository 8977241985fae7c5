"""Configuration: TOML in, frozen values out; every problem at once, each with its key path, line and way out.

Pure but for `load`. A `Config` is a value: its tuples are sorted, files that mean the same give equal values,
and `parse(to_toml(c)) == c`. Reading goes in three steps: tomllib; each table on its own (types, ranges,
spelling); the whole (uniqueness, references). A flawed key leaves its field blank, and later steps pass over
blanks, so that one mistake is reported once.

Refuses, with ConfigError and nothing else, whatever the data plane could not honour.
"""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from bridge.account.budgets import BUDGETS_MAX, BudgetConfig, budget_table, read_budget
from bridge.config.bridge import (
    BridgeConfig,
    CostConfig,
    MetricsConfig,
    StaticEntry,
    VlanConfig,
    bridge_table,
    cost_table,
    entry_table,
    metrics_table,
    read_bridge,
    read_cost,
    read_entry,
    read_metrics,
    read_vlan,
    toml_value,
    vlan_table,
)
from bridge.config.checks import FDB_MAX, VID_MAX, Report, Table, did_you_mean, is_beneath, show, too_many
from bridge.config.lines import KeyPath, error_line, line_map, too_deep
from bridge.config.port import PortConfig, port_table, read_port
from bridge.config.security import check_totals
from bridge.config.vids import format_vids
from bridge.core._core import MIRRORS_MAX
from bridge.errors import ConfigError, Problem
from bridge.mac import format_mac
from bridge.mirror.mirrors import MirrorConfig, check_mirrors, mirror_table, place_file, read_mirror
from bridge.mirror.mirrors import without_port as mirrors_without_port
from bridge.protect.loop_detection import (
    NO_DETECTION,
    LoopDetectionConfig,
    loop_detection_table,
    read_loop_detection,
)
from bridge.protect.move_guard import NO_GUARD, MoveGuardConfig, move_guard_table, read_move_guard

PORTS_MAX = 256  # the data plane's limit; tests compare it with bridge.core._core.PORTS_MAX
FILE_MAX = 1 << 24  # bytes

T = TypeVar("T")
Named = TypeVar("Named", PortConfig, MirrorConfig)


# -- values


@dataclass(frozen=True, slots=True)
class Config:
    """A whole configuration. Sorted: ports, budgets, mirrors by name, VLANs by ID, entries by VLAN, address."""

    bridge: BridgeConfig = field(default_factory=BridgeConfig)
    ports: tuple[PortConfig, ...] = ()
    vlans: tuple[VlanConfig, ...] = ()
    entries: tuple[StaticEntry, ...] = ()
    cost: CostConfig = field(default_factory=CostConfig)
    metrics: MetricsConfig = field(default_factory=MetricsConfig)
    budgets: tuple[BudgetConfig, ...] = ()
    mirrors: tuple[MirrorConfig, ...] = ()
    move_guard: MoveGuardConfig = NO_GUARD
    loop_detection: LoopDetectionConfig = NO_DETECTION


# -- reading


def load(path: str | os.PathLike[str]) -> Config:
    """Read and validate a file."""
    return parse(read_text(path), os.fspath(path))


def read_text(path: str | os.PathLike[str]) -> str:
    """Read a file, which must be one: a FIFO would keep the daemon waiting, and a device has no end."""
    source = os.fspath(path)
    try:
        found = Path(path).stat()
        if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
            raise _refusal("is no regular file; write the configuration into one", source)
        if found.st_size > FILE_MAX:
            raise _refusal(f"has {found.st_size} bytes; a configuration has at most {FILE_MAX}", source)
        return Path(path).read_bytes().decode("utf-8-sig")
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


def parse(text: str, source: str = "") -> Config:
    """Validate the text of a file; `source` names it in messages."""
    if len(text) > FILE_MAX:
        raise _refusal(f"has {len(text)} characters; a configuration has at most {FILE_MAX}", source)
    if found := too_deep(text):
        raise _refusal(found[1], source, found[0])
    try:
        document = tomllib.loads(text)
    except ValueError as error:
        raise _refusal(f"not valid TOML: {error}", source, error_line(error, text)) from None
    # Where keys stand is only asked when there is something to report, for it takes longer than reading.
    report = Report(source, make_lines=partial(line_map, text))
    config = _read_config(Table(document, (), report))
    report.raise_problems()
    return config


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


def refuse_new_places(before: Config, after: Config, source: str = "") -> None:
    """Raise ConfigError if a configuration names files, other than beneath `mirror_dir`, that are not named already.

    What comes by the control socket is held to this: who may configure the bridge may not write where root may.
    """
    problems = [
        Problem(
            f"bridge.{key}",
            f"only the configuration file may name another place; put {was or 'nothing'} back",
        )
        for key in ("mirror_dir", "fdb_file")
        if (was := getattr(before.bridge, key)) != getattr(after.bridge, key)
    ]
    known = {(mirror.name, mirror.file) for mirror in before.mirrors}
    problems += [
        Problem(
            f"mirror.{mirror.name}.file",
            f"{show(mirror.file)} is not beneath {before.bridge.mirror_dir} (mirror_dir), and only the configuration "
            f"file may name other places; write a name like '{mirror.name}.pcapng'",
        )
        for mirror in after.mirrors
        if mirror.file and (mirror.name, mirror.file) not in known
        if not is_beneath(mirror.file, before.bridge.mirror_dir)
    ]
    if problems:
        raise ConfigError(problems, source)


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


def _read_config(root: Table) -> Config:
    bridge = read_bridge(root.table("bridge"))
    metrics = read_metrics(root.table("metrics"), present="metrics" in root)
    ports = [(table.path, read_port(table)) for table in root.tables("port", PORTS_MAX)]
    vlans = [(table.path, read_vlan(table)) for table in root.tables("vlan", VID_MAX)]
    entries = [(table.path, read_entry(table)) for table in root.tables("fdb", FDB_MAX)]
    budgets = [(table.path, read_budget(table)) for table in root.tables("budget", BUDGETS_MAX)]
    mirrors = [(table.path, read_mirror(table)) for table in root.tables("mirror", MIRRORS_MAX)]
    cost = read_cost(root.table("cost"))
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
    mirrors = [(path, place_file(mirror, bridge.mirror_dir)) for path, mirror in mirrors]
    for found, limit in ((ports, PORTS_MAX), (budgets, BUDGETS_MAX), (mirrors, MIRRORS_MAX)):
        if len(found) > limit:
            path = found[limit][0]
            report.add(path, too_many(len(found), str(path[0]), limit))
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
    _check_unique(report, budgets, "name", lambda budget: budget.name, "give each budget its own name")
    _check_budget_ports(report, ports, budgets)
    check_totals(report, ports)
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
