"""Heartbeats: which frames are some (against a slow oracle), and that their exemption has a limit."""

from __future__ import annotations

import pytest
from classes import classify
from helpers import frames, packets
from helpers.bridge import NEVER, Lab, access, check_conservation
from helpers.profiles import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from test_packet_headers import chained, chains, tags

from bridge.core._core import Bridge, Snapshot
from bridge.core.values import PortRow

LIMIT = 100
OFFERED = 6000
SECOND = 10**13  # cycles of the clock that a test turns: at the least, an hour
VRRP_GROUP = bytes.fromhex("01005e000012")
TO_GROUP = bytes.fromhex("01005e010203")


def vrrp(destination: bytes, to: str = "224.0.0.18") -> bytes:
    body = bytes.fromhex("2105640001010000c0a80001")
    return frames.padded(ip_frame(destination, to, 112, body))


def corosync(destination: bytes, to: str, port: int = 5405) -> bytes:
    return ip_frame(destination, to, 17, port.to_bytes(2, "big") * 2 + b"\0\x30\0\0" + bytes(40))


def ip_frame(destination: bytes, to: str, protocol: int, body: bytes) -> bytes:
    packet = bytearray(frames.ipv4(protocol, body))
    packet[16:20] = packets.address(to)
    return frames.ethernet(destination, frames.host(1), ethertype=0x0800, payload=bytes(packet))


# -- what passes storm control


