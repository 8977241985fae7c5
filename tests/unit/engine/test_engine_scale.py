"""A large configuration, or a large change, costs a bounded number of snapshots, and keeps every promise."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from helpers.aio import story

from bridge.config import vids
from bridge.config.port import PortConfig
from bridge.config.static_entry import StaticEntry
from bridge.config.vlan import VlanConfig
from bridge.config.whole import Config
from bridge.core._core import Port, Snapshot
from bridge.engine.engine import Engine
from bridge.errors import ApplyError

EVERY_VLAN = tuple(range(1, 4095))
GONE = PortConfig("gone", "link", device="lo.5", pvid=1)  # cannot be opened


class Counted(Engine):
    """An engine that counts the snapshots it makes."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.made = 0
        make = self._parts.data_plane._snapshot

        def counted(ports: Mapping[int, Port]) -> Snapshot:
            self.made += 1
            return make(ports)

        self._parts.data_plane._snapshot = counted  # type: ignore[method-assign]

    def since(self) -> int:
        """Snapshots since the last call."""
        made, self.made = self.made, 0
        return made


def guest(number: int, **options: Any) -> PortConfig:
    return PortConfig(f"g{number:02}", "memory", pvid=100 + number, **options)


TRUNKS = tuple(PortConfig(f"t{number}", "memory", mode="trunk", vids=EVERY_VLAN) for number in range(8))
GUESTS = tuple(guest(number) for number in range(56))
LARGE = Config(ports=GUESTS + TRUNKS, vlans=tuple(VlanConfig(vid, f"v{vid}") for vid in EVERY_VLAN))


@contextlib.asynccontextmanager
async def running(config: Config = LARGE) -> AsyncIterator[Counted]:
    engine = Counted(config)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


@story
async def test_a_start_of_64_ports_and_4094_vlans_is_one_snapshot() -> None:
    async with running() as engine:
        assert engine.since() == 1
        assert {row["state"] for row in engine.status.ports()} == {"up"}
        rows = engine.status.vlans()
        assert [row["vlan"] for row in rows] == [*EVERY_VLAN]
        assert rows[99]["tagged"] == [port.name for port in TRUNKS]
        assert rows[99]["untagged"] == ["g00"]
        assert engine.status.ports("t0")[0]["vlan"] == vids.format_vids(EVERY_VLAN) == "1-4094"


@story
async def test_a_start_with_static_entries_is_one_snapshot_too() -> None:
    entries = tuple(StaticEntry(port.pvid, 2, "static", port.name) for port in GUESTS)
    async with running(replace(LARGE, entries=entries)) as engine:
        assert engine.since() == 1
        assert len(engine.status.fdb()) == len(GUESTS)


@pytest.mark.parametrize(
    ("change", "most"),
    [
        ({"ports": tuple(replace(port, isolated=True) for port in GUESTS) + TRUNKS}, 1),
        ({"ports": GUESTS + tuple(replace(port, vids=EVERY_VLAN[1000:]) for port in TRUNKS)}, 1),
        ({"ports": GUESTS[8:] + TRUNKS}, 2),  # down first: counters become final
        ({"ports": (*GUESTS, *TRUNKS, guest(60), guest(61))}, 1),
        ({"ports": (*GUESTS[:-1], guest(60), *TRUNKS)}, 3),
        ({"vlans": ()}, 1),
        ({"vlans": tuple(replace(vlan, mac_limit=9) for vlan in LARGE.vlans)}, 1),
        ({}, 0),
    ],
    ids=["settings", "VLANs", "closed", "opened", "replaced", "no tables", "limits", "nothing"],
)
def test_a_change_is_few_snapshots_however_many_ports_it_is_about(change: dict[str, Any], most: int) -> None:
    @story
    async def test() -> None:
        async with running() as engine:
            before = engine.status.ports(), engine.status.vlans()
            engine.since()
            await engine.apply(replace(LARGE, **change))
            assert engine.since() <= most
            await engine.apply(LARGE)
            assert engine.since() <= 3
            assert (engine.status.ports(), engine.status.vlans()) == before
            assert engine.status.stats()[-1]["balance"] == 0

    test()


@story
async def test_a_large_change_that_fails_is_undone_in_few_snapshots_and_tells_of_no_port_that_never_was() -> (
    None
):
    other = replace(LARGE, ports=(*GUESTS[8:], guest(60), GONE, *TRUNKS), vlans=())
    async with running() as engine:
        before = engine.status.ports(), engine.status.vlans()
        events = engine.subscribe()
        engine.since()
        with pytest.raises(ApplyError, match="port 'gone'"):
            await engine.apply(other)
        assert engine.since() <= 7
        assert (engine.status.ports(), engine.status.vlans()) == before
        await engine.apply(replace(LARGE, vlans=()))
        told = []
        async for row in events:
            if row["event"] == "reload":
                break
            told.append((row["event"], row.get("port")))
        assert [port for event, port in told if event == "port-removed"] == [f"g{n:02}" for n in range(8)]
        assert sorted(str(port) for event, port in told if event == "port-added") == [
            f"g{n:02}" for n in range(8)
        ]
