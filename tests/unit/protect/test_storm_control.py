"""Storm control from the file to the data plane: limits read and written, budgets made of them, events and rows."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from helpers import frames
from helpers.books import ended
from hypothesis import given
from hypothesis import strategies as st

from bridge.account.storm_budgets import storm_budgets
from bridge.cli.grammar import UsageError
from bridge.cli.port import port_keys
from bridge.config import document as configs
from bridge.config.edit import without_port
from bridge.config.plan import plan
from bridge.config.port import parse_port, update_port
from bridge.config.rates import UNITS, Rate
from bridge.config.storm_control import StormControl, rate
from bridge.config.whole import Config
from bridge.config.write import to_toml
from bridge.engine.engine import Engine
from bridge.errors import ApplyError, ConfigError

PORTS = """
[[port]]
name = "guests"
kind = "memory"
vlan = {{ access = 10 }}
{}
[[port]]
name = "uplink"
kind = "memory"
vlan = {{ access = 10 }}
"""
LIMITS = 'storm_control = { broadcast = "100 frames/s", unknown = "10 Mbit/s" }'


def parse(limits: str = LIMITS) -> Config:
    return configs.parse(PORTS.format(limits), "test.toml")


@pytest.mark.parametrize(
    ("text", "expected", "written"),
    [
        ("1000 frames/s", Rate("frames", 1000), "1000 frames/s"),
        ("1000frames/s", Rate("frames", 1000), "1000 frames/s"),
        ("10 Mbit/s", Rate("bits", 1e7), "10 Mbit/s"),
        ("1.5Gbit/s", Rate("bits", 1.5e9), "1500 Mbit/s"),
        ("64 kbit/s", Rate("bits", 64000), "64 kbit/s"),
        ("999 bit/s", Rate("bits", 999), "999 bit/s"),
        ("2e8 cycles/s", Rate("cycles", 2e8), "200000000 cycles/s"),
        ("5 %", Rate("percent", 5), "5 %"),
        ("0.5%", Rate("percent", 0.5), "0.5 %"),
    ],
)
def test_limits(text: str, expected: Rate, written: str) -> None:
    assert rate(text) == expected
    assert str(expected) == written


@given(st.sampled_from(sorted(UNITS)), st.floats(1, 100))
def test_what_is_written_is_read_again(unit: str, number: float) -> None:
    limit = rate(f"{number!r} {unit}")
    assert rate(str(limit)).unit == limit.unit
    assert rate(str(limit)).limit == pytest.approx(limit.limit, rel=1e-12)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "fast",
        "10",
        "10 pps",
        "-1 frames/s",
        "0 frames/s",
        "101 %",
        "0.0001 bit/s",
        "1e99 frames/s",
        7,
        True,
    ],
)
def test_nonsense_is_refused_with_the_units_there_are(text: object) -> None:
    table = {"name": "x", "kind": "memory", "vlan": {"access": 1}, "storm_control": {"broadcast": text}}
    with pytest.raises(ConfigError, match=r"port\.storm_control\.broadcast: expected a") as caught:
        parse_port(table)
    assert "frames/s" in str(caught.value) or "a limit of 0.001 to" in str(caught.value)


def test_read_written_planned_changed() -> None:
    without, config = parse(""), parse()
    control = StormControl(Rate("frames", 100), unknown=Rate("bits", 1e7))
    assert config.ports[0].storm_control == control
    assert configs.parse(to_toml(config)) == config
    exempt_none = parse('storm_control = { multicast = "1 %", burst = 1, exempt = [] }')
    assert exempt_none.ports[0].storm_control == StormControl(
        multicast=Rate("percent", 1), burst=1, exempt=()
    )
    assert configs.parse(to_toml(exempt_none)) == exempt_none
    assert [str(action) for action in plan(without, config)] == [
        "set port guests: storm_control default -> broadcast 100 frames/s unknown 10 Mbit/s"
    ]
    assert update_port(config.ports[0], {"storm_control": None}) == without.ports[0]


def test_a_percentage_is_of_a_core() -> None:
    (budget,) = storm_budgets("guests", StormControl(unknown=Rate("percent", 5)), 2e9)
    assert (budget.unit, budget.limit, budget.port, budget.floods) == ("cycles", 1e8, "guests", ("unknown",))


def test_on_the_command_line() -> None:
    read = port_keys()["storm_control"]
    assert read("storm_control", "broadcast=1000frames/s,unk=5%") == {
        "broadcast": "1000frames/s",
        "unknown": "5%",
    }
    assert read("storm_control", "none") is None
    assert read("storm_control", "default") is None
    with pytest.raises(UsageError, match="needs none or limits like"):
        read("storm_control", "broadcast")


# -- in an engine


async def with_engine(config: Config, story: Any) -> None:
    engine = Engine(config)
    await engine.start()
    try:
        await story(engine)
        assert engine.status.stats()[-1]["balance"] == 0
    finally:
        await engine.stop()


async def flood(engine: Engine, n: int) -> None:
    port: Any = engine.port("guests")
    port.inject([frames.ethernet(frames.BROADCAST, frames.host(1))] * n)
    engine.wake()
    async with asyncio.timeout(10):
        while port.pending:
            await asyncio.sleep(0.01)


def test_a_storm_is_bounded_told_and_shown() -> None:
    async def story(engine: Engine) -> None:
        events = engine.subscribe()
        await flood(engine, 500)
        row, other = engine.status.storms()
        assert (row["port"], row["flood"], row["unit"], row["per_second"]) == (
            "guests",
            "broadcast",
            "frames",
            100,
        )
        assert row["spent"] + row["dropped"] == 500
        assert (
            row["spent"] <= 10 + 64 + 64
        )  # the bucket, the batch that overdrew it, what came back meanwhile
        assert (other["flood"], other["dropped"]) == ("unknown", 0)
        (drop,) = ended(engine, "storm")
        assert (drop["port"], drop["direction"], drop["frames"]) == ("guests", "rx", row["dropped"])
        assert engine.status.storms("uplink") == []
        async with asyncio.timeout(10):
            told = [event async for event in _take(events, "storm-", 2)]
        assert [(event["event"], event["port"], event["flood"]) for event in told] == [
            ("storm-begin", "guests", "broadcast"),
            ("storm-end", "guests", "broadcast"),  # though nothing came any more
        ]

    asyncio.run(with_engine(parse(), story))


async def _take(events: Any, prefix: str, n: int) -> Any:
    async for event in events:
        if event["event"].startswith(prefix):
            yield event
            n -= 1
            if not n:
                return


def test_a_reload_changes_adds_and_takes_away_limits() -> None:
    async def story(engine: Engine) -> None:
        await flood(engine, 200)
        before = engine.status.storms()[0]
        await engine.apply(parse(LIMITS.replace("100 frames", "50 frames")))
        after = engine.status.storms()[0]
        assert (after["per_second"], after["dropped"]) == (50, before["dropped"])
        await engine.apply(parse('storm_control = { multicast = "1 %" }'))
        assert [(row["flood"], row["dropped"]) for row in engine.status.storms()] == [("multicast", 0)]
        await flood(engine, 200)
        assert engine.status.storms()[0]["dropped"] == 0
        await engine.apply(without_port(engine.config, "guests"))
        assert engine.status.storms() == []

    asyncio.run(with_engine(parse(), story))


def test_a_limit_of_another_unit_begins_anew() -> None:
    """A debt of 100,000 bits is none of 100,000 frames, which nobody would live to see paid back."""

    async def story(engine: Engine) -> None:
        await engine.apply(parse(LIMITS.replace("100 frames/s", "1 bit/s")))
        await flood(engine, 200)
        assert engine.status.storms()[0]["left"] < -1000
        await engine.apply(parse(LIMITS.replace("100 frames/s", "100000 frames/s")))
        (row, _) = engine.status.storms()
        assert (row["unit"], row["left"], row["state"], row["spent"]) == ("frames", 1, "within", 0)

    asyncio.run(with_engine(parse(), story))


def test_a_change_that_fails_forgets_no_storm() -> None:
    async def story(engine: Engine) -> None:
        await flood(engine, 200)
        before = engine.status.storms()[0]
        gone = replace(engine.config.ports[0], kind="link", device="lo.5")
        with pytest.raises(ApplyError):
            await engine.apply(replace(engine.config, ports=(gone, *engine.config.ports[1:])))
        after = engine.status.storms()[0]
        kept = ("spent", "dropped", "times_over")
        assert [after[key] for key in kept] == [before[key] for key in kept]
        assert after["dropped"] > 0

    asyncio.run(with_engine(parse(), story))