class Guarded:
    """Ports 0 and 1 in VLAN 10; what is flooded from port 0 has a limit, and so have its heartbeats."""

    def __init__(self, limit: float = LIMIT) -> None:
        self.bridge = Bridge()
        self.ports = [self.bridge.open_memory(index) for index in range(2)]
        snapshot = Snapshot(heartbeat_rate=limit, heartbeat_burst=limit)
        for port in self.ports:
            snapshot.add_port(port, PortRow(mode="access", pvid=10))
        snapshot.add_budget(
            1,
            unit="frames",
            rate=NEVER,
            burst=LIMIT,
            action="drop",
            port=0,
            floods=["broadcast", "multicast"],
            classes=["broadcast", "multicast"],
        )
        self.bridge.apply(snapshot)

    def offer(self, frame: bytes, n: int = OFFERED) -> int:
        """Offer frames as fast as they go; returns how many came out of port 1."""
        passed = 0
        for _ in range(n // 50):
            self.ports[0].inject([frame] * 50)
            while self.bridge.turn():
                pass
            passed += len(self.ports[1].drain())
        check_conservation(self.bridge.counters().ports)
        return passed

    def told(self) -> int:
        return [event.kind for event in self.bridge.events()[0]].count("heartbeat_limit")


@pytest.mark.parametrize(
    "forged",
    [
        vrrp(frames.BROADCAST),
        vrrp(frames.BROADCAST, "255.255.255.255"),
        vrrp(TO_GROUP, "239.1.2.3"),
        corosync(frames.BROADCAST, "255.255.255.255"),
        corosync(frames.BROADCAST, "239.1.2.3"),
        corosync(TO_GROUP, "10.0.0.2"),
        corosync(frames.BROADCAST, "10.0.0.255", port=1985),
    ],
)
def test_what_only_looks_like_a_heartbeat_is_no_exception(forged: bytes) -> None:
    """A frame to all with IP protocol 112 or UDP 5405 passed any limit: 6000 of 6000 at 100."""
    bench = Guarded()
    assert bench.offer(forged) <= LIMIT + 64  # and a batch, which finds the last token
    assert bench.told() == 0


@pytest.mark.parametrize("beat", [vrrp(VRRP_GROUP), corosync(TO_GROUP, "239.1.2.3")])
def test_heartbeats_above_the_limit_of_their_port_are_ordinary_frames(beat: bytes) -> None:
    bench = Guarded(limit=1e-9)  # and 0 at once, which is less than one
    assert bench.offer(beat, 1000) <= LIMIT + 64
    assert {row.frame_class for row in bench.bridge.bill().charges if row.frames} <= {"multicast", "dropped"}
    assert bench.told() == 1


def test_within_the_limit_all_pass_and_time_brings_the_limit_back() -> None:
    bench = Guarded(limit=1000)
    beat = vrrp(VRRP_GROUP)
    assert bench.offer(beat, 1000) == 1000
    bench.bridge.shift_clock(SECOND)
    bench.bridge.turn()
    assert bench.offer(beat, 1000) == 1000
    assert bench.told() == 0
    bench.offer(beat, 3000)
    assert bench.told() == 1  # once, until the bucket is full again
    bench.bridge.shift_clock(SECOND)
    bench.bridge.turn()
    assert bench.offer(beat, 1000) == 1000
    bench.offer(beat, 3000)
    assert bench.told() == 1


def test_ordinary_frames_take_nothing_from_heartbeats() -> None:
    bench = Guarded(limit=1000)
    bench.offer(frames.ethernet(frames.BROADCAST, frames.host(1)), 2000)
    assert bench.offer(vrrp(VRRP_GROUP), 500) == 500


def test_without_a_limit_there_is_none() -> None:
    bench = Guarded(limit=0)
    assert bench.offer(vrrp(VRRP_GROUP), 4000) == 4000
    with pytest.raises(ValueError, match="rate and burst of heartbeats"):
        Snapshot(heartbeat_rate=-1)


# -- which frames are heartbeats

GROUPS_4 = ["224.0.0.18", "224.0.0.2", "224.0.0.102", "224.0.0.5", "224.0.0.6", "224.0.0.0", "239.1.2.3"]
GROUPS_6 = ["ff02::12", "ff02::66", "ff02::5", "ff02::6", "ff02::", "ff05::12", "ff02::1:12"]
UDP_PORTS = [5404, 5405, 1985, 2029, 3222, 3784, 3785, 4784, 3223, 67]


@st.composite
def beats(draw: st.DrawFn) -> bytes:
    """IP of protocols that may be heartbeats, to anywhere, behind headers, tags and SNAP, whole, cut or damaged."""
    port = draw(st.sampled_from(UDP_PORTS)).to_bytes(2, "big")
    protocol, body = draw(
        st.sampled_from(
            [
                (17, port * 2 + bytes(16)),
                (112, bytes(12)),
                (89, bytes(44)),
                (2, bytes(8)),
                (58, b"\x87" + bytes(23)),
            ]
        )
    )
    protocol, body = chained(protocol, draw(st.just([]) | chains), body)
    if draw(st.booleans()):
        packet = bytearray(frames.ipv4(protocol, body))
        packet[16:20] = packets.address(draw(st.sampled_from([*GROUPS_4, "10.0.0.2", "255.255.255.255"])))
        packet[6:8] = draw(st.sampled_from([b"@\0", b"\0\0", b"\x20\0", b"\x20\1"]))
        if words := draw(st.sampled_from([0, 0, 1, 10])):
            packet[0] += words
            packet[20:20] = bytes(4 * words)
            packet[2:4] = len(packet).to_bytes(2, "big")
        kind = 0x0800
    else:
        packet = bytearray(frames.ipv6(protocol, body))
        packet[24:40] = packets.address(draw(st.sampled_from([*GROUPS_6, "fd00::2"])))
        kind = 0x86DD
    to = draw(st.sampled_from([frames.BROADCAST, VRRP_GROUP, TO_GROUP, frames.host(2), frames.host(77)]))
    wraps = draw(st.sampled_from([[], [], []]) | tags)
    data = bytearray(frames.ethernet(to, frames.host(1), *wraps, ethertype=kind, payload=bytes(packet)))
    match draw(st.sampled_from(["whole", "whole", "padded", "cut", "damaged", "snap"])):
        case "padded":
            data += bytes(draw(st.integers(1, 60)))
        case "cut":
            data = data[: draw(st.integers(14, len(data)))]
        case "damaged":
            data[draw(st.integers(12, len(data) - 1))] = draw(st.integers(0, 255))
        case "snap":
            data[12:12] = (len(data) - 6).to_bytes(2, "big") + bytes.fromhex("aaaa03000000")
    return bytes(data)


@settings(max_examples=examples(1500), deadline=None)
@given(st.lists(beats(), min_size=1, max_size=8))
def test_classes_are_those_of_the_oracle(drawn: list[bytes]) -> None:
    """The model, beside the bridge, counts each frame under the class of tests/classes.py."""
    lab = Lab(access(10), access(10), access(10))
    lab.learn(1, 2)
    lab.send(0, *drawn)


def test_the_oracle_knows_heartbeats() -> None:
    """So that the comparison above is about something."""
    known = {frames.number(frames.host(2))}
    assert classify(vrrp(VRRP_GROUP), known) == "first_hop"
    assert classify(vrrp(frames.BROADCAST), known) == "broadcast"
    assert classify(corosync(frames.host(2), "10.0.0.2"), known) == "heartbeat"
    assert classify(corosync(frames.BROADCAST, "10.0.0.255"), known, broadcast=[5405]) == "heartbeat"
