"""R1: too short for a header, or a tag cut short: drop `runt`. What leaves is padded to 60 bytes."""

from __future__ import annotations

import pytest
from helpers import frames
from helpers.bridge import Lab, access, trunk, tunnel
from model import Frame

A, B = frames.host(1), frames.host(2)
WHOLE = frames.ethernet(B, A, payload=46)
TAGGED = frames.ethernet(B, A, frames.tag(10), payload=42)


@pytest.mark.parametrize("length", range(14))
@pytest.mark.parametrize("port", [access(10), trunk(10, native=10), tunnel(10)], ids=lambda port: port.mode)
def test_shorter_than_a_header(port, length: int) -> None:
    lab = Lab(port, access(10))
    lab.expect_drop(0, WHOLE[:length], "runt")


@pytest.mark.parametrize("length", range(14, 18))
@pytest.mark.parametrize("headroom", [0, 64])
def test_header_and_a_little_more_is_a_frame(length: int, headroom: int) -> None:
    lab = Lab(access(10), access(10))
    short = frames.sized(B, A, length - 14)
    assert lab.send(0, short, headroom=headroom).data == {1: [short + bytes(60 - length)]}


@pytest.mark.parametrize("length", range(14, 18))
@pytest.mark.parametrize("tpid", [frames.TPID_Q, frames.TPID_AD])
def test_tag_cut_short(length: int, tpid: int) -> None:
    lab = Lab(trunk(10, native=10, tpid=tpid), access(10))
    cut = frames.ethernet(B, A, frames.tag(10, tpid=tpid))[:length]
    lab.expect_drop(0, cut, "runt")


def test_nothing_behind_the_tag() -> None:
    """18 bytes: a whole tag, and its last two bytes are the EtherType of the canonical frame."""
    lab = Lab(trunk(10), access(10))
    assert lab.send(0, TAGGED[:18]).data == {1: [frames.padded(TAGGED[:12] + TAGGED[16:18])]}


@pytest.mark.parametrize("length", range(14, 18))
def test_cut_tag_of_another_tpid_is_payload(length: int) -> None:
    lab = Lab(trunk(10, native=10), trunk(10))
    cut = frames.ethernet(B, A, frames.tag(10, tpid=frames.TPID_AD))[:length]
    assert lab.send(0, cut).data == {1: [frames.padded(cut[:12] + frames.tag(10) + cut[12:])]}


@pytest.mark.parametrize("length", range(14))
def test_runt_with_its_tag_beside(length: int) -> None:
    lab = Lab(trunk(10), access(10))
    lab.expect_drop(0, Frame(WHOLE[:length], (frames.TPID_Q, 10)), "runt")


def test_header_with_its_tag_beside() -> None:
    lab = Lab(trunk(10), access(10))
    assert lab.send(0, Frame(WHOLE[:14], (frames.TPID_Q, 10))).data == {1: [frames.padded(WHOLE[:14])]}


@pytest.mark.parametrize("length", [14, 55, 56, 57, 59, 60, 61])
def test_padding_counts_the_tag(length: int) -> None:
    """60 bytes are what a wire wants of the final form, with tag or without."""
    lab = Lab(access(10), access(10), trunk(10))
    frame = frames.sized(frames.BROADCAST, A, length - 14)
    tagged = frame[:12] + frames.tag(10) + frame[12:]
    assert lab.send(0, frame).data == {1: [frame.ljust(60, b"\0")], 2: [tagged.ljust(60, b"\0")]}
    assert lab.values(1)["tx_bytes"] == max(60, length)
    assert lab.values(2)["tx_bytes"] == max(60, length + 4)


def test_padding_is_zero_where_older_bytes_lay() -> None:
    """The padding of a frame must not show what another frame left in its buffer."""
    lab = Lab(access(10), access(10), slots=1)
    lab.send(0, frames.ethernet(frames.BROADCAST, A, payload=b"\xaa" * 1000))
    assert lab.send(0, frames.sized(frames.BROADCAST, A, 0)).data == {
        1: [frames.padded(frames.sized(frames.BROADCAST, A, 0))]
    }
