"""RFC 2544 throughput and frame loss: the highest rate without loss, and the loss at shares of the maximum.

Zero loss on a machine that is itself virtual is at the mercy of its neighbours, so the rate with at most
one frame in a thousand lost is searched too, with the same trials (as FD.io CSIT does: NDR and PDR). The
last trial at the zero-loss rate is the long one that RFC 2544 section 24 wants; where it loses after all,
the rate is stepped down until it does not.
"""

from __future__ import annotations

import math
from typing import Any

from bench.lab import patterns
from bench.lab.measure import WAKEUPS, Case, Measure, Metric, Sample, Values
from bench.lab.search import highest_of_many
from bench.lab.settings import Settings
from bench.lab.site import Site
from bench.lab.system import System

from .cost import burst_of

PARTIAL = 0.001
FINAL_TRIALS_MAX = 5
LOADS = (1.1, 1.0, 0.9, 0.8, 0.7, 0.6, 0.5)  # RFC 2544 section 26.3: steps of at most 10 %
RATE_MIN = 100.0


def burst_for(rate: float) -> int:
    """Frames per system call of the generator: one, until that is too slow."""
    return 1 if rate < 300_000 else 4


class Raw:
    """Trials of one direction and size on a site."""

    def __init__(self, site: Site, system: System, case: Case, settings: Settings) -> None:
        self._site, self._system, self._case, self._settings = site, system, case, settings
        self.limits: set[str] = set()

    def _send(self, **changes: Any) -> Sample:
        case = self._case
        _, sample = patterns.measure(
            self._site, self._system, str(case["direction"]), self._settings, size=case["size"], **changes
        )
        return sample

    def sample(self, rate: float, seconds: float) -> Sample:
        """Send at a rate (0: as fast as possible) and give what came of it."""
        sample = self._send(rate=round(rate), burst=burst_for(rate) if rate else 64, seconds=seconds)
        if rate:
            self.limits.update(sample.limits)
        return sample

    def bill(self, rate: float) -> Sample:
        """Send at a rate with a generator that sleeps, so that what the machine spends is the traffic's."""
        whole = round(rate)
        return self._send(
            rate=whole, burst=burst_of(whole), pace="sleep", seconds=self._settings.cost_seconds
        )

    def capacity(self) -> float:
        """Return what comes out when too much goes in."""
        return max(RATE_MIN, self.sample(0, self._settings.trial_seconds).values["forwarded_pps"])


def picked(sample: Sample, *names: str) -> Values:
    """Return some values of a sample, as far as it has them."""
    return {name: sample.values[name] for name in names if name in sample.values}


class Throughput(Measure):
    name = "throughput"
    title = "Throughput: highest rate without loss"
    source = "RFC 2544 section 26.1"
    sweep = True
    metrics = (
        Metric("zero_loss_pps", "frames/s", "high", "highest rate at which a final trial lost nothing"),
        Metric(
            "partial_loss_pps", "frames/s", "high", "highest rate at which at most one frame in 1000 was lost"
        ),
        Metric(
            "cycles_per_frame",
            "cycles",
            "low",
            "busy cycles of the whole machine per frame at the zero-loss rate",
        ),
        Metric("own_cycles_per_frame", "cycles", "low", "cycles in the system's own data path at that rate"),
        WAKEUPS,
        Metric("latency_p50_us", "us", "low", "median latency at the zero-loss rate"),
        Metric("latency_p99_us", "us", "low", "99th percentile of latency at the zero-loss rate"),
    )

    def cases(self, settings: Settings) -> list[Case]:
        return patterns.by_size(settings.sizes)

    def seconds(self, case: Case, settings: Settings) -> float:
        trials = 4 + 1.5 * math.log2(1 / settings.search_resolution)
        return trials * (settings.trial_seconds + 0.35) + settings.final_seconds + settings.cost_seconds

    def run(self, site: Site, system: System, case: Case, settings: Settings) -> Sample:
        raw = Raw(site, system, case, settings)
        top = 1.1 * raw.capacity()
        found = highest_of_many(
            lambda rate: raw.sample(rate, settings.trial_seconds).values["loss"],
            (0.0, PARTIAL),
            top,
            settings.search_resolution * top,
        )
        rate, final = found[0.0], None
        for _ in range(FINAL_TRIALS_MAX):
            if rate < RATE_MIN:
                break
            final = raw.sample(rate, settings.final_seconds)
            if not final.values["loss"]:
                break
            rate -= settings.search_resolution * top
        clean = final is not None and not final.values["loss"]
        values = {"zero_loss_pps": rate if clean else 0.0, "partial_loss_pps": found[PARTIAL]}
        if final is not None and clean:
            values |= picked(final, "latency_p50_us", "latency_p99_us")
            values |= picked(raw.bill(rate), "cycles_per_frame", "own_cycles_per_frame", "wakeups_per_second")
        return Sample(values, sorted(raw.limits), [] if clean else ["no rate passed the final trial"])


class Loss(Measure):
    name = "loss"
    title = "Frame loss by load"
    source = "RFC 2544 section 26.3"
    sweep = True
    quick = False
    metrics = tuple(
        Metric(
            f"loss_at_{round(100 * load)}",
            "share",
            "low",
            f"loss at {load:.0%} of the maximum forwarding rate",
        )
        for load in LOADS
    )

    def cases(self, settings: Settings) -> list[Case]:
        return patterns.by_size(settings.loss_sizes)

    def seconds(self, case: Case, settings: Settings) -> float:
        return len(LOADS) * (settings.loss_seconds + 0.35) + settings.trial_seconds + 0.35

    def run(self, site: Site, system: System, case: Case, settings: Settings) -> Sample:
        raw = Raw(site, system, case, settings)
        top = raw.capacity()
        values = {
            f"loss_at_{round(100 * load)}": raw.sample(load * top, settings.loss_seconds).values["loss"]
            for load in LOADS
        }
        return Sample(values, sorted(raw.limits))


MEASURES = [Throughput(), Loss()]
