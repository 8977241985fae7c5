"""The tags a frame has outside: native tagged or not, priority tags, default PCP, VLAN translation (R1, R2, R5, R6).

Frames here are made and read by scapy, as a second opinion on the bytes.
"""

from __future__ import annotations

import pytest
from helpers import frames
from helpers.bridge import Lab, access, trunk, tunnel
from model import Frame, Offload, PortConfig
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether
from scapy.packet import Packet, Raw

from bridge.core import _core
from bridge.core.values import PortRow

A, B = frames.host(1), frames.host(2)
PAYLOAD = Raw(bytes(range(64)))


def packet(*tags: Packet, ethertype: int = frames.ETHERTYPE, payload: Packet = PAYLOAD) -> bytes:
    """A broadcast with these tags, outermost first."""
    layers: Packet = Ether(src=A, dst=frames.BROADCAST)
    for tag in tags:
        layers /= tag
    layers.lastlayer().type = ethertype
    return bytes(layers / payload)


def mapped(*maps: str, native: int = 0, also: tuple[int, ...] = (), **options: object) -> PortConfig:
    """A trunk with VLAN translation as the configuration writes it: WIRE:VLAN."""
    found = []
    for text in maps:
        wire, _, vid = text.partition(":")
        outer, _, inner = wire.partition(".")
        found.append((int(outer), int(inner or 0), int(vid)))
    vids = {vid for _, _, vid in found} | {*also}
    return trunk(*sorted(vids), native=native, translations=tuple(found), **options)


# -- native VLAN and priority tags


def test_native_frames_leave_tagged_and_come_in_any_way() -> None:
    lab = Lab(access(10), trunk(20, native=10, native_tagged=True))
    assert lab.send(0, packet()).data == {1: [packet(Dot1Q(vlan=10))]}
    for sent in (packet(), packet(Dot1Q(vlan=0)), packet(Dot1Q(vlan=10))):
        assert lab.send(1, sent).data == {0: [packet()]}


def test_a_tagged_native_vlan_has_room_for_inner_tags() -> None:
    lab = Lab(trunk(10), trunk(20, native=10, native_tagged=True))
    double = packet(Dot1Q(vlan=10), Dot1Q(vlan=30))
    assert lab.send(0, double).data == {1: [double]}


@pytest.mark.parametrize("pcp", [0, 5])
@pytest.mark.parametrize("dei", [0, 1])
@pytest.mark.parametrize(
    "untagged", [access, lambda vid, **to: trunk(20, native=vid, **to)], ids=["access", "native"]
)
def test_priority_tags(untagged, pcp: int, dei: int) -> None:
    policies = ["never", "if_nonzero", "always"]
    lab = Lab(trunk(10), *(untagged(10, priority_tags=policy) for policy in policies))
    tag = packet(Dot1Q(vlan=0, prio=pcp, dei=dei))
    assert lab.send(0, packet(Dot1Q(vlan=10, prio=pcp, dei=dei))).data == {
        1: [packet()],
        2: [tag if pcp or dei else packet()],
        3: [tag],
    }


def test_priority_tags_have_the_tpid_of_the_port() -> None:
    lab = Lab(trunk(10), access(10, priority_tags="always", tpid=frames.TPID_AD))
    assert lab.send(0, packet(Dot1Q(vlan=10, prio=3))).data == {1: [packet(Dot1AD(vlan=0, prio=3))]}


def test_no_tag_hides_behind_a_priority_tag() -> None:
    """Who takes the priority tag off would find a tag with a VID: the same hop as without it."""
    lab = Lab(trunk(10), access(10, priority_tags="always"))
    lab.expect_refusal(0, packet(Dot1Q(vlan=10), Dot1Q(vlan=20)), 1, "inner_tag")


def test_a_known_station_gets_its_priority_tag_too() -> None:
    lab = Lab(trunk(10), access(10, priority_tags="if_nonzero"))
    lab.learn(1, 2)
    sent = frames.ethernet(B, A, frames.tag(10, 6))
    assert lab.send(0, sent).data == {1: [frames.ethernet(B, A, frames.tag(0, 6))]}


