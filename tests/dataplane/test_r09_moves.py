"""R9: a station seen on a new port moves on that frame; static and sticky entries stay where they are."""

from __future__ import annotations

import pytest
from helpers import frames
from helpers.bridge import Lab, access, trunk

A, B = frames.host(1), frames.host(2)
HELLO = frames.ethernet(frames.BROADCAST, A)


def to_a(source: bytes = B) -> bytes:
    return frames.ethernet(A, source)


def test_moves_on_the_first_frame_there_and_back() -> None:
    """A to B to A: a failover and its fail-back, no damping (OVS would lock the entry for 5 s)."""
    lab = Lab(access(10), access(10), access(10))
    for port in (0, 1, 0, 1):
        lab.send(port, HELLO)
        assert lab.fdb() == {(10, 1): (port, "dynamic")}
        assert set(lab.send(2, to_a()).sent) == {port}
        lab.fdb_delete(10, 2)
    assert [event for event in lab.events() if event[2] == 1] == [
        ("learned", 10, 1, 0, -1),
        ("moved", 10, 1, 1, 0),
        ("moved", 10, 1, 0, 1),
        ("moved", 10, 1, 1, 0),
    ]
    assert (lab.values(0)["moved"], lab.values(1)["moved"]) == (1, 2)


def test_unicast_moves_too() -> None:
    lab = Lab(access(10), access(10), access(10))
    lab.learn(0, 1)
    lab.learn(2, 2)
    lab.send(1, frames.ethernet(B, A))
    assert lab.fdb()[10, 1] == (1, "dynamic")


def test_move_in_one_vlan_leaves_the_other() -> None:
    lab = Lab(trunk(10, 20), trunk(10, 20))
    lab.learn(0, 1, vid=10)
    lab.learn(0, 1, vid=20)
    lab.learn(1, 1, vid=20)
    assert lab.fdb() == {(10, 1): (0, "dynamic"), (20, 1): (1, "dynamic")}


def test_ports_served_in_one_turn() -> None:
    """A turn serves ports in the order of their index, each turn from one further on; the last one has the station."""
    lab = Lab(access(10), access(10), access(10))
    holders = []
    for _ in range(3):
        lab.inject(1, HELLO)
        lab.inject(0, HELLO)
        lab.turn()
        holders.append(lab.fdb()[10, 1][0])
    assert sorted(holders) == [0, 1, 1]  # 0 and 1 in a row, 2 between them once


@pytest.mark.parametrize("kind", ["static", "sticky"])
def test_fixed_entry_drops_its_address_elsewhere(kind: str) -> None:
    lab = Lab(access(10), access(10), access(10))
    lab.fdb_set(10, 1, 0, kind)
    lab.expect_drop(1, HELLO, "static_move")
    assert lab.fdb() == {(10, 1): (0, kind)}
    assert lab.events() == [("static_move", 10, 1, 1, -1)]
    assert set(lab.send(0, HELLO).sent) == {1, 2}
    assert set(lab.send(2, to_a()).sent) == {0}


@pytest.mark.parametrize("kind", ["static", "sticky"])
def test_fixed_entry_forwards_by_policy(kind: str) -> None:
    lab = Lab(access(10), access(10), access(10), static_move="forward")
    lab.fdb_set(10, 1, 0, kind)
    assert set(lab.send(1, HELLO).sent) == {0, 2}
    assert lab.fdb() == {(10, 1): (0, kind)}
    assert lab.events() == [("static_move", 10, 1, 1, -1)]
    assert set(lab.send(2, to_a()).sent) == {0}


def test_fixed_entry_binds_ports_that_do_not_learn() -> None:
    """Switching learning off on a port must not open a way around an address that is fixed elsewhere."""
    lab = Lab(access(10), access(10, learning=False), access(10))
    lab.fdb_set(10, 1, 0, "static")
    lab.expect_drop(1, HELLO, "static_move")


def test_fixed_entry_in_another_vlan_does_not_matter() -> None:
    lab = Lab(access(10), access(20), access(20))
    lab.fdb_set(10, 1, 0, "static")
    assert lab.send(1, HELLO).data == {2: [HELLO]}


def test_sticky_entry_is_flushed_and_then_free() -> None:
    lab = Lab(access(10), access(10))
    lab.fdb_set(10, 1, 0, "sticky")
    lab.fdb_flush(port=0)
    lab.send(1, HELLO)
    assert lab.fdb() == {(10, 1): (1, "dynamic")}


def test_sticky_entry_is_refreshed_by_its_own_port_only() -> None:
    lab = Lab(access(10), access(10), static_move="forward")
    lab.fdb_set(10, 1, 0, "sticky")
    lab.set_tick(5)
    lab.send(1, HELLO)
    assert lab.fdb_expire(4) == 1
    lab.fdb_set(10, 1, 0, "sticky")
    lab.set_tick(10)
    lab.send(0, HELLO)
    assert lab.fdb_expire(4) == 0


def test_entries_of_a_flushed_port_vanish() -> None:
    lab = Lab(access(10), access(10), access(10))
    lab.learn(0, 1)
    lab.learn(1, 2)
    lab.fdb_flush(port=0)
    assert lab.fdb() == {(10, 2): (1, "dynamic")}
    assert set(lab.send(2, to_a(frames.host(3))).sent) == {0, 1}
