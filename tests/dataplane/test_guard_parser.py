"""Guards against their slow oracle (tests/guards.py): packets of every kind, cut short, damaged and rearranged.

Each frame goes alone through a bridge of two memory ports; what became of it, and what was told of it, must be what the
oracle says.
"""

from __future__ import annotations

import struct
from typing import Any

import guards
import pytest
from helpers import frames, packets
from helpers.profiles import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.core import _core
from bridge.core.values import PortRow

MAC = frames.host(1)
OTHER = frames.host(2)
LINK_LOCAL, OTHER_LINK_LOCAL = "fe80::ff:fe00:1", "fe80::ff:fe00:2"  # what MAC and OTHER come to
RULES = (
    (0, bytes([10, 0, 0, 5]), 32),
    (frames.number(MAC), bytes([10, 0, 0, 6]), 32),
    (frames.number(OTHER), bytes([10, 0, 0, 7]), 32),
    (0, bytes([192, 168, 4, 0]), 22),
    (0, bytes.fromhex("20010db8" + 24 * "0"), 64),
    (frames.number(OTHER), bytes.fromhex("fd" + 29 * "0" + "7"), 128),
)

ipv4_addresses = st.sampled_from(
    ["10.0.0.5", "10.0.0.6", "10.0.0.7", "10.0.0.1", "192.168.7.255", "192.168.8.0", "0.0.0.0"]
)
ipv6_addresses = st.sampled_from(
    ["2001:db8::9", "2001:db8:0:1::9", "fd00::7", "::", LINK_LOCAL, OTHER_LINK_LOCAL, "fe80::1"]
)
stations = st.sampled_from([MAC, MAC, OTHER])
small = st.binary(max_size=30)
link_options = st.builds(packets.link_option, st.sampled_from([1, 2, 3]), stations)
odd_options = st.builds(
    lambda kind, units, rest: bytes([kind, units]) + rest, st.integers(0, 5), st.integers(0, 3), small
)
neighbours = st.builds(
    lambda message, target, options: packets.neighbour(message, target, *options),
    st.sampled_from([packets.NS, packets.NA]),
    ipv6_addresses,
    st.lists(st.one_of(link_options, link_options, odd_options), max_size=3),
)
icmp = st.builds(lambda message, rest: bytes([message]) + rest, st.integers(128, 145), small)
extensions = st.one_of(
    st.sampled_from([(kind, packets.PADDING) for kind in (0, 43, 60)]),
    st.builds(packets.fragment, st.sampled_from([0, 0, 1, 185]), st.integers(0, 1)),
    st.builds(
        lambda kind, units, rest: (kind, bytes([units]) + rest),
        st.sampled_from([0, 43, 51, 60, 44, 135]),
        st.integers(0, 2),
        st.binary(min_size=6, max_size=22),
    ),
)


@st.composite
def good_frames(draw: st.DrawFn) -> bytes:
    """Well made, from right and wrong addresses."""
    station = draw(stations)
    match draw(st.sampled_from(["arp", "ipv4", "dhcp", "ipv6", "nd", "nd", "other"])):
        case "arp":
            ethertype = draw(st.sampled_from([packets.ARP, packets.ARP, packets.RARP]))
            frame = packets.arp(
                station, draw(ipv4_addresses), operation=draw(st.integers(0, 4)), ethertype=ethertype
            )
            return frame[:22] + draw(stations) + frame[28:]
        case "ipv4":
            options = bytes(4 * draw(st.integers(0, 10)))
            fragment = draw(st.sampled_from([0, 0x4000, 0x2000, 0x2001, 5]))
            protocol = draw(st.sampled_from([6, 17, 2, 47]))
            return packets.ipv4(
                station,
                draw(ipv4_addresses),
                protocol=protocol,
                options=options,
                fragment=fragment,
                body=draw(small),
            )
        case "dhcp":
            body = packets.dhcp(draw(st.sampled_from([68, 68, 67])), draw(st.sampled_from([67, 67, 68, 547])))
            options = bytes(4 * draw(st.integers(0, 2)))
            fragment = draw(st.sampled_from([0, 0x4000, 0x2000, 0x8000]))
            return packets.ipv4(station, "0.0.0.0", body=body, options=options, fragment=fragment)
        case "ipv6" | "nd" as kind:
            body = draw(neighbours if kind == "nd" else st.one_of(small, icmp))
            protocol = packets.ICMPV6 if kind == "nd" else draw(st.sampled_from([6, 17, 58, 58, 59, 50, 112]))
            headers = draw(st.lists(extensions, max_size=draw(st.sampled_from([0, 1, 3, 10]))))
            return packets.ipv6(station, draw(ipv6_addresses), *headers, protocol=protocol, body=body)
        case _:
            ethertype = draw(
                st.sampled_from([0x88B5, 0x8100, 0x88A8, 0x9100, 0x8847, 0x88CC, 0, 46, 1500, 1536])
            )
            llc = draw(
                st.sampled_from(
                    [b"\xaa\xaa\x03\0\0\0", b"\xaa\xaa\x03\0\0\xf8", b"\xaa\xaa\x03\0\0\x0c", b"\x42\x42\x03"]
                )
            )
            inner = draw(
                st.sampled_from([b"\x08\0", b"\x86\xdd", b"\x08\x06", b"\x81\0", b"\x88\xcc", b"\x08"])
            )
            return frames.ethernet(
                frames.BROADCAST, station, ethertype=ethertype, payload=llc + inner + bytes(40)
            )


