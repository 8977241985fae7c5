"""AF_PACKET refuses long frames with EMSGSIZE: MTU + 14 bytes, or MTU + 18 if the outer EtherType is 0x8100.

An 802.1ad tag earns no extra room: a link port whose TPID is 0x88a8 needs a device MTU four bytes
larger. Decided by net/packet/af_packet.c:packet_snd (reserve, extra_len = VLAN_HLEN,
packet_extra_vlan_len_allowed, which looks at the outer EtherType only). A short frame is refused too:
packet_parse_headers and dev_validate_header want at least an Ethernet header.
"""

from __future__ import annotations

import errno

import pytest
from helpers import frames
from helpers.net import Net

pytestmark = pytest.mark.root

A, B = frames.host(1), frames.host(2)


@pytest.mark.parametrize(
    ("tags", "limit"),
    [
        ((), 1514),
        ((frames.tag(10),), 1518),
        ((frames.tag(10), frames.tag(20)), 1518),
        ((frames.tag(10, tpid=frames.TPID_AD),), 1514),
        ((frames.tag(10, tpid=frames.TPID_AD), frames.tag(20)), 1514),
    ],
    ids=["untagged", "802.1Q", "802.1Q twice", "802.1ad", "802.1Q in 802.1ad"],
)
def test_longest_frame(net: Net, tags: tuple[bytes, ...], limit: int) -> None:
    net.veth("a", "b")
    sender, receiver = net.packet_socket("a"), net.packet_socket("b")
    header_len = 14 + 4 * len(tags)
    assert sender.send(frames.sized(B, A, limit - header_len, *tags)) == limit
    assert len(receiver.wait_inline()) == limit
    with pytest.raises(OSError, match="too long") as refusal:
        sender.send(frames.sized(B, A, limit + 1 - header_len, *tags))
    assert refusal.value.errno == errno.EMSGSIZE


def test_shortest_frame(net: Net) -> None:
    net.veth("a", "b")
    sender, receiver = net.packet_socket("a"), net.packet_socket("b")
    assert sender.send(frames.sized(B, A, 0)) == 14
    assert receiver.wait().data == frames.sized(B, A, 0)
    with pytest.raises(OSError, match="Invalid argument"):
        sender.send(frames.sized(B, A, 0)[:13])
