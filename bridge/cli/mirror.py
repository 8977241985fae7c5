"""Commands of mirrors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bridge.cli.command import Command, explain, query, settings
from bridge.cli.grammar import Grammar
from bridge.control.protocol import Message

if TYPE_CHECKING:
    from bridge.config.key import Key

MIRROR_FLAGS = {"replace": "replace"}


def _words() -> list[Key]:
    from bridge.config.mirror import KEYS

    return [key for key in KEYS if key.help]


def mirror_grammar() -> Grammar:
    """Give the words of `mirror add`."""
    return Grammar(("name",), keys=settings(_words()), flags=MIRROR_FLAGS)


def _notes() -> str:
    return f"""\
{explain(_words())}
The mirror is gone after a restart or reload unless the file has it too.

examples:
  framebridge mirror add ids to_port tap-ids vlans 10
  framebridge mirror add why file drops.pcapng what drops ports uplink
"""


def mirror_table(values: Mapping[str, Any]) -> dict[str, Any]:
    """Shape values read with `mirror_grammar` like a [[mirror]] table of the file."""
    table = {key: value for key, value in values.items() if value is not None}
    if "replace" in table:
        table["replace"] = True
    return table


def mirror_to_add(values: Message) -> Message:
    """Shape the words of `mirror add` for MirrorAdd."""
    return {"mirror": mirror_table(values)}


COMMANDS = (
    Command(
        "mirror show",
        "",
        "mirrors: what they copy, where to, what became of the copies",
        query("MirrorShow", "mirror", empty="no mirrors; add one with `mirror add`"),
    ),
    Command(
        "mirror add",
        "MIRROR to_port PORT | file FILE [KEY VALUE]... [replace]",
        "copy frames to a port or into a pcapng file",
        query("MirrorAdd", "lines", mirror_grammar, mirror_to_add),
        _notes,
    ),
    Command(
        "mirror del",
        "MIRROR",
        "remove a mirror; its file stays",
        query("MirrorDel", "lines", Grammar(("mirror",))),
    ),
)
