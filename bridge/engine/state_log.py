"""The log of what becomes of ports: each change as it happens, a port that flaps as one line a while.

Job: log the first changes of a port's state, then count, and log a summary of what was counted: every WINDOW seconds
while it goes on, and once it is over. Events for `monitor` are not its business: there everybody sees each change.
Thread: control. Invariant: every change of a state is logged or counted in a summary, until its port is forgotten.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass, field

from bridge.clock import Clock

log = logging.getLogger(__package__)

WINDOW = 10.0  # seconds
LOGGED_MAX = 4  # changes of one port within a window that are logged one by one


@dataclass(slots=True)
class _Changes:
    logged: deque[float] = field(default_factory=lambda: deque(maxlen=LOGGED_MAX))  # when
    counted: int = 0  # since
    since: float = 0.0
    state: str = ""  # the last one


class StateLog:
    """The changes of all ports of one bridge."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ports: dict[str, _Changes] = {}

    def changed(self, port: str, state: str, level: int, text: str) -> None:
        """Log that a port is in another state, in so many words, or count it."""
        now = self._clock.now()
        changes = self._ports.setdefault(port, _Changes())
        changes.state = state
        if changes.counted or (len(changes.logged) == LOGGED_MAX and now - changes.logged[0] < WINDOW):
            changes.since = changes.since if changes.counted else now
            changes.counted += 1
            return
        changes.logged.append(now)
        log.log(level, "%s", text)

    def tick(self) -> None:
        """Log summaries that are due: call it once a second."""
        now = self._clock.now()
        for port, changes in self._ports.items():
            if changes.counted and now - changes.since >= WINDOW:
                self._summarise(port, changes, now)

    def forget(self, port: str) -> None:
        """Log what is left of a port that is removed."""
        changes = self._ports.pop(port, None)
        if changes is not None and changes.counted:
            self._summarise(port, changes, self._clock.now())

    def _summarise(self, port: str, changes: _Changes, now: float) -> None:
        text = "port %s flaps: its state changed %d more times within %.0f s; it is %s now"
        log.warning(text, port, changes.counted, max(now - changes.since, 1.0), changes.state)
        changes.counted = 0
        changes.logged.extend([now] * LOGGED_MAX)  # what comes within a window from here is counted again
