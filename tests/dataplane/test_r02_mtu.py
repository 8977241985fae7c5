"""R2: the MTU counts bytes behind the outer tag and EtherType, on every port; longer is `oversize`.

Super-frames are judged by their segments: test_r10_offload.
"""

from __future__ import annotations

import pytest
from helpers import frames
from helpers.bridge import Lab, access, trunk, tunnel
from model import Frame

A, B = frames.host(1), frames.host(2)


@pytest.mark.parametrize("mtu", [68, 1500, 9000, 65521])
def test_longest_untagged_frame(mtu: int) -> None:
    lab = Lab(access(10, mtu=mtu), access(10, mtu=mtu))
    frame = frames.sized(frames.BROADCAST, A, mtu)
    assert lab.send(0, frame).data == {1: [frame]}
    lab.expect_drop(0, frames.sized(frames.BROADCAST, A, mtu + 1), "oversize")


@pytest.mark.parametrize("tpid", [frames.TPID_Q, frames.TPID_AD])
def test_longest_tagged_frame_is_four_bytes_longer(tpid: int) -> None:
    lab = Lab(trunk(10, tpid=tpid), access(10))
    tag = frames.tag(10, tpid=tpid)
    assert len(frames.sized(frames.BROADCAST, A, 1500, tag)) == 1518
    assert lab.send(0, frames.sized(frames.BROADCAST, A, 1500, tag)).data == {
        1: [frames.sized(frames.BROADCAST, A, 1500)]
    }
    lab.expect_drop(0, frames.sized(frames.BROADCAST, A, 1501, tag), "oversize")
    lab.expect_drop(0, Frame(frames.sized(frames.BROADCAST, A, 1501), (tpid, 10)), "oversize")


def test_priority_tag_is_a_tag() -> None:
    lab = Lab(access(10), access(10))
    frame = frames.sized(frames.BROADCAST, A, 1500, frames.tag(0, pcp=5))
    assert lab.send(0, frame).data == {1: [frames.sized(frames.BROADCAST, A, 1500)]}


@pytest.mark.parametrize("l3_len", [1496, 1497])
def test_second_tag_is_payload(l3_len: int) -> None:
    lab = Lab(trunk(10), trunk(10))
    frame = frames.sized(frames.BROADCAST, A, l3_len, frames.tag(10), frames.tag(20))
    if l3_len + 4 <= 1500:
        assert lab.send(0, frame).data == {1: [frame]}
    else:
        lab.expect_drop(0, frame, "oversize")


@pytest.mark.parametrize("l3_len", [1496, 1497])
@pytest.mark.parametrize("beside", [False, True], ids=["inline", "beside"])
def test_tag_on_a_tunnel_port_is_payload(l3_len: int, beside: bool) -> None:
    lab = Lab(tunnel(10), tunnel(10))
    inline = frames.sized(frames.BROADCAST, A, l3_len, frames.tag(20))
    frame = Frame(frames.sized(frames.BROADCAST, A, l3_len), (frames.TPID_Q, 20)) if beside else inline
    if l3_len + 4 <= 1500:
        assert lab.send(0, frame).data == {1: [inline]}
    else:
        lab.expect_drop(0, frame, "oversize")


def test_egress_port_with_a_smaller_mtu() -> None:
    """The flood reaches the ports that can take it; the others refuse their copy, counted there."""
    lab = Lab(access(10, mtu=9000), access(10, mtu=1500), access(10, mtu=9000), trunk(10, mtu=1500))
    frame = frames.sized(frames.BROADCAST, A, 1501)
    verdict = lab.send(0, frame)
    assert verdict.data == {2: [frame]}
    assert verdict.drops == {("tx", 1, "oversize"): 1, ("tx", 3, "oversize"): 1}

    lab.learn(1, 2)
    lab.expect_refusal(0, frames.sized(B, A, 1501), 1, "oversize")
    assert lab.send(0, frames.sized(B, A, 1500)).data == {1: [frames.sized(B, A, 1500)]}


def test_too_long_frames_teach_nothing() -> None:
    lab = Lab(access(10), access(10))
    lab.expect_drop(0, frames.sized(frames.BROADCAST, A, 1501), "oversize")
    assert lab.fdb() == {}


@pytest.mark.parametrize("l3_len", [1969, 1970, 1971, 1972, 4000, 65521])
def test_frames_longer_than_one_buffer(l3_len: int) -> None:
    """Around and beyond what fits one head buffer of the core, every byte arrives, in every form."""
    lab = Lab(access(10, mtu=65521), access(10, mtu=65521), trunk(10, mtu=65521))
    frame = frames.sized(frames.BROADCAST, A, l3_len)
    assert lab.send(0, frame).data == {1: [frame], 2: [frame[:12] + frames.tag(10) + frame[12:]]}
