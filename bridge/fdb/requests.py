"""Who was kept out of the FDB, who asks to be let in, and how often the world hears of it.

Job: stations that a limit, a lock, source guard or a fixed entry refused, and those that wait for a decision
(controlled mode, locked ports): count, remember where they are, tell. Thread: control.
Bounds: REQUESTS_MAX stations are remembered, the one longest known is forgotten first. The same is told once between
two calls of `renew`, and of what a port's security refused TOLD_MAX of a kind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from bridge.config.security import spoken_from
from bridge.core._core import Event
from bridge.events import Emit
from bridge.fdb.static_entries import make_key

REQUESTS_MAX = 4096  # sources that wait for a decision
TOLD_MAX = 32  # events of a kind that a port's security may cause a tick


class Refusals:
    """What one FDB refused; `name` gives a port by index."""

    def __init__(self, emit: Emit, name: Callable[[int], str | None]) -> None:
        self.n_requests = 0
        self.n_refused: Counter[str] = Counter()  # by event kind
        self._emit = emit
        self._name = name
        self._requests: dict[int, int] = {}
        self._told: set[tuple[object, ...]] = set()
        self._told_by_port: Counter[tuple[str, int]] = Counter()

    def asked_at(self, key: int) -> int | None:
        """Give the port where an address asked."""
        return self._requests.get(key)

    def grant(self, key: int) -> None:
        """Take note that an address was let in."""
        self._requests.pop(key, None)

    def renew(self) -> None:
        """Let everything be told once more: call it once a tick."""
        self._told.clear()
        self._told_by_port.clear()

    def request(self, event: Event) -> None:
        """Somebody waits for a decision."""
        self.n_requests += 1
        self._remember(event)
        if self._first_time(event.kind, event.port, event.vid, event.mac):
            self._emit("fdb-request", mac=event.mac, vlan=event.vid, port=self._name(event.port))

    def _remember(self, event: Event) -> None:
        key = make_key(event.vid, event.mac)
        if key not in self._requests and len(self._requests) >= REQUESTS_MAX:
            del self._requests[next(iter(self._requests))]
        self._requests[key] = event.port

    def lock_out(self, event: Event) -> None:
        """Somebody knocked: tell who, and remember where, so that whoever lets it in need not be told the port."""
        self.n_refused[event.kind] += 1
        self._remember(event)
        if self._first_time(event.kind, event.port, event.vid, event.mac) and self._few_told(event):
            name, known_on = self._name(event.port), self._name(event.old_port)
            self._emit("fdb-locked", mac=event.mac, vlan=event.vid, port=name, known_on=known_on)

    def guard(self, event: Event) -> None:
        """Somebody spoke from an address that is not its own."""
        self.n_refused[event.kind] += 1
        address = spoken_from(event)
        told = event.kind, event.port, event.vid, event.mac, event.finding, address
        if self._first_time(*told) and self._few_told(event):
            self._emit(
                "source-guard",
                mac=event.mac,
                vlan=event.vid,
                port=self._name(event.port),
                address=address,
                finding=event.finding,
            )

    def refuse(self, event: Event) -> None:
        """Somebody met a limit, or is fixed elsewhere."""
        self.n_refused[event.kind] += 1
        if self._first_time(event.kind, event.port, event.vid):
            name = self._name(event.port)
            self._emit("fdb-refused", mac=event.mac, vlan=event.vid, port=name, reason=event.kind)

    def _few_told(self, event: Event) -> bool:
        """Whether a port has room for one more event of this kind until the next tick."""
        told = (event.kind, event.port)
        self._told_by_port[told] += 1
        return self._told_by_port[told] <= TOLD_MAX

    def _first_time(self, *what: object) -> bool:
        """Whether this was not told since the last tick."""
        before = len(self._told)
        self._told.add(what)
        return len(self._told) > before
