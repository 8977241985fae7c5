"""Rehearsals: what is foretold of a frame is what becomes of it, and the bridge sees nothing of being asked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from helpers import frames, pcapng
from helpers.aio import story, until
from helpers.clock import ManualClock
from helpers.profiles import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP

from bridge.clock import Clock
from bridge.config.bridge import BridgeConfig
from bridge.config.budget import BudgetConfig
from bridge.config.group import GroupConfig
from bridge.config.mirror import MirrorConfig
from bridge.config.multicast import MulticastConfig
from bridge.config.pair import PairConfig
from bridge.config.port import PortConfig
from bridge.config.security import Security, Stations
from bridge.config.static_entry import StaticEntry
from bridge.config.vlan import VlanConfig
from bridge.config.whole import Config
from bridge.core._core import Frame, MemoryPort
from bridge.engine.engine import Engine
from bridge.engine.rehearsal import FRAME_MIN, Outcome, Step
from bridge.errors import PortError

VIDS = (10, 20)
IP4 = bytes(IP(src="10.0.0.1", dst="239.1.1.1") / UDP(dport=9) / bytes(18))
NAMES = ("a", "b", "c", "t")
A, B, C, T = (PortConfig(name, "memory", pvid=10) for name in NAMES)
T = replace(T, mode="trunk", pvid=0, vids=VIDS)


class Bridge:
    """An engine whose data plane takes a turn when it is told to, with four memory ports."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def port(self, name: str) -> MemoryPort:
        port = self.engine.port(name)
        assert isinstance(port, MemoryPort)
        return port

    async def send(self, name: str, data: bytes) -> dict[str, list[bytes]]:
        """Send a frame in; returns what left by port."""
        counted = self.engine.status.stats(name)[0]["rx_frames"]
        assert self.port(name).inject([Frame(data)]) == 1
        while self.engine.status.stats(name)[0]["rx_frames"] == counted or self.port(name).pending:
            await self.turn()
        await self.turn()
        found = {one: [frame.data for frame in self.port(one).drain()] for one in NAMES}
        return {one: sent for one, sent in found.items() if sent}

    async def turn(self) -> None:
        before = self.engine.progress
        self.engine.wake()
        while self.engine.progress < before + 2:
            self.engine.wake()

    def drops(self) -> dict[tuple[str, str, str], int]:
        return {
            (row["port"], row["direction"], row["reason"]): row["frames"]
            for row in self.engine.status.drops()
            if row["port"] != "total"
        }


async def bridge(*ports: PortConfig, clock: Clock | None = None, **rest: Any) -> Bridge:
    engine = Engine(Config(ports=ports or (A, B, C, T), **rest), clock=clock)
    await engine.start()
    return Bridge(engine)


def steps(outcome: Outcome, stage: str) -> list[Step]:
    return [step for step in outcome.steps if step.stage == stage]


def broadcast(source: int, *tags: bytes) -> bytes:
    return frames.ethernet(frames.BROADCAST, frames.host(source), *tags)


def sent(outcome: Outcome) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {}
    for step in outcome.steps:
        if step.data:
            found.setdefault(step.port, []).append(step.data)
    return found


# -- foretold and done

HOSTS = st.integers(1, 4)
PORTS = st.builds(
    lambda base, **keys: replace(base, **keys),
    st.just(A),
    mode=st.sampled_from(["access", "trunk"]),
    learning=st.booleans(),
    isolated=st.booleans(),
    hairpin=st.booleans(),
    horizon=st.integers(0, 1),
    direction=st.sampled_from(["both", "both", "ingress", "egress"]),
    mac_limit=st.sampled_from([0, 0, 1]),
    flood_unknown=st.booleans(),
    flood_broadcast=st.booleans(),
    flood_multicast=st.booleans(),
    priority_tags=st.sampled_from(["never", "always"]),
    security=st.sampled_from(
        [Security(), Security(), Security(locked=True, allow=(Stations(frames.number(frames.host(1))),))]
    ),
)
DRAWN = st.builds(
    lambda to, source, tags, payload: frames.ethernet(to, source, *tags, payload=payload),
    to=st.one_of(
        st.builds(frames.host, HOSTS),
        st.just(frames.BROADCAST),
        st.just(frames.group(5)),
        st.just(frames.reserved(0)),
    ),
    source=st.builds(frames.host, HOSTS),
    tags=st.lists(st.builds(frames.tag, st.sampled_from([0, 10, 20, 30]), st.integers(0, 7)), max_size=2),
    payload=st.sampled_from([0, 46, 1500, 1600]),
)
SENDINGS = st.lists(st.tuples(st.sampled_from(NAMES), DRAWN), min_size=1, max_size=12)


