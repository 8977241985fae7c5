"""R7 where there is no room: the greediest port pays, a port at its own limit is refused, nobody else loses."""

from __future__ import annotations

import pytest
from helpers import frames
from helpers.bridge import SECRET, Lab, access, charged, trunk

from bridge.core import _core
from bridge.core.values import PortRow

BASE = frames.number(frames.host(0))


def by_port(lab: Lab) -> dict[int, list[int]]:
    """Stations by the port they are known on."""
    found: dict[int, list[int]] = {}
    for (_, station), (port, _) in sorted(lab.fdb().items()):
        found.setdefault(port, []).append(station)
    return found


def speak(lab: Lab, index: int, *stations: int) -> None:
    """Let stations speak, each a tick after the one before."""
    for station in stations:
        lab.set_tick(lab.core.tick + 1)
        lab.learn(index, station)


def test_the_longest_silent_station_gives_way_to_the_eleventh() -> None:
    lab = Lab(access(10), access(10), mac_limit=10)
    speak(lab, 0, *range(1, 11))
    speak(lab, 0, 1)
    lab.events()
    speak(lab, 0, 11)
    assert by_port(lab) == {0: [1, *range(3, 12)]}
    assert lab.events() == [("evicted", 10, 2, 0, 0), ("learned", 10, 11, 0, -1)]
    assert lab.values(0)["evicted"] == 1


def test_a_flooder_ends_with_a_share_and_its_neighbours_keep_theirs() -> None:
    """Five ports with two stations each, ten places; a sixth brings sixteen."""
    lab = Lab(*[access(10)] * 6, fdb_capacity=10)
    for index in range(5):
        speak(lab, index, 2 * index + 1, 2 * index + 2)
    speak(lab, 5, *range(100, 116))
    kept = {index: len(stations) for index, stations in by_port(lab).items()}
    assert kept == {0: 1, 1: 1, 2: 1, 3: 2, 4: 2, 5: 3}
    assert by_port(lab)[5] == [113, 114, 115]


def test_in_a_full_vlan_the_greediest_port_of_that_vlan_pays() -> None:
    lab = Lab(trunk(10, 20), access(10), access(10), vlan_limits={10: 3})
    for station in range(1, 6):
        lab.learn(0, station, vid=20)
    speak(lab, 1, 11, 12)
    speak(lab, 2, 13)
    speak(lab, 2, 14)
    assert by_port(lab) == {0: [1, 2, 3, 4, 5], 1: [12], 2: [13, 14]}


def test_a_station_gives_way_once_when_both_vlan_and_table_are_full() -> None:
    lab = Lab(trunk(10, 20), access(10), mac_limit=3, vlan_limits={10: 1})
    lab.learn(0, 1, 2, vid=20)
    speak(lab, 1, 3)
    speak(lab, 1, 4)
    assert lab.fdb().keys() == {(20, 1), (20, 2), (10, 4)}


@pytest.mark.parametrize("kind", ["static", "sticky", "drop"])
def test_what_was_set_by_hand_never_gives_way(kind: str) -> None:
    lab = Lab(access(10), access(10), fdb_capacity=3)
    for station in (1, 2, 3):
        assert lab.fdb_set(10, station, 0, kind)
    lab.learn(1, 4)
    assert lab.fdb().keys() == {(10, 1), (10, 2), (10, 3)}
    assert lab.events()[-1] == ("refused_full", 10, 4, 1, -1)
    assert not lab.fdb_set(10, 5, 1, kind)
    assert lab.fdb().keys() == {(10, 1), (10, 2), (10, 3)}


@pytest.mark.parametrize("full_table", ["evict", "refuse"])
@pytest.mark.parametrize(
    ("kind", "place"), [("static", 1), ("sticky", 1), ("drop", -1), ("dynamic", 1)], ids=lambda value: value
)
def test_what_is_set_by_hand_takes_the_place_of_a_learned_one(kind: str, place: int, full_table: str) -> None:
    lab = Lab(access(10), access(10), fdb_capacity=5, full_table=full_table)
    speak(lab, 0, 1, 2, 3)
    speak(lab, 1, 4, 5)
    lab.events()
    assert lab.fdb_set(10, 6, 1, kind)
    assert lab.fdb()[10, 6] == (place, kind)
    assert lab.fdb().keys() == {(10, n) for n in range(2, 7)}
    assert lab.events() == [("evicted", 10, 1, 0, place)]
    assert lab.values(0)["evicted"] == 1


