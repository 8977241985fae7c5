"""Commands of the forwarding database."""

from __future__ import annotations

from bridge.cli.command import Command, Options, ask, query, show
from bridge.cli.grammar import NUMBER, TEXT, Grammar

FDB_FILTER = Grammar(
    keys={"port": TEXT, "vlan": NUMBER, "mac": TEXT, "state": TEXT, "older": NUMBER},
)
FDB_WORDS = Grammar(
    names=("mac",),
    keys={"vlan": NUMBER, "port": TEXT},
    flags={"static": "kind", "sticky": "kind", "drop": "kind", "dynamic": "kind"},
    required=("vlan",),
)


def flushed(options: Options, words: list[str]) -> int:
    """Forget FDB entries and tell how many."""
    rows = ask(options, "FdbFlush", FDB_FILTER.read(words))
    show(options, [{**row, "text": f"{row['flushed']} FDB entries flushed"} for row in rows], "lines")
    return 0


def announced(options: Options, words: list[str]) -> int:
    """Announce stations and tell how often."""
    rows = ask(options, "FdbAnnounce", Grammar(keys={"vlan": NUMBER}).read(words))
    show(options, [{**row, "text": f"{row['announced']} announcements sent"} for row in rows], "lines")
    return 0


def aged(options: Options, words: list[str]) -> int:
    """Age FDB entries fast and tell how many went."""
    values = Grammar(option="seconds", keys={"port": TEXT, "vlan": NUMBER}).read(
        words if words and words[0].isdigit() else ["", *words]
    )
    seconds = values.pop("seconds")
    rows = ask(options, "FdbAge", {**values, "seconds": int(seconds)} if seconds else values)
    show(options, [{**row, "text": f"{row['aged']} FDB entries aged"} for row in rows], "lines")
    return 0


COMMANDS = (
    Command(
        "fdb show",
        "[port PORT] [vlan VID] [mac MAC] [state STATE] [older SECONDS]",
        "the forwarding database: which address is on which port",
        query("FdbShow", "fdb", FDB_FILTER),
        """\
Every filter given has to fit. STATE is dynamic, sticky, static or drop; older: silent for so long, or longer.

examples:
  framebridge fdb show vlan 10
  framebridge -j fdb show port uplink | jq -r '.[].mac'
""",
    ),
    Command(
        "fdb add",
        "MAC vlan VID [port PORT] [static|sticky|drop|dynamic]",
        "add or replace an FDB entry",
        query("FdbAdd", "lines", FDB_WORDS),
        """\
static (the default): never ages, never moves. sticky: ages, never moves. drop: frames from and to this
address are dropped on every port; it takes no port. dynamic: as if learned; with learning = "controlled"
this lets an address in, by default on the port where it was seen.

examples:
  framebridge fdb add 02:00:00:00:00:01 vlan 10 port guests
  framebridge fdb add 02:00:00:00:00:66 vlan 10 drop
""",
    ),
    Command(
        "fdb del",
        "MAC vlan VID",
        "remove an FDB entry",
        query("FdbDel", "lines", Grammar(("mac",), keys={"vlan": NUMBER}, required=("vlan",))),
    ),
    Command(
        "fdb flush",
        "[port PORT] [vlan VID] [mac MAC] [state dynamic|sticky|held] [older SECONDS]",
        "forget learned FDB entries",
        flushed,
        """\
Every filter given has to fit. Static and drop entries stay; use fdb del. That nothing fits is no error.

example:
  framebridge fdb flush vlan 10 older 60
""",
    ),
    Command(
        "fdb announce",
        "[vlan VID]",
        "tell the switches behind links where the stations of the other ports are",
        announced,
        """\
Each station is announced once by every other link port of its VLAN, as a bridge of a pair does when it takes over;
`[pair] announce` says in which form. After a guest moved here, or a switch was replaced.
""",
    ),
    Command(
        "fdb age",
        "[SECONDS] [port PORT] [vlan VID]",
        "forget learned FDB entries that were silent for SECONDS (15) or longer",
        aged,
        """\
What a switch does when the topology changes: who speaks stays, who may be elsewhere by now is looked for again. 15
seconds are 802.1Q's forward delay. The ageing time of the bridge stays as it is.

example:
  framebridge fdb age 5 port uplink
""",
    ),
)
