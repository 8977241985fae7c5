"""Traffic through a site in one direction: which streams and sinks that takes, and what came of it.

Directions are seen from the guest: "up" is guest to trunk, "down" trunk to guest. Before anything is
measured the stations of both ends say a word (stages 0 and 1), so that unicast is known and goes to one
port, as RFC 2889 section 4 wants.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from . import cpu, traffic
from .measure import Case, Sample, Values
from .settings import Settings
from .site import Site
from .system import System

LEARN_STREAM = 9000
LEARN_RATE = 20_000
FAST_RATE = 200_000  # from here on the generator goes through AF_XDP where it can
DIRECTIONS = ("up", "down")
JUMBO = 9014  # the only size that needs another MTU


@dataclass(frozen=True, slots=True)
class End:
    """One end of the site: where its frames go in and come out, and the tag they carry there."""

    netns: str
    dev: str
    tag: str
    mac: str


def ends(site: Site, system: System, direction: str, guest: int = 0) -> tuple[End, End]:
    """Give the sending and the receiving end of a direction."""
    vids = f"{site.vids[0]}-{site.vids[-1]}" if len(site.vids) > 1 else str(site.vids[0])
    inner = End(site.guest_space, f"g{guest}", vids if site.guest_tagged else "", traffic.GUEST_MAC)
    outer = End(
        site.outer_space, "ext", vids if site.guest_tagged or system.tagged else "", traffic.OUTER_MAC
    )
    return (inner, outer) if direction == "up" else (outer, inner)


def make(
    site: Site, system: System, direction: str, settings: Settings, *, n_macs: int = 1, **changes: object
) -> tuple[list[traffic.Stream], list[traffic.Sink]]:
    """Make learning frames, one measured stream and its sink. `changes` are fields of the stream."""
    source, target = ends(site, system, direction)
    times = f"*{n_macs}" if n_macs > 1 else ""
    stations = max(n_macs, len(site.vids))
    streams = [
        traffic.Stream(
            own.netns,
            own.dev,
            stream=LEARN_STREAM + i,
            tag=own.tag,
            rate=LEARN_RATE,
            burst=min(16, stations),
            count=stations,
            seconds=stations / LEARN_RATE + 1.0,
            src=own.mac + times,
            dst=other.mac + times,
            stage=i,
            cpu=settings.generator_cpu,
        )
        for i, (own, other) in enumerate(((target, source), (source, target)))
    ]
    values: dict[str, object] = {
        "stage": 2,
        "tag": source.tag,
        "dst": target.mac + times,
        "src": source.mac + times,
        "cpu": settings.generator_cpu,
    }
    stream = traffic.Stream(source.netns, source.dev).with_changes(**(values | changes))
    if is_fast(stream.rate):
        stream = stream.with_changes(queue="fast")
    sink = traffic.Sink(target.netns, target.dev, (1,), tag=target.tag or "none", cpu=settings.generator_cpu)
    return [*streams, stream], [sink]


def is_fast(rate: float | str) -> bool:
    """Say whether a rate is one for the faster way of sending."""
    first = float(str(rate).partition("@")[0])
    return not first or first >= FAST_RATE


def by_size(sizes: tuple[int | str, ...]) -> list[Case]:
    """Give a case per size and direction, for sites with the usual MTU."""
    return [{"direction": way, "size": size} for size in sizes if size != JUMBO for way in DIRECTIONS]


class Bill:
    """What the system's processes and its own accounts say, at the edges of the measured stretch."""

    def __init__(self, site: Site, system: System) -> None:
        self._site, self._system = site, system
        self._pids = site.pids()
        self._looks: list[tuple[cpu.ProcessLook, dict[str, float] | None]] = []

    def look(self, _event: str) -> None:
        """Take a look; to be called at the start and at the end."""
        self._looks.append((cpu.look_at(self._pids), self._system.own_cycles(self._site)))

    def values(self, seconds: float) -> Values:
        """Give the differences: wake-ups, CPU of the system's processes, own cycles per frame."""
        (before, own_before), (after, own_after) = self._looks
        values = {
            "wakeups_per_second": (after.wakeups - before.wakeups) / seconds,
            "system_cpu": (after.cpu - before.cpu) / seconds,
        }
        if own_before and own_after and own_after["frames"] > own_before["frames"]:
            cycles = own_after["cycles"] - own_before["cycles"]
            values["own_cycles_per_frame"] = cycles / (own_after["frames"] - own_before["frames"])
        return values


@contextlib.contextmanager
def billed(site: Site, system: System) -> Iterator[Values]:
    """Fill a dictionary, when the context ends, with what the machine and the system spent in it."""
    values: Values = {}
    bill = Bill(site, system)
    bill.look("start")
    before = cpu.look()
    yield values
    usage = cpu.between(before, cpu.look())
    bill.look("end")
    values |= {**usage.as_row(), **bill.values(usage.seconds), "cycles": usage.cycles}


def attributed(outcome: traffic.Outcome, system_cpu: float) -> float:
    """Add up the cycles of the threads that had to do with the traffic: generator, sinks and the system.

    What they did in the kernel is in it. What the kernel did in somebody else's time (softirqs on an idle CPU) is not.
    """
    threads = sum(
        float(part["cpu_seconds"]) for part in (*outcome.report["senders"], *outcome.report["sinks"])
    )
    return (threads + system_cpu * outcome.usage.seconds) * cpu.cycles_per_second()


def measure(
    site: Site, system: System, direction: str, settings: Settings, *, n_macs: int = 1, **changes: object
) -> tuple[traffic.Outcome, Sample]:
    """Run one stream through the site and give the figures that every raw test shares."""
    streams, sinks = make(site, system, direction, settings, n_macs=n_macs, **changes)
    bill = Bill(site, system)
    outcome = traffic.run(streams, sinks, around=bill.look)
    sent, got = outcome.sender(), outcome.received()
    frames = got["unique"]
    values: Values = {
        "offered_pps": sent["offered_pps"],
        "forwarded_pps": got["pps"],
        "loss": sent["lost"] / sent["sequences"] if sent["sequences"] else 0.0,
        "duplicates": got["duplicates"],
        "reordered": got["reordered"],
        "wrong_tag": got["wrong_tag"],
        **outcome.usage.as_row(),
        **bill.values(outcome.usage.seconds),
    }
    if frames:
        values["cycles_per_frame"] = outcome.usage.cycles / frames
        values["attributed_cycles_per_frame"] = attributed(outcome, values["system_cpu"]) / frames
        values["system_cycles_per_frame"] = (
            values["system_cpu"] * outcome.usage.seconds * cpu.cycles_per_second() / frames
        )
    values |= {f"latency_{name}_us": value for name, value in got["latency_us"].items() if name != "n"}
    return outcome, Sample(values, outcome.limits)
