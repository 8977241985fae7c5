"""The `[move_guard]` table of the configuration. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from bridge.config import checks
from bridge.config.key import key, keys, write_keys
from bridge.config.section import Section
from bridge.config.table import Table
from bridge.config.text import listing

ACTIONS = ("log", "hold", "block")


@dataclass(frozen=True, slots=True)
class MoveGuardConfig:
    """The `[move_guard]` table."""

    moves: int = key(
        0, checks.integer(2, 1_000_000, "a number of moves")
    )  # of one address in one VLAN within the window; 0: off
    window: float = key(180, checks.seconds(1, 1_000_000))  # seconds
    action: str = key(
        "log", checks.choice(*ACTIONS)
    )  # log | hold (the address stays where it was) | block (the port it moved to)
    recovery: float = key(300, checks.recovery)  # seconds until that ends; 0: by hand


NO_GUARD = MoveGuardConfig()

KEYS = keys(MoveGuardConfig)


def read_move_guard(table: Table) -> MoveGuardConfig:
    """Read `[move_guard]`; without the table it is off."""
    fields = table.fields(KEYS, required=("moves",))
    table.refuse_unknown()
    return MoveGuardConfig(**fields)


def move_guard_table(config: MoveGuardConfig) -> dict[str, object]:
    """Return the `[move_guard]` table."""
    return write_keys(config, KEYS)


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
