"""`[bridge] cpu`: the CPUs that the data thread uses, as the kernel has them."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.aio import story, until

from bridge.config.document import parse
from bridge.config.plan import plan
from bridge.config.vids import format_vids
from bridge.config.whole import Config
from bridge.config.write import to_toml
from bridge.engine.engine import Engine
from bridge.errors import ApplyError, ConfigError

PORT = '[[port]]\nname = "a"\nkind = "memory"\nvlan = { access = 10 }\n'
MINE = sorted(os.sched_getaffinity(0))
LAST = 8191  # no machine of the tests has so many


def using(*cpus: int) -> Config:
    config = parse(PORT)
    return replace(config, bridge=replace(config.bridge, cpu=cpus))


@pytest.mark.parametrize(
    ("written", "cpus"),
    [("2", (2,)), ('"2"', (2,)), ('"0-1,3"', (0, 1, 3)), ('"3, 0-1"', (0, 1, 3)), ('"8191"', (8191,))],
)
def test_the_ways_to_write_them(written: str, cpus: tuple[int, ...]) -> None:
    config = parse(f"[bridge]\ncpu = {written}\n")
    assert config.bridge.cpu == cpus
    assert parse(to_toml(config)) == config


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("-1", "expected a CPU from 0 to 8191, got -1"),
        ('"0-8192"', "expected a CPU from 0 to 8191, got 8192"),
        ('"0-1,1"', "'0-1,1' names a CPU twice; name it once"),
        ('"3-1"', "the range '3-1' runs backwards; write '1-3'"),
        ('""', "expected CPUs like 2 or '0-1,3', got ''"),
        ('"all"', "expected CPUs like 2 or '0-1,3', got 'all'"),
        ('"0,"', "expected CPUs like 2 or '0-1,3', got ''"),
        ("true", "expected a CPU from 0 to 8191, got true"),
        ("[0]", "expected a CPU from 0 to 8191, got an array"),
    ],
)
def test_what_is_no_list_of_cpus(written: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(f"[bridge]\ncpu = {written}\n")
    assert [(problem.path, problem.message) for problem in caught.value.problems] == [("bridge.cpu", message)]


def test_a_plan_says_what_changes() -> None:
    assert [str(one) for one in plan(using(), using(0, 1, 3))] == ["set bridge bridge0: cpu default -> 0-1,3"]


async def data_thread(engine: Engine) -> int:
    """The kernel's number of the thread, once it forwards."""
    await until(lambda: engine.progress > 0, "a turn of the data thread")
    [number] = [one.native_id for one in threading.enumerate() if one.name == "framebridge-data"]
    assert number is not None
    return number


@story
async def test_the_data_thread_uses_them_and_a_reload_changes_them() -> None:
    first, last = {MINE[0]}, {MINE[-1]}
    engine = Engine(using(*first))
    await engine.start()
    try:
        thread = await data_thread(engine)
        assert os.sched_getaffinity(thread) == first
        status = Path(f"/proc/self/task/{thread}/status").read_text()
        assert f"Cpus_allowed_list:\t{format_vids(first)}\n" in status
        await engine.apply(using(*last))
        assert os.sched_getaffinity(thread) == last
        assert sorted(os.sched_getaffinity(0)) == MINE  # of the control thread
        await engine.apply(using())
        assert sorted(os.sched_getaffinity(thread)) == MINE
    finally:
        await engine.stop()


@story
async def test_cpus_that_this_process_may_not_use_are_refused_and_nothing_changes() -> None:
    engine = Engine(using(MINE[0]))
    await engine.start()
    try:
        thread = await data_thread(engine)
        with pytest.raises(
            ApplyError, match=rf"bridge\.cpu: this process may use CPUs .*, not {LAST}; leave"
        ):
            await engine.apply(using(MINE[0], LAST))
        assert engine.config == using(MINE[0])
        assert os.sched_getaffinity(thread) == {MINE[0]}
    finally:
        await engine.stop()


@story
async def test_a_start_with_such_cpus_is_refused() -> None:
    engine = Engine(using(LAST))
    with pytest.raises(ConfigError, match=rf"bridge\.cpu: this process may use CPUs .*, not {LAST}"):
        await engine.start()
