"""What of the FDB outlives the process: given away at its end, put back at the next start.

Job: `remember` and `restore` entries by the name of their port and how long they were silent; `file` writes and reads
them. Thread: control; what `remember` returns may be read in any. Refuses nothing: what cannot be restored is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from bridge.config.static_entry import StaticEntry
from bridge.core._core import Bridge, FdbEntry
from bridge.fdb.known import FLUSHABLE, KnownEntries, make_key
from bridge.fdb.static_entries import StaticEntries
from bridge.fdb.ticks import Ticks


class Saved(NamedTuple):
    """A dynamic or sticky entry as it outlives the process."""

    vid: int
    mac: int
    port: str  # its name
    kind: str
    silent: float  # seconds


class Store:
    """The way of one FDB over a restart."""

    def __init__(self, core: Bridge, ticks: Ticks, known: KnownEntries, static: StaticEntries) -> None:
        self._core = core
        self._ticks = ticks
        self._known = known
        self._static = static

    @property
    def port_names(self) -> dict[str, bool]:
        """Ports by name, and whether they carry traffic."""
        return {port.name: index in self._known.ports for index, port in self._known.configured.items()}

    def remember(self) -> Iterator[Saved]:
        """Give the dynamic and sticky entries that a restart should not lose, in any thread.

        The table is read now; each is made when it is asked for.
        """
        self._known.drain()
        entries = self._core.fdb_entries()
        is_ageing = self._ticks.limit > 0
        ages = {tick: self._ticks.age(tick) if is_ageing else 0.0 for tick in {one.tick for one in entries}}
        names = {index: port.name for index, port in self._known.configured.items()}
        held = frozenset(self._known.held)
        return (
            Saved(
                vid, mac, names[port], "dynamic" if held and make_key(vid, mac) in held else kind, ages[tick]
            )
            for vid, mac, port, kind, tick in entries
            if kind in FLUSHABLE and port in names
        )

    def restore(self, saved: Iterable[Saved]) -> int:
        """Put entries of before a restart back, with their age; returns how many.

        What is there by now, or was set by hand, wins. Entries of VLANs that their port does not carry are left out,
        and learned ones of ports that do not carry traffic. Sticky ones come first and as by hand: no limit holds for
        them, and a learned one gives way. The others stay inside all limits, and nobody gives way to them.
        """
        self._known.drain()
        known = self._known
        carrying, every = (
            {port.name: (index, port.members) for index, port in ports.items()}
            for ports in (known.ports, known.configured)
        )
        entries = []
        for one in saved:
            places = every if one.kind == "sticky" else carrying
            index, members = places.get(one.port, (-1, frozenset[int]()))
            if one.vid in members and make_key(one.vid, one.mac) not in self._static:
                tick = self._ticks.carried(one.silent)
                entries.append(FdbEntry(one.vid, one.mac, index, one.kind, tick))
        entries.sort(key=lambda entry: entry.kind != "sticky")
        done = self._core.fdb_restore(entries)
        self._known.drain()
        self._known.is_stale = True
        restored = [entry for entry, is_done in zip(entries, done, strict=True) if is_done]
        for entry in restored:
            self._take_back(entry)
        self._known.counters.restored += len(restored)
        return len(restored)

    def _take_back(self, entry: FdbEntry) -> None:
        self._known.add(make_key(entry.vid, entry.mac), entry.port, entry.kind)
        if entry.kind == "sticky":
            held_by_hand = StaticEntry(
                entry.vid, entry.mac, "sticky", self._known.configured[entry.port].name
            )
            self._static.restored(held_by_hand, entry.port)
