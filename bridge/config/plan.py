"""What has to be done to get from one configuration to another: a pure diff.

`plan(old, new)` orders actions as removals, changes, additions. After every single action no device is in two
ports, and every entry is on an open port that carries its VLAN. That is why entries leave before their port
does and come after it, also when the port is only closed and opened again. Each action has an inverse: the
inverses in reverse order undo a plan, and plan(b, a) undoes plan(a, b).

Refuses, with ConfigError, changes that only a restart can make.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from bridge.account.budgets import BudgetConfig, budget_table
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
    toml_value,
    vlan_table,
)
from bridge.config.document import Config
from bridge.config.port import PortConfig, port_table
from bridge.errors import ConfigError, Problem
from bridge.mac import format_mac
from bridge.mirror.mirrors import MirrorConfig, mirror_table
from bridge.protect.loop_detection import LoopDetectionConfig, loop_detection_table
from bridge.protect.move_guard import MoveGuardConfig, move_guard_table

Value = (
    BridgeConfig
    | BudgetConfig
    | CostConfig
    | LoopDetectionConfig
    | MetricsConfig
    | MirrorConfig
    | MoveGuardConfig
    | PortConfig
    | VlanConfig
    | StaticEntry
)
V = TypeVar("V", PortConfig, VlanConfig, StaticEntry, BudgetConfig, MirrorConfig)


class _Kind(NamedTuple):
    """The actions that add, change and remove a value of a type, and how it is written as a table."""

    add: str
    change: str
    remove: str
    table: Callable[[Any], dict[str, object]]


_KINDS: dict[type, _Kind] = {
    BridgeConfig: _Kind("set_bridge", "set_bridge", "set_bridge", bridge_table),
    CostConfig: _Kind("set_cost", "set_cost", "set_cost", cost_table),
    VlanConfig: _Kind("set_vlan", "set_vlan", "set_vlan", vlan_table),
    PortConfig: _Kind("open_port", "set_port", "close_port", port_table),
    # Entries are never changed in place.
    StaticEntry: _Kind("add_entry", "", "delete_entry", entry_table),
    BudgetConfig: _Kind("add_budget", "set_budget", "delete_budget", budget_table),
    MirrorConfig: _Kind("add_mirror", "set_mirror", "delete_mirror", mirror_table),
    MetricsConfig: _Kind("set_metrics", "set_metrics", "set_metrics", metrics_table),
    MoveGuardConfig: _Kind("set_move_guard", "set_move_guard", "set_move_guard", move_guard_table),
    LoopDetectionConfig: _Kind(
        "set_loop_detection", "set_loop_detection", "set_loop_detection", loop_detection_table
    ),
}


@dataclass(frozen=True, slots=True)
class Action:
    """One step: `before` becomes `after`, None standing for absence. `subject` names what it is done to."""

    kind: str  # a word of _KINDS
    before: Value | None
    after: Value | None
    subject: str

    @property
    def inverse(self) -> Action:
        """The action that undoes this one."""
        return _action(self.after, self.before)

    def __str__(self) -> str:
        """Render as one line: `open port guests: tap tap0, access 10`."""
        return f"{self.kind.replace('_', ' ')} {self.subject}: {_details(self.before, self.after)}"


def plan(old: Config | None, new: Config) -> tuple[Action, ...]:
    """Return the actions that turn `old` (None: nothing is running yet) into `new`, in order."""
    if old is not None:
        _refuse_restart(old.bridge, new.bridge)
    was = old or Config()
    bridge: list[tuple[Value | None, Value | None]]
    bridge = [] if old and old.bridge == new.bridge else [(old.bridge if old else None, new.bridge)]
    if was.cost != new.cost:
        bridge.append((was.cost, new.cost))
    singles: list[tuple[Value, Value]] = [
        (was.metrics, new.metrics),
        (was.move_guard, new.move_guard),
        (was.loop_detection, new.loop_detection),
    ]
    vlans = list(_differences(was.vlans, new.vlans, lambda vlan: vlan.vid, lambda before, after: True))
    ports = list(
        _differences(
            was.ports,
            new.ports,
            lambda port: port.name,
            lambda before, after: before.attachment == after.attachment,
        )
    )
    closed = {before.name for before, after in ports if before and not after}
    entries = list(
        _differences(
            was.entries,
            new.entries,
            lambda entry: (entry.vid, entry.mac),
            lambda before, after: before == after and before.port not in closed,
        )
    )
    budgets = list(
        _differences(was.budgets, new.budgets, lambda budget: budget.name, lambda before, after: True)
    )
    mirrors = list(
        _differences(was.mirrors, new.mirrors, lambda mirror: mirror.name, lambda before, after: True)
    )
    old_ones = (*mirrors, *budgets, *entries, *ports, *vlans)
    new_ones = (*bridge, *vlans, *ports, *entries, *budgets, *mirrors)
    return (
        *(_action(before, after) for before, after in old_ones if after is None),
        *(
            _action(before, after)
            for before, after in (*bridge, *vlans, *ports, *budgets, *mirrors)
            if before and after
        ),
        *(_action(before, after) for before, after in singles if before != after),
        *(_action(before, after) for before, after in new_ones if before is None),
    )


def runs(actions: Iterable[Action]) -> list[list[Action]]:
    """Split actions into runs of a kind; each port that is opened is a run of its own, for it takes its time."""
    found: list[list[Action]] = []
    for action in actions:
        if found and found[-1][0].kind == action.kind != "open_port":
            found[-1].append(action)
        else:
            found.append([action])
    return found


def newly_attached(actions: Iterable[Action]) -> list[PortConfig]:
    """Give the ports to be opened on devices that no port leaves, which may take its device along."""
    ports = [(one.before, one.after) for one in actions if one.kind in ("close_port", "open_port")]
    left = {(before.device, before.netns) for before, _ in ports if isinstance(before, PortConfig)}
    opened = [after for _, after in ports if isinstance(after, PortConfig)]
    return [port for port in opened if (port.device, port.netns) not in left]


def _refuse_restart(old: BridgeConfig, new: BridgeConfig) -> None:
    fixed: dict[str, tuple[object, object]]
    fixed = {"name": (old.name, new.name), "fdb_size": (old.fdb_size, new.fdb_size)}
    if old.address != new.address:
        tables = bridge_table(old), bridge_table(new)
        fixed["address"] = tables[0]["address"] or "the default", tables[1]["address"] or "the default"
    if old.control_socket or new.control_socket:  # else it follows the name
        fixed["control_socket"] = (old.socket_path, new.socket_path)
    problems = [
        Problem(
            f"bridge.{key}", f"only a restart can change {before} to {after}; restart, or put {before} back"
        )
        for key, (before, after) in fixed.items()
        if before != after
    ]
    if problems:
        raise ConfigError(problems)


def _differences(
    old: Iterable[V],
    new: Iterable[V],
    identity: Callable[[V], Hashable],
    is_changeable: Callable[[V, V], bool],
) -> Iterator[tuple[V | None, V | None]]:
    """Yield what differs as pairs before, after; what is not changeable in place is removed and added."""
    was = {identity(value): value for value in old}
    becomes = {identity(value): value for value in new}
    for key in was | becomes:
        before, after = was.get(key), becomes.get(key)
        if before and after and not is_changeable(before, after):
            yield before, None
            yield None, after
        elif before != after:
            yield before, after


def _action(before: Value | None, after: Value | None) -> Action:
    value = after or before
    if value is None:
        raise ValueError("an action needs a value before or after it")
    kind = _KINDS[type(value)]
    word = kind.add if before is None else kind.remove if after is None else kind.change
    return Action(word, before, after, _subject(value))


# -- text


def _subject(value: Value) -> str:
    match value:
        case BridgeConfig() | PortConfig() | BudgetConfig() | MirrorConfig():
            return value.name
        case CostConfig():
            return "prices"
        case VlanConfig():
            return str(value.vid)
        case StaticEntry():
            return f"{format_mac(value.mac)} vlan {value.vid}"
        case MetricsConfig():
            return value.address or "off"
        case MoveGuardConfig():
            return f"{value.moves} moves in {value.window:g} s" if value.moves else "off"
        case LoopDetectionConfig():
            return f"every {value.interval:g} s" if value.interval else "off"


def _table(value: Value) -> dict[str, object]:
    return _KINDS[type(value)].table(value)


def _details(before: Value | None, after: Value | None) -> str:
    if before and after:
        return _describe_change(_table(before), _table(after))
    if after is None and isinstance(before, VlanConfig | BridgeConfig):
        return "settings removed"
    return _describe(after or before)


def _describe_change(before: Mapping[str, object], after: Mapping[str, object]) -> str:
    changed = [key for key in after if before[key] != after[key]]
    return ", ".join(f"{key} {_text(before[key])} -> {_text(after[key])}" for key in changed)


def _describe(value: Value | None) -> str:
    known: Mapping[str, object] = {}
    match value:
        case None:
            return ""
        case PortConfig():
            return _describe_port(value)
        case StaticEntry():
            return f"{value.kind} on {value.port}" if value.port else value.kind
        case BridgeConfig():
            known = {"name": value.name}
        case VlanConfig():
            known = {"id": value.vid}
        case BudgetConfig():
            known = budget_table(BudgetConfig(value.name, "", 0.0))
        case MirrorConfig():
            known = mirror_table(MirrorConfig(value.name))
        case MetricsConfig():
            known = {"address": value.address}
    return _listing(_table(value), known)


def _describe_port(port: PortConfig) -> str:
    place = f" in namespace {port.netns}" if port.netns else ""
    table = port_table(port)
    known = port_table(PortConfig("", "")) | {
        key: table[key] for key in ("name", "kind", "device", "netns", "vlan")
    }
    parts = [f"{port.kind} {port.device}".rstrip() + place, _text(table["vlan"]), _listing(table, known)]
    return ", ".join(part for part in parts if part)


def _listing(table: Mapping[str, object], known: Mapping[str, object]) -> str:
    """Write the keys that are set, but for those whose value is known anyway."""
    told = [(key, item) for key, item in table.items() if item is not None and known.get(key) != item]
    return ", ".join(f"{key} {_text(item)}" for key, item in told)


def _text(item: object) -> str:
    """Write a value of a table for people: `trunk 10,100-119 native 1`."""
    match item:
        case None:
            return "default"
        case bool():
            return str(item).lower()
        case float():
            return toml_value(item)
        case dict():
            return " ".join(f"{key} {_text(value)}" for key, value in item.items())
        case list():
            return ",".join(str(value) for value in item) or "none"
        case _:
            return str(item)
