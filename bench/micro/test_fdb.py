"""Cycles of the FDB as the pipeline uses it, by size of the table and by how full it is.

A hit costs in `learn` (the source) and in `lookup` (the destination); misses, learning and moves likewise. Ageing is
work of the control thread: nanoseconds per entry visited or removed.
"""

from __future__ import annotations

import time

import pytest

from bridge.core._core import Counters

from .stage import (
    DESTINATIONS,
    EVERYBODY,
    SOURCES,
    STRANGERS,
    Benchmark,
    Stage,
    ethernet,
    known_unicast,
    no_drops,
)

CAPACITIES = [1024, 65_536, 1_048_576]
FILLS = [0.1, 0.5, 1.0]
FRAMES_MAX = 16_000  # different frames played; more would measure the memory they lie in
MOVERS = 64


def entries(capacity: int, fill: float) -> int:
    """Return how many stations make a table that full, an even number."""
    return int(capacity * fill) & ~1


def silent(stage: Stage, base: int, n: int) -> None:
    """Fill the table with stations that say nothing and do not age."""
    stage.know(base, n, 0, "static")


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("capacity", CAPACITIES)
def test_hit(benchmark: Benchmark, capacity: int, fill: float) -> None:
    """Source and destination are known; no store, since the tick is the same."""
    stage = known_unicast(entries(capacity, fill), fdb=capacity, frames_max=FRAMES_MAX)
    assert stage.bridge.counters().fdb["entries"] == entries(capacity, fill)
    stage.measure(benchmark, no_drops)


@pytest.mark.parametrize("capacity", CAPACITIES)
def test_hit_refreshed(benchmark: Benchmark, capacity: int) -> None:
    """The same when the tick is new: each entry is written once a call."""
    stage = known_unicast(entries(capacity, 0.5), fdb=capacity, frames_max=FRAMES_MAX)
    stage.measure(benchmark, no_drops, tick=True)


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("capacity", CAPACITIES)
def test_miss(benchmark: Benchmark, capacity: int, fill: float) -> None:
    """An unknown destination: both buckets are read, then the frame is flooded to one port."""
    n = entries(capacity, fill)
    n_frames = min(n, FRAMES_MAX)
    stage = Stage([ethernet(STRANGERS + i, SOURCES + i, 60) for i in range(n_frames)], fdb=capacity)
    stage.ingress()
    stage.egress()
    stage.ready()
    silent(stage, SOURCES, n)
    stage.bridge.turn(-(-n_frames // stage.burst))
    stage.measure(benchmark, no_drops)


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("capacity", CAPACITIES)
def test_move(benchmark: Benchmark, capacity: int, fill: float) -> None:
    """The same stations speak behind three ports in turn: every frame moves an entry and tells the control thread.

    Each turn begins one port further on. With two ports the last of a turn would be the first of the next, and nothing
    would move there; with three it never is.
    """
    frames = [ethernet(EVERYBODY, SOURCES + i, 60) for i in range(MOVERS)]
    stage = Stage(frames, burst=MOVERS, fdb=capacity)
    stage.ingress()
    for _ in range(2):
        stage.egress(frames)
    stage.ready(MOVERS)
    silent(stage, STRANGERS, entries(capacity, fill) - MOVERS)

    def all_moved(before: Counters, after: Counters) -> None:
        no_drops(before, after)
        n_frames = after.thread["frames"] - before.thread["frames"]
        moved = sum(after.ports[i].values["moved"] - before.ports[i].values["moved"] for i in after.ports)
        assert moved == n_frames

    stage.measure(benchmark, all_moved)


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("capacity", CAPACITIES)
def test_learn(benchmark: Benchmark, capacity: int, fill: float) -> None:
    """Every frame has a new source, until the table is that full; each call begins with an empty one."""
    n = min(entries(capacity, fill), 4 * FRAMES_MAX)
    silents = entries(capacity, fill) - n
    stage = Stage([ethernet(EVERYBODY, SOURCES + i, 60) for i in range(n)], fdb=capacity)
    stage.ingress()
    stage.egress()
    stage.ready()
    silent(stage, STRANGERS, silents)
    stage.bridge.turn(-(-n // stage.burst))  # written once, so that no call meets pages never touched
    turns = -(-n // stage.burst)
    calls = []

    def forget() -> None:
        stage.bridge.tick += 2
        assert len(stage.bridge.fdb_expire(1)) == n
        stage.bridge.events()

    def learn() -> None:
        before = stage.bridge.counters()
        stage.bridge.turn(turns)
        after = stage.bridge.counters()
        assert after.ports[0].values["learned"] - before.ports[0].values["learned"] == n
        calls.append(stage.per_frame(before, after))

    benchmark.pedantic(learn, setup=forget, rounds=5)
    no_drops(stage.bridge.counters(), stage.bridge.counters())
    stage.record(benchmark, calls)


@pytest.mark.parametrize("removed", ["none", "all"])
@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("capacity", CAPACITIES)
def test_age(benchmark: Benchmark, capacity: int, fill: float, removed: str) -> None:
    """The control thread looks at the whole table for entries past their age: none of them, or all."""
    n = entries(capacity, fill)
    stage = Stage([ethernet(DESTINATIONS, SOURCES, 60)], fdb=capacity)
    stage.ingress(learning=False)
    stage.egress()
    stage.ready()
    age = 1 if removed == "all" else 1000
    times = []

    def fill_again() -> None:
        if stage.bridge.counters().fdb["entries"] < n:
            stage.know(STRANGERS, n, 0)
        stage.bridge.tick += 2

    def expire() -> None:
        start = time.perf_counter_ns()
        gone = len(stage.bridge.fdb_expire(age))
        times.append((time.perf_counter_ns() - start) / n)
        assert gone == (n if removed == "all" else 0)

    benchmark.pedantic(expire, setup=fill_again, rounds=3)
    fdb = stage.bridge.counters().fdb
    benchmark.extra_info.update(
        {
            "ns_per_entry": round(sorted(times)[len(times) // 2], 1),
            "fdb_entries": n,
            "fdb_capacity": fdb["capacity"],
            "fdb_fill": fill,
        }
    )
