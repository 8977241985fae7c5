"""The programs of csrc/offload in a real kernel, one frame at a time: what they forward, and what they leave alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from helpers.net import Net
from offload.kernel_bridge import KernelBridge, introduce, kernel_bridge

pytestmark = pytest.mark.root

A = bytes.fromhex("0200000000a1")
B = bytes.fromhex("0200000000b1")


def frame(
    destination: bytes, source: bytes, payload: bytes = b"x" * 60, ethertype: bytes = b"\x88\xb5"
) -> bytes:
    return destination + source + ethertype + payload


def tagged(data: bytes, vid: int, pcp: int = 0, tpid: bytes = b"\x81\x00") -> bytes:
    return data[:12] + tpid + (pcp << 13 | vid).to_bytes(2, "big") + data[12:]


@pytest.fixture
def pair(net: Net) -> Iterator[KernelBridge]:
    """Link a in VLAN 10, trunk t with VLAN 10, both stations known and live."""
    with kernel_bridge(net) as bridge:
        bridge.link("a", mode="access", pvid=10)
        bridge.link("t", mode="trunk", vids=(10, 20))
        bridge.apply()
        introduce(bridge, [("a", frame(B, A)), ("t", tagged(frame(A, B), 10))])
        yield bridge


def test_known_unicast_passes_userspace_until_that_is_done_with_it(pair: KernelBridge) -> None:
    bridge = pair
    for wire in ("a", "t"):
        bridge.wire(wire).waiting()
    for expected in (0, 1, 2):
        bridge.wire("a").send(frame(B, A))
        bridge.turn()
        got = bridge.wire("t").wait()
        assert got.tag == (0x8100, 10)
        assert got.data == frame(B, A)
        assert bridge.forwarded() == expected
    assert bridge.passes()["handing_over"] >= 1
