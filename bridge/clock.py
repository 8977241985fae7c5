"""Time as a value that is handed in: what ages, waits or retries asks a `Clock`; tests move it by hand.

Used by the control thread only; the data plane counts ticks and cycles of its own.
"""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Monotonic seconds, and a pause measured in them."""

    def now(self) -> float:
        """Seconds since some fixed moment; never goes back."""

    async def sleep(self, seconds: float) -> None:
        """Pause this task."""


class SystemClock:
    """The clock of the machine."""

    def now(self) -> float:
        """Seconds of CLOCK_MONOTONIC."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Pause this task for so many seconds."""
        await asyncio.sleep(seconds)
