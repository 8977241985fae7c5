"""What `framebridge top` shows, as text: lines over a table, from rows of the daemon. Pure.

Job: a `Sample` (what the daemon said in one round) to the headline, to cells in columns, to one plain page.
Invariants: every view fits WIDTH columns; rows that stand for a rest come last however the table is sorted; no
control character of a name reaches a terminal (bridge.render.cell).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from bridge.control.protocol import Row
from bridge.render.table import cell

WIDTH = 79
BARS = " ▁▂▃▄▅▆▇█"

Number = float | None


@dataclass(frozen=True, slots=True)
class Sample:
    """One round of questions: rows of Version, PortShow, CostSummary and CostShow."""

    bridge: str = ""
    ports: Sequence[Row] = ()
    summary: Row = field(default_factory=dict)
    view: str = "class"
    rows: Sequence[Row] = ()


# -- numbers


def short(number: Number) -> str:
    """Write a number in at most five characters: 7, 1234, 12.3k, 1.23M."""
    if number is None:
        return "-"
    if abs(number) < 9999.5:
        return f"{number:.0f}" if number >= 9.95 or number == int(number) else f"{number:.1f}"
    for unit in "kMGTPE":
        number /= 1000
        if abs(number) < 999.5:
            digits = 2 if number < 9.995 else 1 if number < 99.95 else 0
            return f"{number:.{digits}f}{unit}"
    return f"{number:.0f}E"  # beyond 64 bits


def percent(share: Number) -> str:
    """Write a share of one as percent, without the sign."""
    return "-" if share is None else f"{100 * share:.1f}"


def ratio(part: Number, whole: Number) -> Number:
    """Divide what may be unknown."""
    return part / whole if part is not None and whole else None


def sparkline(values: Sequence[Number], width: int, floor: float = 0.0) -> str:
    """Draw the last values as bars on a scale from 0 to the largest, at least `floor`; unknown ones are blank."""
    shown = list(values)[-width:]
    most = max([floor, *(value for value in shown if value is not None)])
    text = "".join(
        BARS[0] if value is None or most <= 0 else BARS[max(1, min(8, round(8 * value / most)))]
        for value in shown
    )
    return text.rjust(width)


# -- columns


class Column(NamedTuple):
    """A column: `number` gives what is sorted by, `text` what is shown; without `text` it is a name."""

    title: str
    width: int
    number: Callable[[Row], Number] | None = None
    text: Callable[[Number], str] = short
    key: str = ""

    def show(self, row: Row) -> str:
        """Write the cell of a row, not yet aligned."""
        if self.number is not None:
            return self.text(self.number(row))
        value = row.get(self.key)
        return "" if value is None else cell(value)

    def align(self, text: str) -> str:
        """Fit a text into the width: numbers to the right, names to the left and cut."""
        if self.number is not None:
            return text.rjust(self.width)
        return text.ljust(self.width) if len(text) <= self.width else f"{text[: self.width - 1]}…"


def _of(key: str) -> Callable[[Row], Number]:
    return lambda row: row.get(key)


def _per_frame(key: str) -> Callable[[Row], Number]:
    """Take what a frame cost; a stage that is not spent on frames has no such number."""
    return lambda row: None if row.get("busy") is False else row.get(key)


def _rate(key: str, factor: float = 1.0) -> Callable[[Row], Number]:
    def number(row: Row) -> Number:
        count = row.get(key)
        return None if count is None else ratio(factor * count, row.get("seconds"))

    return number


CORE = Column("core %", 6, _of("cores"), percent)
SHARE = Column("share", 6, _of("share"), percent)
PER_FRAME = Column("cyc/fr", 6, _per_frame("cycles_per_frame"))
PER_WIRE_FRAME = Column("cyc/wire", 8, _per_frame("cycles_per_wire_frame"))
FRAMES = Column("frames/s", 8, _of("frames_per_second"))
BITS = Column("bit/s", 6, _rate("bytes", 8.0))
COPIES = Column("copies/s", 8, _rate("copies"))
INDUCED = Column("induced", 7, lambda row: ratio(row.get("induced"), row.get("cycles")), percent)

COLUMNS: dict[str, tuple[Column, ...]] = {
    "class": (
        Column("class", 15, key="class"),
        *(CORE, SHARE, PER_FRAME, PER_WIRE_FRAME, FRAMES, BITS, COPIES, INDUCED),
    ),
    "port": (
        Column("port", 15, key="port"),
        *(CORE, SHARE, PER_FRAME, FRAMES, BITS, INDUCED),
        Column("sent/s", 7, _rate("offered")),
        Column("cyc/sent", 8, _of("cycles_per_copy")),
    ),
    "vlan": (
        Column("vlan", 15, key="vlan"),
        *(CORE, SHARE, PER_FRAME, PER_WIRE_FRAME, FRAMES, BITS, COPIES, INDUCED),
    ),
    "talker": (
        Column("source", 17, key="mac"),
        Column("vlan", 4, key="vlan"),
        Column("port", 10, key="port"),
        *(CORE, SHARE, PER_FRAME, FRAMES, BITS, INDUCED),
    ),
    "stage": (
        Column("stage", 15, key="stage"),
        *(CORE, SHARE),
        Column("of time", 7, _of("time_share"), percent),
        *(PER_FRAME, PER_WIRE_FRAME),
        Column("cycles/s", 8, _of("cycles_per_second")),
    ),
}
VIEWS = (*COLUMNS,)


class Sort(NamedTuple):
    """By which column, and which end first."""

    column: int
    descending: bool = True


def default_sort(view: str) -> Sort:
    """Give the order that a view begins with: the dearest first, stages in the order a frame goes through them."""
    return Sort(0, descending=False) if view == "stage" else Sort(COLUMNS[view].index(CORE))


def sort_rows(view: str, rows: Sequence[Row], sort: Sort) -> list[Row]:
    """Order the rows; what is unknown comes after what is known, the rests come last."""
    named = [row for row in rows if not row.get("rest")]
    rests = [row for row in rows if row.get("rest")]
    column = COLUMNS[view][sort.column]
    if column.number is not None:
        value = column.number
        known = sorted(
            (row for row in named if value(row) is not None),
            key=lambda row: value(row) or 0.0,
            reverse=sort.descending,
        )
        return [*known, *(row for row in named if value(row) is None), *rests]
    if view == "stage":
        return [*(reversed(named) if sort.descending else named), *rests]

    def name(row: Row) -> tuple[int, str]:
        key = row.get(column.key)
        return (key, "") if isinstance(key, int) else (0, str(key or ""))

    return [*sorted(named, key=name, reverse=sort.descending), *rests]


def cells(view: str, row: Row) -> list[str]:
    """Write the cells of a row, aligned; a row for a rest has its name in brackets."""
    columns = COLUMNS[view]
    texts = [column.show(row) for column in columns]
    if row.get("rest"):
        texts[0] = f"({cell(row['rest'])})"
    return [column.align(text) for column, text in zip(columns, texts, strict=True)]


def titles(view: str, sort: Sort) -> list[str]:
    """Write the headings, aligned, an arrow at the one that is sorted by."""
    texts = []
    for place, column in enumerate(COLUMNS[view]):
        arrow = ("▼" if sort.descending else "▲") if place == sort.column else ""
        title = column.title[: column.width - len(arrow)]
        texts.append(column.align(f"{arrow}{title}" if column.number else f"{title}{arrow}"))
    return texts


# -- the lines above


def load(summary: Row) -> Number:
    """Share of one core that frames take."""
    return summary.get("busy_cores")


def headline(sample: Sample) -> str:
    """Write who this is and how it fares, on one line."""
    summary = sample.summary
    seconds = summary.get("seconds")
    up = sum(row.get("state") == "up" for row in sample.ports)
    bits = ratio(8.0 * (summary.get("bytes") or 0), seconds)
    parts = [
        f"{cell(sample.bridge)}: {up}/{len(sample.ports)} ports up",
        f"{short(summary.get('frames_per_second'))} frames/s",
        f"{short(bits)}bit/s",
    ]
    if (money := summary.get("money_per_month")) is not None:
        parts.append(f"{money:.2f} {cell(summary.get('currency') or '')}/month")
    for name in ("preempted", "steal"):
        if (share := ratio(summary.get(f"{name}_seconds"), seconds)) is not None and share >= 0.0005:
            parts.append(f"{name} {percent(share)}%")
    return "  ".join(parts)[:WIDTH]


def gauges(loads: Sequence[Number], costs: Sequence[Number]) -> list[str]:
    """Write load and cycles per frame with their recent past, a line each."""
    lines = []
    for title, values, text, floor in (("load %", loads, percent, 0.01), ("cycles/frame", costs, short, 1.0)):
        now = text(values[-1] if values else None)
        lines.append(f"{title:<12} {now:>6} {sparkline(values, WIDTH - 20, floor)}")
    return lines


def page(sample: Sample, sort: Sort | None = None) -> str:
    """Write everything once, for a pipe or a file."""
    sort = sort or default_sort(sample.view)
    seconds = sample.summary.get("seconds")
    costs = sample.summary.get("cycles_per_frame")
    return "\n".join(
        [
            headline(sample),
            f"load {percent(load(sample.summary))}%  cycles/frame {short(costs)}  window {short(seconds)} s",
            "",
            *(
                " ".join(texts).rstrip()
                for texts in (
                    titles(sample.view, sort),
                    *(cells(sample.view, row) for row in sort_rows(sample.view, sample.rows, sort)),
                )
            ),
        ]
    )
