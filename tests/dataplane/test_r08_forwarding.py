"""R8: known unicast goes to its port; everything else to every member its flags and isolation allow."""

from __future__ import annotations

import pytest
from helpers import frames
from helpers.bridge import Lab, access, trunk

A, B = frames.host(1), frames.host(2)
UNKNOWN, MULTICAST, BROADCAST = frames.host(99), frames.group(1), frames.BROADCAST
FLAGS = {"flood_unknown": UNKNOWN, "flood_multicast": MULTICAST, "flood_broadcast": BROADCAST}


def frame_to(destination: bytes, source: bytes = A) -> bytes:
    return frames.ethernet(destination, source)


# -- known unicast


def test_known_unicast_goes_to_one_port() -> None:
    lab = Lab(access(10), access(10), access(10))
    lab.learn(2, 2)
    assert lab.send(0, frame_to(B)).data == {2: [frame_to(B)]}
    assert lab.values(0)["copies"] == 0


def test_known_unicast_ignores_flood_flags() -> None:
    lab = Lab(access(10), access(10, flood_unknown=False, flood_multicast=False, flood_broadcast=False))
    lab.learn(1, 2)
    assert lab.send(0, frame_to(B)).data == {1: [frame_to(B)]}


def test_nothing_returns_where_it_came_from() -> None:
    lab = Lab(access(10), access(10))
    lab.learn(0, 2)
    lab.expect_drop(0, frame_to(B), "same_port")


def test_port_that_left_the_vlan() -> None:
    """The entry is still there; the engine flushes it, and until then the frame has nowhere to go."""
    lab = Lab(access(10), trunk(10, 20), access(10))
    lab.send(1, frames.ethernet(BROADCAST, B, frames.tag(10)))
    lab.change(1, vids=(20,))
    lab.expect_drop(0, frame_to(B), "no_egress")


def test_port_whose_device_is_missing() -> None:
    """What was set by hand stays for it (R9)."""
    lab = Lab(access(10), access(10))
    lab.fdb_set(10, 2, 77)
    lab.expect_drop(0, frame_to(B), "port_down")


def test_port_that_is_not_in_the_vlan() -> None:
    lab = Lab(access(10), access(20))
    lab.fdb_set(10, 2, 1)
    lab.expect_drop(0, frame_to(B), "no_egress")


def test_port_that_is_down() -> None:
    lab = Lab(access(10), access(10), access(10))
    lab.learn(1, 2)
    lab.change(1, up=False)
    lab.expect_refusal(0, frame_to(B), 1, "port_down")
    assert set(lab.send(0, frame_to(BROADCAST)).sent) == {2}


def test_port_that_is_down_is_not_read_and_what_waited_is_out_of_date() -> None:
    lab = Lab(access(10, up=False), access(10))
    lab.inject(0, frame_to(BROADCAST))
    assert lab.turn() == 0
    assert lab.ports[0].pending == 1
    lab.change(0, up=True)
    assert lab.settle() == ({}, {})
    assert lab.core.counters().ports[0].rx_drops == {"port_down": 1}
    assert lab.send(0, frame_to(BROADCAST)).data == {1: [frame_to(BROADCAST)]}


def test_drop_entries() -> None:
    lab = Lab(access(10), access(10))
    lab.fdb_set(10, 2, -1, "drop")
    lab.expect_drop(0, frame_to(B), "fdb_drop")
    lab.expect_drop(1, frame_to(A, source=B), "fdb_drop")
    lab.expect_drop(1, frame_to(BROADCAST, source=B), "fdb_drop")
    assert lab.fdb() == {(10, 1): (0, "dynamic"), (10, 2): (-1, "drop")}


def test_drop_entries_bind_ports_that_do_not_learn() -> None:
    lab = Lab(access(10, learning=False), access(10))
    lab.fdb_set(10, 1, -1, "drop")
    lab.expect_drop(0, frame_to(BROADCAST), "fdb_drop")


# -- flooding


@pytest.mark.parametrize("destination", FLAGS.values(), ids=FLAGS.keys())
def test_flood_reaches_every_other_member(destination: bytes) -> None:
    lab = Lab(access(10), access(10), access(20), trunk(10, 20), trunk(20), trunk(20, native=10))
    verdict = lab.send(0, frame_to(destination))
    tagged = frames.ethernet(destination, A, frames.tag(10))
    assert verdict.data == {1: [frame_to(destination)], 3: [tagged], 5: [frame_to(destination)]}
    values = lab.values(0)
    assert (values["copies"], values["forwarded"], values["flooded"]) == (2, 3, 1)


