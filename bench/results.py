"""From samples to results: medians, what a system adds to a direct veth, ratios pair by pair, targets. Pure.

Samples are what was measured once; results are derived from them alone, so a report can be worked out again
at any time. A sample that failed, that lost too much to be compared, or in which the instrument was the
limit takes no part where that would make a number say something else than its name; see `usable`.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from bench import stats
from bench.targets import TARGETS, Target

Report = dict[str, Any]
Rounds = dict[int, float]

ZERO = "direct"
OURS = "framebridge"
ADDED = {  # derived metric: measured metric
    "added_cycles_per_frame": "cycles_per_frame",
    "added_attributed_cycles_per_frame": "attributed_cycles_per_frame",
}
NOT_COMPARED = {"overloaded"}


def case_key(case: dict[str, object]) -> str:
    """Make a hashable key of a case."""
    return json.dumps(case, sort_keys=True)


def usable(sample: Report, metric: str) -> bool:
    """Say whether a number of a sample may be compared with others."""
    if "error" in sample or metric not in sample["values"]:
        return False
    if metric == "loss":
        return True
    return not NOT_COMPARED & set(sample["notes"]) and "sink" not in sample["limits"]


def collect(samples: Iterable[Report]) -> dict[tuple[str, str, str, str], Rounds]:
    """Sort usable values by (measure, case key, system, metric) and round; derived metrics included."""
    found: dict[tuple[str, str, str, str], Rounds] = defaultdict(dict)
    for sample in samples:
        for metric, value in sample["values"].items():
            if usable(sample, metric):
                found[sample["measure"], case_key(sample["case"]), sample["system"], metric][
                    sample["round"]
                ] = value
    for (measure, case, system, metric), rounds in list(found.items()):
        for added, measured in ADDED.items():
            zero = found.get((measure, case, ZERO, measured))
            if metric == measured and zero and system != ZERO:
                differences = stats.paired_differences(rounds, zero)
                if differences:
                    found[measure, case, system, added] = differences
    return dict(found)


def derive(report: Report) -> Report:
    """Return the report with `results`, `ratios` and `targets` worked out from its samples."""
    values = collect(report["samples"])
    metrics = {(m["name"], metric["name"]): metric for m in report["measures"] for metric in m["metrics"]}
    known = {key: rounds for key, rounds in values.items() if (key[0], key[3]) in metrics}
    results = [
        {
            "measure": measure,
            "case": json.loads(case),
            "system": system,
            "metric": metric,
            "unit": metrics[measure, metric]["unit"],
            "better": metrics[measure, metric]["better"],
            **stats.summarise(list(rounds.values())).as_row(),
        }
        for (measure, case, system, metric), rounds in known.items()
    ]
    return {**report, "results": results, "ratios": ratios(known, metrics), "targets": judge_targets(known)}


def ratios(
    values: dict[tuple[str, str, str, str], Rounds], metrics: dict[tuple[str, str], Report]
) -> list[Report]:
    """Compare every system of ours with every other: ours / theirs, pair by pair."""
    together: dict[tuple[str, str, str], dict[str, Rounds]] = defaultdict(dict)
    for (measure, case, system, metric), rounds in values.items():
        together[measure, case, metric][system] = rounds
    rows = []
    for (measure, case, metric), systems in together.items():
        better = metrics[measure, metric]["better"]
        if better == "none":
            continue
        for ours in (name for name in systems if name.startswith(OURS)):
            for theirs in (name for name in systems if not name.startswith(OURS)):
                pairs = stats.paired_ratios(systems[ours], systems[theirs])
                if pairs:
                    summary = stats.summarise(pairs)
                    rows.append(
                        {
                            "measure": measure,
                            "case": json.loads(case),
                            "metric": metric,
                            "system": ours,
                            "against": theirs,
                            "better": better,
                            "ahead": who_is_ahead(summary, better),
                            **summary.as_row(),
                        }
                    )
    return rows


def who_is_ahead(ratio: stats.Summary, better: str) -> str:
    """Say who is ahead: ours, theirs, or even when the pairs do not agree."""
    if ratio.low <= 1 <= ratio.high:
        return "even"
    return "ours" if (ratio.median > 1) == (better == "high") else "theirs"


def judge_targets(values: dict[tuple[str, str, str, str], Rounds]) -> list[Report]:
    """Hold the measured ratios against the targets."""
    rows = []
    for target in TARGETS:
        pairs = target_ratios(target, values)
        row: Report = {
            "what": target.what,
            "against": target.against,
            "relation": target.relation,
            "bound": target.bound,
        }
        if pairs:
            summary = stats.summarise(pairs)
            met = (
                summary.median >= target.bound
                if target.relation == "at least"
                else summary.median <= target.bound
            )
            row |= {"met": met, **summary.as_row()}
        else:
            row |= {"met": None, "median": None, "low": None, "high": None, "n": 0}
        rows.append(row)
    return rows


def target_ratios(target: Target, values: dict[tuple[str, str, str, str], Rounds]) -> list[float]:
    """Give ratios ours / theirs for a target, pair by pair; our own values where there is no rival."""
    case = case_key(target.case)
    ours = values.get((target.measure, case, target.system, target.metric), {})
    if not target.against:
        return list(ours.values())
    theirs = values.get((target.measure, case, target.against, target.metric), {})
    return stats.paired_ratios(ours, theirs)
