"""R5: which VLAN a frame enters, by port mode and tag; what may not enter has its reason.

Each tag is sent in both ways a port can deliver it: inline, and beside the bytes as AF_PACKET does.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from helpers import frames
from helpers.bridge import Lab, access, trunk, tunnel
from model import Frame

A = frames.host(1)
PLAIN = frames.ethernet(frames.BROADCAST, A)


def tagged(*tags: bytes) -> bytes:
    return frames.ethernet(frames.BROADCAST, A, *tags)


def inline(tag: bytes) -> Frame:
    return Frame(tagged(tag))


def beside(tag: bytes) -> Frame:
    return Frame(PLAIN, (int.from_bytes(tag[:2], "big"), int.from_bytes(tag[2:], "big")))


both_ways = pytest.mark.parametrize("carry", [inline, beside])
every_tpid = pytest.mark.parametrize("tpid", [frames.TPID_Q, frames.TPID_AD], ids=["802.1Q", "802.1ad"])
Carry = Callable[[bytes], Frame]


# -- access


def test_untagged_enters_the_access_vlan() -> None:
    lab = Lab(access(10), access(10), access(20), trunk(10, 20))
    assert lab.send(0, PLAIN).data == {1: [PLAIN], 3: [tagged(frames.tag(10))]}


@both_ways
@every_tpid
def test_priority_tag_enters_the_access_vlan_and_keeps_its_priority(carry: Carry, tpid: int) -> None:
    lab = Lab(access(10, tpid=tpid), access(10), trunk(10))
    frame = carry(frames.tag(0, pcp=5, dei=1, tpid=tpid))
    assert lab.send(0, frame).data == {1: [PLAIN], 2: [tagged(frames.tag(10, pcp=5, dei=1))]}


@both_ways
@pytest.mark.parametrize("vid", [1, 10, 20, 4094, 4095])
def test_tags_are_not_for_access_ports(carry: Carry, vid: int) -> None:
    """Not even with the VID of the port's own VLAN."""
    lab = Lab(access(10), access(10), access(20), trunk(10, 20))
    lab.expect_drop(0, carry(frames.tag(vid)), "tag_not_allowed")
    assert lab.fdb() == {}


# -- trunk


@both_ways
@every_tpid
@pytest.mark.parametrize("vid", [1, 10, 4094])
def test_listed_vid_enters_its_vlan(carry: Carry, tpid: int, vid: int) -> None:
    lab = Lab(trunk(1, 10, 4094, tpid=tpid), access(vid), access(20), trunk(vid))
    assert lab.send(0, carry(frames.tag(vid, pcp=3, tpid=tpid))).data == {
        1: [PLAIN],
        3: [tagged(frames.tag(vid, pcp=3))],
    }


@both_ways
@pytest.mark.parametrize("vid", [2, 9, 11, 4093])
def test_unlisted_vid(carry: Carry, vid: int) -> None:
    lab = Lab(trunk(1, 10, 4094), access(vid), access(10))
    lab.expect_drop(0, carry(frames.tag(vid)), "vlan_not_allowed")


@both_ways
@pytest.mark.parametrize("native", [0, 10])
def test_reserved_vid(carry: Carry, native: int) -> None:
    lab = Lab(trunk(10, native=native), access(10))
    lab.expect_drop(0, carry(frames.tag(4095)), "bad_vid")


def test_untagged_without_native_vlan() -> None:
    lab = Lab(trunk(10), access(10))
    lab.expect_drop(0, PLAIN, "vlan_not_allowed")


@both_ways
def test_priority_tag_without_native_vlan(carry: Carry) -> None:
    lab = Lab(trunk(10), access(10))
    lab.expect_drop(0, carry(frames.tag(0, pcp=5)), "vlan_not_allowed")


def test_untagged_enters_the_native_vlan() -> None:
    lab = Lab(trunk(20, native=10), access(10), access(20), trunk(10))
    assert lab.send(0, PLAIN).data == {1: [PLAIN], 3: [tagged(frames.tag(10))]}


