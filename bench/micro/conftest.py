"""A table of cycles after the run: pytest-benchmark times calls, what counts here is in `extra_info`.

Beside each figure stands the ratio of its fastest call to that of the saved baseline (cycles.json): what disturbs a
call makes it slower, never faster. It is worth as much as the two machines are alike; instructions.py compares
without noise.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .stage import NO_PIPELINE

BASELINE = Path(__file__).with_name("cycles.json")


def pytest_addoption(parser: Any) -> None:
    """Add the option that makes a run the baseline."""
    parser.addoption("--save-cycles", action="store_true", help="make the cycles of this run the baseline")


def pytest_terminal_summary(terminalreporter: Any, config: Any) -> None:
    """Print cycles per frame, by stage, for every benchmark that has them."""
    session = getattr(config, "_benchmarksession", None)
    infos = {b.name.removeprefix("test_"): b.extra_info for b in getattr(session, "benchmarks", [])}
    rows = {name: info for name, info in infos.items() if "stages" in info}
    if not rows:
        return
    before = json.loads(BASELINE.read_text()).get("fastest", {}) if BASELINE.exists() else {}
    stages = [name for name in next(iter(rows.values()))["stages"] if name not in NO_PIPELINE]
    terminalreporter.section("cycles per frame (pipeline: all but rx; median call, each run checked)")
    columns = f"{'pipeline':>9}{'/base':>7}{'min':>7}{'max':>7}{'per copy':>9}"
    terminalreporter.write_line(f"{'':<44}{columns}" + "".join(f"{name:>8}" for name in stages))
    for name, info in rows.items():
        cycles, (low, high) = info["cycles_per_frame"], info["cycles_per_frame_spread"]
        ratio = f"{low / before[name]:.2f}" if name in before else "-"
        figures = f"{cycles:>9.1f}{ratio:>7}{low:>7.1f}{high:>7.1f}{info['cycles_per_copy']:>9.1f}"
        by_stage = "".join(f"{info['stages'][stage]:>8.1f}" for stage in stages)
        terminalreporter.write_line(f"{name:<44}{figures}{by_stage}")
    ageing = {name: info for name, info in infos.items() if "ns_per_entry" in info}
    for name, info in ageing.items():
        terminalreporter.write_line(f"{name:<44}{info['ns_per_entry']:>9.1f} ns per entry, control thread")
    if config.getoption("--save-cycles"):
        context = {key: next(iter(rows.values()))[key] for key in ("kernel", "cpu")}
        fastest = {name: info["cycles_per_frame_spread"][0] for name, info in rows.items()}
        BASELINE.write_text(json.dumps({**context, "fastest": fastest}, indent=4) + "\n")
