"""The FDB as it is asked for: entries that fit filters, how long they are silent, rows for people.

Every filter that is given (not None) has to fit. Fast, as tables are large: 65,536 rows in a fifth of a second. Thread:
control.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypedDict

from bridge.core._core import Bridge, FdbEntry
from bridge.errors import FramebridgeError
from bridge.fdb.ticks import Ticks
from bridge.mac import format_mac

FLUSHABLE = ("dynamic", "sticky", "held")  # and they age

Row = dict[str, object]


class Filters(TypedDict, total=False):
    """What else an entry may have to be, beside on a port and in a VLAN."""

    mac: int | None
    state: str | None  # its kind; `held`, which Learning knows
    older: float | None  # silent for so many seconds or more


class View:
    """One FDB, looked at."""

    def __init__(self, core: Bridge, ticks: Ticks) -> None:
        self._core = core
        self._ticks = ticks

    def ages(self) -> Mapping[int, float]:
        """Give the seconds since a tick ended by tick; a table has few, each is worked out once."""
        ticks = self._ticks

        class Ages(dict[int, float]):
            def __missing__(self, tick: int) -> float:
                age = self[tick] = ticks.age(tick)
                return age

        return Ages()

    def fitting(self, port: int | None, vid: int | None, more: Filters) -> list[FdbEntry]:
        """Give the entries that fit, sorted; refuses an age, with FramebridgeError, where entries do not age."""
        mac, state, older = more.get("mac"), more.get("state"), more.get("older")
        if older is not None and not self._ticks.limit:
            raise FramebridgeError(
                "with bridge.ageing_time 0 nobody knows how old an entry is; leave out the age"
            )
        if vid is not None and mac is not None:
            entries = [entry for entry in (self._core.fdb_find(vid, mac),) if entry is not None]
        else:
            entries = self._core.fdb_entries()
        if port is not None:
            entries = [entry for entry in entries if entry.port == port]
        if vid is not None:
            entries = [entry for entry in entries if entry.vid == vid]
        if mac is not None:
            entries = [entry for entry in entries if entry.mac == mac]
        if state is not None:
            entries = [entry for entry in entries if entry.kind == state]
        if older is not None:
            ages = self.ages()
            entries = [entry for entry in entries if entry.kind in FLUSHABLE and ages[entry.tick] >= older]
        return entries

    def rows(self, entries: list[FdbEntry], names: Mapping[int, str]) -> Iterator[Row]:
        """Write entries as rows, each when it is asked for: a large table is never whole in memory as rows."""
        ages, is_ageing = self.ages(), self._ticks.limit > 0
        return (
            {
                "mac": format_mac(address),
                "vlan": vlan,
                "port": names.get(place),
                "state": kind,
                "age": int(ages[tick]) if is_ageing and kind in FLUSHABLE else None,
            }
            for vlan, address, place, kind, tick in entries
        )
