"""Which columns a table has for people, and which of them a terminal has room for.

Pure. A table that is too wide loses columns without a value first, then those of its `leave` list in turn, and at last
the ends of its longest texts. Its first column always stays. JSON has everything; this is about text only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

GAP = 2  # blanks between columns
TEXT_MIN = 8  # no text is cut shorter
CUT = ".."
NOTHING = "-"


class Layout(NamedTuple):
    """The columns of a table in order, those that leave first where it is narrow, and what is left of it in brief."""

    columns: tuple[str, ...] = ()
    leave: tuple[str, ...] | None = None  # None: the last one first; (): none, texts are cut
    brief: tuple[str, ...] = ()


LAYOUTS: dict[str, Layout] = {  # a layout not named here shows every key, and its last columns leave first
    "port": Layout(
        (
            *("port", "kind", "device", "netns", "state", "mode", "vlan", "native", "mtu", "filter"),
            *("fdb_entries", "rx_frames", "tx_frames", "drops", "rx_missed", "options"),
        ),
        leave=(
            *("filter", "mtu", "mode", "kind", "native", "rx_missed", "netns", "options", "device"),
            *("fdb_entries", "tx_frames", "rx_frames"),
        ),
        brief=("port", "state", "vlan", "drops"),
    ),
    "vlan": Layout(
        ("vlan", "name", "tagged", "untagged", "fdb_entries", "mac_limit", "learning"),
        leave=("learning", "mac_limit", "fdb_entries", "name"),
        brief=("vlan", "tagged", "untagged"),
    ),
    "fdb": Layout(
        ("mac", "vlan", "port", "state", "age"), leave=("age", "state"), brief=("mac", "vlan", "port")
    ),
    "mdb": Layout(
        ("vlan", "group", "mac", "port", "state", "version", "unanswered", "age", "last_reporter"),
        leave=("mac", "last_reporter", "version", "unanswered", "age"),
        brief=("vlan", "group", "port"),
    ),
    "queriers": Layout(
        (
            *("vlan", "family", "snooping", "state", "querier", "mac", "port", "since", "next"),
            *("groups", "full", "spared_copies"),
        ),
        leave=("mac", "full", "since", "next", "groups", "port", "spared_copies", "snooping"),
        brief=("vlan", "family", "state"),
    ),
    "saved": Layout(
        ("vlan", "mode", "copies", "cores", "money_per_month", "text"),
        leave=("money_per_month", "cores", "mode"),
        brief=("vlan", "copies", "text"),
    ),
    "mirror": Layout(
        (
            *("mirror", "ports", "direction", "vlans", "what", "to", "rate", "state", "reason"),
            *("mirrored", "bytes", "lost", "over_rate", "file_bytes"),
        ),
        leave=("file_bytes", "bytes", "over_rate", "rate", "direction", "what", "vlans", "ports", "reason"),
        brief=("mirror", "to", "state", "mirrored"),
    ),
    "offload": Layout(
        (
            *("port", "state", "attached", "offloaded", "offloaded_tx"),
            *("left", "live", "waiting", "since", "reason"),
        ),
        leave=("since", "attached", "waiting", "offloaded_tx", "live", "left"),
        brief=("port", "state", "offloaded", "left"),
    ),
    "pair": Layout(
        (
            *("member", "who", "state", "priority", "epoch", "gate", "lease_ms", "hears", "heard_ms"),
            *("since", "gap_ms", "synced", "reason"),
        ),
        leave=("lease_ms", "synced", "gap_ms", "epoch", "priority", "since", "hears", "gate"),
        brief=("member", "who", "state", "reason"),
    ),
    "budget": Layout(
        (
            *("budget", "port", "vlan", "class", "flood", "talker", "per_second", "unit", "action"),
            *("state", "spent", "dropped", "times_over"),
        ),
        leave=("times_over", "flood", "talker", "vlan", "class", "spent", "action", "port"),
        brief=("budget", "state", "dropped"),
    ),
    "storm": Layout(
        ("port", "flood", "per_second", "unit", "state", "spent", "dropped", "times_over"),
        leave=("times_over", "spent", "unit"),
        brief=("port", "flood", "state", "dropped"),
    ),
    "drops": Layout(
        ("port", "direction", "reason", "frames", "meaning"),
        leave=(),
        brief=("port", "reason", "frames"),
    ),
}
BRIEF_COLUMNS = 3  # of a layout that names none


def chosen(layout: str, keys: Sequence[str], *, brief: bool) -> Sequence[str]:
    """Give the columns that a table of rows with these keys has."""
    known = LAYOUTS.get(layout, Layout())
    columns = known.columns or tuple(keys)
    return (known.brief or columns[:BRIEF_COLUMNS]) if brief else columns


def fit(layout: str, columns: Sequence[str], body: Sequence[Sequence[str]], width: int) -> list[str]:
    """Give the columns that a terminal of this width has room for; texts may still have to be cut."""
    widths = {
        column: max(len(column), *(len(texts[place]) for texts in body))
        for place, column in enumerate(columns)
    }
    empty = [column for place, column in enumerate(columns) if all(texts[place] == NOTHING for texts in body)]
    named = LAYOUTS.get(layout, Layout()).leave
    leave = tuple(reversed(columns)) if named is None else named
    kept = [*columns]
    for column in (*(one for one in leave if one in empty), *leave):
        if sum(widths[one] for one in kept) + GAP * (len(kept) - 1) <= width:
            break
        if column in kept[1:]:
            kept.remove(column)
    return kept


def cut(body: Sequence[Sequence[str]], headings: Sequence[str], width: int) -> list[list[str]]:
    """Cut the longest texts until a table has this width, or none is longer than TEXT_MIN."""
    widths = [max(map(len, texts)) for texts in zip(headings, *body, strict=True)]
    least = [max(TEXT_MIN, len(heading)) for heading in headings]
    while sum(widths) + GAP * (len(widths) - 1) > width:
        place = max(range(len(widths)), key=lambda one: widths[one] - least[one])
        if widths[place] <= least[place]:
            break
        others = sum(widths) - widths[place] + GAP * (len(widths) - 1)
        widths[place] = max(least[place], width - others)
    return [
        [
            text if len(text) <= room else text[: room - len(CUT)] + CUT
            for text, room in zip(texts, widths, strict=True)
        ]
        for texts in body
    ]
