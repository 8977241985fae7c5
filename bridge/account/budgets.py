"""Budgets: limits in cycles, frames or bits per second for a port, VLAN, class or talker, from file to data plane.

Job: the `[[budget]]` table as a value, reading and writing of it, and `Budgets`, which writes the configured ones
into snapshots and tells their state in rows. What a budget means frame by frame is in csrc/account/budget.h.
Thread: control. Invariant: a budget keeps its tokens and counters as long as its name is in the configuration.
Refuses: what names nothing a frame can have, and more than one limit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bridge.config import checks
from bridge.config.checks import BadValueError, Keys, Table, show
from bridge.core._core import BUDGETS_MAX as CORE_MAX
from bridge.core._core import CLASSES, PORTS_MAX, Bridge, BudgetState, Snapshot
from bridge.mac import format_mac

UNITS = ("cycles", "frames", "bits")
ACTIONS = ("drop", "count", "stop_learning")
CLASS_NAMES = tuple(name for name, _ in CLASSES if name != "dropped")
EXEMPT = ("first_hop", "heartbeat")
STORM_LIMITS = 3  # of a port: one for each flood class
CALM = 1.0  # seconds a budget has tokens until it is told to be within its limit again
BUDGETS_MAX = (
    CORE_MAX - STORM_LIMITS * PORTS_MAX
)  # of the configuration; there is always room for storm control
Row = dict[str, object]


@dataclass(frozen=True, slots=True)
class BudgetConfig:
    """One `[[budget]]`. What is left blank is not asked of a frame; the rest must all fit."""

    name: str
    unit: str  # cycles | frames (wire frames) | bits (of frames as received)
    limit: float  # units per second, in the long run
    burst: float = 0.1  # seconds: so much of the limit may be spent at once
    action: str = "drop"  # drop | count | stop_learning
    port: str = ""  # ingress
    vlan: int = 0
    classes: tuple[str, ...] = ()  # of the frame; none: all of them
    talker: int = 0  # source MAC address
    exempt: tuple[str, ...] = EXEMPT  # classes that neither spend nor are dropped
    floods: tuple[str, ...] = ()  # storm control: of unknown, multicast, broadcast; not in a `[[budget]]`

    @property
    def spenders(self) -> tuple[str, ...]:
        """Classes the budget is about."""
        return tuple(name for name in self.classes or CLASS_NAMES if name not in self.exempt)


def positive(what: str, high: float) -> checks.Check:
    """Make a check for numbers above 0."""

    def check(value: object) -> float:
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= high:
            return float(value)
        raise BadValueError(f"expected {what} above 0 and at most {high:g}, got {show(value)}")

    return check


_rate = positive("a number", 1e13)
class_name = checks.choice(*CLASS_NAMES)

_KEYS: Keys = {
    "name": ("name", checks.name),
    **{f"{unit}_per_second": (unit, _rate) for unit in UNITS},
    "burst": ("burst", positive("seconds", 60)),
    "action": ("action", checks.choice(*ACTIONS)),
    "port": ("port", checks.name),
    "vlan": ("vlan", checks.vid),
    "talker": ("talker", checks.station),
}


def read_budget(table: Table) -> BudgetConfig:
    """Read one `[[budget]]`; flaws are told to the report of the table and leave their field blank."""
    fields = table.fields(_KEYS, required=("name",))
    classes = table.union("class", lambda word: (class_name(word),))
    exempt = table.union("exempt", lambda word: (class_name(word),))
    table.refuse_unknown()
    limits = [unit for unit in UNITS if f"{unit}_per_second" in table]
    if len(limits) != 1:
        table.fail("write exactly one of " + ", ".join(f"{unit}_per_second" for unit in UNITS))
    limit = {unit: fields.pop(unit) for unit in UNITS if unit in fields}
    budget = BudgetConfig(
        **{"name": "", **fields},
        unit=limits[0] if limits else UNITS[0],
        limit=limit.get(limits[0], 0.0) if limits else 0.0,
        classes=in_order(classes or ()),
        exempt=EXEMPT if exempt is None else in_order(exempt),
    )
    if not budget.spenders:
        table.fail("every class it names is exempt; change class or exempt", "class")
    if budget.action == "stop_learning" and not budget.talker and not budget.port:
        table.fail("stop_learning is for a talker or the talkers of a port; add talker or port", "action")
    return budget


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Sort names of classes as the data plane does."""
    chosen = set(names)
    return tuple(name for name in CLASS_NAMES if name in chosen)


