"""Rows (flat dicts) to text: JSON for programs; aligned tables, blocks and lines for people.

Pure but for `write`. Invariants: JSON output is one list, whatever the number of rows, and leaves nothing
out; text shows what fits a terminal and sends it no control character, whatever a device is called.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any, NamedTuple, TextIO

from bridge.render.columns import LAYOUTS, chosen, cut, fit

Row = dict[str, Any]

STATE_COLOURS = {  # SGR of ECMA-48; of the words of a column `state`
    **dict.fromkeys(("up", "on", "open", "within", "mirroring"), "32"),
    **dict.fromkeys(("blocked", "partly open", "over", "absent", "closed"), "33"),
    **dict.fromkeys(("down", "missing", "failed"), "31"),
}


class View(NamedTuple):
    """How text is shown: at most so many characters wide (None: as wide as it is), in brief, in colour."""

    width: int | None = None
    brief: bool = False
    colour: bool = False


WHOLE = View()


@cache
def port_options() -> dict[str, object]:
    """Give the settings of a port that share a column, shown where they are not as usual, with what is usual."""
    from bridge.config.port import PortConfig, port_row

    usual = port_row(PortConfig("", ""))
    return {"reason": None} | {key: usual[key] for key in usual if key not in LAYOUTS["port"].columns}


def to_json(value: object, *, pretty: bool = False) -> str:
    """Render a list of rows (or one row of a stream) as JSON text without a newline at the end."""
    return json.dumps(value, indent=4 if pretty else None, separators=None if pretty else (",", ":"))


def write_json(parts: Iterable[Sequence[Row]], stream: TextIO) -> None:
    """Write the rows of all parts as one list, once the last part is there; a large table is never whole in memory."""
    texts = [to_json(list(part))[1:-1] for part in parts if part]
    stream.write(f"[{','.join(texts)}]\n")


def write(
    rows: Sequence[Row], layout: str, stream: TextIO, *, style: str = "text", view: View = WHOLE
) -> None:
    """Write rows in a style (text | json | pretty); `layout` picks the form of the text, `view` what is shown of it."""
    text = to_json(list(rows), pretty=style == "pretty") if style != "text" else to_text(rows, layout, view)
    if text:
        stream.write(f"{text}\n")


def to_text(rows: Sequence[Row], layout: str, view: View = WHOLE) -> str:
    """Render rows for people: `lines` of finished sentences, `blocks` of many values, otherwise a table."""
    if layout == "lines":
        return "\n".join(cell(row["text"]) for row in rows)
    if layout == "blocks":
        return "\n\n".join(map(block, rows))
    if layout == "trace":
        return steps(rows)
    if layout == "port":
        rows = [{**row, "options": _options(row)} for row in rows]
    keys = list(dict.fromkeys(key for row in rows for key in row))
    return table(rows, chosen(layout, keys, brief=view.brief), view, layout)


def _options(row: Row) -> str:
    """Name the unusual settings of a port: `native_tagged map=100:10 learning=no`."""
    shown = [key for key, usual in port_options().items() if row.get(key, usual) != usual]
    return " ".join(key if row[key] is True else f"{key}={cell(row[key])}" for key in shown)


def table(rows: Sequence[Row], columns: Sequence[str] = (), view: View = WHOLE, layout: str = "") -> str:
    """Align rows under headings; numbers to the right, text to the left, no blanks at the ends of lines."""
    if not rows:
        return ""
    columns = columns or list(dict.fromkeys(key for row in rows for key in row))
    body = [[cell(row.get(column), column) for column in columns] for row in rows]
    if view.width is not None:
        kept = fit(layout, columns, body, view.width)
        body = [
            [text for text, column in zip(texts, columns, strict=True) if column in kept] for texts in body
        ]
        columns, body = kept, cut(body, kept, view.width)
    right = [all(_is_number(row.get(column)) for row in rows) for column in columns]
    return align(columns, body, right, STATE_COLOURS if view.colour else {})


def align(
    columns: Sequence[str],
    body: Sequence[Sequence[str]],
    right: Sequence[bool],
    colours: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Align texts under headings; `right` tells which columns are numbers, `colours` are of words in `state`."""
    widths = [max(map(len, texts)) for texts in zip(columns, *body, strict=True)]

    def line(texts: Sequence[str], *, is_heading: bool = False) -> str:
        aligned = [
            text.rjust(width) if flag else text.ljust(width)
            for text, width, flag in zip(texts, widths, right, strict=True)
        ]
        aligned[-1] = aligned[-1].rstrip()
        if colours and not is_heading:
            aligned = [
                f"\x1b[{colours[text]}m{shown}\x1b[0m" if column == "state" and text in colours else shown
                for column, text, shown in zip(columns, texts, aligned, strict=True)
            ]
        return "  ".join(aligned).rstrip()

    return "\n".join((line(columns, is_heading=True), *map(line, body)))


def block(row: Row) -> str:
    """Render one row as its first value over `key: value` lines, like `ethtool -S`."""
    (_, title), *rest = row.items()
    width = max((len(key) for key, _ in rest), default=0)
    return "\n".join([cell(title), *(f"  {key:<{width}}  {cell(value, key)}" for key, value in rest)])


def steps(rows: Sequence[Row]) -> str:
    """Render what stages do, a line each: where, what, and in brackets what decides it."""
    body = [[cell(row["stage"]), cell(row["port"]), _with_key(row)] for row in rows]
    widths = [max(map(len, texts)) for texts in zip(*body, strict=True)]
    return "\n".join("  ".join(map(str.ljust, texts, widths)).rstrip() for texts in body)


def _with_key(row: Row) -> str:
    if row["decided_by"] is None:
        return cell(row["text"])
    line = f", line {row['line']}" if row["line"] else ""
    return f"{cell(row['text'])} ({cell(row['decided_by'])}{line})"


def event(row: Row) -> str:
    """Render a monitor event as one line: when, what, then key=value."""
    rest = [f"{key}={cell(value, key)}" for key, value in row.items() if key not in ("event", "time")]
    return " ".join([moment(row["time"]), cell(row["event"]), *rest])


def moment(seconds: float) -> str:
    """Render unix time as local date and time."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(seconds))


def cell(value: object, key: str = "") -> str:
    """Render one value on one line, `-` for none."""
    if value is None or value == "" or value == []:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ",".join(cell(item) for item in value)
    if isinstance(value, float):
        return f"{100 * value:.1f}%" if key == "share" else f"{value:.1f}"
    if isinstance(value, str) and not value.isprintable():
        return "".join(
            char if char.isprintable() else char.encode("unicode_escape").decode() for char in value
        )
    return str(value)


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))
