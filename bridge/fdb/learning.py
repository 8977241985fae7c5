"""MAC learning policy: who may be in the FDB, for how long, and who hears of it.

The data plane installs what it sees at once, inside the limits of its snapshot, and tells us in events. This
file is the authority over everything else: ageing, static entries, flushing, decisions in controlled mode. It
keeps a mirror of the table, so that what happened to an entry can be told; the table itself stays the truth.
Thread: control. Only this thread removes entries; that is what lets the mirror follow by events alone.

* **Ageing.** `tick` advances the data plane's tick (fdb/ticks.py). An entry leaves between ageing_time and one tick
  later, or sooner by command: `flush` with an age is 802.1Q's fast ageing. With ageing_time 0 the tick stands still.
* **Pinned entries** (static, sticky, drop: from the configuration or by command) are static_entries.py. In a full
  table a learned entry gives way to them, as it does to a station that is let in by hand.
* **Loss.** Events that found the ring full cost a resync of the mirror at the next `tick`, never more than
  one per call, and no more than RESYNC_SHARE of a core in a storm that does not end. So does a flush, because
  an event of before may still have been under way.
* **Storms.** Refusals and requests that repeat are counted as far as the data plane hints at them (csrc/count/event.h),
  and told once per `tick`. Events are taken in slices, so a storm delays other work of the thread by a slice; what it
  cannot follow is lost, counted, resynced.
* **Locked ports.** Who was kept out is told and remembered like a request, so that it can be let in. A station that an
  allow list no longer has is forgotten; one that a port knew when it was locked stays until it ages or is flushed.

Refuses: entries set by hand when the table is full of such; a permission for an address nobody asked about.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Unpack

from bridge.clock import Clock
from bridge.config.bridge import BridgeConfig, StaticEntry
from bridge.config.port import PortConfig
from bridge.config.security import withdrawn
from bridge.core._core import Bridge, Event, FdbEntry
from bridge.errors import FramebridgeError
from bridge.events import Emit
from bridge.fdb.requests import Refusals
from bridge.fdb.static_entries import Pins, make_key, no_room
from bridge.fdb.ticks import Ticks
from bridge.fdb.view import FLUSHABLE, Filters, Row, View
from bridge.mac import format_mac

SLICE = 1024  # events in one go: some 2 ms
RESYNC_SHARE = 0.1  # of a core; one of 65,536 entries takes 0.4 s in a storm


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


@dataclass(slots=True)
class _Known:
    """The mirror of one entry."""

    port: int
    kind: str
    since: float
    moves: int = 0


class Saved(NamedTuple):
    """A dynamic or sticky entry as it outlives the process."""

    vid: int
    mac: int
    port: str  # its name
    kind: str
    silent: float  # seconds


class Learning:
    """The authority of one FDB."""

    def __init__(
        self,
        core: Bridge,
        clock: Clock,
        emit: Emit,
        fail: Callable[[int, int], None],
        budget_changed: Callable[[str, int], None] = lambda kind, place: None,
        has_audience: Callable[[], bool] = lambda: True,
        moved: Callable[[int, int, int, int], None] = lambda vid, mac, port, old_port: None,
        probed: Callable[[int, int, int], None] = lambda vid, nonce, port: None,
        rx_refused: Callable[[int], None] = lambda port: None,
    ) -> None:
        """`fail`, `rx_refused`, `budget_changed(kind, place)`, `probed(vid, nonce, port)` hear what is not of the FDB.

        Entries that are learned or move are told of while `has_audience()`: in a storm the words cost the most.
        `moved(vid, mac, port, old_port)` hears of each move, once the mirror has it.
        """
        self.counters = LearningCounters()
        self.refusals = Refusals(emit, self._name)
        self._core = core
        self._clock = clock
        self._emit = emit
        self._fail = fail
        self._budget_changed = budget_changed
        self._has_audience = has_audience
        self._moved = moved
        self._probed = probed
        self._rx_refused = rx_refused
        self._held: set[int] = set()  # sticky for a time, because they moved too often
        self._ageing = 0.0
        self._ticks = Ticks(core, clock)
        self._view = View(core, self._ticks)
        self._ports: dict[int, PortConfig] = {}
        self._known: dict[int, _Known] = {}
        self._pins = Pins(core, lambda: self._ports, self.drain, self._note, self._unnote)
        self._stale = False
        self._resync_due = 0.0
        self._lost = 0

    # -- configuration -----------------------------------------------------------------------------

    def configure(self, bridge: BridgeConfig) -> None:
        """Put ageing into force; entries keep the age they have."""
        self._ageing = bridge.ageing_time
        self._ticks.configure(bridge.ageing_time)
        if bridge.fdb_file and not self._ports and not self._pins:
            self._ticks.begin_in_the_past()

    @property
    def age_ticks(self) -> int:
        """Age limit in ticks, for the snapshot; 0: entries do not age."""
        return self._ticks.limit

    def set_ports(self, ports: Mapping[int, PortConfig]) -> None:
        """Say which ports carry traffic. Entries of others, and of VLANs a port lost, vanish; pins return.

        Call it after the snapshot that says the same: what is flushed here must not be learned again.
        """
        self.drain()
        gone: dict[int, Collection[int] | None] = {}
        for index, before in self._ports.items():
            after = ports.get(index)
            if after is None or after.name != before.name:
                gone[index] = None
                self._pins.forgive(before.name)
            elif after is not before:
                if lost := before.members - after.members:
                    gone[index] = lost
                if before.allow != after.allow:
                    self._disallow(index, before, after)
        if gone:
            self._forget_places(gone)
        self._ports = dict(ports)
        for entry in self._pins.sync():
            self._emit("fdb-refused", mac=entry.mac, vlan=entry.vid, port=entry.port, reason="refused_full")

    def _disallow(self, index: int, before: PortConfig, after: PortConfig) -> None:
        """Forget learned stations of a locked port that it allowed and does not allow any more."""
        for entry in self._core.fdb_entries():
            key = make_key(entry.vid, entry.mac)
            is_learned = entry.kind == "dynamic" or key in self._held
            if entry.port == index and is_learned and withdrawn(before, after, entry.mac):
                self._core.fdb_delete(entry.vid, entry.mac)
                self._held.discard(key)
                self._known.pop(key, None)
                self.counters.flushed += 1

    def pin(self, entry: StaticEntry) -> None:
        """Hold an entry in the table whenever its port is there."""
        self._held.discard(make_key(entry.vid, entry.mac))
        self._pins.pin(entry)

    def unpin(self, vid: int, mac: int) -> bool:
        """Let go of a pinned entry; False: it was none."""
        return self._pins.unpin(vid, mac)

    def keep_pins(self, names: Iterable[str]) -> None:
        """Let go of pinned entries of ports that do not exist any more."""
        self._pins.keep(names)

    def _note(self, key: int, port: int, kind: str) -> None:
        """Mirror an entry that was put into the table."""
        self._known[key] = _Known(port, kind, self._clock.now())

    def _unnote(self, key: int) -> None:
        self._known.pop(key, None)

    # -- entries held for a time (protect/protection.py) -----------------------------------------------------

    def hold(self, vid: int, mac: int, port: int) -> bool:
        """Keep an address on a port as if it were sticky; False: it is pinned already, or the port is gone."""
        key = make_key(vid, mac)
        if key in self._pins or port not in self._ports or vid not in self._ports[port].members:
            return False
        if not self._core.fdb_set(vid, mac, port, "sticky"):
            return False
        self._note(key, port, "sticky")
        self._held.add(key)
        return True

    def is_held(self, vid: int, mac: int) -> bool:
        """Tell whether an address is held."""
        return make_key(vid, mac) in self._held

    def release(self, vid: int, mac: int) -> None:
        """Let a held address move again."""
        key = make_key(vid, mac)
        known = self._known.get(key)
        if key not in self._held or known is None:
            return
        self._held.discard(key)
        known.kind = "dynamic"
        self._core.fdb_set(vid, mac, known.port, "dynamic")

    # -- events ------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Handle every event that waits by now, in slices: a full ring at once would be 15 MB of them."""
        for _ in range(self._core.events_waiting // SLICE + 1):
            self.take()

    def take(self) -> None:
        """Handle some of the events that wait: so many that others get their turn in time."""
        self.handle(*self._core.events(SLICE))

    def handle(self, events: Sequence[Event], lost: int) -> None:
        """Follow what the data plane did; `lost` events are missing in between."""
        now, is_heard = self._clock.now(), self._has_audience()
        for event in events:
            match event.kind:
                case "learned":
                    self._learn(event, now, is_heard)
                case "moved":
                    self._move(event, now, is_heard)
                case "evicted":
                    self._evict(event, is_heard)
                case "request":
                    self.refusals.request(event)
                case "locked":
                    self.refusals.lock_out(event)
                case "source_guard":
                    self.refusals.guard(event)
                case "refreshed":
                    pass  # still there: nothing changed
                case "budget_over" | "budget_under":
                    self._budget_changed(event.kind, event.mac)
                case "probe":
                    self._probed(event.vid, event.mac, event.port)
                case "port_error":
                    self._fail(event.port, event.errno)
                case "rx_refused":
                    self._rx_refused(event.port)
                case _:
                    self._refuse(event)
        if lost:
            self.counters.lost += lost
            self._lost += lost
            self._stale = True

    def _learn(self, event: Event, now: float, is_heard: bool) -> None:
        _, vid, mac, port, *_ = event
        self.counters.learned += 1
        self._known[vid << 48 | mac] = _Known(port, "dynamic", now)
        if is_heard:
            self._emit("fdb-learned", mac=mac, vlan=vid, port=self._name(port))

    def _move(self, event: Event, now: float, is_heard: bool) -> None:
        self.counters.moved += 1
        key = event.vid << 48 | event.mac
        if key in self._held:
            return  # it moved before it was held
        if (known := self._known.get(key)) is None:
            known = self._known[key] = _Known(event.port, "dynamic", now)
        known.port = event.port
        known.moves += 1
        if is_heard:
            self._tell_move(event, known.moves)
        self._moved(event.vid, event.mac, event.port, event.old_port)

    def _tell_move(self, event: Event, moves: int) -> None:
        self._emit(
            "fdb-moved",
            mac=event.mac,
            vlan=event.vid,
            port=self._name(event.port),
            old_port=self._name(event.old_port),
            moves=moves,
        )

    def _evict(self, event: Event, is_heard: bool) -> None:
        self.counters.evicted += 1
        if (key := event.vid << 48 | event.mac) not in self._held:  # else it gave way before it was held
            self._known.pop(key, None)
        if not is_heard:
            return
        name, by = self._name(event.port), self._name(event.old_port)
        self._emit("fdb-evicted", mac=event.mac, vlan=event.vid, port=name, by=by)

    def _refuse(self, event: Event) -> None:
        if (
            event.kind == "refused_port_limit" and event.old_port >= 0
        ):  # it moved there, and the core forgot it
            self._known.pop(make_key(event.vid, event.mac), None)
        self.refusals.refuse(event)

    def _name(self, index: int) -> str | None:
        port = self._ports.get(index)
        return port.name if port else None

    # -- time --------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Let time pass: call it once a second."""
        self.refusals.renew()
        self._core.renew_hints()
        if self._stale and self._clock.now() >= self._resync_due:
            began = time.thread_time()
            self.resync()
            self._resync_due = self._clock.now() + (time.thread_time() - began) / RESYNC_SHARE - 0.5
        if self._ageing:
            self._ticks.advance()
            self._expire()

    def _expire(self) -> None:
        """Remove what was last seen in a tick that ended ageing_time ago."""
        if (oldest := self._ticks.forget(self._ageing)) is None:
            return
        self.drain()
        for entry in self._core.fdb_expire(oldest):
            self._age(entry)

    def _age(self, entry: FdbEntry) -> None:
        self.counters.aged += 1
        key = make_key(entry.vid, entry.mac)
        known = self._known.pop(key, None)
        self._held.discard(key)
        self._pins.aged(key)
        held = round(self._clock.now() - known.since) if known else None
        self._emit("fdb-aged", mac=entry.mac, vlan=entry.vid, port=self._name(entry.port), held=held)

    def resync(self) -> None:
        """Make the mirror equal to the table."""
        self.drain()
        lost, self._lost, self._stale = self._lost, 0, False
        before, now = self._known, self._clock.now()
        self._known = {}
        moved = []
        for entry in self._core.fdb_entries():
            key = make_key(entry.vid, entry.mac)
            known = before.get(key) or _Known(entry.port, entry.kind, now)
            old_port, known.port, known.kind = known.port, entry.port, entry.kind
            self._known[key] = known
            if old_port != entry.port:
                known.moves += 1
                moved.append((entry.vid, entry.mac, entry.port, old_port))
        self._held &= self._known.keys()
        if lost:
            self.counters.resyncs += 1
            added = len(self._known.keys() - before.keys())
            removed = len(before.keys() - self._known.keys())
            self._emit("fdb-resync", lost=lost, added=added, removed=removed)
        for move in moved:
            self._moved(*move)

    # -- commands ----------------------------------------------------------------------------------

    def authorise(self, vid: int, mac: int, port: int | None = None) -> None:
        """Let a source into the table (controlled mode), on `port` or where it asked."""
        key = make_key(vid, mac)
        place = self.refusals.asked_at(key) if port is None else port
        if place is None:
            raise FramebridgeError(f"{format_mac(mac)} in VLAN {vid} has not been seen; name its port")
        if place not in self._ports or vid not in self._ports[place].members:
            raise FramebridgeError(
                f"its port carries no traffic of VLAN {vid} now; bring that about, and ask again"
            )
        if not self._core.fdb_set(vid, mac, place, "dynamic"):
            raise no_room(mac)
        self.refusals.grant(key)
        self._pins.replaced(key)
        self._held.discard(key)
        self.drain()  # what is told later is of later
        if entry := self._core.fdb_find(vid, mac):
            self._note(key, entry.port, entry.kind)

    def delete(self, vid: int, mac: int) -> bool:
        """Remove an entry of any kind; False: there was none."""
        self.drain()
        pinned = self.unpin(vid, mac)
        self._held.discard(make_key(vid, mac))
        self._known.pop(make_key(vid, mac), None)
        self._stale = True
        return self._core.fdb_delete(vid, mac) or pinned

    def flush(self, port: int | None = None, vid: int | None = None, **more: Unpack[Filters]) -> int:
        """Forget dynamic and sticky entries that fit every filter given; returns how many. Refuses what View does."""
        self.drain()
        filters = {key: value for key, value in more.items() if value is not None}
        if filters:
            victims = self._forget_each(self._fitting(port, vid, more), if_silent="older" in filters)
        else:
            victims = self._forget(port, None if vid is None else {vid})
        self._pins.lapse(victims)
        name = None if port is None else self._name(port)
        self._emit("fdb-flushed", port=name, vlan=vid, **filters, entries=len(victims))
        return len(victims)

    def _forget_places(self, gone: Mapping[int, Collection[int] | None]) -> None:
        """Forget what ports know, all of it or of some VLANs."""
        for port, vids in gone.items():
            if vids is None:
                self._core.fdb_flush(port=port)
            else:
                self._core.fdb_forget(port, vids)
        self._strike(
            {
                key
                for key, known in self._known.items()
                if known.port in gone
                and known.kind in FLUSHABLE
                and ((vids := gone[known.port]) is None or key >> 48 in vids)
            }
        )

    def _forget(self, port: int | None = None, vids: Collection[int] | None = None) -> set[int]:
        victims = {
            key
            for key, known in self._known.items()
            if known.kind in FLUSHABLE and port in (None, known.port) and (vids is None or key >> 48 in vids)
        }
        for vid in [None] if vids is None else vids:
            self._core.fdb_flush(port=port, vid=vid)
        self._strike(victims)
        return victims

    def _forget_each(self, entries: Iterable[FdbEntry], *, if_silent: bool) -> set[int]:
        """Forget these one by one; `if_silent`: only those not seen since."""
        gone = self._core.fdb_forget_each(entries, if_silent=if_silent)
        victims = {make_key(entry.vid, entry.mac) for entry in gone}
        self._strike(victims)
        return victims

    def _strike(self, victims: Collection[int]) -> None:
        """Take entries that were flushed out of the mirror."""
        self._held.difference_update(victims)
        self._pins.struck(victims)
        for key in victims:
            self._known.pop(key, None)
        self.counters.flushed += len(victims)
        self._stale = True

    # -- over a restart ----------------------------------------------------------------------------

    @property
    def port_names(self) -> list[str]:
        """Ports that carry traffic."""
        return [port.name for port in self._ports.values()]

    def remember(self) -> Iterator[Saved]:
        """Give the dynamic and sticky entries that a restart should not lose, in any thread.

        The table is read now; each is made when it is asked for.
        """
        self.drain()
        entries = self._core.fdb_entries()
        ages = {
            tick: self._ticks.age(tick) if self._ageing else 0.0 for tick in {one.tick for one in entries}
        }
        names, held = {index: port.name for index, port in self._ports.items()}, frozenset(self._held)
        return (
            Saved(
                vid, mac, names[port], "dynamic" if held and make_key(vid, mac) in held else kind, ages[tick]
            )
            for vid, mac, port, kind, tick in entries
            if kind in FLUSHABLE and port in names
        )

    def restore(self, saved: Iterable[Saved]) -> int:
        """Put entries of before a restart back, with their age; returns how many.

        What is there by now, or pinned, wins. Entries of ports that do not carry traffic or their VLAN are passed over.
        Sticky ones come first and as by hand: no limit holds for them, and a learned one gives way. The others stay
        inside all limits, and nobody gives way to them.
        """
        self.drain()
        places = {port.name: (index, port.members) for index, port in self._ports.items()}
        entries = []
        for one in saved:
            index, members = places.get(one.port, (-1, frozenset[int]()))
            if one.vid in members and make_key(one.vid, one.mac) not in self._pins:
                tick = self._ticks.carried(one.silent)
                entries.append(FdbEntry(one.vid, one.mac, index, one.kind, tick))
        entries.sort(key=lambda entry: entry.kind != "sticky")
        done = self._core.fdb_restore(entries)
        self.drain()
        self._stale = True
        restored = [entry for entry, is_done in zip(entries, done, strict=True) if is_done]
        for entry in restored:
            self._take_back(entry)
        self.counters.restored += len(restored)
        return len(restored)

    def _take_back(self, entry: FdbEntry) -> None:
        key = make_key(entry.vid, entry.mac)
        self._note(key, entry.port, entry.kind)
        if entry.kind == "sticky":
            pin = StaticEntry(entry.vid, entry.mac, "sticky", self._ports[entry.port].name)
            self._pins.restored(pin, entry.port)

    # -- looking -----------------------------------------------------------------------------------

    def rows(self, port: int | None = None, vid: int | None = None, **more: Unpack[Filters]) -> Iterator[Row]:
        """Give the table as it is now, sorted by VLAN and address; filters and errors as for `flush`."""
        names = {index: config.name for index, config in self._ports.items()}
        found = self._fitting(port, vid, more)
        if self._held:
            found = [one._replace(kind="held") if self.is_held(one.vid, one.mac) else one for one in found]
        return self._view.rows(found, names)

    def _fitting(self, port: int | None, vid: int | None, more: Filters) -> list[FdbEntry]:
        """Give the entries that fit; what is held for a time is sticky to the table only."""
        state = more.get("state")
        if state not in ("held", "sticky"):
            return self._view.fitting(port, vid, more)
        found = self._view.fitting(port, vid, {**more, "state": "sticky"})
        return [one for one in found if self.is_held(one.vid, one.mac) == (state == "held")]

    def count_by_port(self) -> Counter[int]:
        """Count entries per port index."""
        self.drain()
        return Counter(known.port for known in self._known.values())

    def count_by_vlan(self) -> Counter[int]:
        """Count entries per VLAN."""
        self.drain()
        return Counter(key >> 48 for key in self._known)
