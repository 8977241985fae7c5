"""Metrics for Prometheus: what is counted, as metric families of its client library, at the moment of a scrape.

Job: turn a `State`, read at one moment, into families. Names and HELP texts are made of the names and sentences
that csrc/count/counters.h declares, so a counter added there is a metric here. `bridge.metrics.server` serves them.
Thread: any, one at a time. Needs the package prometheus-client (extra `metrics`), imported by what needs it.

Invariants:
* A counter goes backwards only if what it counts began anew (a port was removed and added again, a station was
  forgotten and learned again), which Prometheus takes as the reset it is. A port that loses its device and gets it
  back counts on (account/ledger.py, account/meter.py); so do the classes and VLANs of ports that are no more.
* Cycles by class, summed up, and uncharged cycles are the busy cycles by stage, exactly, on every page.
* The number of series is bounded: per port and per class by what is configured and declared, VLANs and talkers by
  [metrics]. A VLAN that enters or leaves the ones shown makes no counter jump, see bounded.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from bridge.account.window import NOT_BUSY, REMOVED, Amount, total
from bridge.core._core import (
    BURST_MAX,
    CLASSES,
    DROP_REASONS,
    HISTOGRAM_BOUNDS,
    HISTOGRAMS,
    MISSES,
    PORT_COUNTERS,
    STAGES,
    THREAD_COUNTERS,
)
from bridge.mac import format_mac
from bridge.metrics.bounded import Shown, dearest_talkers
from bridge.metrics.state import Rows, State

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, slots=True)
class Family:
    """A metric before the client library has it: `labels` name what the keys of `values` stand for."""

    kind: str  # counter | gauge | info | histogram
    name: str  # without framebridge_ and without _total
    help: str
    labels: tuple[str, ...]
    values: Iterable[tuple[tuple[str, ...], float]]
    legend: str = ""  # what the values of labels mean, for the HELP text


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _listed(table: Sequence[tuple[str, str]]) -> str:
    """Write the legend of a label whose values are declared with sentences."""
    return f"{'; '.join(f'{name}: {sentence}' for name, sentence in table)}."


def families(state: State, shown: Shown) -> Iterator[Family]:
    """Give all families of a state; `shown` remembers which VLANs had series of their own."""
    build = (state.bridge, state.version)
    yield Family("info", "build", "Name and version of the bridge.", ("bridge", "version"), [(build, 1)])
    yield from _port_families(state)
    for name, text in THREAD_COUNTERS:
        text = f"Data thread: {text}."
        yield Family("counter", f"thread_{name}", text, (), [((), state.thread[name])])
    yield Family("gauge", "fdb_entries", "FDB entries.", (), [((), state.fdb["entries"])])
    yield Family(
        "gauge", "fdb_entries_limit", "FDB entries there is room for.", (), [((), state.fdb["capacity"])]
    )
    yield from _time_families(state)
    yield from _charge_families(state, shown)
    budgets = [row for row in state.budgets if not row["flood"]]
    yield from _budget_families("budget", "budget", ("budget", "unit"), budgets)
    floods = [row for row in state.budgets if row["flood"]]
    yield from _budget_families("storm", "limit of storm control", ("port", "flood", "unit"), floods)
    yield from _mirror_families(state)
    yield from _group_families(state)
    for name, text in HISTOGRAMS:
        buckets = list(_buckets(HISTOGRAM_ENDS[name], state.bill.histograms[name]))
        yield Family("histogram", name, _sentence(text), ("le",), buckets)


def _budget_families(prefix: str, noun: str, labels: tuple[str, ...], rows: Rows) -> Iterator[Family]:
    facts = (
        ("gauge", "over", f"1: the {noun} is spent.", lambda row: row["state"] == "over"),
        ("counter", "over_times", f"Times the {noun} was spent.", itemgetter("times_over")),
        ("counter", "spent", f"Units of the {noun} spent.", itemgetter("spent")),
        ("counter", "dropped_frames", f"Frames dropped over the {noun}.", itemgetter("dropped")),
    )
    for kind, name, text, value in facts:
        yield _of_rows(kind, f"{prefix}_{name}", text, labels, rows, value)


def _mirror_families(state: State) -> Iterator[Family]:
    facts = (
        ("gauge", "up", "1: it copies; 0: its port is absent, its file full or failed.", _copies),
        ("counter", "copies", "Copies made by the mirror.", itemgetter("mirrored")),
        ("counter", "bytes", "Bytes of the copies.", itemgetter("bytes")),
        ("counter", "lost", "Copies that found the ring of the file full.", itemgetter("lost")),
        ("counter", "over_rate", "Frames not copied because of the rate.", itemgetter("over_rate")),
    )
    for kind, name, text, value in facts:
        yield _of_rows(kind, f"mirror_{name}", text, ("mirror",), state.mirrors, value)


def _group_families(state: State) -> Iterator[Family]:
    """Tell of groups; VLANs have series of their own as long as there are not too many."""
    rows = state.queriers[: 2 * state.limits.vlans]
    groups = sum(row["groups"] for row in state.queriers)
    yield Family("gauge", "mdb_entries", "Groups with members that reported them.", (), [((), groups)])
    text = "1: groups go to their members; 0: everything is flooded, as nobody asks or answers are due."
    labels = ("vlan", "family")
    yield _of_rows("gauge", "multicast_pruning", text, labels, rows, lambda row: row["state"] == "pruning")
    text = "Copies that snooping spared, or would spare (watch)."
    yield _of_rows("counter", "multicast_spared_copies", text, labels, rows, itemgetter("spared_copies"))


def _copies(row: Mapping[str, Any]) -> bool:
    return row["state"] in ("mirroring", "recording")


def _of_rows(
    kind: str,
    name: str,
    text: str,
    labels: tuple[str, ...],
    rows: Rows,
    value: Callable[[Mapping[str, Any]], float],
) -> Family:
    values = [(tuple(str(row[key]) for key in labels), float(value(row))) for row in rows]
    return Family(kind, name, text, labels, values)


def _port_families(state: State) -> Iterator[Family]:
    ports = state.ports.items()
    info = [((name, port.device, port.kind, port.mode), 1.0) for name, port in ports]
    yield Family("info", "port", "Ports of the configuration.", ("port", "device", "kind", "mode"), info)
    up = [((name,), float(port.state == "up")) for name, port in ports]
    yield Family("gauge", "port_up", "1: attached, enabled, its device up with carrier.", ("port",), up)
    attached = [((name,), float(port.state != "missing")) for name, port in ports]
    yield Family("gauge", "port_present", "1: there is such a device.", ("port",), attached)
    blocked = [((name,), float(port.is_blocked)) for name, port in ports]
    text = "1: out of forwarding for a time, because of a loop or a moving address."
    yield Family("gauge", "port_blocked", text, ("port",), blocked)
    mtu = [((name,), float(port.mtu)) for name, port in ports]
    yield Family("gauge", "port_mtu_bytes", "Layer-3 bytes that fit a frame.", ("port",), mtu)
    entries = [((name,), float(port.fdb_entries)) for name, port in ports]
    yield Family("gauge", "port_fdb_entries", "FDB entries on the port.", ("port",), entries)
    for counter, text in PORT_COUNTERS:
        counts = [((name,), tally.values[counter]) for name, tally in state.tallies.items()]
        yield Family("counter", f"port_{counter}", _sentence(text), ("port",), counts)
    drops = [
        ((name, direction, reason), dropped[reason])
        for name, tally in state.tallies.items()
        for direction, dropped in (("rx", tally.rx_drops), ("tx", tally.tx_drops))
        for reason, _ in DROP_REASONS
    ]
    text = "Frames (rx) and copies (tx) that were dropped at the port, by reason."
    labels = ("port", "direction", "reason")
    yield Family("counter", "port_drops", text, labels, drops, _listed(DROP_REASONS))
    misses = [
        ((name, reason), tally.misses[reason])
        for name, tally in state.tallies.items()
        for reason, _ in MISSES
    ]
    text = (
        "Frames the kernel dropped in front of the port, by reason; rx_missed and rx_refused are their sum."
    )
    yield Family("counter", "port_missed", text, ("port", "reason"), misses, _listed(MISSES))


def _time_families(state: State) -> Iterator[Family]:
    """Where the time of the data thread went: by its own stamps, and by the kernel's clocks."""
    stages = [((stage,), state.bill.stages[stage]) for stage, _ in STAGES]
    yield Family("counter", "stage_cycles", "Cycles by stage.", ("stage",), stages, _listed(STAGES))
    times = state.bill.times
    for kind, name, text, seconds in (
        ("gauge", "clock_hertz", "Rate of the cycle counter: cycles per second.", state.hz),
        ("counter", "thread_cpu_seconds", "CPU time of the data thread, by the kernel's clock.", times.cpu),
        ("counter", "thread_preempted_seconds", "Data thread ready, but others ran.", times.preempted),
        ("counter", "host_steal_seconds", "Taken by the hypervisor, all CPUs.", times.steal),
    ):
        yield Family(kind, name, text, (), [] if seconds is None else [((), seconds)])


