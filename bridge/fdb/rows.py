"""The FDB as people ask for it: entries that fit filters, how long they are silent, counts, rows.

Every filter that is given (not None) has to fit. Fast, as tables are large: 65,536 rows in a fifth of a second. Thread:
control.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TypedDict, Unpack

from bridge.core._core import Bridge, FdbEntry
from bridge.errors import FramebridgeError
from bridge.fdb.known import FLUSHABLE, KnownEntries, make_key
from bridge.fdb.ticks import Ticks
from bridge.mac import format_mac

Row = dict[str, object]


class Filters(TypedDict, total=False):
    """What else an entry may have to be, beside on a port and in a VLAN."""

    mac: int | None
    state: str | None  # its kind; `held`: sticky for a time
    older: float | None  # silent for so many seconds or more


class Rows:
    """One FDB, looked at."""

    def __init__(self, core: Bridge, ticks: Ticks, known: KnownEntries) -> None:
        self._core = core
        self._ticks = ticks
        self._known = known

    def show(self, port: int | None = None, vid: int | None = None, **more: Unpack[Filters]) -> Iterator[Row]:
        """Give the table as it is now, sorted by VLAN and address; each row is made when it is asked for.

        Refuses an age, with FramebridgeError, where entries do not age.
        """
        found = self.fitting(port, vid, more)
        if self._known.held:
            found = [one._replace(kind="held") if self._is_held(one) else one for one in found]
        names = {index: config.name for index, config in self._known.configured.items()}
        ages, is_ageing = self._ages(), self._ticks.limit > 0
        return (
            {
                "mac": format_mac(address),
                "vlan": vlan,
                "port": names.get(place),
                "state": kind,
                "age": int(ages[tick]) if is_ageing and kind in FLUSHABLE else None,
            }
            for vlan, address, place, kind, tick in found
        )

    def fitting(self, port: int | None, vid: int | None, more: Filters) -> list[FdbEntry]:
        """Give the entries that fit, sorted; what is held for a time is sticky to the table. Refuses as `show`."""
        state = more.get("state")
        if state not in ("held", "sticky"):
            return self._fitting(port, vid, more)
        found = self._fitting(port, vid, {**more, "state": "sticky"})
        return [one for one in found if self._is_held(one) == (state == "held")]

    def _fitting(self, port: int | None, vid: int | None, more: Filters) -> list[FdbEntry]:
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
            ages = self._ages()
            entries = [entry for entry in entries if entry.kind in FLUSHABLE and ages[entry.tick] >= older]
        return entries

    def count_by_port(self) -> Counter[int]:
        """Count entries per port index."""
        self._known.drain()
        return Counter(known.port for known in self._known.entries.values())

    def count_by_vlan(self) -> Counter[int]:
        """Count entries per VLAN."""
        self._known.drain()
        return Counter(key >> 48 for key in self._known.entries)

    def _is_held(self, entry: FdbEntry) -> bool:
        return make_key(entry.vid, entry.mac) in self._known.held

    def _ages(self) -> Mapping[int, float]:
        """Give the seconds since a tick ended by tick; a table has few, each is worked out once."""
        ticks = self._ticks

        class Ages(dict[int, float]):
            def __missing__(self, tick: int) -> float:
                age = self[tick] = ticks.age(tick)
                return age

        return Ages()
