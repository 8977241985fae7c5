"""What framebridge is to reach: ratios of one run (ours / theirs, medians of pairs), a few absolute bounds."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Target:
    """One line of the table of targets."""

    what: str
    measure: str
    metric: str
    against: str  # a system; empty: the bound is for our own value
    relation: str  # at least | at most
    bound: float
    case: dict[str, object] = field(default_factory=dict)
    system: str = "framebridge"


def _both(
    what: str,
    measure: str,
    metric: str,
    against: str,
    relation: str,
    bounds: tuple[float, float],
    **case: object,
) -> list[Target]:
    return [
        Target(f"{what}, {way}", measure, metric, against, relation, bound, {"direction": way, **case})
        for way, bound in zip(("up", "down"), bounds, strict=True)
    ]


TARGETS: tuple[Target, ...] = (
    *_both("TCP, one stream", "tcp", "gbps", "linux-bridge", "at least", (1.0, 1.0)),
    *_both("TCP, one stream", "tcp", "gbps", "ovs", "at least", (6.0, 6.0)),
    Target("ping round trip, 1 ms apart", "ping", "rtt_mean_us", "ovs", "at most", 0.35, {"interval_ms": 1}),
    *_both(
        "60-byte frames at saturation", "saturation", "forwarded_pps", "ovs", "at least", (1.6, 2.0), size=60
    ),
    *_both(
        "60-byte frames at saturation",
        "saturation",
        "forwarded_pps",
        "bare-loop",
        "at least",
        (0.95, 0.95),
        size=60,
    ),
    *_both(
        "CPU added per frame at 100 kpps",
        "cost",
        "added_cycles_per_frame",
        "ovs",
        "at most",
        (0.6, 0.6),
        size=60,
        rate=100_000,
        burst=10,
    ),
    *_both(
        "CPU added per frame at 100 kpps",
        "cost",
        "added_cycles_per_frame",
        "tcpbridge",
        "at most",
        (0.4, 0.4),
        size=60,
        rate=100_000,
        burst=10,
    ),
    Target("idle with 8 ports: % of a CPU", "idle", "cpu_percent", "", "at most", 0.3, {"ports": 8}),
    Target("idle with 8 ports: resident MiB", "idle", "resident_mib", "", "at most", 80.0, {"ports": 8}),
)
