"""Which frames go to the lane: the program in a machine of plain Python, against the slow oracle of classes."""

from __future__ import annotations

import pytest
from classes import classify
from helpers import bpf, frames, packets
from helpers.profiles import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.ports import lane

PORTS, BROADCAST = frozenset((5404, 5405)), frozenset((694,))
PROGRAM = lane.program(PORTS | BROADCAST, BROADCAST)
BEATS = {"first_hop", "heartbeat"}
TO_4 = [
    "224.0.0.18",
    "224.0.0.2",
    "224.0.0.102",
    "224.0.0.5",
    "224.0.0.6",
    "224.0.0.1",
    "239.1.2.3",
    "10.0.0.2",
    "255.255.255.255",
]
TO_6 = ["ff02::12", "ff02::66", "ff02::5", "ff02::6", "ff02::1:12", "ff05::12", "fd00::2"]
MACS = [frames.BROADCAST, bytes.fromhex("01005e000012"), frames.host(2)]
UDP_PORTS = [5404, 5405, 694, 1985, 2029, 3222, 3784, 3785, 4784, 5406, 67]


def packet(mac: bytes, to: str, protocol: int, body: bytes, options: int = 0, fragment: int = 0) -> bytes:
    is_ipv4 = "." in to
    data = bytearray(frames.ipv4(protocol, body) if is_ipv4 else frames.ipv6(protocol, body))
    at, address = 16 if is_ipv4 else 24, packets.address(to)
    data[at : at + len(address)] = address
    if is_ipv4:
        data[6:8] = fragment.to_bytes(2, "big")
        data[0] += options
        data[20:20] = bytes(4 * options)
        data[2:4] = len(data).to_bytes(2, "big")
    return frames.ethernet(mac, frames.host(1), ethertype=0x0800 if is_ipv4 else 0x86DD, payload=bytes(data))


def udp(port: int) -> bytes:
    return port.to_bytes(2, "big") * 2 + b"\0\x18\0\0" + bytes(16)


def is_whole(data: bytes) -> bool:
    said = data[16:18] if data[12:14] == b"\x08\x00" else data[18:20]
    return len(data) >= 14 + int.from_bytes(said, "big") + (0 if data[12:14] == b"\x08\x00" else 40)


def verdict(data: bytes, program: lane.Program = PROGRAM) -> int:
    """The kernel's view: from the network header on, the type of the frame beside it."""
    kind = 1 if data[:6] == frames.BROADCAST else 2 if data[0] & 1 else 3
    beside = {lane.PROTOCOL: int.from_bytes(data[12:14], "big"), lane.PACKET_TYPE: kind}
    return bpf.run(program, data[14:], beside=beside)


@st.composite
def drawn(draw: st.DrawFn) -> bytes:
    protocol, body = draw(
        st.sampled_from([(112, bytes(12)), (89, bytes(44)), (6, bytes(20)), (51, b"\x70\x04" + bytes(40))])
        | st.tuples(st.just(17), st.sampled_from(UDP_PORTS).map(udp))
    )
    data = packet(
        draw(st.sampled_from(MACS)),
        draw(st.sampled_from(TO_4 + TO_6)),
        protocol,
        body,
        draw(st.sampled_from([0, 0, 1, 10])),
        draw(st.sampled_from([0, 0x4000, 0x2000, 0x2001, 5])),
    )
    return data[: draw(st.integers(14, len(data)) | st.just(len(data)))]


@settings(max_examples=examples(2000), deadline=None)
@given(drawn())
def test_the_lane_gets_heartbeats_and_all_that_are_whole_without_extension_headers(data: bytes) -> None:
    is_beat = classify(data, {frames.number(frames.host(2))}, PORTS | BROADCAST, BROADCAST) in BEATS
    is_in_lane = verdict(data) == lane.LANE
    is_of_ipv6_in_ah = data[12:14] == b"\x86\xdd" and len(data) > 20 and data[20] == 51
    if is_beat and not is_of_ipv6_in_ah:
        assert is_in_lane
    if is_in_lane and is_whole(data):  # of one that is cut short it sees less than the bridge
        assert is_beat


@pytest.mark.parametrize(
    "ports",
    [
        frozenset(),
        PORTS,
        frozenset(range(1, 65536)),
        frozenset(range(1, 1000, 2)),
        frozenset(range(1, 60000, 2)),
    ],
)
def test_every_set_of_ports_gives_a_program_that_the_kernel_takes(ports: frozenset[int]) -> None:
    for main in (lane.MAIN, lane.SPARE):
        program = lane.program(ports, frozenset(), main)
        bpf.check(program)
        assert verdict(packet(MACS[1], "224.0.0.18", 112, bytes(12)), program) == lane.LANE
        assert verdict(packet(MACS[2], "10.0.0.2", 6, bytes(20)), program) == main
        assert verdict(b"\xff" * 12 + b"\x08\x06" + bytes(46), program) == main


def test_a_lane_that_is_not_wanted_gets_nothing() -> None:
    assert lane.nowhere(lane.SPARE) == ((lane.RETURN, 0, 0, lane.SPARE),)
