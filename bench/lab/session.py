"""One run of the laboratory: everything interleaved, kept as it comes, cleaned up whatever happens.

Order: round by round; in a round measurement by measurement, case by case; in a case system by system, in an order
that turns by one each round. So the systems of a pair are measured seconds apart, and a machine that gets slower
hits all alike. What was found is kept after every measurement. Systems stay up between their turns, frozen
(SIGSTOP), on sites of their own; cases that want another kind of site get one for the time of the case. A system
that fails to start is out; one that fails in a measurement is restarted once for the next. Ends: normally, on Ctrl-C
or SIGTERM (the report then says that it is incomplete), or on an error. In every case the namespaces and processes
are gone afterwards.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import platform
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from bench import __version__
from bench.errors import BenchError, SkippedError

from . import cpu, net
from .measure import Case, Measure, Sample
from .progress import Progress
from .settings import Settings
from .site import ONE_GUEST, Site
from .system import System

SCHEMA = "framebridge-bench/1"
ZERO = "direct"
SETTLE_SECONDS = 0.05  # after a system was thawed, before it is measured
START_SECONDS = 1.0  # estimate of what starting a system takes
STEAL_MAX = 0.02
FAILURES_MAX = 3

Report = dict[str, Any]


def describe_host() -> Report:
    """Say what the numbers were measured on."""
    info = Path("/proc/cpuinfo").read_text()
    models = [
        line.partition(":")[2].strip()
        for line in info.splitlines()
        if line.startswith(("model name", "processor 0"))
    ]
    clock = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")
    idle = Path("/sys/devices/system/cpu/cpuidle/current_governor_ro")
    return {
        "kernel": platform.release(),
        "machine": platform.machine(),
        "cpu": models[0] if models else "",
        "cpus": os.cpu_count(),
        "cycles_per_second": cpu.cycles_per_second(),
        "clocksource": clock.read_text().strip() if clock.exists() else "",
        "cpuidle_governor": idle.read_text().strip() if idle.exists() else "",
        "exact_idle_time": cpu.look().exact,
        "python": platform.python_version(),
    }


class Session:
    """A run: systems, measurements, settings, and what has been found so far."""

    def __init__(
        self,
        systems: list[System],
        measures: list[Measure],
        settings: Settings,
        keep: Callable[[Report], None] = lambda _: None,
        progress: Progress | None = None,
        *,
        named: bool = False,
    ) -> None:
        """`named`: somebody chose the systems, so they take part in everything they can."""
        self.settings = settings
        self.measures = measures
        self.progress = progress or Progress(sys.stderr)
        self.samples: list[Report] = []
        self.systems: list[System] = []
        self.states: dict[str, Report] = {}
        self._wanted = systems
        self._named = named
        self._keep = keep
        self._sites: dict[str, Site] = {}
        self._failures: dict[tuple[str, str], int] = {}
        self._started = datetime.datetime.now(datetime.UTC)
        self._selfcheck: list[Report] = []

    # -- the report

    def report(self, *, complete: bool) -> Report:
        """Give everything found so far, without results derived from it."""
        return {
            "schema": SCHEMA,
            "bench_version": __version__,
            "created": self._started.isoformat(timespec="seconds"),
            "seconds": round((datetime.datetime.now(datetime.UTC) - self._started).total_seconds(), 1),
            "complete": complete,
            "settings": self.settings.as_row(),
            "host": describe_host(),
            "selfcheck": self._selfcheck,
            "systems": list(self.states.values()),
            "measures": [
                {
                    "name": measure.name,
                    "title": measure.title,
                    "source": measure.source,
                    "metrics": [
                        {"name": m.name, "unit": m.unit, "better": m.better, "meaning": m.meaning}
                        for m in measure.metrics
                    ],
                }
                for measure in self.measures
            ],
            "samples": list(self.samples),
        }

    # -- the course

    def run(self, selfcheck: Callable[[], list[Report]] | None = None) -> bool:
        """Measure everything; returns whether it came to its end. What was found is kept in any case."""
        complete = False
        with interruptible(), contextlib.ExitStack() as stack:
            stack.callback(self._clean)
            try:
                if selfcheck:
                    self.progress.say("checking the instrument")
                    self._selfcheck = selfcheck()
                self._start_systems()
                self._measure_all()
                complete = True
            except KeyboardInterrupt:
                self.progress.say("interrupted: keeping what there is, cleaning up")
            finally:
                self._keep(self.report(complete=complete))
        return complete

    def _clean(self) -> None:
        with uninterrupted():
            for site in self._sites.values():
                site.__exit__(None, None, None)
            self._sites.clear()
            for name in net.leftovers():
                net.remove_namespace(name)
            self.progress.end()

    def _start_systems(self) -> None:
        for system in self._wanted:
            state: Report = {
                "name": system.name,
                "title": system.title,
                "guest": system.guest,
                "tagged": system.tagged,
                "super_frames": system.super_frames,
                "status": "ran",
                "reason": "",
                "version": "",
            }
            self.states[system.name] = state
            try:
                system.require()
                state["version"] = system.version()
                self.progress.say(f"starting {system.title} {state['version']}".rstrip())
                self._open(system)
                self.systems.append(system)
            except SkippedError as error:
                state.update(status="skipped", reason=str(error))
                self.progress.say(f"skipping {system.name}: {error}")
            except (BenchError, OSError) as error:
                state.update(status="failed", reason=str(error))
                self.progress.say(f"{system.name} does not start: {error}")

    def _open(self, system: System) -> Site:
        site = self._sites[system.name] = Site(ONE_GUEST)
        try:
            site.__enter__()
            system.start(site)
        except BaseException:
            self._close(system)
            raise
        site.freeze(True)
        return site

    def _close(self, system: System) -> None:
        site = self._sites.pop(system.name, None)
        if site:
            with uninterrupted():
                site.__exit__(None, None, None)

    def _due(self, number: int, measure: Measure, system: System) -> bool:
        """Say whether a system takes part in a round of a measurement."""
        if measure.sweep and not (system.sweeps or self._named or (measure.zero and system.name == ZERO)):
            return False
        mode = self.settings.mode
        few = measure.sweep or (mode == "quick" and not system.major) or (mode == "full" and measure.long)
        return number < (self.settings.sweep_rounds if few else self.settings.rounds)

    def _turns(self) -> Iterator[tuple[int, Measure, Case, System]]:
        for number in range(self.settings.rounds):
            for measure in self.measures:
                due = [system for system in self.systems if self._due(number, measure, system)]
                for case in measure.cases(self.settings):
                    able = [system for system in due if measure.applies(system, case)]
                    shift = number % len(able) if able else 0
                    for system in able[shift:] + able[:shift]:
                        yield number, measure, case, system

    def _seconds(self, measure: Measure, case: Case) -> float:
        extra = START_SECONDS + 0.15 * measure.wish(case).n_guests if measure.wish(case) != ONE_GUEST else 0.1
        return measure.seconds(case, self.settings) + extra

    def planned_seconds(self) -> float:
        """Estimate how long the measurements take on the systems that run."""
        return sum(self._seconds(measure, case) for _, measure, case, _ in self._turns())

    def _measure_all(self) -> None:
        turns = list(self._turns())
        self.progress.plan(len(turns), self.planned_seconds())
        last = (0, measure_name(turns))
        for number, measure, case, system in turns:
            if (number, measure.name) != last:
                self._keep(self.report(complete=False))
            last = (number, measure.name)
            words = " ".join(str(value) for value in case.values())
            self.progress.step(
                f"round {number + 1}: {measure.name} {words} {system.name}", self._seconds(measure, case)
            )
            self._turn(number, measure, case, system)
        self.progress.done()

    def _turn(self, number: int, measure: Measure, case: Case, system: System) -> None:
        key = (system.name, measure.name)
        row: Report = {
            "measure": measure.name,
            "case": case,
            "system": system.name,
            "round": number,
            "at": round(time.monotonic(), 3),
            "values": {},
            "limits": [],
            "notes": [],
        }
        if self._failures.get(key, 0) >= FAILURES_MAX:
            return
        try:
            sample = self._measure(measure, case, system)
            row |= {"values": sample.values, "limits": sample.limits, "notes": sample.notes}
            if sample.values.get("cpu_steal", 0.0) > STEAL_MAX:
                row["notes"].append("steal")
            self._failures[key] = 0
        except (BenchError, OSError) as error:
            self._failures[key] = self._failures.get(key, 0) + 1
            row["error"] = str(error)
            self.progress.say(f"{measure.name} on {system.name}: {error}")
            with contextlib.suppress(BenchError, OSError):
                self._close(system)
        self.samples.append(row)

    def _measure(self, measure: Measure, case: Case, system: System) -> Sample:
        wish = measure.wish(case)
        if wish != ONE_GUEST:
            with Site(wish) as site:
                system.start(site)
                return self._measure_on(site, measure, case, system)
        site = self._sites.get(system.name) or self._open(system)
        site.freeze(False)
        try:
            return self._measure_on(site, measure, case, system)
        finally:
            site.freeze(True)

    def _measure_on(self, site: Site, measure: Measure, case: Case, system: System) -> Sample:
        cpus = os.sched_getaffinity(0)
        own = self.settings.system_cpu
        site.check()
        site.pin({own} if measure.pinned and own is not None else cpus)
        time.sleep(SETTLE_SECONDS)
        sample = measure.run(site, system, case, self.settings)
        site.check()
        return sample


def measure_name(turns: list[tuple[int, Measure, Case, System]]) -> str:
    """Return the name of the first measurement of a plan; empty without any."""
    return turns[0][1].name if turns else ""


# -- signals


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM do what Ctrl-C does."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Finish what is in the context whoever presses Ctrl-C."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