def budget_table(budget: BudgetConfig) -> dict[str, object]:
    """Return the `[[budget]]` table, absent keys None."""
    limits = {f"{unit}_per_second": budget.limit if unit == budget.unit else None for unit in UNITS}
    return {
        "name": budget.name or None,
        "port": budget.port or None,
        "vlan": budget.vlan or None,
        "class": list(budget.classes) or None,
        "talker": format_mac(budget.talker) if budget.talker else None,
        **limits,
        "burst": budget.burst,
        "action": budget.action,
        "exempt": list(budget.exempt),
    }


class Budgets:
    """The budgets in force, by name."""

    def __init__(self) -> None:
        self._budgets: dict[str, BudgetConfig] = {}
        self._serials: dict[str, int] = {}
        self._next = 1
        self._written: tuple[str, ...] = ()  # names in the order of the last snapshot
        self._attached: frozenset[str] = frozenset()  # ports, by then

    def __bool__(self) -> bool:
        return bool(self._budgets)

    def set(self, budget: BudgetConfig) -> None:
        """Add a budget, or change one and keep its state; that of another unit begins anew."""
        before = self._budgets.get(budget.name)
        if before is None or before.unit != budget.unit:
            self._serials[budget.name] = self._next
            self._next += 1
        self._budgets[budget.name] = budget

    def remove(self, name: str) -> None:
        """Forget a budget and its state."""
        del self._budgets[name], self._serials[name]

    def limit_storms(self, port: str, budgets: Iterable[BudgetConfig]) -> None:
        """Make these the budgets of a port's storm control, in place of those it had."""
        wanted = {budget.name: budget for budget in budgets}
        had = [name for name, budget in self._budgets.items() if budget.floods and budget.port == port]
        for name in had:
            if name not in wanted:
                self.remove(name)
        for budget in wanted.values():
            self.set(budget)

    def add_to(
        self, snapshot: Snapshot, ports: Mapping[str, int], attached: Collection[str], hz: float
    ) -> None:
        """Write them down; `ports` are those that have an index, `hz` the cycles per second.

        Budgets of ports that are not attached are written too, so that the data plane keeps their state.
        """
        self._attached = frozenset(attached)
        self._written = tuple(
            name for name, budget in sorted(self._budgets.items()) if not budget.port or budget.port in ports
        )
        for name in self._written:
            budget = self._budgets[name]
            options: dict[str, Any] = {"port": ports[budget.port]} if budget.port else {}
            snapshot.add_budget(
                self._serials[name],
                unit=budget.unit,
                rate=budget.limit / hz,
                burst=max(1.0, budget.limit * budget.burst),
                calm=round(CALM * hz),
                action=budget.action,
                classes=budget.spenders,
                vid=budget.vlan,
                talker=budget.talker,
                floods=budget.floods,
                **options,
            )

    def at(self, place: int) -> BudgetConfig | None:
        """Find the budget at a place of the last snapshot, as events give it; None: it is gone."""
        return self._budgets.get(self._written[place]) if place < len(self._written) else None

    def rows(self, core: Bridge) -> list[Row]:
        """One row per budget: what it is about, its limit, and what became of it."""
        states = {state.serial: state for state in core.budgets()} if self._budgets else {}
        return [
            _row(budget, states.get(self._serials[name]), is_absent=budget.port not in self._attached | {""})
            for name, budget in sorted(self._budgets.items())
        ]

    def storm_rows(self, core: Bridge, port: str | None = None) -> list[Row]:
        """One row per limit of storm control: its port and class, and what became of it."""
        names = {
            name for name, budget in self._budgets.items() if budget.floods and port in (None, budget.port)
        }
        return [
            {"port": row["port"], "flood": row["flood"]}
            | {
                key: row[key]
                for key in ("unit", "per_second", "state", "left", "spent", "dropped", "times_over")
            }
            for row in self.rows(core)
            if row["budget"] in names
        ]


def _row(budget: BudgetConfig, state: BudgetState | None, *, is_absent: bool) -> Row:
    capacity = max(1.0, budget.limit * budget.burst)
    return {
        "budget": budget.name,
        "port": budget.port or None,
        "vlan": budget.vlan or None,
        "class": list(budget.classes) or None,
        "flood": ",".join(budget.floods) or None,
        "talker": format_mac(budget.talker) if budget.talker else None,
        "exempt": list(budget.exempt),
        "unit": budget.unit,
        "per_second": budget.limit,
        "action": budget.action,
        "state": "absent" if is_absent or state is None else "over" if state.over else "within",
        "left": None if state is None else round(state.tokens / capacity, 3),
        "spent": state.spent if state else 0,
        "dropped": state.dropped if state else 0,
        "times_over": state.times_over if state else 0,
    }
