"""The bill as values: windows, how they add up, how they are attributed, the rate of the cycle counter."""

from __future__ import annotations

import itertools
import tracemalloc
from dataclasses import fields, replace
from typing import Any

import pytest
from cost_strategies import histories
from helpers.clock import ManualClock
from helpers.fake_bill import HZ, FakeMeter
from hypothesis import given
from hypothesis import strategies as st

from bridge.account.clock_rate import CycleRate
from bridge.account.history import CHARGES, COARSE, COARSE_SECONDS, FINE, TALKERS, History
from bridge.account.views import VIEWS, Price, Rates, histogram_rows, show, summary_row
from bridge.account.window import (
    REMOVED,
    WRAP,
    Amount,
    ChargeKey,
    Egress,
    Reading,
    TalkerKey,
    Times,
    Window,
    change,
    difference,
    growth,
    total,
)

MAC = 0x020000000001
KEY = ChargeKey("guests", 10, "broadcast")


def readings_of(history: list[list[Any]]) -> list[Reading]:
    """What a meter reads while a history goes on."""
    clock = ManualClock()
    meter = FakeMeter(clock)
    found = [meter.read()]
    for second in history:
        for step in second:
            step.do(meter.core)
        clock.advance(1)
        found.append(meter.read())
    return found


def numbers(window: Window) -> list[float]:
    """Every number in a window."""
    amounts = [*window.charges.values(), *window.talkers.values(), window.others]
    times = [value for item in fields(Times) if (value := getattr(window.times, item.name)) is not None]
    egress = [number for sent in window.egress.values() for number in sent]
    scalars = [window.seconds, window.departed, window.clock_jumps, window.busy]
    return [
        *scalars,
        *times,
        *egress,
        *window.stages.values(),
        *(number for amount in amounts for number in amount),
    ]


# -- windows


@given(histories)
def test_windows_that_follow_one_another_add_up_to_the_whole(history: list[list[Any]]) -> None:
    readings = readings_of(history)
    summed = Window()
    for before, after in itertools.pairwise(readings):
        summed.add(difference(before, after))
    whole = difference(readings[0], readings[-1])

    assert summed.seconds == pytest.approx(whole.seconds)
    assert summed.stages == whole.stages
    assert summed.charges == whole.charges
    # Who left is told apart only where somebody looked in between; together it is the same.
    spent = [total(window.talkers.values()).cycles + window.departed for window in (summed, whole)]
    assert spent[0] == spent[1]


@given(histories, st.sampled_from(VIEWS), st.none() | st.integers(1, 3))
def test_every_view_adds_up_to_the_busy_cycles(history: list[list[Any]], by: str, top: int | None) -> None:
    readings = readings_of(history)
    for before, after in [*itertools.pairwise(readings), (readings[0], readings[-1])]:
        window = difference(before, after)
        rows = show(window, by, Rates(window.seconds, HZ), top)
        assert sum(row["cycles"] for row in rows if row.get("busy", True)) == window.busy  # type: ignore[misc]
        assert all(row["cycles"] >= 0 for row in rows)  # type: ignore[operator]
        if top is not None and by != "stage":
            assert sum(row["rest"] is None for row in rows) <= top


@given(
    st.lists(st.integers(0, WRAP - 1), min_size=2, max_size=8),
    st.lists(st.integers(0, WRAP - 1), min_size=2, max_size=8),
)
def test_no_number_is_negative_whatever_the_counters_do(one: list[int], two: list[int]) -> None:
    def reading(values: list[int], time: float) -> Reading:
        a, b = values[0], values[1]
        return Reading(
            time,
            stages={"rx": a, "blocked": b},
            charges={KEY: Amount(a, b, a, b, a, b)},
            talkers={(10, MAC): ("guests", Amount(b, a, a, b, a, b))},
            departed=b,
            egress={"guests": Egress(a, b)},
            times=Times(float(a), float(b), None),
            clock_jumps=a,
        )

    window = difference(reading(one, 5.0), reading(two, 3.0))  # the clock went backwards, too
    assert min(numbers(window)) >= 0
    for by in VIEWS:
        rows = show(window, by, Rates(window.seconds, HZ))
        assert sum(row["cycles"] for row in rows if row.get("busy", True)) == window.busy  # type: ignore[misc]
    summary = summary_row(window, Rates(window.seconds, HZ, Price(1.0)))
    assert all(value >= 0 for value in summary.values() if isinstance(value, int | float))


