"""A run of `python -m bench scale`: measurements round by round, medians beside targets, as text and JSON."""

from __future__ import annotations

import datetime
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from bench import __version__
from bench.errors import BenchError
from bench.lab.session import describe_host
from bench.stats import summarise

from .figures import FIGURES, Values, measure_reload, measure_start, measure_table
from .place import Place, Size, Timing, place
from .storms import measure_flood, measure_learning, measure_moves

SCHEMA = "framebridge-bench-scale/1"

MEASURES: dict[str, Callable[[Place], Values]] = {
    "start": measure_start,
    "reload": measure_reload,
    "table": measure_table,
    "learning": measure_learning,
    "moves": measure_moves,
    "flood": measure_flood,
}

Report = dict[str, Any]


def choose(names: Sequence[str], storm_seconds: float) -> dict[str, Callable[[Place], Values]]:
    """Return the measurements of these names, all if none is given."""
    if unknown := set(names) - MEASURES.keys():
        raise BenchError(f"no measurement {', '.join(unknown)}; there are {', '.join(MEASURES)}")
    chosen = {name: measure for name, measure in MEASURES.items() if not names or name in names}
    if "moves" in chosen:
        chosen["moves"] = partial(measure_moves, seconds=storm_seconds)
    return chosen


def measure(size: Size, names: Sequence[str], rounds: int, storm_seconds: float) -> Report:
    """Measure `rounds` times, in a place of its own each."""
    chosen = choose(names, storm_seconds)
    samples: dict[str, list[Timing]] = defaultdict(list)
    for number in range(rounds):
        with place(size) as made:
            if "start" not in chosen:
                made.start()
            for name, one in chosen.items():
                print(f"round {number + 1} of {rounds}: {name}", file=sys.stderr, flush=True)
                for figure, value in one(made).items():
                    samples[figure].append(value if isinstance(value, Timing) else Timing(value, 0.0))
    return {
        "schema": SCHEMA,
        "version": __version__,
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "host": describe_host(),
        "load": os.getloadavg()[0],
        "size": asdict(size),
        "figures": [_row(name, samples) for name in FIGURES if name in samples],
    }


def _row(name: str, samples: Mapping[str, Sequence[Timing]]) -> Report:
    figure, timings = FIGURES[name], samples[name]
    values = [timing.seconds for timing in timings]
    median = summarise(values).median
    kept: bool | None = None if figure.target is None else figure.keeps(median)
    offered = [timing.seconds for timing in samples.get(figure.offered, ())]
    limit = bool(kept is False and offered and not figure.keeps(summarise(offered).median))
    return {
        "figure": name,
        "unit": figure.unit,
        "what": figure.what,
        "target": figure.target,
        "kept": None if limit else kept,
        "limit": "generator" if limit else "",
        **summarise(values).as_row(),
        "cpu": summarise([timing.cpu for timing in timings]).median,
        "values": values,
    }


def text(report: Report) -> str:
    """Write a report for people: each figure beside its target."""
    host, size = report["host"], report["size"]
    head = (
        f"{size['ports']} ports, {size['trunks']} of them trunks of {size['vlans']} VLANs; "
        f"{host['cpu']} x{host['cpus']}, Linux {host['kernel']}, Python {host['python']}, load {report['load']:.1f}"
    )
    return "\n".join([head, *map(_line, report["figures"])])


def _line(row: Mapping[str, Any]) -> str:
    spread = f"({_number(row['low'])} to {_number(row['high'])})" if row["n"] > 1 else ""
    target, word = "", ""
    if row["target"] is not None:
        target = f"{'at most' if FIGURES[row['figure']].at_most else 'at least'} {_number(row['target'])}"
        word = row["limit"] or ("kept" if row["kept"] else "MISSED")
    value = f"{_number(row['median'])} {row['unit']}".strip()
    cpu = f"cpu {row['cpu']:.2f} s" if row["cpu"] else ""
    return f"{row['figure']:18} {value:>12} {spread:18} {cpu:10} {target:16} {word:9} {row['what']}".rstrip()


def _number(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 10 and value != int(value) else f"{value:.0f}"
