"""What of the FDB outlives the process: given away at its end, put back at the next start.

Job: `remember` and `restore` entries by the name of their port and how long they were silent; `file` writes and reads
them. Thread: control; what `remember` returns may be read in any. Refuses nothing: what cannot be restored is left out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from bridge.config.static_entry import StaticEntry
from bridge.core._core import Bridge, FdbEntry
from bridge.fdb.known import FLUSHABLE, KnownEntries, make_key, split_key
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

    # -- entries of another bridge, which a member of a pair keeps as if it had learned them (ha/sync.py)

    def adopt(self, port: str, keys: Collection[int]) -> int:
        """Have these addresses on a port, wherever they were, as of now; returns how many had to be left out.

        What was set by hand stays as it is, and is not counted.
        """
        self._known.drain()
        places = {one.name: (index, one.members) for index, one in self._known.ports.items()}
        index, members = places.get(port, (-1, frozenset[int]()))
        wanted = [key for key in keys if key >> 48 in members and key not in self._static]
        done = self._core.fdb_set_many([(*split_key(key), index, "dynamic") for key in wanted])
        self._known.drain()
        for key, is_done in zip(wanted, done, strict=True):
            before = self._known.entries.get(key)
            if is_done and (before is None or (before.port, before.kind) != (index, "dynamic")):
                self._known.held.discard(key)
                self._known.add(key, index, "dynamic")
        by_hand = sum(key in self._static for key in keys)
        return len(keys) - by_hand - sum(done)

    def withdraw(self, keys: Iterable[int]) -> None:
        """Forget those of these that are dynamic."""
        known = self._known.entries
        gone = [key for key in keys if key in known and known[key].kind == "dynamic"]
        self._core.fdb_forget_each([FdbEntry(*split_key(key), known[key].port, "dynamic", 0) for key in gone])
        for key in gone:
            self._known.remove(key)

    def dynamic_keys(self) -> set[int]:
        """Give the keys of the dynamic entries."""
        return {key for key, known in self._known.entries.items() if known.kind == "dynamic"}

    def _take_back(self, entry: FdbEntry) -> None:
        self._known.add(make_key(entry.vid, entry.mac), entry.port, entry.kind)
        if entry.kind == "sticky":
            held_by_hand = StaticEntry(
                entry.vid, entry.mac, "sticky", self._known.configured[entry.port].name
            )
            self._static.restored(held_by_hand, entry.port)
