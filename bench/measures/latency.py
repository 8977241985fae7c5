"""How long a frame takes, by the stamps in the frames, at low rates (RFC 2544 26.2, RFC 1242 3.8)."""

from __future__ import annotations

from bench.lab import patterns
from bench.lab.measure import WAKEUPS, Case, Measure, Metric, Sample
from bench.lab.settings import Settings
from bench.lab.site import Site
from bench.lab.system import System


class Latency(Measure):
    name = "latency"
    title = "One-way latency of evenly spaced frames"
    source = "RFC 2544 section 26.2"
    long = True
    metrics = (
        *(
            Metric(f"latency_{rank}_us", "us", "low", f"{text} of the time from the generator to the sink")
            for rank, text in (("p50", "median"), ("p99", "99th percentile"), ("p99_9", "99.9th percentile"))
        ),
        WAKEUPS,
    )

    def cases(self, settings: Settings) -> list[Case]:
        return [
            {"direction": way, "size": 60, "rate": rate}
            for rate in settings.latency_rates
            for way in patterns.DIRECTIONS
        ]

    def seconds(self, case: Case, settings: Settings) -> float:
        return settings.latency_seconds + 0.4

    def run(self, site: Site, system: System, case: Case, settings: Settings) -> Sample:
        _, sample = patterns.measure(
            site,
            system,
            str(case["direction"]),
            settings,
            size=case["size"],
            rate=case["rate"],
            seconds=settings.latency_seconds,
        )
        sample.values.pop("cycles_per_frame", None)  # the generator spins
        return sample


MEASURES = [Latency()]