def test_default_pcp_is_for_frames_without_any_tag() -> None:
    lab = Lab(access(10, default_pcp=5), trunk(10))
    assert lab.send(0, packet()).data == {1: [packet(Dot1Q(vlan=10, prio=5))]}
    assert lab.send(0, packet(Dot1Q(vlan=0, prio=0))).data == {1: [packet(Dot1Q(vlan=10, prio=0))]}
    assert lab.send(0, packet(Dot1Q(vlan=0, prio=2, dei=1))).data == {
        1: [packet(Dot1Q(vlan=10, prio=2, dei=1))]
    }


def test_default_pcp_of_native_and_tunnel_ports() -> None:
    lab = Lab(trunk(20, native=10, default_pcp=7), tunnel(10, default_pcp=3), trunk(10))
    assert lab.send(0, packet()).data[2] == [packet(Dot1Q(vlan=10, prio=7))]
    assert lab.send(0, packet(Dot1Q(vlan=10, prio=1))).data[2] == [packet(Dot1Q(vlan=10, prio=1))]
    customer = Dot1Q(vlan=30, prio=1)
    assert lab.send(1, packet(customer)).data[2] == [packet(Dot1Q(vlan=10, prio=3), customer)]


def test_a_tag_of_another_tpid_counts_as_none() -> None:
    lab = Lab(access(10, default_pcp=4), trunk(10))
    assert lab.send(0, packet(Dot1AD(vlan=7, prio=1))).data == {
        1: [packet(Dot1Q(vlan=10, prio=4), Dot1AD(vlan=7, prio=1))]
    }


# -- translation: every rewrite


def test_one_to_one() -> None:
    lab = Lab(mapped("100:10"), trunk(10), access(10))
    wire, own = packet(Dot1Q(vlan=100, prio=6, dei=1)), packet(Dot1Q(vlan=10, prio=6, dei=1))
    assert lab.send(0, wire).data == {1: [own], 2: [packet()]}
    assert lab.send(1, own).data == {0: [wire], 2: [packet()]}
    assert lab.send(2, packet()).data == {0: [packet(Dot1Q(vlan=100))], 1: [packet(Dot1Q(vlan=10))]}


def test_one_to_two_and_back() -> None:
    """The inner tag carries the same PCP and DEI out; on the way in the outer one counts."""
    lab = Lab(mapped("200.30:20"), trunk(20))
    own = packet(Dot1Q(vlan=20, prio=5, dei=1))
    assert lab.send(1, own).data == {
        0: [packet(Dot1Q(vlan=200, prio=5, dei=1), Dot1Q(vlan=30, prio=5, dei=1))]
    }
    assert lab.send(0, packet(Dot1Q(vlan=200, prio=5, dei=1), Dot1Q(vlan=30, prio=2))).data == {1: [own]}


def test_two_to_two() -> None:
    lab = Lab(mapped("200.30:20"), mapped("300.40:20", tpid=frames.TPID_AD))
    one = packet(Dot1Q(vlan=200, prio=1), Dot1Q(vlan=30, prio=1))
    other = packet(Dot1AD(vlan=300, prio=1), Dot1Q(vlan=40, prio=1))
    assert lab.send(0, one).data == {1: [other]}
    assert lab.send(1, other).data == {0: [one]}


def test_two_to_one_to_two_with_tags_behind() -> None:
    """What is behind the tags of the VLAN is payload, whatever it looks like."""
    lab = Lab(mapped("200.30:20"), mapped("100:20"))
    rest = (Dot1Q(vlan=7, prio=3), Dot1AD(vlan=8))
    two, one = packet(Dot1Q(vlan=200), Dot1Q(vlan=30), *rest), packet(Dot1Q(vlan=100), *rest)
    assert lab.send(0, two).data == {1: [one]}
    assert lab.send(1, one).data == {0: [two]}


def test_two_vlans_change_places() -> None:
    lab = Lab(mapped("10:20", "20:10"), trunk(10, 20))
    assert lab.send(0, packet(Dot1Q(vlan=10))).data == {1: [packet(Dot1Q(vlan=20))]}
    assert lab.send(1, packet(Dot1Q(vlan=10))).data == {0: [packet(Dot1Q(vlan=20))]}


