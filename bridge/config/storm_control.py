"""Storm control: limits of a port for what is flooded, by destination, as a value.

Job: the `storm_control` key of a `[[port]]`; account/storm_budgets.py has the budgets it stands for. The classes are
those of a switch: broadcast, multicast, unknown unicast; an ARP request is a broadcast here.
A limit is a text: `1000 frames/s`, `10 Mbit/s` (bytes of frames as received, tag included), `2e8 cycles/s`, or `5 %` of
the core that the data thread runs on. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

from bridge.config import checks
from bridge.config.budget import EXEMPT, class_list
from bridge.config.key import key, keys, write_keys
from bridge.config.rates import Rate, reader
from bridge.config.table import Table

CLASSES = ("broadcast", "multicast", "unknown")
rate = reader("frames", "bits", "cycles", "percent")


@dataclass(frozen=True, slots=True)
class StormControl:
    """What may be flooded from a port; None: as much as comes."""

    broadcast: Rate | None = key(None, rate)
    multicast: Rate | None = key(None, rate)
    unknown: Rate | None = key(None, rate)
    burst: float = key(0.1, checks.positive("seconds", 60))  # seconds: so much of a limit may come at once
    exempt: tuple[str, ...] = key(
        EXEMPT, class_list
    )  # classes of the bill that neither count nor are dropped

    @property
    def limits(self) -> dict[str, Rate]:
        """The limits there are, by flood class."""
        found = {name: getattr(self, name) for name in CLASSES}
        return {name: limit for name, limit in found.items() if limit is not None}


KEYS = keys(StormControl)
NO_LIMITS = StormControl()


def read_storm_control(table: Table) -> StormControl:
    """Read the `storm_control` table of a port."""
    fields = table.fields(KEYS)
    table.refuse_unknown()
    return StormControl(**fields)


def storm_control_table(control: StormControl) -> dict[str, object] | None:
    """Return the `storm_control` table, None if it says nothing."""
    if control == NO_LIMITS:
        return None
    usual = write_keys(NO_LIMITS, KEYS)
    return {name: item for name, item in write_keys(control, KEYS).items() if item != usual[name]}
