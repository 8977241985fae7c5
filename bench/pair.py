"""The failure matrix of a pair: each case many times, with numbered frames each 5 ms both ways, and what they met.

`python -m bench.pair [--rounds N] [CASE]...` as root. A row for each case: gap (the longest of a play, of all
streams), median and worst; frames lost, twice and out of order. Exit status 1 if a frame came twice or a stream never
came back.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence

from bridge.lab.lab import ends_like_an_error
from bridge.lab.pair import CASES, Played, built, faults, play

WANTED = ("killed", "hung", "node", "uplink", "switch", "standby")


def row(case: str, plays: Sequence[Played]) -> str:
    """Sum a case up."""
    losses = [loss for one in plays for loss in one.streams.values()]
    gaps = [1000 * max(loss.gap for loss in one.streams.values()) for one in plays]
    lost = sorted(sum(loss.lost for loss in one.streams.values()) for one in plays)
    numbers = f"{statistics.median(gaps):.0f} | {max(gaps):.0f} | {statistics.median(lost):.0f} | {lost[-1]}"
    wrong = f"{sum(loss.duplicated for loss in losses)} | {sum(loss.reordered for loss in losses)}"
    return f"| {CASES[case].words} | {len(plays)} | {numbers} | {wrong} |"


def main(arguments: Sequence[str] = ()) -> int:
    """Play the matrix and print it as a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.pair", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20, metavar="N", help="plays of each case (default 20)")
    parser.add_argument(
        "--seconds", type=float, default=1e9, metavar="S", help="begin no round after so many"
    )
    parser.add_argument("case", nargs="*", help=f"of {', '.join(CASES)}; default: {' '.join(WANTED)}")
    options = parser.parse_args(arguments)
    cases = options.case or WANTED
    if unknown := set(cases) - CASES.keys():
        parser.error(f"unknown case: {', '.join(sorted(unknown))}")
    plays: dict[str, list[Played]] = {case: [] for case in cases}
    failed: list[str] = []
    end = time.monotonic() + options.seconds
    with ends_like_an_error(), built() as lab:
        lab.settle()
        lab.introduce()
        for _ in range(options.rounds):
            if time.monotonic() > end:
                break
            for case in cases:
                played = play(lab, case)
                plays[case].append(played)
                failed += faults(played)
    print(
        "| case | plays | gap, median ms | gap, worst ms | lost, median | lost, worst | twice | out of order |"
    )
    print("|---|---|---|---|---|---|---|---|")
    print("\n".join(row(case, found) for case, found in plays.items() if found))
    print("\n".join(failed), file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
