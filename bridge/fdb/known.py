"""What the control thread knows of the FDB: a mirror of the table, and the seam where others follow it.

Job: one `KnownEntry` for each entry of the data plane's table, with what the table does not keep: since when it is
there and how often it moved. The table stays the truth; `Learning` keeps the mirror equal to it by events, and by a
resync where events were lost. Thread: control.

The seam: `on_change(listener)`. A listener hears of every change of the mirror, once the mirror has it.

* `fdb_changed(change)`: one entry was added, moved or removed.
  `added`: the table has this entry now, in the place of one of the same VLAN and address (another kind, another port).
  `moved`: the same entry is on `port` now, and was on `old_port`.
  `removed`: the entry as it was last known is gone: aged, deleted, evicted, refused where it went.
* `fdb_reset()`: many changed at once (a flush, a port that left, a resync). Read `entries` again; what was reported
  before no longer counts. A change that follows may be in `entries` already: added and moved set, removed unsets.
* Order: all listeners hear the same changes in the same order, also of those that a listener causes while it is
  called. An exception of one is logged, and concerns nobody else.
* Loss: where events were lost, the mirror and its listeners lag behind the table until the resync, a second or so.
  A resync reports who moved meanwhile one by one, then one `fdb_reset` if anything else differs.

Cost: without listeners a change costs one test. With them every learned or moved address is one call in the control
thread; a listener that has work to do collects changes and does it later.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from bridge.clock import Clock
from bridge.config.port import PortConfig
from bridge.core._core import FdbEntry

log = logging.getLogger(__package__)

FLUSHABLE = ("dynamic", "sticky", "held")  # kinds that age and that a flush removes


def make_key(vid: int, mac: int) -> int:
    """Give the key of an address in a VLAN."""
    return vid << 48 | mac


def split_key(key: int) -> tuple[int, int]:
    """Give VLAN and address of a key."""
    return key >> 48, key & (1 << 48) - 1


class Change(NamedTuple):
    """One entry that was added, moved or removed."""

    what: str  # added | moved | removed
    vid: int
    mac: int
    port: int  # index; -1: a drop entry
    kind: str  # dynamic | sticky (also held for a time) | static | drop
    old_port: int = -1  # moved: where it was


class Listener(Protocol):
    """Whoever follows the FDB: the kernel offload, the pair, the protection."""

    def fdb_changed(self, change: Change) -> None:
        """One entry changed."""

    def fdb_reset(self) -> None:
        """Many entries changed: read them again."""


@dataclass(slots=True)
class KnownEntry:
    """The mirror of one entry."""

    port: int
    kind: str
    since: float
    moves: int = 0


@dataclass(slots=True)
class LearningCounters:
    """What happened to the table since the start."""

    learned: int = 0
    moved: int = 0
    aged: int = 0
    flushed: int = 0
    evicted: int = 0
    restored: int = 0
    lost: int = 0  # events
    resyncs: int = 0


class Resync(NamedTuple):
    """What a resync found."""

    added: int
    removed: int


class KnownEntries:
    """The mirror of one FDB. `drain` handles the events that wait, so that the mirror is of now."""

    def __init__(self, clock: Clock, drain: Callable[[], None]) -> None:
        self.drain = drain
        self.counters = LearningCounters()
        self.entries: dict[int, KnownEntry] = {}  # by key
        self.held: set[int] = set()  # keys that are sticky for a time, because they moved too often
        self.ports: Mapping[int, PortConfig] = {}  # those that carry traffic, by index
        self.configured: Mapping[int, PortConfig] = {}  # all
        self.is_stale = False  # the table may differ: resync
        self._clock = clock
        self._listeners: list[Listener] = []
        self._changes: deque[Change | None] = deque()  # to be reported; None: a reset
        self._is_reporting = False

    def on_change(self, listener: Listener) -> None:
        """Report every change from now on; entries that are there already are in `entries`."""
        self._listeners.append(listener)

    def port_name(self, index: int) -> str | None:
        """Name a port; None: there is none of that index."""
        port = self.configured.get(index)
        return port.name if port else None

    # -- one entry

    def add(self, key: int, port: int, kind: str, now: float | None = None) -> None:
        """Note an entry that was put into the table, in the place of one of the same key."""
        self.entries[key] = KnownEntry(port, kind, self._clock.now() if now is None else now)
        if self._listeners:
            self._report(Change("added", *split_key(key), port, kind))

    def change_kind(self, key: int, kind: str) -> None:
        """Note that an entry is of another kind now, and otherwise the same."""
        self.entries[key].kind = kind
        if self._listeners:
            self._report(Change("added", *split_key(key), self.entries[key].port, kind))

    def move(self, key: int, port: int, now: float) -> KnownEntry:
        """Note that an entry is on another port now; `report_move` follows."""
        known = self.entries.get(key)
        if known is None:  # the event that it was learned is lost
            known = self.entries[key] = KnownEntry(port, "dynamic", now)
        known.port = port
        known.moves += 1
        return known

    def report_move(self, vid: int, mac: int, known: KnownEntry, old_port: int) -> None:
        """Report a move to the listeners."""
        if self._listeners:
            self._report(Change("moved", vid, mac, known.port, known.kind, old_port))

    def remove(self, key: int) -> KnownEntry | None:
        """Note that an entry is no longer in the table; None: nobody knew it."""
        self.held.discard(key)
        known = self.entries.pop(key, None)
        if known is not None and self._listeners:
            self._report(Change("removed", *split_key(key), known.port, known.kind))
        return known

    # -- many

    def remove_all(self, keys: Collection[int]) -> None:
        """Note that many entries are no longer in the table."""
        if not keys:
            return
        self.held.difference_update(keys)
        for key in keys:
            self.entries.pop(key, None)
        self._report(None)

    def become(self, table: Iterable[FdbEntry]) -> Resync:
        """Be equal to the table; what is known of an entry that is still there stays."""
        before, now = self.entries, self._clock.now()
        self.entries, moved, differs = {}, [], False
        for entry in table:
            key = make_key(entry.vid, entry.mac)
            known = before.get(key) or KnownEntry(entry.port, entry.kind, now)
            differs = differs or known.kind != entry.kind
            old_port, known.port, known.kind = known.port, entry.port, entry.kind
            self.entries[key] = known
            if old_port != entry.port:
                known.moves += 1
                moved.append((entry.vid, entry.mac, known, old_port))
        self.held &= self.entries.keys()
        found = Resync(len(self.entries.keys() - before.keys()), len(before.keys() - self.entries.keys()))
        for one in moved:
            self.report_move(*one)
        if differs or any(found):
            self._report(None)
        return found

    # -- the seam

    def _report(self, change: Change | None) -> None:
        """Report a change (None: a reset) to all listeners, after those that are being reported."""
        if self._is_reporting:
            self._changes.append(change)
            return
        self._is_reporting = True
        self._hand_out(change)
        while self._changes:
            self._hand_out(self._changes.popleft())
        self._is_reporting = False

    def _hand_out(self, change: Change | None) -> None:
        for listener in self._listeners:
            try:
                if change is None:
                    listener.fdb_reset()
                else:
                    listener.fdb_changed(change)
            except Exception:
                log.exception("a listener of the FDB failed: %s", change or "reset")
