"""Commands of groups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bridge.cli.command import Command, Options, ask, query, show
from bridge.cli.grammar import NUMBER, TEXT, Grammar
from bridge.control.protocol import Message

MDB_FILTER = Grammar(
    keys={"group": TEXT, "vlan": NUMBER, "port": TEXT},
    flags={"static": "kind", "learned": "kind", "routers": "kind"},
)
MDB_FLUSH = Grammar(keys=MDB_FILTER.keys)
MDB_ADD = Grammar(
    names=("group",), keys={"vlan": NUMBER, "port": TEXT}, flags={"only": "only"}, required=("vlan", "port")
)
MDB_DEL = Grammar(names=("group",), keys={"vlan": NUMBER, "port": TEXT}, required=("vlan",))


def group_to_add(values: Mapping[str, Any]) -> Message:
    """Shape the words of `mdb add` for MdbAdd: like a [[group]] table of the file."""
    table = {"group": values["group"], "vlan": values["vlan"], "ports": values["port"].split(",")}
    return {"group": {**table, **({"only": True} if "only" in values else {})}}


def flushed(options: Options, words: list[str]) -> int:
    """Forget members and tell how many."""
    rows = ask(options, "MdbFlush", MDB_FLUSH.read(words))
    show(options, [{**row, "text": f"{row['flushed']} memberships flushed"} for row in rows], "lines")
    return 0


COMMANDS = (
    Command(
        "mdb show",
        "[group GROUP] [vlan VID] [port PORT] [static|learned|routers]",
        "members of groups: which port gets which multicast",
        query("MdbShow", "mdb", MDB_FILTER, empty="no members of groups; see `mdb queriers`"),
        """\
Every filter given has to fit. STATE: member (it reported the group), static (set by hand); and ports that get every
group of the VLAN: router, grace (it came up, or a station moved there, and was asked), limit (it reported more groups
than it may). unanswered: queries it owes an answer to; with the next one it is no member any more.

examples:
  framebridge mdb show vlan 10
  framebridge -j mdb show group 239.1.1.1 | jq -r '.[].port'
""",
    ),
    Command(
        "mdb queriers",
        "[vlan VID]",
        "snooping by VLAN: its state, and who asks for members",
        query("MdbQueriers", "queriers", Grammar(keys={"vlan": NUMBER}), empty="no VLAN snoops"),
        """\
quiet: nobody asks, so everything is flooded. learning: a query is being answered; everything is flooded. pruning:
groups go to their members.
""",
    ),
    Command(
        "mdb add",
        "GROUP vlan VID port PORT[,PORT] [only]",
        "have ports get a group, whether or not they report it",
        query("MdbAdd", "lines", MDB_ADD, group_to_add),
        """\
GROUP is an IPv4 or IPv6 group, or an Ethernet address for what does not go by IP. only: these ports, and none that
reports the group. It is gone after a restart or reload unless the file has it too.

example:
  framebridge mdb add 239.1.1.1 vlan 10 port guests
""",
    ),
    Command(
        "mdb del",
        "GROUP vlan VID [port PORT]",
        "take a port, or all, from a group set by hand",
        query("MdbDel", "lines", MDB_DEL),
    ),
    Command(
        "mdb flush",
        "[group GROUP] [vlan VID] [port PORT]",
        "forget learned members, and ask who is one",
        flushed,
        """\
Until the answers are due the ports get every group. What is set by hand stays; use mdb del.
""",
    ),
)