@given(st.integers(0, WRAP - 1), st.integers(0, (1 << 62)))
def test_a_counter_may_wrap(before: int, spent: int) -> None:
    assert growth(before, (before + spent) % WRAP) == spent
    assert change(before, (before + spent) % WRAP) == spent
    assert change((before + spent) % WRAP, before) == -spent


def test_a_counter_that_went_back_began_anew() -> None:
    assert growth(1000, 7) == 7
    after = Reading(2.0, egress={"guests": Egress(3, 30)})
    assert difference(Reading(1.0, egress={"guests": Egress(10, 900)}), after).egress["guests"] == Egress(
        3, 30
    )


def test_a_talker_that_left_is_charged_only_for_the_window() -> None:
    old, new = Amount(900, 100, 10), Amount(950, 150, 11)
    before = Reading(1.0, talkers={(10, MAC): ("guests", old)}, departed=5000)
    gone = difference(before, Reading(2.0, departed=5000 + new.cycles))
    assert (gone.talkers, gone.departed) == ({}, 100)

    # It left and came back in the window: what it spent since is its own, what it spent before it left is not.
    back = Reading(2.0, talkers={(10, MAC): ("uplink", Amount(40, 2, 1))}, departed=5000 + new.cycles)
    window = difference(before, back)
    assert window.talkers == {TalkerKey(10, MAC, "uplink"): Amount(40, 2, 1)}
    assert window.departed == 100

    # As many frames as before, but cheaper ones.
    back = Reading(2.0, talkers={(10, MAC): ("guests", Amount(40, 2, 10))}, departed=5000 + new.cycles)
    assert difference(before, back).departed == 100


def test_times_that_a_kernel_does_not_tell_stay_unknown() -> None:
    window = difference(Reading(0.0, times=Times(1.0, None, 2.0)), Reading(1.0, times=Times(1.5, 1.0, 2.0)))
    assert window.times == Times(0.5, None, 0.0)
    assert Window().add(window).add(window).times == Times(1.0, None, 0.0)


def test_a_removed_port_keeps_its_charges_under_no_name() -> None:
    reading = Reading(
        1.0,
        charges={KEY: Amount(5, 0, 1), KEY._replace(port=REMOVED): Amount(2, 0, 1)},
        egress={"guests": Egress(1)},
    )
    left = reading.without_port("guests")
    assert left.charges == {KEY._replace(port=REMOVED): Amount(7, 0, 2)}
    assert left.egress == {}


# -- attribution


def window_of(**charges: int) -> Window:
    """A window of one second with classes that cost so many cycles, a frame each."""
    return Window(
        seconds=1.0,
        stages={"blocked": HZ, "rx": sum(charges.values())},
        charges={
            ChargeKey("guests", 10, name): Amount(cycles, 0, 1, 1, 60, 1) for name, cycles in charges.items()
        },
    )


def test_rows_are_the_dearest_first_and_tell_every_unit() -> None:
    window = window_of(broadcast=100, known_unicast=300)
    first, second = show(window, "class", Rates(2.0, 1000.0, Price(3.6, "CHF")))
    assert (first["class"], second["class"]) == ("known_unicast", "broadcast")
    assert (first["share"], first["cycles_per_frame"]) == (0.75, 300.0)
    assert (first["cpu_seconds"], first["cores"], first["cycles_per_second"]) == (0.3, 0.15, 150.0)
    assert (first["money"], first["money_per_month"], first["currency"]) == (0.0003, 394.2, "CHF")


def test_without_a_rate_or_a_price_there_are_cycles_only() -> None:
    (row,) = show(window_of(broadcast=100), "class", Rates(0.0, None))
    assert row["cycles"] == 100
    told = ("cycles_per_second", "cpu_seconds", "cores", "money", "money_per_month", "currency")
    assert {name: row[name] for name in told} == dict.fromkeys(told)


