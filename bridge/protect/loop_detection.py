"""Loop detection: what is sent to find loops, what comes back, what else is a sign of one, and who is to be blocked.

Job: `Prober`, which says which probe (csrc/protect/probe.h) goes out by which port and
knows where one that came back was sent; `MoveStorms`, which sees the loops that probes do not cross. Pure, on a
clock that is handed in; sending, telling and blocking are for `protection`.

* A port is probed in its native or only VLAN each round, and in up to PROBES - 1 of the others, going round.
* What goes by is the nonce of a probe, which nobody knows but who was sent it: a guest cannot make a probe that says
  that two other ports are a loop.
* Addresses that go from one port to another and back within a second, many of them: a loop. Failover moves go one way.

Blocked is one of the two ports, never both: an access or tunnel port before a trunk, the one with fewer VLANs before
the other, the one that was added later before the first. It is the same one whichever of them hears first.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bridge.clock import Clock
from bridge.config.loop_detection import TRACKED
from bridge.config.port import PortConfig

PROBES = 16  # of a port and round, at most
ROUNDS = 3  # whose probes are known when they come back
STORM_WINDOW = 1.0  # seconds

_NONCE_BITS = 48


@dataclass(frozen=True, slots=True)
class Probe:
    """One probe to be sent."""

    port: int
    vid: int
    nonce: int
    sequence: int


class Prober:
    """Which probes go out, and where one that came back was sent."""

    def __init__(self, draw: Callable[[int], int] = secrets.randbits) -> None:
        self._draw = draw
        self._rounds: deque[dict[int, tuple[int, int]]] = deque(maxlen=ROUNDS)
        self._sequence = 0

    def round(self, ports: Mapping[int, PortConfig]) -> list[Probe]:
        """Draw the probes of one round, for ports by index."""
        probes = []
        for index, port in sorted(ports.items()):
            for vid in _vids(port, self._sequence):
                probes.append(Probe(index, vid, self._draw(_NONCE_BITS), self._sequence & 0xFFFFFFFF))
        self._sequence += 1
        self._rounds.append({probe.nonce: (probe.port, probe.vid) for probe in probes})
        return probes

    def origin(self, nonce: int) -> tuple[int, int] | None:
        """Find the port and VLAN a probe was sent to; None: lately none with this nonce was."""
        return next((sent[nonce] for sent in self._rounds if nonce in sent), None)


def _vids(port: PortConfig, turn: int) -> list[int]:
    """VLANs that a port is probed in this time."""
    always = [port.pvid] if port.pvid else []
    others = sorted(port.members - {*always})
    most = PROBES - len(always)
    if len(others) > most:
        start = turn * most % len(others)
        others = (others + others)[start : start + most]
    return always + others


class MoveStorms:
    """Addresses that go back and forth between two ports."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since = 0.0
        self._first: dict[
            tuple[int, int, int, int], int
        ] = {}  # port an address first went to, by pair and address
        self._back: dict[tuple[int, int], set[tuple[int, int]]] = {}  # addresses that came back, by pair

    def moved(self, vid: int, mac: int, port: int, old_port: int, threshold: int) -> bool:
        """Count a move; True: now as many as the threshold have come back, which is reported once a window."""
        now = self._clock.now()
        if now - self._since >= STORM_WINDOW:
            self._since = now
            self._first.clear()
            self._back.clear()
        low, high = sorted((port, old_port))
        if len(self._first) >= TRACKED and (low, high, vid, mac) not in self._first:
            return False
        if self._first.setdefault((low, high, vid, mac), port) == port:
            return False
        back = self._back.setdefault((low, high), set())
        before = len(back)
        back.add((vid, mac))
        return before < len(back) == threshold


def weaker(ports: Mapping[int, PortConfig], first: int, second: int) -> int:
    """Index of the port to block, of two; `ports` are all by index, in the order they were added."""
    order = [*ports]

    def rank(index: int) -> tuple[bool, int, int]:
        return ports[index].mode == "trunk", len(ports[index].members), -order.index(index)

    return min(first, second, key=rank)
