"""Move guard: addresses that go back and forth between ports, as in a loop, a spoofing guest or two of one address.

Job: the `[move_guard]` table, and counting moves of each (VLAN, address) against it; what follows is for `protection`.
Pure, on a clock that is handed in. The window begins with the first move and ends `window` seconds later, as in
RFC 7432 section 15.1, which suggests 5 moves in 180 s.
Bounds: TRACKED addresses that moved lately; the one longest without a move is forgotten first.
Never counted: addresses of virtual routers, whose trade is to move.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from bridge.clock import Clock
from bridge.config import checks
from bridge.config.checks import Keys, Table, plain_table
from bridge.core._core import is_virtual_router

TRACKED = 16384
ACTIONS = ("log", "hold", "block")


@dataclass(frozen=True, slots=True)
class MoveGuardConfig:
    """The `[move_guard]` table."""

    moves: int = 0  # of one address in one VLAN within the window; 0: off
    window: float = 180  # seconds
    action: str = "log"  # log | hold (the address stays where it was) | block (the port it moved to)
    recovery: float = 300  # seconds until that ends; 0: by hand


NO_GUARD = MoveGuardConfig()

_KEYS: Keys = {
    "moves": ("moves", checks.integer(2, 1_000_000, "a number of moves")),
    "window": ("window", checks.seconds(1, 1_000_000)),
    "action": ("action", checks.choice(*ACTIONS)),
    "recovery": ("recovery", checks.recovery),
}


def read_move_guard(table: Table, *, present: bool) -> MoveGuardConfig:
    """Read `[move_guard]`; without the table it is off."""
    fields = table.fields(_KEYS, required=("moves",) if present else ())
    table.refuse_unknown()
    return MoveGuardConfig(**fields)


def move_guard_table(config: MoveGuardConfig) -> dict[str, object]:
    """Return the `[move_guard]` table."""
    return plain_table(config, _KEYS)


@dataclass(slots=True)
class _Moves:
    since: float
    n: int = 0
    told: bool = False


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
        """Count a move; True: one too many, which is told once a window."""
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
        if moves.n < self.config.moves or moves.told:
            return False
        moves.told = True
        return True

    def forget(self, vid: int, mac: int) -> None:
        """Count an address anew."""
        self._moves.pop((vid, mac), None)