@st.composite
def damaged(draw: st.DrawFn, good: st.SearchStrategy[bytes]) -> bytes:
    """Some cut short, some padded, some with bytes changed behind the addresses."""
    frame = bytearray(draw(good))
    match draw(st.sampled_from(["whole", "whole", "cut", "padded", "changed", "changed"])):
        case "cut":
            del frame[draw(st.integers(14, len(frame))) :]
        case "padded":
            frame += draw(small)
        case "changed":
            for _ in range(draw(st.integers(1, 3))):
                frame[draw(st.integers(12, min(len(frame) - 1, 80)))] = draw(st.integers(0, 255))
    return bytes(frame)


def make_bridge(**security: Any) -> tuple[_core.Bridge, _core.MemoryPort, _core.MemoryPort]:
    core = _core.Bridge(fdb_capacity=64, burst=1)
    guarded, beyond = core.open_memory(0), core.open_memory(1)
    snapshot = _core.Snapshot()
    for port in (guarded, beyond):
        # It takes tags for payload, so that the guard sees them.
        snapshot.add_port(port, PortRow(mode="tunnel", pvid=10))
    snapshot.secure_port(guarded, **security)
    core.apply(snapshot)
    return core, guarded, beyond


@pytest.mark.timeout(1800)
def test_the_guard_finds_what_the_oracle_finds() -> None:
    core, guarded, beyond = make_bridge(rules=RULES)

    @settings(max_examples=examples(2000))
    @given(damaged(good_frames()))
    def judge(frame: bytes) -> None:
        assert guarded.inject([frame]) == 1
        core.renew_hints()
        core.turn()
        sent = [sent.data for sent in beyond.drain()]
        told = [(event.finding, event.address) for event in core.events()[0] if event.kind == "source_guard"]
        finding, address = guards.judge(frame, RULES)
        if finding == "passed":
            assert (sent, told) == ([frames.padded(frame)], [])
        else:
            assert (sent, told) == ([], [(finding, address)])

    judge()


# -- no router, no DHCP server -----------------------------------------------------------------------

links = st.sampled_from([LINK_LOCAL, LINK_LOCAL, "fe80::1", "2001:db8::9", "::"])
ports = st.sampled_from([67, 68, 546, 547, 53])
wrappers = st.sampled_from(
    [b"\x81\0\0\x0a", b"\x88\xa8\0\x14", b"\x91\0\0\1"]
    + [bytes([0, 46]) + b"\xaa\xaa\x03\0\0" + end for end in (b"\0", b"\xf8", b"\1")]
)


@st.composite
def datagrams(draw: st.DrawFn) -> bytes:
    """UDP of DHCP and others, some without what tells a server."""
    header = struct.pack("!HHHH", draw(ports), draw(ports), 28, 0)
    body = bytes([draw(st.sampled_from([1, 2, 7, 12, 13]))]) + bytes(19)
    return (header + body)[: draw(st.sampled_from([28, 28, 28, 9, 8, 7, 4, 0]))]


@st.composite
def served_frames(draw: st.DrawFn) -> bytes:
    """What servers say, and what looks like it, behind everything that may stand in front."""
    if draw(st.booleans()):
        body = draw(st.one_of(datagrams(), st.just(packets.ra()), icmp))
        headers = draw(st.lists(extensions, max_size=draw(st.sampled_from([0, 1, 3, 10]))))
        protocol = 17 if draw(st.booleans()) else 58
        frame = packets.ipv6(MAC, draw(links), *headers, protocol=protocol, body=body)
        hop_limit = draw(st.sampled_from([255, 255, 64]))
        frame = frame[:21] + bytes([hop_limit]) + frame[22:]
    else:
        chain = draw(
            st.sampled_from([b"", b"", b"\x11\4" + bytes(22), b"\x33\1" + bytes(10) + b"\x11\1" + bytes(10)])
        )
        frame = packets.ipv4(
            MAC,
            "10.0.0.5",
            protocol=51 if chain else 17,
            body=chain + draw(datagrams()),
            options=bytes(4 * draw(st.sampled_from([0, 0, 1, 10]))),
            fragment=draw(st.sampled_from([0, 0x4000, 0x2000, 0x2001, 5])),
        )
    for wrapper in draw(st.lists(wrappers, max_size=draw(st.sampled_from([0, 0, 2, 6])))):
        frame = frame[:12] + wrapper + frame[12:]
    return frame


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "guard", [{"ra_guard": True}, {"dhcp_guard": True}, {"ra_guard": True, "dhcp_guard": True}], ids="+".join
)
def test_servers_are_found_where_the_oracle_finds_them(guard: dict[str, bool]) -> None:
    core, guarded, beyond = make_bridge(rules=(), **guard)

    @settings(max_examples=examples(1500))
    @given(damaged(served_frames()))
    def judge(frame: bytes) -> None:
        assert guarded.inject([frame]) == 1
        core.renew_hints()
        core.turn()
        sent = [sent.data for sent in beyond.drain()]
        told = [event.kind for event in core.events()[0] if event.kind.endswith("_guard")]
        reason = guards.judge_server(frame, **{"ra_guard": False, "dhcp_guard": False, **guard})
        assert (sent, told) == (([], [reason]) if reason else ([frames.padded(frame)], []))

    judge()
