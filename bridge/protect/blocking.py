"""Blocked ports: taken out of forwarding for a reason and a time, as a switch does that finds a loop behind one.

Job: who is blocked, why, and until when; the port itself is the engine's. A blocked port is as one that is disabled,
but its frames are dropped as `blocked`. It comes back when its time is over or by hand, and the block ends with the
port.
Thread: control. Invariant: a port that is blocked again keeps its first reason and the later end.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from bridge.clock import Clock
from bridge.events import Emit

log = logging.getLogger(__package__)


@dataclass(frozen=True, slots=True)
class Block:
    """Why a port is out of forwarding, and until when on the clock; None: until somebody lets it back."""

    reason: str
    until: float | None


class Blocks:
    """The blocked ports of one bridge, by name; `changed(port)` has the port looked at again."""

    def __init__(self, clock: Clock, emit: Emit, changed: Callable[[str], None]) -> None:
        self._clock = clock
        self._emit = emit
        self._changed = changed
        self._blocks: dict[str, Block] = {}

    def __contains__(self, port: object) -> bool:
        return port in self._blocks

    def block(self, port: str, reason: str, seconds: float) -> None:
        """Take a port out of forwarding for so many seconds, 0: until `unblock`."""
        until = self._clock.now() + seconds if seconds else None
        if before := self._blocks.get(port):
            later = None if until is None or before.until is None else max(until, before.until)
            self._blocks[port] = replace(before, until=later)
            return
        self._blocks[port] = Block(reason, until)
        log.warning("port %s is blocked: %s", port, reason)
        self._emit("port-blocked", port=port, reason=reason, seconds=seconds or None)
        self._changed(port)

    def unblock(self, port: str, *, by: str = "hand") -> bool:
        """Let a port forward again; False: it was not blocked."""
        if self._blocks.pop(port, None) is None:
            return False
        log.info("port %s is no longer blocked (%s)", port, by)
        self._emit("port-unblocked", port=port, by=by)
        self._changed(port)
        return True

    def forget(self, port: str) -> None:
        """End the block of a port that is gone."""
        self._blocks.pop(port, None)

    def expire(self) -> None:
        """Let go of the ports whose time is over."""
        now = self._clock.now()
        for port, block in [*self._blocks.items()]:
            if block.until is not None and block.until <= now:
                self.unblock(port, by="time")

    def reason(self, port: str) -> str:
        """Why a port is blocked; empty: it is not."""
        block = self._blocks.get(port)
        return block.reason if block else ""
