"""Round trips of ping, one millisecond apart: the latency a person sees first, wake-ups included."""

from __future__ import annotations

import re
import statistics

from bench import stats
from bench.errors import BenchError
from bench.lab import net, patterns
from bench.lab.measure import WAKEUPS, Case, Measure, Metric, Sample
from bench.lab.settings import Settings
from bench.lab.site import OUTER_ADDRESS, Site
from bench.lab.system import System

WARM_UP = 20


class Ping(Measure):
    name = "ping"
    title = "Ping round trip, 1 ms apart"
    pinned = False
    metrics = (
        Metric("rtt_mean_us", "us", "low", "mean round trip"),
        Metric("rtt_p50_us", "us", "low", "median round trip"),
        Metric("rtt_p99_us", "us", "low", "99th percentile of round trips"),
        WAKEUPS,
        Metric("loss", "share", "low", "requests without a reply"),
    )

    def cases(self, settings: Settings) -> list[Case]:
        return [{"interval_ms": 1}]

    def seconds(self, case: Case, settings: Settings) -> float:
        return settings.ping_count * 0.001 + 0.6

    def run(self, site: Site, system: System, case: Case, settings: Settings) -> Sample:
        count = settings.ping_count + WARM_UP
        words = ["ping", "-n", "-i", "0.001", "-W", "1", "-c", str(count), OUTER_ADDRESS]
        with site.addressed(tagged=system.tagged), patterns.billed(site, system) as spent:
            said = net.run(
                *("sh", "-c", '"$@" || true', "sh", *words),
                namespace=site.guest_space,
                timeout=count * 0.02 + 20,
            )
        # The first ones pay for ARP and for the first learning.
        times = [
            float(time) * 1000
            for _, time in sorted(
                (int(number), time)
                for number, time in re.findall(r"icmp_seq=(\d+) ttl=\d+ time=([\d.]+) ms", said)
            )
        ][WARM_UP:]
        if not times:
            raise BenchError(f"ping got no reply: {said.strip()[-200:]}")
        return Sample(
            {
                "rtt_mean_us": statistics.fmean(times),
                "rtt_p50_us": statistics.median(times),
                "rtt_p99_us": stats.percentile(times, 99),
                "loss": max(0.0, 1 - len(times) / settings.ping_count),
                **spent,
            }
        )


MEASURES = [Ping()]
