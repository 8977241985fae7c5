"""A super-frame of a kind that has no virtio number wedges a TPACKET_V2 ring with PACKET_VNET_HDR for good.

net/packet/af_packet.c:tpacket_rcv marks the slot as taken (rx_owner_map) before virtio_net_hdr_from_skb refuses the
frame, and nothing but packet_set_ring clears that mark: each later frame is dropped and counted in tp_drops, while the
slot says that it is free. So: UFO, which only the user side of a tap can still make, and SCTP segmentation.

What a bridge can build on: each of these drops calls sk_data_ready, so an edge-triggered epoll set hears of it, if
packet_poll finds the slot before the next one not free (packet_previous_rx_frame). A packet socket without a ring
refuses the frame at recvmsg (EINVAL) and goes on.
"""

from __future__ import annotations

import select
import socket
import struct

import pytest
from helpers import frames, kernel
from helpers.kernel import VnetHeader
from helpers.net import Net, PacketSocket, Tap, capability, wait_until
from helpers.ring import Ring, set_ring_version

pytestmark = pytest.mark.root

GOOD = frames.ethernet(frames.host(2), frames.host(1))
UFO = frames.udp(frames.host(2), frames.host(1), payload_len=3000)
UFO_HEADER = VnetHeader(
    kernel.VNET_NEEDS_CSUM, kernel.VNET_GSO_UDP, UFO.hdr_len, 1000, UFO.csum_start, UFO.csum_offset
)


@pytest.fixture
def guest(net: Net) -> Tap:
    """A tap; what is written to it arrives at packet sockets on its device."""
    return net.tap("t", vnet=True)


@pytest.fixture
def receiver(net: Net, guest: Tap) -> PacketSocket:
    return net.packet_socket(guest.device, vnet=True)


@pytest.fixture
def ring(net: Net, receiver: PacketSocket) -> Ring:
    with capability("PACKET_VNET_HDR with a TPACKET_V2 ring"):
        set_ring_version(receiver.sock)
        ring = Ring(receiver.sock)
    net.callback(ring.close)
    return ring


def drops(sock: socket.socket) -> int:
    """tp_drops since the last look."""
    return int(struct.unpack("=II", sock.getsockopt(kernel.SOL_PACKET, kernel.PACKET_STATISTICS, 8))[1])


def test_the_ring_is_wedged_for_good(guest: Tap, receiver: PacketSocket, ring: Ring) -> None:
    guest.send(GOOD)
    assert ring.wait()[1] == GOOD
    assert drops(receiver.sock) == 0
    guest.send(UFO.data, UFO_HEADER)
    for _ in range(20):
        guest.send(GOOD)
    wait_until(lambda: drops(receiver.sock) == 21, "the kernel to drop what comes after the refused one")
    assert not ring.is_ready


@pytest.mark.parametrize("lags", [True, False], ids=["slot before is kept", "slot before is free"])
def test_an_edge_triggered_set_hears_of_a_drop(
    guest: Tap, receiver: PacketSocket, ring: Ring, lags: bool
) -> None:
    if lags:
        ring.keep_slot_before()
    with select.epoll() as poller:
        poller.register(receiver.fd, select.EPOLLIN | select.EPOLLET)
        assert bool(poller.poll(0)) == lags  # as it was registered
        for _ in range(3):
            guest.send(UFO.data, UFO_HEADER)
            assert bool(poller.poll(1 if lags else 0)) == lags
            assert poller.poll(0) == []


def test_a_socket_without_a_ring_goes_on(guest: Tap, receiver: PacketSocket) -> None:
    guest.send(GOOD)
    guest.send(UFO.data, UFO_HEADER)
    guest.send(GOOD)
    assert receiver.wait().data == GOOD
    with pytest.raises(OSError, match="Invalid argument"):
        receiver.wait()
    assert receiver.wait().data == GOOD
    assert drops(receiver.sock) == 0
