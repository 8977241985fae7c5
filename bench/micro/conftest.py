"""A table of cycles after the run: pytest-benchmark times calls, what counts here is in `extra_info`."""

from __future__ import annotations


def pytest_terminal_summary(terminalreporter, config):
    """Print cycles per frame, by stage, for every benchmark that has them."""
    session = getattr(config, "_benchmarksession", None)
    rows = [(b.name, b.extra_info) for b in getattr(session, "benchmarks", []) if "stages" in b.extra_info]
    if not rows:
        return
    stages = [name for name in rows[0][1]["stages"] if name not in ("idle", "control")]
    terminalreporter.section("cycles per frame (pipeline: all but rx; each run checked)")
    heading = f"{'':<44}{'pipeline':>9}{'min':>7}{'max':>7}{'per copy':>9}" + "".join(
        f"{name:>8}" for name in stages
    )
    terminalreporter.write_line(heading)
    for name, info in rows:
        cells = "".join(f"{info['stages'][stage]:>8.1f}" for stage in stages)
        low, high = info["cycles_per_frame_spread"]
        line = f"{name:<44}{info['cycles_per_frame']:>9.1f}{low:>7.1f}{high:>7.1f}{info['cycles_per_copy']:>9.1f}"
        terminalreporter.write_line(line + cells)
