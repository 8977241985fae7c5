"""Ticks and seconds: what the 16 bits an FDB entry carries say about when its source was last seen.

The data plane stamps entries with a tick that only the control thread advances, every max(1 s, ageing_time / 1000).
When each tick began is remembered for as long as entries may carry it, so ages are seconds of the clock, also across a
change of ageing_time or a late call. Thread: control.
"""

from __future__ import annotations

import bisect
import math
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from bridge.clock import Clock

TICKS_PER_AGE = 1000  # at most, and far below the 65536 after which a tick comes round
TICK_MASK = 0xFFFF


class Ticking(Protocol):
    """What has the current tick."""

    tick: int


class Ticks:
    """The ticks of one FDB."""

    def __init__(self, core: Ticking, clock: Clock) -> None:
        self._core = core
        self._clock = clock
        self._begins = deque([clock.now()])  # of the ticks that entries may still carry; the last is current
        self._length = 1.0
        self.limit = 0  # age limit in ticks; 0: entries do not age

    def configure(self, ageing: float) -> None:
        """Take over an ageing time in seconds; 0: entries do not age."""
        self._length = max(1.0, ageing / TICKS_PER_AGE)
        self.limit = math.ceil(ageing / self._length)

    def begin_in_the_past(self) -> None:
        """Let an empty table have a past as long as the ageing time: entries of before a restart belong there."""
        now = self._clock.now()
        self._core.tick = self.limit
        self._begins = deque(now - self._length * ago for ago in range(self.limit, -1, -1))

    @property
    def ages(self) -> list[float]:
        """How long ago each tick began that entries may carry, the oldest first."""
        now = self._clock.now()
        return [now - begin for begin in self._begins]

    def continue_from(self, ages: Sequence[float]) -> None:
        """Go on with the ticks of another process, of which the last is current."""
        now = self._clock.now()
        self._begins = deque(now - age for age in ages)

    def advance(self) -> None:
        """Begin the next tick when it is time."""
        now = self._clock.now()
        if now - self._begins[-1] >= self._length:
            self._begins.append(now)
            self._core.tick = (self._core.tick + 1) & TICK_MASK

    def forget(self, ageing: float) -> int | None:
        """Forget ticks that ended so long ago; returns the age in ticks of the oldest that is left, None: none was."""
        before, now = len(self._begins), self._clock.now()
        while len(self._begins) > 1 and self._begins[1] <= now - ageing:
            self._begins.popleft()
        return len(self._begins) - 1 if len(self._begins) < before else None

    def age(self, tick: int) -> float:
        """Seconds since a tick ended: 0 for the current one."""
        ticks = (self._core.tick - tick) & TICK_MASK
        return self._clock.now() - self._begins[-min(ticks, len(self._begins))] if ticks else 0.0

    def carried(self, age: float) -> int:
        """Return the tick that a source carries which was silent for so many seconds: `age` of it is no more."""
        ended = len(self._begins) - bisect.bisect_left(self._begins, self._clock.now() - age)
        return (self._core.tick - ended) & TICK_MASK
