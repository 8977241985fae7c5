"""A whole configuration as a value, and what no table can know alone: uniqueness, limits, references. Pure.

The tuples of a `Config` are sorted, so that files that mean the same give equal values.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

from bridge.config.bridge import BridgeConfig
from bridge.config.budget import BudgetConfig
from bridge.config.cost import CostConfig
from bridge.config.group import GroupConfig
from bridge.config.heartbeats import HeartbeatConfig
from bridge.config.lines import KeyPath
from bridge.config.loop_detection import NO_DETECTION, LoopDetectionConfig
from bridge.config.metrics import MetricsConfig
from bridge.config.mirror import MirrorConfig
from bridge.config.move_guard import NO_GUARD, MoveGuardConfig
from bridge.config.multicast import NO_SNOOPING, MulticastConfig
from bridge.config.pair import NO_PAIR, PairConfig
from bridge.config.port import PortConfig
from bridge.config.registry import SECTIONS
from bridge.config.section import Found
from bridge.config.static_entry import StaticEntry
from bridge.config.table import Report, Table, too_many
from bridge.config.vlan import VlanConfig


@dataclass(frozen=True, slots=True)
class Config:
    """A whole configuration. Sorted: ports, budgets, mirrors by name, VLANs by ID, entries, groups by VLAN, address."""

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
    multicast: MulticastConfig = NO_SNOOPING
    groups: tuple[GroupConfig, ...] = ()
    heartbeats: HeartbeatConfig = field(default_factory=HeartbeatConfig)
    pair: PairConfig = NO_PAIR


def read_config(root: Table) -> Config:
    """Read the top level of a file; what is wrong goes to the report of the table."""
    found = {}
    for section in SECTIONS:
        name = section.name
        tables = root.tables(name, section.limit) if section.is_many else [root.table(name)]
        found[section.field] = [(table.path, section.read(table)) for table in tables]
    root.refuse_unknown()
    return _combine(found, root.report)


def validated(config: Config) -> Config:
    """Check values that did not come from one file; key paths say names where a file would have indexes."""
    report = Report()
    found: dict[str, list[tuple[KeyPath, object]]] = {}
    for section in SECTIONS:
        label = section.label if section.is_many else lambda _: ""
        found[section.field] = [((section.name, label(value)), value) for value in section.values(config)]
    checked = _combine(found, report)
    report.raise_problems()
    return checked


def _combine(found: Found, report: Report) -> Config:
    """Check what no table can know alone and put the parts together, sorted."""
    found = dict(found)
    for section in SECTIONS:
        if section.complete:
            found[section.field] = [
                (path, section.complete(value, found)) for path, value in found[section.field]
            ]
        values = found[section.field]
        if len(values) > section.limit:
            report.add(values[section.limit][0], too_many(len(values), section.name, section.limit))
        for key, identity, remedy in section.unique:
            first: dict[Hashable, KeyPath] = {}
            for path, value in values:
                if (known_as := identity(value)) and (
                    earlier := first.setdefault(known_as, path)
                ) is not path:
                    report.add((*path, key), f"already taken by {report.place(earlier)}; {remedy}")
        if section.check:
            section.check(report, found)
    return Config(
        **{section.field: section.collect(value for _, value in found[section.field]) for section in SECTIONS}
    )
