"""The `[move_guard]` table of the configuration. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from bridge.config import checks
from bridge.config.section import Section
from bridge.config.table import Keys, Table, plain_table
from bridge.config.text import listing

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


def read_move_guard(table: Table) -> MoveGuardConfig:
    """Read `[move_guard]`; without the table it is off."""
    fields = table.fields(_KEYS, required=("moves",))
    table.refuse_unknown()
    return MoveGuardConfig(**fields)


def move_guard_table(config: MoveGuardConfig) -> dict[str, object]:
    """Return the `[move_guard]` table."""
    return plain_table(config, _KEYS)


SECTION = Section(
    name="move_guard",
    field="move_guard",
    read=read_move_guard,
    write=move_guard_table,
    blank=NO_GUARD,
    actions=("set_move_guard", "set_move_guard", "set_move_guard"),
    subject=lambda guard: f"{guard.moves} moves in {guard.window:g} s" if guard.moves else "off",
    describe=lambda guard: listing(move_guard_table(guard)),
)
