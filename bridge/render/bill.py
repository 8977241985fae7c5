"""The bill for people: rows of the Cost methods as tables, lines and bars that fit a terminal. Pure.

`blocks` are the two letters bars are made of, for what is direct and what is induced: a terminal that cannot show
the first pair gets the second.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from bridge.render import table as render
from bridge.render.table import cell

Row = Mapping[str, Any]

BLOCKS = ("█", "▒")
ASCII_BLOCKS = ("#", "+")
BAR = 12  # letters
LONG_BAR = 40
KEYS = {"port": ["port"], "vlan": ["vlan"], "class": ["class"], "talker": ["mac", "vlan", "port"]}
AMOUNTS = {
    "frames": "frames",
    "wire": "segments",
    "cyc/frame": "cycles_per_frame",
    "cyc/wire": "cycles_per_wire_frame",
    "direct": "direct",
    "induced": "induced",
}
LEFT = ("port", "vlan", "class", "mac", "stage", "by what")  # headings of columns of text
SPLIT = "bar"  # a column without a heading
DROPPABLE = ("direct", "wire", "cyc/wire", SPLIT, "induced")
STAGE_SHARES = 3  # shown of a slow batch
_SI = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def choose_blocks(encoding: str | None) -> tuple[str, str]:
    """Choose what bars are made of on a stream of this encoding."""
    try:
        "".join(BLOCKS).encode(encoding or "ascii")
    except (LookupError, UnicodeEncodeError):
        return ASCII_BLOCKS
    return BLOCKS


def si(value: float | None) -> str:
    """Write a number with three digits and a prefix: 1234567 is `1.23M`."""
    if value is None:
        return "-"
    for unit, letter in _SI:
        if abs(value) >= unit * 0.9995:
            scaled = value / unit
            return f"{scaled:.{2 if scaled < 9.995 else 1 if scaled < 99.95 else 0}f}{letter}"
    return f"{value:.0f}" if value == int(value) or value >= 100 else f"{value:.1f}"


def bar(direct: float, induced: float, width: int, blocks: tuple[str, str]) -> str:
    """Draw two shares, 0 to 1, one after the other."""
    solid = round(direct * width)
    shaded = round((direct + induced) * width) - solid
    return blocks[0] * solid + blocks[1] * shaded


# -- the views


def show_text(
    rows: Sequence[Row], by: str, blocks: tuple[str, str] = BLOCKS, width: int | None = None
) -> str:
    """Write the rows of CostShow as a table with a line for all of it.

    What does not fit `width` letters is left out, column by column in the order of DROPPABLE.
    """
    if by == "stage":
        return _stages(rows, blocks)
    everything = _sum(rows)
    columns = _columns([*rows, everything], by, blocks)
    for title in (None, *DROPPABLE):
        if title is not None:
            columns.pop(title)
        table = _table(columns)
        if width is None or max(map(len, table.splitlines())) <= width:
            break
    return f"{table}\n\n{_footer(everything, blocks)}"


def _columns(rows: Sequence[Row], by: str, blocks: tuple[str, str]) -> dict[str, list[str]]:
    keys = KEYS[by]
    columns = dict(zip(keys, map(list, zip(*(_key(row, keys) for row in rows), strict=True)), strict=True))
    columns |= {
        "cycles": [si(row["cycles"]) for row in rows],
        "share": [percent(row["share"]) for row in rows],
        SPLIT: [_split_bar(row, blocks) for row in rows],
    }
    columns |= {title: [si(row[column]) for row in rows] for title, column in AMOUNTS.items()}
    if by == "port":
        columns["cyc/copy"] = [si(row["cycles_per_copy"]) for row in rows]
    return columns | _cores(rows)


def _stages(rows: Sequence[Row], blocks: tuple[str, str]) -> str:
    busy = [row for row in rows if row["busy"]]
    rest = [row for row in rows if not row["busy"]]
    everything = {**_sum(busy), **_sums(busy, "cycles_per_frame", "cycles_per_wire_frame")}
    everything |= {"stage": "busy", "share": 1.0, "time_share": sum(row["time_share"] for row in busy)}
    lines = [*busy, everything, *rest]
    columns = {
        "stage": [row["stage"] for row in lines],
        "cycles": [si(row["cycles"]) for row in lines],
        "share": ["" if row["share"] is None else percent(row["share"]) for row in lines],
        SPLIT: [bar(row["share"], 0.0, BAR, blocks) if row in busy else "" for row in lines],
        "of time": [percent(row["time_share"]) for row in lines],
        "cyc/frame": ["" if row in rest else si(row["cycles_per_frame"]) for row in lines],
        "cyc/wire": ["" if row in rest else si(row["cycles_per_wire_frame"]) for row in lines],
        **_cores(lines),
    }
    return f"{_table(columns)}\n\n{_footer(everything, blocks, is_plain=True)}"


def _table(columns: Mapping[str, Sequence[str]]) -> str:
    """Align; names and bars stand left, numbers right."""
    body = [list(line) for line in zip(*columns.values(), strict=True)]
    right = [title not in (SPLIT, *LEFT) for title in columns]
    return render.align(["" if title == SPLIT else title for title in columns], body, right)


def _key(row: Row, keys: Sequence[str]) -> list[str]:
    if row["rest"]:
        name = "busy" if row["rest"] == "busy" else f"({row['rest']})"
        return [name, *[""] * (len(keys) - 1)]
    return [cell(row[key]) for key in keys]


def _split_bar(row: Row, blocks: tuple[str, str]) -> str:
    cycles, share, induced = row["cycles"], row["share"], row["induced"] or 0
    part = share * induced / cycles if cycles else 0.0
    return "" if row["rest"] == "busy" else bar(share - part, part, BAR, blocks)


def _cores(rows: Sequence[Row]) -> dict[str, list[str]]:
    columns = {"cores": ["-" if row["cores"] is None else f"{row['cores']:.3f}" for row in rows]}
    if rows[0]["currency"]:
        columns[f"{rows[0]['currency']}/month"] = [money(row["money_per_month"]) for row in rows]
    return columns


def _sums(rows: Sequence[Row], *columns: str) -> dict[str, Any]:
    """Add up columns; null if a column has no number at all."""
    sums: dict[str, Any] = {}
    for column in columns:
        numbers = [row[column] for row in rows if row[column] is not None]
        sums[column] = sum(numbers) if numbers else None
    return sums


def _sum(rows: Sequence[Row]) -> dict[str, Any]:
    """Make the row of all rows together."""
    columns = ("cycles", "direct", "induced", "frames", "segments", "cores", "money_per_month")
    sums = _sums([{**dict.fromkeys(columns), **row} for row in rows], *columns)
    cycles = sums["cycles"] = sums["cycles"] or 0
    first = rows[0] if rows else {}
    is_known = all(row.get("frames") is not None or row.get("rest") == "uncharged" for row in rows)
    if not is_known:
        sums |= dict.fromkeys(("direct", "induced", "frames", "segments"))
    return {
        **sums,
        "rest": "busy",
        "share": 1.0 if cycles else 0.0,
        "cycles_per_frame": cycles / sums["frames"] if is_known and sums["frames"] else None,
        "cycles_per_wire_frame": cycles / sums["segments"] if is_known and sums["segments"] else None,
        "cycles_per_copy": None,
        "currency": first.get("currency"),
        "seconds": first.get("seconds"),
    }


def _footer(everything: Row, blocks: tuple[str, str], *, is_plain: bool = False) -> str:
    if everything["seconds"] is None:
        return "nothing was spent"
    cores = "" if everything["cores"] is None else f", {everything['cores']:.3f} of a core"
    legend = "" if is_plain else f"   {blocks[0]} direct  {blocks[1]} induced by copies"
    return f"{si(everything['cycles'])} busy cycles in {everything['seconds']:.1f} s{cores}{legend}"


def percent(share: float) -> str:
    """Write a share."""
    return f"{100 * share:.1f}%"


def money(amount: float | None) -> str:
    """Write an amount of money."""
    if amount is None:
        return "-"
    return f"{amount:.{2 if amount >= 0.1 or amount < 0.0005 else 3}f}"


# -- in a few lines


def summary_text(rows: Sequence[Row]) -> str:
    """Write the row of CostSummary."""
    (row,) = rows
    names = ("busy", "polling", "control", "blocked")
    everything = sum(row[f"{name}_cycles"] for name in names) or 1
    lines = [f"{'window':<10} {row['seconds']:.1f} s until {render.moment(row['until'])}"]
    for name in names:
        cycles, cores = row[f"{name}_cycles"], row.get(f"{name}_cores")
        spent = f"{si(cycles):>6} cycles  {percent(cycles / everything):>6}"
        lines.append(f"{name:<10} {spent}" + ("" if cores is None else f"  {cores:.3f} of a core"))
    each = f"{si(row['cycles_per_frame'])} cycles each, {si(row['cycles_per_wire_frame'])} a wire frame"
    lines.append(
        f"{'frames':<10} {si(row['frames'])}, on the wire {si(row['segments'])}, copies {si(row['copies'])}: {each}"
    )
    lines.append(f"{'CPU clock':<10} {_seconds(row['cpu_seconds'])}" + _agreement(row))
    preempted, stolen = _seconds(row["preempted_seconds"]), _seconds(row["steal_seconds"])
    lines.append(f"{'preempted':<10} {preempted}; stolen from this machine {stolen}")
    if row["clock_jumps"]:
        lines.append(
            f"{'jumps':<10} the cycle counter jumped {row['clock_jumps']} times; nobody is charged for that"
        )
    if row["currency"]:
        spent, monthly = (f"{money(row[name])} {row['currency']}" for name in ("money", "money_per_month"))
        price = f"{row['price_per_core_hour']:g} {row['currency']} per core and hour"
        lines.append(f"{'price':<10} {price}: {spent}, and {monthly} a month like this")
    return "\n".join(lines)


def _seconds(seconds: float | None) -> str:
    return "not reported by this kernel" if seconds is None else f"{seconds:.3f} s"


def _agreement(row: Row) -> str:
    if row["accounted_per_cpu"] is None:
        return ""
    return f"; accounted for {row['accounted_seconds']:.3f} s, {percent(row['accounted_per_cpu'])} of it"


def savings_text(rows: Sequence[Row]) -> str:
    """Write the rows of CostSavings."""
    columns = {
        "saves": [percent(row["share"]) for row in rows],
        "cycles/s": [si(row["cycles_per_second"]) for row in rows],
        **_cores(rows),
        "copies": [si(row["copies"]) for row in rows],
        "by what": [cell(row["text"]) for row in rows],
    }
    table = _table(columns)
    return f"{table}\n\nestimates from {rows[0]['seconds']:.1f} s; they overlap, so they do not add up"


def slow_text(rows: Sequence[Row]) -> str:
    """Write the rows of CostSlow."""
    fixed = ("time", "port", "frames", "cycles", "microseconds")
    lines = []
    for row in rows:
        stages = sorted(
            ((stage, cycles) for stage, cycles in row.items() if stage not in fixed),
            key=lambda item: -item[1],
        )
        spent = sum(cycles for _, cycles in stages) or 1
        shares = [
            f"{stage} {100 * cycles / spent:.0f}%"
            for stage, cycles in stages[:STAGE_SHARES]
            if cycles >= spent / 100
        ]
        when = "-" if row["time"] is None else render.moment(row["time"])
        numbers = [cell(row["frames"]), si(row["cycles"]), si(row["microseconds"])]
        lines.append([when, cell(row["port"]), *numbers, ", ".join(shares)])
    headings = ("time", "port", "frames", "cycles", "µs", "most of it in")
    return render.align(headings, lines, [False, False, True, True, True, False])


def histogram_text(rows: Sequence[Row], blocks: tuple[str, str] = BLOCKS) -> str:
    """Write the rows of CostHistogram: a bar for each power of two."""
    return "\n\n".join(
        _bars(name, [*found], blocks) for name, found in groupby(rows, key=lambda row: str(row["histogram"]))
    )


def _bars(name: str, rows: Sequence[Row], blocks: tuple[str, str]) -> str:
    octaves: dict[int, list[Any]] = {}  # by the bits of their numbers: from, to, count
    for row in rows:
        bits = int(row["from"]).bit_length()
        octave = octaves.setdefault(bits, [1 << bits - 1 if bits else 0, 1 << bits, 0])
        octave[2] += row["count"]
    everything = sum(count for _, _, count in octaves.values()) or 1
    most = max((count for _, _, count in octaves.values()), default=0) or 1
    lines = [
        [
            f"{low} .. {end - 1}" if end - low > 1 else f"{low}",
            str(count),
            percent(count / everything),
            bar(count / most, 0.0, LONG_BAR, blocks),
        ]
        for low, end, count in octaves.values()
    ]
    return render.align([name, "count", "share", ""], lines, [True, True, True, False])
