"""Write docs/metrics.md from the families of bridge.metrics, whose names and sentences csrc/count/counters.h declares.

`python docs/metrics.py` writes the file; a test compares it with what would be written now.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bridge.account.ledger import Tally
from bridge.account.window import Reading
from bridge.config.metrics import MetricsConfig
from bridge.core._core import HISTOGRAMS, STAGES, THREAD_COUNTERS
from bridge.metrics.bounded import Shown
from bridge.metrics.exposition import PREFIX
from bridge.metrics.families import Family, families
from bridge.metrics.state import PortState, State

PAGE = Path(__file__).with_name("metrics.md")

INTRODUCTION = """\
# Metrics

Made by `make docs`. For [Prometheus](https://prometheus.io): off until the configuration says where to listen, changed
by `framebridge reload`. It needs the package prometheus-client: `pip install 'framebridge[metrics]'`.

```toml
[metrics]
address = "127.0.0.1:9464"   # or "[::1]:9464"; the page is /metrics
vlans = 100                  # VLANs with series of their own, the dearest; the others are summed up as "other"
talkers = 0                  # source addresses with series of their own, the dearest; 0: none
```

```yaml
scrape_configs:
  - job_name: framebridge
    static_configs: [{ targets: ["127.0.0.1:9464"] }]
```

There is neither encryption nor a password: whoever reaches the address may read. A page is used again for half a
second, a very large one for longer, so any number of scrapers costs a few readings a second. The counters of a page are
of one batch boundary, its bill of the next one, so what must add up does ([counters.md](counters.md)); the text is
written outside of both threads. At most 16 are served at once; slow and silent clients are cut off, the one waited for
longest first, and the last 128 descriptors of the daemon are not for scrapers.

What is counted by class, with `framebridge_uncharged_cycles`, adds up to the busy stages (all but blocked, polling and
control), exactly; so do VLANs as long as none has lost its place to a dearer one. What a VLAN spends without a series
of its own counts as "other" for good, so neither leaps when they change places. What the values of `stage`, `class` and
`reason` mean is in the HELP texts. A histogram has no sum, which nobody counts: the counters tell means.

What is counted for a port goes on when its device is lost and returns; a port that was removed takes its series with
it. Cycles are cycles of the TSC (or what the machine has instead).

[grafana-dashboard.json](grafana-dashboard.json) is a dashboard for Grafana: Dashboards, New, Import.

## All metrics
"""

# A state that has one of everything.
EXAMPLE = State(
    version="",
    bridge="",
    ports={"": PortState("", "", "", "", 0, 0)},
    tallies={"": Tally()},
    thread=dict.fromkeys((name for name, _ in THREAD_COUNTERS), 0),
    fdb={"entries": 0, "capacity": 0},
    bill=Reading(
        0.0,
        stages=dict.fromkeys((name for name, _ in STAGES), 0),
        histograms=dict.fromkeys((name for name, _ in HISTOGRAMS), ()),
    ),
    hz=None,
    limits=MetricsConfig(),
)
SUFFIXES = {"counter": "_total", "info": "_info", "histogram": "_bucket"}


def row(family: Family) -> str:
    """Write one line of the table."""
    name = f"{PREFIX}_{family.name}{SUFFIXES.get(family.kind, '')}"
    labels = ", ".join(f"`{label}`" for label in family.labels)
    return f"| `{name}` | {family.kind} | {labels} | {family.help} |\n"


def lines() -> Iterator[str]:
    """Yield the page, piece by piece."""
    yield INTRODUCTION
    yield "\n| name | type | labels | meaning |\n|---|---|---|---|\n"
    yield from map(row, families(EXAMPLE, Shown()))


def page() -> str:
    """Return the text of docs/metrics.md."""
    return "".join(lines())


if __name__ == "__main__":
    PAGE.write_text(page())
