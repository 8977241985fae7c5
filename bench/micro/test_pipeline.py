"""Cycles of the whole pipeline for one frame: known unicast by stations, burst and size; floods by ports and tags."""

from __future__ import annotations

import pytest
from stage import DESTINATIONS, SOURCES, VLAN, Stage, ethernet, known_unicast, no_drops

TRUNK = {"mode": "trunk", "pvid": 0, "vids": [VLAN]}


@pytest.mark.parametrize("n_macs", [2, 1000, 16_000, 64_000])
def test_known_unicast_by_stations(benchmark, n_macs):
    """Access to trunk: each frame gets a tag. Source and destination hit at random."""
    known_unicast(n_macs, **TRUNK).measure(benchmark, no_drops, size=60, macs=n_macs, tags="push")


@pytest.mark.parametrize("burst", [1, 4, 16, 64, 256])
def test_known_unicast_by_burst(benchmark, burst):
    """What a batch shares: stamps, queues, the call of a port."""
    known_unicast(1000, burst=burst, **TRUNK).measure(benchmark, no_drops, size=60, macs=1000, tags="push")


@pytest.mark.parametrize("size", [60, 124, 508, 1514])
def test_known_unicast_by_size(benchmark, size):
    """The payload is never touched: only the copy into the source's buffer grows, and with it cache misses."""
    known_unicast(1000, size=size, **TRUNK).measure(benchmark, no_drops, size=size, macs=1000, tags="push")


@pytest.mark.parametrize("tags", ["none", "push", "pop", "translate"])
def test_known_unicast_by_tags(benchmark, tags):
    """Untagged to untagged, to tagged, tagged to untagged, tagged to tagged."""
    vid = VLAN if tags in ("pop", "translate") else None
    frames = [ethernet(DESTINATIONS + i, SOURCES + i, 60, vid) for i in range(1000)]
    stage = Stage(frames)
    stage.ingress(**(TRUNK if vid else {}))
    port = stage.egress(**(TRUNK if tags in ("push", "translate") else {}))
    stage.ready(1000)
    stage.bridge.fdb_set_many([(VLAN, DESTINATIONS + i, port, "dynamic") for i in range(1000)])
    stage.measure(benchmark, no_drops, size=60, macs=1000, tags=tags)


@pytest.mark.parametrize("n_ports", [1, 2, 8, 32, 128])
@pytest.mark.parametrize("form", ["untagged", "mixed"])
def test_flood(benchmark, n_ports, form):
    """Broadcast by reference; mixed: every second port wants a tag, which is one copy of the head a frame."""
    frames = [ethernet(0xFFFFFFFFFFFF, SOURCES + i, 60) for i in range(1000)]
    stage = Stage(frames)
    stage.ingress()
    for i in range(n_ports):
        stage.egress(**(TRUNK if form == "mixed" and i % 2 else {}))
    stage.ready(1000)
    stage.measure(benchmark, no_drops, copies=n_ports, size=60, macs=1000, ports=n_ports, tags=form)
