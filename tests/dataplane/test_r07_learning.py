"""R7: the FDB key is (VID, source); entries age by ticks; limits stop learning, never forwarding."""

from __future__ import annotations

import pytest
from helpers import frames
from helpers.bridge import Lab, access, trunk, tunnel

from bridge.core import _core
from bridge.core.values import PortRow

A, B = frames.host(1), frames.host(2)
DYNAMIC = "dynamic"


def hello(station: int, vid: int = 0) -> bytes:
    tags = (frames.tag(vid),) if vid else ()
    return frames.ethernet(frames.BROADCAST, frames.host(station), *tags)


def to(station: int, source: int = 9, vid: int = 0) -> bytes:
    tags = (frames.tag(vid),) if vid else ()
    return frames.ethernet(frames.host(station), frames.host(source), *tags)


# -- what is learned


def test_source_is_learned_and_the_reply_is_not_flooded() -> None:
    lab = Lab(access(10), access(10), access(10))
    assert set(lab.send(0, to(2, source=1)).sent) == {1, 2}
    assert lab.fdb() == {(10, 1): (0, DYNAMIC)}
    assert set(lab.send(1, to(1, source=2)).sent) == {0}
    assert set(lab.send(0, to(2, source=1)).sent) == {1}
    assert lab.events() == [("learned", 10, 1, 0, -1), ("learned", 10, 2, 1, -1)]
    assert lab.values(0)["learned"] == 1


def test_same_address_in_two_vlans_is_two_entries() -> None:
    lab = Lab(trunk(10, 20), access(10), access(20))
    lab.send(0, hello(1, vid=10))
    lab.send(2, hello(1))
    assert lab.fdb() == {(10, 1): (0, DYNAMIC), (20, 1): (2, DYNAMIC)}
    assert set(lab.send(1, to(1)).sent) == {0}


def test_native_and_tagged_frames_of_a_vlan_share_entries() -> None:
    lab = Lab(trunk(20, native=10), access(10))
    lab.send(0, hello(1))
    lab.send(0, hello(1, vid=10))
    assert lab.fdb() == {(10, 1): (0, DYNAMIC)}
    assert lab.events() == [("learned", 10, 1, 0, -1)]


def test_destination_teaches_nothing() -> None:
    lab = Lab(access(10), access(10))
    lab.send(0, to(2, source=1))
    assert (10, 2) not in lab.fdb()


def test_dropped_frames_teach_nothing() -> None:
    lab = Lab(access(10), trunk(10, 20), access(10))
    lab.send(0, frames.ethernet(frames.reserved(0), A))
    lab.send(0, frames.ethernet(B, A, frames.tag(10)))
    lab.send(1, frames.ethernet(B, A, frames.tag(30)))
    lab.send(1, frames.ethernet(B, A)[:13])
    lab.send(0, frames.sized(B, A, 1501))
    assert lab.fdb() == {}


def test_frames_dropped_after_admission_do_teach() -> None:
    """The station is there, whether or not somebody wants its frame."""
    lab = Lab(access(10))
    lab.expect_drop(0, hello(1), "no_egress")
    assert lab.fdb() == {(10, 1): (0, DYNAMIC)}


def test_tunnel_learns_in_its_own_vlan() -> None:
    lab = Lab(tunnel(10), tunnel(10))
    lab.send(0, hello(1, vid=99))
    assert lab.fdb() == {(10, 1): (0, DYNAMIC)}


def test_learning_off() -> None:
    """Nothing is installed and nothing refreshed; the station stays unknown and is flooded to."""
    lab = Lab(access(10, learning=False), access(10), access(10))
    lab.send(0, hello(1))
    assert lab.fdb() == {}
    assert set(lab.send(1, to(1)).sent) == {0, 2}


def test_a_thousand_stations_are_a_thousand_entries() -> None:
    lab = Lab(access(10), access(10), burst=256, slots=1024)
    lab.send(0, *(hello(n) for n in range(1000)))
    assert len(lab.fdb()) == 1000
    assert len(lab.events()) == 1000


