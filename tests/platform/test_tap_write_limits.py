"""A tap's write() takes 14 to 65535 bytes and never asks for the MTU; below 14 bytes it is EINVAL.

So the bridge owns the MTU rule (R2) and must not hand on runts (R1). Decided by
drivers/net/tun.c:tun_get_user (`len < ETH_HLEN` on a tap is EINVAL; nothing compares with dev->mtu). A
frame with an 802.1Q EtherType but no room for a tag is accepted and dropped later, in
net/core/skbuff.c:skb_vlan_untag, where nobody who wrote it can see that.
"""

from __future__ import annotations

import errno

import pytest
from helpers import frames
from helpers.net import HERE, Net

pytestmark = pytest.mark.root

A, B = frames.host(1), frames.host(2)


@pytest.mark.parametrize("length", [1, 13])
def test_runt_is_refused(net: Net, length: int) -> None:
    tap = net.tap("t")
    with pytest.raises(OSError, match="Invalid argument") as refusal:
        tap.send(frames.ethernet(B, A)[:length])
    assert refusal.value.errno == errno.EINVAL


@pytest.mark.parametrize("length", [14, 1514, 1515, 9018, 65535])
def test_mtu_is_not_checked(net: Net, length: int) -> None:
    tap, seen = net.tap("t"), net.packet_socket("t")
    link = HERE.link("t")
    assert link is not None
    assert link["mtu"] == 1500
    frame = frames.sized(B, A, length - 14)
    assert tap.send(frame) == length
    assert seen.wait().data == frame


def test_cut_tag_is_accepted_and_lost(net: Net) -> None:
    tap, seen = net.tap("t"), net.packet_socket("t")
    cut = B + A + frames.tag(10)[:2] + b"\0"
    whole = frames.ethernet(B, A)
    assert tap.send(cut) == len(cut) == 15
    tap.send(whole)
    assert seen.wait().data == whole
