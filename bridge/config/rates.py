"""Rates as people write them: `1000 frames/s`, `10 Mbit/s`, `2e8 cycles/s`, or `5 %` of a core. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bridge.config.key import ValueType
from bridge.config.table import BadValueError, show

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


def reader(*units: str) -> ValueType:
    """Make a type of rates in one of these units."""
    texts = [text for text, (unit, _) in UNITS.items() if unit in units]

    def check(value: object) -> Rate:
        match = _RATE.fullmatch(value) if isinstance(value, str) else None
        if not match or match[2] not in texts:
            raise BadValueError(f"expected a number and one of {', '.join(texts)}, got {show(value)}")
        unit, scale = UNITS[match[2]]
        limit = float(match[1]) * scale
        most = 100 if unit == "percent" else RATE_MAX
        if not RATE_MIN <= limit <= most:
            raise BadValueError(
                f"expected a limit of {RATE_MIN:g} to {most:g} {_WRITTEN[unit]}, got {show(value)}"
            )
        return Rate(unit, limit)

    return ValueType(
        check,
        write=lambda rate: str(rate) if rate else None,
        syntax="RATE",
        expected="a rate like 10Mbit/s or 1000frames/s",
    )
