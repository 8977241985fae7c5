"""Events for whoever watches: what `monitor` shows, as flat dicts, through bounded queues per subscriber.

Job: spread an event to all subscriptions, wait for none. Thread: control. Invariants: a subscriber that is
too slow misses events, is told how many ({"event": "lost", "lost": n}) where they are missing, and slows
nobody else down. What is reported of single stations, thousands a second in a storm, waits in a queue of its own, so
that no number of them keeps out a loop, a blocked port, a warning; events come in their order all the same. Without
subscribers an event costs nothing.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol, Self

from bridge.mac import format_mac

QUEUE_MAX = 4096  # events per subscription

OF_STATIONS = frozenset(  # of these there can be any number a second
    {
        *("fdb-learned", "fdb-moved", "fdb-aged", "fdb-evicted", "fdb-refused", "fdb-request", "fdb-locked"),
        *("source-guard", "mac-moving", "mac-released", "mdb-joined", "mdb-left"),
    }
)

EventRow = dict[str, object]


class Emit(Protocol):
    """Tell the world."""

    def __call__(self, event: str, /, **fields: object) -> None:
        """Tell of an event with its fields; `mac` is an integer here."""


def _row(event: str, fields: dict[str, object]) -> EventRow:
    return {"event": event, "time": time.time(), **fields}


class _Queue:
    """Rows that wait for a reader, each with its number in the order they came, and where some are missing."""

    def __init__(self, capacity: int) -> None:
        self._rows: deque[tuple[int, EventRow]] = deque()
        self._capacity = capacity
        self._lost = 0
        self._lost_at = 0  # number of the first one

    @property
    def first(self) -> float:
        """Number of what `take` gives next; infinite: there is nothing."""
        if self._rows:
            return self._rows[0][0]
        return self._lost_at if self._lost else math.inf

    def put(self, number: int, row: EventRow) -> None:
        """Queue a row, or count it as lost."""
        if len(self._rows) + bool(self._lost) >= self._capacity:
            self._lost_at = self._lost_at if self._lost else number
            self._lost += 1
            return
        self._note_loss()
        self._rows.append((number, row))

    def take(self) -> EventRow:
        """Give the oldest row, which there is."""
        if not self._rows:
            self._note_loss()
        return self._rows.popleft()[1]

    def clear(self) -> None:
        """Forget what waits."""
        self._rows.clear()
        self._lost = 0

    def _note_loss(self) -> None:
        if self._lost:
            self._rows.append((self._lost_at, _row("lost", {"lost": self._lost})))
            self._lost = 0


class Subscription:
    """One reader's events: iterate; `close` ends the iteration, also one that waits."""

    def __init__(self, capacity: int, on_close: Callable[[Subscription], None]) -> None:
        self._rare = _Queue(capacity)
        self._of_stations = _Queue(capacity)
        self._n = 0
        self._on_close = on_close
        self._news = asyncio.Event()
        self._closed = False

    def put(self, row: EventRow) -> None:
        """Queue an event, or count it as lost."""
        self._n += 1
        (self._of_stations if row["event"] in OF_STATIONS else self._rare).put(self._n, row)
        self._news.set()

    def close(self) -> None:
        """End the iteration at once; idempotent."""
        self._closed = True
        self._rare.clear()
        self._of_stations.clear()
        self._news.set()
        self._on_close(self)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> EventRow:
        while not self._closed:
            queue = min(self._rare, self._of_stations, key=lambda queue: queue.first)
            if queue.first < math.inf:
                return queue.take()
            self._news.clear()
            await self._news.wait()
        raise StopAsyncIteration


class Events:
    """The source: hands out subscriptions and feeds them."""

    def __init__(self, capacity: int = QUEUE_MAX) -> None:
        self._capacity = capacity
        self._subscriptions: list[Subscription] = []

    def subscribe(self) -> Subscription:
        """Begin to listen; only what happens from now on is heard."""
        subscription = Subscription(self._capacity, self._forget)
        self._subscriptions.append(subscription)
        return subscription

    @property
    def has_audience(self) -> bool:
        """Whether anybody listens."""
        return bool(self._subscriptions)

    def emit(self, event: str, /, **fields: object) -> None:
        """Tell all subscribers; a `mac` is an integer here and text there."""
        if not self._subscriptions:
            return
        if isinstance(mac := fields.get("mac"), int):
            fields["mac"] = format_mac(mac)
        row = _row(event, fields)
        for subscription in self._subscriptions:
            subscription.put(row)

    def close(self) -> None:
        """End all subscriptions."""
        for subscription in [*self._subscriptions]:
            subscription.close()

    def _forget(self, subscription: Subscription) -> None:
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)
