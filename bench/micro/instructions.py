"""Instructions per frame of the pipeline, counted by callgrind: the twin of the cycle figures that knows no noise.

    python -m bench.micro.instructions            count, and compare with the baseline
    python -m bench.micro.instructions --save     count, and make that the baseline

Each scenario runs in a process of its own under valgrind, which collects only inside `br_pipeline_run`. The same
binary gives the same count to a fraction of an instruction; a compiler of another version does not, so the
baseline names its own.
Exit status 1: a scenario got worse by more than TOLERANCE.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from .stage import TRUNK, Stage, flood, known_unicast

BASELINE = Path(__file__).with_name("instructions.json")
TOLERANCE = 0.02
TURNS = 1000

SCENARIOS: dict[str, Callable[[], Stage]] = {
    "known unicast, access to access, 1000 stations": lambda: known_unicast(1000),
    "known unicast, access to trunk, 1000 stations": lambda: known_unicast(1000, **TRUNK),
    "known unicast, access to trunk, 64000 stations": lambda: known_unicast(64_000, **TRUNK),
    "known unicast, access to trunk, burst 1": lambda: known_unicast(1000, burst=1, **TRUNK),
    "known unicast, access to access, 32 ports": lambda: known_unicast(1000, n_ports=32),
    "flood to 1 trunk": lambda: flood(1, **TRUNK),
    "flood to 32 access ports": lambda: flood(32),
}


def run_here(name: str) -> None:
    """Be the process that valgrind watches: run one scenario and tell how many frames the pipeline saw."""
    stage = SCENARIOS[name]()
    stage.bridge.turn(TURNS)
    print("frames", stage.bridge.counters().thread["frames"])


def count(name: str) -> float:
    """Count the instructions per frame of one scenario."""
    command = [
        "valgrind",
        "--tool=callgrind",
        "--callgrind-out-file=/dev/null",
        "--toggle-collect=br_pipeline_run",
    ]
    done = subprocess.run(
        [*command, sys.executable, "-m", "bench.micro.instructions", "--run", name],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    frames = re.search(r"frames (\d+)", done.stdout)
    collected = re.search(r"Collected : (\d+)", done.stderr)
    assert frames, done.stdout
    assert collected, done.stderr
    return round(int(collected[1]) / int(frames[1]), 1)


def compiler() -> str:
    """Name the compiler whose code is counted."""
    return subprocess.run(
        ["gcc", "--version"], capture_output=True, text=True, check=True
    ).stdout.splitlines()[0]


def main() -> int:
    """Count all scenarios; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--save", action="store_true", help="make this the baseline")
    parser.add_argument("--run", choices=SCENARIOS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        run_here(options.run)
        return 0
    if not shutil.which("valgrind"):
        print("valgrind is missing: apt-get install valgrind", file=sys.stderr)
        return 2
    before = json.loads(BASELINE.read_text())["instructions"] if BASELINE.exists() else {}
    now = {name: count(name) for name in SCENARIOS}
    worse = False
    for name, instructions in now.items():
        change = instructions / before[name] - 1 if name in before else 0.0
        worse = worse or change > TOLERANCE
        print(f"{name:<52}{instructions:>9.1f} instructions per frame  {change:>+7.1%}")
    if options.save:
        BASELINE.write_text(json.dumps({"compiler": compiler(), "instructions": now}, indent=4) + "\n")
    return int(worse and not options.save)


if __name__ == "__main__":
    sys.exit(main())
