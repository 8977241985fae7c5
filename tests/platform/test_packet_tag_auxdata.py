"""AF_PACKET takes the outer tag out of the bytes and reports TPID and TCI beside them, for every kind of tag.

Decided by net/core/dev.c:__netif_receive_skb_core (skb_vlan_untag, net/core/skbuff.c, runs before any
packet socket sees the frame) and net/packet/af_packet.c:packet_recvmsg (struct tpacket_auxdata). The
8021q module is not needed. VID 0 counts as a tag, and only the outer one of a stack is taken.
"""

from __future__ import annotations

import struct

import pytest
from helpers.net import Net

pytestmark = pytest.mark.root

ADDRESSES = bytes.fromhex("0200000000010200000000ff")
PAYLOAD = struct.pack("!H", 0x1234) + bytes(range(46))


@pytest.mark.parametrize(
    ("tpid", "tci"),
    [(0x8100, 10), (0x8100, 0), (0x8100, 0xFFFE), (0x88A8, 10), (0x88A8, 0)],
    ids=["802.1Q", "VID 0", "PCP 7 DEI VID 4094", "802.1ad", "802.1ad VID 0"],
)
def test_outer_tag_is_beside_the_frame(net: Net, tpid: int, tci: int) -> None:
    net.veth("a", "b")
    sender, receiver = net.packet_socket("a"), net.packet_socket("b")
    sender.send(ADDRESSES + struct.pack("!HH", tpid, tci) + PAYLOAD)
    assert receiver.wait()[:2] == (ADDRESSES + PAYLOAD, (tpid, tci))


def test_inner_tag_stays(net: Net) -> None:
    net.veth("a", "b")
    sender, receiver = net.packet_socket("a"), net.packet_socket("b")
    inner = struct.pack("!HH", 0x8100, 20)
    sender.send(ADDRESSES + struct.pack("!HH", 0x88A8, 10) + inner + PAYLOAD)
    assert receiver.wait()[:2] == (ADDRESSES + inner + PAYLOAD, (0x88A8, 10))


def test_untagged_frame_has_no_tag(net: Net) -> None:
    net.veth("a", "b")
    sender, receiver = net.packet_socket("a"), net.packet_socket("b")
    sender.send(ADDRESSES + PAYLOAD)
    assert receiver.wait()[:2] == (ADDRESSES + PAYLOAD, None)
