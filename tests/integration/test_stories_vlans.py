"""Guests on two VLANs and a trunk: who hears whom, and what the frames look like on the wire."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Callable

import pytest
from helpers import frames
from helpers.daemon import Daemon, link, tap
from helpers.hosts import Seen, seen_until, stream
from helpers.lan import Lan
from helpers.net import Net
from scapy.layers.l2 import ARP, Dot1Q, Ether

pytestmark = pytest.mark.root

A, B, C = frames.host(1), frames.host(2), frames.host(3)


@pytest.mark.smoke
def test_guests_reach_the_hosts_of_their_vlan_both_ways(lan: Lan) -> None:
    ten, other_ten, twenty = lan.guest("a", 1), lan.guest("b", 2), lan.guest("c", 1)
    far_ten, far_twenty = lan.external(10), lan.external(20)

    pairs = [(ten, far_ten), (far_ten, ten), (ten, other_ten), (twenty, far_twenty), (far_twenty, twenty)]

    assert [one.ping(other) for one, other in pairs] == [(3, 3)] * 5
    assert lan.bridge.fdb() == {
        (10, ten.mac): ("a", "dynamic"),
        (10, other_ten.mac): ("b", "dynamic"),
        (10, far_ten.mac): ("uplink", "dynamic"),
        (20, twenty.mac): ("c", "dynamic"),
        (20, far_twenty.mac): ("uplink", "dynamic"),
    }


def test_nothing_crosses_from_one_vlan_to_another(lan: Lan) -> None:
    """Broadcast, multicast, unknown and known unicast of VLAN 10: VLAN 20 hears only its own."""
    ten, twenty, wire = lan.wire("a"), lan.wire("c"), lan.wire("outside")
    twenty.send(frames.ethernet(frames.BROADCAST, B))
    assert wire.wait().tag == (frames.TPID_Q, 20)

    for destination in (frames.BROADCAST, frames.group(1), C, B):
        ten.send(frames.ethernet(destination, A))
    wire.wait_for(lambda frame: frame.data[:6] == B)  # all four have been through
    own, last = frames.ethernet(frames.BROADCAST, C), frames.ethernet(frames.BROADCAST, A)
    for frame in (own, last):
        wire.send(frame[:12] + frames.tag(20) + frame[12:])

    assert seen_until(twenty, last) == [Seen(own, None)]


def test_a_guest_asks_for_an_address_of_the_other_vlan_in_vain(lan: Lan) -> None:
    """The question of a real stack is on the wire with its own VID and nowhere else."""
    ten, wire, question = lan.guest("a", 1), lan.wire("outside"), lan.guest("b", 2)
    lan.bridge.rows("port", "set", "b", "access", "20")
    with ten.socket(4, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"hello", (question.ip, 9))

    asked = wire.wait()

    assert (asked.tag, Ether(asked.data)[ARP].pdst) == ((frames.TPID_Q, 10), question.ip)
    assert lan.bridge.stats("b")["offered"] == 0


def test_a_guests_frames_are_tagged_once_on_the_trunk_and_bare_at_a_guest(lan: Lan) -> None:
    guest, wire = lan.wire("a"), lan.wire("outside")
    sent = frames.sized(frames.BROADCAST, A, 1500)
    guest.send(sent)

    tagged = wire.wait_inline()
    tag = Ether(tagged)[Dot1Q]
    assert (tag.vlan, tag.prio, tag.dei, tag.type) == (10, 0, 0, frames.ETHERTYPE)
    assert tagged == sent[:12] + frames.tag(10) + sent[12:]

    back = frames.sized(A, B, 1500, frames.tag(10))
    wire.send(back)
    assert guest.wait_inline() == back[:12] + back[16:]


def test_priority_is_kept(lan: Lan) -> None:
    """Priority-tagged frames (VID 0) of a guest go out with their PCP and DEI in the tag of the VLAN."""
    guest, wire = lan.wire("a"), lan.wire("outside")
    priorities = list(itertools.product(range(8), (0, 1)))

    for pcp, dei in priorities:
        guest.send(frames.ethernet(frames.BROADCAST, A, frames.tag(0, pcp, dei)))

    sent = frames.ethernet(frames.BROADCAST, A)
    assert [wire.wait()[:2] for _ in priorities] == [
        (sent, (frames.TPID_Q, frames.tci(10, pcp, dei))) for pcp, dei in priorities
    ]


def test_the_native_vlan_is_untagged_on_the_trunk(lan: Lan) -> None:
    lan.bridge.rows("port", "set", "a", "access", "30")
    guest, wire = lan.wire("a"), lan.wire("outside")

    guest.send(frames.ethernet(frames.BROADCAST, A))
    assert wire.wait() == (frames.ethernet(frames.BROADCAST, A), None, None)
    wire.send(frames.ethernet(A, B))
    assert guest.wait() == (frames.ethernet(A, B), None, None)


@pytest.mark.smoke
def test_what_a_port_does_not_take_is_dropped_by_name(lan: Lan) -> None:
    guest, wire = lan.wire("c"), lan.wire("outside")
    for tag in (frames.tag(40), frames.tag(4095), frames.tag(20) + frames.tag(7)):
        wire.send(frames.ethernet(frames.BROADCAST, B, tag))
    last = frames.ethernet(frames.BROADCAST, B)
    wire.send(frames.ethernet(frames.BROADCAST, B, frames.tag(20)))
    assert seen_until(guest, last) == []

    guest.send(frames.ethernet(frames.BROADCAST, A, frames.tag(20)))
    guest.send(frames.ethernet(frames.BROADCAST, A))
    assert wire.wait() == (frames.ethernet(frames.BROADCAST, A), (frames.TPID_Q, 20), None)

    assert lan.bridge.drops() == {
        ("c", "rx", "tag_not_allowed"): 1,
        ("c", "tx", "inner_tag"): 1,
        ("uplink", "rx", "bad_vid"): 1,
    }


def test_a_vlan_no_port_carries_ends_in_the_kernel_until_one_does_or_somebody_wants_to_know(lan: Lan) -> None:
    wire, guest = lan.wire("outside"), lan.wire("a")
    foreign = frames.ethernet(frames.BROADCAST, B, frames.tag(40))
    known = frames.ethernet(frames.BROADCAST, B, frames.tag(10))

    def send(count: int = 1) -> None:
        """Frames of VLAN 40, and then one that arrives: nothing is under way."""
        for _ in range(count):
            wire.send(foreign)
        wire.send(known)
        assert guest.wait().data == frames.ethernet(frames.BROADCAST, B)

    def seen() -> tuple[object, int, int]:
        drops = lan.bridge.drops().get(("uplink", "rx", "vlan_not_allowed"), 0)
        return lan.bridge.port("uplink")["filter"], lan.bridge.port("uplink")["rx_frames"], drops

    send(20)
    assert seen() == ("on", 1, 0)

    lan.bridge.rows("port", "set", "uplink", "kernel_filter", "off")
    send(20)
    assert seen() == ("off", 22, 20)

    lan.bridge.rows("port", "set", "uplink", "kernel_filter", "default")
    send(20)
    assert seen() == ("on", 23, 20)

    lan.bridge.rows("port", "set", "uplink", "trunk", "10,20,40")
    send()
    lan.rewrite(a=tap("a", lan.spaces["a"], access=40))  # the file lists 10 and 20 for the uplink
    lan.bridge.rows("reload")
    wire.send(foreign)
    lan.bridge.rows("port", "set", "uplink", "trunk", "10,20,40")
    wire.send(foreign)
    assert guest.wait().data == frames.ethernet(frames.BROADCAST, B)
    assert guest.waiting() == []
    assert seen() == ("on", 26, 20)


def test_changes_of_the_filter_lose_no_frame_that_the_port_carries(lan: Lan) -> None:
    far, near = lan.external(10), lan.guest("a", 1)
    with stream(far, near, interval=0.0002) as running:
        for vlans in ([10], ["1-4094"], [10, "30-4000"], [*range(2, 4094, 2)], ["5-15"]):
            lan.bridge.ask("PortSet", port="uplink", changes={"vlan": {"trunk": vlans}})
            running.wait_more(20)
            assert lan.bridge.port("uplink")["filter"] == ("off" if vlans == ["1-4094"] else "on")
        lan.bridge.ask("Reload")
        running.wait_more(20)


def test_tags_cross_from_trunk_to_trunk_byte_for_byte(net: Net, start: Callable[..., Daemon]) -> None:
    middle, left, right = net.namespace(), net.namespace(), net.namespace()
    pairs = [("eth1", "eth2", frames.TPID_Q), ("eth3", "eth4", frames.TPID_AD)]
    for one, other, _ in pairs:
        net.veth(one, one, middle, left, mtu=1508)
        net.veth(other, other, middle, right, mtu=1508)
    trunks = [link(name, name, trunk=["100-119"], tpid=tpid) for *names, tpid in pairs for name in names]
    start(middle, *trunks)

    for one, other, tpid in pairs:
        sent = frames.sized(B, A, 1400, frames.tag(110, 6, 1, tpid), frames.tag(7, 2), frames.tag(9, 1))
        receiver = net.packet_socket(other, right)
        net.packet_socket(one, left).send(sent)
        assert receiver.wait_inline() == sent
