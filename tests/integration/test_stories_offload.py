"""Stories of the offload: known unicast goes by the kernel, and nothing else changes."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from typing import Any

import pytest
from helpers import kernel
from helpers.daemon import Daemon, link
from helpers.net import Net, one_cpu, wait_until

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
        self.ports = (link("a", "eth0", access=10), link("b", "eth1", access=10))
        self.daemon = start(self.middle, *self.ports, **{"offload": "auto", **bridge})
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


def offloaded(pair: Pair, port: str = "a") -> int:
    """Frames that came in by a port and were forwarded by the kernel, after one more each way."""
    pair.talk()
    return int(pair.daemon.ask("OffloadShow", port=port)[0]["offloaded"])


def await_offload(pair: Pair) -> None:
    """Talk until the kernel forwards."""
    before = offloaded(pair)
    wait_until(lambda: offloaded(pair) > before, "the kernel forwards")


def assert_userspace_has_all(pair: Pair) -> None:
    """What is sent from now on is not forwarded by the kernel."""
    before = offloaded(pair)
    for _ in range(5):
        assert offloaded(pair) == before


def test_offload_comes_and_goes_with_the_configuration(net: Net, start: Callable[..., Daemon]) -> None:
    pair = Pair(net, start)
    bridge = pair.daemon
    await_offload(pair)
    bridge.write(*pair.ports, offload="off")
    bridge.rows("reload")
    assert [row["state"] for row in bridge.ask("OffloadShow")] == ["off", "off", "off"]
    assert bridge.ask("OffloadCheck")[0]["reason"] == 'the bridge has offload = "off"'
    stations = {row["mac"]: row["port"] for row in bridge.ask("FdbShow")}
    before = bridge.stats("a")["offloaded"]
    assert before > 0, "what the kernel forwarded is not forgotten"
    for _ in range(5):
        pair.talk()
    assert bridge.stats("a")["offloaded"] == before
    bridge.write(*pair.ports, offload="require")
    bridge.rows("reload")
    assert {row["mac"]: row["port"] for row in bridge.ask("FdbShow")} == stations
    await_offload(pair)
    assert bridge.ask("StatsShow")[-1]["balance"] == 0


@pytest.mark.parametrize(
    ("words", "undo", "reason"),
    [
        (
            ("port", "set", "a", "offload", "off"),
            ("port", "set", "a", "offload", "default"),
            "offload = false",
        ),
        (
            ("port", "set", "a", "learning", "off"),
            ("port", "set", "a", "learning", "default"),
            "does not learn",
        ),
        (("port", "set", "a", "locked", "on"), ("port", "set", "a", "locked", "default"), "locked"),
        (("mirror", "add", "why", "file", "why.pcapng"), ("mirror", "del", "why"), "mirror why"),
    ],
)
def test_what_needs_every_frame_closes_the_port_before_it_answers(
    net: Net, start: Callable[..., Daemon], words: tuple[str, ...], undo: tuple[str, ...], reason: str
) -> None:
    pair = Pair(net, start)
    await_offload(pair)
    pair.daemon.rows(*words)
    before = pair.daemon.stats("a")["offloaded"]
    for _ in range(5):
        pair.talk()
    assert pair.daemon.stats("a")["offloaded"] == before
    assert reason in "; ".join(row["reason"] for row in pair.daemon.ask("OffloadCheck", port="a"))
    pair.daemon.rows(*undo)
    await_offload(pair)
    assert pair.daemon.ask("OffloadCheck") == []


def test_a_flush_and_a_moved_station_are_obeyed_at_once(net: Net, start: Callable[..., Daemon]) -> None:
    pair = Pair(net, start)
    bridge = pair.daemon
    await_offload(pair)
    before = bridge.stats("a")["offloaded"]
    bridge.rows("fdb", "flush")
    pair.a.send(frame(B, A))
    pair.b.wait_for(lambda got: got.data == frame(B, A))
    assert bridge.stats("a")["offloaded"] == before
    await_offload(pair)
    pair.b.send(frame(B, A, b"y" * 60))  # A speaks from the other side: it is there from now on
    wait_until(
        lambda: [row["port"] for row in bridge.ask("FdbShow", mac="02:00:00:00:00:a1")] == ["b"], "A moved"
    )
    pair.a.send(frame(B, A))  # and back again
    wait_until(
        lambda: [row["port"] for row in bridge.ask("FdbShow", mac="02:00:00:00:00:a1")] == ["a"],
        "A moved back",
    )
    await_offload(pair)


def test_a_killed_bridge_forwards_nothing_more(net: Net, start: Callable[..., Daemon]) -> None:
    pair = Pair(net, start)
    await_offload(pair)
    assert pair.daemon.end(signal.SIGKILL) == -signal.SIGKILL
    pair.b.waiting()
    for _ in range(20):
        pair.a.send(frame(B, A))
    assert not [got for got in pair.b.waiting() if got.data == frame(B, A)]


def test_a_stream_without_gaps_goes_over_in_order(net: Net, start: Callable[..., Daemon]) -> None:
    """Its destination answers in mid-stream: nothing is late, nothing twice, and what is lost has a name."""
    pair = Pair(net, start)
    total = 30_000
    pair.b.sock.setsockopt(socket.SOL_SOCKET, kernel.SO_RCVBUFFORCE, 64 << 20)
    with one_cpu():
        for number in range(total):
            pair.a.send(frame(B, A, number.to_bytes(4, "big") + bytes(56)))
            if number == 3000:
                pair.b.send(frame(A, B))
    stats = wait_until(lambda: settled(pair, total), "all frames are counted")
    got = [int.from_bytes(one.data[14:18], "big") for one in pair.b.waiting() if one.data[:12] == B + A]
    assert got == sorted(set(got)), "a frame was late, or came twice"
    lost = pair.daemon.drops().get(("a", "rx", "handover"), 0)
    missed = stats["rx_missed"]
    assert len(got) == total - lost - missed
    assert stats["offloaded"] > 0, "it never went over"


def settled(pair: Pair, total: int) -> dict[str, Any] | None:
    stats = pair.daemon.stats("a")
    return stats if stats["rx_frames"] + stats["rx_missed"] >= total else None
