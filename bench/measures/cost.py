"""What a frame costs the whole machine at a load that every serious system carries.

The generator sleeps between bursts (a burst per 100 microseconds, at least one frame), so idle time is real
and everything that is not idle was spent for the traffic. The same over a direct veth is taken away when
results are made: what is left was added by the system.
"""

from __future__ import annotations

from typing import Any

from bench.lab import patterns
from bench.lab.measure import WAKEUPS, Case, Measure, Metric, Sample
from bench.lab.settings import Settings
from bench.lab.site import Site
from bench.lab.system import System

BURSTS_PER_SECOND = 10_000
LOSS_MAX = 0.01
TURN_SECONDS = 0.4  # learning frames, drain and start of the tool

CYCLES = (
    Metric("cycles_per_frame", "cycles", "low", "busy cycles of the whole machine per frame delivered"),
    Metric(
        "added_cycles_per_frame", "cycles", "low", "the same less what a direct veth takes in the same round"
    ),
)


def burst_of(rate: int) -> int:
    """Frames per burst at a rate: one per 100 microseconds, or singly below that."""
    return max(1, rate // BURSTS_PER_SECOND)


class AtLoad(Measure):
    """One stream at a load that a case names: direction, size, rate, burst."""

    zero = True

    def seconds(self, case: Case, settings: Settings) -> float:
        return settings.cost_seconds + TURN_SECONDS

    def run(self, site: Site, system: System, case: Case, settings: Settings) -> Sample:
        load: dict[str, Any] = {key: case[key] for key in ("size", "rate", "burst")}
        _, sample = patterns.measure(
            site,
            system,
            str(case["direction"]),
            settings,
            pace="sleep",
            seconds=settings.cost_seconds,
            **load,
        )
        if sample.values["loss"] > LOSS_MAX:
            sample.notes.append("overloaded")
        return sample


class Cost(AtLoad):
    name = "cost"
    title = "CPU cycles per frame of the whole machine at a given load"
    metrics = (
        *CYCLES,
        Metric(
            "attributed_cycles_per_frame",
            "cycles",
            "low",
            "cycles of generator, sink and system threads: not the whole machine, but blind to what else runs on it",
        ),
        Metric(
            "added_attributed_cycles_per_frame", "cycles", "low", "the same less what a direct veth takes"
        ),
        Metric(
            "own_cycles_per_frame",
            "cycles",
            "low",
            "cycles in the system's own data path, by its own account",
        ),
        WAKEUPS,
        Metric("latency_p50_us", "us", "low", "median time from the generator to the sink"),
        Metric("latency_p99_us", "us", "low", "99th percentile of it"),
        Metric("loss", "share", "low", "frames lost; a system that loses more than 1 % is not compared"),
    )

    def cases(self, settings: Settings) -> list[Case]:
        return [
            {"direction": way, "size": 60, "rate": rate, "burst": burst_of(rate)}
            for rate in settings.loads
            for way in patterns.DIRECTIONS
        ]


MEASURES = [Cost()]
