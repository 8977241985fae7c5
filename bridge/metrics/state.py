"""Everything a page of metrics reports, read at one moment. Pure values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bridge.account.ledger import Tally
from bridge.account.window import Reading
from bridge.config.metrics import MetricsConfig

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class PortState:
    """What is not counted of a port: labels and gauges. `mtu` in layer-3 bytes."""

    kind: str
    device: str
    mode: str
    state: str
    mtu: int
    fdb_entries: int
    is_blocked: bool = False


@dataclass(frozen=True, slots=True)
class State:
    """Everything that is reported: counters of one batch boundary, the bill of another. Ports by name."""

    version: str
    bridge: str
    ports: Mapping[str, PortState]
    tallies: Mapping[str, Tally]
    thread: Mapping[str, int]
    fdb: Mapping[str, int]  # entries, capacity
    bill: Reading
    hz: float | None  # cycles per second; None: not known yet
    limits: MetricsConfig
    budgets: Rows = ()  # rows of account/budgets, storm control among them
    mirrors: Rows = ()  # rows of mirror/mirrors
    queriers: Rows = ()  # rows of multicast/rows: VLANs and families that snoop
