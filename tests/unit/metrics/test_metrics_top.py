"""The VLANs with series of their own: who is chosen, and that no counter ever goes back or leaps."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bridge.account.window import VID_NONE, VID_OTHER, Amount, total
from bridge.metrics.bounded import HALF_LIFE, Shown, dearest_talkers


def spent(**cycles: int) -> dict[int, Amount]:
    return {int(name[1:]): Amount(direct=number, frames=number) for name, number in cycles.items()}


def direct(shown: dict[str, Amount]) -> dict[str, int]:
    return {name: amount.direct for name, amount in shown.items()}


def test_as_long_as_there_is_room_everybody_is_shown_from_the_beginning() -> None:
    shown = Shown()
    assert direct(shown.update(1.0, spent(v10=5, v20=7), 3)) == {"10": 5, "20": 7, "other": 0}
    assert direct(shown.update(2.0, spent(v10=6, v20=7, v30=1), 3)) == {"10": 6, "20": 7, "30": 1, "other": 0}


def test_the_dearest_are_shown_and_the_rest_is_summed_up() -> None:
    assert direct(Shown().update(1.0, spent(v10=5, v20=7, v30=6), 1)) == {"20": 7, "other": 11}
    assert direct(Shown().update(1.0, spent(v10=5), 0)) == {"other": 5}
    assert direct(Shown().update(1.0, {}, 5)) == {"other": 0}


def test_only_one_that_is_twice_as_dear_takes_a_place() -> None:
    shown = Shown()
    shown.update(1.0, spent(v10=100, v20=0), 1)
    assert direct(shown.update(2.0, spent(v10=100, v20=199), 1)) == {"10": 100, "other": 199}
    # What it spent until it is chosen stays where it was counted, its own series begins at 0.
    assert direct(shown.update(3.0, spent(v10=100, v20=250), 1)) == {"20": 0, "other": 250}
    assert direct(shown.update(4.0, spent(v10=103, v20=260), 1)) == {"20": 10, "other": 253}


def test_one_that_returns_goes_on_where_it_was() -> None:
    shown = Shown()
    shown.update(1.0, spent(v10=100, v20=0), 1)
    shown.update(2.0, spent(v10=100, v20=500), 1)
    assert direct(shown.update(3.0, spent(v10=5000, v20=500), 1)) == {"10": 100, "other": 5400}
    assert direct(shown.update(4.0, spent(v10=5001, v20=500), 1)) == {"10": 101, "other": 5400}


def test_what_is_long_ago_weighs_less() -> None:
    shown = Shown()
    shown.update(0.0, spent(v10=1000, v20=0), 1)
    later = 10 * HALF_LIFE
    assert "20" in shown.update(later, spent(v10=1000, v20=10), 1)


def test_frames_without_a_vlan_have_a_name_and_unlisted_ones_never_have() -> None:
    amounts = {VID_NONE: Amount(5), VID_OTHER: Amount(700)}
    assert direct(Shown().update(1.0, amounts, 5)) == {"none": 5, "other": 700}


def test_fewer_are_shown_when_fewer_are_wanted() -> None:
    shown = Shown()
    shown.update(1.0, spent(v10=5, v20=7, v30=6), 3)
    assert direct(shown.update(2.0, spent(v10=5, v20=7, v30=6), 1)) == {"20": 7, "other": 0}


GROWTH = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from([0, 10, 20, 30, 40, VID_OTHER]), st.integers(0, 1000), max_size=6),
        st.integers(0, 4),
        st.sampled_from([0.0, 1.0, 600.0]),
    ),
    max_size=12,
)


@given(GROWTH)
def test_no_series_goes_back_and_together_they_grow_as_the_total_does(
    life: list[tuple[dict[int, int], int, float]],
) -> None:
    shown, amounts, now = Shown(), {}, 0.0
    last: dict[str, int] = {}
    before: dict[str, int] = {}
    for grown, most, seconds in life:
        for vid, cycles in grown.items():
            amounts[vid] = amounts.get(vid, Amount()).plus(Amount(cycles))
        now += seconds
        after = direct(shown.update(now, amounts, most))
        assert len(after) <= most + 1
        assert all(count >= last.get(name, 0) for name, count in after.items())
        # Whoever is on two pages in a row, and `other`, grew by nothing that was not spent in between.
        growth = sum(after[name] - before[name] for name in before.keys() & after.keys())
        assert growth <= sum(grown.values())
        assert sum(after.values()) <= total([Amount(), *amounts.values()]).direct
        last |= after
        before = after


def test_the_dearest_talkers() -> None:
    talkers = {(10, mac): ("p", Amount(mac, 1)) for mac in (3, 1, 2)}
    assert dearest_talkers(talkers, 2) == [((10, 3), Amount(3, 1)), ((10, 2), Amount(2, 1))]
    assert dearest_talkers(talkers, 0) == []
