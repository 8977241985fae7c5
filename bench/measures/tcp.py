"""TCP through iperf3, one stream: guest to outside and back."""

from __future__ import annotations

import json

from bench.errors import BenchError
from bench.lab import cpu, net, patterns
from bench.lab.measure import Case, Measure, Metric, Sample
from bench.lab.settings import Settings
from bench.lab.site import OUTER_ADDRESS, Site
from bench.lab.system import System

PORT = 5201


def iperf(site: Site, options: list[str], seconds: float) -> tuple[dict[str, object], cpu.Usage]:
    """Run a client in the guest against a server outside; gives its report and what the machine spent."""
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
        before = cpu.look()
        words = ["iperf3", "-J", "-c", OUTER_ADDRESS, "-p", str(PORT), "--connect-timeout", "3000", *options]
        report = json.loads(
            net.run(
                "sh", "-c", '"$@" || true', "sh", *words, namespace=site.guest_space, timeout=seconds + 15
            )
        )
        usage = cpu.between(before, cpu.look())
    finally:
        server.end()
    if "error" in report:
        raise BenchError(f"iperf3: {report['error']}")
    return report, usage


class Tcp(Measure):
    name = "tcp"
    title = "TCP, one stream"
    pinned = False
    metrics = (
        Metric("gbps", "Gb/s", "high", "payload received"),
        Metric("cycles_per_byte", "cycles", "low", "busy cycles of the whole machine per byte received"),
        Metric("retransmits", "segments", "low", "segments sent again"),
    )

    def cases(self, settings: Settings) -> list[Case]:
        return [{"direction": way} for way in patterns.DIRECTIONS]

    def seconds(self, case: Case, settings: Settings) -> float:
        return settings.tcp_seconds + 0.9

    def run(self, site: Site, system: System, case: Case, settings: Settings) -> Sample:
        options = ["-t", str(settings.tcp_seconds), *(["-R"] if case["direction"] == "down" else [])]
        with site.addressed(tagged=system.tagged):
            report, usage = iperf(site, options, settings.tcp_seconds)
        end = report["end"]
        assert isinstance(end, dict)
        got = end["sum_received"]
        values = {
            "gbps": got["bits_per_second"] * 1e-9,
            "retransmits": float(end["sum_sent"].get("retransmits", 0)),
            **usage.as_row(),
        }
        if got["bytes"]:
            values["cycles_per_byte"] = usage.cycles / got["bytes"]
        return Sample(values)


class Udp(Measure):
    name = "udp"
    title = "UDP, full-size datagrams as fast as they go"
    pinned = False
    quick = False
    metrics = (
        Metric("gbps", "Gb/s", "high", "payload received"),
        Metric("loss", "share", "low", "datagrams lost"),
    )

    def cases(self, settings: Settings) -> list[Case]:
        return [{"direction": way} for way in patterns.DIRECTIONS]

    def seconds(self, case: Case, settings: Settings) -> float:
        return settings.tcp_seconds + 0.9

    def run(self, site: Site, system: System, case: Case, settings: Settings) -> Sample:
        options = ["-u", "-b", "0", "-l", "1472", "-t", str(settings.tcp_seconds)]
        with site.addressed(tagged=system.tagged):
            report, usage = iperf(
                site, options + (["-R"] if case["direction"] == "down" else []), settings.tcp_seconds
            )
        end = report["end"]
        assert isinstance(end, dict)
        total = end["sum"]
        share = 1 - total["lost_percent"] / 100
        return Sample(
            {
                "gbps": total["bits_per_second"] * share * 1e-9,
                "loss": total["lost_percent"] / 100,
                **usage.as_row(),
            }
        )


MEASURES = [Tcp(), Udp()]
