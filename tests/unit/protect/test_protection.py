"""Loops and moving addresses in a running engine, on a clock of its own: what is told, held, blocked, let go again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from helpers import frames, net
from helpers.books import ended
from helpers.clock import ManualClock

from bridge.config import document as configs
from bridge.config.edit import without_port
from bridge.engine.engine import Engine
from bridge.errors import ApplyError, FramebridgeError
from bridge.mac import format_mac

PORTS = """
[bridge]
address = "02:00:00:00:00:99"
[[port]]
name = "a"
kind = "memory"
vlan = { access = 10 }
[[port]]
name = "b"
kind = "memory"
vlan = { access = 10 }
[[port]]
name = "up"
kind = "memory"
vlan = { trunk = [10, 20], native = 1 }
"""
OWN = bytes.fromhex("020000000099")
DETECT = '[loop_detection]\ninterval = 1\naction = "block"\nrecovery = 30\n'
HOLD = '[move_guard]\nmoves = 4\naction = "hold"\nrecovery = 30\n'
BLOCK = HOLD.replace("hold", "block")
STATION = frames.host(1)
MAC = format_mac(frames.number(STATION))

Row = dict[str, Any]


class World:
    """An engine of memory ports, cables between them, and everything it told."""

    def __init__(self, engine: Engine, clock: ManualClock) -> None:
        self.engine = engine
        self.clock = clock
        self.cables: dict[str, str] = {}
        self.told: list[Row] = []

    def port(self, name: str) -> Any:
        return self.engine.port(name)

    def cable(self, one: str, other: str) -> None:
        self.cables |= {one: other, other: one}

    def cut(self) -> None:
        self.cables = {}

    async def settle(self, turns: int = 10) -> None:
        """Carry frames over the cables for some rounds, and let the engine act."""
        for _ in range(turns):
            await asyncio.sleep(0.002)
            for name in ("a", "b", "up"):
                sent = self.port(name).drain()
                if (far := self.cables.get(name)) is not None:
                    self.port(far).inject(sent[:64])
            self.engine.wake()
        await self.quiet()

    def spin(self) -> None:
        """Wait for the data thread alone: the engine gets no turn, and events pile up."""
        self.engine.wake()
        net.wait_until(
            lambda: not any(self.port(name).pending for name in ("a", "b", "up")), "the frames to be taken"
        )

    async def quiet(self) -> None:
        async with asyncio.timeout(10):
            while any(
                self.port(row["port"]).pending for row in self.engine.status.ports() if row["state"] == "up"
            ):
                await asyncio.sleep(0.002)

    async def send(self, name: str, *sent: bytes) -> None:
        self.port(name).inject(sent)
        self.engine.wake()
        await self.quiet()
        self.engine.status.fdb()
        await asyncio.sleep(0.002)

    async def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds)):
            await self.clock.run(1)
            await self.settle(2)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                await self.settle(1)

    def state(self, name: str) -> str:
        return str(self.engine.status.ports(name)[0]["state"])

    def heard(self, *kinds: str) -> list[Row]:
        return [row for row in self.told if row["event"] in kinds]

    def place(self) -> tuple[object, object]:
        (row,) = self.engine.status.fdb(mac=frames.number(STATION), vlan=10)
        return row["port"], row["state"]


def live(text: str, story: Callable[[World], Awaitable[None]]) -> None:
    async def run() -> None:
        clock = ManualClock()
        engine = Engine(configs.parse(PORTS + text), clock=clock)
        await engine.start()
        world = World(engine, clock)
        listening = asyncio.create_task(listen(world))
        await asyncio.sleep(0)
        try:
            await story(world)
            total = engine.status.stats()[-1]
            assert total["balance"] == 0
            assert total["forwarded"] + total["originated"] == total["offered"]
        finally:
            await engine.stop()
            await listening

    asyncio.run(run())


async def listen(world: World) -> None:
    async for row in world.engine.subscribe():
        world.told.append(row)


def broadcast(source: bytes = STATION) -> bytes:
    return frames.ethernet(frames.BROADCAST, source)


# -- loops


def test_without_a_loop_probes_are_sent_and_nothing_happens() -> None:
    async def story(world: World) -> None:
        await world.pass_time(3)
        rows = {row["port"]: row for row in world.engine.status.stats()}
        assert rows["a"]["originated"] >= 3
        assert rows["up"]["originated"] == 3 * rows["a"]["originated"], "native 1, and 10 and 20 tagged"
        assert world.heard("loop", "port-blocked") == []

    live(DETECT, story)


def test_detection_off_sends_nothing_until_it_is_on() -> None:
    async def story(world: World) -> None:
        await world.pass_time(3)
        assert world.engine.status.stats()[-1]["originated"] == 0
        await world.engine.apply(configs.parse(PORTS + DETECT))
        await world.until(lambda: world.engine.status.stats()[-1]["originated"] > 0)
        await world.engine.apply(configs.parse(PORTS))
        await world.settle()
        before = world.engine.status.stats()[-1]["originated"]
        await world.pass_time(3)
        assert world.engine.status.stats()[-1]["originated"] == before

    live("", story)


def test_a_loop_is_found_one_port_is_blocked_and_it_comes_back_when_the_loop_is_cut() -> None:
    async def story(world: World) -> None:
        world.cable("a", "b")
        await world.pass_time(2)
        await world.until(lambda: world.state("b") == "blocked")
        (loop,) = world.heard("loop")
        assert {loop["port"], loop["other_port"]} == {"a", "b"}
        assert (loop["vlan"], loop["other_vlan"], loop["blocked"]) == (10, 10, "b")
        assert (world.state("a"), world.state("up")) == ("up", "up")
        assert "loop" in str(world.engine.status.ports("b")[0]["reason"])
        await world.send("a", broadcast())
        assert len(world.port("up").drain()) >= 1, "the traffic of others goes on"
        await world.pass_time(10)
        assert world.state("b") == "blocked"
        world.cut()
        await world.pass_time(25)
        await world.until(lambda: world.state("b") == "up")
        await world.pass_time(5)
        assert world.state("b") == "up"
        assert [row["event"] for row in world.heard("port-blocked", "port-unblocked")] == [
            "port-blocked",
            "port-unblocked",
        ]

    live(DETECT, story)


def test_a_loop_that_is_still_there_blocks_again() -> None:
    async def story(world: World) -> None:
        world.cable("a", "b")
        await world.pass_time(40)
        await world.until(lambda: len(world.heard("port-blocked")) >= 2)
        assert {row["port"] for row in world.heard("port-blocked")} == {"b"}

    live(DETECT, story)


def test_a_loop_to_a_trunk_blocks_the_access_port() -> None:
    async def story(world: World) -> None:
        world.cable("a", "up")  # untagged: VLAN 10 leaks into the native VLAN 1 and back
        await world.pass_time(2)
        await world.until(lambda: world.state("a") == "blocked")
        assert world.state("up") == "up"
        loop = world.heard("loop")[0]
        assert {loop["vlan"], loop["other_vlan"]} == {1, 10}

    live(DETECT, story)


def test_log_only_tells() -> None:
    async def story(world: World) -> None:
        world.cable("a", "b")
        await world.pass_time(3)
        await world.until(lambda: len(world.heard("loop")) >= 2)
        assert {row["blocked"] for row in world.heard("loop")} == {None}
        assert world.state("a") == world.state("b") == "up"
        assert len(world.heard("loop")) <= 6, "once a round"
        rows = {row["port"]: row for row in ended(world.engine, "own_probe")}
        assert rows.keys() == {"a", "b"}

    live(DETECT.replace("block", "log"), story)


def test_a_port_that_hears_itself_is_a_loop_of_one() -> None:
    async def story(world: World) -> None:
        world.cables = {"a": "a"}
        await world.pass_time(2)
        await world.until(lambda: world.state("a") == "blocked")
        assert world.heard("loop")[0]["other_port"] == "a"

    live(DETECT, story)


def test_a_guest_cannot_invent_a_loop_of_others() -> None:
    """It knows everything of the probe it was sent, but not the nonce of one that was sent elsewhere."""

    async def story(world: World) -> None:
        await world.clock.run(1)
        sent: list[bytes] = []
        async with asyncio.timeout(10):
            while not (sent := [frame.data for frame in world.port("a").drain()]):
                await asyncio.sleep(0.002)
        probe = sent[-1]
        assert probe[6:12] == OWN
        await world.send("a", probe[:26] + bytes(6) + probe[32:])
        await world.pass_time(2)
        assert world.heard("loop", "port-blocked") == []
        (row,) = ended(world.engine, "own_probe")
        assert (row["port"], row["frames"]) == ("a", 1)

    live(DETECT, story)


def test_two_bridges_do_not_take_each_others_probes_for_their_own() -> None:
    async def story(world: World) -> None:
        other = Engine(configs.parse(PORTS + DETECT), clock=world.clock)  # of the same address, even
        await other.start()
        try:
            far: Any = other.port("a")
            for _ in range(5):
                await world.clock.run(1)
                await asyncio.sleep(0.01)
                world.port("a").inject(far.drain())
                far.inject(world.port("a").drain())
                world.engine.wake()
                other.wake()
                await asyncio.sleep(0.01)
            assert other.status.stats("a")[0]["rx_frames"] > 0
            assert world.engine.status.stats("a")[0]["rx_frames"] > 0
            for engine in (world.engine, other):
                assert ended(engine, "own_probe") == []
                assert engine.status.fdb() == []
        finally:
            await other.stop()
        assert world.heard("loop") == []

    live(DETECT, story)


def test_addresses_that_go_back_and_forth_are_a_suspicion() -> None:
    async def story(world: World) -> None:
        stations = [broadcast(frames.host(n)) for n in range(1, 30)]
        for name in ("a", "b", "a", "b"):
            await world.send(name, *stations)
        await world.until(lambda: world.state("b") == "blocked")
        (event,) = world.heard("loop-suspected")
        assert {event["port"], event["other_port"]} == {"a", "b"}
        assert event["blocked"] == "b"

    live(DETECT.replace("interval = 1", "interval = 3600"), story)


# -- moving addresses


async def flap(world: World, n: int) -> None:
    """Let a station be seen on a, then on b and a by turns: n moves."""
    await world.send("a", broadcast())
    for i in range(n):
        await world.send("b" if i % 2 == 0 else "a", broadcast())


def test_a_held_address_stays_where_it_was_for_a_time() -> None:
    async def story(world: World) -> None:
        await flap(world, 4)  # b a b a: held on b, where it was before the fourth
        (event,) = world.heard("mac-moving")
        assert (event["mac"], event["port"], event["old_port"], event["action"]) == (MAC, "a", "b", "hold")
        assert world.place() == ("b", "held")
        await world.send("a", broadcast())
        assert world.place() == ("b", "held")
        assert [row["frames"] for row in ended(world.engine, "static_move")] == [1]
        await world.pass_time(31)
        assert world.heard("mac-released")[0]["mac"] == MAC
        assert world.place() == ("b", "dynamic")
        await world.send("a", broadcast())
        assert world.place() == ("a", "dynamic")

    live(HOLD, story)


def test_held_is_a_state_of_its_own_to_every_question() -> None:
    async def story(world: World) -> None:
        await flap(world, 4)
        await world.engine.fdb_add(10, frames.number(frames.host(8)), "a", "sticky")
        asked = {
            state: [row["mac"] for row in world.engine.status.fdb(state=state)]
            for state in ("held", "sticky")
        }
        assert asked == {"held": [MAC], "sticky": ["02:00:00:00:00:08"]}
        assert await world.engine.fdb_flush(state="sticky") == 1
        assert world.place() == ("b", "held")
        assert await world.engine.fdb_flush(state="held") == 1
        assert world.engine.status.fdb() == []

    live(HOLD, story)


@pytest.mark.parametrize("end", ["flush", "delete", "add"])
def test_what_removes_the_entry_ends_the_hold(end: str) -> None:
    async def story(world: World) -> None:
        await flap(world, 4)
        assert world.place() == ("b", "held")
        mac = frames.number(STATION)
        if end == "flush":
            await world.engine.fdb_flush()
        elif end == "delete":
            assert await world.engine.fdb_delete(10, mac)
        else:
            await world.engine.fdb_add(10, mac, "up", "static")
        await world.send("a", broadcast())
        assert world.place() == (("up", "static") if end == "add" else ("a", "dynamic"))
        await world.pass_time(31)
        assert world.heard("mac-released") == []

    live(HOLD, story)


def test_the_port_it_moved_to_is_blocked_only_that_one_and_by_hand_it_returns() -> None:
    async def story(world: World) -> None:
        await world.send("a", broadcast())
        for i in range(40):  # events of moves that happened meanwhile block no other port
            world.port("b" if i % 2 == 0 else "a").inject([broadcast()])
            world.spin()
        await world.until(lambda: bool(world.heard("port-blocked")))
        await world.pass_time(1)
        (event,) = world.heard("port-blocked")
        blocked = str(event["port"])
        assert (blocked in ("a", "b"), MAC in event["reason"], event["seconds"]) == (True, True, 30)
        await world.until(lambda: world.state(blocked) == "blocked")
        assert [world.state(name) for name in ("a", "b", "up")].count("blocked") == 1
        assert world.engine.unblock(blocked)
        await world.until(lambda: world.state(blocked) == "up")
        assert not world.engine.unblock(blocked)
        assert world.heard("port-unblocked")[0]["by"] == "hand"

    live(BLOCK, story)


def test_a_thousand_restless_addresses_are_held_and_told_of_in_few_words(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def story(world: World) -> None:
        stations = [broadcast(frames.host(n)) for n in range(1000, 1500)]
        for name in ("a", "b", "a", "b", "a"):
            await world.send(name, *stations)
        rows = world.engine.status.fdb()
        assert [row["state"] for row in rows] == ["held"] * 500
        assert len(world.heard("mac-moving")) == 32
        await world.pass_time(1)
        assert "468 more addresses moved too often: hold" in caplog.text

    live(HOLD, story)


def test_a_virtual_router_moves_as_it_likes() -> None:
    async def story(world: World) -> None:
        vrrp = bytes.fromhex("00005e000107")
        for _ in range(10):
            for name in ("a", "b"):
                await world.send(name, broadcast(vrrp))
        assert world.heard("mac-moving", "port-blocked") == []

    live(BLOCK, story)


def test_a_block_survives_reloads_and_ends_with_its_port() -> None:
    async def story(world: World) -> None:
        world.engine._parts.protection.blocks.block("b", "because", 0)
        await world.until(lambda: world.state("b") == "blocked")
        await world.engine.apply(configs.parse(PORTS.replace("trunk = [10, 20]", "trunk = [10, 30]")))
        await world.pass_time(100)
        assert world.state("b") == "blocked"
        config = world.engine.config
        await world.engine.apply(without_port(config, "b"))
        await world.engine.apply(config)
        assert world.state("b") == "up"

    live("", story)


def test_a_change_that_fails_lets_no_blocked_port_back() -> None:
    """It was closed for another device, and opened again when that could not be had."""

    async def story(world: World) -> None:
        world.engine._parts.protection.blocks.block("b", "because", 0)
        await world.until(lambda: world.state("b") == "blocked")
        config = world.engine.config
        gone = replace(config.ports[1], kind="link", device="lo.5")
        with pytest.raises(ApplyError):
            await world.engine.apply(replace(config, ports=(config.ports[0], gone, config.ports[2])))
        assert world.state("b") == "blocked"
        assert world.heard("port-unblocked") == []

    live("", story)


def test_a_disabled_port_that_is_blocked_is_down() -> None:
    async def story(world: World) -> None:
        world.engine._parts.protection.blocks.block("b", "because", 0)
        await world.until(lambda: world.state("b") == "blocked")
        text = PORTS.replace('name = "b"', 'name = "b"\nenabled = false')
        await world.engine.apply(configs.parse(text))
        assert world.state("b") == "down"

    live("", story)


# -- the own address


def test_the_own_address_never_has_an_entry() -> None:
    async def story(world: World) -> None:
        await world.send("a", broadcast(OWN))
        assert world.engine.status.fdb() == []
        for kind in ("static", "dynamic"):
            with pytest.raises(FramebridgeError, match="own address"):
                await world.engine.fdb_add(10, frames.number(OWN), "a", kind)

    live("", story)


def test_the_own_address_changes_with_a_restart_and_is_refused_as_an_entry() -> None:
    async def story(world: World) -> None:
        with pytest.raises(FramebridgeError, match=r"bridge\.address: only a restart"):
            await world.engine.apply(configs.parse(PORTS.replace(":99", ":98")))

    live("", story)
    entry = '[[fdb]]\nmac = "02:00:00:00:00:99"\nvlan = 10\nport = "a"\n'
    with pytest.raises(FramebridgeError, match="never has an entry"):
        configs.parse(PORTS + entry)


def test_without_an_address_it_has_one_by_its_name() -> None:
    def made(name: str) -> int:
        async def ask() -> int:
            return Engine(configs.parse(f'[bridge]\nname = "{name}"\n')).own_address

        return asyncio.run(ask())

    assert made("x") == made("x") != made("y")
    assert made("x") >> 40 == 2
