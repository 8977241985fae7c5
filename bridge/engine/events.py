"""Core events: taken from the data plane, and each handed to its owner.

Job: the one reader of the ring of events (csrc/count/event.h). Thread: control. Owners, by kind:

    learned, moved, refreshed, evicted, static_move, refused_...   Learning: the table and its mirror
    request, locked, source_guard, ra_guard, dhcp_guard            LearnRequests: who waits, who was refused
    budget_over, budget_under                                      Budgets: a limit was met, or is kept again
    probe                                                          Protection: a loop probe came back
    port_error, rx_refused                                         PortTable: a port failed, or lost its receive ring
    heartbeat_limit                                                a port had more heartbeats than pass as such
    group_...                                                      Snooping: members of groups, queriers, routers
    pair                                                           Member: what it did, what another member did

Invariants: events are handled in the order of the ring, also across owners. They are taken in slices, so a storm delays
other work of the thread by a slice; what the thread cannot follow is lost in the ring, counted, and resynced by
Learning.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from bridge.account.budgets import Budgets
from bridge.core._core import Bridge, Event
from bridge.events import Emit
from bridge.fdb.learning import Learning
from bridge.ha.member import Member
from bridge.multicast.snooping import EVENTS, Snooping
from bridge.ports.table import PortTable
from bridge.protect.protection import Protection

log = logging.getLogger(__package__)

SLICE = 1024  # events in one go: some 2 ms


class CoreEvents:
    """The events of one data plane; nothing is taken before `connect`."""

    def __init__(self, core: Bridge, emit: Emit) -> None:
        self._core = core
        self._emit = emit

    def connect(
        self,
        *,
        fdb: Learning,
        protection: Protection,
        snooping: Snooping,
        budgets: Budgets,
        ports: PortTable,
        member: Member,
    ) -> None:
        """Name the owners of events."""
        self._fdb = fdb
        self._member = member
        self._protection = protection
        self._snooping = snooping
        self._budgets = budgets
        self._ports = ports
        self._owners: dict[str, Callable[[Event], None]] = {  # all others are of the table
            "request": fdb.requests.request,
            "locked": fdb.requests.lock_out,
            "source_guard": fdb.requests.guard,
            "ra_guard": fdb.requests.guard_server,
            "dhcp_guard": fdb.requests.guard_server,
            "budget_over": self._budget_changed,
            "budget_under": self._budget_changed,
            "probe": self._probed,
            "port_error": self._port_failed,
            "rx_refused": self._rx_refused,
            "heartbeat_limit": self._heartbeats_limited,
            "pair": self._pair_stepped,
            "backup_ignored": self._backup_ignored,
            **dict.fromkeys(EVENTS, snooping.handle),
        }

    def drain(self) -> None:
        """Handle every event that waits by now, in slices: a full ring at once would be 15 MB of them."""
        for _ in range(self._core.events_waiting // SLICE + 1):
            self.take()

    def take(self) -> None:
        """Handle some of the events that wait: so many that others get their turn in time."""
        events, lost = self._core.events(SLICE)
        first = 0  # of those that are of the table and not handled yet
        for place, event in enumerate(events):
            owner = self._owners.get(event.kind)
            if owner is not None:
                if first < place:
                    self._fdb.handle(events[first:place])
                owner(event)
                first = place + 1
        self._fdb.handle(events[first:] if first else events, lost)
        if lost:
            self._snooping.resync()

    def _budget_changed(self, event: Event) -> None:
        if (budget := self._budgets.at(event.mac)) is None:
            return
        is_over = event.kind == "budget_over"
        log.log(logging.WARNING if is_over else logging.INFO, "%s: %s", event.kind, budget.name)
        if budget.floods:
            self._emit("storm-begin" if is_over else "storm-end", port=budget.port, flood=budget.floods[0])
        else:
            self._emit(event.kind.replace("_", "-"), budget=budget.name)

    def _probed(self, event: Event) -> None:
        self._protection.probed(event.vid, event.mac, event.port)

    def _backup_ignored(self, event: Event) -> None:
        self._fdb.handle([event])
        self._snooping.backup_spoke(event)

    def _port_failed(self, event: Event) -> None:
        self._ports.port_failed(event.port, event.errno)

    def _rx_refused(self, event: Event) -> None:
        if (name := self._ports.rx_refused(event.port)) is not None:
            self._emit("rx-refused", port=name)

    def _heartbeats_limited(self, event: Event) -> None:
        if (name := self._ports.names().get(event.port)) is not None:
            log.warning("port %s: more heartbeats than its limit; those above are ordinary frames", name)
            self._emit("heartbeat-limit", port=name)

    def _pair_stepped(self, event: Event) -> None:
        before = self._member.state
        self._member.stepped(event)
        if self._member.state == "active" != before:
            self._snooping.take_over()