def test_vlans_that_are_not_mapped_keep_their_own_vid() -> None:
    lab = Lab(mapped("100:10", also=(40,), native=1), trunk(10, 40, 100, native=1))
    for sent in (packet(Dot1Q(vlan=40)), packet()):
        assert lab.send(0, sent).data == {1: [sent]}


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ((Dot1Q(vlan=10),), "vlan_not_allowed"),  # VLAN 10 is 100 outside
        ((Dot1Q(vlan=20),), "vlan_not_allowed"),
        ((Dot1Q(vlan=200),), "vlan_not_allowed"),  # needs an inner tag
        ((Dot1Q(vlan=200), Dot1Q(vlan=31)), "vlan_not_allowed"),
        ((Dot1Q(vlan=200), Dot1Q(vlan=0)), "vlan_not_allowed"),
        ((Dot1Q(vlan=200), Dot1AD(vlan=30)), "vlan_not_allowed"),
        ((Dot1Q(vlan=4095), Dot1Q(vlan=30)), "bad_vid"),
        ((), "vlan_not_allowed"),
    ],
)
def test_what_no_vlan_has_outside(tags: tuple[Packet, ...], reason: str) -> None:
    lab = Lab(mapped("100:10", "200.30:20"), access(10), access(20))
    lab.expect_drop(0, packet(*tags), reason)


def test_an_inner_tag_cut_short() -> None:
    lab = Lab(mapped("200.30:20"), access(20))
    whole = packet(Dot1Q(vlan=200), Dot1Q(vlan=30), payload=Raw(b""))
    assert len(whole) == 22
    lab.expect_drop(0, whole[:21], "runt")
    assert set(lab.send(0, whole).sent) == {1}


