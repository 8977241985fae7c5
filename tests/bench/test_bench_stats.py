"""Medians, ranges, ratios, verdicts, knees, and the searches that find limits."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import stats
from bench.lab.search import highest, highest_of_many

values = st.lists(st.floats(0.001, 1e9), min_size=1, max_size=9)


def test_a_summary_is_the_median_and_the_range() -> None:
    assert stats.summarise([3.0, 1.0, 2.0]) == stats.Summary(2.0, 1.0, 3.0, 3)
    assert stats.summarise([4.0, 1.0]) == stats.Summary(2.5, 1.0, 4.0, 2)
    with pytest.raises(ValueError, match="no values"):
        stats.summarise([])


@given(values)
def test_a_median_lies_in_its_range(numbers: list[float]) -> None:
    summary = stats.summarise(numbers)
    assert summary.low <= summary.median <= summary.high
    assert summary.overlaps(summary)


def test_a_spread_is_relative_to_the_median() -> None:
    assert stats.Summary(10, 9, 12, 3).spread == pytest.approx(0.3)
    assert stats.Summary(0, 0, 0, 3).spread == 0
    assert stats.Summary(0, -1, 1, 3).spread == math.inf


def test_percentiles_are_values_that_occurred() -> None:
    numbers = list(range(1, 101))
    assert [stats.percentile(numbers, rank) for rank in (1, 50, 99, 99.5, 100)] == [1, 50, 99, 100, 100]
    assert stats.percentile([7], 0.1) == 7
    with pytest.raises(ValueError, match="rank"):
        stats.percentile(numbers, 0)


def test_ratios_and_differences_are_taken_within_rounds() -> None:
    ours, theirs = (
        {0: 10.0, 1: 20.0, 3: 5.0, 4: -1.0, 5: 0.0},
        {0: 5.0, 1: 0.0, 2: 1.0, 3: 10.0, 4: 2.0, 5: 1.0},
    )
    assert stats.paired_ratios(ours, theirs) == [2.0, 0.5, 0.0]
    assert stats.paired_differences(ours, theirs) == {0: 5.0, 1: 20.0, 3: -5.0, 4: -3.0, 5: -1.0}


@pytest.mark.parametrize(
    ("old", "new", "better", "word"),
    [
        ((100, 98, 102), (150, 148, 151), "high", "better"),
        ((100, 98, 102), (150, 148, 151), "low", "worse"),
        ((100, 98, 102), (60, 59, 61), "high", "worse"),
        ((100, 98, 102), (60, 59, 61), "low", "better"),
        ((100, 90, 140), (120, 110, 150), "high", "unclear"),  # the ranges touch
        ((100, 50, 200), (101, 50, 200), "high", "same"),  # the medians are within 2 %
        ((0, 0, 0), (0, 0, 0), "low", "same"),
        ((0, 0, 0), (5, 4, 6), "low", "worse"),
    ],
)
def test_verdicts_know_the_spread(
    old: tuple[float, float, float], new: tuple[float, float, float], better: str, word: str
) -> None:
    assert stats.judge(stats.Summary(*old, n=3), stats.Summary(*new, n=3), better).word == word


def test_a_verdict_needs_to_know_what_is_better() -> None:
    one = stats.summarise([1.0])
    with pytest.raises(ValueError, match="high or low"):
        stats.judge(one, one, "none")


def test_a_knee_is_where_a_curve_leaves_its_first_value() -> None:
    assert stats.knee([(64, 30.0), (1, 10.0), (8, 12.0), (16, 13.0)]) == 16
    assert stats.knee([(1, 10.0), (8, 12.0)]) is None
    assert stats.knee([]) is None


@given(st.floats(0, 1000), st.floats(0.5, 50))
def test_a_search_ends_within_its_resolution_below_the_limit(limit: float, resolution: float) -> None:
    tried: list[float] = []

    def passes(value: float) -> bool:
        tried.append(value)
        return value <= limit

    found = highest(passes, 0, 1000, resolution)
    assert found <= limit <= found + resolution or found == 1000
    assert len(tried) <= 2 + math.ceil(math.log2(1000 / resolution))


def test_a_search_refuses_what_has_no_end() -> None:
    with pytest.raises(ValueError, match="cannot search"):
        highest(lambda _: True, 0, 10, 0)
    with pytest.raises(ValueError, match="cannot search"):
        highest(lambda _: True, 10, 0, 1)


def test_goals_share_trials() -> None:
    tried: list[float] = []

    def loss(load: float) -> float:
        tried.append(load)
        return max(0.0, (load - 60) / 1000)

    found = highest_of_many(loss, (0.0, 0.02), 100, 1)
    assert 59 <= found[0.0] <= 60
    assert 79 <= found[0.02] <= 80
    assert len(tried) == len(set(tried)) < 14


def test_a_load_that_always_passes_is_found_at_once() -> None:
    assert highest_of_many(lambda _: 0.0, (0.0, 0.1), 100, 1) == {0.0: 100, 0.1: 100}
