"""A 64 KB TCP super-frame with an inline tag goes out through one send on AF_PACKET with PACKET_VNET_HDR.

The kernel passes it on whole where the device can segment and cuts it where it cannot, so nothing has
to be segmented in userspace. Decided by net/packet/af_packet.c:packet_snd (the MTU check is skipped
when the offload header names a GSO type), net/core/dev.c:validate_xmit_skb (skb_gso_segment) and
gso_features_check (a frame of gso_max_size bytes, 65536 by default, headers and tag included, is cut
even where the device could segment). sendmsg() is used here; sendmmsg() runs the same packet_sendmsg
per entry.
"""

from __future__ import annotations

import pytest
from helpers import frames, kernel
from helpers.kernel import VnetHeader
from helpers.net import HERE, Net, capability

pytestmark = pytest.mark.root

SUPER = frames.tcp(frames.host(2), frames.host(1), frames.tag(10, pcp=3), payload_len=65535 - 58)
MSS = 1448
VNET = VnetHeader(
    kernel.VNET_NEEDS_CSUM,
    kernel.VNET_GSO_TCPV4,
    SUPER.hdr_len,
    gso_size=MSS,
    csum_start=SUPER.csum_start,
    csum_offset=SUPER.csum_offset,
)


def test_passes_whole_where_the_device_segments(net: Net) -> None:
    net.veth("a", "b")
    receiver = net.packet_socket("b", vnet=True)
    assert net.packet_socket("a", vnet=True).send(SUPER.data, VNET) == len(SUPER.data) == 65535
    data, tag, vnet = receiver.wait()
    assert (data, tag) == (SUPER.data[:12] + SUPER.data[16:], (0x8100, frames.tci(10, pcp=3)))
    assert vnet == VNET._replace(hdr_len=54, csum_start=34)


# one byte more than passes whole; the largest IPv4 packet behind Ethernet header and tag
TOO_LONG = [65536 - 58, 65535 - 40]


@pytest.mark.parametrize("payload_len", TOO_LONG)
def test_is_cut_where_it_is_too_long_for_the_device(net: Net, payload_len: int) -> None:
    net.veth("a", "b")
    check_is_cut(
        net, frames.tcp(frames.host(2), frames.host(1), frames.tag(10, pcp=3), payload_len=payload_len)
    )


def test_is_cut_where_the_device_does_not_segment(net: Net) -> None:
    net.veth("a", "b")
    with capability("switching TSO off"):
        HERE.set_offload("a", kernel.ETHTOOL_STSO, on=False)
    check_is_cut(net, SUPER)


def check_is_cut(net: Net, super_frame: frames.Segment) -> None:
    """Every byte of the payload arrives, in order, in tagged segments of at most MSS bytes."""
    receiver, sender = net.packet_socket("b", vnet=True), net.packet_socket("a", vnet=True)
    assert sender.send(super_frame.data, VNET) == len(super_frame.data)
    payload = b""
    while len(payload) < len(super_frame.data) - super_frame.hdr_len:
        data, tag, vnet = receiver.wait()
        assert len(data) <= frames.HEADERS_TCP4 + MSS
        assert tag == (0x8100, frames.tci(10, pcp=3))
        assert vnet is not None
        assert vnet.gso_type == kernel.VNET_GSO_NONE
        payload += data[frames.HEADERS_TCP4 :]
    assert payload == super_frame.data[super_frame.hdr_len :]
