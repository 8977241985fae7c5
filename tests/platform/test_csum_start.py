"""One checksum-partial tagged frame: csum_start is 38 read from a tap and 34 from AF_PACKET.

Offsets count from the first byte the reader gets, and only the tap's bytes contain the tag. Decided by
include/linux/virtio_net.h:virtio_net_hdr_from_skb (its vlan_hlen argument), which
drivers/net/tun.c:tun_put_user calls with VLAN_HLEN for a tag beside the frame, and by
net/packet/af_packet.c:packet_rcv_vnet, which calls it with 0.
"""

from __future__ import annotations

import pytest
from helpers import frames, kernel
from helpers.kernel import VnetHeader
from helpers.net import Net

pytestmark = pytest.mark.root

SEGMENT = frames.tcp(frames.host(2), frames.host(1), frames.tag(10))
VNET = VnetHeader(kernel.VNET_NEEDS_CSUM, csum_start=SEGMENT.csum_start, csum_offset=SEGMENT.csum_offset)


def test_from_a_tap(net: Net) -> None:
    tap = net.tap("t", vnet=True, offload=kernel.TUN_F_CSUM)
    net.packet_socket("t", vnet=True).send(SEGMENT.data, VNET)
    data, _tag, vnet = tap.wait()
    assert data == SEGMENT.data
    assert vnet is not None
    assert (vnet.flags, vnet.csum_start, vnet.csum_offset) == (kernel.VNET_NEEDS_CSUM, 38, 16)


def test_from_a_packet_socket(net: Net) -> None:
    net.veth("a", "b")
    receiver = net.packet_socket("b", vnet=True)
    net.packet_socket("a", vnet=True).send(SEGMENT.data, VNET)
    data, tag, vnet = receiver.wait()
    assert (data, tag) == (SEGMENT.data[:12] + SEGMENT.data[16:], (0x8100, 10))
    assert vnet is not None
    assert (vnet.flags, vnet.csum_start, vnet.csum_offset) == (kernel.VNET_NEEDS_CSUM, 34, 16)
