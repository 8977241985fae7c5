"""MAC learning policy: who may be in the FDB, for how long, and what is reported of it.

The data plane installs what it sees at once, inside the limits of its snapshot, and reports it in events. This file is
the authority over everything else: ageing, flushing, ports that come and go, decisions in controlled mode. The table
itself stays the truth; `known` mirrors it, and is the seam where others follow it (known.py).
Thread: control. Only this thread removes entries; that is what lets the mirror follow by events alone.

    known            the mirror; `known.on_change(listener)`
    static           entries set by hand: static, sticky, drop
    requests         stations that were refused, or wait for a decision
    rows             filters, rows, counts
    store            what outlives the process

* **Ageing.** `tick` advances the data plane's tick (ticks.py). An entry leaves between ageing_time and one tick
  later, or sooner by command: `flush` with an age is 802.1Q's fast ageing. With ageing_time 0 the tick stands still.
* **Loss.** Events that found the ring full cost a resync of the mirror at the next `tick`, never more than one per
  call, and no more than RESYNC_SHARE of a core in a storm that does not end. So does a flush: the events of frames that
  the data plane took before it may still be in the ring.
* **Storms.** Refusals and requests that repeat are counted as far as the data plane hints at them (csrc/count/event.h),
  and reported once per `tick`.
* **Locked ports.** A station that was refused is reported and remembered like a request, so that it can be let in. A
  station that an allow list no longer has is forgotten; one that a port knew when it was locked stays until it ages or
  is flushed.

Refuses: entries set by hand when the table is full of such; a permission for an address nobody asked about.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Unpack

from bridge.clock import Clock
from bridge.config.bridge import BridgeConfig
from bridge.config.port import PortConfig
from bridge.core._core import Bridge, Event, FdbEntry
from bridge.errors import FramebridgeError
from bridge.events import Events
from bridge.fdb.known import FLUSHABLE, KnownEntries, make_key, split_key
from bridge.fdb.requests import LearnRequests
from bridge.fdb.rows import Filters, Rows
from bridge.fdb.static_entries import StaticEntries, no_room
from bridge.fdb.store import Store
from bridge.fdb.ticks import Ticks
from bridge.mac import format_mac

RESYNC_SHARE = 0.1  # of a core; one of 65,536 entries takes 0.4 s in a storm


class Learning:
    """The authority of one FDB."""

    def __init__(self, core: Bridge, clock: Clock, events: Events, drain: Callable[[], None]) -> None:
        """`drain` handles all core events that wait, those of the FDB by `handle`."""
        self.known = KnownEntries(clock, drain)
        self.counters = self.known.counters
        self.static = StaticEntries(core, self.known)
        self.requests = LearnRequests(events.emit, self.known.port_name)
        self.ticks = Ticks(core, clock)
        self.rows = Rows(core, self.ticks, self.known)
        self.store = Store(core, self.ticks, self.known, self.static)
        self._core = core
        self._clock = clock
        self._events = events
        self._emit = events.emit
        self._ageing = 0.0
        self._resync_due = 0.0
        self._lost = 0

    # -- configuration -----------------------------------------------------------------------------

    def configure(self, bridge: BridgeConfig) -> None:
        """Put ageing into force; entries keep the age they have."""
        self._ageing = bridge.ageing_time
        self.ticks.configure(bridge.ageing_time)
        if bridge.fdb_file and not self.known.ports and not self.static:
            self.ticks.begin_in_the_past()

    @property
    def age_ticks(self) -> int:
        """Age limit in ticks, for the snapshot; 0: entries do not age."""
        return self.ticks.limit

    def set_ports(
        self, ports: Mapping[int, PortConfig], configured: Mapping[int, PortConfig] | None = None
    ) -> None:
        """Take over the ports that carry traffic, and all that there are (None: no others).

        A port that carries none any more loses what it learned; what was set by hand stays until there is no such port
        (R9). A port that lost a VLAN loses the entries of that VLAN. Call it after the snapshot that says the same:
        what is flushed here must not be learned again.
        """
        self.known.drain()
        gone: dict[int, Collection[int] | None] = {}
        for index, before in self.known.ports.items():
            after = ports.get(index)
            if after is None or after.name != before.name:
                gone[index] = None
            elif after is not before:
                if lost := before.members - after.members:
                    gone[index] = lost
                if before.security.allow != after.security.allow:
                    self._disallow(index, before, after)
        if gone:
            self._forget_places(gone)
        for index, port in ports.items():
            if index not in self.known.ports or gone.get(index, ()) is None:
                self.static.resume(port.name)
        self.known.ports = dict(ports)
        self.known.configured = dict(ports if configured is None else configured)
        for entry in self.static.sync():
            self._emit("fdb-refused", mac=entry.mac, vlan=entry.vid, port=entry.port, reason="refused_full")

    def _disallow(self, index: int, before: PortConfig, after: PortConfig) -> None:
        """Forget learned stations of a locked port that it allowed and does not allow any more."""
        for entry in self._core.fdb_entries():
            is_learned = entry.kind == "dynamic" or self.is_held(entry.vid, entry.mac)
            if entry.port == index and is_learned and after.security.withdraws(entry.mac, before.security):
                self._core.fdb_delete(entry.vid, entry.mac)
                self.known.remove(make_key(entry.vid, entry.mac))
                self.counters.flushed += 1

    # -- entries held for a time (protect/protection.py) -------------------------------------------

    def hold(self, vid: int, mac: int, port: int) -> bool:
        """Keep an address on a port as if it were sticky; False: it was set by hand, or the port is gone."""
        key = make_key(vid, mac)
        if key in self.static or not self._carries(port, vid):
            return False
        if not self._core.fdb_set(vid, mac, port, "sticky"):
            return False
        self.known.held.add(key)
        self.known.add(key, port, "sticky")
        return True

    def is_held(self, vid: int, mac: int) -> bool:
        """Check whether an address is held."""
        return make_key(vid, mac) in self.known.held

    def release(self, vid: int, mac: int) -> None:
        """Let a held address move again."""
        key = make_key(vid, mac)
        known = self.known.entries.get(key)
        if key not in self.known.held or known is None:
            return
        self.known.held.discard(key)
        self._core.fdb_set(vid, mac, known.port, "dynamic")
        self.known.change_kind(key, "dynamic")

    def _carries(self, port: int, vid: int) -> bool:
        return port in self.known.ports and vid in self.known.ports[port].members

    # -- events ------------------------------------------------------------------------------------

    def handle(self, events: Sequence[Event], lost: int = 0) -> None:
        """Follow what the data plane did to the table; `lost` events are missing at the end."""
        now, is_heard = self._clock.now(), self._events.has_audience  # in a storm the words cost the most
        for event in events:
            match event.kind:
                case "learned":
                    self._learn(event, now, is_heard)
                case "moved":
                    self._move(event, now, is_heard)
                case "evicted":
                    self._evict(event, is_heard)
                case "refreshed":
                    pass  # still there: nothing changed
                case _:
                    self._refuse(event)
        if lost:
            self.counters.lost += lost
            self._lost += lost
            self.known.is_stale = True

    def _learn(self, event: Event, now: float, is_heard: bool) -> None:
        _, vid, mac, port, *_ = event
        self.counters.learned += 1
        if is_heard:
            self._emit("fdb-learned", mac=mac, vlan=vid, port=self.known.port_name(port))
        self.known.add(vid << 48 | mac, port, "dynamic", now)

    def _move(self, event: Event, now: float, is_heard: bool) -> None:
        self.counters.moved += 1
        key = event.vid << 48 | event.mac
        if key in self.known.held:
            return  # it moved before it was held
        known = self.known.move(key, event.port, now)
        if is_heard:
            self._emit_move(event, known.moves)
        self.known.report_move(event.vid, event.mac, known, event.old_port)

    def _emit_move(self, event: Event, moves: int) -> None:
        self._emit(
            "fdb-moved",
            mac=event.mac,
            vlan=event.vid,
            port=self.known.port_name(event.port),
            old_port=self.known.port_name(event.old_port),
            moves=moves,
        )

    def _evict(self, event: Event, is_heard: bool) -> None:
        self.counters.evicted += 1
        if is_heard:
            name, by = self.known.port_name(event.port), self.known.port_name(event.old_port)
            self._emit("fdb-evicted", mac=event.mac, vlan=event.vid, port=name, by=by)
        self._gone(event)

    def _refuse(self, event: Event) -> None:
        self.requests.refuse(event)
        if event.kind == "refused_port_limit" and event.old_port >= 0:
            self._gone(event)  # it moved to a port at its limit: the data plane removed its entry

    def _gone(self, event: Event) -> None:
        """Follow an entry that the data plane removed."""
        if (key := event.vid << 48 | event.mac) not in self.known.held:  # else that was before it was held
            self.known.remove(key)

    # -- time --------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Let time pass: call it once a second."""
        self.requests.renew()
        self._core.renew_hints()
        if self.known.is_stale and self._clock.now() >= self._resync_due:
            began = time.thread_time()
            self.resync()
            self._resync_due = self._clock.now() + (time.thread_time() - began) / RESYNC_SHARE - 0.5
        if self._ageing:
            self.ticks.advance()
            self._expire()

    def _expire(self) -> None:
        """Remove what was last seen in a tick that ended ageing_time ago."""
        if (oldest := self.ticks.forget(self._ageing)) is None:
            return
        self.known.drain()
        for entry in self._core.fdb_expire(oldest):
            self._age(entry)

    def _age(self, entry: FdbEntry) -> None:
        self.counters.aged += 1
        key = make_key(entry.vid, entry.mac)
        self.static.gone([key], suspend=True)
        known = self.known.remove(key)
        held = round(self._clock.now() - known.since) if known else None
        name = self.known.port_name(entry.port)
        self._emit("fdb-aged", mac=entry.mac, vlan=entry.vid, port=name, held=held)

    def resync(self) -> None:
        """Make the mirror equal to the table."""
        self.known.drain()
        lost, self._lost, self.known.is_stale = self._lost, 0, False
        found = self.known.become(self._core.fdb_entries())
        if lost:
            self.counters.resyncs += 1
            self._emit("fdb-resync", lost=lost, added=found.added, removed=found.removed)

    # -- commands ----------------------------------------------------------------------------------

    def authorise(self, vid: int, mac: int, port: int | None = None) -> None:
        """Let a source into the table (controlled mode), on `port` or where it asked."""
        key = make_key(vid, mac)
        place = self.requests.asked_at(key) if port is None else port
        if place is None:
            raise FramebridgeError(f"{format_mac(mac)} in VLAN {vid} has not been seen; name its port")
        if not self._carries(place, vid):
            raise FramebridgeError(
                f"its port carries no traffic of VLAN {vid} now; bring that about, and ask again"
            )
        if not self._core.fdb_set(vid, mac, place, "dynamic"):
            raise no_room(mac)
        self.requests.grant(key)
        self.static.replaced(key)
        self.known.held.discard(key)
        self.known.drain()  # events of before come first
        if entry := self._core.fdb_find(vid, mac):
            self.known.add(key, entry.port, entry.kind)

    def delete(self, vid: int, mac: int) -> bool:
        """Remove an entry of any kind; False: there was none."""
        self.known.drain()
        was_set = self.static.remove(vid, mac)
        was_there = self._core.fdb_delete(vid, mac)
        self.known.remove(make_key(vid, mac))
        self.known.is_stale = True
        return was_there or was_set

    def flush(self, port: int | None = None, vid: int | None = None, **more: Unpack[Filters]) -> int:
        """Forget dynamic and sticky entries that fit every filter given; returns how many. Refuses what Rows does."""
        self.known.drain()
        filters = {key: value for key, value in more.items() if value is not None}
        if filters:
            victims = self._forget_each(self.rows.fitting(port, vid, more), if_silent="older" in filters)
        else:
            victims = self._forget(port, vid)
        name = None if port is None else self.known.port_name(port)
        self._emit("fdb-flushed", port=name, vlan=vid, **filters, entries=len(victims))
        return len(victims)

    def _forget_places(self, gone: Mapping[int, Collection[int] | None]) -> None:
        """Forget what ports learned, or all that they know of some VLANs."""
        victims = set()
        for key, known in self.known.entries.items():
            if known.port not in gone:
                continue
            if (vids := gone[known.port]) is None:
                is_victim = known.kind == "dynamic" or key in self.known.held
            else:
                is_victim = known.kind in FLUSHABLE and key >> 48 in vids
            if is_victim:
                victims.add(key)
        for port, vids in gone.items():
            if vids is None:
                self._core.fdb_flush(port=port, sticky=False)
            else:
                self._core.fdb_forget(port, vids)
        for key in victims & self.known.held:
            self._core.fdb_delete(*split_key(key))
        self._forgotten(victims)

    def _forget(self, port: int | None, vid: int | None) -> set[int]:
        """Forget all of a port, of a VLAN, of both, or everything."""
        victims = {
            key
            for key, known in self.known.entries.items()
            if known.kind in FLUSHABLE and port in (None, known.port) and vid in (None, key >> 48)
        }
        self._core.fdb_flush(port=port, vid=vid)
        self._forgotten(victims, suspend=True)
        return victims

    def _forget_each(self, entries: Sequence[FdbEntry], *, if_silent: bool) -> set[int]:
        """Forget these one by one; `if_silent`: only those not seen since."""
        gone = self._core.fdb_forget_each(entries, if_silent=if_silent)
        victims = {make_key(entry.vid, entry.mac) for entry in gone}
        self._forgotten(victims, suspend=True)
        return victims

    def _forgotten(self, victims: Collection[int], *, suspend: bool = False) -> None:
        """Take entries that were flushed out of the mirror; `suspend`: somebody asked for that."""
        self.static.gone(victims, suspend=suspend)
        self.known.remove_all(victims)
        self.counters.flushed += len(victims)
        self.known.is_stale = True
