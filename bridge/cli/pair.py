"""Commands of the pair: who forwards, and who shall."""

from __future__ import annotations

import json
import socket

from bridge.cli.command import Command, Options, query, show
from bridge.cli.grammar import Grammar
from bridge.control.client import find_socket
from bridge.errors import FramebridgeError

NO_PAIR = "this bridge is in no pair; see [pair] in docs/pair.md"

PATIENCE = 2.0  # seconds; the answer is a line that is there at once


def health(options: Options, words: list[str]) -> int:
    """Ask the witness, which answers whatever the daemon is busy with."""
    Grammar().read(words)
    path = f"{find_socket(options.socket)}.gate"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(PATIENCE)
            client.connect(path)
            row = json.loads(client.makefile().readline())
    except (OSError, ValueError) as error:
        raise FramebridgeError(f"{path}: nobody answers for the gate ({error}); {NO_PAIR}") from None
    show(options, [row], "health")
    return 0 if row["health"] == "fine" else 1


COMMANDS = (
    Command(
        "health",
        "",
        "whether the data thread moves and the gate is open, asked beside the daemon",
        health,
        """\
For a bridge of a pair. The answer comes from memory that the data thread writes, whatever the rest of the daemon is
busy with. `hung`: it made no turn for [pair] hang seconds. Exit status 1 unless it is `fine`.
""",
    ),
    Command(
        "pair show",
        "",
        "this member of the pair and the other one: who forwards, and why not",
        query("PairShow", "pair", empty=NO_PAIR),
        """\
`active` forwards, `standby` could, `ineligible` could not: `reason` says why. `lease_ms`: so long the gate stays open
without another beacon. `gap_ms`: how long before its last opening this member last heard another one forward.
`hears`: the other member hears this one. `heard_ms`: since its last beacon.
""",
    ),
    Command(
        "pair switch",
        "",
        "hand over to the other member, without losing a frame",
        query("PairSwitch", "pair"),
    ),
    Command("pair hold", "", "keep this member from forwarding: maintenance", query("PairHold", "pair")),
    Command("pair resume", "", "let it forward again when its turn comes", query("PairResume", "pair")),
)
