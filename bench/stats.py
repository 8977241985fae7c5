"""Medians, spreads and ratios of a few repetitions. Pure.

Repetitions of one run are few (3 to 9) and their errors lopsided: somebody took the CPU. So: medians, the
range from lowest to highest as the spread, and ratios taken pair by pair within a round, where both systems
saw the same machine.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Summary:
    """The middle and the range of some repetitions."""

    median: float
    low: float
    high: float
    n: int

    @property
    def spread(self) -> float:
        """Width of the range as a share of the median; infinite around zero."""
        if self.high == self.low:
            return 0.0
        return (self.high - self.low) / abs(self.median) if self.median else math.inf

    def overlaps(self, other: Summary) -> bool:
        """Say whether the ranges have a point in common."""
        return self.low <= other.high and other.low <= self.high

    def as_row(self) -> dict[str, float]:
        """Give the figures as they are kept in a report."""
        return {"median": self.median, "low": self.low, "high": self.high, "n": self.n}


def summarise(values: Sequence[float]) -> Summary:
    """Summarise at least one value."""
    if not values:
        raise ValueError("no values to summarise")
    return Summary(statistics.median(values), min(values), max(values), len(values))


def percentile(values: Sequence[float], rank: float) -> float:
    """Return the smallest value that at least `rank` percent do not exceed (nearest rank)."""
    if not values:
        raise ValueError("no values")
    if not 0 < rank <= 100:
        raise ValueError(f"rank {rank} is not in (0, 100]")
    ordered = sorted(values)
    return ordered[math.ceil(rank / 100 * len(ordered)) - 1]


def paired_ratios(ours: Mapping[int, float], theirs: Mapping[int, float]) -> list[float]:
    """Divide ours by theirs in the rounds that both have.

    Left out: rounds with a divisor of zero or less, and with a negative dividend: a cost below zero is noise.
    """
    return [
        ours[i] / theirs[i] for i in sorted(ours.keys() & theirs.keys()) if theirs[i] > 0 and ours[i] >= 0
    ]


def paired_differences(ours: Mapping[int, float], theirs: Mapping[int, float]) -> dict[int, float]:
    """Differences ours - theirs of the rounds that both have."""
    return {i: ours[i] - theirs[i] for i in sorted(ours.keys() & theirs.keys())}


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of a comparison: `word` is better, worse, same or unclear."""

    word: str
    change: float  # new / old of the medians


SAME = 0.02  # medians closer than this are the same whatever their ranges


def judge(old: Summary, new: Summary, better: str) -> Verdict:
    """Compare two summaries of the same number. `better`: high | low.

    A difference counts only when the ranges do not touch. Ranges that touch although the medians are more
    than SAME apart are `unclear`: more repetitions would tell.
    """
    if better not in ("high", "low"):
        raise ValueError(f"better is high or low, not {better!r}")
    change = new.median / old.median if old.median else (1.0 if new.median == old.median else math.inf)
    if abs(change - 1) <= SAME:
        return Verdict("same", change)
    if old.overlaps(new):
        return Verdict("unclear", change)
    return Verdict("better" if (change > 1) == (better == "high") else "worse", change)


def knee(points: Sequence[tuple[float, float]], tolerance: float = 0.25) -> float | None:
    """Find where a curve stops being flat: the first x whose y exceeds the first y by `tolerance`; None: flat."""
    if not points:
        return None
    ordered = sorted(points)
    base = ordered[0][1]
    return next((x for x, y in ordered if y > base * (1 + tolerance)), None)
