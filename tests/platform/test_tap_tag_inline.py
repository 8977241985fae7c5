"""A tap's read() gives the tag inline, also when the kernel itself carried it beside the frame.

Decided by drivers/net/tun.c:tun_put_user (writes the tag back at offset 12 when skb_vlan_tag_present).
The second test makes the kernel hold the tag beside the frame: a kernel bridge forwards what arrived on
a veth.
"""

from __future__ import annotations

import pytest
from helpers import frames
from helpers.net import HERE, Net, capability

from bridge.lab.netns import find_index

pytestmark = pytest.mark.root

TAGGED = [frames.tag(10, pcp=3), frames.tag(0, pcp=3), frames.tag(10, tpid=frames.TPID_AD)]


@pytest.mark.parametrize("tag", TAGGED, ids=["802.1Q", "VID 0", "802.1ad"])
def test_tag_sent_inline_is_read_inline(net: Net, tag: bytes) -> None:
    tap = net.tap("t")
    frame = frames.ethernet(frames.host(2), frames.host(1), tag)
    net.packet_socket("t").send(frame)
    assert tap.wait().data == frame


@pytest.mark.parametrize("tag", TAGGED, ids=["802.1Q", "VID 0", "802.1ad"])
def test_tag_beside_the_frame_is_read_inline(net: Net, tag: bytes) -> None:
    net.veth("a", "b")
    tap = net.tap("t")
    with capability("kernel bridge"):
        HERE.netlink(lambda ipr: ipr.link("add", ifname="br", kind="bridge"))
    net.callback(HERE.delete_link, "br")
    HERE.netlink(
        lambda ipr: ipr.link("set", index=find_index(ipr, "br"), br_forward_delay=0, br_mcast_snooping=0)
    )
    for device in ("b", "t"):
        HERE.netlink(lambda ipr, device=device: ipr.link(
            "set", index=find_index(ipr, device), master=find_index(ipr, "br")))  # fmt: skip
    HERE.set_link("br", state="up")
    frame = frames.ethernet(frames.host(2), frames.host(1), tag)
    net.packet_socket("a").send(frame)
    assert tap.wait_for(lambda received: received.data[6:12] == frames.host(1)).data == frame