def test_four_thousand_double_tags() -> None:
    """Every VLAN under tags of its own: no two share a place, whatever the hash does."""
    maps = tuple((1 + vid % 7, 4094 - vid // 7, vid) for vid in range(1, 4095))
    lab = Lab(trunk(*range(1, 4095), translations=maps), trunk(*range(1, 4095)))
    for outer, inner, vid in (*maps[:9], *maps[2000:2009], *maps[-9:]):
        wire = packet(Dot1Q(vlan=outer), Dot1Q(vlan=inner))
        assert lab.send(0, wire).data == {1: [packet(Dot1Q(vlan=vid))]}
        assert lab.send(1, packet(Dot1Q(vlan=vid))).data == {0: [wire]}


@pytest.mark.parametrize(
    "translations",
    [
        ((100, 0, 10), (100, 0, 20)),  # two VLANs on one tag
        ((100, 0, 10), (100, 30, 20)),  # single and double
        ((100, 30, 20), (100, 0, 10)),
        ((100, 30, 10), (100, 30, 20)),
        ((20, 0, 10),),  # VLAN 20 stands for itself
        ((100, 0, 30),),  # not carried
    ],
)
def test_the_core_refuses_what_cannot_be_told_apart(translations) -> None:
    core = _core.Bridge(fdb_capacity=64)
    port = core.open_memory(0)
    with pytest.raises(ValueError, match="VLAN"):
        _core.Snapshot().add_port(port, PortRow(mode="trunk", vids=(10, 20), translations=translations))


# -- lengths, room, offload


def test_the_second_tag_of_a_vlan_is_payload_to_the_mtu() -> None:
    """R2: 1500 bytes of layer 3 fit under one tag; under two, the second one is among them."""
    lab = Lab(mapped("200.30:20"), trunk(20))
    longest = frames.ethernet(B, A, frames.tag(20), payload=1496)
    assert [len(data) for data in lab.send(1, longest).data[0]] == [1518]
    lab.expect_refusal(1, frames.ethernet(B, A, frames.tag(20), payload=1497), 0, "oversize")
    double = (frames.tag(200), frames.tag(30))
    assert [len(data) for data in lab.send(0, frames.ethernet(B, A, *double, payload=1496)).data[1]] == [1514]
    lab.expect_drop(0, frames.ethernet(B, A, *double, payload=1497), "oversize")


@pytest.mark.parametrize("headroom", [0, 4, 7, 8])
def test_two_tags_need_room_for_both(headroom: int) -> None:
    lab = Lab(access(20), mapped("200.30:20"))
    if headroom < 8:
        lab.expect_refusal(0, packet(), 1, "no_headroom", headroom=headroom)
    else:
        assert len(lab.send(0, packet(), headroom=headroom).data[1]) == 1


@pytest.mark.parametrize("version", [4, 6])
def test_offload_moves_with_both_tags(version: int) -> None:
    lab = Lab(mapped("200.30:20"), trunk(20), access(20))
    segment = frames.tcp(B, A, frames.tag(200), frames.tag(30), payload_len=4000, version=version)
    offload = Offload(
        True, segment.csum_start, 16, gso=f"tcp{version}", gso_size=1400, hdr_len=segment.hdr_len
    )
    sent = lab.send(0, Frame(segment.data, None, offload)).sent
    for port, by in ((1, 4), (2, 8)):
        (frame,) = sent[port]
        moved = (segment.csum_start - by, segment.hdr_len - by)
        assert (frame.offload.csum_start, frame.offload.hdr_len) == moved
    plain = frames.tcp(B, A, frames.tag(20), payload_len=4000, version=version)
    offload = offload._replace(csum_start=plain.csum_start, hdr_len=plain.hdr_len)
    (frame,) = lab.send(1, Frame(plain.data, None, offload)).sent[0]
    assert (frame.offload.csum_start, frame.offload.hdr_len) == (plain.csum_start + 4, plain.hdr_len + 4)


def test_a_super_frame_is_cut_under_two_tags() -> None:
    lab = Lab(access(20), mapped("200.30:20"), no_vnet=[1])
    segment = frames.tcp(B, A, payload_len=4000)
    offload = Offload(True, segment.csum_start, 16, gso="tcp4", gso_size=1400, hdr_len=segment.hdr_len)
    pieces = lab.send(0, Frame(segment.data, None, offload)).data[1]
    assert [data[12:20].hex() for data in pieces] == ["810000c88100001e"] * 3


# -- floods in many forms


def many_forms(n: int) -> list[PortConfig]:
    """Trunks that all want VLAN 20 under tags of their own."""
    return [mapped(f"{200 + i}.{30 + i % 3}:20" if i % 2 else f"{200 + i}:20") for i in range(n)]


@pytest.mark.parametrize("burst", [1, 2, 64])
@pytest.mark.parametrize("n", [3, 9, 40])
def test_more_forms_than_there_are_heads(n: int, burst: int) -> None:
    """Each port gets every frame in its own form and in order, though heads for all of them there are none."""
    lab = Lab(trunk(20), access(20), trunk(20, tpid=frames.TPID_AD), *many_forms(n), burst=burst)
    lab.learn(1, 9)
    to_known = frames.ethernet(frames.host(9), A, frames.tag(20))
    sent = [
        to_known if i % 3 == 2 else frames.ethernet(frames.BROADCAST, A, frames.tag(20), payload=46 + i)
        for i in range(64)
    ]
    verdict = lab.send(0, *sent)
    assert verdict.drops == {}
    assert {index: len(got) for index, got in verdict.sent.items()} == {1: 64} | dict.fromkeys(
        range(2, n + 3), 43
    )


def test_many_forms_of_super_frames() -> None:
    """Tails and long heads are shared by all forms; ports without vnet header cut theirs."""
    lab = Lab(trunk(20), *many_forms(12), access(20), no_vnet=[3, 4, 13], burst=2)
    segment = frames.tcp(frames.BROADCAST, A, frames.tag(20), payload_len=5000)
    offload = Offload(True, segment.csum_start, 16, gso="tcp4", gso_size=1400, hdr_len=segment.hdr_len)
    verdict = lab.send(0, *[Frame(segment.data, None, offload)] * 6)
    assert verdict.drops == {}
    assert {index: len(got) for index, got in verdict.sent.items()} == {
        index: 24 if index in (3, 4, 13) else 6 for index in range(1, 14)
    }