def test_the_only_learned_ones_of_a_large_table_give_way_to_what_is_set_by_hand() -> None:
    """A search for a frame gives up after 128 buckets; one for a command does not."""
    lab = Lab(access(10), access(10), fdb_capacity=1000)
    lab.learn(0, 1, 2)
    assert lab.core.fdb_set_many([(10, BASE + n, 1, "static") for n in range(3, 1003)]) == [True] * 1000
    assert {entry.kind for entry in lab.core.fdb_entries()} == {"static"}
    assert not lab.core.fdb_set(10, BASE + 2000, 1, "static")
    evicted = [event for event in lab.core.events()[0] if event.kind == "evicted"]
    assert sorted(event.mac - BASE for event in evicted) == [1, 2]


def test_a_port_at_its_own_limit_is_refused_and_keeps_its_stations() -> None:
    lab = Lab(access(10, mac_limit=2), access(10), fdb_capacity=4)
    speak(lab, 0, 1, 2, 3, 4, 5)
    assert by_port(lab) == {0: [1, 2]}
    assert lab.values(0)["evicted"] == 0


def test_refuse_keeps_everybody_and_forwards_the_rest() -> None:
    lab = Lab(access(10), access(10), mac_limit=2, full_table="refuse")
    speak(lab, 0, 1, 2)
    assert set(lab.send(0, frames.ethernet(frames.host(9), frames.host(3))).sent) == {1}
    assert by_port(lab) == {0: [1, 2]}
    assert lab.events()[-1] == ("refused_full", 10, 3, 0, -1)


def test_the_total_counts_what_is_learned_beside_what_is_pinned() -> None:
    lab = Lab(access(10), access(10), mac_limit=2, full_table="refuse")
    for station in (11, 12, 13):
        assert lab.fdb_set(10, station, 0, "static")
    lab.learn(1, 1, 2, 3)
    assert by_port(lab) == {0: [11, 12, 13], 1: [1, 2]}


def test_a_lowered_total_holds_for_who_comes() -> None:
    lab = Lab(access(10), access(10))
    speak(lab, 0, 1, 2, 3, 4)
    lab.change_bridge(mac_limit=2)
    assert len(lab.fdb()) == 4
    speak(lab, 1, 5)
    assert by_port(lab) == {0: [2, 3, 4], 1: [5]}


def test_a_flushed_port_is_not_greedy_any_more() -> None:
    """Its entries are reclaimed later; the counts that choose who pays know at once."""
    lab = Lab(access(10), access(10), access(10), fdb_capacity=6)
    speak(lab, 0, 1, 2, 3, 4)
    speak(lab, 1, 5, 6)
    lab.fdb_flush(port=0)
    speak(lab, 2, 7, 8, 9, 10, 11)
    assert by_port(lab) == {1: [5, 6], 2: [8, 9, 10, 11]}


def test_within_one_batch_a_station_may_come_and_go_and_the_bill_stays_right() -> None:
    """Their slots are used again within the batch: nobody's row may be charged for another."""
    lab = Lab(access(10), access(10), fdb_capacity=2, burst=64)
    lab.send(0, *(frames.ethernet(frames.BROADCAST, frames.host(n)) for n in (*range(1, 21), 19, 20)))
    talkers = {talker.mac - BASE: talker.frames for talker in lab.core.talkers()}
    assert set(talkers) <= {19, 20}
    bill = lab.core.bill()
    present = sum(talker.direct + talker.induced for talker in lab.core.talkers())
    assert present + bill.departed <= charged(bill)
    assert sum(talkers.values()) <= 4