@st.composite
def _configs(draw: st.DrawFn) -> Config:
    ports = []
    for name in NAMES:
        port = replace(draw(PORTS), name=name)
        if port.mode == "trunk":
            port = replace(port, pvid=0, vids=VIDS)
        else:
            port = replace(port, priority_tags="never" if port.mode == "trunk" else port.priority_tags)
        ports.append(port)
    entries = (
        StaticEntry(10, frames.number(frames.host(4)), "drop", ""),
        StaticEntry(10, frames.number(frames.host(3)), "static", "b"),
    )
    return Config(
        bridge=BridgeConfig(static_move=draw(st.sampled_from(["drop", "forward"]))),
        ports=tuple(ports),
        vlans=(VlanConfig(10, mac_limit=draw(st.sampled_from([0, 2]))),),
        entries=entries if draw(st.booleans()) else (),
    )


@settings(max_examples=examples(40))
@given(_configs(), SENDINGS)
def test_what_is_foretold_becomes_of_a_frame(config: Config, sendings: list[tuple[str, bytes]]) -> None:
    @story
    async def life() -> None:
        lan = await bridge(*config.ports, bridge=config.bridge, vlans=config.vlans, entries=config.entries)
        try:
            for name, data in sendings:
                before = lan.drops()
                told = await lan.engine.rehearse(name, data)
                assert lan.drops() == before
                assert sent(told) == await lan.send(name, data), told.steps
                dropped = {key for key, count in lan.drops().items() if count > before.get(key, 0)}
                assert {(step.port, step.reason) for step in told.steps if step.outcome == "dropped"} == {
                    (port, reason) for port, _, reason in dropped
                }
        finally:
            await lan.engine.stop()

    life()


# -- what is said of it


@story
async def test_steps_name_what_decides() -> None:
    quiet = replace(B, flood_broadcast=False)
    lan = await bridge(replace(A, isolated=True), quiet, replace(C, isolated=True), T)
    told = await lan.engine.rehearse("a", broadcast(1))
    found = {step.port: (step.outcome, step.key) for step in steps(told, "tx")}
    assert found == {
        "b": ("withheld", "port[b].flood"),
        "c": ("withheld", "port[c].isolated"),
        "t": ("sent", "port[t].vlan"),
    }
    assert [step.text for step in steps(told, "tx")][-1] == "sent: 64 bytes, tagged 10"
    assert told[1:] == ("broadcast", 1)
    await lan.engine.stop()


@story
async def test_nothing_is_seen_of_being_asked() -> None:
    lan = await bridge()
    before = lan.engine.status.stats()
    told = await lan.engine.rehearse("a", broadcast(1))
    assert [step.outcome for step in steps(told, "learn")] == ["learned"]
    assert lan.engine.status.fdb() == []
    after = lan.engine.status.stats()
    assert [row["rx_frames"] for row in after] == [row["rx_frames"] for row in before]
    assert not any(lan.port(name).drain() for name in NAMES)
    await lan.engine.stop()


@story
async def test_a_station_that_moves_is_told_with_its_port() -> None:
    lan = await bridge()
    await lan.send("b", broadcast(1))
    told = await lan.engine.rehearse("a", broadcast(1))
    assert [step.text for step in steps(told, "learn")] == ["02:00:00:00:00:01 moves here from port b"]
    await lan.engine.stop()


