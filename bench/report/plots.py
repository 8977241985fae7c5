"""The plots of a report, made with matplotlib (extra `bench`): a figure each, or None without data for it.

One colour per system throughout, ours the darkest; medians with the range of the repetitions; logarithmic
axes start nowhere, linear axes at zero.
"""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, Locator, NullFormatter

Report = dict[str, Any]

# Okabe and Ito's colours, told apart by most eyes; ours is black, relatives of ours are grey.
PALETTE = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#8C6D1F",
    "#6A3D9A",
    "#B2182B",
    "#1B9E9E",
    "#A6761D",
)
MARKERS = "osD^vP*Xh<>"
OURS = "framebridge"
DENSE_MAX = 150  # an axis that spans a larger factor has ticks at powers of ten alone
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "figure.dpi": 110,
    "svg.hashsalt": "framebridge",
}

HEADLINES: tuple[tuple[str, str, dict[str, object], str], ...] = (
    ("tcp", "gbps", {"direction": "up"}, "TCP, guest to VLAN"),
    ("tcp", "gbps", {"direction": "down"}, "TCP, VLAN to guest"),
    ("ping", "rtt_mean_us", {"interval_ms": 1}, "ping round trip"),
    ("saturation", "forwarded_pps", {"direction": "up", "size": 60}, "60-byte frames, up"),
    ("saturation", "forwarded_pps", {"direction": "down", "size": 60}, "60-byte frames, down"),
    (
        "cost",
        "added_cycles_per_frame",
        {"direction": "up", "size": 60, "rate": 100_000, "burst": 10},
        "added CPU per frame, up",
    ),
    (
        "cost",
        "added_cycles_per_frame",
        {"direction": "down", "size": 60, "rate": 100_000, "burst": 10},
        "added CPU per frame, down",
    ),
)


class Look:
    """Colour, marker and title of every system of a report."""

    def __init__(self, report: Report) -> None:
        self._titles = {system["name"]: system["title"] for system in report["systems"]}
        others = [name for name in sorted(self._titles) if not name.startswith(OURS)]
        self._colours = {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(others)}
        self._markers = {name: MARKERS[(i + 1) % len(MARKERS)] for i, name in enumerate(others)}

    def title(self, name: str) -> str:
        return str(self._titles.get(name, name))

    def colour(self, name: str) -> str:
        return self._colours.get(name, "black" if name == OURS else "#777777")

    def marker(self, name: str) -> str:
        return self._markers.get(name, "o")

    def width(self, name: str) -> float:
        return 2.2 if name == OURS else 1.3


