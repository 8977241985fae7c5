"""What a socket filter of a packet socket sees of a tag, and what becomes of the frames it refuses.

Decided by net/core/filter.c:convert_bpf_extensions (SKF_AD_VLAN_TAG and its kin read vlan_tci, vlan_all and
vlan_proto, the TPID in host order) and net/packet/af_packet.c (run_filter comes before the queue or ring and
before the statistics). The outer tag is out of the bytes by then.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest
from helpers import bpf, frames, kernel
from helpers.net import Net, PacketSocket

pytestmark = pytest.mark.root

A, B = frames.host(1), frames.host(2)
END = frames.ethernet(B, A, ethertype=0x0BAD)
TAGGED = [
    frames.ethernet(B, A),
    frames.ethernet(B, A, frames.tag(10, pcp=5)),
    frames.ethernet(B, A, frames.tag(0)),
    frames.ethernet(B, A, frames.tag(10, tpid=frames.TPID_AD)),
    frames.ethernet(B, A, frames.tag(20, tpid=frames.TPID_AD), frames.tag(10)),
]
PASS, REFUSE = (bpf.RETURN, 0, 0, 0xFFFFFFFF), (bpf.RETURN, 0, 0, 0)


def equals(load: int, at: int, wanted: int) -> list[bpf.Instruction]:
    """Pass what loads `wanted`, and END."""
    ethertype = (bpf.LOAD | bpf.HALF | bpf.FRAME, 0, 0, 12)
    return [ethertype, (0x15, 2, 0, 0x0BAD), (load, 0, 0, at), (0x15, 0, 1, wanted), PASS, REFUSE]


def passed(sender: PacketSocket, receiver: PacketSocket, sent: Sequence[bytes]) -> list[int]:
    """Which of the frames arrive, by their place."""
    for number, data in enumerate(sent):
        sender.send(data + bytes([number]))
    sender.send(END)
    found = []
    while (frame := receiver.wait().data) != END:
        found.append(frame[-1])
    return found


@pytest.mark.parametrize(
    ("load", "at", "wanted", "places"),
    [
        (bpf.LOAD, bpf.AD_VLAN_TAG_PRESENT, 1, [1, 2, 3, 4]),
        (bpf.LOAD, bpf.AD_VLAN_TAG_PRESENT, 0, [0]),
        (bpf.LOAD, bpf.AD_VLAN_TAG, frames.tci(10, pcp=5), [1]),
        (bpf.LOAD, bpf.AD_VLAN_TAG, frames.tci(20), [4]),
        (bpf.LOAD, bpf.AD_VLAN_TPID, 0x8100, [1, 2]),
        (bpf.LOAD, bpf.AD_VLAN_TPID, 0x88A8, [3, 4]),
        (bpf.LOAD | bpf.HALF | bpf.FRAME, 12, 0x8100, [4]),
        (bpf.LOAD | bpf.HALF | bpf.FRAME, 14, frames.tci(10), [4]),
        (0x80, 0, len(TAGGED[0]) + 1, [0, 1, 2, 3]),
    ],
    ids=["tag", "no tag", "TCI", "outer TCI", "802.1Q", "802.1ad", "inline TPID", "inline TCI", "length"],
)
def test_a_filter_sees_the_outer_tag_beside_the_frame(
    net: Net, load: int, at: int, wanted: int, places: list[int]
) -> None:
    net.veth("a", "b")
    sender, receiver = net.packet_socket("a"), net.packet_socket("b")
    bpf.attach(receiver, equals(load, at, wanted))
    assert passed(sender, receiver, TAGGED) == places


def test_refused_frames_are_in_no_statistics(net: Net) -> None:
    net.veth("a", "b")
    sender, receiver = net.packet_socket("a"), net.packet_socket("b")
    bpf.attach(receiver, equals(bpf.LOAD, bpf.AD_VLAN_TAG_PRESENT, 0))
    assert passed(sender, receiver, TAGGED) == [0]
    statistics = receiver.sock.getsockopt(kernel.SOL_PACKET, kernel.PACKET_STATISTICS, 8)
    assert struct.unpack("=II", statistics) == (2, 0)


def test_a_filter_takes_the_place_of_another_and_keeps_what_waits(net: Net) -> None:
    net.veth("a", "b")
    sender, receiver = net.packet_socket("a"), net.packet_socket("b")
    for wanted in (0, 1):
        bpf.attach(receiver, equals(bpf.LOAD, bpf.AD_VLAN_TAG_PRESENT, wanted))
        for data in TAGGED:
            sender.send(data)
    tags = [frame.tag for frame in receiver.waiting()]
    assert tags == [
        None,
        (0x8100, frames.tci(10, pcp=5)),
        (0x8100, 0),
        (0x88A8, 10),
        (0x88A8, 20),
    ]
