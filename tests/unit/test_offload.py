"""The policy of the offload, and what a bridge does where the kernel cannot help. No programs, no kernel."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bridge.clock import SystemClock
from bridge.config.budget import BudgetConfig
from bridge.config.mirror import MirrorConfig
from bridge.config.port import PortConfig, parse_port
from bridge.config.vlan import VlanConfig
from bridge.core._core import Bridge
from bridge.devices.devices import Devices
from bridge.offload import libbpf, program
from bridge.offload.counts import Counts
from bridge.offload.libbpf import OffloadError
from bridge.offload.offload import Offload
from bridge.offload.policy import Closing, closed_vlans, closings, why_closed, why_never
from bridge.ports.table import PortTable


def port(**keys: object) -> PortConfig:
    return parse_port({"name": "p", "kind": "link", "device": "eth0", "vlan": {"access": 10}, **keys})


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({}, ""),
        ({"kind": "tap", "device": "tap0"}, ""),
        ({"vlan": {"trunk": [10, 20], "native": 5, "tpid": "802.1ad"}}, ""),
        ({"offload": False}, "offload = false"),
        ({"vlan": {"tunnel": 10}}, "tags as payload"),
        ({"vlan": {"mirror": True}}, "copies of mirrors"),
        ({"vlan": {"trunk": [10], "map": ["100:10"]}}, "other tags"),
        ({"priority_tags": "always"}, "priority tags"),
    ],
)
def test_ports_that_never_get_a_program(keys: dict[str, object], reason: str) -> None:
    found = why_never(port(**keys))
    assert found == reason if not reason else reason in found


def test_a_port_is_closed_for_what_looks_at_each_of_its_frames() -> None:
    def closed(**keys: object) -> tuple[bool, bool]:
        takes, gives = why_closed(port(**keys), "up", ())
        return bool(takes), bool(gives)

    assert closed() == (False, False)
    assert closed(learning=False) == (True, False)
    assert closed(locked=True) == (True, False)
    assert closed(source_guard=["10.0.0.1"]) == (True, False)
    assert closed(ra_guard=True) == closed(dhcp_guard=True) == (True, False)
    assert closed(direction="egress") == (True, False)
    assert closed(direction="ingress") == (False, True)
    assert closed(isolated=True, horizon=3, storm_control={"broadcast": "5frames/s"}) == (False, False)
    assert why_closed(port(), "down", ()) == (["the port is down"], ["the port is down"])


def test_budgets_and_mirrors_close_what_they_are_about() -> None:
    def of(budget: BudgetConfig | None = None, mirror: MirrorConfig | None = None) -> list[Closing]:
        return closings([budget] if budget else [], [mirror] if mirror else [], [])

    assert of(BudgetConfig("all", "frames", 5.0)) == [Closing("budget all", "", 0, takes=True)]
    assert of(BudgetConfig("one", "bits", 5.0, port="p")) == [Closing("budget one", "p", 0, takes=True)]
    assert of(BudgetConfig("vlan", "cycles", 5.0, vlan=7)) == [Closing("budget vlan", "", 7, takes=True)]
    assert of(BudgetConfig("floods", "frames", 5.0, classes=("broadcast", "unknown_unicast"))) == []
    assert of(BudgetConfig("storm", "frames", 5.0, floods=("broadcast",))) == []
    assert of(mirror=MirrorConfig("m", to_port="x")) == [Closing("mirror m", "", takes=True, gives=True)]
    assert of(mirror=MirrorConfig("m", ports=("p",), direction="rx", to_port="x")) == [
        Closing("mirror m", "p", takes=True)
    ]
    assert of(mirror=MirrorConfig("m", what="drops", to_port="x")) == []
    found = of(mirror=MirrorConfig("m", vids=(3, 4), to_port="x"))
    assert closed_vlans(found) == {3: "mirror m", 4: "mirror m"}
    assert why_closed(port(), "up", found) == ([], [])
    assert closed_vlans(closings([], [], [VlanConfig(9, learning=False)])) == {
        9: "learning is off in the VLAN"
    }


@pytest.mark.parametrize(
    ("lack", "remedy"),
    [("library", "install the package libbpf1"), ("program", "install clang and libbpf-dev")],
)
def test_without_it_the_bridge_runs_and_says_why(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path, lack: str, remedy: str
) -> None:
    there = tmp_path / "unicast.bpf.o"
    if lack == "library":
        there.write_bytes(b"")
        monkeypatch.setattr(libbpf, "SONAME", "no-such-library.so")
    monkeypatch.setattr(program, "OBJECT", there)
    core = Bridge(fdb_capacity=64)
    offload = Offload(core, Devices(), PortTable(SystemClock()), Counts())
    for _ in range(2):
        asyncio.run(offload.configure("auto"))
    assert not offload.is_on
    assert remedy in offload.state
    assert len(caplog.records) == 1, "it says so once"
    with pytest.raises(OffloadError, match=remedy):
        asyncio.run(offload.configure("require"))
    asyncio.run(offload.configure("off"))
    assert offload.state == "off"