def canvas(columns: int, rows: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """Make an empty figure with a grid of axes."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    return figure, [axis for row in axes for axis in row]


def select(report: Report, measure: str, metric: str) -> list[Report]:
    """Return the results of a metric."""
    return [row for row in report["results"] if row["measure"] == measure and row["metric"] == metric]


def errors(rows: list[Report], scale: float = 1.0) -> list[list[float]]:
    """Distances from the median to the ends of the range, as matplotlib wants them."""
    return [
        [(row["median"] - row["low"]) * scale for row in rows],
        [(row["high"] - row["median"]) * scale for row in rows],
    ]


def plain(value: float, _position: object = None) -> str:
    """Write a tick without an exponent."""
    if value >= 1e6:
        return f"{value / 1e6:g}M"
    return f"{value / 1e3:g}k" if value >= 1e4 else f"{value:g}"


class RoundLocator(Locator):
    """Ticks of a logarithmic axis at 1, 2 and 5 times powers of ten, or at powers where that is too dense."""

    def __call__(self) -> Any:
        """Return the ticks of the axis as it is now."""
        return self.tick_values(*sorted(self.axis.get_view_interval()))  # type: ignore[union-attr]

    def tick_values(self, vmin: float, vmax: float) -> Any:
        """Return the ticks between two values."""
        factors = (1, 2, 5) if vmin > 0 and vmax / vmin < DENSE_MAX else (1,)
        ticks = [factor * 10.0**power for power in range(-6, 13) for factor in factors]
        return [tick for tick in ticks if vmin <= tick <= vmax]


def logarithmic(axis: Any) -> None:
    """Make an x or y axis logarithmic with readable ticks."""
    axis.axes.set_xscale("log") if axis.axis_name == "x" else axis.axes.set_yscale("log")
    axis.set_major_locator(RoundLocator())
    axis.set_major_formatter(FuncFormatter(plain))
    axis.set_minor_formatter(NullFormatter())


def tick_at(axis: Axes, values: list[float]) -> None:
    """Tick a logarithmic x axis where it was measured, as far as labels have room."""
    kept: list[float] = []
    for value in sorted(set(values)):
        if not kept or value >= 1.7 * kept[-1]:
            kept.append(value)
    axis.set_xticks(kept)
    axis.minorticks_off()


def ahead(report: Report) -> Figure | None:
    """By what factor we are better, per headline and rival, pair by pair; right of 1 is better."""
    look = Look(report)
    lines: list[tuple[str, list[Report]]] = []
    for measure, metric, case, title in HEADLINES:
        rows = [
            row
            for row in report["ratios"]
            if (row["measure"], row["metric"], row["system"]) == (measure, metric, OURS)
            and row["case"] == case
            and row["low"] > 0
            and row["against"] != "direct"
        ]
        if rows:
            lines.append((title, rows))
    if not lines:
        return None
    n_rows = sum(len(rows) for _, rows in lines)
    figure, (axis,) = canvas(1, 1, 8.4, 1.2 + 0.17 * n_rows + 0.2 * len(lines))
    y, ticks, seen = 0.0, [], set()
    for title, rows in lines:
        start = y
        for row in sorted(rows, key=lambda row: row["against"]):
            turned = [
                value if row["better"] == "high" else 1 / value
                for value in (row["low"], row["median"], row["high"])
            ]
            ends, middle = (min(turned), max(turned)), turned[1]
            axis.errorbar(
                middle,
                y,
                xerr=[[middle - ends[0]], [ends[1] - middle]],
                fmt=look.marker(row["against"]),
                markersize=5,
                color=look.colour(row["against"]),
                capsize=2,
                linewidth=1.2,
                label=None if row["against"] in seen else look.title(row["against"]),
            )
            seen.add(row["against"])
            y += 1
        ticks.append(((start + y - 1) / 2, title))
        axis.axhspan(start - 0.6, y - 0.4, color="#f6f6f6" if len(ticks) % 2 else "white", zorder=0)
        y += 0.2
    axis.axvline(1, color="black", linewidth=1)
    logarithmic(axis.xaxis)
    axis.set_yticks([position for position, _ in ticks], [title for _, title in ticks])
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="y", visible=False)
    axis.set_ylim(y, -1)
    axis.set_xlabel("times better than the rival (1: even; median and range of pairs)")
    for x, side, text in (
        (0.01, "left", "\u2190 rival is better"),
        (0.99, "right", "framebridge is better \u2192"),
    ):
        axis.text(x, 1.01, text, transform=axis.transAxes, ha=side, va="bottom", color="#555555", fontsize=8)
    figure.legend(loc="outside upper center", ncols=4)
    return figure


def curves(
    report: Report,
    measure: str,
    metric: str,
    by: str,
    directions: bool,
    label: str,
    *,
    log_x: bool = True,
    log_y: bool = False,
    unit: str = "",
    scale: float = 1.0,
) -> Figure | None:
    """Lines of a metric by one key of the cases, a panel per direction."""
    look = Look(report)
    rows = [row for row in select(report, measure, metric) if isinstance(row["case"].get(by), int | float)]
    rows = [row for row in rows if row["low"] > 0 or not log_y]
    if len({row["case"][by] for row in rows}) < 2:
        return None
    panels = sorted({row["case"].get("direction", "") for row in rows}, reverse=True) if directions else [""]
    figure, axes = canvas(len(panels), 1, 4.4 * len(panels) + 0.6, 3.7)
    titles = {"up": "guest to trunk", "down": "trunk to guest", "": ""}
    for axis, panel in zip(axes, panels, strict=True):
        lines: dict[str, list[Report]] = defaultdict(list)
        for row in rows:
            if not directions or row["case"].get("direction", "") == panel:
                lines[row["system"]].append(row)
        for name, points in lines.items():
            points.sort(key=lambda row: row["case"][by])
            axis.errorbar(
                [row["case"][by] for row in points],
                [row["median"] * scale for row in points],
                yerr=errors(points, scale),
                color=look.colour(name),
                marker=look.marker(name),
                linewidth=look.width(name),
                markersize=4,
                capsize=2,
                label=look.title(name),
            )
        if log_x:
            logarithmic(axis.xaxis)
            tick_at(axis, [row["case"][by] for row in rows])
        if log_y:
            logarithmic(axis.yaxis)
        else:
            axis.set_ylim(bottom=0)
            axis.yaxis.set_major_formatter(FuncFormatter(plain))
        axis.set_title(titles.get(panel, panel), loc="left")
        axis.set_xlabel(label)
        axis.set_ylabel(unit)
    share_legend(figure, axes)
    return figure


def share_legend(figure: Figure, axes: list[Axes]) -> None:
    """One legend for all panels, above them."""
    found: dict[str, Any] = {}
    for axis in axes:
        for handle, text in zip(*axis.get_legend_handles_labels(), strict=True):
            found.setdefault(text, handle)
    figure.legend(
        list(found.values()), list(found), loc="outside upper center", ncols=min(4, max(1, len(found)))
    )


def cost_curves(report: Report, measure: str, by: str, label: str) -> Figure | None:
    """Draw what a frame costs beyond what a direct veth takes."""
    metric, unit = "added_cycles_per_frame", "added cycles per frame"
    return curves(report, measure, metric, by, True, label, log_y=True, unit=unit)


def cost_by_load(report: Report) -> Figure | None:
    return cost_curves(report, "cost", "rate", "frames per second offered")


def cost_by_size(report: Report) -> Figure | None:
    return cost_curves(report, "sizes", "size", "bytes per frame")


def cost_by_burst(report: Report) -> Figure | None:
    small = [row for row in report["results"] if row["case"].get("size") == 60]
    return cost_curves({**report, "results": small}, "shapes", "burst", "frames per burst")


def scaling(report: Report) -> Figure | None:
    """Cost by MACs, VLANs, ports and copies, relative to each system's first point."""
    look = Look(report)
    rows = select(report, "scaling", "cycles_per_frame")
    titles = {"macs": "MAC addresses", "vlans": "VLANs", "ports": "ports", "copies": "copies of a broadcast"}
    panels = [by for by in titles if len({row["case"]["n"] for row in rows if row["case"]["by"] == by}) > 1]
    if not panels:
        return None
    figure, axes = canvas(2, (len(panels) + 1) // 2, 9.0, 3.1 * ((len(panels) + 1) // 2) + 0.4)
    for axis, by in zip(axes, panels, strict=False):
        lines: dict[str, list[Report]] = defaultdict(list)
        for row in rows:
            if row["case"]["by"] == by:
                lines[row["system"]].append(row)
        for name, points in lines.items():
            points.sort(key=lambda row: row["case"]["n"])
            axis.errorbar(
                [row["case"]["n"] for row in points],
                [row["median"] for row in points],
                yerr=errors(points),
                color=look.colour(name),
                marker=look.marker(name),
                linewidth=look.width(name),
                markersize=4,
                capsize=2,
                label=look.title(name),
            )
        logarithmic(axis.xaxis)
        tick_at(axis, [row["case"]["n"] for row in rows if row["case"]["by"] == by])
        axis.set_ylim(bottom=0)
        axis.yaxis.set_major_formatter(FuncFormatter(plain))
        axis.set_xlabel(titles[by])
        axis.set_ylabel("cycles per copy" if by == "copies" else "cycles per frame")
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    share_legend(figure, axes)
    return figure


def latency(report: Report) -> Figure | None:
    """Percentiles of one-way latency at the lowest rate measured, per system."""
    look = Look(report)
    ranks = (
        ("latency_p50_us", "o", "median"),
        ("latency_p99_us", "|", "99 %"),
        ("latency_p99_9_us", "x", "99.9 %"),
    )
    rows = [row for rank, _, _ in ranks for row in select(report, "latency", rank)]
    if not rows:
        return None
    rate = min(row["case"]["rate"] for row in rows)
    panels = sorted({row["case"]["direction"] for row in rows}, reverse=True)
    names = [
        system["name"] for system in report["systems"] if any(row["system"] == system["name"] for row in rows)
    ]
    figure, axes = canvas(len(panels), 1, 8.6, 0.9 + 0.28 * len(names))
    for axis, panel in zip(axes, panels, strict=True):
        for y, name in enumerate(names):
            found = {
                row["metric"]: row
                for row in rows
                if (row["system"], row["case"]["direction"], row["case"]["rate"]) == (name, panel, rate)
            }
            values = [found[rank]["median"] for rank, _, _ in ranks if rank in found]
            if values:
                axis.plot([min(values), max(values)], [y, y], color=look.colour(name), linewidth=1)
            for rank, marker, _ in ranks:
                if rank in found:
                    axis.plot(
                        found[rank]["median"],
                        y,
                        marker,
                        color=look.colour(name),
                        markersize=6,
                    )
        logarithmic(axis.xaxis)
        axis.set_yticks(
            range(len(names)),
            [look.title(name) for name in names] if panel == panels[0] else [""] * len(names),
        )
        axis.set_ylim(len(names) - 0.4, -0.6)
        axis.set_title("guest to trunk" if panel == "up" else "trunk to guest", loc="left")
        axis.set_xlabel(f"microseconds at {plain(rate)} frames per second")
    marks = [
        Line2D([], [], color="black", marker=marker, linestyle="none", label=label)
        for _, marker, label in ranks
    ]
    figure.legend(handles=marks, loc="outside upper center", ncols=len(marks))
    return figure


def bars(
    report: Report, measure: str, metric: str, match: Callable[[Report], bool], label: str, scale: float = 1.0
) -> Figure | None:
    """Return a bar per system and direction."""
    look = Look(report)
    rows = [row for row in select(report, measure, metric) if match(row["case"])]
    panels = sorted({row["case"]["direction"] for row in rows}, reverse=True)
    if not rows:
        return None
    names = [
        system["name"] for system in report["systems"] if any(row["system"] == system["name"] for row in rows)
    ]
    figure, axes = canvas(len(panels), 1, 8.6, 0.8 + 0.28 * len(names))
    for axis, panel in zip(axes, panels, strict=True):
        for y, name in enumerate(names):
            found = [row for row in rows if row["system"] == name and row["case"]["direction"] == panel]
            if found:
                axis.barh(
                    y,
                    found[0]["median"] * scale,
                    xerr=errors(found[:1], scale),
                    color=look.colour(name),
                    height=0.7,
                    error_kw={"ecolor": "#444444", "capsize": 2, "linewidth": 1},
                )
        axis.set_yticks(
            range(len(names)),
            [look.title(name) for name in names] if panel == panels[0] else [""] * len(names),
        )
        axis.set_ylim(len(names) - 0.4, -0.6)
        axis.grid(axis="y", visible=False)
        axis.set_title("guest to trunk" if panel == "up" else "trunk to guest", loc="left")
        axis.set_xlabel(label)
    return figure


def tcp(report: Report) -> Figure | None:
    return bars(report, "tcp", "gbps", lambda _: True, "Gb/s, one TCP stream")


def saturation(report: Report) -> Figure | None:
    return bars(
        report,
        "saturation",
        "forwarded_pps",
        lambda case: bool(case["size"] == 60),
        "thousand 60-byte frames per second",
        1e-3,
    )


EXPLAINED = {
    "ahead": "Each mark is one rival; right of the line framebridge is better. Bars: the range of the pairs.",
    "saturation": "More is offered than any of them can take; what came out, on one core.",
    "latency": "From the generator's system call to the sink's ring, evenly spaced frames.",
    "cost-by-load": "Cycles of the whole machine beyond those of a direct veth.",
    "cost-by-size": "Cycles of the whole machine beyond those of a direct veth.",
    "cost-by-burst": "60-byte frames. Cycles of the whole machine beyond those of a direct veth.",
    "scaling": "Busy cycles of the whole machine, generator and sink included: the shape counts, not the level.",
}
PLOTS: tuple[tuple[str, str, Callable[[Report], Figure | None]], ...] = (
    ("ahead", "Who is ahead, and by how much", ahead),
    ("tcp", "TCP", tcp),
    ("saturation", "Small frames under overload", saturation),
    ("latency", "Latency", latency),
    ("cost-by-load", "CPU per frame by load", cost_by_load),
    ("cost-by-size", "CPU per frame by frame size", cost_by_size),
    ("cost-by-burst", "CPU per frame by burst length", cost_by_burst),
    ("scaling", "CPU per frame by addresses, VLANs, ports and copies", scaling),
)


def draw(report: Report) -> dict[str, tuple[str, Figure]]:
    """Make every plot there is data for: title and figure by name."""
    with mpl.rc_context(STYLE):
        made = {name: (title, function(report)) for name, title, function in PLOTS}
    return {name: (title, figure) for name, (title, figure) in made.items() if figure is not None}


def svg(figure: Figure) -> str:
    """Give a figure as an SVG element for a page."""
    text = io.StringIO()
    with mpl.rc_context(STYLE):
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]


def save(report: Report, directory: Path) -> list[Path]:
    """Write every plot as a PNG file; returns their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, (_, figure) in draw(report).items():
        paths.append(directory / f"{name}.png")
        with mpl.rc_context(STYLE):
            figure.savefig(paths[-1], metadata={"Software": None})
    return paths