@pytest.mark.parametrize("flag", FLAGS)
def test_flood_flags_are_per_class_and_per_egress_port(flag: str) -> None:
    lab = Lab(access(10, **{flag: False}), access(10, **{flag: False}), access(10))
    for other, destination in FLAGS.items():
        expected = {2} if other == flag else {1, 2}
        assert set(lab.send(0, frame_to(destination)).sent) == expected
    assert set(lab.send(2, frame_to(FLAGS[flag], source=B)).sent) == set()


@pytest.mark.parametrize("destination", FLAGS.values(), ids=FLAGS.keys())
def test_nobody_to_flood_to(destination: bytes) -> None:
    alone = Lab(access(10), access(20), trunk(20, 30))
    alone.expect_drop(0, frame_to(destination), "no_egress")
    silent = Lab(access(10), access(10, flood_unknown=False, flood_multicast=False, flood_broadcast=False))
    silent.expect_drop(0, frame_to(destination), "no_egress")
    down = Lab(access(10), access(10, up=False))
    down.expect_drop(0, frame_to(destination), "no_egress")


def test_reply_is_delivered_after_its_station_was_seen() -> None:
    """Flooding off towards B: unreachable until it speaks, then delivered exactly once (scenario 1)."""
    lab = Lab(access(10), access(10, flood_unknown=False))
    lab.expect_drop(0, frame_to(B), "no_egress")
    lab.learn(1, 2)
    assert lab.send(0, frame_to(B)).data == {1: [frame_to(B)]}


# -- isolation


def test_isolated_ports_do_not_flood_to_each_other() -> None:
    lab = Lab(access(10, isolated=True), access(10, isolated=True), access(10))
    for destination in FLAGS.values():
        assert set(lab.send(0, frame_to(destination)).sent) == {2}
        assert set(lab.send(2, frame_to(destination, source=B)).sent) == {0, 1}


def test_isolated_ports_do_not_talk_to_each_other() -> None:
    lab = Lab(access(10, isolated=True), access(10, isolated=True), access(10))
    lab.learn(1, 2)
    lab.learn(2, 3)
    lab.expect_drop(0, frame_to(B), "isolated")
    assert set(lab.send(0, frame_to(frames.host(3))).sent) == {2}
    assert set(lab.send(2, frame_to(B, source=frames.host(3))).sent) == {1}


def test_only_isolated_ports_left() -> None:
    lab = Lab(access(10, isolated=True), access(10, isolated=True))
    lab.expect_drop(0, frame_to(BROADCAST), "no_egress")


# -- many ports


@pytest.mark.parametrize("n", [63, 64, 65, 128, 256])
def test_flood_over_many_ports(n: int) -> None:
    """Port sets are words of 64 bits: the edges of a word are ports like any other."""
    lab = Lab(*(access(10) for _ in range(n)), slots=4)
    for ingress in {0, 62, 63, 64, n - 1} & set(range(n)):
        assert set(lab.send(ingress, frame_to(BROADCAST)).sent) == set(range(n)) - {ingress}


# -- queues that are full


def test_full_egress_queue_is_counted_there() -> None:
    lab = Lab(access(10), access(10), access(10), slots=4)
    lab.inject(0, *(frame_to(BROADCAST) for _ in range(4)))
    lab.turn()
    lab.turn()
    lab.inject(0, frame_to(BROADCAST), frame_to(BROADCAST))
    verdict = lab.settle()
    assert {index: len(sent) for index, sent in verdict.sent.items()} == {1: 4, 2: 4}
    assert verdict.drops == {("tx", 1, "tx_full"): 2, ("tx", 2, "tx_full"): 2}


def test_one_full_queue_does_not_touch_the_others() -> None:
    lab = Lab(access(10), access(10), access(20), access(20), slots=4)
    for _filling in range(2):
        lab.inject(0, *(frame_to(BROADCAST) for _ in range(4)))
        lab.turn()
        lab.turn()
    lab.inject(2, frame_to(BROADCAST))
    verdict = lab.settle()
    assert len(verdict.sent[3]) == 1
    assert len(verdict.sent[1]) == 4