def test_what_is_no_port_vlan_or_talker_has_a_row_of_its_own() -> None:
    window = Window(
        seconds=1.0,
        stages={"rx": 1000},
        charges={
            ChargeKey("guests", 10, "broadcast"): Amount(500, 0, 5),
            ChargeKey("guests", 0, "dropped"): Amount(200, 0, 2),
            ChargeKey(REMOVED, 4095, "broadcast"): Amount(250, 0, 2),
        },
        talkers={
            TalkerKey(10, MAC, "guests"): Amount(400, 0, 4),
            TalkerKey(10, MAC, "uplink"): Amount(50, 0, 1),
        },
        others=Amount(30, 0, 1),
        departed=70,
    )

    def told(by: str) -> list[tuple[object, object]]:
        key = {"talker": "mac"}.get(by, by)
        return [(row["rest"] or row[key], row["cycles"]) for row in show(window, by, Rates(1.0, None))]

    assert told("port") == [("guests", 700), ("removed", 250), ("uncharged", 50)]
    assert told("vlan") == [(10, 500), ("other", 250), ("no_vlan", 200), ("uncharged", 50)]
    assert told("talker") == [
        ("02:00:00:00:00:01", 450),
        ("other", 30),
        ("departed", 70),
        ("unlearned", 400),
        ("uncharged", 50),
    ]


def test_talkers_never_cost_more_than_the_bill() -> None:
    """They are read a little later than the bill."""
    window = replace(
        window_of(known_unicast=1000), talkers={TalkerKey(10, MAC, "guests"): Amount(1001, 3, 1)}
    )
    rows = show(window, "talker", Rates(1.0, None))
    assert sum(row["cycles"] for row in rows) == 1000  # type: ignore[misc]
    assert rows[0]["cycles"] in (998, 999, 1000)


def test_ports_tell_what_a_copy_costs() -> None:
    window = replace(window_of(broadcast=100), egress={"guests": Egress(), "uplink": Egress(4, 1000)})
    guests, uplink = show(window, "port", Rates(1.0, None))
    assert (guests["cycles_per_copy"], guests["offered"]) == (None, 0)
    assert (uplink["port"], uplink["cycles"], uplink["cycles_per_copy"]) == ("uplink", 0, 250.0)


def test_the_summary_compares_with_the_cpu_clock() -> None:
    window = Window(
        seconds=1.0,
        stages={"blocked": 500, "polling": 100, "control": 20, "rx": 380},
        charges={KEY: Amount(300, 70, 2, 10, 120, 4)},
        times=Times(0.4, 0.1, 0.0),
    )
    row = summary_row(window, Rates(1.0, 1000.0, Price(0.04)))
    assert (row["busy_cycles"], row["charged_cycles"], row["uncharged_cycles"]) == (380, 370, 10)
    assert (row["busy_cores"], row["polling_cores"], row["control_cores"]) == (0.38, 0.1, 0.02)
    assert (row["accounted_seconds"], row["cpu_seconds"], row["accounted_per_cpu"]) == (0.5, 0.4, 1.25)
    assert (row["preempted_seconds"], row["steal_seconds"]) == (0.1, 0.0)
    assert (row["cycles_per_frame"], row["cycles_per_wire_frame"]) == (190.0, 38.0)


def test_histograms_begin_and_end_where_there_is_something() -> None:
    rows = histogram_rows((0, 1, 2, 4), {"a": [0, 3, 0, 1], "b": [0, 0, 0, 0]})
    assert [(row["histogram"], row["from"], row["to"], row["count"]) for row in rows] == [
        ("a", 1, 2, 3),
        ("a", 2, 4, 0),
        ("a", 4, None, 1),
    ]
    assert [row["share"] for row in rows] == [0.75, 0.0, 0.25]


# -- history


