"""R4: 01-80-C2-00-00-00..0F do not pass unless the allow mask names them (IEEE 802.1Q 8.6.3)."""

from __future__ import annotations

import pytest
from helpers import frames
from helpers.bridge import Lab, access, trunk

A = frames.host(1)


@pytest.mark.parametrize("n", range(16))
def test_reserved_by_default(n: int) -> None:
    lab = Lab(access(10), access(10))
    lab.expect_drop(0, frames.ethernet(frames.reserved(n), A), "reserved")
    assert lab.fdb() == {}


@pytest.mark.parametrize("n", range(16))
def test_mask_names_exactly_one(n: int) -> None:
    lab = Lab(access(10), access(10), reserved_pass=1 << n)
    for other in range(16):
        frame = frames.ethernet(frames.reserved(other), A)
        if other == n:
            assert lab.send(0, frame).data == {1: [frame]}
        else:
            lab.expect_drop(0, frame, "reserved")


def test_passed_ones_are_ordinary_multicast() -> None:
    lldp = frames.ethernet(frames.reserved(0x0E), A, ethertype=0x88CC)
    lab = Lab(access(10), access(10, flood_multicast=False), trunk(10), reserved_pass=1 << 0x0E)
    assert lab.send(0, lldp).data == {
        2: [frames.ethernet(frames.reserved(0x0E), A, frames.tag(10), ethertype=0x88CC)]
    }


@pytest.mark.parametrize(
    "destination",
    [
        bytes.fromhex("0180c2000010"),
        bytes.fromhex("0180c20000ff"),
        bytes.fromhex("0180c2000100"),
        bytes.fromhex("0180c3000000"),
        bytes.fromhex("0380c2000000"),
        bytes.fromhex("01000ccccccc"),
    ],
    ids=lambda address: address.hex(":"),
)
def test_neighbours_are_ordinary_multicast(destination: bytes) -> None:
    lab = Lab(access(10), access(10))
    frame = frames.ethernet(destination, A)
    assert lab.send(0, frame).data == {1: [frame]}


def test_applies_to_tagged_frames_too() -> None:
    lab = Lab(trunk(10, 20), access(10))
    lab.expect_drop(0, frames.ethernet(frames.reserved(0), A, frames.tag(10)), "reserved")