# -- the bill

PARTS = "direct: the frames themselves, one copy included; induced: copies beyond the first."
COLUMNS = (
    ("frames", "Frames"),
    ("segments", "Wire frames"),
    ("bytes", "Bytes"),
    ("copies", "Copies handed to egress ports"),
)


def _charge_families(state: State, shown: Shown) -> Iterator[Family]:
    bill = state.bill
    classes = {name: Amount() for name, _ in CLASSES}
    ports = {name: Amount() for name in state.ports}
    vlans: dict[int, Amount] = {}
    for key, amount in bill.charges.items():
        classes[key.frame_class] = classes[key.frame_class].plus(amount)
        vlans[key.vid] = vlans.get(key.vid, Amount()).plus(amount)
        if key.port != REMOVED and key.port in ports:
            ports[key.port] = ports[key.port].plus(amount)
    by_class = [((name,), amount) for name, amount in classes.items()]
    yield from _amounts("class", "by class of the frame", ("class",), by_class, _listed(CLASSES))
    by_port = [((name,), amount) for name, amount in ports.items()]
    yield _cycles("port_charged", "charged to frames received on the port", ("port",), by_port)
    listed = shown.update(bill.time, vlans, state.limits.vlans)
    by_vlan = [((name,), amount) for name, amount in listed.items()]
    legend = "other: all VLANs not listed; none: dropped before it was known."
    yield from _amounts("vlan", "by VLAN, the dearest ones", ("vlan",), by_vlan, legend)
    talkers = [
        ((str(vid), format_mac(mac)), amount)
        for (vid, mac), amount in dearest_talkers(bill.talkers, state.limits.talkers)
    ]
    yield from _amounts("talker", "by source, the dearest since they were learned", ("vlan", "mac"), talkers)
    busy = sum(cycles for stage, cycles in bill.stages.items() if stage not in NOT_BUSY)
    left = busy - total(classes.values()).cycles
    yield Family(
        "gauge",
        "uncharged_cycles",
        "Busy cycles not charged yet: rounding, and the last bill.",
        (),
        [((), left)],
    )


