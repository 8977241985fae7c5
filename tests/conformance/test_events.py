"""What a control plane hears while stations are learned: everything once, nothing else."""

from __future__ import annotations

from helpers import frames
from helpers.bridge import Lab, access, trunk

STATIONS = range(1, 301)


def hello(station: int, *tags: bytes) -> bytes:
    return frames.ethernet(frames.group(0), frames.host(station), *tags)


def test_a_burst_of_new_stations_is_told_station_by_station() -> None:
    """VPP test/test_l2_fib.py mac_learn_evs: the events are the stations, no doubles; a second burst tells nothing."""
    lab = Lab(access(10), trunk(10))
    for _again in range(2):
        lab.send(0, *(hello(station) for station in STATIONS))

    assert lab.events() == [("learned", 10, station, 0, -1) for station in STATIONS]


def test_one_greedy_vlan_fills_the_table_for_all_only_where_nobody_gives_way() -> None:
    """VPP test/test_l2bd_learnlimit_enabled.py, where nobody does. A `mac_limit` of the VLAN is another way out."""
    burst = [hello(station, frames.tag(10)) for station in range(1, 21)]
    late = hello(99, frames.tag(20))

    fair = Lab(trunk(10, 20), trunk(10, 20), fdb_capacity=4)
    fair.send(0, *burst, late)
    assert (20, 99) in fair.fdb()

    greedy = Lab(trunk(10, 20), trunk(10, 20), fdb_capacity=4, full_table="refuse")
    greedy.send(0, *burst, late)
    assert {vid for vid, _station in greedy.fdb()} == {10}

    limited = Lab(trunk(10, 20), trunk(10, 20), fdb_capacity=4, vlan_limits={10: 3}, full_table="refuse")
    assert len(limited.send(0, *burst, late).sent[1]) == 21  # forwarded all the same
    assert sorted(limited.fdb()) == [(10, 1), (10, 2), (10, 3), (20, 99)]
