"""A recording of the bill as a picture: cycles by class over time, and the talkers that were dearest.

Job: read a recording (bridge.cost_record), draw it with matplotlib, write a PNG or SVG. matplotlib is an extra:
`pip install 'framebridge[plot]'`. Refuses, with FramebridgeError: a recording without lines, a picture of another
kind, a machine without matplotlib.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from bridge.cli.record import Line, read
from bridge.errors import FramebridgeError

KINDS = (".png", ".svg")
TALKERS = 8
GAP = 2.5  # windows without a line that make a gap
OTHERS = "all others"
# Colour-blind safe: Okabe and Ito, "Color Universal Design", and greys for what is not traffic between stations.
COLOURS = {
    "known_unicast": "#0072b2",
    "unknown_unicast": "#56b4e9",
    "broadcast": "#d55e00",
    "arp_nd": "#e69f00",
    "igmp_mld": "#f0e442",
    "first_hop": "#009e73",
    "heartbeat": "#66c2a5",
    "multicast": "#cc79a7",
    "reserved": "#999999",
    "dropped": "#444444",
    "uncharged": "#cccccc",
}
PALETTE = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#7a5195", "#cccccc")

Series = dict[str, list[float]]


def plot(recording: Path, picture: Path) -> int:
    """Draw a recording; returns how many lines it had."""
    if picture.suffix.lower() not in KINDS:
        raise FramebridgeError(f"{picture}: a picture is a file that ends in {' or '.join(KINDS)}")
    lines = [*read(recording)]
    if not lines:
        raise FramebridgeError(f"{recording} has no lines yet")
    try:
        import matplotlib
    except ImportError:
        raise FramebridgeError(
            "plots need matplotlib, which is not installed: pip install 'framebridge[plot]'"
        ) from None
    matplotlib.use("agg")
    _draw(lines, picture)
    return len(lines)


# -- from lines to series


def label_class(row: Line) -> str:
    """Name a row of the view by class."""
    return str(row["class"] or row["rest"])


def label_talker(row: Line) -> str:
    """Name a row of the view by talker."""
    if row["rest"]:
        return f"({row['rest']})"
    return f"{row['mac']}  VLAN {row['vlan']}  {row['port'] or '-'}"


def series(lines: Sequence[Line], view: str, most: int) -> Series:
    """Cycles per second of the dearest keys of a view, dearest first, and of all others; 0 where a line has none."""
    label = label_talker if view == "talker" else label_class
    rates = [
        {label(row): row["cycles"] / line["seconds"] for row in line[view]} if line["seconds"] else {}
        for line in lines
    ]
    sums: Counter[str] = Counter()
    for rate in rates:
        sums.update({name: int(value) for name, value in rate.items()})
    kept = [name for name, _ in sums.most_common() if not name.startswith("(other")][:most]
    found: Series = {name: [rate.get(name, 0.0) for rate in rates] for name in kept}
    rest = [sum(value for name, value in rate.items() if name not in found) for rate in rates]
    return {**found, OTHERS: rest} if any(rest) else found


def steps(lines: Sequence[Line], values: Iterable[float]) -> tuple[list[datetime], list[float]]:
    """Turn a value per line into a curve of steps, each as long as its window, 0 in the gaps between them."""
    times: list[float] = []
    heights: list[float] = []
    for line, value in zip(lines, values, strict=True):
        begin, end = line["until"] - line["seconds"], line["until"]
        if times and begin - times[-1] > GAP * line["seconds"]:
            times += [times[-1], begin]
            heights += [0.0, 0.0]
        elif times:
            begin = times[-1]  # windows may overlap or leave a little between them
        times += [begin, max(begin, end)]
        heights += [value, value]
    return [datetime.fromtimestamp(time, UTC).astimezone() for time in times], heights


def length(lines: Sequence[Line]) -> float:
    """Seconds from the beginning of the first window to the end of the last."""
    return float(lines[-1]["until"] - lines[0]["until"] + lines[0]["seconds"])


# -- from series to a picture


def _draw(lines: Sequence[Line], picture: Path) -> None:
    from matplotlib import pyplot

    figure, (above, below) = pyplot.subplots(
        2, 1, figsize=(11, 8), sharex=True, layout="constrained", height_ratios=(3, 2)
    )
    classes = series(lines, "class", len(COLOURS))
    talkers = series(lines, "talker", TALKERS)
    _stack(above, lines, classes, [COLOURS.get(name, "#bbbbbb") for name in classes], "by class")
    _stack(below, lines, talkers, PALETTE, f"by talker, the {min(TALKERS, len(talkers))} dearest")
    _scale(above, below, lines)
    figure.suptitle(_title(lines), x=0.01, ha="left", fontsize=12)
    pyplot.rcParams["svg.fonttype"] = "none"  # text stays text
    try:
        figure.savefig(picture, dpi=120)
    except OSError as error:
        raise FramebridgeError(f"cannot write {picture}: {error.strerror}") from None
    finally:
        pyplot.close(figure)


def _stack(axes: Any, lines: Sequence[Line], found: Series, colours: Sequence[str], title: str) -> None:
    curves = [steps(lines, values) for values in found.values()]
    if curves:
        axes.stackplot(curves[0][0], *(heights for _, heights in curves), labels=[*found], colors=colours)
        handles, labels = axes.get_legend_handles_labels()
        axes.legend(
            handles[::-1],
            labels[::-1],
            loc="upper left",
            bbox_to_anchor=(1.13, 1.0),
            frameon=False,
            fontsize=9,
        )
    axes.set_title(title, loc="left", fontsize=10)
    axes.margins(x=0)
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _scale(above: Any, below: Any, lines: Sequence[Line]) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.ticker import EngFormatter, PercentFormatter

    locator = AutoDateLocator()  # type: ignore[no-untyped-call]
    zone = datetime.now(UTC).astimezone().tzinfo
    below.xaxis.set_major_locator(locator)
    form = ConciseDateFormatter(locator, tz=zone)  # type: ignore[no-untyped-call]
    below.xaxis.set_major_formatter(form)
    hz = next((line["summary"]["hz"] for line in reversed(lines) if line["summary"]["hz"]), None)
    for axes in (above, below):
        axes.set_ylim(bottom=0)
        axes.set_ylabel("cycles per second")
        axes.yaxis.set_major_formatter(EngFormatter())
        if hz:
            share = axes.secondary_yaxis("right", functions=(lambda y: y / hz, lambda part: part * hz))
            share.yaxis.set_major_formatter(PercentFormatter(1.0))
            share.set_ylabel("of one core")


def _title(lines: Sequence[Line]) -> str:
    frames = sum(line["summary"]["frames"] for line in lines)
    busy = sum(line["summary"]["busy_cycles"] for line in lines)
    each = f", {busy / frames:.0f} cycles each" if frames else ""
    gaps = sum(1 for one, other in pairwise(lines) if other["until"] - one["until"] > GAP * other["seconds"])
    broken = f", with {gaps} gaps" if gaps else ""
    return f"The bill: {frames:,} frames in {length(lines):.0f} s{each}{broken}"