@both_ways
def test_priority_tag_enters_the_native_vlan_and_keeps_its_priority(carry: Carry) -> None:
    lab = Lab(trunk(20, native=10), access(10), trunk(10))
    assert lab.send(0, carry(frames.tag(0, pcp=7, dei=1))).data == {
        1: [PLAIN],
        2: [tagged(frames.tag(10, pcp=7, dei=1))],
    }


@both_ways
def test_native_vlan_may_come_tagged(carry: Carry) -> None:
    """It is a member, listed or not; it leaves untagged all the same."""
    lab = Lab(trunk(20, native=10), access(10), trunk(20, native=10))
    assert lab.send(0, carry(frames.tag(10, pcp=2))).data == {1: [PLAIN], 2: [PLAIN]}


# -- a tag of another TPID is payload


@both_ways
@pytest.mark.parametrize("port", [access(10), trunk(20, native=10)], ids=["access", "native"])
def test_other_tpid_is_untagged(carry: Carry, port) -> None:
    """Its VID means nothing here, and it arrives as it was: for an 802.1Q neighbour it is no tag."""
    lab = Lab(port, access(10), trunk(10))
    foreign = frames.tag(20, pcp=6, tpid=frames.TPID_AD)
    assert lab.send(0, carry(foreign)).data == {1: [tagged(foreign)], 2: [tagged(frames.tag(10), foreign)]}


@both_ways
def test_other_tpid_on_a_trunk_without_native_vlan(carry: Carry) -> None:
    lab = Lab(trunk(10), access(10))
    lab.expect_drop(0, carry(frames.tag(10, tpid=frames.TPID_AD)), "vlan_not_allowed")


def test_other_tpid_beside_the_frame_without_headroom() -> None:
    """It cannot be put back, so the frame ends; it must not go on as if the tag had never been (R10)."""
    lab = Lab(access(10), access(10))
    frame = beside(frames.tag(20, tpid=frames.TPID_AD))
    for headroom in range(4):
        lab.expect_drop(0, frame, "no_headroom", headroom=headroom)
    assert lab.send(0, frame, headroom=4).data == {1: [tagged(frames.tag(20, tpid=frames.TPID_AD))]}


# -- tunnel


@both_ways
@pytest.mark.parametrize("vid", [0, 10, 20, 4094, 4095])
@every_tpid
def test_tunnel_takes_every_tag_as_payload(carry: Carry, vid: int, tpid: int) -> None:
    lab = Lab(tunnel(10), tunnel(10), trunk(10), tunnel(20))
    inner = frames.tag(vid, pcp=5, dei=1, tpid=tpid)
    assert lab.send(0, carry(inner)).data == {1: [tagged(inner)], 2: [tagged(frames.tag(10), inner)]}


def test_tunnel_carries_a_stack() -> None:
    lab = Lab(tunnel(10), trunk(10, tpid=frames.TPID_AD), tunnel(10))
    stack = (frames.tag(5, tpid=frames.TPID_AD), frames.tag(6), frames.tag(7))
    there = lab.send(0, tagged(*stack)).data
    outer = frames.tag(10, tpid=frames.TPID_AD)
    assert there == {1: [tagged(outer, *stack)], 2: [tagged(*stack)]}
    back = lab.send(1, frames.ethernet(A, frames.host(2), outer, *stack)).data
    assert back == {0: [frames.ethernet(A, frames.host(2), *stack)]}


def test_untagged_enters_the_tunnel_vlan() -> None:
    lab = Lab(tunnel(10), access(10), trunk(10))
    assert lab.send(0, PLAIN).data == {1: [PLAIN], 2: [tagged(frames.tag(10))]}


# -- no VLAN leaks into another (scenario 37)


@pytest.mark.parametrize(
    "destination", [frames.host(2), frames.group(1), frames.BROADCAST], ids=["u", "m", "b"]
)
@pytest.mark.parametrize("vid", [0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 4000, 4094])
def test_nothing_crosses(destination: bytes, vid: int) -> None:
    lab = Lab(access(30), trunk(30, 31, native=32), access(40), trunk(40, 41, native=42), tunnel(43))
    tags = (frames.tag(vid),) if vid else ()
    for ingress in (0, 1):
        sent = lab.send(ingress, frames.ethernet(destination, A, *tags)).sent
        assert set(sent) <= {0, 1}
