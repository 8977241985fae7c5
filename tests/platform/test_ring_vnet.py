"""PACKET_VNET_HDR works together with a TPACKET_V2 receive ring: the header lies right in front of the frame.

Decided by net/packet/af_packet.c:tpacket_rcv (reserves vnet_hdr_sz in front of tp_mac and fills it
through virtio_net_hdr_from_skb). The option must be set before the ring is made (packet_setsockopt
refuses it later).
"""

from __future__ import annotations

import pytest
from helpers import frames, kernel
from helpers.kernel import VnetHeader
from helpers.net import Net, capability
from helpers.ring import Ring, set_ring_version

pytestmark = pytest.mark.root


def test_slot_carries_offload_metadata(net: Net) -> None:
    net.veth("a", "b")
    receiver = net.packet_socket("b", vnet=True)
    with capability("PACKET_VNET_HDR with a TPACKET_V2 ring"):
        set_ring_version(receiver.sock)
        ring = Ring(receiver.sock)
    net.callback(ring.close)
    segment = frames.tcp(frames.host(2), frames.host(1), frames.tag(10))
    header = VnetHeader(
        kernel.VNET_NEEDS_CSUM, csum_start=segment.csum_start, csum_offset=segment.csum_offset
    )
    sender = net.packet_socket("a", vnet=True)
    sender.send(segment.data, header)

    slot, data, vnet = ring.wait()
    assert data == segment.data[:12] + segment.data[16:]
    assert (slot.vlan_tpid, slot.vlan_tci) == (0x8100, 10)
    assert (vnet.flags, vnet.csum_start, vnet.csum_offset) == (kernel.VNET_NEEDS_CSUM, 34, 16)