@story
async def test_a_budget_that_is_over_is_named() -> None:
    budget = BudgetConfig("few", port="a", unit="frames", limit=1.0, burst=1.0, action="drop")
    lan = await bridge(A, B, C, T, budgets=(budget,))
    while lan.engine.status.budgets()[0]["state"] != "over":
        await lan.send("a", broadcast(1))
    told = await lan.engine.rehearse("a", broadcast(1))
    assert [(step.port, step.text) for step in steps(told, "budget")] == [
        ("a", "budget few is over where traffic runs: such frames are dropped now")
    ]
    other = await lan.engine.rehearse("b", broadcast(2))
    assert steps(other, "budget") == []
    await lan.engine.stop()


@story
async def test_copies_of_mirrors_are_told_and_reach_no_file(tmp_path: Any) -> None:
    watch = PortConfig("c", "memory", mode="mirror")
    file = tmp_path / "all.pcapng"
    mirrors = (
        MirrorConfig("ids", ports=("a",), to_port="c"),
        MirrorConfig("log", ports=("a",), file=str(file), directory=str(tmp_path)),
    )
    lan = await bridge(A, B, watch, T, mirrors=mirrors)
    told = await lan.engine.rehearse("a", broadcast(1))
    mirrored = {step.text.split()[1] for step in steps(told, "mirror") if step.outcome == "mirrored"}
    assert mirrored == {"ids", "log"}
    assert [len(step.data) for step in steps(told, "mirror") if step.port == "c"] == [60]
    rows = {row["mirror"]: row["mirrored"] for row in lan.engine.status.mirrors()}
    assert rows == {"ids": 0, "log": 0}
    await lan.engine.stop()
    assert pcapng.read(file.read_bytes()).packets == []


@story
async def test_a_group_goes_to_its_members_there_too() -> None:
    clock = ManualClock()
    group = GroupConfig("239.1.1.1", 10, ports=("b",))
    lan = await bridge(clock=clock, multicast=MulticastConfig(snooping="on"), groups=(group,))

    def queriers() -> list[object]:
        return [
            row["state"] for row in lan.engine.status.queriers() if row["family"] == 4 and row["vlan"] == 10
        ]

    def passed() -> bool:
        clock.advance(1.0)
        return queriers() == ["pruning"]

    await until(passed, "the VLAN to be pruned")
    for name in NAMES:
        lan.port(name).drain()  # queries
    to_group = frames.ethernet(bytes.fromhex("01005e010101"), frames.host(1), ethertype=0x0800, payload=IP4)
    told = await lan.engine.rehearse("a", to_group)
    assert sent(told) == await lan.send("a", to_group) == {"b": [to_group]}
    assert {step.text for step in steps(told, "tx") if step.outcome == "withheld"} == {
        "not sent: no receiver of this group is known there (snooping)"
    }
    await lan.engine.stop()


@story
async def test_a_standby_says_that_its_gate_is_closed() -> None:
    lan = await bridge()
    lan.engine.member.config = PairConfig(id="site", secret_file="/none", control=("eth0",))
    lan.engine.member.state = "standby"
    told = await lan.engine.rehearse("a", broadcast(1))
    assert (told.steps[0].stage, told.steps[0].reason) == ("gate", "standby")
    assert {step.port for step in steps(told, "tx")} == {"b", "c", "t"}
    await lan.engine.stop()


@story
async def test_what_no_port_could_receive_is_refused() -> None:
    lan = await bridge(A, B, replace(C, admin_up=False), T)
    for name, data, why in (
        ("a", bytes(FRAME_MIN - 1), "14 to 65535 bytes"),
        ("a", bytes(65536), "14 to 65535 bytes"),
        ("c", broadcast(1), "it is down"),
        ("no", broadcast(1), "none of that name"),
    ):
        with pytest.raises(PortError, match=why):
            await lan.engine.rehearse(name, data)
    await lan.engine.stop()
