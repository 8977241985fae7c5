"""The main figures of a report as text and as Markdown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from bench import stats

Report = dict[str, Any]

# (measure, metric, case, heading, how to write the median)
COLUMNS: tuple[tuple[str, str, dict[str, object], str, str], ...] = (
    ("tcp", "gbps", {"direction": "up"}, "TCP up Gb/s", "{:.1f}"),
    ("tcp", "gbps", {"direction": "down"}, "TCP down Gb/s", "{:.1f}"),
    ("ping", "rtt_mean_us", {"interval_ms": 1}, "ping us", "{:.0f}"),
    ("saturation", "forwarded_pps", {"direction": "up", "size": 60}, "60 B up kpps", "{:.0f}k"),
    ("saturation", "forwarded_pps", {"direction": "down", "size": 60}, "60 B down kpps", "{:.0f}k"),
    (
        "cost",
        "added_cycles_per_frame",
        {"direction": "up", "size": 60, "rate": 100_000, "burst": 10},
        "cycles/frame up",
        "{:.0f}",
    ),
    (
        "cost",
        "added_cycles_per_frame",
        {"direction": "down", "size": 60, "rate": 100_000, "burst": 10},
        "cycles/frame down",
        "{:.0f}",
    ),
)


def find(report: Report, measure: str, metric: str, case: dict[str, object], system: str) -> Report | None:
    """Find a result; None: not measured."""
    for row in report["results"]:
        if (row["measure"], row["metric"], row["system"]) == (measure, metric, system) and row[
            "case"
        ] == case:
            return dict(row)
    return None


def cell(row: Report | None, form: str) -> str:
    """Write a median and half its range, if there is one."""
    if row is None:
        return "-"
    scale = 1e-3 if form.endswith("k") else 1.0
    form = form.removesuffix("k")
    if row["n"] < 2:
        return form.format(row["median"] * scale)
    half = (row["high"] - row["low"]) / 2 * scale
    return f"{form.format(row['median'] * scale)} ±{form.format(half)}"


def rows(report: Report) -> tuple[list[str], list[list[str]]]:
    """Give the headings and one row per system that ran."""
    there = {(row["measure"], row["metric"], str(sorted(row["case"].items()))) for row in report["results"]}
    used = [column for column in COLUMNS if (column[0], column[1], str(sorted(column[2].items()))) in there]
    body = []
    for system in report["systems"]:
        if system["status"] != "ran":
            continue
        cells = [
            cell(find(report, measure, metric, case, system["name"]), form)
            for measure, metric, case, _, form in used
        ]
        body.append([system["title"], *cells])
    return ["system", *(column[3] for column in used)], body


COST_CASE: dict[str, object] = {"size": 60, "rate": 100_000, "burst": 10}
# (metric of `cost`, heading, how to write the median)
COST_COLUMNS = (
    ("added_cycles_per_frame", "added cycles/frame", "{:.0f}"),
    ("added_attributed_cycles_per_frame", "of threads", "{:.0f}"),
    ("own_cycles_per_frame", "own cycles/frame", "{:.0f}"),
    ("wakeups_per_second", "wake-ups/s", "{:.0f}"),
    ("latency_p50_us", "p50 us", "{:.0f}"),
    ("latency_p99_us", "p99 us", "{:.0f}"),
)


def cost_rows(report: Report) -> tuple[list[str], list[list[str]]]:
    """Give what a frame costs at 100 kpps: headings, and a row per system that ran and direction."""
    head = ["system", "direction", *(heading for _, heading, _ in COST_COLUMNS), "CPU stolen"]
    body = []
    for system in report["systems"]:
        for direction in ("up", "down"):
            case = {"direction": direction, **COST_CASE}
            found = [find(report, "cost", metric, case, system["name"]) for metric, _, _ in COST_COLUMNS]
            if not any(found):
                continue
            cells = [cell(row, form) for row, (_, _, form) in zip(found, COST_COLUMNS, strict=True)]
            body.append([system["title"], direction, *cells, stolen(report, "cost", case, system["name"])])
    return head, body


def stolen(report: Report, measure: str, case: dict[str, object], system: str) -> str:
    """Write the share of a CPU that the hypervisor took away, the worst of the samples."""
    shares = [
        sample["values"].get("cpu_steal", 0.0)
        for sample in report["samples"]
        if (sample["measure"], sample["system"]) == (measure, system) and sample["case"] == case
    ]
    return f"{max(shares):.1%}" if shares else "-"


def steal_text(report: Report) -> str:
    """Say how much the hypervisor took away in the whole run."""
    shares = sorted(s["values"]["cpu_steal"] for s in report["samples"] if "cpu_steal" in s["values"])
    if not shares:
        return ""
    return (
        f"CPU stolen by the hypervisor: median {shares[len(shares) // 2]:.1%}, at worst {shares[-1]:.1%} "
        f"of one CPU in {len(shares)} samples."
    )


def aligned(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Align columns for a terminal: the first to the left, the others to the right."""
    lines = [list(head), *map(list, body)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join(
        "  ".join(
            text.ljust(width) if not i else text.rjust(width)
            for i, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def target_text(target: Report) -> str:
    """Write one target and what was found."""
    what = target["what"] + (f" against {target['against']}" if target["against"] else "")
    if target["met"] is None:
        return f"   ?   {what}: {target['relation']} {target['bound']:g}; not measured"
    word = " met " if target["met"] else " NOT "
    return (
        f" {word} {what}: {target['median']:.2f} ({target['low']:.2f}-{target['high']:.2f}), "
        f"{target['relation']} {target['bound']:g}"
    )


def knees(report: Report) -> list[str]:
    """Say for every scaling curve where it stops being flat (a quarter above its first point)."""
    curves: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for row in report["results"]:
        if (row["measure"], row["metric"]) == ("scaling", "cycles_per_frame"):
            curves[row["system"], row["case"]["by"]].append((row["case"]["n"], row["median"]))
    said = []
    for (system, by), points in curves.items():
        if len(points) > 1:
            where = stats.knee(points)
            top = max(x for x, _ in points)
            said.append(
                f"{system} by {by}: "
                + (f"flat up to {top:g}" if where is None else f"no longer flat at {where:g}")
            )
    return said


def text(report: Report) -> str:
    """Give tables, targets, and what was left out."""
    parts = [aligned(*rows(report))]
    cost_head, cost_body = cost_rows(report)
    if cost_body:
        parts.append("60-byte frames at 100 kpps\n" + aligned(cost_head, cost_body))
    if any(target["n"] for target in report["targets"]):
        parts.append(
            "targets (ours / theirs, median and range of the pairs)\n"
            + "\n".join(map(target_text, report["targets"]))
        )
    left_out = [
        f"{system['title']}: {system['status']}, {system['reason']}"
        for system in report["systems"]
        if system["status"] != "ran"
    ]
    if left_out:
        parts.append("not measured\n  " + "\n  ".join(left_out))
    if knees(report):
        parts.append("scaling of cycles per frame\n  " + "\n  ".join(knees(report)))
    limited = sorted(
        {f"{s['measure']} {s['system']} ({', '.join(s['limits'])})" for s in report["samples"] if s["limits"]}
    )
    if limited:
        parts.append("the instrument was the limit in: " + "; ".join(limited))
    if steal_text(report):
        parts.append(steal_text(report))
    if not report["complete"]:
        parts.append("INCOMPLETE: the run was interrupted")
    return "\n\n".join(parts)


def markdown(report: Report) -> str:
    """Give the table for a README, with its context in a caption."""
    head, body = rows(report)
    host = report["host"]
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    lines += ["| " + " | ".join(line) + " |" for line in body]
    lines += [
        "",
        f"Median ± half the range of {report['settings']['rounds']} interleaved rounds "
        f"({report['settings']['mode']} mode). "
        f"Linux {host['kernel']}, {host['cpus']} CPUs ({host['cpu']}), "
        f"cycle counter {host['cycles_per_second'] / 1e9:.2f} GHz. "
        "cycles/frame: what the whole machine spends more than with a direct veth, 60-byte frames at 100 kpps.",
    ]
    return "\n".join(lines)
