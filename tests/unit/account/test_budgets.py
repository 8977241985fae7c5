"""Budgets from the file to the data plane: read, written, planned, put into snapshots, told."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from helpers import frames
from helpers.books import ended

from bridge.config import document as configs
from bridge.config.budget import BUDGETS_MAX, BudgetConfig
from bridge.config.edit import without_port
from bridge.config.plan import plan
from bridge.config.whole import Config
from bridge.config.write import to_toml
from bridge.engine.engine import Engine
from bridge.errors import ConfigError

PORTS = """
[[port]]
name = "guests"
kind = "memory"
vlan = { access = 10 }
[[port]]
name = "uplink"
kind = "memory"
vlan = { access = 10 }
"""
BUDGET = """
[[budget]]
name = "storm"
port = "guests"
class = ["broadcast", "unknown_unicast"]
frames_per_second = 100
"""


def parse(text: str) -> Config:
    return configs.parse(PORTS + text, "test.toml")


def test_defaults_and_every_key() -> None:
    (budget,) = parse(BUDGET).budgets
    assert budget == BudgetConfig(
        "storm", "frames", 100.0, port="guests", classes=("unknown_unicast", "broadcast")
    )
    (budget,) = parse("""
[[budget]]
name = "noisy"
vlan = 10
talker = "02:00:00:00:00:09"
cycles_per_second = 2e8
burst = 0.5
action = "stop_learning"
exempt = []
""").budgets
    assert budget == BudgetConfig(
        "noisy", "cycles", 2e8, burst=0.5, action="stop_learning", vlan=10, talker=0x020000000009, exempt=()
    )


def test_written_and_read_again() -> None:
    config = parse(
        BUDGET
        + """
[bridge]
heartbeat_ports = [694, "5404-5407"]
[[budget]]
name = "bits"
bits_per_second = 1_000_000
"""
    )
    assert config.bridge.heartbeat_ports == (694, 5404, 5405, 5406, 5407)
    assert configs.parse(to_toml(config)) == config


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('name = "a"', "write exactly one of"),
        ('name = "a"\nframes_per_second = 1\nbits_per_second = 1', "write exactly one of"),
        ('name = "a"\nframes_per_second = 0', "above 0"),
        ('name = "a"\nframes_per_second = true', "above 0"),
        ('name = "a"\nframes_per_second = inf', "above 0"),
        ("frames_per_second = 1", "the key 'name' is missing"),
        ('name = "a"\nframes_per_second = 1\nclass = ["broadcasts"]', "did you mean 'broadcast'"),
        ('name = "a"\nframes_per_second = 1\nclass = ["heartbeat"]', "every class it names is exempt"),
        ('name = "a"\nframes_per_second = 1\nport = "gusets"', "did you mean 'guests'"),
        ('name = "a"\nframes_per_second = 1\naction = "stop_learning"', "add talker or port"),
        ('name = "a"\nframes_per_second = 1\ntalker = "ff:ff:ff:ff:ff:ff"', "group address"),
        ('name = "a"\nframes_per_second = 1\nburst = 0', "above 0"),
        ('name = "a"\nframes_per_second = 1\ncolour = 1', "unknown key"),
    ],
)
def test_refusals_name_the_place_and_the_way_out(text: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as caught:
        parse("[[budget]]\n" + text)
    assert all(problem.line for problem in caught.value.problems)


def test_a_name_is_used_once_and_there_is_a_limit() -> None:
    with pytest.raises(ConfigError, match="already taken"):
        parse(BUDGET + BUDGET)
    many = "".join(f'[[budget]]\nname = "b{n}"\nframes_per_second = 1\n' for n in range(BUDGETS_MAX + 1))
    with pytest.raises(
        ConfigError, match=f"{BUDGETS_MAX + 1} budgets, but a bridge has at most {BUDGETS_MAX};"
    ):
        parse(many)


def test_plan_adds_changes_and_deletes() -> None:
    without, first, second = parse(""), parse(BUDGET), parse(BUDGET.replace("100", "50"))
    assert [str(action) for action in plan(without, first)] == [
        "add budget storm: port guests, class unknown_unicast,broadcast, frames_per_second 100"
    ]
    assert [str(action) for action in plan(first, second)] == [
        "set budget storm: frames_per_second 100 -> 50"
    ]
    assert [action.kind for action in plan(second, without)] == ["delete_budget"]
    assert [action.inverse for action in reversed(plan(first, second))] == list(plan(second, first))


def test_a_port_that_is_deleted_takes_its_budgets_along() -> None:
    assert without_port(parse(BUDGET), "guests").budgets == ()


async def with_engine(config: Config, story: Any) -> None:
    engine = Engine(config)
    await engine.start()
    try:
        await story(engine)
    finally:
        await engine.stop()


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


def broadcast(n: int) -> list[bytes]:
    return [frames.ethernet(frames.BROADCAST, frames.host(1))] * n


def test_an_engine_keeps_to_it_and_tells() -> None:
    async def story(engine: Engine) -> None:
        events = engine.subscribe()
        port: Any = engine.port("guests")
        port.inject(broadcast(500))
        engine.wake()
        await until(lambda: port.pending == 0)
        (row,) = engine.status.budgets()
        assert (row["budget"], row["state"], row["times_over"]) == ("storm", "over", 1)
        assert row["spent"] + row["dropped"] == 500
        assert (
            row["spent"] <= 10 + 64 + 20
        )  # the bucket, the batch that overdrew it, what came back meanwhile
        (drop,) = ended(engine, "over_budget")
        assert (drop["port"], drop["frames"]) == ("guests", row["dropped"])
        event = await asyncio.wait_for(anext(event async for event in events if "budget" in event), 10)
        assert (event["event"], event["budget"]) == ("budget-over", "storm")

    asyncio.run(with_engine(parse(BUDGET.replace("100", "100\nburst = 0.1")), story))


def test_a_reload_changes_the_limit_and_keeps_what_was_counted() -> None:
    async def story(engine: Engine) -> None:
        port: Any = engine.port("guests")
        port.inject(broadcast(200))
        engine.wake()
        await until(lambda: port.pending == 0)
        before = engine.status.budgets()[0]
        await engine.apply(parse(BUDGET.replace("100", "1_000_000_000")))
        await until(lambda: engine.status.budgets()[0]["state"] == "within")
        port.inject(broadcast(200))
        engine.wake()
        await until(lambda: port.pending == 0)
        after = engine.status.budgets()[0]
        assert after["spent"] == before["spent"] + 200
        assert after["dropped"] == before["dropped"]
        await engine.apply(parse(""))
        assert engine.status.budgets() == []

    asyncio.run(with_engine(parse(BUDGET), story))