def test_known_stations_of_others_are_unicast_all_through_a_flood() -> None:
    """macof: a full table of 64, 5000 new stations on one port, two old ones on another talk on."""
    lab = Lab(access(10), access(10), access(10), fdb_capacity=64, slots=64)
    lab.learn(1, 1)
    lab.learn(2, 2)
    for first in range(100, 1100, 50):
        lab.set_tick(lab.core.tick + 1)
        lab.send(0, *(frames.ethernet(frames.BROADCAST, frames.host(n)) for n in range(first, first + 50)))
        assert set(lab.send(1, frames.ethernet(frames.host(2), frames.host(1))).sent) == {2}
        assert set(lab.send(2, frames.ethernet(frames.host(1), frames.host(2))).sent) == {1}
    assert len(lab.fdb()) == 64


def test_in_a_large_table_the_choice_is_by_sample_and_falls_on_the_flooder_alone() -> None:
    core = _core.Bridge(fdb_capacity=2000, secret=SECRET)
    ports = [core.open_memory(index) for index in range(3)]
    snapshot = _core.Snapshot()
    for port in ports:
        snapshot.add_port(port, PortRow(mode="access", pvid=10))
    core.apply(snapshot)

    def send(index: int, numbers: range) -> None:
        for first in range(numbers.start, numbers.stop, 1000):
            chunk = range(first, min(first + 1000, numbers.stop))
            batch = [frames.ethernet(frames.BROADCAST, frames.host(n)) for n in chunk]
            assert ports[index].inject(batch) == len(batch)
            while core.turn():
                pass
            for port in ports:
                port.drain()

    send(1, range(10_000, 10_500))
    core.tick = 1
    send(0, range(1, 1501))  # full: 500 and 1500
    core.tick = 2
    send(0, range(2_000, 7_000))
    entries = core.fdb_entries()
    assert len(entries) == 2000
    assert sum(entry.port == 1 for entry in entries) == 500
    old = sum(entry.tick == 1 for entry in entries)
    assert old < 100  # of 1500; by chance alone 54 would be left
    values = core.counters().ports[0].values
    assert values["learned"] == 6500
    assert values["evicted"] == 5000
    assert values["not_learned"] == 0


def test_few_stations_of_a_vlan_in_a_large_table_are_found_in_a_few_searches() -> None:
    """A search has bounds; what it refuses, the next ones find."""
    core = _core.Bridge(fdb_capacity=4096, secret=SECRET)
    ports = [core.open_memory(index, slots=4096) for index in range(2)]
    snapshot = _core.Snapshot()
    snapshot.add_port(ports[0], PortRow(mode="trunk", vids=(10, 20)))
    snapshot.add_port(ports[1], PortRow(mode="access", pvid=20))
    snapshot.set_vlan_mac_limit(20, 2)
    core.apply(snapshot)
    assert core.fdb_set_many([(10, BASE + n, 0, "dynamic") for n in range(1, 4001)]) == [True] * 4000
    assert core.fdb_set_many([(20, BASE + n, 1, "dynamic") for n in (1, 2)]) == [True] * 2
    tries = 0
    while core.fdb_find(20, BASE + 3) is None:
        ports[1].inject([frames.ethernet(frames.BROADCAST, frames.host(3))])
        core.turn()
        tries += 1
        assert tries <= 4096 / 128 + 1, "a whole round of the table must find them"
    assert sum(entry.vid == 20 for entry in core.fdb_entries()) == 2


def test_limits_of_vlans_do_not_know_of_each_other() -> None:
    """VPP test_l2bd_learnlimit_bdenabled.py: limits of five and four, twenty stations each."""
    lab = Lab(trunk(10, 20), trunk(10, 20), vlan_limits={10: 5, 20: 4})
    for vid in (10, 20):
        hellos = [frames.ethernet(frames.BROADCAST, frames.host(n), frames.tag(vid)) for n in range(1, 21)]
        assert len(lab.send(0, *hellos).sent[1]) == 20
    kept = {*((10, station) for station in range(16, 21)), *((20, station) for station in range(17, 21))}
    assert lab.fdb().keys() == kept
