"""How the cost of a frame grows with MAC addresses, VLANs, ports and copies, and where it stops being flat.

Fixed load, a sleeping generator, busy cycles of the whole machine per frame (per copy for floods). The
curve matters, not the level: generator and sink are in it, the same at every point.
"""

from __future__ import annotations

from bench.lab import net, patterns, traffic
from bench.lab.measure import WAKEUPS, Case, Measure, Metric, Sample
from bench.lab.settings import Settings
from bench.lab.site import ONE_GUEST, Site, Wish
from bench.lab.system import System

from .cost import CYCLES, AtLoad
from .many_ports import BROADCAST, OUTER, between, hellos, station

RATE = 100_000
BURST = 10
FIRST_VID = 100


class Scaling(Measure):
    name = "scaling"
    title = "Cost by number of addresses, VLANs, ports and copies"
    sweep = True
    metrics = (
        Metric(
            "cycles_per_frame",
            "cycles",
            "low",
            "busy cycles of the whole machine per frame, or per copy, delivered",
        ),
        Metric(
            "own_cycles_per_frame", "cycles", "low", "cycles in the system's own data path per frame received"
        ),
        WAKEUPS,
        Metric("loss", "share", "low", "frames lost"),
    )

    def cases(self, settings: Settings) -> list[Case]:
        sweeps = {
            "macs": settings.macs,
            "vlans": settings.vlans,
            "ports": settings.ports,
            "copies": settings.copies,
        }
        return [{"by": by, "n": n} for by, values in sweeps.items() for n in values]

    def seconds(self, case: Case, settings: Settings) -> float:
        learning = 2 * int(str(case["n"])) / patterns.LEARN_RATE if case["by"] == "macs" else 0.0
        return settings.cost_seconds + 0.5 + learning

    def wish(self, case: Case) -> Wish:
        n = int(str(case["n"]))
        if case["by"] == "vlans":
            return Wish(vids=tuple(range(FIRST_VID, FIRST_VID + n)), guest_tagged=True)
        if case["by"] == "ports":
            return Wish(n_guests=n - 1) if n > 2 else ONE_GUEST
        if case["by"] == "copies":
            return Wish(n_guests=n) if n > 1 else ONE_GUEST
        return ONE_GUEST

    def applies(self, system: System, case: Case) -> bool:
        return super().applies(system, case) and system.learns

    def run(self, site: Site, system: System, case: Case, settings: Settings) -> Sample:
        n = int(str(case["n"]))
        if case["by"] in ("macs", "vlans"):
            _, sample = patterns.measure(
                site,
                system,
                "up",
                settings,
                n_macs=n,
                rate=RATE,
                burst=BURST,
                pace="sleep",
                order="random",
                seconds=settings.cost_seconds,
            )
            return sample
        if case["by"] == "ports":
            return self._to_guests(site, system, settings, station(0) + f"*{site.n_guests}", RATE, 1)
        return self._to_guests(site, system, settings, BROADCAST, max(1000, RATE // n), n)

    def _to_guests(
        self, site: Site, system: System, settings: Settings, dst: str, rate: int, copies: int
    ) -> Sample:
        """Send from the trunk to guests; their devices count what arrives, since many sinks would cost much."""
        stream = between(
            site,
            system,
            OUTER,
            0,
            settings,
            dst=dst,
            rate=rate,
            burst=max(1, rate // 10_000),
            pace="sleep",
            order="random",
            seconds=settings.cost_seconds,
        )
        bill = patterns.Bill(site, system)
        counts: list[int] = []

        def around(event: str) -> None:
            bill.look(event)
            if event == "start":
                counts.append(self._arrived(site))

        outcome = traffic.run([*hellos(site, system, settings), stream], around=around)
        delivered = self._arrived(site) - counts[0]
        offered = outcome.sender()["offered"] * copies
        values = {
            "loss": max(0.0, 1 - delivered / offered) if offered else 0.0,
            **outcome.usage.as_row(),
            **bill.values(outcome.usage.seconds),
        }
        if delivered:
            values["cycles_per_frame"] = outcome.usage.cycles / delivered
        return Sample(values, outcome.limits)

    @staticmethod
    def _arrived(site: Site) -> int:
        return sum(net.device_statistics(site.guest_space, guest)["rx_packets"] for guest in site.guests)


class Shapes(AtLoad):
    name = "shapes"
    title = "Cost by the shape of bursts, at one load"
    sweep = True
    quick = False
    metrics = (*CYCLES, Metric("latency_p99_us", "us", "low", "99th percentile of latency"), WAKEUPS)

    def cases(self, settings: Settings) -> list[Case]:
        return [
            {"direction": way, "size": size, "rate": RATE, "burst": burst}
            for size in (60, "imix")
            for burst in settings.bursts
            for way in patterns.DIRECTIONS
        ]


class Sizes(AtLoad):
    name = "sizes"
    title = "Cost by frame size, at one load"
    sweep = True
    quick = False
    metrics = Shapes.metrics

    def cases(self, settings: Settings) -> list[Case]:
        return [
            {"direction": way, "size": size, "rate": RATE // 2, "burst": 5}
            for size in settings.sizes
            for way in patterns.DIRECTIONS
        ]

    def wish(self, case: Case) -> Wish:
        return Wish(mtu=9000) if case["size"] == patterns.JUMBO else ONE_GUEST


MEASURES = [Scaling(), Shapes(), Sizes()]
