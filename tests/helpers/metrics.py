"""A state for metrics with something in it, and scrapes as samples."""

from __future__ import annotations

from collections import Counter

from prometheus_client.parser import text_string_to_metric_families

from bridge._core import STAGES, THREAD_COUNTERS
from bridge.ledger import Tally
from bridge.metrics import PortState, State

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]

STATE = State(
    version="1.2.3",
    bridge="dmz",
    ports={
        "guests": PortState("tap", "tap0", "access", "up", 1500, 3),
        "uplink": PortState("link", "eth1", "trunk", "missing", 9000, 0),
    },
    tallies={
        "guests": Tally(Counter(rx_frames=7), Counter(runt=2), Counter(tx_full=1)),
        "uplink": Tally(),
    },
    thread={name: number for number, (name, _) in enumerate(THREAD_COUNTERS)},
    stages={name: 1000 * number for number, (name, _) in enumerate(STAGES)},
    fdb={"entries": 3, "capacity": 64},
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
