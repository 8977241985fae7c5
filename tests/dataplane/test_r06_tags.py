"""R6: the tag a frame leaves with, and payload that may not leave because it would pass for a tag.

Frames here are made and read by scapy, as a second opinion on the bytes.
"""

from __future__ import annotations

import pytest
from helpers import frames
from helpers.bridge import Lab, access, trunk, tunnel
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether
from scapy.packet import Packet, Raw

A, B = frames.host(1), frames.host(2)
PAYLOAD = Raw(bytes(range(64)))


def packet(*tags: Packet, ethertype: int = frames.ETHERTYPE) -> bytes:
    """A broadcast with these tags, outermost first."""
    layers: Packet = Ether(src=A, dst=frames.BROADCAST)
    for tag in tags:
        layers /= tag
    layers.lastlayer().type = ethertype
    return bytes(layers / PAYLOAD)


# -- tags through the bridge, byte for byte


@pytest.mark.parametrize("pcp", range(8))
@pytest.mark.parametrize("dei", [0, 1])
def test_priority_survives_from_trunk_to_trunk(pcp: int, dei: int) -> None:
    lab = Lab(trunk(10, 4094), trunk(10, 4094))
    for vid in (10, 4094):
        frame = packet(Dot1Q(vlan=vid, prio=pcp, dei=dei))
        assert lab.send(0, frame).data == {1: [frame]}


def test_inner_tags_survive_from_trunk_to_trunk() -> None:
    lab = Lab(trunk(10), trunk(10))
    for inner in (
        Dot1Q(vlan=20, prio=3),
        Dot1AD(vlan=10, dei=1),
        Dot1Q(vlan=0),
        Dot1Q(vlan=4095, prio=7, dei=1),
    ):
        frame = packet(Dot1Q(vlan=10, prio=6), inner)
        assert lab.send(0, frame).data == {1: [frame]}


def test_provider_tag_survives_between_provider_trunks() -> None:
    lab = Lab(trunk(10, tpid=frames.TPID_AD), trunk(10, tpid=frames.TPID_AD))
    frame = packet(Dot1AD(vlan=10, prio=5, dei=1), Dot1Q(vlan=20, prio=2))
    assert lab.send(0, frame).data == {1: [frame]}


def test_a_tag_takes_the_tpid_of_the_port_it_leaves_by() -> None:
    lab = Lab(trunk(10, tpid=frames.TPID_AD), trunk(10), access(10))
    assert lab.send(0, packet(Dot1AD(vlan=10, prio=5, dei=1))).data == {
        1: [packet(Dot1Q(vlan=10, prio=5, dei=1))],
        2: [packet()],
    }
    assert lab.send(1, packet(Dot1Q(vlan=10, prio=4))).data == {
        0: [packet(Dot1AD(vlan=10, prio=4))],
        2: [packet()],
    }


def test_untagged_frames_get_priority_zero() -> None:
    lab = Lab(access(10), trunk(10), trunk(10, tpid=frames.TPID_AD))
    assert lab.send(0, packet()).data == {1: [packet(Dot1Q(vlan=10))], 2: [packet(Dot1AD(vlan=10))]}


def test_every_form_at_once() -> None:
    """One flood, three forms: untagged, 802.1Q and 802.1ad, each built from the same canonical bytes."""
    lab = Lab(
        trunk(10),
        access(10),
        trunk(10),
        trunk(10, tpid=frames.TPID_AD),
        tunnel(10),
        trunk(20, native=10),
    )
    assert lab.send(0, packet(Dot1Q(vlan=10, prio=1))).data == {
        1: [packet()],
        2: [packet(Dot1Q(vlan=10, prio=1))],
        3: [packet(Dot1AD(vlan=10, prio=1))],
        4: [packet()],
        5: [packet()],
    }


# -- the double tag (VLAN hopping; CERT VU#855201)


@pytest.mark.parametrize("egress", [access(10), trunk(20, native=10)], ids=["access", "native"])
@pytest.mark.parametrize("inner", [Dot1Q(vlan=20), Dot1Q(vlan=0), Dot1AD(vlan=20)], ids=["Q", "VID 0", "AD"])
def test_second_tag_does_not_reach_a_port_that_takes_none(egress, inner: Packet) -> None:
    lab = Lab(trunk(10), egress)
    lab.expect_refusal(0, packet(Dot1Q(vlan=10), inner), 1, "inner_tag")


def test_priority_tag_in_front_of_a_tag() -> None:
    """A stack that begins with VID 0 does not smuggle its second tag in or out."""
    lab = Lab(access(10), access(10), trunk(10))
    stack = packet(Dot1Q(vlan=0), Dot1Q(vlan=20))
    verdict = lab.send(0, stack)
    assert verdict.data == {2: [packet(Dot1Q(vlan=10), Dot1Q(vlan=20))]}
    assert verdict.drops == {("tx", 1, "inner_tag"): 1}


def test_second_tag_reaches_a_tunnel_port() -> None:
    lab = Lab(trunk(10), tunnel(10), access(10))
    verdict = lab.send(0, packet(Dot1Q(vlan=10), Dot1Q(vlan=20)))
    assert verdict.data == {1: [packet(Dot1Q(vlan=20))]}
    assert verdict.drops == {("tx", 2, "inner_tag"): 1}


def test_from_a_tunnel_port_to_an_access_port() -> None:
    """The customer's tag would look like a tag of the access port's own."""
    lab = Lab(tunnel(10), access(10), access(10, tpid=frames.TPID_AD), trunk(20, native=10))
    verdict = lab.send(0, packet(Dot1Q(vlan=20)))
    assert verdict.data == {2: [packet(Dot1Q(vlan=20))]}
    assert verdict.drops == {("tx", 1, "inner_tag"): 1, ("tx", 3, "inner_tag"): 1}


def test_known_unicast_is_refused_likewise() -> None:
    lab = Lab(trunk(10), access(10))
    lab.learn(1, 2)
    lab.expect_refusal(0, frames.ethernet(B, A, frames.tag(10), frames.tag(20)), 1, "inner_tag")


def test_untagged_payload_of_another_tpid_passes() -> None:
    """To an 802.1Q access port 0x88a8 is an EtherType like any other."""
    lab = Lab(access(10), access(10), access(10, tpid=frames.TPID_AD))
    verdict = lab.send(0, packet(Dot1AD(vlan=20)))
    assert verdict.data == {1: [packet(Dot1AD(vlan=20))]}
    assert verdict.drops == {("tx", 2, "inner_tag"): 1}


def test_three_tags() -> None:
    lab = Lab(trunk(10), trunk(10), tunnel(10))
    stack = (Dot1Q(vlan=20), Dot1AD(vlan=30))
    assert lab.send(0, packet(Dot1Q(vlan=10), *stack)).data == {
        1: [packet(Dot1Q(vlan=10), *stack)],
        2: [packet(*stack)],
    }


# -- other payloads that a naive parser takes for something else


@pytest.mark.parametrize("ethertype", [0x0000, 0x05DC, 0x0600, 0x9100, 0x88E5, 0xFFFF])
def test_other_ethertypes_pass_untouched(ethertype: int) -> None:
    """Length fields (LLC), QinQ's old 0x9100, MACsec: payload."""
    lab = Lab(trunk(10), access(10), trunk(10))
    assert lab.send(0, packet(Dot1Q(vlan=10), ethertype=ethertype)).data == {
        1: [packet(ethertype=ethertype)],
        2: [packet(Dot1Q(vlan=10), ethertype=ethertype)],
    }
