"""Cycles of the FDB as the pipeline uses it: the `learn` and `lookup` stages, by fill; and ageing from outside."""

from __future__ import annotations

import pytest
from stage import DESTINATIONS, SOURCES, Stage, ethernet, known_unicast, no_drops


@pytest.mark.parametrize("n_macs", [1000, 64_000])
@pytest.mark.parametrize("tick", ["same", "new"])
def test_hit(benchmark, n_macs, tick):
    """A known source: no store while the tick is the same; each entry is written once when it is new."""
    known_unicast(n_macs).measure(benchmark, no_drops, tick=tick == "new", macs=n_macs)


@pytest.mark.parametrize("n_macs", [1000, 64_000])
def test_miss(benchmark, n_macs):
    """An unknown destination: both buckets are read, then the frame is flooded to one port."""
    frames = [ethernet(DESTINATIONS + i, SOURCES + i, 60) for i in range(n_macs)]
    stage = Stage(frames, fdb=2 * n_macs)
    stage.ingress()
    stage.egress()
    stage.ready(n_macs)
    stage.measure(benchmark, no_drops, macs=n_macs)


def test_move(benchmark):
    """The same stations speak behind two ports in turn: every frame moves an entry and tells the control thread."""
    frames = [ethernet(0xFFFFFFFFFFFF, SOURCES + i, 60) for i in range(64)]
    stage = Stage(frames)
    stage.ingress()
    stage.egress(frames)
    stage.ready(64)

    def all_moved(before, after):
        no_drops(before, after)
        n_frames = after.thread["frames"] - before.thread["frames"]
        moved = sum(after.ports[i].values["moved"] - before.ports[i].values["moved"] for i in (0, 1))
        assert moved == n_frames

    stage.measure(benchmark, all_moved, macs=64)


@pytest.mark.parametrize("n_macs", [1000, 64_000])
def test_learn_and_expire(benchmark, n_macs):
    """From an empty table: every frame learns; then the control thread forgets all of them, in one call each."""
    frames = [ethernet(0xFFFFFFFFFFFF, SOURCES + i, 60) for i in range(n_macs)]
    stage = Stage(frames, fdb=2 * n_macs)
    stage.ingress()
    stage.egress()
    stage.ready()

    def learn_and_expire():
        stage.bridge.turn(-(-n_macs // stage.burst) + 1)
        learned = len(stage.bridge.fdb_entries())
        stage.bridge.tick += 2
        assert len(stage.bridge.fdb_expire(1)) == learned == n_macs
        stage.bridge.events()

    before = stage.bridge.counters()
    benchmark.pedantic(learn_and_expire, rounds=5)
    after = stage.bridge.counters()
    n_frames = after.thread["frames"] - before.thread["frames"]
    benchmark.extra_info["learn_cycles_per_frame"] = round(
        (after.stages["learn"] - before.stages["learn"]) / n_frames, 1
    )
    benchmark.extra_info["control_cycles_per_entry"] = round(
        (after.stages["control"] - before.stages["control"]) / n_frames, 1
    )
