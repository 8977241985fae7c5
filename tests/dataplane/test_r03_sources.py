"""R3: a group, all-zero or destination-equal source address: drop `bad_source`, and nothing is learned."""

from __future__ import annotations

import pytest
from helpers import frames
from helpers.bridge import Lab, access, trunk
from model import Frame

A, B = frames.host(1), frames.host(2)

BAD = {
    "zero": (B, bytes(6)),
    "broadcast": (B, frames.BROADCAST),
    "multicast": (B, frames.group(1)),
    "reserved": (B, frames.reserved(0)),
    "equal to destination": (A, A),
    "both zero": (bytes(6), bytes(6)),
}


@pytest.mark.parametrize(("destination", "source"), BAD.values(), ids=BAD.keys())
def test_bad_source(destination: bytes, source: bytes) -> None:
    lab = Lab(access(10), access(10), trunk(10))
    lab.expect_drop(0, frames.ethernet(destination, source), "bad_source")
    lab.expect_drop(2, frames.ethernet(destination, source, frames.tag(10)), "bad_source")
    lab.expect_drop(2, Frame(frames.ethernet(destination, source), (frames.TPID_Q, 10)), "bad_source")
    assert lab.fdb() == {}
    assert lab.events() == []


def test_is_judged_before_the_destination_and_the_vlan() -> None:
    lab = Lab(trunk(10), access(10))
    lab.expect_drop(0, frames.ethernet(frames.reserved(0), bytes(6)), "bad_source")
    lab.expect_drop(0, frames.ethernet(B, A, frames.tag(30)), "vlan_not_allowed")
    lab.expect_drop(0, frames.ethernet(B, bytes(6), frames.tag(30)), "bad_source")


def test_good_neighbours_of_bad_frames_pass() -> None:
    """One bad frame in a batch does not touch the others."""
    lab = Lab(access(10), access(10))
    good = [frames.ethernet(frames.BROADCAST, A, payload=bytes([i]) * 50) for i in range(3)]
    bad = frames.ethernet(B, bytes(6))
    verdict = lab.send(0, bad, good[0], bad, good[1], good[2], bad)
    assert verdict.data == {1: good}
    assert verdict.drops == {("rx", 0, "bad_source"): 3}


def test_zero_destination_is_an_unknown_station() -> None:
    lab = Lab(access(10), access(10))
    frame = frames.ethernet(bytes(6), A)
    assert lab.send(0, frame).data == {1: [frame]}
