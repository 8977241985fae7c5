"""The engine with memory ports and its real data thread: life, change and its undoing, rows, events."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from helpers import frames
from helpers.aio import story, until
from helpers.clock import ManualClock
from helpers.profiles import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.config.bridge import BridgeConfig
from bridge.config.port import PortConfig
from bridge.config.static_entry import StaticEntry
from bridge.config.translation import Translation
from bridge.config.vlan import VlanConfig
from bridge.config.whole import Config
from bridge.core._core import DROP_REASONS, MISSES, PORT_COUNTERS, STAGES, Frame, MemoryPort
from bridge.engine.engine import Engine
from bridge.errors import ApplyError, ConfigError, FramebridgeError, PortError
from bridge.events import Events

VID = 10


def access(name: str, vid: int = VID, **options: Any) -> PortConfig:
    return PortConfig(name, "memory", pvid=vid, **options)


def trunk(name: str, *vids: int, **options: Any) -> PortConfig:
    return PortConfig(name, "memory", mode="trunk", vids=vids, **options)


def config(*ports: PortConfig, **rest: Any) -> Config:
    return Config(ports=tuple(sorted(ports, key=lambda port: port.name)), **rest)


GONE = PortConfig("gone", "link", device="no-such-dev", pvid=VID)
VLAN_OF_LO = replace(GONE, device="lo.5")  # nothing says before that it cannot be opened
THREE = config(access("a"), access("b"), trunk("t", 10, 20))


@contextlib.asynccontextmanager
async def running(start: Config = THREE, **options: Any) -> AsyncIterator[Engine]:
    engine = Engine(start, **options)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


def memory(engine: Engine, name: str) -> MemoryPort:
    port = engine.port(name)
    assert isinstance(port, MemoryPort)
    return port


def inject(engine: Engine, name: str, *sent: bytes) -> None:
    assert memory(engine, name).inject(sent) == len(sent)
    engine.wake()


async def receive(engine: Engine, name: str, count: int = 1) -> list[Frame]:
    got: list[Frame] = []

    def enough() -> bool:
        got.extend(memory(engine, name).drain())
        return len(got) >= count

    await until(enough, f"{count} frames on {name}")
    return got


def broadcast(source: int, *tags: bytes) -> bytes:
    return frames.ethernet(frames.BROADCAST, frames.host(source), *tags)


async def speak(engine: Engine, name: str, *stations: int, vid: int = VID) -> None:
    """Let stations behind a port be learned."""
    tags = [frames.tag(vid)] if engine.status.ports(name)[0]["mode"] == "trunk" else []
    inject(engine, name, *(broadcast(station, *tags) for station in stations))
    known = [f"02:00:00:00:00:{station:02x}" for station in stations]
    await until(
        lambda: {*known} <= {row["mac"] for row in engine.status.fdb(port=name, vlan=vid)}, "stations learned"
    )


async def turns(engine: Engine, count: int) -> None:
    """Let the data thread look at its ports."""
    for _ in range(count):
        before = engine.progress
        engine.wake()
        await until(lambda before=before: engine.progress > before, "a turn")  # type: ignore[misc]


def states(engine: Engine) -> dict[object, object]:
    return {row["port"]: row["state"] for row in engine.status.ports()}


def balance(engine: Engine) -> object:
    total = engine.status.stats()[-1]
    assert total["port"] == "total"
    return total["balance"]


# -- life ------------------------------------------------------------------------------------------


@story
async def test_a_started_engine_forwards_and_a_stopped_one_leaves_nothing() -> None:
    engine = Engine(THREE)
    await engine.start()
    assert states(engine) == {"a": "up", "b": "up", "t": "up"}
    inject(engine, "a", broadcast(1))
    assert [frame.data for frame in await receive(engine, "b")] == [broadcast(1)]
    assert [frame.data for frame in await receive(engine, "t")] == [broadcast(1, frames.tag(VID))]
    assert balance(engine) == 0

    await engine.stop()
    await engine.stop()
    assert engine.status.ports() == []
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("framebridge")]
    assert not engine.faults.done()


@story
async def test_stop_without_start_is_nothing() -> None:
    await Engine(THREE).stop()


@story
async def test_a_start_that_fails_undoes_itself() -> None:
    engine = Engine(config(access("a"), GONE))
    with pytest.raises(PortError, match="port 'gone': device 'no-such-dev': cannot use it: No such device"):
        await engine.start(strict=True)
    assert engine.status.ports() == []
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("framebridge")]
    await engine.stop()


@story
async def test_a_data_thread_that_ends_by_itself_is_a_fault() -> None:
    async with running() as engine:
        engine._parts.core.stop()
        with pytest.raises(FramebridgeError, match="ended without being told to"):
            await asyncio.wait_for(asyncio.shield(engine.faults), 10)


@story
async def test_progress_grows_when_the_data_thread_is_woken() -> None:
    async with running() as engine:
        before = engine.progress
        engine.wake()
        await until(lambda: engine.progress > before, "progress")


# -- change ----------------------------------------------------------------------------------------


@story
async def test_there_and_back_again() -> None:
    other = config(
        access("b", 20, isolated=True),
        trunk("t", 20, 30, pvid=20, mtu=9000),
        access("new", 30),
        bridge=BridgeConfig(ageing_time=60, static_move="forward", waiting="latency", reserved=1 << 14),
        vlans=(VlanConfig(20, "twenty", 5),),
        entries=(StaticEntry(20, 2, "static", "b"),),
    )
    async with running() as engine:
        before = engine.status.ports(), engine.status.vlans(), engine.status.fdb()
        there = await engine.apply(other)
        assert engine.config == other
        assert [(row["port"], row["vlan"], row["native"], row["mtu"]) for row in engine.status.ports()] == [
            ("b", 20, None, 1500),
            ("new", 30, None, 1500),
            ("t", "20,30", 20, 9000),
        ]
        back = await engine.apply(THREE)
        assert engine.config == THREE
        assert (engine.status.ports(), engine.status.vlans(), engine.status.fdb()) == before
        assert len(there) == len(back)
        assert await engine.apply(THREE) == ()


@story
async def test_ports_a_plan_does_not_touch_notice_nothing() -> None:
    async with running() as engine:
        await speak(engine, "a", 1)
        await speak(engine, "b", 2)
        port, rows, learned = engine.port("a"), engine.status.stats("a"), engine.status.fdb(port="a")
        await engine.apply(config(access("a"), trunk("t", 10, 30), access("new")))
        assert engine.port("a") is port
        assert engine.status.stats("a") == rows
        assert engine.status.fdb(port="a") == learned
        assert engine.status.fdb() == learned  # what b had is gone with b
        assert balance(engine) == 0


@story
async def test_a_change_that_fails_leaves_all_as_it_was() -> None:
    entries = (StaticEntry(VID, 2, "static", "b"), StaticEntry(VID, 4, "drop"))
    start = replace(THREE, entries=entries, vlans=(VlanConfig(VID, "ten", 100),))
    other = config(
        access("a", 30), access("c"), trunk("t", 20), VLAN_OF_LO, bridge=BridgeConfig(ageing_time=1), vlans=()
    )
    async with running(start) as engine:
        await speak(engine, "a", 1)
        inject(engine, "b", broadcast(6))
        await receive(engine, "a")
        keys = ("port", "index", "state", "vlan", "rx_frames", "tx_frames", "drops")
        ports = [{key: row[key] for key in keys} for row in engine.status.ports()]
        vlans = [{**row, "fdb_entries": 0} for row in engine.status.vlans()]
        events = engine.subscribe()
        with pytest.raises(
            ApplyError, match=r"port 'gone': device 'lo.5': .*the configuration before is in force"
        ):
            await engine.apply(other)
        events.close()
        assert engine.config == start
        assert [{key: row[key] for key in keys} for row in engine.status.ports()] == ports
        assert [{**row, "fdb_entries": 0} for row in engine.status.vlans()] == vlans
        assert [(row["mac"][-1], row["state"]) for row in engine.status.fdb()] == [
            ("2", "static"),
            ("4", "drop"),
        ]
        assert balance(engine) == 0
        inject(engine, "a", broadcast(1))
        await receive(engine, "b")
        assert balance(engine) == 0


@story
async def test_a_device_that_is_not_there_is_refused_before_any_port_is_closed() -> None:
    async with running() as engine:
        await speak(engine, "b", 1)
        events = engine.subscribe()
        renamed = replace(THREE.ports[1], name="c")
        for gone in (GONE, replace(GONE, netns="no-such-netns"), replace(GONE, kind="tap", device="lo")):
            with pytest.raises(ApplyError, match=r"port 'gone': .*the configuration before is in force"):
                await engine.apply(config(THREE.ports[0], renamed, THREE.ports[2], gone))
        assert [row["port"] for row in engine.status.fdb()] == ["b"]
        await engine.fdb_flush()
        told = [row["event"] async for row in upto(events, "fdb-flushed")]
        assert {*told} - {"fdb-learned"} == {"fdb-flushed"}


@story
async def test_what_only_a_restart_can_change_is_refused_before_anything_happens() -> None:
    async with running() as engine:
        with pytest.raises(ConfigError, match="only a restart"):
            await engine.apply(replace(THREE, bridge=BridgeConfig(fdb_size=128)))
        assert engine.config == THREE


@story
async def test_a_cancelled_change_is_a_whole_change() -> None:
    async with running() as engine:
        change = asyncio.create_task(engine.apply(config(access("a"), access("new"))))
        await asyncio.sleep(0)
        change.cancel()
        with pytest.raises(asyncio.CancelledError):
            await change
        assert engine.config == config(access("a"), access("new"))
        assert states(engine) == {"a": "up", "new": "up"}


@story
async def test_a_disabled_port_is_down_and_its_dynamic_entries_are_gone() -> None:
    start = replace(THREE, entries=(StaticEntry(VID, 2, "static", "b"),))
    async with running(start) as engine:
        await speak(engine, "b", 1)
        events = engine.subscribe()
        await engine.apply(
            replace(start, ports=(access("a"), access("b", admin_up=False), trunk("t", 10, 20)))
        )
        assert states(engine) == {"a": "up", "b": "down", "t": "up"}
        assert [row["state"] for row in engine.status.fdb()] == ["static"]
        inject(engine, "a", broadcast(3))
        await receive(engine, "t")
        assert memory(engine, "b").drain() == []

        await engine.apply(start)
        assert states(engine)["b"] == "up"
        assert [row["state"] for row in engine.status.fdb(port="b")] == ["static"]
        told = [row["event"] async for row in upto(events, "reload", 2)]
        assert [event for event in told if event.startswith("port")] == [
            "port-down",
            "port-changed",
            "port-up",
            "port-changed",
        ]


async def upto(events: Any, last: str, times: int = 1) -> AsyncIterator[dict[str, object]]:
    """Events up to the n-th of a kind."""
    async with asyncio.timeout(10):
        async for row in events:
            yield row
            times -= row["event"] == last
            if not times:
                return


@story
async def test_a_port_that_leaves_a_vlan_forgets_it() -> None:
    async with running() as engine:
        await speak(engine, "t", 1, vid=10)
        await speak(engine, "t", 2, vid=20)
        await engine.apply(config(access("a"), access("b"), trunk("t", 20)))
        assert [(row["vlan"], row["port"]) for row in engine.status.fdb()] == [(20, "t")]


@story
async def test_256_ports_and_a_change_of_one() -> None:
    ports = [access(f"p{number}") for number in range(256)]
    async with running(config(*ports)) as engine:
        assert sorted(row["index"] for row in engine.status.ports()) == [*range(256)]
        await engine.apply(config(*ports[1:], access("other")))
        assert len(engine.status.ports()) == 256


ANY_PORT = st.builds(
    lambda name, mode, vid, up: (
        access(name, vid, admin_up=up) if mode == "access" else trunk(name, vid, 20, admin_up=up)
    ),
    st.sampled_from("abcd"),
    st.sampled_from(["access", "trunk"]),
    st.sampled_from([10, 11, 12]),
    st.booleans(),
)
ANY_CONFIG = st.lists(
    ANY_PORT | st.sampled_from([GONE, VLAN_OF_LO]), max_size=5, unique_by=lambda port: port.name
).map(lambda ports: config(*ports))


@settings(max_examples=examples(40))
@given(st.lists(st.tuples(ANY_CONFIG, st.sampled_from("abcd")), max_size=6))
def test_any_sequence_of_changes_keeps_the_books_and_the_promise(steps: list[tuple[Config, str]]) -> None:
    async def test() -> None:
        async with running() as engine:
            for new, talker in steps:
                before = engine.config
                if {GONE, VLAN_OF_LO} & {*new.ports}:
                    with pytest.raises(ApplyError):
                        await engine.apply(new)
                else:
                    await engine.apply(new)
                    before = new
                assert engine.config == before
                assert states(engine) == {
                    port.name: "up" if port.admin_up else "down" for port in before.ports
                }
                if talker in states(engine):
                    inject(engine, talker, broadcast(ord(talker)))
                    await turns(engine, 2)
                assert balance(engine) == 0

    asyncio.run(test())


# -- rows ------------------------------------------------------------------------------------------


@story
async def test_rows_of_ports_and_vlans() -> None:
    ports = (
        access("a", mtu=1400),
        trunk("t", 10, 20, 21, 22, pvid=1, tpid=0x88A8),
        PortConfig("q", "memory", mode="tunnel", pvid=30),
    )
    async with running(config(*ports, vlans=(VlanConfig(10, "ten", 7), VlanConfig(99, "unused")))) as engine:
        await speak(engine, "a", 1)
        common = {
            "kind": "memory",
            "device": "",
            "netns": None,
            "mac": None,
            "state": "up",
            "filter": None,
            "reason": None,
        }
        common |= {"native_tagged": False, "map": None, "priority_tags": "never", "default_pcp": 0}
        common |= {"enabled": True, "learning": True, "mac_limit": 0, "flood": "unknown,multicast,broadcast"}
        common |= {"isolated": False, "horizon": None, "hairpin": False, "direction": "both"}
        common |= {"locked": False, "source_guard": False, "storm_control": False}
        common |= {"ra_guard": False, "dhcp_guard": False}
        common |= {"multicast_router": "auto", "fast_leave": False, "group_limit": None}
        counts = dict.fromkeys(("rx_frames", "tx_frames", "drops", "rx_missed", "fdb_entries"), 0)
        assert engine.status.ports() == [
            {
                **common,
                **counts,
                "port": "a",
                "index": 0,
                "mode": "access",
                "vlan": 10,
                "native": None,
                "tpid": "802.1Q",
                "mtu": 1400,
                "fdb_entries": 1,
                "rx_frames": 1,
            },
            {
                **common,
                **counts,
                "port": "q",
                "index": 1,
                "mode": "tunnel",
                "vlan": 30,
                "native": None,
                "tpid": "802.1Q",
                "mtu": 1500,
            },
            {
                **common,
                **counts,
                "port": "t",
                "index": 2,
                "mode": "trunk",
                "vlan": "10,20-22",
                "native": 1,
                "tpid": "802.1ad",
                "mtu": 1500,
                "tx_frames": 1,
            },
        ]
        assert engine.status.ports("q") == engine.status.ports()[1:2]
        with pytest.raises(PortError, match="'nope': there is none of that name, only a, q, t"):
            engine.status.ports("nope")
        empty = {"name": "", "tagged": [], "untagged": [], "fdb_entries": 0, "mac_limit": 0, "learning": True}
        assert engine.status.vlans() == [
            {**empty, "vlan": 1, "untagged": ["t"]},
            {**empty, "vlan": 10, "name": "ten", "tagged": ["t"], "untagged": ["a"]}
            | {"fdb_entries": 1, "mac_limit": 7},
            *({**empty, "vlan": vid, "tagged": ["t"]} for vid in (20, 21, 22)),
            {**empty, "vlan": 30, "untagged": ["q"]},
            {**empty, "vlan": 99, "name": "unused"},
        ]


@story
async def test_statistics_balance_also_when_ports_have_gone() -> None:
    async with running() as engine:
        for name, sources in (("a", (1, 2)), ("b", (3,))):
            await speak(engine, name, *sources)
        inject(engine, "a", broadcast(1, frames.tag(99)))
        await until(lambda: engine.status.drops(), "the drop")
        await engine.apply(config(access("a"), trunk("t", 10)))
        rows = engine.status.stats()
        assert [row["port"] for row in rows] == ["a", "t", "total"]
        assert [*rows[0]] == ["port", *(name for name, _ in PORT_COUNTERS), "rx_drops", "tx_drops"]
        assert (rows[-1]["rx_frames"], rows[-1]["tx_frames"], rows[-1]["rx_drops"]) == (4, 6, 1)
        assert rows[-1]["balance"] == 0
        assert engine.status.stats("a") == rows[:1]

        await engine.apply(THREE)  # b again: a new port
        assert engine.status.stats("b")[0]["rx_frames"] == 0
        assert balance(engine) == 0


@story
async def test_drops_have_reason_and_meaning() -> None:
    async with running() as engine:
        inject(engine, "a", broadcast(1, frames.tag(99)), broadcast(1, frames.tag(99)))
        row = {
            "port": "a",
            "direction": "rx",
            "reason": "tag_not_allowed",
            "frames": 2,
            "meaning": dict(DROP_REASONS)["tag_not_allowed"],
        }
        both = [row, {**row, "port": "total"}]
        await until(lambda: engine.status.drops() == both, "both drops")
        every = engine.status.drops(all=True)
        assert len(every) == (3 + 1) * (2 * len(DROP_REASONS) + len(MISSES))
        assert all(one in every for one in both)


@story
async def test_drops_of_ports_that_have_gone_stay_in_the_total() -> None:
    async with running() as engine:
        inject(engine, "b", broadcast(1, frames.tag(99)))
        await until(lambda: engine.status.drops(), "the drop")
        await engine.apply(config(access("a")))
        (row,) = engine.status.drops()
        assert (row["port"], row["direction"], row["reason"], row["frames"]) == (
            "total",
            "rx",
            "tag_not_allowed",
            1,
        )
        assert engine.status.stats()[-1]["rx_drops"] == 1


@story
async def test_the_bill_is_by_stage_and_can_be_cleared() -> None:
    async with running() as engine:
        inject(engine, "a", *(broadcast(number) for number in range(100)))
        await receive(engine, "b", 100)
        rows = engine.cost.show_rows()
        assert [row["stage"] for row in rows] == [name for name, _ in STAGES]
        assert sum(float(str(row["time_share"])) for row in rows) == pytest.approx(1, abs=0.01)
        by_stage = {row["stage"]: row for row in rows}
        assert by_stage["rx"]["cycles"] == pytest.approx(
            100 * float(str(by_stage["rx"]["cycles_per_frame"])), rel=0.01
        )

        engine.cost.clear()
        cleared = {row["stage"]: row for row in engine.cost.show_rows()}
        assert cleared["flood"]["cycles"] == 0
        assert cleared["flood"]["cycles_per_frame"] is None
        inject(engine, "a", broadcast(1))
        await receive(engine, "b")
        assert cycles(engine, "flood") > 0
        assert engine.cost.summary_rows()[0]["frames"] == 1


def cycles(engine: Engine, stage: str) -> int:
    return next(int(str(row["cycles"])) for row in engine.cost.show_rows() if row["stage"] == stage)


@story
async def test_charges_stay_with_the_name_of_their_port() -> None:
    """A port that is attached again keeps them, another one at the same index begins at 0."""
    async with running() as engine:
        inject(engine, "a", *(broadcast(number) for number in range(100)))
        await receive(engine, "b", 100)
        before = port_bill(engine)
        assert before["a"] > 0
        await engine.apply(config(access("a", mode="tunnel"), access("b"), trunk("t", 10, 20)))
        assert port_bill(engine)["a"] == before["a"]
        await engine.apply(config(access("b"), access("new"), trunk("t", 10, 20)))
        assert port_bill(engine)["new"] == 0
        assert port_bill(engine)["removed"] == before["a"]
        inject(engine, "new", *(broadcast(number) for number in range(10)))
        await receive(engine, "b", 10)
        after = port_bill(engine)
        assert (after["removed"], after["new"] > 0) == (before["a"], True)


def port_bill(engine: Engine) -> dict[object, int]:
    rows = engine.cost.show_rows("port")
    assert sum(int(str(row["cycles"])) for row in rows) == busy(engine)
    return {row["rest"] or row["port"]: int(str(row["cycles"])) for row in rows}


def busy(engine: Engine) -> int:
    return int(str(engine.cost.summary_rows()[0]["busy_cycles"]))


# -- the FDB ---------------------------------------------------------------------------------------


@story
async def test_entries_by_command() -> None:
    async with running() as engine:
        await engine.fdb_add(VID, 2, "b", "static")
        await engine.fdb_add(VID, 4, "b", "sticky")
        await engine.fdb_add(VID, 6, "", "drop")
        await speak(engine, "a", 1)
        shown = [(row["mac"][-1], row["port"], row["state"]) for row in engine.status.fdb(vlan=VID)]
        assert shown == [
            ("2", "b", "static"),
            ("4", "b", "sticky"),
            ("6", None, "drop"),
            ("1", "a", "dynamic"),
        ]
        assert await engine.fdb_flush(port="b", vlan=VID) == 1
        assert await engine.fdb_flush() == 1
        assert await engine.fdb_delete(VID, 2)
        assert not await engine.fdb_delete(VID, 2)
        assert [row["state"] for row in engine.status.fdb()] == ["drop"]


@story
async def test_entries_that_cannot_be() -> None:
    async with running() as engine:
        with pytest.raises(PortError, match="'a': it does not carry VLAN 20"):
            await engine.fdb_add(20, 2, "a", "static")
        with pytest.raises(PortError, match="'a': it does not carry VLAN 20"):
            await engine.fdb_add(20, 2, "a", "dynamic")
        with pytest.raises(PortError, match="'nope': there is none of that name"):
            await engine.fdb_add(VID, 2, "nope", "static")
        with pytest.raises(PortError, match="'nope': there is none of that name"):
            await engine.fdb_flush(port="nope")
        with pytest.raises(FramebridgeError, match="has not been seen"):
            await engine.fdb_add(VID, 2, "", "dynamic")
        assert engine.status.fdb() == []


@story
async def test_entries_by_command_survive_a_reload_but_not_their_port() -> None:
    async with running() as engine:
        await engine.fdb_add(VID, 2, "b", "static")
        await engine.apply(config(access("a"), access("b"), access("c")))
        assert len(engine.status.fdb()) == 1
        await engine.apply(config(access("a")))
        await engine.apply(THREE)
        assert engine.status.fdb() == []


@story
async def test_a_reload_puts_entries_of_the_file_back_that_commands_replaced_or_removed() -> None:
    entries = (
        StaticEntry(VID, 2, "static", "a"),
        StaticEntry(VID, 4, "sticky", "a"),
        StaticEntry(VID, 6, "drop"),
    )
    file = replace(THREE, entries=entries)

    def shown(engine: Engine) -> list[tuple[object, object]]:
        return [(row["port"], row["state"]) for row in engine.status.fdb()]

    async with running(file) as engine:
        before = shown(engine)
        assert before == [("a", "static"), ("a", "sticky"), (None, "drop")]
        await engine.fdb_delete(VID, 2)
        await engine.fdb_add(VID, 4, "b", "static")
        await engine.fdb_add(VID, 6, "b", "dynamic")
        assert shown(engine) == [("b", "static"), ("b", "dynamic")]
        await engine.apply(file)
        assert shown(engine) == before
        assert await engine.apply(file) == ()


@story
async def test_a_dynamic_entry_takes_the_place_of_a_pinned_one_for_good() -> None:
    async with running() as engine:
        await engine.fdb_add(VID, 2, "", "drop")
        await engine.fdb_add(VID, 2, "b", "dynamic")
        await engine.apply(config(access("a"), access("b", admin_up=False), trunk("t", 10, 20)))
        await engine.apply(THREE)
        assert engine.status.fdb() == []


@story
async def test_nobody_is_let_in_where_no_traffic_of_the_vlan_passes() -> None:
    ports = access("a", admin_up=False), access("b"), trunk("t", 20)
    async with running(replace(config(*ports), bridge=BridgeConfig(learning="controlled"))) as engine:
        with pytest.raises(FramebridgeError, match="its port carries no traffic of VLAN 10 now"):
            await engine.fdb_add(VID, 2, "a", "dynamic")
        events = engine.subscribe()
        inject(engine, "b", broadcast(1))
        assert [row async for row in upto(events, "fdb-request")][-1]["port"] == "b"
        await engine.apply(replace(engine.config, ports=(access("a"), access("b", 20), trunk("t", 20))))
        with pytest.raises(FramebridgeError, match="its port carries no traffic of VLAN 10 now"):
            await engine.fdb_add(VID, frames.number(frames.host(1)), "", "dynamic")
        assert engine.status.fdb() == []


@story
async def test_controlled_learning_waits_for_permission() -> None:
    async with running(replace(THREE, bridge=BridgeConfig(learning="controlled"))) as engine:
        events = engine.subscribe()
        inject(engine, "a", broadcast(1))
        asked = [row async for row in upto(events, "fdb-request")][-1]
        assert (asked["mac"], asked["vlan"], asked["port"]) == ("02:00:00:00:00:01", VID, "a")
        assert engine.status.fdb() == []
        await engine.fdb_add(VID, frames.number(frames.host(1)), "", "dynamic")
        assert [row["port"] for row in engine.status.fdb()] == ["a"]


@story
async def test_time_passes_in_the_engine() -> None:
    clock = ManualClock()
    async with running(replace(THREE, bridge=BridgeConfig(ageing_time=10)), clock=clock) as engine:
        events = engine.subscribe()
        await speak(engine, "a", 1)
        await clock.run(9)
        assert len(engine.status.fdb()) == 1
        await clock.run(3)
        assert engine.status.fdb() == []
        aged = [row async for row in upto(events, "fdb-aged")][-1]
        assert (aged["mac"], aged["port"]) == ("02:00:00:00:00:01", "a")
        assert aged["held"] in (11, 12)


# -- events ----------------------------------------------------------------------------------------


@story
async def test_events_tell_what_happens() -> None:
    async with running() as engine:
        events = engine.subscribe()
        await speak(engine, "a", 1)
        await speak(engine, "b", 1)
        await engine.fdb_flush(port="b")
        await engine.apply(config(access("a"), access("c"), trunk("t", 10, 20)))
        told = [row async for row in upto(events, "reload")]
        assert [(row["event"], row.get("port")) for row in told] == [
            ("fdb-learned", "a"),
            ("fdb-moved", "b"),
            ("fdb-flushed", "b"),
            ("port-removed", "b"),
            ("port-up", "c"),
            ("port-added", "c"),
            ("reload", None),
        ]
        assert all(isinstance(row["time"], float) for row in told)
        assert told[0]["mac"] == "02:00:00:00:00:01"


@story
async def test_different_mtus_on_a_trunk_and_a_port_are_warned_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    start = config(access("a"), access("b", 99, mtu=576), trunk("t", 10, mtu=9000))
    async with running(start) as engine:
        assert caplog.text.count("MTU differs in VLAN 10: 1500 on port a, 9000 on port t") == 1
        assert caplog.text.count("MTU differs") == 1  # b is in no VLAN of t
        events = engine.subscribe()
        await engine.apply(replace(start, vlans=(VlanConfig(10, "ten"),)))
        assert caplog.text.count("MTU differs") == 1
        await engine.apply(config(access("a", mtu=9000), trunk("t", 10, mtu=9000)))
        await engine.apply(start)
        assert caplog.text.count("MTU differs") == 2
        warned = [row async for row in upto(events, "reload", 3) if row["event"] == "warning"]
        assert [(row["port"], row["vlan"]) for row in warned] == [("a", 10)]


@story
async def test_a_second_tag_leaves_less_of_the_mtu(caplog: pytest.LogCaptureFixture) -> None:
    double = trunk("t", 10, translations=(Translation(200, 30, 10),))
    async with running(config(access("a"), double)) as engine:
        assert caplog.text.count("MTU differs in VLAN 10: 1500 on port a, 1496 on port t") == 1
        await engine.apply(config(access("a"), replace(double, mtu=1504)))
        assert caplog.text.count("MTU differs") == 1


@story
async def test_stopping_ends_subscriptions() -> None:
    async with running() as engine:
        events = engine.subscribe()
        waiting = asyncio.create_task(anext(events, None))
        await asyncio.sleep(0)
    assert await asyncio.wait_for(waiting, 10) is None


@story
async def test_a_slow_reader_is_told_what_it_missed_and_where() -> None:
    events = Events(capacity=3)
    slow, fast = events.subscribe(), events.subscribe()
    heard = []
    for number in range(5):
        events.emit("number", number=number)
        heard.append((await anext(fast))["number"])
    assert heard == [0, 1, 2, 3, 4]
    assert [(await anext(slow)).get("number") for _ in range(3)] == [0, 1, 2]
    assert (await anext(slow))["lost"] == 2
    for number in range(5, 9):
        events.emit("number", number=number)
    assert [(await anext(slow)).get("number") for _ in range(2)] == [5, 6]
    events.emit("number", number=9)  # room again: the note comes first
    assert [(row.get("lost"), row.get("number")) for row in [await anext(slow) for _ in range(3)]] == [
        (None, 7),
        (1, None),
        (None, 9),
    ]


@story
async def test_no_number_of_moves_keeps_a_loop_from_a_slow_reader() -> None:
    events = Events(capacity=3)
    slow = events.subscribe()
    for number in range(10_000):
        events.emit("fdb-moved", mac=number)
        if number == 5000:
            events.emit("loop", port="a")
            events.emit("port-blocked", port="a")
    told = [await anext(slow) for _ in range(6)]
    assert [row["event"] for row in told] == [*["fdb-moved"] * 3, "lost", "loop", "port-blocked"]
    assert told[3]["lost"] == 9997


@story
async def test_a_closed_subscription_ends_and_is_forgotten() -> None:
    events = Events()
    subscription = events.subscribe()
    events.emit("one")
    subscription.close()
    subscription.close()
    events.emit("two")
    assert [row async for row in subscription] == []
