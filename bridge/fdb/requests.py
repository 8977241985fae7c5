"""Stations that were refused an FDB entry, and those that wait for one.

Job: count the stations that a limit, a lock, source guard or a fixed entry refused, and those that wait for a decision
(controlled mode, locked ports); remember where they are; emit events. Thread: control.
Bounds: REQUESTS_MAX stations are remembered, the one longest known is forgotten first. The same event is emitted once
between two calls of `renew`; of what a port's security refused, REPORTED_MAX of a kind and port.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from ipaddress import ip_address

from bridge.core._core import Event
from bridge.events import Emit
from bridge.fdb.known import make_key

REQUESTS_MAX = 4096  # sources that wait for a decision
REPORTED_MAX = 32  # events of a kind that the security of one port may cause between two ticks


class LearnRequests:
    """What one FDB refused, and who asks; `port_name` names a port by index."""

    def __init__(self, emit: Emit, port_name: Callable[[int], str | None]) -> None:
        self.n_requests = 0
        self.n_refused: Counter[str] = Counter()  # by event kind
        self._emit = emit
        self._port_name = port_name
        self._requests: dict[int, int] = {}
        self._reported: set[tuple[object, ...]] = set()
        self._reported_by_port: Counter[tuple[str, int]] = Counter()

    def asked_at(self, key: int) -> int | None:
        """Give the port where an address asked."""
        return self._requests.get(key)

    def grant(self, key: int) -> None:
        """Forget a request: its address was let in."""
        self._requests.pop(key, None)

    def renew(self) -> None:
        """Allow every event once more: call it once a tick."""
        self._reported.clear()
        self._reported_by_port.clear()

    def request(self, event: Event) -> None:
        """Note a station that waits for a decision."""
        self.n_requests += 1
        self._remember(event)
        if self._first_time(event.kind, event.port, event.vid, event.mac):
            self._emit("fdb-request", mac=event.mac, vlan=event.vid, port=self._port_name(event.port))

    def _remember(self, event: Event) -> None:
        key = make_key(event.vid, event.mac)
        if key not in self._requests and len(self._requests) >= REQUESTS_MAX:
            del self._requests[next(iter(self._requests))]
        self._requests[key] = event.port

    def lock_out(self, event: Event) -> None:
        """Note a station that a locked port refused, and where, so that whoever lets it in need not name the port."""
        self.n_refused[event.kind] += 1
        self._remember(event)
        if self._first_time(event.kind, event.port, event.vid, event.mac) and self._few_reported(event):
            name, known_on = self._port_name(event.port), self._port_name(event.old_port)
            self._emit("fdb-locked", mac=event.mac, vlan=event.vid, port=name, known_on=known_on)

    def guard(self, event: Event) -> None:
        """Note a frame from an address that is not listed for its port."""
        self.n_refused[event.kind] += 1
        address = str(ip_address(event.address)) if event.address else None  # None: none could be read
        what = event.kind, event.port, event.vid, event.mac, event.finding, address
        if self._first_time(*what) and self._few_reported(event):
            self._emit(
                "source-guard",
                mac=event.mac,
                vlan=event.vid,
                port=self._port_name(event.port),
                address=address,
                finding=event.finding,
            )

    def guard_server(self, event: Event) -> None:
        """Note a port that spoke as a router (ra_guard) or DHCP server (dhcp_guard) and may not."""
        self.n_refused[event.kind] += 1
        if self._first_time(event.kind, event.port, event.vid, event.mac) and self._few_reported(event):
            name = self._port_name(event.port)
            self._emit(event.kind.replace("_", "-"), mac=event.mac, vlan=event.vid, port=name)

    def refuse(self, event: Event) -> None:
        """Note a station that met a limit, or that has a fixed entry elsewhere."""
        self.n_refused[event.kind] += 1
        if self._first_time(event.kind, event.port, event.vid):
            name = self._port_name(event.port)
            self._emit("fdb-refused", mac=event.mac, vlan=event.vid, port=name, reason=event.kind)

    def _few_reported(self, event: Event) -> bool:
        """Whether a port has room for one more event of this kind until the next tick."""
        key = (event.kind, event.port)
        self._reported_by_port[key] += 1
        return self._reported_by_port[key] <= REPORTED_MAX

    def _first_time(self, *what: object) -> bool:
        """Whether this was not reported since the last tick."""
        before = len(self._reported)
        self._reported.add(what)
        return len(self._reported) > before
