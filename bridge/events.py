"""Events for whoever watches: what `monitor` shows, as flat dicts, through one bounded queue per subscriber.

Job: spread an event to all subscriptions, wait for none. Thread: control. Invariant: a subscriber that is
too slow misses events, is told how many ({"event": "lost", "lost": n}) where they are missing, and slows
nobody else down. Without subscribers an event costs nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol, Self

from bridge.mac import format_mac

QUEUE_MAX = 4096  # events per subscription

EventRow = dict[str, object]


class Emit(Protocol):
    """Tell the world."""

    def __call__(self, event: str, /, **fields: object) -> None:
        """Tell of an event with its fields; `mac` is an integer here."""


def _row(event: str, fields: dict[str, object]) -> EventRow:
    return {"event": event, "time": time.time(), **fields}


class Subscription:
    """One reader's events: iterate; `close` ends the iteration, also one that waits."""

    def __init__(self, capacity: int, on_close: Callable[[Subscription], None]) -> None:
        self._rows: deque[EventRow] = deque()
        self._capacity = capacity
        self._lost = 0
        self._on_close = on_close
        self._news = asyncio.Event()
        self._closed = False

    def put(self, row: EventRow) -> None:
        """Queue an event, or count it as lost."""
        if len(self._rows) + bool(self._lost) >= self._capacity:
            self._lost += 1
            return
        self._note_loss()
        self._rows.append(row)
        self._news.set()

    def _note_loss(self) -> None:
        if self._lost:
            self._rows.append(_row("lost", {"lost": self._lost}))
            self._lost = 0

    def close(self) -> None:
        """End the iteration at once; idempotent."""
        self._closed = True
        self._rows.clear()
        self._news.set()
        self._on_close(self)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> EventRow:
        while not self._closed:
            if not self._rows:
                self._note_loss()
            if self._rows:
                return self._rows.popleft()
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
