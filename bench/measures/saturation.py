"""More frames than the system can take: how many it forwards (RFC 2889 5.6, maximum forwarding rate)."""

from __future__ import annotations

from bench.lab import patterns
from bench.lab.measure import WAKEUPS, Case, Measure, Metric, Sample
from bench.lab.settings import Settings
from bench.lab.site import Site
from bench.lab.system import System

NO_LOSS = 0.001


class Saturation(Measure):
    name = "saturation"
    title = "Frames forwarded under overload, one flow"
    source = "RFC 2889 section 5.6"
    metrics = (
        Metric("forwarded_pps", "frames/s", "high", "frames that came out, per second"),
        Metric(
            "own_cycles_per_frame",
            "cycles",
            "low",
            "cycles in the system's own data path, by its own account",
        ),
        Metric(
            "system_cycles_per_frame",
            "cycles",
            "low",
            "cycles of the system's processes per frame that came out",
        ),
        WAKEUPS,
        Metric("offered_pps", "frames/s", "none", "frames that went in"),
    )

    def cases(self, settings: Settings) -> list[Case]:
        return patterns.by_size(settings.sizes)

    def seconds(self, case: Case, settings: Settings) -> float:
        return settings.saturation_seconds + 0.4

    def run(self, site: Site, system: System, case: Case, settings: Settings) -> Sample:
        outcome, sample = patterns.measure(
            site,
            system,
            str(case["direction"]),
            settings,
            size=case["size"],
            rate=0,
            burst=64,
            seconds=settings.saturation_seconds,
        )
        sample.notes.append(f"sent through {outcome.sender()['engine']}")
        sample.values.pop("cycles_per_frame", None)  # of a spinning generator: says nothing about the system
        if sample.values["loss"] < NO_LOSS:
            sample.limits.append("generator")  # everything it could offer was forwarded
        return sample


MEASURES = [Saturation()]
