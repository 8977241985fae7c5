"""Two reports side by side, with a verdict that knows the spread.

Absolute numbers of two runs are of two machines, even on the same machine. So what is compared is the ratio
of a system to a yardstick measured in the same run, pair by pair: has it moved by more than the ranges of
the repetitions? The absolute medians are shown beside it. Without a yardstick in both reports the absolutes
are compared, and the row says so.
"""

from __future__ import annotations

import json
from typing import Any

from bench import results, stats
from bench.errors import BenchError

from .table import aligned

Report = dict[str, Any]
YARDSTICKS = ("bare-loop", "linux-bridge", "ovs", "direct")
SHAKY = 0.5  # a spread above this share of the median is worth a warning


def compare(old: Report, new: Report, system: str, against: str | None = None) -> list[Report]:
    """Give a row per metric that both reports have of a system: change, verdict, yardstick."""
    sides = [results.collect(report["samples"]) for report in (old, new)]
    metrics = {(m["name"], metric["name"]): metric for m in new["measures"] for metric in m["metrics"]}
    shared = [key for key in sides[0] if key in sides[1] and key[2] == system and (key[0], key[3]) in metrics]
    if not shared:
        raise BenchError(f"the reports have no measurement of {system} in common")
    rows = []
    for measure, case, _, metric in shared:
        better = metrics[measure, metric]["better"]
        if better == "none":
            continue
        yardstick = choose_yardstick(sides, (measure, case, system, metric), against)
        summaries = [side_summary(side, (measure, case, system, metric), yardstick) for side in sides]
        verdict = stats.judge(summaries[0], summaries[1], better)
        absolutes = [stats.summarise(list(side[measure, case, system, metric].values())) for side in sides]
        rows.append(
            {
                "measure": measure,
                "case": json.loads(case),
                "metric": metric,
                "system": system,
                "better": better,
                "against": yardstick or "",
                "old": summaries[0].as_row(),
                "new": summaries[1].as_row(),
                "change": verdict.change,
                "verdict": verdict.word,
                "old_absolute": absolutes[0].median,
                "new_absolute": absolutes[1].median,
                "shaky": max(one.spread for one in summaries) > SHAKY,
            }
        )
    return sorted(
        rows, key=lambda row: (row["measure"], json.dumps(row["case"], sort_keys=True), row["metric"])
    )


def choose_yardstick(sides: list[Any], key: tuple[str, str, str, str], against: str | None) -> str | None:
    """Return the system to divide by: the one asked for, else the first of YARDSTICKS with pairs in both."""
    measure, case, system, metric = key
    for name in (against,) if against else YARDSTICKS:
        if (
            name
            and name != system
            and all(
                stats.paired_ratios(side[key], side.get((measure, case, name, metric), {})) for side in sides
            )
        ):
            return name
    return None


def side_summary(side: Any, key: tuple[str, str, str, str], yardstick: str | None) -> stats.Summary:
    """Summarise the ratios to the yardstick, or the values themselves without one."""
    measure, case, _, metric = key
    if yardstick is None:
        return stats.summarise(list(side[key].values()))
    return stats.summarise(stats.paired_ratios(side[key], side[measure, case, yardstick, metric]))


def text(rows: list[Report]) -> str:
    """Write the comparison for a terminal, the worst first."""
    order = {"worse": 0, "unclear": 1, "better": 2, "same": 3}
    body = [
        [
            row["verdict"] + (" (shaky)" if row["shaky"] else ""),
            row["measure"],
            " ".join(str(v) for v in row["case"].values()),
            row["metric"],
            f"{(row['change'] - 1) * 100:+.1f} %",
            f"{row['old_absolute']:.4g}",
            f"{row['new_absolute']:.4g}",
            row["against"] or "(absolute)",
        ]
        for row in sorted(rows, key=lambda row: order[row["verdict"]])
    ]
    counts = {word: sum(row["verdict"] == word for row in rows) for word in order}
    summary = ", ".join(f"{n} {word}" for word, n in counts.items())
    return (
        aligned(["verdict", "measurement", "case", "metric", "change", "old", "new", "relative to"], body)
        + f"\n\n{summary}"
    )
