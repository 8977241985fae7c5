"""Reports made up for tests: a few systems, measurements and rounds with numbers that are easy to follow."""

from __future__ import annotations

from typing import Any

Report = dict[str, Any]

UP = {"direction": "up"}
COST = {"direction": "up", "size": 60, "rate": 100_000, "burst": 10}


def make_sample(measure: str, case: dict[str, object], system: str, number: int, **values: float) -> Report:
    return {
        "measure": measure,
        "case": case,
        "system": system,
        "round": number,
        "values": values,
        "limits": [],
        "notes": [],
    }


def make_metric(name: str, better: str, unit: str = "u") -> Report:
    return {"name": name, "unit": unit, "better": better, "meaning": f"what {name} means"}


def make_system(name: str, status: str = "ran", reason: str = "") -> Report:
    return {
        "name": name,
        "title": name.replace("-", " ").title(),
        "guest": "tap",
        "tagged": True,
        "super_frames": True,
        "status": status,
        "reason": reason,
        "version": "1",
    }


def make_report(scale: float = 1.0, rounds: int = 3) -> Report:
    """Make a report: framebridge moves 10 Gb/s times `scale`, the kernel bridge 10, OVS 2.

    A frame costs 2000 / `scale`, 1500 and 5000 cycles more than over the direct veth.
    """
    samples = []
    for number in range(rounds):
        wobble = 1 + 0.01 * number
        for system, gbps in (("framebridge", 10 * scale), ("linux-bridge", 10), ("ovs", 2), ("direct", 20)):
            samples.append(make_sample("tcp", UP, system, number, gbps=gbps * wobble, retransmits=0.0))
        for system, cycles in (
            ("framebridge", 2000 / scale),
            ("linux-bridge", 1500),
            ("ovs", 5000),
            ("direct", 0),
        ):
            values = {"cycles_per_frame": 3000 + cycles * wobble, "loss": 0.0, "cpu_steal": 0.01 * number}
            values |= {"wakeups_per_second": 10_000.0}
            samples.append(make_sample("cost", COST, system, number, **values))
        for n, cycles in ((1, 100), (1000, 110), (64000, 200)):
            samples.append(
                make_sample(
                    "scaling", {"by": "macs", "n": n}, "framebridge", number, cycles_per_frame=cycles * wobble
                )
            )
    return {
        "schema": "framebridge-bench/1",
        "bench_version": "1",
        "created": "2024-05-01T12:00:00+00:00",
        "seconds": 12.5,
        "complete": True,
        "settings": {"mode": "quick", "rounds": rounds},
        "host": {"kernel": "6.1", "cpus": 2, "cpu": "A <fast> CPU", "cycles_per_second": 2.5e9},
        "selfcheck": [{"check": "clean path", "good": True, "text": "100 of 100 frames"}],
        "systems": [
            *(make_system(name) for name in ("framebridge", "linux-bridge", "ovs", "direct")),
            make_system("click", "skipped", "click is not installed"),
        ],
        "measures": [
            {
                "name": "tcp",
                "title": "TCP",
                "source": "",
                "metrics": [make_metric("gbps", "high", "Gb/s"), make_metric("retransmits", "low")],
            },
            {
                "name": "cost",
                "title": "Cost",
                "source": "RFC 0",
                "metrics": [
                    make_metric("cycles_per_frame", "low"),
                    make_metric("added_cycles_per_frame", "low"),
                    make_metric("wakeups_per_second", "low"),
                    make_metric("loss", "low"),
                ],
            },
            {
                "name": "scaling",
                "title": "Scaling",
                "source": "",
                "metrics": [make_metric("cycles_per_frame", "low")],
            },
        ],
        "samples": samples,
    }
