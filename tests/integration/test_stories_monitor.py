"""`framebridge monitor` tells what happens, while it happens, in order."""

from __future__ import annotations

import json
from typing import Any

import pytest
from helpers import frames
from helpers.daemon import COMMAND, tap
from helpers.lan import Lan
from helpers.net import Net, Program

pytestmark = pytest.mark.root

STATION = "02:00:00:00:00:01"


class Monitor:
    """The command `monitor -j` on a daemon; it listens from the start."""

    def __init__(self, net: Net, lan: Lan) -> None:
        self.program: Program = net.program([*COMMAND, "-j", "-s", str(lan.bridge.socket), "monitor"])
        lan.bridge.wait(lambda: lan.bridge.ask("FdbFlush", vlan=4094) and self.events(), "the first event")

    def events(self) -> list[dict[str, Any]]:
        """What it told so far, without the flushes that it was woken up with, and without times."""
        complete = self.program.output.rpartition("\n")[0]
        rows = [json.loads(line) for line in complete.splitlines()]
        assert all(isinstance(row.pop("time"), float) for row in rows)
        return rows

    def wait_for(self, kind: str) -> None:
        self.program.wait_ready(lambda: any(row["event"] == kind for row in self.events()), f"event {kind}")

    def told(self) -> list[dict[str, Any]]:
        return [row for row in self.events() if row.get("vlan") != 4094]


def test_the_life_of_an_address(net: Net, lan: Lan) -> None:
    monitor = Monitor(net, lan)
    for name in ("a", "b"):
        lan.wire(name).send(frames.ethernet(frames.BROADCAST, frames.host(1)))
        monitor.wait_for("fdb-learned" if name == "a" else "fdb-moved")
    lan.bridge.rows("fdb", "flush", "port", "b")
    monitor.wait_for("fdb-flushed")
    lan.bridge.rows("fdb", "add", STATION, "vlan", "10", "port", "a")
    lan.wire("b").send(frames.ethernet(frames.BROADCAST, frames.host(1)))
    monitor.wait_for("fdb-refused")

    assert monitor.told() == [
        {"event": "fdb-learned", "mac": STATION, "vlan": 10, "port": "a"},
        {"event": "fdb-moved", "mac": STATION, "vlan": 10, "port": "b", "old_port": "a", "moves": 1},
        {"event": "fdb-flushed", "port": "b", "vlan": None, "entries": 1},
        {"event": "fdb-refused", "mac": STATION, "vlan": 10, "port": "b", "reason": "static_move"},
    ]


def test_an_address_ages(net: Net, lan: Lan) -> None:
    lan.bridge.write(*lan.ports.values(), ageing_time=1)
    lan.bridge.rows("reload")
    monitor = Monitor(net, lan)

    lan.wire("a").send(frames.ethernet(frames.BROADCAST, frames.host(1)))
    monitor.wait_for("fdb-aged")

    learned, aged = monitor.told()
    assert learned == {"event": "fdb-learned", "mac": STATION, "vlan": 10, "port": "a"}
    assert 1 <= aged.pop("held") <= 10
    assert aged == {"event": "fdb-aged", "mac": STATION, "vlan": 10, "port": "a"}
    assert lan.bridge.fdb() == {}


@pytest.mark.smoke
def test_the_life_of_a_port(net: Net, lan: Lan) -> None:
    monitor = Monitor(net, lan)
    lan.spaces["outside"].set_link("eth0", state="down")
    monitor.wait_for("port-down")
    lan.spaces["outside"].set_link("eth0", state="up")
    monitor.wait_for("port-up")
    lan.bridge.rows("port", "set", "a", "isolated", "on")
    lan.bridge.rows("port", "del", "b")
    lan.bridge.rows("port", "add", "m", "kind", "memory", "access", "10")
    lan.spaces["c"].delete_link("tap0")
    monitor.wait_for("port-missing")

    # A device that is deleted may be seen going down first.
    assert [row for row in monitor.told() if row != {"event": "port-down", "port": "c"}] == [
        {"event": "port-down", "port": "uplink"},
        {"event": "port-up", "port": "uplink"},
        {"event": "port-changed", "port": "a"},
        {"event": "reload", "actions": 1},
        {"event": "port-removed", "port": "b"},
        {"event": "reload", "actions": 1},
        {"event": "port-up", "port": "m"},
        {"event": "port-added", "port": "m", "state": "up"},
        {"event": "reload", "actions": 1},
        {"event": "port-missing", "port": "c"},
    ]


def test_a_reload_and_its_warnings(net: Net, lan: Lan) -> None:
    monitor = Monitor(net, lan)
    lan.rewrite(a=tap("a", lan.spaces["a"], access=10, mtu=9000), b=None)

    lan.bridge.rows("reload")
    monitor.wait_for("reload")

    assert monitor.told() == [
        {"event": "port-removed", "port": "b"},
        {"event": "port-changed", "port": "a"},
        {
            "event": "warning",
            "message": "MTU differs in VLAN 10: 9000 on port a, 1500 on port uplink; "
            "frames that are too long for a port are dropped as oversize",
            "port": "a",
            "vlan": 10,
        },
        {"event": "reload", "actions": 2},
    ]
