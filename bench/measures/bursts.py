"""RFC 2544 back-to-back frames and recovery from overload."""

from __future__ import annotations

from bench.lab import patterns, traffic
from bench.lab.measure import Case, Measure, Metric, Sample
from bench.lab.search import highest
from bench.lab.settings import Settings
from bench.lab.site import Site
from bench.lab.system import System

from .throughput import RATE_MIN, Raw, burst_for

BURST_MAX = 65536
BURST_RESOLUTION = 64
PUSHED = 8  # frames per call: few enough not to go as one buffer, which a queueing discipline could hold back
OVERLOAD, AFTER = 1.1, 0.5  # RFC 2544 section 26.5, as shares of what the system forwards at most


class BackToBack(Measure):
    name = "back-to-back"
    title = "Longest burst at full speed without loss"
    source = "RFC 2544 section 26.4"
    sweep = True
    quick = False
    metrics = (
        Metric(
            "frames",
            "frames",
            "high",
            "longest burst, as fast as the generator can, of which nothing was lost",
        ),
    )

    def cases(self, settings: Settings) -> list[Case]:
        return [{"direction": way, "size": 60} for way in patterns.DIRECTIONS]

    def seconds(self, case: Case, settings: Settings) -> float:
        return 12 * 0.5

    def run(self, site: Site, system: System, case: Case, settings: Settings) -> Sample:
        def passes(count: float) -> bool:
            streams, sinks = patterns.make(
                site,
                system,
                str(case["direction"]),
                settings,
                rate=0,
                burst=PUSHED,
                count=max(1, round(count)),
                seconds=2.0,
            )
            return not traffic.run(streams, sinks).sender()["lost"]

        frames = highest(passes, 0, BURST_MAX, BURST_RESOLUTION)
        return Sample({"frames": float(round(frames))}, ["generator"] if frames == BURST_MAX else [])


class Recovery(Measure):
    name = "recovery"
    title = "Recovery from overload"
    source = "RFC 2544 section 26.5"
    sweep = True
    metrics = (
        Metric("recovery_ms", "ms", "low", "from the end of the overload to the last frame lost"),
        Metric("loss_after", "share", "low", "frames lost after the end of the overload"),
        Metric("overload_loss", "share", "none", "frames lost during the overload"),
    )

    def cases(self, settings: Settings) -> list[Case]:
        return [{"direction": way, "size": 60} for way in patterns.DIRECTIONS]

    def seconds(self, case: Case, settings: Settings) -> float:
        return settings.overload_seconds + 3 * settings.trial_seconds + 1.0

    def run(self, site: Site, system: System, case: Case, settings: Settings) -> Sample:
        top = Raw(site, system, case, settings).capacity()
        rates = (max(RATE_MIN, OVERLOAD * top), max(RATE_MIN, AFTER * top))
        after_seconds = max(0.5, 2 * settings.trial_seconds)
        streams, sinks = patterns.make(
            site,
            system,
            str(case["direction"]),
            settings,
            burst=burst_for(rates[0]),
            rate=f"{rates[0]:.0f}@{settings.overload_seconds}+{rates[1]:.0f}@{after_seconds}",
        )
        outcome = traffic.run(streams, sinks)
        overload, after = outcome.sender()["phases"]
        return Sample(
            {
                "recovery_ms": 1e3 * (after["last_lost_after"] or 0.0),
                "loss_after": after["lost"] / after["offered"] if after["offered"] else 0.0,
                "overload_loss": overload["lost"] / overload["offered"] if overload["offered"] else 0.0,
            },
            outcome.limits,
        )


MEASURES = [BackToBack(), Recovery()]
