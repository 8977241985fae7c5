"""Cycles of the whole pipeline for one frame: known unicast and floods by burst, size, tags, ports and stations."""

from __future__ import annotations

import pytest

from .stage import (
    DESTINATIONS,
    SOURCES,
    TRUNK,
    VLAN,
    Benchmark,
    Stage,
    ethernet,
    flood,
    known_unicast,
    no_drops,
)

BURSTS = [1, 4, 16, 64, 256]
SIZES = [60, 124, 508, 1514]


@pytest.mark.parametrize("n_macs", [2, 1000, 16_000, 64_000])
def test_known_by_stations(benchmark: Benchmark, n_macs: int) -> None:
    """Access to trunk: each frame gets a tag. Source and destination hit at random."""
    known_unicast(n_macs, **TRUNK).measure(benchmark, no_drops, size=60, macs=n_macs, tags="push")


@pytest.mark.parametrize("burst", BURSTS)
def test_known_by_burst(benchmark: Benchmark, burst: int) -> None:
    """What a batch shares: stamps, queues, the call of a port."""
    known_unicast(1000, burst=burst, **TRUNK).measure(benchmark, no_drops, size=60, macs=1000, tags="push")


@pytest.mark.parametrize("size", SIZES)
def test_known_by_size(benchmark: Benchmark, size: int) -> None:
    """The payload is never touched: only the copy into the source's buffer grows, and with it cache misses."""
    known_unicast(1000, size=size, **TRUNK).measure(benchmark, no_drops, size=size, macs=1000, tags="push")


@pytest.mark.parametrize("n_ports", [1, 2, 8, 32, 128])
def test_known_by_ports(benchmark: Benchmark, n_ports: int) -> None:
    """One batch is spread over n ports: fewer frames share the call of a port."""
    stage = known_unicast(1000, n_ports=n_ports)
    stage.measure(benchmark, no_drops, size=60, macs=1000, ports=n_ports, tags="none")


@pytest.mark.parametrize("share", [0, 25, 50, 75, 100])
def test_known_by_tag_mix(benchmark: Benchmark, share: int) -> None:
    """A trunk that takes tagged and native frames in one burst, in percent of tagged ones, to an access port."""
    frames = [
        ethernet(DESTINATIONS + i, SOURCES + i, 60, VLAN if i * 37 % 100 < share else None)
        for i in range(1000)
    ]
    stage = Stage(frames)
    stage.ingress(**{**TRUNK, "pvid": VLAN})
    port = stage.egress()
    stage.ready(1000)
    stage.know(DESTINATIONS, 1000, port)
    stage.measure(benchmark, no_drops, size=60, macs=1000, tagged_percent=share)


@pytest.mark.parametrize("n_ports", [1, 2, 8, 32, 128])
@pytest.mark.parametrize("form", ["untagged", "mixed"])
def test_flood(benchmark: Benchmark, n_ports: int, form: str) -> None:
    """Broadcast by reference; mixed: every second port wants a tag, which is one copy of the head a frame."""
    stage = flood(n_ports, mixed=form == "mixed")
    stage.measure(benchmark, no_drops, copies=n_ports, size=60, macs=1000, ports=n_ports, tags=form)


@pytest.mark.parametrize("burst", BURSTS)
def test_flood_by_burst(benchmark: Benchmark, burst: int) -> None:
    """To eight ports."""
    stage = flood(8, burst=burst)
    stage.measure(benchmark, no_drops, copies=8, size=60, macs=1000, ports=8, tags="untagged")


@pytest.mark.parametrize("size", SIZES)
def test_flood_by_size(benchmark: Benchmark, size: int) -> None:
    """To eight ports."""
    stage = flood(8, size=size)
    stage.measure(benchmark, no_drops, copies=8, size=size, macs=1000, ports=8, tags="untagged")
