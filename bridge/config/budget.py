"""One `[[budget]]` of the configuration: a limit in cycles, frames or bits per second. Pure.

What a budget means frame by frame is in csrc/account/budget.h.
Refuses: what names nothing a frame can have, and more than one limit.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from bridge import declared
from bridge.config import checks, words
from bridge.config.key import REQUIRED, Key, ValueType, key, keys, write_keys
from bridge.config.section import Found, Section, Unique
from bridge.config.table import Report, Table, did_you_mean
from bridge.config.text import listing
from bridge.declared import CLASSES

UNITS = ("cycles", "frames", "bits")

ACTIONS = ("drop", "count", "stop_learning")

CLASS_NAMES = tuple(name for name in CLASSES if name != "dropped")

EXEMPT = ("first_hop", "heartbeat")

STORM_LIMITS = 3  # of a port: one for each flood class

BUDGETS_MAX = (
    declared.BUDGETS_MAX - STORM_LIMITS * declared.PORTS_MAX
)  # of the configuration; there is always room for storm control


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Sort names of classes as the data plane does."""
    chosen = set(names)
    return tuple(name for name in CLASS_NAMES if name in chosen)


_class_name = checks.choice(*CLASS_NAMES)
class_list = ValueType(
    lambda word: (_class_name(word),),
    write=list,
    syntax="LIST",
    read=words.texts,
    is_list=True,
    collect=in_order,
)


@dataclass(frozen=True, slots=True)
class BudgetConfig:
    """One `[[budget]]`. What is left blank is not asked of a frame; the rest must all fit."""

    name: str = key(REQUIRED, checks.name)
    unit: str = "cycles"  # cycles | frames (wire frames) | bits (of frames as received)
    limit: float = 0.0  # units per second, in the long run
    port: str = key("", checks.name)  # ingress
    vlan: int = key(0, checks.vid)
    # of the frame; none: all of them
    classes: tuple[str, ...] = key(
        (), replace(class_list, write=lambda some: list(some) or None), name="class"
    )
    talker: int = key(0, checks.station)  # source MAC address
    burst: float = key(0.1, checks.positive("seconds", 60))  # seconds: so much may be spent at once
    action: str = key("drop", checks.choice(*ACTIONS))  # drop | count | stop_learning
    exempt: tuple[str, ...] = key(EXEMPT, class_list)  # classes that neither spend nor are dropped
    floods: tuple[str, ...] = ()  # storm control: of unknown, multicast, broadcast; not in a `[[budget]]`

    @property
    def spenders(self) -> tuple[str, ...]:
        """Classes the budget is about."""
        return tuple(name for name in self.classes or CLASS_NAMES if name not in self.exempt)


KEYS = keys(BudgetConfig)
_LIMITS = tuple(
    Key(f"{unit}_per_second", unit, ValueType(checks.positive("a number", 1e13))) for unit in UNITS
)


def read_budget(table: Table) -> BudgetConfig:
    """Read one `[[budget]]`; flaws are reported to the report of the table and leave their field blank."""
    fields = table.fields(KEYS, required=("name",))
    limit = table.fields(_LIMITS)
    table.refuse_unknown()
    limits = [unit for unit in UNITS if f"{unit}_per_second" in table]
    if len(limits) != 1:
        table.fail("write exactly one of " + ", ".join(f"{unit}_per_second" for unit in UNITS))
    budget = BudgetConfig(
        **{"name": "", **fields},
        unit=limits[0] if limits else UNITS[0],
        limit=limit.get(limits[0], 0.0) if limits else 0.0,
    )
    if not budget.spenders:
        table.fail("every class it names is exempt; change class or exempt", "class")
    if budget.action == "stop_learning" and not budget.talker and not budget.port:
        table.fail("stop_learning is for a talker or the talkers of a port; add talker or port", "action")
    return budget


def budget_table(budget: BudgetConfig) -> dict[str, object]:
    """Return the `[[budget]]` table, absent keys None."""
    limits = {f"{unit}_per_second": budget.limit if unit == budget.unit else None for unit in UNITS}
    table: dict[str, object] = {}
    for name, item in write_keys(budget, KEYS).items():
        table |= {name: item} if name != "burst" else {**limits, name: item}
    return table


def _check(report: Report, found: Found) -> None:
    """Report budgets of ports that do not exist."""
    names = {port.name for _, port in found["ports"]}
    for path, budget in found["budgets"]:
        if budget.port and "" not in names and budget.port not in names:
            hint = did_you_mean(budget.port, names) or "; add it, or remove the budget"
            report.add((*path, "port"), f"there is no port {budget.port!r}{hint}")


SECTION = Section(
    name="budget",
    field="budgets",
    read=read_budget,
    write=budget_table,
    blank=BudgetConfig("", "", 0.0),
    actions=("add_budget", "set_budget", "delete_budget"),
    subject=lambda budget: budget.name,
    describe=lambda budget: listing(budget_table(budget), budget_table(BudgetConfig(budget.name, "", 0.0))),
    identity=lambda budget: budget.name,
    label=lambda budget: budget.name,
    limit=BUDGETS_MAX,
    unique=(Unique("name", lambda budget: budget.name, "give each budget its own name"),),
    check=_check,
)
