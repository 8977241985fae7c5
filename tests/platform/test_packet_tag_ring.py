"""A TPACKET_V2 slot reports the tag AF_PACKET took out: TCI, TPID, and two bits that say so.

Decided by net/packet/af_packet.c:tpacket_rcv (case TPACKET_V2). `snaplen` and `len` count without the
tag.
"""

from __future__ import annotations

import pytest
from helpers import frames, kernel
from helpers.net import Net, capability
from helpers.ring import Ring, set_ring_version

pytestmark = pytest.mark.root


@pytest.mark.parametrize(
    ("tpid", "vid"), [(0x8100, 10), (0x8100, 0), (0x88A8, 10)], ids=["802.1Q", "VID 0", "802.1ad"]
)
def test_slot_carries_the_tag(net: Net, tpid: int, vid: int) -> None:
    net.veth("a", "b")
    sender, receiver = net.packet_socket("a"), net.packet_socket("b")
    with capability("TPACKET_V2 receive ring"):
        set_ring_version(receiver.sock)
        ring = Ring(receiver.sock)
    net.callback(ring.close)
    plain = frames.ethernet(frames.host(2), frames.host(1))
    sender.send(frames.ethernet(frames.host(2), frames.host(1), frames.tag(vid, pcp=5, tpid=tpid)))
    sender.send(plain)

    header, data, _vnet = ring.wait()
    assert data == plain
    assert (header.len, header.snaplen) == (len(plain), len(plain))
    assert header.status & kernel.TP_STATUS_VLAN_VALID
    assert header.status & kernel.TP_STATUS_VLAN_TPID_VALID
    assert (header.vlan_tpid, header.vlan_tci) == (tpid, frames.tci(vid, pcp=5))

    header, data, _vnet = ring.wait()
    assert data == plain
    assert not header.status & kernel.TP_STATUS_VLAN_VALID
