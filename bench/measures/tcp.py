"""TCP through iperf3, one stream: guest to outside and back."""

from __future__ import annotations

import json
from typing import Any

from bench.errors import BenchError
from bench.lab import net, patterns
from bench.lab.measure import WAKEUPS, Case, Measure, Metric, Sample, Values
from bench.lab.settings import Settings
from bench.lab.site import OUTER_ADDRESS, Site
from bench.lab.system import System

PORT = 5201


def iperf(site: Site, system: System, options: list[str], seconds: float) -> tuple[dict[str, Any], Values]:
    """Run a client in the guest against a server outside; gives the end of its report and what was spent."""
    net.require_command("iperf3", "iperf3")
    log = site.directory / "iperf3-server.log"
    server = net.Process(["iperf3", "-s", "-1", "-p", str(PORT)], site.outer_space, log)
    try:
        listening = f":{PORT:04X} "
        server.wait_until(
            lambda: any(
                listening in net.run("cat", f"/proc/net/{table}", namespace=site.outer_space)
                for table in ("tcp", "tcp6")
            ),
            "the iperf3 server",
        )
        words = ["iperf3", "-J", "-c", OUTER_ADDRESS, "-p", str(PORT), "--connect-timeout", "3000", *options]
        with patterns.billed(site, system) as spent:
            said = net.run(
                *("sh", "-c", '"$@" || true', "sh", *words),
                namespace=site.guest_space,
                timeout=seconds + 15,
            )
    finally:
        server.end()
    report = json.loads(said)
    if "error" in report:
        raise BenchError(f"iperf3: {report['error']}")
    return report["end"], spent


class OneStream(Measure):
    """A stream each way; `options` are those of the client."""

    pinned = False
    options: tuple[str, ...] = ()

    def cases(self, settings: Settings) -> list[Case]:
        return [{"direction": way} for way in patterns.DIRECTIONS]

    def seconds(self, case: Case, settings: Settings) -> float:
        return settings.tcp_seconds + 0.9

    def stream(
        self, site: Site, system: System, case: Case, settings: Settings
    ) -> tuple[dict[str, Any], Values]:
        """Run the stream of a case; gives the end of the report and what was spent."""
        words = [*self.options, "-t", str(settings.tcp_seconds)]
        words += ["-R"] if case["direction"] == "down" else []
        with site.addressed(tagged=system.tagged):
            return iperf(site, system, words, settings.tcp_seconds)


class Tcp(OneStream):
    name = "tcp"
    title = "TCP, one stream"
    metrics = (
        Metric("gbps", "Gb/s", "high", "payload received"),
        Metric("cycles_per_byte", "cycles", "low", "busy cycles of the whole machine per byte received"),
        WAKEUPS,
        Metric("retransmits", "segments", "low", "segments sent again"),
    )

    def run(self, site: Site, system: System, case: Case, settings: Settings) -> Sample:
        end, spent = self.stream(site, system, case, settings)
        got = end["sum_received"]
        values = {
            "gbps": got["bits_per_second"] * 1e-9,
            "retransmits": float(end["sum_sent"].get("retransmits", 0)),
            **spent,
        }
        if got["bytes"]:
            values["cycles_per_byte"] = spent["cycles"] / got["bytes"]
        return Sample(values)


class Udp(OneStream):
    name = "udp"
    title = "UDP, full-size datagrams as fast as they go"
    quick = False
    options = ("-u", "-b", "0", "-l", "1472")
    metrics = (
        Metric("gbps", "Gb/s", "high", "payload received"),
        WAKEUPS,
        Metric("loss", "share", "low", "datagrams lost"),
    )

    def run(self, site: Site, system: System, case: Case, settings: Settings) -> Sample:
        end, spent = self.stream(site, system, case, settings)
        total = end["sum"]
        loss = total["lost_percent"] / 100
        return Sample({"gbps": total["bits_per_second"] * (1 - loss) * 1e-9, "loss": loss, **spent})


MEASURES = [Tcp(), Udp()]