def second(cycles: int, talkers: int = 1, first: int = 0) -> Window:
    """A window of a second in which each talker spent its share of some cycles."""
    share = Amount(cycles // talkers, 0, 1)
    return Window(
        seconds=1.0,
        stages={"rx": share.direct * talkers},
        charges={KEY: Amount(share.direct * talkers, 0, talkers)},
        talkers={TalkerKey(10, MAC + first + number, "guests"): share for number in range(talkers)},
    )


def test_the_last_seconds_are_the_newest_windows() -> None:
    history = History()
    assert history.last(10) is None
    for cycles in range(1, 101):
        history.append(second(cycles))
    last = history.last(10)
    assert last is not None
    assert (last.seconds, last.busy) == (10.0, sum(range(91, 101)))
    assert history.last(0.1).seconds == 1.0  # type: ignore[union-attr]
    assert history.last(1e9).busy == sum(range(1, 101))  # type: ignore[union-attr]


def test_older_windows_are_coarser_and_the_oldest_are_let_go() -> None:
    history = History()
    seconds = FINE + int(COARSE_SECONDS) * COARSE + 100
    for _ in range(seconds):
        history.append(second(7))
    assert FINE + COARSE * COARSE_SECONDS <= history.seconds <= FINE + (COARSE + 1) * COARSE_SECONDS
    for wanted in (1, 60, FINE, FINE + 20, 1800, 3600):
        window = history.last(wanted)
        assert window is not None
        assert abs(window.seconds - wanted) <= COARSE_SECONDS / 2
        assert window.busy == 7 * window.seconds
        assert sum(amount.cycles for amount in window.charges.values()) == window.busy


def test_windows_longer_than_a_second_keep_their_length() -> None:
    history = History()
    for _ in range(5):
        history.append(replace(second(7), seconds=8.0))
    assert history.last(10).seconds == 8.0  # type: ignore[union-attr]
    assert history.last(13).seconds == 16.0  # type: ignore[union-attr]


def test_many_talkers_and_charges_are_cut_to_the_dearest_and_still_add_up() -> None:
    many = second(10_000_000, talkers=2 * TALKERS)
    many.talkers[TalkerKey(10, 5, "uplink")] = Amount(1 << 40, 0, 1)
    for vid in range(1, 2 * CHARGES):
        many.charges[ChargeKey("uplink", vid, "broadcast")] = Amount(100 + vid, 0, 1)
    history = History()
    history.append(many)
    kept = history.last(1)
    assert kept is not None
    assert len(kept.talkers) == TALKERS
    assert TalkerKey(10, 5, "uplink") in kept.talkers
    assert len(kept.charges) <= CHARGES + 1
    assert total(kept.charges.values()) == total(many.charges.values())
    assert total([*kept.talkers.values(), kept.others]) == total(many.talkers.values())
    assert len(many.talkers) == 2 * TALKERS + 1  # the caller's is left as it is


def test_memory_is_bounded_under_a_flood_of_new_addresses() -> None:
    """Every window has other talkers, so that no key is shared; what 40 of them take is scaled to all."""
    windows = 40
    history = History()
    tracemalloc.start()
    for number in range(windows):
        history.append(second(1 << 50, talkers=TALKERS + 1, first=number << 10))
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used / windows * (FINE + COARSE) < 30 << 20


# -- the rate of the cycle counter


def test_the_rate_is_known_after_a_moment_and_becomes_exact() -> None:
    rate = CycleRate(10.0, 1000)
    assert rate.hz is None
    rate.note(10.001, 2_301_000)
    assert rate.hz is None
    rate.note(11.0, 2_301_001_000)
    assert rate.hz == pytest.approx(2.301e9)
    rate.note(110.0, 230_000_001_000)
    assert rate.hz == pytest.approx(2.3e9)


def test_a_counter_that_wraps_keeps_its_rate() -> None:
    rate = CycleRate(0.0, WRAP - 1_000_000)
    rate.note(1.0, 1_000_000_000)
    assert rate.hz == pytest.approx(1.001e9)


@pytest.mark.parametrize("leap", [1 << 40, -(1 << 40), 10**10])
def test_a_suspended_machine_does_not_change_the_rate(leap: int) -> None:
    rate = CycleRate(0.0, 1 << 50)
    for second_ in range(1, 5):
        rate.note(second_, (1 << 50) + second_ * HZ)
    rate.note(5, (1 << 50) + 5 * HZ + leap)
    assert rate.hz == pytest.approx(HZ)
    for second_ in range(6, 20):
        rate.note(second_, (1 << 50) + second_ * HZ + leap)
        assert rate.hz == pytest.approx(HZ)


def test_a_first_measurement_that_was_wrong_is_corrected() -> None:
    rate = CycleRate(0.0, 0)
    rate.note(0.5, 3 * HZ)  # the clock was read long before the counter
    for second_ in range(1, 4):
        rate.note(second_, 3 * HZ + second_ * HZ)
    assert rate.hz == pytest.approx(HZ, rel=0.01)


def test_a_clock_or_a_counter_that_stands_still_gives_no_rate() -> None:
    rate = CycleRate(0.0, 10**12)
    rate.note(0.0, 2 * 10**12)
    assert rate.hz is None
    rate.note(1000.0, 10**12 + 5)
    rate.note(2000.0, 10**12 + 10)
    assert rate.hz is None
