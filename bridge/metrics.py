"""Metrics for Prometheus: what is counted, as metric families of its client library, at the moment of a scrape.

Job: turn a `State`, read at one moment, into families. Names and HELP texts are made of the names and sentences
that csrc/counters.h declares, so a counter added there is a metric here. `bridge.metrics_server` serves them.
Thread: any, one at a time. Needs the package prometheus-client (extra `metrics`), imported by what needs it.

Invariants:
* A counter goes backwards only if what it counts began anew (a port was removed and added again, a station was
  forgotten and learned again), which Prometheus takes as the reset it is. A port that loses its device and gets it
  back counts on (bridge.ledger).
* The number of series is bounded: per port and per class by what is configured and declared, VLANs and talkers by
  [metrics]. A VLAN that enters or leaves the ones shown makes no counter jump, see `Shown`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bridge._core import DROP_REASONS, PORT_COUNTERS, STAGES, THREAD_COUNTERS
from bridge.errors import ConfigError, Problem
from bridge.ledger import Tally

if TYPE_CHECKING:
    from prometheus_client import Metric

PREFIX = "framebridge"
MISSING = (
    "the Python package prometheus-client is not installed; "
    "install it with: pip install 'framebridge[metrics]', or remove [metrics]"
)


@dataclass(frozen=True, slots=True)
class PortState:
    """What is not counted of a port: labels and gauges. `mtu` in layer-3 bytes."""

    kind: str
    device: str
    mode: str
    state: str
    mtu: int
    fdb_entries: int


@dataclass(frozen=True, slots=True)
class State:
    """Everything that is told, read at one batch boundary. Ports by name, VLANs by ID."""

    version: str
    bridge: str
    ports: Mapping[str, PortState]
    tallies: Mapping[str, Tally]
    thread: Mapping[str, int]
    stages: Mapping[str, int]  # cycles
    fdb: Mapping[str, int]  # entries, capacity


# -- families


@dataclass(frozen=True, slots=True)
class Family:
    """A metric before the client library has it: `labels` name what the keys of `values` stand for."""

    kind: str  # counter | gauge | info
    name: str  # without framebridge_ and without _total
    help: str
    labels: tuple[str, ...]
    values: Iterable[tuple[tuple[str, ...], float]]


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _listed(text: str, table: Sequence[tuple[str, str]]) -> str:
    """Write a HELP text for a label whose values are declared with sentences."""
    return f"{text}: {'; '.join(f'{name}: {sentence}' for name, sentence in table)}."


def families(state: State) -> Iterator[Family]:
    """Give all families of a state."""
    build = (state.bridge, state.version)
    yield Family("info", "build", "Name and version of the bridge.", ("bridge", "version"), [(build, 1)])
    yield from _port_families(state)
    for name, text in THREAD_COUNTERS:
        text = f"Data thread: {text}."
        yield Family("counter", f"thread_{name}", text, (), [((), state.thread[name])])
    stages = [((stage,), state.stages[stage]) for stage, _ in STAGES]
    yield Family("counter", "stage_cycles", _listed("Cycles by stage", STAGES), ("stage",), stages)
    yield Family("gauge", "fdb_entries", "FDB entries.", (), [((), state.fdb["entries"])])
    yield Family(
        "gauge", "fdb_entries_limit", "FDB entries there is room for.", (), [((), state.fdb["capacity"])]
    )


def _port_families(state: State) -> Iterator[Family]:
    ports = state.ports.items()
    info = [((name, port.device, port.kind, port.mode), 1.0) for name, port in ports]
    yield Family("info", "port", "Ports of the configuration.", ("port", "device", "kind", "mode"), info)
    up = [((name,), float(port.state == "up")) for name, port in ports]
    yield Family("gauge", "port_up", "1: attached, enabled, its device up with carrier.", ("port",), up)
    attached = [((name,), float(port.state != "missing")) for name, port in ports]
    yield Family("gauge", "port_present", "1: there is such a device.", ("port",), attached)
    mtu = [((name,), float(port.mtu)) for name, port in ports]
    yield Family("gauge", "port_mtu_bytes", "Layer-3 bytes that fit a frame.", ("port",), mtu)
    entries = [((name,), float(port.fdb_entries)) for name, port in ports]
    yield Family("gauge", "port_fdb_entries", "FDB entries on the port.", ("port",), entries)
    for counter, text in PORT_COUNTERS:
        counts = [((name,), tally.values[counter]) for name, tally in state.tallies.items()]
        yield Family("counter", f"port_{counter}", _sentence(text), ("port",), counts)
    drops = [
        ((name, direction, reason), ended[reason])
        for name, tally in state.tallies.items()
        for direction, ended in (("rx", tally.rx_drops), ("tx", tally.tx_drops))
        for reason, _ in DROP_REASONS
    ]
    text = _listed("Frames (rx) and copies (tx) that ended at the port, by reason", DROP_REASONS)
    yield Family("counter", "port_drops", text, ("port", "direction", "reason"), drops)


# -- the client library


class Exposition:
    """Writes states in the text formats of Prometheus; a collector of the client library."""

    SUFFIXES: Mapping[str, str] = {"counter": "_total", "info": "_info", "gauge": ""}

    def __init__(self) -> None:
        """Raise ConfigError if the client library is not there."""
        try:
            from prometheus_client import ProcessCollector
        except ImportError as error:
            raise ConfigError([Problem("metrics", MISSING)]) from error
        self._process = ProcessCollector(registry=None)
        self._state: State | None = None

    def write(self, state: State, *, openmetrics: bool = False) -> tuple[str, bytes]:
        """Give the content type and the text."""
        from prometheus_client import exposition
        from prometheus_client.openmetrics import exposition as openmetrics_exposition

        self._state = state
        if openmetrics:
            text: bytes = openmetrics_exposition.generate_latest(self)  # type: ignore[no-untyped-call]
            return openmetrics_exposition.CONTENT_TYPE_LATEST, text
        return exposition.CONTENT_TYPE_PLAIN_0_0_4, exposition.generate_latest(self)

    def collect(self) -> Iterator[Metric]:
        """Give the metrics of the bridge, and those every process has."""
        if self._state is not None:
            yield from map(self._metric, families(self._state))
        yield from self._process.collect()

    def _metric(self, family: Family) -> Metric:
        from prometheus_client import Metric

        name = f"{PREFIX}_{family.name}"
        metric = Metric(name, family.help, family.kind)
        for labels, value in family.values:
            named = dict(zip(family.labels, labels, strict=True))
            metric.add_sample(name + self.SUFFIXES[family.kind], named, value)
        return metric
