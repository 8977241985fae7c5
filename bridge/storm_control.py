"""Storm control: limits of a port for what is flooded, by destination, from file to data plane.

Job: the `storm_control` key of a `[[port]]`, and the budgets (csrc/budget.h) it stands for. The classes are a switch's:
broadcast, multicast, unknown unicast; an ARP request is a broadcast here. Pure.
A limit is a text: `1000 frames/s`, `10 Mbit/s` (bytes of frames as received, tag included), `2e8 cycles/s`, or `5 %` of
the core that the data thread runs on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from bridge.budgets import EXEMPT, BudgetConfig, class_name, in_order, positive
from bridge.checks import BadValueError, Table, show

CLASSES = ("broadcast", "multicast", "unknown")
UNITS = {  # as written: unit of the budget, how many of it
    "frames/s": ("frames", 1.0),
    "bit/s": ("bits", 1.0),
    "kbit/s": ("bits", 1e3),
    "Mbit/s": ("bits", 1e6),
    "Gbit/s": ("bits", 1e9),
    "cycles/s": ("cycles", 1.0),
    "%": ("percent", 1.0),
}
RATE_MIN, RATE_MAX = 0.001, 1e13
_WRITTEN = {unit: text for text, (unit, scale) in UNITS.items() if scale == 1.0}
_BIT_UNITS = ("Gbit/s", "Mbit/s", "kbit/s")
_RATE = re.compile(r"([0-9]+(?:\.[0-9]+)?(?:e[0-9]{1,2})?)\s*([A-Za-z]*/s|%)")


@dataclass(frozen=True, slots=True)
class Rate:
    """So many units a second; `percent` is of a core."""

    unit: str  # frames | bits | cycles | percent
    limit: float

    def __str__(self) -> str:
        """Write it so that it is read as the same number: in the largest unit that it is a whole number of."""
        number, unit = float(self.limit), _WRITTEN[self.unit]
        if self.unit == "bits":
            unit = next((text for text in _BIT_UNITS if number % UNITS[text][1] == 0), unit)
            number /= UNITS[unit][1]
        return f"{int(number) if number.is_integer() else number!r} {unit}"


def rate(value: object) -> Rate:
    """Check for a limit."""
    match = _RATE.fullmatch(value) if isinstance(value, str) else None
    if not match or match[2] not in UNITS:
        raise BadValueError(f"expected a number and one of {', '.join(UNITS)}, got {show(value)}")
    unit, scale = UNITS[match[2]]
    limit = float(match[1]) * scale
    most = 100 if unit == "percent" else RATE_MAX
    if not RATE_MIN <= limit <= most:
        raise BadValueError(
            f"expected a limit of {RATE_MIN:g} to {most:g} {_WRITTEN[unit]}, got {show(value)}"
        )
    return Rate(unit, limit)


@dataclass(frozen=True, slots=True)
class StormControl:
    """What may be flooded from a port; None: as much as comes."""

    broadcast: Rate | None = None
    multicast: Rate | None = None
    unknown: Rate | None = None
    burst: float = 0.1  # seconds: so much of a limit may come at once
    exempt: tuple[str, ...] = EXEMPT  # classes of the bill that neither count nor are dropped

    @property
    def limits(self) -> dict[str, Rate]:
        """The limits there are, by flood class."""
        found = {name: getattr(self, name) for name in CLASSES}
        return {name: limit for name, limit in found.items() if limit is not None}


NO_LIMITS = StormControl()


def read_storm_control(table: Table) -> StormControl:
    """Read the `storm_control` table of a port."""
    fields = table.fields(
        {**{name: (name, rate) for name in CLASSES}, "burst": ("burst", positive("seconds", 60))}
    )
    exempt = table.union("exempt", lambda word: (class_name(word),))
    table.refuse_unknown()
    if exempt is not None:
        fields["exempt"] = in_order(exempt)
    return StormControl(**fields)


def storm_control_table(control: StormControl) -> dict[str, object] | None:
    """Return the `storm_control` table, None if it says nothing."""
    if control == NO_LIMITS:
        return None
    table: dict[str, object] = {name: str(limit) for name, limit in control.limits.items()}
    if control.burst != NO_LIMITS.burst:
        table["burst"] = control.burst
    if control.exempt != EXEMPT:
        table["exempt"] = list(control.exempt)
    return table


def storm_budgets(port: str, control: StormControl, hz: float) -> Iterator[BudgetConfig]:
    """Yield the budgets that keep a port to its limits; `hz` are the cycles of a core per second."""
    for flood, limit in control.limits.items():
        percent = limit.unit == "percent"
        yield BudgetConfig(
            name=f"{port} storm {flood}",  # no `[[budget]]` can be called so
            unit="cycles" if percent else limit.unit,
            limit=limit.limit / 100 * hz if percent else limit.limit,
            burst=control.burst,
            port=port,
            exempt=control.exempt,
            floods=(flood,),
        )
