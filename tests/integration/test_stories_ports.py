"""What a port does to frames beside its VLANs: other tags outside, priority tags, hairpin, split horizon, direction."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from helpers import frames
from helpers.daemon import Daemon, link, tap
from helpers.hosts import Host, bulk_tcp, bulk_udp, host, seen_until, stream
from helpers.lan import Lan
from helpers.net import Net

pytestmark = pytest.mark.root

A, B = frames.host(1), frames.host(2)
DOUBLE_MTU = 1504  # the second tag is payload to the MTU


def site(net: Net, start: Callable[..., Daemon], ends: list[dict[str, object]]) -> tuple[Daemon, Host, Host]:
    """Two bridges with a guest in VLAN 10 each and a wire between them; returns the first bridge and the guests."""
    spaces = [net.namespace(), net.namespace()]
    net.veth("eth1", "eth1", *spaces, mtu=DOUBLE_MTU)
    guests, bridges = [], []
    for number, (space, vlan) in enumerate(zip(spaces, ends, strict=True), 1):
        guest = net.namespace()
        uplink = link("uplink", "eth1", trunk=[10, 20], **vlan)
        bridges.append(start(space, tap("guest", guest, access=10), uplink))
        guests.append(host(guest, "tap0", 10, number, ipv6=True))
    return (bridges[0], *guests)


DOUBLE = {"map": ["200.30:10"]}
WIRES = [[DOUBLE, DOUBLE], [{"map": ["100:10"]}] * 2, [{"native": 10, "native_tagged": True}, {}]]


@pytest.mark.parametrize("ends", WIRES, ids=["two tags", "another tag", "native tagged"])
@pytest.mark.parametrize("version", [4, 6])
def test_streams_cross_under_the_tags_of_the_wire(net: Net, start, ends, version: int) -> None:
    """Super-frames and checksums that are still to be finished arrive whole, whatever tags are put before them."""
    bridge, one, other = site(net, start, ends)
    assert one.ping(other) == (3, 3)
    bulk_tcp(one, other, version)
    bulk_tcp(other, one, version)
    bulk_udp(one, other, version, 1400)
    assert not any([*one.csum_errors().values(), *other.csum_errors().values()])
    assert bridge.stats("uplink")["tx_super_frames"] > 0
    assert not any(reason != "no_egress" for _, _, reason in bridge.drops())


def test_the_bytes_on_the_wire_under_two_tags(lan: Lan) -> None:
    lan.bridge.rows("port", "set", "uplink", "map", "200.30:10,100:20")
    ten, twenty, wire = lan.wire("a"), lan.wire("c"), lan.wire("outside")
    rest = frames.ethernet(frames.BROADCAST, A)

    ten.send(rest)
    assert wire.wait_inline() == rest[:12] + bytes.fromhex("810000c88100001e") + rest[12:]
    twenty.send(rest)
    assert wire.wait_inline() == rest[:12] + frames.tag(100) + rest[12:]

    back = frames.ethernet(frames.BROADCAST, B)
    wire.send(back[:12] + frames.tag(200, 5) + frames.tag(30, 1) + back[12:])
    assert ten.wait_inline() == back
    wire.send(back[:12] + frames.tag(10) + back[12:])  # 10 has other tags outside
    wire.send(back[:12] + frames.tag(200) + frames.tag(31) + back[12:])
    wire.send(back[:12] + frames.tag(100) + back[12:])
    assert twenty.wait_inline() == back
    assert ten.waiting() == []
    assert lan.bridge.port("uplink")["filter"] == "on"
    assert lan.bridge.drops() == {("uplink", "rx", "vlan_not_allowed"): 1}, (
        "the other one ended in the kernel"
    )


def test_a_map_changes_live_and_by_reload(lan: Lan) -> None:
    wire, guest = lan.wire("outside"), lan.wire("a")
    sent = frames.ethernet(frames.BROADCAST, A)

    def outer() -> int:
        guest.send(sent)
        tag = wire.wait().tag
        return tag[1] if tag else 0

    assert outer() == 10
    lan.bridge.rows("port", "set", "uplink", "map", "100:10")
    assert outer() == 100
    assert lan.bridge.port("uplink")["map"] == "100:10"
    lan.bridge.rows("port", "set", "uplink", "trunk", "10,20,40")
    assert outer() == 100
    assert "20 on the wire would be VLAN 10 and VLAN 20" in lan.bridge.refused(
        "port", "set", "uplink", "map", "20:10"
    )
    assert outer() == 100
    lan.rewrite(uplink=link("uplink", "eth1", trunk=[10, 20], native=10, native_tagged=True))
    lan.bridge.rows("reload")
    assert outer() == 10
    lan.bridge.rows("port", "set", "uplink", "native_tagged", "default")
    assert outer() == 0
    before = lan.bridge.stats("b")
    lan.bridge.rows("port", "set", "uplink", "native", "30", "map", "default", "default_pcp", "3")
    assert outer() == 10
    assert lan.bridge.stats("b")["rx_frames"] == before["rx_frames"], "the others kept their counters"


def test_priorities_are_set_and_shown(lan: Lan) -> None:
    lan.bridge.rows("port", "set", "a", "default_pcp", "5")
    lan.bridge.rows("port", "set", "b", "priority_tags", "if_nonzero")
    a, b, wire = lan.wire("a"), lan.wire("b"), lan.wire("outside")
    sent = frames.ethernet(frames.BROADCAST, A)

    a.send(sent)
    assert wire.wait().tag == (frames.TPID_Q, frames.tci(10, 5))
    assert b.wait_inline() == sent[:12] + frames.tag(0, 5) + sent[12:]
    a.send(sent[:12] + frames.tag(0, 0) + sent[12:])
    assert wire.wait().tag == (frames.TPID_Q, 10)
    assert b.wait_inline() == sent


def test_hairpin_lets_stations_behind_one_port_meet(lan: Lan) -> None:
    """Two stations of a segment that cannot hear each other, as behind a reflective relay's peer."""
    wire = lan.wire("a")
    question, answer = frames.ethernet(frames.BROADCAST, A), frames.ethernet(A, B)
    wire.send(question)
    wire.send(answer)
    lan.bridge.wait(lambda: lan.bridge.drops() == {("a", "rx", "same_port"): 1}, "the answer to end")
    assert wire.waiting() == []

    lan.bridge.rows("port", "set", "a", "hairpin", "on")
    for frame in (question, answer):  # one by one: in a batch, known unicast leaves before floods
        wire.send(frame)
        assert wire.wait_inline() == frame


