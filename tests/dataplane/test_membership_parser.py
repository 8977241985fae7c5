"""Messages about groups against their slow oracle (tests/memberships.py): of every kind, cut, damaged, rearranged."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

import memberships as oracle
import pytest
from helpers import frames
from helpers import memberships as messages
from helpers.profiles import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.core._multicast import is_prunable, read_membership

STATION = frames.host(1)
groups4 = st.sampled_from(["239.1.1.1", "224.0.0.5", "232.1.2.3", "10.1.1.1", "0.0.0.0", "255.255.255.255"])
groups6 = st.sampled_from(["ff05::1", "ff02::fb", "ff12::1", "fd00::1", "::", "ff1e::1:2"])
sources = st.lists(st.sampled_from(["10.9.9.1", "10.9.9.2"]), max_size=3)
sources6 = st.lists(st.sampled_from(["fd00::1", "fd00::2"]), max_size=3)
auxiliary = st.sampled_from([b"", bytes(4), bytes(12)])
records4 = st.lists(st.builds(messages.record, st.integers(0, 8), groups4, sources, auxiliary), max_size=4)
records6 = st.lists(st.builds(messages.record, st.integers(0, 8), groups6, sources6, auxiliary), max_size=4)
counts = st.one_of(st.none(), st.sampled_from([0, 1, 9, 0xFFFF]))
from4 = st.sampled_from(["10.0.0.1", "0.0.0.0"])
from6 = st.sampled_from(["fe80::1", "::", "fd00::9"])
pim = st.builds(
    lambda options: messages.ipv4(
        STATION,
        "224.0.0.13",
        messages.summed(b"\x20\0\0\0" + b"".join(options), 2),
        protocol=103,
        options=b"",
    ),
    st.lists(
        st.builds(
            lambda kind, n, body: struct.pack("!HH", kind, n) + body,
            st.integers(0, 2),
            st.integers(0, 4),
            st.binary(min_size=2, max_size=4),
        ),
        max_size=3,
    ),
)
well_made = st.one_of(
    st.builds(
        messages.igmp,
        st.just(STATION),
        st.sampled_from([0x11, 0x12, 0x16, 0x17, 0x13]),
        groups4,
        code=st.integers(0, 255),
        source=from4,
    ),
    st.builds(
        messages.query, st.just(STATION), from4, tenths=st.integers(0, 255), group=groups4, version=st.just(3)
    ),
    st.builds(messages.v3, st.just(STATION), records4, count=counts),
    st.builds(
        messages.mld,
        st.just(STATION),
        st.sampled_from([130, 131, 132, 133, 135]),
        groups6,
        milliseconds=st.integers(0, 0xFFFF),
        source=from6,
        tail=st.sampled_from([b"", bytes(2), bytes(4)]),
        to=st.just("ff02::1"),
    ),
    st.builds(messages.mld2, st.just(STATION), records6, count=counts, source=from6),
    st.just(messages.mrd(STATION)),
    st.just(messages.ipv6(STATION, "ff02::6a", struct.pack("!BBHHH", 151, 20, 0, 125, 2))),
    st.just(messages.data(STATION, "239.1.1.1")),
    st.just(messages.data(STATION, "ff05::1")),
    pim,
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Cut, with a byte changed, with bytes behind, fragmented, or behind another header."""
    frame = draw(well_made)
    match draw(st.sampled_from(["cut", "byte", "padding", "fragment", "header"])):
        case "cut":
            return frame[: draw(st.integers(14, len(frame)))]
        case "byte":
            at = draw(st.integers(12, len(frame) - 1))
            return frame[:at] + bytes([draw(st.integers(0, 255))]) + frame[at + 1 :]
        case "padding":
            return frame + draw(st.binary(max_size=9))
        case "fragment" if frame[12:14] == b"\x08\x00":
            return frame[:20] + draw(st.sampled_from([b"\x20\0", b"\0\x01", b"\x40\0"])) + frame[22:]
        case "header" if frame[12:14] == b"\x86\xdd":
            kind = draw(st.sampled_from([0, 43, 44, 60, 51]))
            extra = bytes([frame[20], 0]) + draw(st.binary(min_size=6, max_size=6))
            length = (int.from_bytes(frame[18:20], "big") + 8).to_bytes(2, "big")
            return frame[:18] + length + bytes([kind]) + frame[21:54] + extra + frame[54:]
        case _:
            return frame


def seen(frame: bytes) -> tuple[object, ...]:
    found = read_membership(frame)
    return (found.kind,) if found.kind in ("none", "invalid") else tuple(found)


@settings(max_examples=examples(600))
@given(st.one_of(well_made, damaged()))
def test_the_core_reads_what_the_oracle_reads(frame: bytes) -> None:
    assert seen(frame) == oracle.read(frame)


@settings(max_examples=examples(300))
@given(st.binary(max_size=120), st.sampled_from([b"\x08\x00", b"\x86\xdd", b"\x88\xb5"]))
def test_noise_is_read_alike(noise: bytes, ethertype: bytes) -> None:
    frame = bytes(12) + ethertype + noise
    assert seen(frame) == oracle.read(frame)


def test_each_kind_is_read() -> None:
    """The oracle and the core might agree on nothing."""
    kinds = {
        "query": messages.query(STATION, "10.0.0.9", version=3),
        "join": messages.join(STATION, "239.1.1.1", 1),
        "leave": messages.leave(STATION, "239.1.1.1"),
        "records": messages.mld2(STATION, [(messages.TO_EX, "ff05::1", [])]),
        "router": messages.pim_hello(STATION, 30),
        "none": messages.data(STATION, "239.1.1.1"),
    }
    assert {kind: read_membership(frame).kind for kind, frame in kinds.items()} == {
        kind: kind for kind in kinds
    }
    assert read_membership(kinds["router"]).time == 30
    assert read_membership(kinds["records"]).records == (("join", IPv6Address("ff05::1").packed),)


@pytest.mark.parametrize("ttl", [1, 64])
def test_what_hosts_are_careless_with_is_not_looked_at(ttl: int) -> None:
    frame = bytearray(
        messages.ipv4(STATION, "239.1.1.1", messages.summed(b"\x16\0\0\0\xef\x01\x01\x01", 2), options=b"")
    )
    frame[14 + 8] = ttl
    assert read_membership(bytes(frame)).kind == "join"


def test_an_open_checksum_is_not_asked_for() -> None:
    frame = bytearray(messages.join(STATION, "239.1.1.1"))
    frame[-24:-22] = b"\0\0"
    at = frame.index(b"\x16\0", 34)
    frame[at + 2 : at + 4] = b"\0\0"
    assert read_membership(bytes(frame)).kind == "invalid"
    assert read_membership(bytes(frame), is_open=True).kind == "join"


def test_groups_that_hosts_need_anyway_are_not_pruned() -> None:
    never = ["224.0.0.1", "224.0.0.251", "10.1.1.1", "ff02::1", "ff02::1:ff00:1", "fd00::1"]
    may = ["224.0.1.1", "239.255.255.255", "ff05::1", "ff12::1", "ff0e::1"]
    for texts, expected in ((never, False), (may, True)):
        for text in texts:
            family = 6 if ":" in text else 4
            packed = (IPv6Address if family == 6 else IPv4Address)(text).packed
            assert is_prunable(family, packed) is expected, text
