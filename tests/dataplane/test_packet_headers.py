"""The header walk (csrc/frame/packet.h) against its slow oracle (tests/headers.py): packets whole and damaged."""

from __future__ import annotations

import headers
import pytest
from helpers import frames, packets, tunnels
from helpers.profiles import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.core import _core

A, B = frames.host(1), frames.host(2)
tags = st.lists(
    st.builds(frames.tag, st.integers(0, 4095), tpid=st.sampled_from([0x8100, 0x88A8, 0x9100])), max_size=6
)
chains = st.lists(
    st.tuples(
        st.sampled_from([0, 43, 44, 51, 60, 135, 6]), st.integers(0, 2), st.binary(min_size=30, max_size=30)
    ),
    max_size=11,
)


def chained(first: int, chain: list[tuple[int, int, bytes]], body: bytes) -> tuple[int, bytes]:
    """Extension headers in front of a body: the protocol of the first, and the bytes."""
    protocol, data = first, body
    for kind, units, rest in reversed(chain):
        size = {44: 8, 51: 8 + 4 * units}.get(kind, 8 + 8 * units)
        data = (bytes([protocol, units]) + rest)[:size] + data
        protocol = kind
    return protocol, data


@st.composite
def good(draw: st.DrawFn) -> bytes:
    protocol, body = chained(
        draw(st.sampled_from([6, 17, 132, 58])), draw(chains), draw(st.binary(max_size=40))
    )
    if draw(st.booleans()):
        packet = bytearray(frames.ipv4(protocol, body))
        packet[6:8] = draw(st.sampled_from([b"@\0", b"\0\0", b"\x20\0", b"\x20\1", b"\0\5"]))
        words = draw(st.integers(5, 15))
        packet[0] = 0x40 | words
        packet[20:20] = bytes(4 * (words - 5))
        packet[2:4] = len(packet).to_bytes(2, "big")
        return frames.ethernet(B, A, *draw(tags), ethertype=0x0800, payload=bytes(packet))
    return frames.ethernet(B, A, *draw(tags), ethertype=0x86DD, payload=frames.ipv6(protocol, body))


@st.composite
def any_frame(draw: st.DrawFn) -> bytes:
    """Well made, padded, cut short, or damaged in a byte or two."""
    data = bytearray(draw(good()))
    match draw(st.sampled_from(["whole", "whole", "padded", "cut", "damaged"])):
        case "padded":
            data += bytes(draw(st.integers(1, 60)))
        case "cut":
            data = data[: max(14, draw(st.integers(14, len(data))))]
        case "damaged":
            for _ in range(draw(st.integers(1, 3))):
                data[draw(st.integers(12, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data)


@settings(max_examples=examples(3000))
@given(any_frame())
def test_finds_what_the_oracle_finds(data: bytes) -> None:
    assert _core.packet_headers(data) == headers.walk(data)


@given(st.binary(min_size=14, max_size=120))
def test_any_bytes(data: bytes) -> None:
    assert _core.packet_headers(data) == headers.walk(data)


def test_what_a_frame_of_each_kind_has() -> None:
    tcp = frames.tcp(B, A, frames.tag(10), payload_len=10)
    assert _core.packet_headers(tcp.data) == (0x0800, 1, 18, 38, len(tcp.data), 6, False, False)
    udp6 = frames.udp(B, A, payload_len=10, version=6)
    assert _core.packet_headers(udp6.data + bytes(9)) == (0x86DD, 0, 14, 54, len(udp6.data), 17, False, False)
    arp = packets.arp(A, "10.0.0.1")
    assert _core.packet_headers(arp) == (0x0806, 0, 14, 0, len(arp), 0, False, False)
    inside = tunnels.KINDS["vxlan"](frames.tcp(B, A))
    assert _core.packet_headers(inside.data)[3:6:2] == (34, 17)  # type: ignore[index]
    assert _core.packet_headers(udp6.data[:53]) is None


def test_fewer_bytes_than_a_frame() -> None:
    with pytest.raises(ValueError, match="13 bytes"):
        _core.packet_headers(bytes(13))
