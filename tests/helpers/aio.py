"""Async tests without a plugin: `story` runs one in its own loop, `until` waits for a condition there."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from bridge.clock import SystemClock

DEADLINE = 10.0  # seconds; only a failing test waits that long

T = TypeVar("T")


class QuickClock(SystemClock):
    """The time of the machine, with pauses of a fiftieth: rounds of housekeeping come quickly."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / 50)


def story(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Make a test of a coroutine function; fixtures are its parameters as usual."""

    @functools.wraps(test)
    def run(*args: Any, **fixtures: Any) -> None:
        asyncio.run(test(*args, **fixtures))

    return run


async def until(condition: Callable[[], T], what: str, timeout: float = DEADLINE) -> T:
    """Let the loop run until the condition holds; give what it returned."""
    end = asyncio.get_running_loop().time() + timeout
    while not (result := condition()):
        assert asyncio.get_running_loop().time() < end, f"not within {timeout} s: {what}"
        await asyncio.sleep(0.002)
    return result
