"""The meter over a fake data plane: samples, windows, baselines, ports that come and go; savings."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from helpers.clock import ManualClock
from helpers.fake_bill import HZ, FakeMeter

from bridge.account.meter import BASELINES
from bridge.account.savings import savings_rows
from bridge.account.times import read_times
from bridge.account.views import Row
from bridge.account.window import REMOVED, Amount, Egress, Times
from bridge.config.port import PortConfig
from bridge.core import _core
from bridge.errors import FramebridgeError

MAC = 0x020000000001


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def meter(clock: ManualClock) -> FakeMeter:
    return FakeMeter(clock)


def live(meter: FakeMeter, clock: ManualClock, seconds: int, **amounts: int) -> None:
    """Let a talker send broadcasts for so many seconds."""
    for _ in range(seconds):
        if amounts:
            meter.core.spend(0, 10, "broadcast", MAC, **amounts)
        clock.advance(1)
        meter.sample()


def told(rows: list[Row], key: str) -> dict[object, object]:
    return {row["rest"] or row[key]: row["cycles"] for row in rows}


# -- windows


def test_a_window_is_of_the_last_seconds_or_since_the_beginning(meter: FakeMeter, clock: ManualClock) -> None:
    live(meter, clock, 10, direct=100, frames=1)
    live(meter, clock, 5, direct=1, frames=1)
    assert told(meter.show_rows("class", last=5), "class") == {"broadcast": 5}
    assert told(meter.show_rows("class"), "class") == {"broadcast": 1005}
    assert meter.summary_rows(last=5)[0]["seconds"] == 5.0


def test_before_the_first_sample_a_window_begins_with_the_bridge(
    meter: FakeMeter, clock: ManualClock
) -> None:
    meter.core.spend(direct=100, frames=1)
    clock.advance(0.25)
    (summary,) = meter.summary_rows(last=60)
    assert (summary["busy_cycles"], summary["seconds"], summary["hz"]) == (100, 0.25, HZ)


def test_clearing_subtracts_and_leaves_the_recent_past_alone(meter: FakeMeter, clock: ManualClock) -> None:
    meter.core.slow.append(_core.SlowBatch(0, 0, 1, 1, {}))
    live(meter, clock, 3, direct=100, frames=1)
    meter.clear()
    assert told(meter.show_rows("talker"), "mac") == {}
    assert meter.slow_rows() == []
    live(meter, clock, 1, direct=7, frames=1)
    assert told(meter.show_rows("talker"), "mac") == {"02:00:00:00:00:01": 7}
    assert told(meter.show_rows("class", last=2), "class") == {"broadcast": 107}
    assert meter.total().busy == 307


def test_baselines_have_names_and_are_few(meter: FakeMeter, clock: ManualClock) -> None:
    live(meter, clock, 1, direct=100, frames=1)
    meter.clear("before")
    live(meter, clock, 1, direct=7, frames=1)
    assert told(meter.show_rows("class", since="before"), "class") == {"broadcast": 7}
    assert told(meter.show_rows("class"), "class") == {"broadcast": 107}
    for number in range(BASELINES - 1):
        meter.clear(f"more{number}")
    with pytest.raises(FramebridgeError, match="reuse a name: before, more0"):
        meter.clear("one-too-many")
    meter.clear("before")
    assert told(meter.show_rows("class", since="before"), "class") == {}


def test_talkers_are_not_read_while_nothing_happens(meter: FakeMeter, clock: ManualClock) -> None:
    live(meter, clock, 1, direct=1, frames=1)
    before = meter.core.talkers_read
    live(meter, clock, 10)
    assert meter.core.talkers_read == before
    live(meter, clock, 1, direct=1, frames=1)
    assert meter.core.talkers_read == before + 1
    meter.core.depart(10, MAC)  # aged
    live(meter, clock, 1)
    assert told(meter.show_rows("talker", last=1), "mac") == {}


def test_samples_that_take_long_come_less_often(meter: FakeMeter, clock: ManualClock) -> None:
    meter.effort = 0.1
    live(meter, clock, 100, direct=10, frames=1)
    assert 8 <= meter.core.talkers_read <= 12
    assert meter.window(last=20).seconds == pytest.approx(20, abs=5)
    assert meter.total().busy == 1000


# -- ports that come and go


def test_a_port_keeps_its_charges_when_it_is_attached_again(meter: FakeMeter, clock: ManualClock) -> None:
    live(meter, clock, 1, direct=100, frames=1)
    close(meter, 0, "guests")
    live(meter, clock, 2)
    live(meter, clock, 1, direct=11, frames=1)
    assert told(meter.show_rows("port"), "port") == {"guests": 111}
    assert told(meter.show_rows("vlan"), "vlan") == {10: 111}
    assert told(meter.show_rows("port", last=2), "port") == {"guests": 11}


def test_a_removed_port_is_no_other_one(meter: FakeMeter, clock: ManualClock) -> None:
    live(meter, clock, 1, direct=100, frames=1)
    close(meter, 0, "guests")
    meter.retire("guests")
    meter.names[0] = "others"
    live(meter, clock, 1, direct=11, frames=1)
    assert told(meter.show_rows("port"), "port") == {"others": 11, "removed": 100}
    assert told(meter.show_rows("port", last=1), "port") == {"others": 11}
    assert told(meter.show_rows("class"), "class") == {"broadcast": 111}

    close(meter, 0, "others")
    meter.retire("others")
    meter.names[0] = "guests"
    live(meter, clock, 1, direct=1, frames=1)
    assert told(meter.show_rows("port"), "port") == {"guests": 1, "removed": 111}
    assert meter.total().busy == 112


def close(meter: FakeMeter, index: int, name: str) -> None:
    """Do as the engine and the data plane do: only classes are left of a closed port."""
    meter.carry({index: name})
    core = meter.core
    for charge in [charge for charge in core.charges.values() if charge.port == index]:
        del core.charges[charge[:3]]
        core.close(charge)


def test_what_closed_before_the_first_look_is_removed(meter: FakeMeter, clock: ManualClock) -> None:
    meter.core.spend(5, 10, "broadcast", direct=9, frames=1)
    meter.core.close(meter.core.charges.pop((5, 10, "broadcast")))
    (key,) = meter.read().charges
    assert (key.port, key.vid) == (REMOVED, _core.VID_OTHER)


# -- rows


def test_slow_batches_are_told_with_their_time(meter: FakeMeter, clock: ManualClock) -> None:
    live(meter, clock, 4)
    meter.core.slow = [_core.SlowBatch(1 * HZ, 1, 64, 5_000_000, {"rx": 1_000_000, "tx": 4_000_000})]
    (summary,), (row,) = meter.summary_rows(), meter.slow_rows()
    assert float(str(summary["until"])) - float(str(row["time"])) == pytest.approx(3.0, abs=0.5)
    assert (row["port"], row["frames"], row["microseconds"], row["tx"]) == ("uplink", 64, 5000.0, 4_000_000)


def test_histograms_are_since_the_clearing(meter: FakeMeter, clock: ManualClock) -> None:
    meter.core.counts = [0, 5, 0, 0, 0]
    meter.clear()
    meter.core.counts = [0, 7, 1, 0, 0]
    rows = meter.histogram_rows()
    assert [(row["from"], row["to"], row["count"]) for row in rows] == [(1, 2, 2), (2, 4, 1)]
    assert meter.histogram_rows("batch_cycles") == []


# -- the kernel's view


def test_the_times_of_a_thread_are_the_kernels() -> None:
    ready, end = threading.Event(), threading.Event()
    found: list[int] = []

    def spin() -> None:
        found.append(threading.get_native_id())
        sum(range(2_000_000))
        ready.set()
        end.wait()

    thread = threading.Thread(target=spin)
    thread.start()
    ready.wait()
    times = read_times(found[0])
    end.set()
    thread.join()
    assert times.cpu is not None
    assert 0 < times.cpu < 60
    assert times.cpu <= sum(os.times()[:2]) + 0.05


def test_what_the_kernel_does_not_tell_is_unknown(tmp_path: Path) -> None:
    assert read_times(None, str(tmp_path)) == Times(None, None, None)
    assert read_times(1 << 21, str(tmp_path)) == Times(None, None, None)  # no such thread


def test_steal_and_waiting_are_read_from_proc(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text("cpu  1 2 3 4 5 6 7 250 9 0\ncpu0 1 2 3\n")
    schedstat = tmp_path / "self/task/77/schedstat"
    schedstat.parent.mkdir(parents=True)
    schedstat.write_text("1000000000 2500000000 42\n")
    times = read_times(77, str(tmp_path))
    assert times.steal == 250 / os.sysconf("SC_CLK_TCK")
    assert times.preempted == 2.5


# -- savings

GUESTS = PortConfig("guests", "memory", pvid=10)
UPLINK = PortConfig("uplink", "memory", mode="trunk", vids=(10, 20))
OTHER = PortConfig("other", "memory", pvid=10)


def savings(meter: FakeMeter, *ports: PortConfig) -> dict[str, Row]:
    window = meter.total()
    return {str(row["measure"]): row for row in savings_rows(window, meter.rates(window), ports)}


def flood(meter: FakeMeter, frame_class: str = "broadcast") -> None:
    """100 frames from guests to uplink and other: a copy costs 10 and 30 cycles there."""
    meter.core.spend(0, 10, frame_class, MAC, direct=4000, induced=3000, frames=100, segments=100, copies=200)
    meter.sent = {"guests": Egress(), "uplink": Egress(100, 1000), "other": Egress(100, 3000)}


def test_suppression_saves_the_copies_beyond_the_first(meter: FakeMeter) -> None:
    flood(meter)
    row = savings(meter, GUESTS, UPLINK, OTHER)["broadcast"]
    assert (row["vlan"], row["copies"], row["cycles_per_copy"], row["cycles"]) == (10, 100, 20.0, 2000)
    assert row["share"] == round(2000 / 7000, 4)


def test_a_vlan_where_nobody_was_heard_may_leave_a_port(meter: FakeMeter) -> None:
    flood(meter)
    row = savings(meter, GUESTS, UPLINK, OTHER)["vlan_off_port"]
    assert (row["port"], row["copies"], row["cycles"]) == ("uplink", 100, 1000) or row["port"] == "other"
    quiet = PortConfig("other", "memory", pvid=10, flood_broadcast=False)
    assert savings(meter, GUESTS, quiet).get("vlan_off_port") is None  # it gets no broadcast anyway
    meter.core.spend(1, 10, "known_unicast", direct=1, frames=1)
    assert savings(meter, GUESTS, UPLINK).get("vlan_off_port") is None  # somebody was heard


def test_a_talker_could_be_quieter(meter: FakeMeter) -> None:
    flood(meter)
    row = savings(meter, GUESTS)["quieter_talker"]
    assert (row["mac"], row["cycles"], row["copies"]) == ("02:00:00:00:00:01", 3500, 100)


def test_no_estimate_exceeds_what_was_spent_and_the_best_is_first(meter: FakeMeter) -> None:
    flood(meter, "unknown_unicast")
    meter.sent["uplink"] = Egress(100, 1 << 60)
    window = meter.total()
    rows = savings_rows(window, meter.rates(window), [GUESTS, UPLINK, OTHER])
    assert [row["cycles"] for row in rows] == sorted((row["cycles"] for row in rows), reverse=True)  # type: ignore[type-var]
    assert all(row["cycles"] <= window.busy for row in rows)  # type: ignore[operator]
    assert all(str(row["text"]) for row in rows)


def test_nothing_spent_is_nothing_to_save(meter: FakeMeter) -> None:
    assert savings(meter, GUESTS) == {}


def test_charges_and_talkers_have_the_fields_of_an_amount() -> None:
    assert _core.Charge._fields[3:9] == _core.Talker._fields[3:9] == Amount._fields


def test_dear_copies_of_other_frames_do_not_count(meter: FakeMeter) -> None:
    """Ports that mostly send super-frames have dear copies: 100 broadcasts were charged 3000 for theirs."""
    flood(meter)
    meter.sent |= {"uplink": Egress(100, 900_000), "other": Egress(100, 900_000)}
    found = savings(meter, GUESTS, UPLINK, OTHER)
    assert (found["broadcast"]["cycles"], found["vlan_off_port"]["cycles"]) == (3000, 3000)
