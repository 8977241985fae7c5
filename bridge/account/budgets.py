"""Budgets: limits in cycles, frames or bits per second for a port, VLAN, class or talker, from file to data plane.

Job: write the configured budgets into snapshots and give rows of their state. What a budget means frame by frame is in
csrc/account/budget.h, its table in config/budget.py.
Thread: control. Invariant: a budget keeps its tokens and counters as long as its name is in the configuration.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from bridge.config.budget import BudgetConfig
from bridge.core._core import Bridge, BudgetState, Snapshot
from bridge.mac import format_mac

CALM = 1.0  # seconds a budget has tokens until it is reported to be within its limit again
Row = dict[str, object]


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

    @property
    def configs(self) -> tuple[BudgetConfig, ...]:
        """The budgets in force, those of storm control included."""
        return tuple(self._budgets.values())

    @property
    def names_by_serial(self) -> dict[int, str]:
        """The names that the data plane's states belong to."""
        return {serial: name for name, serial in self._serials.items()}

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