Labelled = Sequence[tuple[tuple[str, ...], Amount]]


def _amounts(
    noun: str, by: str, labels: tuple[str, ...], amounts: Labelled, legend: str = ""
) -> Iterator[Family]:
    """All that is known of amounts, by the same labels."""
    yield _cycles(noun, by, labels, amounts, legend)
    for column, what in COLUMNS:
        counts = [(key, getattr(amount, column)) for key, amount in amounts]
        yield Family("counter", f"{noun}_{column}", f"{what} {by}.", labels, counts, legend)


def _cycles(noun: str, by: str, labels: tuple[str, ...], amounts: Labelled, legend: str = "") -> Family:
    values = [
        ((*key, part), cycles)
        for key, amount in amounts
        for part, cycles in (("direct", amount.direct), ("induced", amount.induced))
    ]
    legend = f"{PARTS} {legend}".rstrip()
    return Family("counter", f"{noun}_cycles", f"Cycles {by}.", (*labels, "part"), values, legend)


# What each bucket ends with, inclusive. Fine for frames; powers of two for cycles, from a cache miss to 10 ms.
HISTOGRAM_ENDS: Mapping[str, Sequence[int]] = {
    "batch_cycles": [(1 << power) - 1 for power in range(8, 25)],
    "batch_frames": [bound - 1 for bound in HISTOGRAM_BOUNDS if 1 < bound <= BURST_MAX + 1],
    "frame_cycles": [(1 << power) - 1 for power in range(6, 19)],
}


def _buckets(ends: Sequence[int], counts: Sequence[int]) -> Iterator[tuple[tuple[str, ...], float]]:
    """Give how many values were at most as large as each end; ends are the last values of buckets of the core."""
    so_far, place = 0, 0
    for end in ends:
        while place < len(counts) and HISTOGRAM_BOUNDS[place] <= end:
            so_far += counts[place]
            place += 1
        yield (str(float(end)),), so_far
    yield ("+Inf",), sum(counts)
