"""Move guard: addresses that go back and forth between ports, as in a loop, a spoofing guest or two of one address.

Job: count the moves of each (VLAN, address) against the `[move_guard]` table; what follows is for `protection`.
Pure, on a clock that is handed in. The window begins with the first move and ends `window` seconds later, as in
RFC 7432 section 15.1, which suggests 5 moves in 180 s.
Bounds: TRACKED addresses that moved lately; the one longest without a move is forgotten first.
Never counted: addresses of virtual routers, whose trade is to move.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from bridge.clock import Clock
from bridge.config.move_guard import MoveGuardConfig
from bridge.core._core import is_virtual_router

TRACKED = 16384


@dataclass(slots=True)
class _Moves:
    since: float
    n: int = 0
    reported: bool = False


class MoveGuard:
    """Counts moves."""

    def __init__(self, clock: Clock) -> None:
        self.config = MoveGuardConfig()
        self._clock = clock
        self._moves: OrderedDict[tuple[int, int], _Moves] = OrderedDict()

    def configure(self, config: MoveGuardConfig) -> None:
        """Put other limits in force; counting begins anew."""
        self.config = config
        self._moves.clear()

    def moved(self, vid: int, mac: int) -> bool:
        """Count a move; True: one too many, which is reported once a window."""
        if not self.config.moves or is_virtual_router(mac):
            return False
        now = self._clock.now()
        key = (vid, mac)
        moves = self._moves.get(key)
        if moves is None or now - moves.since >= self.config.window:
            moves = self._moves[key] = _Moves(now)
        self._moves.move_to_end(key)
        if len(self._moves) > TRACKED:
            self._moves.popitem(last=False)
        moves.n += 1
        if moves.n < self.config.moves or moves.reported:
            return False
        moves.reported = True
        return True

    def forget(self, vid: int, mac: int) -> None:
        """Count an address anew."""
        self._moves.pop((vid, mac), None)
