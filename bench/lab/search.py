"""Binary searches with a bounded number of trials. Pure but for the trials."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial


def highest(passes: Callable[[float], bool], low: float, high: float, resolution: float) -> float:
    """Return the highest value that passes, to within `resolution`; `low` is taken to pass without a trial.

    Tries `high` first. Assumes that what passes at a value passes below it; where noise breaks that, the
    answer is a value that did pass, or `low`.
    """
    if not low <= high or resolution <= 0:
        raise ValueError(f"cannot search {low}..{high} to within {resolution}")
    if passes(high):
        return high
    while high - low > resolution:
        middle = (low + high) / 2
        if passes(middle):
            low = middle
        else:
            high = middle
    return low


def highest_of_many(
    trial: Callable[[float], float], goals: tuple[float, ...], high: float, resolution: float
) -> dict[float, float]:
    """For each goal the highest load whose trial gives at most that; trials are shared between goals.

    `trial(load)` gives, say, a share of loss. Every goal is searched in the interval that all trials so far
    leave for it.
    """
    seen: dict[float, float] = {}

    def once(load: float) -> float:
        if load not in seen:
            seen[load] = trial(load)
        return seen[load]

    def reaches(goal: float, load: float) -> bool:
        return once(load) <= goal

    found = {}
    for goal in sorted(goals, reverse=True):
        good = [load for load, result in seen.items() if result <= goal]
        low = max(good, default=0.0)
        bad = [load for load, result in seen.items() if result > goal and load > low]
        top = min(bad, default=high)
        if top == high and not bad:
            found[goal] = highest(partial(reaches, goal), low, high, resolution)
            continue
        while top - low > resolution:
            middle = (low + top) / 2
            if once(middle) <= goal:
                low = middle
            else:
                top = middle
        found[goal] = low
    return found
