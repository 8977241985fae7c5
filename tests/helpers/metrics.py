"""A state for metrics with something in it, and scrapes as samples."""

from __future__ import annotations

from collections import Counter

from prometheus_client.parser import text_string_to_metric_families

from bridge.account.ledger import Tally
from bridge.account.window import Amount, ChargeKey, Reading, Times
from bridge.config.metrics import MetricsConfig
from bridge.core._core import HISTOGRAM_BOUNDS, HISTOGRAMS, STAGES, THREAD_COUNTERS
from bridge.metrics.state import PortState, State

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]

SPENT = {"unit": "frames", "times_over": 2, "spent": 100, "dropped": 5}
COPIED = {"mirrored": 10, "bytes": 640, "lost": 3, "over_rate": 4}
STATE = State(
    version="1.2.3",
    bridge="dmz",
    ports={
        "guests": PortState("tap", "tap0", "access", "up", 1500, 3),
        "uplink": PortState("link", "eth1", "trunk", "missing", 9000, 0, is_blocked=True),
    },
    tallies={
        "guests": Tally(Counter(rx_frames=7), Counter(runt=2), Counter(tx_full=1)),
        "uplink": Tally(),
    },
    thread={name: number for number, (name, _) in enumerate(THREAD_COUNTERS)},
    fdb={"entries": 3, "capacity": 64},
    bill=Reading(
        time=100.0,
        stages={name: 1000 * number for number, (name, _) in enumerate(STAGES)},
        charges={
            ChargeKey("guests", 10, "broadcast"): Amount(1000, 5000, 10, 10, 600, 60),
            ChargeKey("uplink", 10, "known_unicast"): Amount(20000, 0, 100, 300, 9000, 100),
            ChargeKey("", 0, "dropped"): Amount(7, 0, 1, 1, 60, 0),  # of ports that are no more
        },
        talkers={
            (10, 0x020000000001): ("guests", Amount(900, 5000, 9, 9, 540, 54)),
            (10, 0x020000000002): ("uplink", Amount(20000, 0, 100, 300, 9000, 100)),
        },
        histograms={name: tuple(range(len(HISTOGRAM_BOUNDS))) for name, _ in HISTOGRAMS},
        times=Times(1.5, 0.25, None),
    ),
    hz=2.5e9,
    limits=MetricsConfig("127.0.0.1:9464", talkers=1),
    budgets=[
        {"budget": "noisy", "flood": None, **SPENT, "state": "within"},
        {"budget": "guests storm unknown", "port": "guests", "flood": "unknown", **SPENT, "state": "over"},
    ],
    mirrors=[
        {"mirror": "why", **COPIED, "state": "recording"},
        {"mirror": "ids", **COPIED, "state": "absent"},
    ],
)


def samples(text: bytes) -> Samples:
    """All samples of a page by name and labels; refuses a series that is there twice."""
    found: Samples = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found, f"twice: {key}"
            found[key] = sample.value
    return found


def value(found: Samples, name: str, **labels: str) -> float:
    """One sample of a page."""
    return found[f"framebridge_{name}", frozenset(labels.items())]