def test_repeats_are_one_entry_and_one_event() -> None:
    lab = Lab(access(10), access(10))
    lab.send(0, *[hello(1)] * 10)
    lab.send(0, *[hello(1)] * 10)
    assert lab.events() == [("learned", 10, 1, 0, -1)]


# -- ageing


def test_age_counts_from_the_last_frame() -> None:
    lab = Lab(access(10), access(10), age_ticks=10)
    lab.learn(0, 1, 2)
    lab.set_tick(6)
    lab.learn(0, 1)
    lab.set_tick(11)
    assert lab.fdb_expire(10) == 1
    assert lab.fdb() == {(10, 1): (0, DYNAMIC)}
    lab.set_tick(16)
    assert lab.fdb_expire(10) == 0
    lab.set_tick(17)
    assert lab.fdb_expire(10) == 1
    assert set(lab.send(1, to(1)).sent) == {0}


def test_being_a_destination_does_not_keep_an_entry() -> None:
    lab = Lab(access(10), access(10))
    lab.learn(0, 1)
    for tick in range(1, 12):
        lab.set_tick(tick)
        lab.send(1, to(1))
    assert lab.fdb_expire(10) == 1
    assert (10, 1) not in lab.fdb()


def test_seen_again_past_its_age_before_it_was_removed() -> None:
    lab = Lab(access(10), access(10), age_ticks=10)
    lab.learn(0, 1)
    lab.set_tick(10)
    lab.learn(0, 1)
    assert lab.events() == [("learned", 10, 1, 0, -1)]
    lab.set_tick(21)
    lab.learn(0, 1)
    assert lab.events() == [("refreshed", 10, 1, 0, -1)]
    assert lab.fdb_expire(10) == 0


def test_age_zero_never_refreshes() -> None:
    lab = Lab(access(10), access(10), age_ticks=0)
    lab.learn(0, 1)
    lab.events()
    lab.set_tick(30000)
    lab.learn(0, 1)
    assert lab.events() == []


def test_the_clock_wraps() -> None:
    """Ticks are 16 bits: an age is right across the wrap."""
    lab = Lab(access(10), access(10))
    lab.set_tick(65530)
    lab.learn(0, 1)
    lab.set_tick(65538)
    assert lab.core.tick == 2
    lab.model.tick = 2
    assert lab.fdb_expire(8) == 0
    assert lab.fdb_expire(7) == 1


def test_static_and_drop_entries_do_not_age() -> None:
    lab = Lab(access(10), access(10))
    lab.fdb_set(10, 1, 0, "static")
    lab.fdb_set(10, 2, -1, "drop")
    lab.fdb_set(10, 3, 0, "sticky")
    lab.fdb_set(10, 4, 0, "dynamic")
    lab.set_tick(1000)
    assert lab.fdb_expire(10) == 2
    assert lab.fdb() == {(10, 1): (0, "static"), (10, 2): (-1, "drop")}


# -- limits


def test_port_limit() -> None:
    lab = Lab(access(10, mac_limit=3), access(10))
    lab.events()
    verdict = lab.send(0, *(hello(n) for n in range(1, 6)))
    assert len(verdict.sent[1]) == 5  # forwarded all the same
    assert lab.fdb() == {(10, n): (0, DYNAMIC) for n in (1, 2, 3)}
    assert lab.events()[3:] == [("refused_port_limit", 10, n, 0, -1) for n in (4, 5)]
    assert lab.values(0)["not_learned"] == 2
    assert set(lab.send(1, to(1)).sent) == {0}
    assert set(lab.send(1, to(5)).sent) == {0}  # unknown: flooded, and port 0 is the only other


def test_port_limit_counts_all_vlans_of_the_port() -> None:
    lab = Lab(trunk(10, 20, mac_limit=2), access(10))
    lab.send(0, hello(1, vid=10), hello(1, vid=20), hello(2, vid=20))
    assert lab.fdb() == {(10, 1): (0, DYNAMIC), (20, 1): (0, DYNAMIC)}


