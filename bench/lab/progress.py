"""Progress of a long run on a terminal: a bar with an estimate; plain lines where there is no terminal."""

from __future__ import annotations

import time
from typing import TextIO

WIDTH = 24
LINE_SECONDS = 20.0  # between lines without a terminal


def clock(seconds: float) -> str:
    """Write a duration as m:ss, or h:mm:ss."""
    whole = max(0, round(seconds))
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}:{rest:02d}"
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


class Progress:
    """Counts steps; the estimate of what is left follows the steps done so far."""

    def __init__(self, out: TextIO, *, quiet: bool = False) -> None:
        self._out = out
        self._quiet = quiet
        self._terminal = out.isatty()
        self._steps = 0
        self._seconds = 0.0
        self._done = 0
        self._planned = 0.0  # seconds planned for the steps done
        self._start = time.monotonic()
        self._line = 0.0
        self._shown = False

    def plan(self, steps: int, seconds: float) -> None:
        """Say what is to come."""
        self._steps, self._seconds, self._done, self._planned = steps, seconds, 0, 0.0
        self._start = time.monotonic()
        self.say(f"{steps} steps, planned to take {clock(seconds)}; a busy machine takes longer")

    def left(self) -> float:
        """Estimate the seconds that are left."""
        spent = time.monotonic() - self._start
        pace = spent / self._planned if self._planned > 5.0 else 1.0
        return (self._seconds - self._planned) * pace

    def done(self) -> None:
        """Say how long it took and how long it was to take."""
        spent = time.monotonic() - self._start
        self.say(f"{self._done} of {self._steps} steps in {clock(spent)}, planned {clock(self._seconds)}")

    def step(self, what: str, seconds: float) -> None:
        """Say that a step planned to take `seconds` begins."""
        now = time.monotonic()
        if not self._quiet and (self._terminal or now - self._line > LINE_SECONDS):
            self._line = now
            share = self._done / self._steps if self._steps else 0.0
            filled = round(share * WIDTH)
            bar = "#" * filled + "." * (WIDTH - filled)
            text = f"[{bar}] {self._done}/{self._steps} {clock(self.left())} left  {what}"
            self._out.write(f"\r\x1b[K{text[:118]}" if self._terminal else text + "\n")
            self._out.flush()
            self._shown = self._terminal
        self._done += 1
        self._planned += seconds

    def say(self, what: str) -> None:
        """Write a line of its own."""
        if not self._quiet:
            self._out.write(("\r\x1b[K" if self._shown else "") + what + "\n")
            self._out.flush()

    def end(self) -> None:
        """Leave the line of the bar."""
        if self._shown:
            self._out.write("\n")
            self._out.flush()
        self._shown = False
