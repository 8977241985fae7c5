"""The text formats of Prometheus, written by its client library (extra `metrics`).

The package prometheus-client is imported where it is needed; without it a bridge without [metrics] runs. Thread: any,
one at a time. Refuses, as ConfigError: a client library that is missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from bridge.config.metrics import NO_PROMETHEUS
from bridge.errors import ConfigError, Problem
from bridge.metrics.bounded import Shown
from bridge.metrics.families import Family, families
from bridge.metrics.state import State

if TYPE_CHECKING:
    from prometheus_client import Metric

PREFIX = "framebridge"


class Exposition:
    """Writes states in the text formats of Prometheus; a collector of the client library."""

    SUFFIXES: Mapping[str, str] = {"counter": "_total", "info": "_info", "gauge": "", "histogram": "_bucket"}

    def __init__(self) -> None:
        """Raise ConfigError if the client library is not there."""
        try:
            from prometheus_client import ProcessCollector
        except ImportError as error:
            raise ConfigError([Problem("metrics", NO_PROMETHEUS)]) from error
        self._process = ProcessCollector(registry=None)
        self._shown = Shown()
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
            yield from map(self._metric, families(self._state, self._shown))
        yield from self._process.collect()

    def _metric(self, family: Family) -> Metric:
        from prometheus_client import Metric

        name = f"{PREFIX}_{family.name}"
        metric = Metric(name, f"{family.help} {family.legend}".rstrip(), family.kind)
        for labels, value in family.values:
            named = dict(zip(family.labels, labels, strict=True))
            metric.add_sample(name + self.SUFFIXES[family.kind], named, value)
        return metric
