"""Stories of the offload: known unicast goes by the kernel, and nothing else changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from helpers.daemon import Daemon, link
from helpers.net import Net, wait_until

pytestmark = pytest.mark.root

A = bytes.fromhex("0200000000a1")
B = bytes.fromhex("0200000000b1")


def frame(destination: bytes, source: bytes, payload: bytes = b"x" * 60) -> bytes:
    return destination + source + b"\x88\xb5" + payload


class Pair:
    """Two guests on veth pairs, and what they send and receive."""

    def __init__(self, net: Net, start: Callable[..., Daemon], **bridge: Any) -> None:
        self.middle = net.namespace()
        self.spaces = [net.namespace(), net.namespace()]
        for number, space in enumerate(self.spaces):
            net.veth(f"eth{number}", "far", self.middle, space)
        self.daemon = start(
            self.middle,
            link("a", "eth0", access=10),
            link("b", "eth1", access=10),
            **{"offload": "auto", **bridge},
        )
        self.a, self.b = (net.packet_socket("far", space) for space in self.spaces)

    def talk(self) -> None:
        """One frame each way, one after the other."""
        self.a.send(frame(B, A))
        self.b.wait_for(lambda got: got.data == frame(B, A))
        self.b.send(frame(A, B))
        self.a.wait_for(lambda got: got.data == frame(A, B))


def test_two_guests_talk_by_the_kernel(net: Net, start: Callable[..., Daemon]) -> None:
    pair = Pair(net, start)
    bridge = pair.daemon

    def offloaded() -> int:
        pair.talk()
        return int(bridge.ask("OffloadShow", port="a")[0]["offloaded"])

    wait_until(lambda: offloaded() >= 5, "the kernel forwards")
    row = bridge.ask("OffloadShow", port="a")[0]
    assert row["state"] == "open"
    assert bridge.ask("OffloadCheck") == []
    stats = bridge.stats("a")
    assert stats["rx_frames"] == bridge.stats("b")["tx_frames"]
    assert bridge.ask("StatsShow")[-1]["balance"] == 0
