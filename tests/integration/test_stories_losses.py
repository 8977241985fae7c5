"""What the kernel loses in front of a port is told by port and reason, to the frame.

The daemon is stopped (SIGSTOP) while frames come, so a queue of the kernel overflows for certain, and goes on then.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator

import pytest
from helpers import frames
from helpers.daemon import Daemon, link, tap
from helpers.net import Namespace, Net, Wire, attach_tap, wait_until

pytestmark = pytest.mark.root

Start = Callable[..., Daemon]
LOTS = 6000  # more than the queue of a tap (1000 frames) and the ring of a link hold


@contextlib.contextmanager
def stopped(bridge: Daemon) -> Iterator[None]:
    """Keep the daemon from running."""
    os.kill(bridge.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(bridge.pid, signal.SIGCONT)


def flood(wire: Wire, n: int = LOTS) -> None:
    data = frames.ethernet(frames.BROADCAST, frames.host(1))
    for _ in range(n):
        wire.send(data)


def told(bridge: Daemon, name: str, reason: str) -> int:
    """What both commands say was missed at a port."""
    missed = {key: n for key, n in bridge.drops().items() if key[:2] == (name, "missed")}
    assert missed.keys() <= {(name, "missed", reason)}
    frames_missed = missed.get((name, "missed", reason), 0)
    assert bridge.stats(name)["rx_missed"] == bridge.port(name)["rx_missed"] == frames_missed
    return frames_missed


def total(bridge: Daemon) -> tuple[int, dict[tuple[str, str], int]]:
    """What both commands say was missed and dropped by all ports, also by those that are no more."""
    (row,) = [row for row in bridge.ask("StatsShow") if row["port"] == "total"]
    rows = [row for row in bridge.ask("DropsShow") if row["port"] == "total"]
    found = {(row["direction"], row["reason"]): row["frames"] for row in rows}
    for way, column in (("rx", "rx_drops"), ("tx", "tx_drops"), ("missed", "rx_missed")):
        assert sum(n for (side, _), n in found.items() if side == way) == row[column]
    return int(row["rx_frames"]), found


def add_persistent_tap(space: Namespace) -> None:
    space.netlink(lambda ipr: ipr.link("add", ifname="tap0", kind="tuntap", mode="tap"))


def test_frames_a_tap_had_no_room_for(net: Net, start: Start) -> None:
    space = net.namespace()
    bridge = start(net.namespace(), tap("a", space, access=10))
    wire = net.packet_socket("tap0", space)
    space.wait_carrier("tap0")
    with stopped(bridge):
        flood(wire)
    bridge.wait(
        lambda: bridge.stats("a")["rx_frames"] + bridge.stats("a")["rx_missed"] == LOTS, "all frames counted"
    )
    missed = told(bridge, "a", "tap_full")
    assert missed > LOTS / 2
    assert "tap_full" in bridge.cli("drops", "show").out

    bridge.rows("port", "del", "a")
    rx_frames, drops = total(bridge)
    assert (rx_frames, drops["missed", "tap_full"]) == (LOTS - missed, missed)


def test_frames_the_ring_of_a_link_had_no_room_for(net: Net, start: Start) -> None:
    middle, outside = net.namespace(), net.namespace()
    net.veth("eth1", "eth0", middle, outside)
    bridge = start(middle, link("a", "eth1", access=10))
    wire = net.packet_socket("eth0", outside)
    with stopped(bridge):
        flood(wire)
    bridge.wait(
        lambda: bridge.stats("a")["rx_frames"] + bridge.stats("a")["rx_missed"] == LOTS, "all frames counted"
    )
    missed = told(bridge, "a", "ring_full")
    assert missed > 0

    middle.delete_link("eth1")
    bridge.wait_state("a", "missing")
    assert told(bridge, "a", "ring_full") == missed
    bridge.rows("port", "del", "a")
    assert total(bridge) == (
        LOTS - missed,
        {("missed", "ring_full"): missed, ("rx", "no_egress"): LOTS - missed},
    )


def test_what_a_tap_lost_before_and_after_is_not_the_ports(net: Net, start: Start) -> None:
    """A tap that stays when its port goes counts on in the kernel, also while nobody reads it."""
    space = net.namespace()
    add_persistent_tap(space)
    space.set_link("tap0", state="up")
    wire = net.packet_socket("tap0", space)

    def lose() -> int:
        """Overflow the queue of the tap while another program holds it."""
        fd = space.run(attach_tap, "tap0")
        try:
            space.wait_carrier("tap0")
            flood(wire)
        finally:
            os.close(fd)
        return lost()

    def lost() -> int:
        return int((space.link("tap0") or {})["counters"]["tx_dropped"])

    before = lose()
    assert before > LOTS / 2
    bridge = start(net.namespace(), tap("a", space, access=10), tap("b", net.namespace(), access=10))
    space.wait_carrier("tap0")
    assert told(bridge, "a", "tap_full") == 0
    with stopped(bridge):
        flood(wire)
    mine = lost() - before
    bridge.wait(lambda: bridge.stats("a")["rx_frames"] + mine == LOTS, "what was left in the queue")
    assert told(bridge, "a", "tap_full") == mine
    table = bridge.file.read_text()
    bridge.rows("port", "del", "a")
    lose()
    bridge.file.write_text(table)
    bridge.rows("reload")
    space.wait_carrier("tap0")
    assert told(bridge, "a", "tap_full") == 0
    assert total(bridge)[1]["missed", "tap_full"] == mine


def test_the_last_word_about_a_tap_that_is_removed(net: Net, start: Start) -> None:
    space = net.namespace()
    bridge = start(net.namespace(), tap("a", space, access=10))
    wire = net.packet_socket("tap0", space)
    space.wait_carrier("tap0")
    with stopped(bridge):
        flood(wire)
        lost = int((space.link("tap0") or {})["counters"]["tx_dropped"])
        space.delete_link("tap0")
    assert lost > LOTS / 2
    bridge.wait_state("a", "missing")
    wait_until(lambda: told(bridge, "a", "tap_full") == lost, "the loss to be told")
    bridge.rows("port", "del", "a")
    assert total(bridge)[1]["missed", "tap_full"] == lost
