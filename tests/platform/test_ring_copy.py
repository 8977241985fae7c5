"""A frame too long for its ring slot is flagged TP_STATUS_COPY and waits whole for recv().

With PACKET_COPY_THRESH a ring of 2 KB slots serves small frames at ring speed and still receives 64 KB
super-frames. Decided by net/packet/af_packet.c:tpacket_rcv (copy_skb, queued on sk_receive_queue within
SO_RCVBUF). The slot holds the first bytes, `len` the full length, and recv() returns offload header and
frame like a plain packet socket.
"""

from __future__ import annotations

import pytest
from helpers import frames, kernel
from helpers.kernel import VnetHeader
from helpers.net import FRAME_MAX, Net, capability
from helpers.ring import Ring, set_ring_version

pytestmark = pytest.mark.root


def test_super_frame_is_fetched_by_recv(net: Net) -> None:
    net.veth("a", "b")
    receiver = net.packet_socket("b", vnet=True)
    with capability("PACKET_COPY_THRESH with a TPACKET_V2 ring"):
        set_ring_version(receiver.sock)
        receiver.sock.setsockopt(kernel.SOL_PACKET, kernel.PACKET_COPY_THRESH, FRAME_MAX)
        ring = Ring(receiver.sock)
    net.callback(ring.close)
    segment = frames.tcp(frames.host(2), frames.host(1), payload_len=60000)
    sender = net.packet_socket("a", vnet=True)
    sender.send(
        segment.data,
        VnetHeader(
            kernel.VNET_NEEDS_CSUM,
            kernel.VNET_GSO_TCPV4,
            segment.hdr_len,
            gso_size=1448,
            csum_start=segment.csum_start,
            csum_offset=segment.csum_offset,
        ),
    )

    slot, head, _vnet = ring.wait()
    assert slot.status & kernel.TP_STATUS_COPY
    assert slot.len == len(segment.data)
    assert slot.snaplen < 2048
    assert head == segment.data[: slot.snaplen]
    data, _tag, vnet = receiver.receive()
    assert data == segment.data
    assert vnet is not None
    assert (vnet.gso_type, vnet.gso_size) == (kernel.VNET_GSO_TCPV4, 1448)


def test_small_frame_is_not_copied(net: Net) -> None:
    net.veth("a", "b")
    receiver = net.packet_socket("b", vnet=True)
    with capability("PACKET_COPY_THRESH with a TPACKET_V2 ring"):
        set_ring_version(receiver.sock)
        receiver.sock.setsockopt(kernel.SOL_PACKET, kernel.PACKET_COPY_THRESH, FRAME_MAX)
        ring = Ring(receiver.sock)
    net.callback(ring.close)
    frame = frames.ethernet(frames.host(2), frames.host(1))
    net.packet_socket("a").send(frame)
    slot, data, _vnet = ring.wait()
    assert data == frame
    assert not slot.status & kernel.TP_STATUS_COPY
    assert receiver.waiting() == []
