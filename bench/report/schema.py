"""The schema of a report, checked by hand: what a reader may rely on. For people: docs/benchmarking.md.

Version: the number behind the slash of "schema" changes when a reader of the old form would be misled.
"""

from __future__ import annotations

from typing import Any

SCHEMA = "framebridge-bench/1"

TOP: dict[str, type | tuple[type, ...]] = {
    "schema": str,
    "bench_version": str,
    "created": str,
    "seconds": (int, float),
    "complete": bool,
    "settings": dict,
    "host": dict,
    "selfcheck": list,
    "systems": list,
    "measures": list,
    "samples": list,
}
SYSTEM = {"name": str, "title": str, "status": str, "reason": str, "version": str, "tagged": bool}
MEASURE = {"name": str, "title": str, "source": str, "metrics": list}
METRIC = {"name": str, "unit": str, "better": str, "meaning": str}
SAMPLE = {
    "measure": str,
    "case": dict,
    "system": str,
    "round": int,
    "values": dict,
    "limits": list,
    "notes": list,
}
CHECK = {"check": str, "good": bool, "text": str}
STATUSES = ("ran", "skipped", "failed")
DIRECTIONS = ("high", "low", "none")


def problems(report: Any) -> list[str]:
    """List what is wrong with a report; empty: nothing."""
    if not isinstance(report, dict):
        return ["not a JSON object"]
    if report.get("schema") != SCHEMA:
        return [f"schema is {report.get('schema')!r}, not {SCHEMA!r}"]
    found = shape(report, TOP, "report")
    if found:
        return found
    for where, form in (
        ("systems", SYSTEM),
        ("measures", MEASURE),
        ("samples", SAMPLE),
        ("selfcheck", CHECK),
    ):
        for i, row in enumerate(report[where]):
            found += shape(row, form, f"{where}[{i}]")
    if found:
        return found
    names = {system["name"] for system in report["systems"]}
    measures = {measure["name"] for measure in report["measures"]}
    for system in report["systems"]:
        if system["status"] not in STATUSES:
            found.append(f"system {system['name']}: status {system['status']!r}")
    for measure in report["measures"]:
        for i, metric in enumerate(measure["metrics"]):
            found += shape(metric, METRIC, f"metric {i} of {measure['name']}")
            if not found and metric["better"] not in DIRECTIONS:
                found.append(f"metric {metric['name']}: better is {metric['better']!r}")
    for i, sample in enumerate(report["samples"]):
        if sample["system"] not in names or sample["measure"] not in measures:
            found.append(f"samples[{i}] is of an unknown system or measurement")
        for name, value in sample["values"].items():
            if isinstance(value, bool) or not isinstance(value, int | float):
                found.append(f"samples[{i}]: {name} is no number")
    return found


def shape(row: Any, form: dict[str, Any], where: str) -> list[str]:
    """List keys that are missing or of another type."""
    if not isinstance(row, dict):
        return [f"{where} is no object"]
    found = []
    for key, kind in form.items():
        if key not in row:
            found.append(f"{where}: {key} is missing")
        elif not isinstance(row[key], kind) or (kind is not bool and isinstance(row[key], bool)):
            found.append(f"{where}: {key} is {type(row[key]).__name__}")
    return found
