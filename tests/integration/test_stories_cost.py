"""The bill of a real bridge: it adds up under a mixed load, whoever floods pays, and it can be recorded."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from helpers import frames
from helpers import net as nets
from helpers.bridge import access, check_charges, make_snapshot
from helpers.daemon import COMMAND, Daemon
from helpers.hosts import bulk_tcp
from helpers.lan import Lan
from model import Config

from bridge.account.views import VIEWS
from bridge.account.window import Egress
from bridge.cli.record import read
from bridge.core import _core

Row = dict[str, Any]

A, B = frames.host(1), frames.host(2)
ROUNDING = 100  # cycles of one batch


# -- a daemon


def mix(lan: Lan) -> None:
    """Unicast both ways, a stream of super-frames, floods of every kind, and frames that are dropped."""
    guest, other, far = lan.guest("a", 1), lan.guest("b", 2), lan.external(10)
    assert guest.ping(far, 20) == (20, 20)
    assert other.ping(guest, 20) == (20, 20)
    bulk_tcp(guest, far, 4)
    wire = lan.wire("a")
    last = frames.ethernet(frames.host(0x77), A)
    for _ in range(20):
        wire.send(frames.ethernet(frames.BROADCAST, A))
        wire.send(frames.ethernet(frames.group(1), A))
        wire.send(frames.ethernet(frames.reserved(0), A))
        wire.send(frames.ethernet(B, frames.group(2)))  # a group as source
        wire.send(last)  # to nobody known
    outside = lan.wire("outside")
    wire.send(last)
    outside.wait_for(lambda frame: frame.data[:6] == last[:6])


def busy_cycles(bridge: Daemon) -> int:
    """The busy cycles of a bridge that has come to rest."""

    def at_rest() -> list[int]:
        before, after = (bridge.ask("CostSummary")[0]["busy_cycles"] for _ in range(2))
        return [after] if before == after else []

    (cycles,) = bridge.wait(at_rest, "the bridge to come to rest")
    return int(cycles)


def writing(bridge: Daemon, busy: int) -> int:
    """Cycles that went into writing the bill, of a bridge that has been busy for so many."""
    rows = {row["stage"]: row["cycles"] for row in bridge.ask("CostShow", by="stage")}
    assert sum(rows[stage] for stage in rows if stage not in ("blocked", "polling", "control")) == busy
    return int(rows["account"])


@pytest.mark.smoke
@pytest.mark.root
def test_every_view_of_a_mixed_load_adds_up(lan: Lan) -> None:
    mix(lan)
    bridge = lan.bridge
    before = writing(bridge, busy_cycles(bridge))
    lan.wire("a").send(frames.ethernet(frames.BROADCAST, frames.host(77)))
    bridge.wait(lambda: (10, "02:00:00:00:00:4d") in bridge.fdb(), "one more batch")
    busy = busy_cycles(bridge)
    (summary,) = bridge.ask("CostSummary")
    views = {view: bridge.ask("CostShow", by=view) for view in VIEWS}

    assert summary["busy_cycles"] == busy > 0
    # Not charged yet is what the last batch took to write its bill, and what it rounded: cycles of one batch, whatever
    # the load and the machine, which is how the sum keeps to its 1 %.
    assert abs(summary["uncharged_cycles"]) <= writing(bridge, busy) - before + ROUNDING
    for view, rows in views.items():
        assert sum(row["cycles"] for row in rows if row.get("busy", True)) == busy, view
        assert all(row["cycles"] >= 0 for row in rows), view
    classes = {row["class"]: row for row in views["class"]}
    assert {
        "known_unicast",
        "unknown_unicast",
        "broadcast",
        "multicast",
        "arp_nd",
        "reserved",
        "dropped",
    } <= {*classes}
    assert classes["known_unicast"]["segments"] > classes["known_unicast"]["frames"]  # super-frames
    assert classes["broadcast"]["induced"] > 0
    assert classes["dropped"]["induced"] == 0
    assert classes["dropped"]["frames"] == 20
    assert sum(row["frames"] or 0 for row in views["class"]) == summary["frames"]
    stats = {row["port"]: row for row in bridge.ask("StatsShow")}
    for row in views["port"]:
        if row["rest"] is None:
            assert (row["frames"], row["segments"]) == (
                stats[row["port"]]["rx_frames"],
                stats[row["port"]]["rx_segments"],
            )
    assert {row["vlan"] for row in views["vlan"]} >= {10}
    talkers = {(row["mac"], row["vlan"]): row["port"] for row in views["talker"] if row["rest"] is None}
    assert talkers["02:00:00:00:00:01", 10] == "a"


@pytest.mark.root
def test_the_kernel_agrees_that_the_thread_worked(lan: Lan) -> None:
    mix(lan)
    (summary,) = lan.bridge.ask("CostSummary")
    assert summary["hz"] > 1e6
    assert summary["cpu_seconds"] > 0
    assert summary["accounted_seconds"] > 0
    assert summary["seconds"] >= summary["accounted_seconds"]
    assert summary["clock_jumps"] == 0


@pytest.mark.root
def test_people_see_the_bill_and_begin_it_anew(lan: Lan) -> None:
    mix(lan)
    bridge = lan.bridge
    busy_cycles(bridge)
    for view in VIEWS:
        status, out, err = bridge.cli("cost", "show", view)
        assert (status, err) == (0, "")
        assert "busy cycles in" in out.splitlines()[-1]
    for words in (["summary"], ["slow"], ["histogram"], ["show", "--what-if"], ["show", "last", "60"]):
        status, out, err = bridge.cli("cost", *words)
        assert (status, err) == (0, ""), words
        assert out
    assert bridge.cli("cost", "clear") == (0, "", "")
    assert busy_cycles(bridge) == 0
    assert bridge.rows("cost", "slow") == []
    assert bridge.rows("cost", "show", "talker") == []
    lan.wire("a").send(frames.ethernet(frames.BROADCAST, A))
    bridge.wait(lambda: busy_cycles(bridge), "a frame on the bill")


@pytest.mark.root
def test_the_bill_is_recorded_until_ctrl_c(lan: Lan, directory: Path) -> None:
    file = directory / "bill.jsonl"
    command = [*COMMAND, "-s", str(lan.bridge.socket), "cost", "record", str(file)]
    with nets.program(command) as recorder:
        recorder.wait_ready(lambda: file.exists() and file.read_bytes().count(b"\n") >= 2, "two lines")
        recorder.signal(signal.SIGINT)
        assert recorder.wait_exit(20.0) == 0
    lines = [*read(file)]
    assert len(lines) >= 2
    for line in lines:
        busy = line["summary"]["busy_cycles"]
        assert sum(row["cycles"] for row in line["class"]) == busy


# -- the data plane alone


class Flood:
    """A station that sends broadcasts into a VLAN and one that sends unicast, at the same rate."""

    RECEIVERS = 16
    FRAMES = 64

    def __init__(self) -> None:
        self.bridge = _core.Bridge(fdb_capacity=1024, burst=64)
        self.ports = {index: self.bridge.open_memory(index) for index in range(self.RECEIVERS + 1)}
        self.bridge.apply(make_snapshot(Config(dict.fromkeys(self.ports, access(10))), self.ports))
        self.send(1, B, A)
        self.unicast = frames.ethernet(B, A)
        self.broadcast = frames.ethernet(frames.BROADCAST, A)

    def send(self, index: int, source: bytes, destination: bytes) -> None:
        self.ports[index].inject([frames.ethernet(destination, source)])
        self.settle()

    def settle(self) -> None:
        while self.bridge.turn():
            pass
        for port in self.ports.values():
            port.drain()

    def play(self, frame: bytes) -> None:
        """Send a batch of these."""
        self.ports[0].inject([frame] * self.FRAMES)
        self.settle()

    def spent(self) -> tuple[int, int, int]:
        """Of the station: frames, what became of them on other ports, and cycles charged for copies."""
        (talker,) = (talker for talker in self.bridge.talkers() if talker.mac == frames.number(A))
        return talker.frames, talker.copies, talker.induced


def test_a_broadcast_into_sixteen_ports_is_charged_to_its_sender_sixteen_times() -> None:
    """Copies and charges are counted; what a copy costs is measured by the benchmarks."""
    flood = Flood()
    flood.play(flood.unicast)
    frames_before, copies_before, induced = flood.spent()
    flood.play(flood.unicast)
    assert flood.spent() == (frames_before + flood.FRAMES, copies_before + flood.FRAMES, induced)

    flood.play(flood.broadcast)

    n_frames, copies, induced_now = flood.spent()
    assert n_frames == frames_before + 2 * flood.FRAMES
    assert copies == copies_before + flood.FRAMES + flood.RECEIVERS * flood.FRAMES
    assert induced_now > induced
    check_charges(flood.bridge.bill())


def test_the_cost_of_a_copy_is_known_by_port() -> None:
    flood = Flood()
    flood.play(flood.broadcast)
    for index, port in flood.bridge.counters().ports.items():
        egress = Egress(port.values["offered"], port.values["tx_cycles"])
        assert (egress.cycles_per_copy > 0) == (index > 0 or egress.offered > 0)
