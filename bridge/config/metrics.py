"""The `[metrics]` table of the configuration: where Prometheus asks, and how much it is given.

Pure, but that it looks whether the client library is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

from bridge.config import checks
from bridge.config.key import key, keys, write_keys
from bridge.config.section import Section
from bridge.config.table import Table
from bridge.config.text import listing

NO_PROMETHEUS = (
    "the Python package prometheus-client is not installed; "
    "install it with: pip install 'framebridge[metrics]', or remove [metrics]"
)


@dataclass(frozen=True, slots=True)
class MetricsConfig:
    """The `[metrics]` table: metrics for Prometheus over HTTP."""

    address: str = key("", checks.listen_address)  # 127.0.0.1:9464 or [::1]:9464; "": off
    vlans: int = key(
        100, checks.integer(0, checks.VID_MAX)
    )  # VLANs with series of their own at most, the dearest; the others are summed up
    talkers: int = key(0, checks.integer(0, 1000))  # the same for source addresses, which are not summed up

    @property
    def needs_low_port(self) -> bool:
        """Whether its TCP port is one that takes a capability."""
        port = self.address.rpartition(":")[2]
        return bool(port) and int(port) < 1024


KEYS = keys(MetricsConfig)


def read_metrics(table: Table) -> MetricsConfig:
    """Read `[metrics]`."""
    fields = table.fields(KEYS, required=("address",))
    table.refuse_unknown()
    if "address" in table and not find_spec("prometheus_client"):
        table.fail(NO_PROMETHEUS)
    return MetricsConfig(**fields)


def metrics_table(metrics: MetricsConfig) -> dict[str, object]:
    """Return the `[metrics]` table."""
    return write_keys(metrics, KEYS)


SECTION = Section(
    name="metrics",
    field="metrics",
    read=read_metrics,
    write=metrics_table,
    blank=MetricsConfig(),
    actions=("set_metrics", "set_metrics", "set_metrics"),
    subject=lambda metrics: metrics.address or "off",
    describe=lambda metrics: listing(metrics_table(metrics), {"address": metrics.address}),
)