def test_room_under_a_limit_comes_back() -> None:
    lab = Lab(access(10, mac_limit=1), access(10))
    for make_room in (
        lambda: lab.fdb_delete(10, 1),
        lambda: lab.fdb_flush(port=0),
        lambda: lab.fdb_flush(vid=10),
        lambda: lab.fdb_flush(),
        lambda: lab.fdb_expire(0),
    ):
        lab.learn(0, 1)
        lab.learn(0, 2)
        assert lab.fdb() == {(10, 1): (0, DYNAMIC)}
        lab.set_tick(lab.core.tick + 1)
        make_room()
        lab.learn(0, 2)
        assert lab.fdb() == {(10, 2): (0, DYNAMIC)}
        lab.fdb_flush()


def test_station_that_leaves_makes_room() -> None:
    lab = Lab(access(10, mac_limit=1), access(10))
    lab.learn(0, 1)
    lab.learn(1, 1)
    lab.learn(0, 2)
    assert lab.fdb() == {(10, 1): (1, DYNAMIC), (10, 2): (0, DYNAMIC)}


def test_move_to_a_port_at_its_limit_is_refused() -> None:
    lab = Lab(access(10, mac_limit=1), access(10))
    lab.learn(0, 1)
    lab.learn(1, 2)
    lab.events()
    lab.learn(0, 2)
    assert lab.fdb() == {(10, 1): (0, DYNAMIC)}  # where it was it is not any more: flooded, not lost
    assert lab.events() == [("refused_port_limit", 10, 2, 0, 1)]


def test_vlan_limit() -> None:
    lab = Lab(trunk(10, 20), access(10), vlan_limits={10: 2}, full_table="refuse")
    lab.send(0, *(hello(n, vid=vid) for vid in (10, 20) for n in (1, 2, 3)))
    lab.learn(1, 4)
    assert set(lab.fdb()) == {(10, 1), (10, 2), (20, 1), (20, 2), (20, 3)}
    assert [event for event in lab.events() if event[0] != "learned"] == [
        ("refused_vlan_limit", 10, 3, 0, -1),
        ("refused_vlan_limit", 10, 4, 1, -1),
    ]


def test_move_inside_a_full_vlan() -> None:
    lab = Lab(access(10), access(10), vlan_limits={10: 1})
    lab.learn(0, 1)
    lab.learn(1, 1)
    assert lab.fdb() == {(10, 1): (1, DYNAMIC)}


def test_full_table() -> None:
    lab = Lab(access(10), access(10), fdb_capacity=4, full_table="refuse")
    verdict = lab.send(0, *(hello(n) for n in range(1, 7)))
    assert len(verdict.sent[1]) == 6
    assert set(lab.fdb()) == {(10, n) for n in (1, 2, 3, 4)}
    assert lab.events()[4:] == [("refused_full", 10, n, 0, -1) for n in (5, 6)]
    lab.learn(1, 4)  # a move needs no room
    assert lab.fdb()[10, 4] == (1, DYNAMIC)
    lab.fdb_flush(port=0)
    lab.learn(0, 5, 6)
    assert set(lab.fdb()) == {(10, 4), (10, 5), (10, 6)}


def test_static_entries_do_not_count_against_limits() -> None:
    lab = Lab(access(10, mac_limit=1), access(10), vlan_limits={10: 1})
    for station in (1, 2, 3):
        lab.fdb_set(10, station, 0, "static")
    lab.learn(0, 4)
    assert len(lab.fdb()) == 4


# -- controlled mode


def test_controlled_mode_asks_first() -> None:
    lab = Lab(access(10), access(10), controlled=True)
    assert len(lab.send(0, hello(1)).sent[1]) == 1
    assert lab.fdb() == {}
    assert lab.events() == [("request", 10, 1, 0, -1)]
    lab.fdb_set(10, 1, 0, "dynamic")
    lab.send(0, hello(1))
    assert lab.events() == []
    assert lab.values(0)["not_learned"] == 1


def test_controlled_mode_asks_for_moves_too() -> None:
    lab = Lab(access(10), access(10), controlled=True)
    lab.fdb_set(10, 1, 0, "dynamic")
    lab.learn(1, 1)
    assert lab.fdb() == {(10, 1): (0, DYNAMIC)}
    assert lab.events() == [("request", 10, 1, 1, -1)]


# -- the table from outside


