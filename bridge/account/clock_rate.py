"""The rate of the cycle counter: cycles per second. Pure."""

from __future__ import annotations

from bridge.account.window import WRAP


class CycleRate:
    """Cycles per second, from paired readings of a clock and of the cycle counter; None until it is known.

    The longer the time since the first pair, the more exact. A pair that does not fit (the machine was
    suspended, the counter was reset) starts a new measurement; the rate known so far holds until two pairs in
    a row say otherwise.
    """

    SHORTEST = 0.02  # seconds between pairs that make a rate
    TOLERANCE = 0.02
    PLAUSIBLE = (1e6, 1e11)  # cycles per second

    def __init__(self, seconds: float, cycles: int) -> None:
        self.hz: float | None = None
        self._first = self._last = (seconds, cycles)
        self._doubt: float | None = None

    def note(self, seconds: float, cycles: int) -> None:
        """Take another pair into account."""
        step = seconds - self._last[0]
        if step < self.SHORTEST:
            return
        rate = (cycles - self._last[1]) % WRAP / step
        self._last = seconds, cycles
        if not self.PLAUSIBLE[0] <= rate <= self.PLAUSIBLE[1]:
            self._first = self._last
        elif self.hz is None or self._agree(rate, self.hz):
            self.hz = (cycles - self._first[1]) % WRAP / (seconds - self._first[0])
            self._doubt = None
        else:
            if self._doubt is not None and self._agree(rate, self._doubt):
                self.hz = rate
            self._doubt = rate
            self._first = self._last

    def _agree(self, one: float, other: float) -> bool:
        return abs(one - other) <= self.TOLERANCE * other
