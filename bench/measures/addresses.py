"""RFC 2889 address caching capacity and address learning rate.

Stations on the trunk say one frame each; then the guest sends one frame to each of them, and a second guest
listens. What it hears was flooded: the address had not been learned, or no longer was. Every trial forgets
first and uses new addresses.
"""

from __future__ import annotations

import itertools

from bench.lab import patterns, traffic
from bench.lab.measure import Case, Measure, Metric, Sample
from bench.lab.search import highest
from bench.lab.settings import Settings
from bench.lab.site import Site, Wish
from bench.lab.system import System

LEARN_RATE = 4_000  # RFC 2889 section 5.7.2 goes as low as 50 a second
TEST_RATE = 50_000
RATE_STATIONS = 4_000
RATE_MAX = 800_000
RATE_MIN = 1_000


class Trials:
    """Learning trials on one site."""

    def __init__(self, site: Site, system: System, settings: Settings) -> None:
        self._site, self._system, self._settings = site, system, settings
        self._bases = itertools.count(0x10)
        self.limits: set[str] = set()

    def floods(self, n: int, rate: float) -> int:
        """Teach `n` addresses at a rate; returns how many of them are flooded afterwards, or lost."""
        self._system.flush(self._site)
        base = f"02:{next(self._bases):02x}:00:00:00:00*{n}"
        inner, outer = patterns.ends(self._site, self._system, "up")
        cpu = self._settings.generator_cpu
        hello = traffic.Stream(  # the guest is known before, so learning frames are not flooded
            inner.netns, inner.dev, stream=8000, dst=outer.mac, src=inner.mac, rate=1000, count=4, cpu=cpu
        )
        teach = traffic.Stream(
            outer.netns,
            outer.dev,
            stream=8001,
            stage=1,
            tag=outer.tag,
            dst=inner.mac,
            src=base,
            rate=rate,
            burst=1 if rate < 200_000 else 8,
            count=n,
            seconds=n / rate + 1,
            cpu=cpu,
        )
        ask = traffic.Stream(
            inner.netns,
            inner.dev,
            stage=2,
            dst=base,
            src=inner.mac,
            rate=TEST_RATE,
            burst=4,
            count=n,
            seconds=n / TEST_RATE + 1,
            cpu=cpu,
        )
        sinks = [
            traffic.Sink(inner.netns, "g0", (8001,), cpu=cpu),
            traffic.Sink(inner.netns, "g1", (9999,), cpu=cpu),
            traffic.Sink(outer.netns, outer.dev, (1,), tag=outer.tag or "none", cpu=cpu),
        ]
        outcome = traffic.run([hello, teach, ask], sinks)
        if "sink" in outcome.limits:
            self.limits.add("sink")
        return int(outcome.received(1, sink=1)["frames"])


class Capacity(Measure):
    name = "address-capacity"
    title = "Addresses kept: none of them flooded"
    source = "RFC 2889 section 5.7"
    sweep = True
    quick = False
    needs_fdb = True
    metrics = (
        Metric(
            "addresses", "addresses", "high", "most addresses that can be taught without one being flooded"
        ),
    )

    def cases(self, settings: Settings) -> list[Case]:
        return [{"rate": LEARN_RATE, "most": settings.stations}]

    def wish(self, case: Case) -> Wish:
        return Wish(n_guests=2)

    def seconds(self, case: Case, settings: Settings) -> float:
        return 8 * (int(str(case["most"])) / 2 * (1 / LEARN_RATE + 1 / TEST_RATE) + 1.0)

    def run(self, site: Site, system: System, case: Case, settings: Settings) -> Sample:
        most = int(str(case["most"]))
        trials = Trials(site, system, settings)
        found = highest(
            lambda n: not trials.floods(max(1, round(n)), LEARN_RATE),
            0,
            most,
            settings.search_resolution * most,
        )
        return Sample(
            {"addresses": float(round(found))},
            sorted(trials.limits),
            ["more than was tried"] if found == most else [],
        )


class LearningRate(Measure):
    name = "learning-rate"
    title = "Rate at which addresses are learned"
    source = "RFC 2889 section 5.8"
    sweep = True
    quick = False
    needs_fdb = True
    metrics = (
        Metric(
            "addresses_per_second", "1/s", "high", "highest rate of new addresses all of which are learned"
        ),
    )

    def cases(self, settings: Settings) -> list[Case]:
        return [{"addresses": RATE_STATIONS}]

    def wish(self, case: Case) -> Wish:
        return Wish(n_guests=2)

    def seconds(self, case: Case, settings: Settings) -> float:
        return 7 * 0.9

    def run(self, site: Site, system: System, case: Case, settings: Settings) -> Sample:
        trials = Trials(site, system, settings)
        found = highest(
            lambda rate: not trials.floods(RATE_STATIONS, rate),
            RATE_MIN,
            RATE_MAX,
            settings.search_resolution * RATE_MAX,
        )
        notes = {RATE_MAX: ["more than was tried"], RATE_MIN: ["less than was tried"]}.get(round(found), [])
        return Sample({"addresses_per_second": found}, sorted(trials.limits), notes)


MEASURES = [Capacity(), LearningRate()]
