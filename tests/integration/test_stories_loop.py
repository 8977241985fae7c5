"""A loop over an outside switch: found and cut within a round or two, bounded by storm control without detection.

a (10) ═╗              ┌── x1 ┐
b (10) ═╬═ framebridge ┤      ├ a kernel bridge that joins them, or does not
        ╚═ x0, y0 (10) └── y1 ┘
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from helpers import frames
from helpers.daemon import Daemon, link, tap
from helpers.hosts import host
from helpers.net import Net

pytestmark = pytest.mark.root

VLAN = 10
BATCH = 64
DETECTION = '[loop_detection]\ninterval = 0.3\naction = "block"\nrecovery = 2\n'


class Site:
    """Two guests, two cables to one switch, and the daemon between them."""

    def __init__(self, net: Net, start: Callable[..., Daemon], *tables: str, **cables: Any) -> None:
        self.net = net
        self.guests = {name: net.namespace() for name in ("a", "b")}
        self.middle, self.switch = net.namespace(), net.namespace()
        for name in ("x", "y"):
            net.veth(f"{name}0", f"{name}1", self.middle, self.switch)
        self.switch.netlink(lambda ipr: ipr.link("add", ifname="sw", kind="bridge"))
        self.switch.set_link("sw", state="up")
        ports = [tap(name, space, access=VLAN) for name, space in self.guests.items()]
        ports += [link(name, f"{name}0", access=VLAN, **cables) for name in ("x", "y")]
        self.bridge = start(self.middle, *ports, *tables)
        for name in ("a", "b", "x", "y"):
            self.bridge.wait_state(name, "up")

    def join(self, name: str, joined: bool) -> None:
        """Plug a cable into the switch, or pull it out; its link stays up."""
        master = self.index("sw") if joined else 0
        self.switch.set_link(f"{name}1", master=master)

    def index(self, device: str) -> int:
        found = self.switch.link(device)
        assert found is not None
        return int(found["index"])

    def states(self) -> list[str]:
        return [self.bridge.port(name)["state"] for name in ("a", "b", "x", "y")]

    def ping(self) -> tuple[int, int]:
        one, other = (host(space, "tap0", VLAN, n) for n, space in enumerate(self.guests.values(), 1))
        return one.ping(other)

    def shout(self, n: int) -> None:
        wire = self.net.packet_socket("tap0", self.guests["a"])
        for _ in range(n):
            wire.send(frames.ethernet(frames.BROADCAST, frames.host(0x77)))


def test_a_loop_is_cut_and_the_port_returns_when_it_is_gone(net: Net, start: Callable[..., Daemon]) -> None:
    site = Site(net, start, DETECTION)
    site.join("x", True)
    site.join("y", True)
    site.bridge.wait(lambda: "blocked" in site.states(), "one of the two ports to be blocked")
    assert site.states() == ["up", "up", "up", "blocked"]
    assert "loop" in site.bridge.port("y")["reason"]
    site.shout(20)
    assert site.ping() == (3, 3)
    site.join("y", False)
    site.bridge.wait(lambda: site.states() == ["up"] * 4, "the port to come back")
    sent = site.bridge.stats("y")["originated"]
    site.bridge.wait(lambda: site.bridge.stats("y")["originated"] >= sent + 4, "more probes")
    assert site.states() == ["up"] * 4
    assert site.bridge.stats("a")["originated"] > 0
    assert ("x", "rx", "own_probe") in site.bridge.drops() or ("y", "rx", "own_probe") in site.bridge.drops()


def test_by_hand_it_returns_at_once(net: Net, start: Callable[..., Daemon]) -> None:
    site = Site(net, start, DETECTION.replace("recovery = 2", "recovery = 0"))
    assert "is not blocked" in site.bridge.refused("port", "unblock", "y")
    site.join("x", True)
    site.join("y", True)
    site.bridge.wait_state("y", "blocked")
    site.join("y", False)
    assert site.bridge.rows("port", "unblock", "y") == []
    site.bridge.wait_state("y", "up")


def test_without_detection_storm_control_bounds_the_storm(net: Net, start: Callable[..., Daemon]) -> None:
    site = Site(net, start, storm_control={"broadcast": "200 frames/s", "multicast": "200 frames/s"})
    site.join("x", True)
    site.join("y", True)
    begin = time.monotonic()
    site.shout(20)
    site.bridge.wait(
        lambda: site.bridge.drops().keys() & {("x", "rx", "storm"), ("y", "rx", "storm")}, "limits to hold"
    )
    rows = {(row["port"], row["flood"]): row for row in site.bridge.rows("port", "storm")}
    seconds = time.monotonic() - begin
    for port in ("x", "y"):
        row = rows[port, "broadcast"]
        assert row["spent"] <= 20 + 2 * BATCH + 200 * seconds, (
            "a bucket, a batch that overdrew it, and the rate"
        )
    assert sum(row["dropped"] for row in rows.values()) > 0
    site.join("y", False)
    assert site.ping() == (3, 3)


def test_storm_control_by_command(net: Net, start: Callable[..., Daemon]) -> None:
    site = Site(net, start)
    assert site.bridge.rows("port", "storm") == []
    site.bridge.rows("port", "set", "a", "storm_control", "broadcast=10frames/s,unknown=5%")
    rows = site.bridge.rows("port", "storm", "a")
    assert [(row["flood"], row["unit"], row["state"]) for row in rows] == [
        ("broadcast", "frames", "within"),
        ("unknown", "cycles", "within"),
    ]
    site.shout(200)
    site.bridge.wait(lambda: ("a", "rx", "storm") in site.bridge.drops(), "the limit to hold")
    site.bridge.rows("port", "set", "a", "storm_control", "none")
    assert site.bridge.rows("port", "storm") == []
    assert site.ping() == (3, 3)


def test_a_storm_is_not_forgotten_while_the_device_is_gone(net: Net, start: Callable[..., Daemon]) -> None:
    site = Site(net, start, storm_control={"broadcast": "1 frames/s"})
    wire = net.packet_socket("x1", site.switch)
    for _ in range(100):
        wire.send(frames.ethernet(frames.BROADCAST, frames.host(0x77)))
    site.bridge.wait(lambda: ("x", "rx", "storm") in site.bridge.drops(), "the limit to hold")
    site.bridge.wait(lambda: site.bridge.stats("x")["rx_frames"] >= 100, "all to arrive")
    before = site.bridge.rows("port", "storm", "x")[0]
    site.switch.delete_link("x1")
    site.bridge.wait_state("x", "missing")
    gone = site.bridge.rows("port", "storm", "x")[0]
    kept = ("spent", "dropped", "times_over")
    assert gone["state"] == "absent"
    assert [gone[key] for key in kept] == [before[key] for key in kept]
    net.veth("x0", "x1", site.middle, site.switch)
    site.bridge.wait_state("x", "up")
    again = site.bridge.rows("port", "storm", "x")[0]
    assert again["state"] != "absent"
    assert [again[key] >= before[key] for key in kept] == [True] * 3