def test_split_horizon_and_direction_change_under_traffic(lan: Lan) -> None:
    a, b, far = lan.guest("a", 1), lan.guest("b", 2), lan.external(10)
    with stream(a, far) as running:
        for name in ("a", "b"):
            lan.bridge.rows("port", "set", name, "horizon", "7")
        assert a.ping(b, 1) == (1, 0)
        running.wait_more(20)
        lan.bridge.rows("port", "set", "b", "horizon", "8")
        assert a.ping(b) == (3, 3)
        lan.bridge.rows("port", "set", "b", "direction", "egress")
        assert a.ping(b, 1) == (1, 0)
        running.wait_more(20)
    drops = lan.bridge.drops()
    assert drops["b", "rx", "egress_only"] > 0
    assert {row["port"]: row["horizon"] for row in lan.bridge.ask("PortShow")} == {
        "a": 7,
        "b": 8,
        "c": None,
        "uplink": None,
    }


def test_an_ingress_only_port_hears_nothing(lan: Lan) -> None:
    lan.bridge.rows("port", "set", "b", "direction", "ingress")
    a, b = lan.wire("a"), lan.wire("b")
    b.send(frames.ethernet(frames.BROADCAST, B))
    assert a.wait_inline() == frames.ethernet(frames.BROADCAST, B)
    a.send(frames.ethernet(B, A))
    a.send(frames.ethernet(frames.BROADCAST, A))
    lan.bridge.wait(lambda: lan.bridge.drops(), "the frame to end")
    assert lan.bridge.drops() == {("a", "rx", "ingress_only"): 1}
    last = frames.ethernet(frames.BROADCAST, frames.host(9))
    lan.bridge.rows("port", "set", "b", "direction", "default")
    a.send(last)
    assert seen_until(b, last) == []
