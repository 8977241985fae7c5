"""Commands of the pair: who forwards, and who shall."""

from __future__ import annotations

from bridge.cli.command import Command, query

NO_PAIR = "this bridge is in no pair; see [pair] in docs/pair.md"

COMMANDS = (
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
