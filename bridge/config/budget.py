"""One `[[budget]]` of the configuration: a limit in cycles, frames or bits per second. Pure.

What a budget means frame by frame is in csrc/account/budget.h.
Refuses: what names nothing a frame can have, and more than one limit.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bridge import declared
from bridge.config import checks
from bridge.config.section import Found, Section, Unique
from bridge.config.table import Keys, Report, Table, did_you_mean
from bridge.config.text import listing
from bridge.declared import CLASSES
from bridge.mac import format_mac

UNITS = ("cycles", "frames", "bits")

ACTIONS = ("drop", "count", "stop_learning")

CLASS_NAMES = tuple(name for name in CLASSES if name != "dropped")

EXEMPT = ("first_hop", "heartbeat")

STORM_LIMITS = 3  # of a port: one for each flood class

BUDGETS_MAX = (
    declared.BUDGETS_MAX - STORM_LIMITS * declared.PORTS_MAX
)  # of the configuration; there is always room for storm control


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


_rate = checks.positive("a number", 1e13)

class_name = checks.choice(*CLASS_NAMES)

_KEYS: Keys = {
    "name": ("name", checks.name),
    **{f"{unit}_per_second": (unit, _rate) for unit in UNITS},
    "burst": ("burst", checks.positive("seconds", 60)),
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
