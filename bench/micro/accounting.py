"""What the accounting costs: the same scenarios by two builds, with it and without, in turns.

    python -m bench.micro.accounting                 build both, compare, build/bench/accounting.json
    python -m bench.micro.accounting --rounds 15

The builds are trees of their own under build/accounting: `with` as ever, `without` made with
FRAMEBRIDGE_NO_ACCOUNTING=1 (setup.py then defines BR_NO_ACCOUNTING). A build without accounting has no stamps of its
own, so time is taken from outside, around the C loop, by the clock of the thread's CPU time. Rounds alternate, ratios
are taken within a round, and the fastest of a few calls stands for a round. Instructions are counted by callgrind,
where valgrind is installed, over whole turns of the loop.
Exit status 0: compared; 1: the accounting costs more than its share; 2: cannot compare, and why.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
TREES = ROOT / "build" / "accounting"
SWITCH = "FRAMEBRIDGE_NO_ACCOUNTING"
MACRO = "BR_NO_ACCOUNTING"
FORMS = ("with", "without")
SOURCES = ("bridge", "csrc", "setup.py", "pyproject.toml", "README.md")
SCENARIOS = (
    "known unicast, access to trunk, 1000 stations",
    "known unicast, access to trunk, burst 1",
    "flood to 32 access ports",
)
TURNS = 500
CALLS = 20
SHARE_MAX = 0.01  # of the data thread's cycles
THREAD_CYCLES = 2600  # of the data thread for a small frame from tap to trunk, system calls included


def build(form: str) -> Path:
    """Bring one of the two trees up to date; returns it."""
    tree = TREES / form
    newest = max(path.stat().st_mtime for name in SOURCES for path in files(ROOT / name))
    made = list((tree / "bridge/core").glob("_core*.so"))
    if made and made[0].stat().st_mtime > newest:
        return tree
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tree / name)
    for left in (tree / "bridge/core").glob("_core*.so"):
        left.unlink()
    environment = {**os.environ, SWITCH: "1" if form == "without" else "0"}
    subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--inplace"], cwd=tree, env=environment, check=True
    )
    return tree


def files(path: Path) -> list[Path]:
    """List the sources below a path."""
    return [one for one in path.rglob("*") if one.suffix in (".c", ".h", ".pyx", ".pxd", ".py")] or [path]


def run(tree: Path, scenario: str, tool: tuple[str, ...] = (), *, calls: int = CALLS) -> tuple[str, str]:
    """Run a scenario in a process that imports the bridge of a tree; returns what it said on both outputs."""
    words = [
        *tool,
        sys.executable,
        "-m",
        "bench.micro.accounting",
        "--scenario",
        scenario,
        "--calls",
        str(calls),
    ]
    environment = {**os.environ, "PYTHONPATH": f"{tree}:{ROOT}"}
    done = subprocess.run(
        words, env=environment, cwd=tree, capture_output=True, text=True, check=True, timeout=600
    )
    return done.stdout, done.stderr


def nanoseconds(tree: Path, scenario: str) -> float:
    """Time a frame."""
    return float(json.loads(run(tree, scenario)[0])["ns_per_frame"])


def instructions(tree: Path, scenario: str) -> float | None:
    """Count the instructions of a frame; None without valgrind."""
    if not shutil.which("valgrind"):
        return None
    tool = ("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=br_loop_turn")
    said, complaint = run(tree, scenario, tool, calls=1)
    collected = re.search(r"Collected : (\d+)", complaint)
    assert collected, complaint
    return int(collected[1]) / float(json.loads(said)["frames"])


def run_here(scenario: str, calls: int) -> None:
    """Be the process that is measured: play a scenario, print the time per frame of the fastest call."""
    import bridge

    from .instructions import SCENARIOS as PLAYED

    assert Path(str(bridge.__file__)).parent.parent == Path.cwd(), "the bridge of another tree"
    stage = PLAYED[scenario]()
    times, n_frames = [], 0
    for _ in range(calls):
        start = time.thread_time_ns()
        n_frames = stage.bridge.turn(TURNS)
        times.append(time.thread_time_ns() - start)
    print(
        json.dumps(
            {"ns_per_frame": min(times) / n_frames, "frames": stage.bridge.counters().thread["frames"]}
        )
    )


def compare(scenario: str, trees: dict[str, Path], rounds: int, hertz: float) -> dict[str, object]:
    """Measure a scenario with both builds in turns."""
    times: dict[str, list[float]] = {form: [] for form in FORMS}
    for number in range(rounds):
        for form in FORMS if number % 2 else FORMS[::-1]:
            times[form].append(nanoseconds(trees[form], scenario))
    pairs = [a / b for a, b in zip(times["with"], times["without"], strict=True)]
    cycles = {form: statistics.median(times[form]) * 1e-9 * hertz for form in FORMS}
    return {
        "scenario": scenario,
        "cycles_per_frame": cycles,
        "added_cycles": statistics.median(
            (a - b) * 1e-9 * hertz for a, b in zip(times["with"], times["without"], strict=True)
        ),
        "ratio": {"median": statistics.median(pairs), "low": min(pairs), "high": max(pairs), "n": len(pairs)},
        "instructions_per_frame": {form: instructions(trees[form], scenario) for form in FORMS},
    }


def show(row: dict[str, object], thread_cycles: float) -> float:
    """Print one comparison; returns the share of a data thread's cycles."""
    cycles, ratio, counts = row["cycles_per_frame"], row["ratio"], row["instructions_per_frame"]
    assert isinstance(cycles, dict)
    assert isinstance(ratio, dict)
    assert isinstance(counts, dict)
    added = float(str(row["added_cycles"]))
    share = added / thread_cycles
    counted = f"{counts['with']:.1f} / {counts['without']:.1f}" if counts["with"] else "(no valgrind)"
    print(
        f"{row['scenario']:<48}{cycles['with']:>8.1f} /{cycles['without']:>8.1f} cycles, {added:+6.1f}"
        f"  x{ratio['median']:.3f} ({ratio['low']:.3f}-{ratio['high']:.3f})"
        f"  instructions {counted}  {share:+.2%} of {thread_cycles:g} cycles"
    )
    return share


def main() -> int:
    """Compare the builds; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument(
        "--thread-cycles",
        type=float,
        default=THREAD_CYCLES,
        help="what a frame costs the data thread in all (own_cycles_per_frame of the lab)",
    )
    parser.add_argument("--scenario", help=argparse.SUPPRESS)
    parser.add_argument("--calls", type=int, default=CALLS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.scenario:
        run_here(options.scenario, options.calls)
        return 0
    if not any(MACRO in path.read_text() for path in (ROOT / "csrc").glob("*/*.[ch]")):
        print(f"this source cannot leave its accounting out: nothing in csrc/ heeds {MACRO}", file=sys.stderr)
        return 2
    from bench.lab.cpu import cycles_per_second

    trees = {form: build(form) for form in FORMS}
    rows = [compare(name, trees, options.rounds, cycles_per_second()) for name in SCENARIOS]
    shares = [show(row, options.thread_cycles) for row in rows]
    target = ROOT / "build" / "bench" / "accounting.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(rows, indent=1) + "\n")
    return int(shares[0] > SHARE_MAX)


if __name__ == "__main__":
    sys.exit(main())