def test_flush_is_a_logical_and_and_spares_static_entries() -> None:
    lab = Lab(trunk(10, 20), trunk(10, 20))
    for port in (0, 1):
        for vid in (10, 20):
            lab.send(port, hello(100 * port + vid, vid=vid))
    lab.fdb_set(10, 1, 0, "static")
    lab.fdb_set(10, 2, -1, "drop")
    lab.fdb_set(10, 3, 0, "sticky")
    lab.fdb_flush(port=0, vid=10)
    assert set(lab.fdb()) == {(10, 110), (20, 20), (20, 120), (10, 1), (10, 2)}
    lab.fdb_flush(vid=20)
    assert set(lab.fdb()) == {(10, 110), (10, 1), (10, 2)}
    lab.fdb_flush(port=1)
    assert set(lab.fdb()) == {(10, 1), (10, 2)}
    lab.fdb_flush()
    lab.fdb_flush(port=0)
    assert lab.fdb() == {(10, 1): (0, "static"), (10, 2): (-1, "drop")}


def test_many_flushes() -> None:
    """More flushes than a generation number has values: no old entry comes back to life."""
    lab = Lab(access(10), access(10))
    for _again in range(300):
        lab.learn(0, 1)
        lab.fdb_flush(vid=10)
        lab.learn(0, 1)
        lab.fdb_flush(port=0)
    assert lab.fdb() == {}


def test_find_and_delete() -> None:
    lab = Lab(access(10), access(10))
    mac = frames.number(A)
    lab.set_tick(7)
    lab.learn(1, 1)
    assert lab.core.fdb_find(10, mac) == (10, mac, 1, DYNAMIC, 7)
    assert lab.core.fdb_find(20, mac) is None
    assert lab.fdb_delete(10, 1)
    assert not lab.fdb_delete(10, 1)
    assert lab.core.fdb_find(10, mac) is None


def test_set_replaces() -> None:
    lab = Lab(access(10), access(10), access(10))
    lab.learn(0, 1)
    lab.fdb_set(10, 1, 1, "static")
    assert lab.fdb() == {(10, 1): (1, "static")}
    assert set(lab.send(2, to(1)).sent) == {1}
    lab.fdb_set(10, 1, 2, "dynamic")
    lab.learn(0, 1)
    assert lab.fdb()[10, 1] == (0, DYNAMIC)


def test_set_many() -> None:
    lab = Lab(access(10), access(10), fdb_capacity=64)
    macs = [frames.number(frames.host(n)) for n in range(70)]
    done = lab.core.fdb_set_many([(10, mac, 0, "static") for mac in macs])
    assert done == [True] * 64 + [False] * 6


@pytest.mark.parametrize("address", [frames.BROADCAST, frames.group(1), bytes(6)], ids=["b", "m", "zero"])
def test_group_addresses_never_enter(address: bytes) -> None:
    bridge = _core.Bridge()
    with pytest.raises(ValueError, match="address"):
        bridge.fdb_set(10, frames.number(address), 0)
    assert bridge.fdb_entries() == []


@pytest.mark.parametrize("vid", [-1, 0, 4095, 4096])
def test_vids_out_of_range_never_enter(vid: int) -> None:
    bridge = _core.Bridge()
    with pytest.raises(ValueError, match="VID"):
        bridge.fdb_set(vid, frames.number(A), 0)


def test_full_event_ring_loses_events_and_says_so() -> None:
    """Forwarding and the table do not care (DESIGN section 3)."""
    bridge = _core.Bridge(events=64)
    ports = [bridge.open_memory(0), bridge.open_memory(1)]
    snapshot = _core.Snapshot()
    for port in ports:
        snapshot.add_port(port, PortRow(mode="access", pvid=10))
    bridge.apply(snapshot)
    ports[0].inject([hello(n) for n in range(100)])
    while bridge.turn():
        pass
    assert len(ports[1].drain()) == 100
    assert len(bridge.fdb_entries()) == 100
    events, lost = bridge.events()
    assert (len(events), lost) == (64, 36)
    assert bridge.events() == ([], 0)
    assert bridge.counters().thread["events_lost"] == 36
