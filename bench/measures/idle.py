"""What a system costs that has nothing to do: eight ports, no traffic."""

from __future__ import annotations

import time

from bench.lab import cpu
from bench.lab.measure import WAKEUPS, Case, Measure, Metric, Sample
from bench.lab.settings import Settings
from bench.lab.site import Site, Wish
from bench.lab.system import System

PORTS = 8
QUIET_SECONDS = 1.0  # until what start-up left to do is done


class Idle(Measure):
    name = "idle"
    title = "An idle system with eight ports"
    sweep = True
    metrics = (
        Metric("cpu_percent", "%", "low", "CPU of all its processes, of one CPU"),
        Metric("resident_mib", "MiB", "low", "resident memory of all its processes"),
        WAKEUPS,
    )

    def cases(self, settings: Settings) -> list[Case]:
        return [{"ports": PORTS}]

    def wish(self, case: Case) -> Wish:
        return Wish(n_guests=PORTS - 1)

    def seconds(self, case: Case, settings: Settings) -> float:
        return max(3.0, settings.cost_seconds) + QUIET_SECONDS

    def run(self, site: Site, system: System, case: Case, settings: Settings) -> Sample:
        seconds = max(3.0, settings.cost_seconds)
        pids = site.pids()
        time.sleep(QUIET_SECONDS)
        before = cpu.look_at(pids)
        time.sleep(seconds)
        after = cpu.look_at(pids)
        return Sample(
            {
                "cpu_percent": 100 * (after.cpu - before.cpu) / seconds,
                "resident_mib": after.resident / (1 << 20),
                "wakeups_per_second": (after.wakeups - before.wakeups) / seconds,
            }
        )


MEASURES = [Idle()]
