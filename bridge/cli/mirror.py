"""Commands of mirrors; the keys of a mirror, with their help."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bridge.cli.command import Command, Key, query, settings
from bridge.cli.grammar import NUMBER, TEXT, VIDS, Grammar, Reader
from bridge.control.protocol import Message

NAMES = Reader("names like a,b", lambda value: value.split(","))
SIZE = Reader("a size like 100MB", str)
RATE = Reader("a rate like 10Mbit/s or 1000frames/s", str)

_KEYS = (
    Key("to_port", "PORT", "a port with `mirror on`", TEXT),
    Key(
        "file",
        "FILE",
        "beneath mirror_dir; a file with something in it is refused unless you say replace, or files",
        TEXT,
    ),
    Key("ports", "LIST", "only frames of these ports", NAMES),
    Key("direction", "rx|tx|both", "frames that arrive there, or leave, or both (the default)", TEXT),
    Key("vlans", "LIST", "only frames of these VLANs", VIDS),
    Key(
        "what", "frames|drops|all", "frames that go on (the default), frames that are dropped, or both", TEXT
    ),
    Key("snaplen", "BYTES", "cut copies to so many bytes", NUMBER),
    Key("file_size", "SIZE", "of a file, like 100MB (the default): then it is full, or", SIZE),
    Key("files", "N", "the next one begins; so many are kept", NUMBER),
    Key("rate", "RATE", "like 10Mbit/s or 1000frames/s; what exceeds it is counted, not copied", RATE),
)
MIRROR_KEYS = settings(_KEYS)
MIRROR_ARGUMENTS = "".join(map(str, _KEYS))
MIRROR_FLAGS = {"replace": "replace"}


def mirror_table(values: Mapping[str, Any]) -> dict[str, Any]:
    """Shape values read with MIRROR_KEYS like a [[mirror]] table of the file."""
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
        query("MirrorAdd", "lines", Grammar(("name",), keys=MIRROR_KEYS, flags=MIRROR_FLAGS), mirror_to_add),
        f"""\
{MIRROR_ARGUMENTS}
The mirror is gone after a restart or reload unless the file has it too.

examples:
  framebridge mirror add ids to_port tap-ids vlans 10
  framebridge mirror add why file drops.pcapng what drops ports uplink
""",
    ),
    Command(
        "mirror del",
        "MIRROR",
        "remove a mirror; its file stays",
        query("MirrorDel", "lines", Grammar(("mirror",))),
    ),
)
