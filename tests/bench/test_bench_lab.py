"""The laboratory: systems start and forward, runs are kept, interrupted runs leave a report and nothing else."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench import results
from bench.errors import BenchError, SkippedError
from bench.lab import measure as measures
from bench.lab import net, patterns, settings
from bench.lab import system as systems
from bench.lab.measure import Case, Measure, Metric, Sample
from bench.lab.progress import Progress, clock
from bench.lab.session import Report, Session
from bench.lab.settings import MODES, Settings
from bench.lab.site import Site
from bench.lab.system import System
from bench.report import schema

SMOKE = settings.choose("smoke")


# -- what there is to choose from


def test_every_system_is_described() -> None:
    found = systems.all_systems()
    assert {
        "direct",
        "bare-loop",
        "framebridge",
        "linux-bridge",
        "ovs",
        "vde",
        "tcpbridge",
        "socat",
        "click",
        "scapy",
    } <= set(found)
    for name, system in found.items():
        assert system.name == name
        assert system.title
        assert system.guest in ("tap", "veth")


def test_every_measurement_is_described() -> None:
    found = measures.all_measures()
    assert list(found)[:2] == ["ping", "tcp"]
    for name, one in found.items():
        assert one.name == name
        assert one.title
        assert len({metric.name for metric in one.metrics}) == len(one.metrics)
        assert all(metric.better in ("high", "low", "none") for metric in one.metrics)


@pytest.mark.parametrize("mode", list(MODES))
def test_every_case_is_flat_and_takes_some_time(mode: str) -> None:
    chosen = settings.choose(mode)
    for one in measures.all_measures().values():
        keys = [results.case_key(case) for case in one.cases(chosen)]
        assert len(set(keys)) == len(keys) > 0
        for case in one.cases(chosen):
            assert json.loads(results.case_key(case)) == case
            assert 0 < one.seconds(case, chosen) < 3600


def test_the_quick_mode_is_planned_below_ten_minutes() -> None:
    chosen = settings.choose("quick")
    everyone = [system for system in systems.all_systems().values() if system.quick]
    session = Session([], measures.choose(None, chosen), chosen, progress=Progress(io.StringIO()))
    session.systems = everyone
    assert session.planned_seconds() < 570


def test_a_full_run_can_be_scaled_down_to_a_dry_run() -> None:
    full, dry = settings.choose("full"), settings.choose("full", rounds=1, time_scale=0.001)
    session = Session([], measures.choose(None, dry), dry, progress=Progress(io.StringIO()))
    session.systems = [systems.all_systems()[name] for name in ("framebridge", "direct")]
    assert session.planned_seconds() < 900
    assert (dry.sizes, dry.loads, dry.macs) == (full.sizes, full.loads, full.macs)
    assert (dry.final_seconds, dry.tcp_seconds, dry.rounds) == (0.2, 1, 1)
    assert dry.as_row()["time_scale"] == 0.001
    with pytest.raises(BenchError, match="time scale"):
        settings.choose("full", time_scale=0.0)


def test_what_is_not_there_cannot_be_chosen() -> None:
    with pytest.raises(BenchError, match="no system 'nobody'"):
        systems.choose(["nobody"])
    with pytest.raises(BenchError, match="no measurement 'nothing'"):
        measures.choose(["nothing"], SMOKE)
    with pytest.raises(BenchError, match="no mode 'slow'"):
        settings.choose("slow")


def test_a_missing_program_skips_its_system_by_the_name_of_the_package() -> None:
    class Missing(System):
        name, title, needs = "missing", "Missing", (("no-such-switch", "some-package"),)

        def start(self, site: Site) -> None:
            raise AssertionError("not to be started")

    with pytest.raises(SkippedError, match="Debian package some-package"):
        Missing().require()


def test_another_program_of_the_same_name_is_not_click(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (click,) = systems.choose(["click"])
    program = tmp_path / "click"
    program.write_text("#!/bin/sh\necho 'usage: click COMMAND'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(SkippedError, match="Debian 12 does not package it"):
        click.require()
    program.write_text("#!/bin/sh\necho 'click (Click) 2.1'\n")
    click.require()
    assert click.version() == "2.1"


def test_progress_tells_what_is_left() -> None:
    out = io.StringIO()
    progress = Progress(out)
    progress.plan(2, 90)
    progress.step("ping of someone", 45)
    progress.say("a word")
    progress.end()
    assert "2 steps, planned to take 1:30" in out.getvalue()
    assert "0/2 1:30 left  ping of someone" in out.getvalue()
    assert progress.left() <= 45
    assert clock(3599.6) == "1:00:00"
    progress.done()
    assert out.getvalue().endswith("1 of 2 steps in 0:00, planned 1:30\n")


# -- systems at work

SYSTEMS = (
    "bare-loop",
    "framebridge",
    "framebridge-untagged",
    "linux-bridge",
    "ovs",
    "vde",
    "tcpbridge",
    "socat",
    "scapy",
    "click",
)


@pytest.mark.root
@pytest.mark.parametrize("name", SYSTEMS)
def test_a_system_forwards_both_ways_and_is_gone_afterwards(name: str) -> None:
    (system,) = systems.choose([name])
    try:
        system.require()
    except SkippedError as error:
        pytest.skip(str(error))
    before = net.leftovers()
    with Site() as site:
        system.start(site)
        for direction in patterns.DIRECTIONS:
            outcome, sample = patterns.measure(
                site, system, direction, SMOKE, rate=500, count=40, seconds=5.0
            )
            assert outcome.received()["unique"] == 40, direction
            assert sample.values["wrong_tag"] == sample.values["duplicates"] == 0
        pids = site.pids()
        site.check()
    assert net.leftovers() == before
    assert not [pid for pid in pids if Path("/proc", str(pid)).exists()]


@pytest.mark.root
def test_own_cycles_of_framebridge_are_read() -> None:
    (system,) = systems.choose(["framebridge"])
    with Site() as site:
        system.start(site)
        _, sample = patterns.measure(site, system, "up", SMOKE, rate=2000, count=400, seconds=5.0)
    assert 10 < sample.values["own_cycles_per_frame"] < 1e6


# -- sessions


class Counting(Measure):
    """Needs no network: every run gives how many there were."""

    name, title = "counting", "Counting"
    metrics = (Metric("n", "", "high", "runs so far"),)
    pinned = False

    def __init__(self, fail_on: str = "", interrupt_at: int = 0) -> None:
        self.order: list[tuple[str, str]] = []
        self._fail_on, self._interrupt_at = fail_on, interrupt_at

    def cases(self, settings: Settings) -> list[Case]:
        return [{"direction": way} for way in ("up", "down")]

    def seconds(self, case: Case, settings: Settings) -> float:
        return 0.01

    def run(self, site: Site, system: System, case: Case, settings: Settings) -> Sample:
        self.order.append((str(case["direction"]), system.name))
        if len(self.order) == self._interrupt_at:
            os.kill(os.getpid(), signal.SIGTERM)
        if system.name == self._fail_on:
            raise BenchError("it broke")
        return Sample({"n": float(len(self.order))})


class Nothing(System):
    """A system that is only a name."""

    def __init__(self, name: str, trouble: BenchError | None = None) -> None:
        self.name = self.title = name
        self._trouble = trouble

    def start(self, site: Site) -> None:
        if self._trouble:
            raise self._trouble


def hold(measure: Measure, people: list[System], rounds: int = 2) -> tuple[bool, list[Report]]:
    kept: list[Report] = []
    chosen = replace(SMOKE, rounds=rounds)
    return Session(people, [measure], chosen, kept.append, Progress(io.StringIO())).run(), kept


@pytest.mark.root
def test_systems_take_turns_and_the_order_turns() -> None:
    measure = Counting()
    complete, kept = hold(measure, [Nothing("a"), Nothing("b"), Nothing("c")])
    assert complete
    assert measure.order == [
        *(("up", name) for name in "abc"),
        *(("down", name) for name in "abc"),
        *(("up", name) for name in "bca"),
        *(("down", name) for name in "bca"),
    ]
    assert [report["complete"] for report in kept] == [False, True]  # after each round, and at the end
    assert len(kept[0]["samples"]) == 6
    assert schema.problems(kept[-1]) == []
    assert net.leftovers() == []


@pytest.mark.root
def test_a_system_that_cannot_start_is_out_and_the_others_go_on() -> None:
    people = [Nothing("a", SkippedError("not installed")), Nothing("b", BenchError("will not")), Nothing("c")]
    complete, kept = hold(Counting(), people, rounds=1)
    assert complete
    assert {row["name"]: row["status"] for row in kept[-1]["systems"]} == {
        "a": "skipped",
        "b": "failed",
        "c": "ran",
    }
    assert {row["system"] for row in kept[-1]["samples"]} == {"c"}
    assert kept[-1]["systems"][0]["reason"] == "not installed"


@pytest.mark.root
def test_a_measurement_that_fails_is_kept_with_its_reason() -> None:
    complete, kept = hold(Counting(fail_on="a"), [Nothing("a"), Nothing("b")], rounds=3)
    failed = [row for row in kept[-1]["samples"] if row["system"] == "a"]
    assert complete
    assert {row["error"] for row in failed} == {"it broke"}
    assert len(failed) == 3  # then it is left alone
    assert len([row for row in kept[-1]["samples"] if row["system"] == "b"]) == 6
    assert schema.problems(kept[-1]) == []


@pytest.mark.root
def test_an_interrupted_session_keeps_what_it_has_and_cleans_up() -> None:
    complete, kept = hold(Counting(interrupt_at=5), [Nothing("a"), Nothing("b")])
    assert not complete
    assert kept[-1]["complete"] is False
    assert len(kept[-1]["samples"]) == 4
    assert schema.problems(kept[-1]) == []
    assert net.leftovers() == []


@pytest.mark.root
def test_ctrl_c_leaves_a_valid_report_and_nothing_else(tmp_path: Path) -> None:
    """The whole command, interrupted while it measures."""
    target = tmp_path / "report.json"
    words = ["lab", "--mode", "smoke", "--rounds", "50", "--no-selfcheck", "--no-html", "-o", str(target)]
    words += ["--system", "direct", "--system", "bare-loop", "--measure", "latency"]
    process = subprocess.Popen(
        [sys.executable, "-m", "bench", *words], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    mine = f"{net.PREFIX}-{process.pid}-"
    try:
        net.wait_until(target.exists, "the first round", 30.0)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 1
    finally:
        process.kill()
        process.communicate()
    report = json.loads(target.read_text())
    assert schema.problems(report) == []
    assert report["complete"] is False
    assert report["samples"]
    assert net.netns.named(mine) == []
