"""RFC 2889 with more than two ports: meshes, head-of-line blocking, broadcast.

Guests are g0..g3, the trunk is one more port. Guest i has the address 02:00:00:0a:00:i, the outer station
02:00:00:0a:00:ff. All have spoken before anything is measured.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from bench.errors import BenchError, SkippedError
from bench.lab import patterns, traffic
from bench.lab.measure import Case, Measure, Metric, Sample, Values
from bench.lab.settings import Settings
from bench.lab.site import Site, Wish
from bench.lab.system import System

BASE = 0x0A
OUTER = 0xFF
RING_MIB = 8
BROADCAST = "ff:ff:ff:ff:ff:ff"


def station(number: int) -> str:
    """Return the address of a guest, or of the outer station."""
    return traffic.make_mac(BASE, number)


def hellos(site: Site, system: System, settings: Settings) -> list[traffic.Stream]:
    """One frame from every station to nobody, so that all are known."""
    spoken = []
    for i in range(site.n_guests):
        inner, _ = patterns.ends(site, system, "up", i)
        spoken.append(
            traffic.Stream(
                inner.netns,
                inner.dev,
                stream=8000 + i,
                src=station(i),
                dst=station(0x7FFF),
                rate=1000,
                count=2,
                cpu=settings.generator_cpu,
            )
        )
    _, outer = patterns.ends(site, system, "up")
    spoken.append(
        traffic.Stream(
            outer.netns,
            outer.dev,
            stream=8255,
            tag=outer.tag,
            src=station(OUTER),
            dst=station(0x7FFF),
            rate=1000,
            count=2,
            cpu=settings.generator_cpu,
        )
    )
    return spoken


def between(
    site: Site, system: System, source: int, target: int, settings: Settings, **changes: object
) -> traffic.Stream:
    """Return a stream of stage 1 from one station to another."""
    inner, outer = patterns.ends(site, system, "up", source if source != OUTER else 0)
    end = outer if source == OUTER else inner
    values: dict[str, object] = {
        "tag": end.tag,
        "src": station(source),
        "dst": station(target),
        "stage": 1,
        "cpu": settings.generator_cpu,
    }
    return traffic.Stream(end.netns, end.dev).with_changes(**(values | changes))


def sink_at(
    site: Site, system: System, number: int, streams: tuple[int, ...], settings: Settings
) -> traffic.Sink:
    """Return a sink for streams that belong to a station."""
    inner, outer = patterns.ends(site, system, "up", number if number != OUTER else 0)
    end = outer if number == OUTER else inner
    return traffic.Sink(
        end.netns, end.dev, streams, tag=end.tag or "none", ring=RING_MIB, cpu=settings.generator_cpu
    )


class Mesh(Measure):
    name = "mesh"
    title = "Many ports at once"
    source = "RFC 2889 sections 5.1 and 5.2"
    sweep = True
    quick = False
    metrics = (
        Metric("forwarded_pps", "frames/s", "high", "frames that came out of all ports, per second"),
        Metric("strays", "frames", "low", "frames that came out of a port where they do not belong"),
    )
    patterns = ("full-mesh", "one-to-many", "many-to-one")

    def cases(self, settings: Settings) -> list[Case]:
        return [{"pattern": pattern, "ports": 4, "size": 60} for pattern in self.patterns]

    def wish(self, case: Case) -> Wish:
        return Wish(n_guests=3)

    def seconds(self, case: Case, settings: Settings) -> float:
        return settings.saturation_seconds + 0.6

    def run(self, site: Site, system: System, case: Case, settings: Settings) -> Sample:
        stations = [*range(site.n_guests), OUTER]
        pairs = {
            "full-mesh": [(a, b) for a in stations for b in stations if a != b],
            "one-to-many": [(OUTER, b) for b in stations if b != OUTER],
            "many-to-one": [(a, OUTER) for a in stations if a != OUTER],
        }[str(case["pattern"])]
        streams = [
            between(
                site,
                system,
                a,
                b,
                settings,
                stream=i + 1,
                rate=0,
                burst=16,
                seconds=settings.saturation_seconds,
            )
            for i, (a, b) in enumerate(pairs)
        ]
        sinks = [
            sink_at(
                site,
                system,
                one,
                tuple(i + 1 for i, (_, b) in enumerate(pairs) if b == one) or (9999,),
                settings,
            )
            for one in stations
        ]
        outcome = traffic.run([*hellos(site, system, settings), *streams], sinks)
        frames = sum(sink["frames"] for sink in outcome.report["sinks"])
        strays = sum(
            found["frames"]
            for sink in outcome.report["sinks"]
            for found in sink["streams"]
            if not found["expected"] and found["stream"] < 8000
        )
        return Sample(
            {"forwarded_pps": frames / settings.saturation_seconds, "strays": strays}, outcome.limits
        )


class HeadOfLine(Measure):
    name = "head-of-line"
    title = "Head-of-line blocking: does a full port hold up another?"
    source = "RFC 2889 section 5.5"
    sweep = True
    metrics = (
        Metric(
            "uncongested_loss",
            "share",
            "low",
            "loss of the flow to the free port while the trunk is congested",
        ),
        Metric("uncongested_p99_us", "us", "low", "99th percentile of the latency of that flow"),
        Metric("alone_p99_us", "us", "none", "the same without congestion"),
        Metric(
            "congested_loss",
            "share",
            "none",
            "loss of the flows to the congested port: zero means backpressure or none",
        ),
    )
    rate = 20_000
    limit_share = 0.66  # the trunk takes two thirds of what is sent to it: 150 %, as the RFC wants

    def cases(self, settings: Settings) -> list[Case]:
        return [{"ports": 4, "rate": self.rate}]

    def wish(self, case: Case) -> Wish:
        return Wish(n_guests=3)

    def seconds(self, case: Case, settings: Settings) -> float:
        return 2 * (settings.saturation_seconds + 0.6)

    def applies(self, system: System, case: Case) -> bool:
        return super().applies(system, case) and system.guest in ("tap", "veth") and system.name != "direct"

    def run(self, site: Site, system: System, case: Case, settings: Settings) -> Sample:
        size = 508
        # g0 sends half to the trunk and half to g1, g2 all to the trunk: the trunk gets 1.5 shares, g1 half a share.
        flows = ((1, 0, OUTER, 0.5), (2, 0, 1, 0.5), (3, 2, OUTER, 1.0))
        streams = [
            between(
                site,
                system,
                a,
                b,
                settings,
                stream=number,
                rate=self.rate * share,
                size=size,
                pace="sleep",
                seconds=settings.saturation_seconds,
            )
            for number, a, b, share in flows
        ]
        sinks = [
            sink_at(site, system, OUTER, (1, 3), settings),
            sink_at(site, system, 1, (2,), settings),
        ]
        alone = traffic.run([*hellos(site, system, settings), *streams], sinks)
        bits = round(self.rate * 1.5 * self.limit_share * 8 * (size + 4))
        with narrowed(site, bits):
            full = traffic.run([*hellos(site, system, settings), *streams], sinks)
        values: Values = {
            "uncongested_loss": loss(full, 2),
            "congested_loss": (full.sender(1)["lost"] + full.sender(3)["lost"])
            / max(1, full.sender(1)["offered"] + full.sender(3)["offered"]),
        }
        for name, outcome in (("uncongested_p99_us", full), ("alone_p99_us", alone)):
            if "p99" in outcome.received(2)["latency_us"]:
                values[name] = outcome.received(2)["latency_us"]["p99"]
        notes = [] if values["congested_loss"] > 0 else ["the trunk was not congested for this system"]
        return Sample(values, full.limits, notes)


def loss(outcome: traffic.Outcome, stream: int) -> float:
    """Return the share of a stream that was lost."""
    sent = outcome.sender(stream)
    return float(sent["lost"] / sent["sequences"]) if sent["sequences"] else 0.0


@contextlib.contextmanager
def narrowed(site: Site, bits: int) -> Iterator[None]:
    """Make the trunk take no more than so many bits per second (a token bucket on its way out)."""
    words = (
        "tc",
        "qdisc",
        "replace",
        "dev",
        "trunk",
        "root",
        "tbf",
        "rate",
        f"{bits}bit",
        "burst",
        "16kb",
        "limit",
        "64kb",
    )
    try:
        site.run(*words)
    except BenchError as error:
        raise SkippedError(f"no token bucket on the trunk: {error}") from error
    try:
        yield
    finally:
        site.run("tc", "qdisc", "delete", "dev", "trunk", "root")


class Broadcast(Measure):
    name = "broadcast"
    title = "Broadcasts from the trunk to four guests"
    source = "RFC 2889 section 5.10"
    sweep = True
    metrics = (
        Metric(
            "copies_per_second",
            "frames/s",
            "high",
            "copies that came out of all ports under overload, per second",
        ),
        Metric(
            "latency_p50_us", "us", "low", "median latency at 1000 broadcasts per second, mean of the ports"
        ),
        Metric("latency_p99_us", "us", "low", "99th percentile of latency, worst port"),
        Metric("skew_us", "us", "low", "between the medians of the first and the last port"),
    )

    def cases(self, settings: Settings) -> list[Case]:
        return [{"ports": 5, "size": 60}]

    def wish(self, case: Case) -> Wish:
        return Wish(n_guests=4)

    def seconds(self, case: Case, settings: Settings) -> float:
        return settings.saturation_seconds + settings.latency_seconds + 1.0

    def run(self, site: Site, system: System, case: Case, settings: Settings) -> Sample:
        sinks = [sink_at(site, system, i, (1,), settings) for i in range(site.n_guests)]
        common: dict[str, object] = {"dst": BROADCAST, "queue": "fast"}
        flood = between(
            site, system, OUTER, 0, settings, rate=0, burst=64, seconds=settings.saturation_seconds, **common
        )
        calm = between(
            site, system, OUTER, 0, settings, rate=1000, seconds=settings.latency_seconds, **common
        )
        full = traffic.run([*hellos(site, system, settings), flood], sinks)
        slow = traffic.run([*hellos(site, system, settings), calm], sinks)
        copies = sum(full.received(1, sink=i)["pps"] for i in range(site.n_guests))
        times = [slow.received(1, sink=i)["latency_us"] for i in range(site.n_guests)]
        if not all(time["n"] for time in times):
            raise BenchError("broadcasts did not reach every guest")
        middles = [time["p50"] for time in times]
        return Sample(
            {
                "copies_per_second": copies,
                "latency_p50_us": sum(middles) / len(middles),
                "latency_p99_us": max(time["p99"] for time in times),
                "skew_us": max(middles) - min(middles),
            },
            full.limits,
        )


MEASURES = [Mesh(), HeadOfLine(), Broadcast()]
