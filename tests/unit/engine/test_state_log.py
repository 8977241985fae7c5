"""What becomes of ports in the log: every change is there, one by one or in a summary."""

from __future__ import annotations

import logging
import re

import pytest
from helpers.clock import ManualClock
from hypothesis import given
from hypothesis import strategies as st

from bridge.engine.state_log import LOGGED_MAX, WINDOW, StateLog


class World:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.log = StateLog(self.clock)
        self.lines: list[tuple[int, str]] = []

    def change(self, state: str, port: str = "a") -> None:
        level = logging.INFO if state == "up" else logging.WARNING
        self.log.changed(port, state, level, f"port {port} is {state}")

    def wait(self, seconds: int) -> None:
        for _ in range(seconds):
            self.clock.advance(1)
            self.log.tick()


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_a_port_that_flaps_is_a_line_a_window(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    with caplog.at_level(logging.INFO):
        for _ in range(500):
            world.change("down")
            world.change("up")
        world.wait(int(WINDOW))
        world.wait(int(WINDOW))

    assert lines(caplog) == [
        *["port a is down", "port a is up"] * (LOGGED_MAX // 2),
        f"port a flaps: its state changed {1000 - LOGGED_MAX} more times within 10 s; it is up now",
    ]


def test_changes_that_are_far_apart_are_logged_each(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    with caplog.at_level(logging.INFO):
        for state in ["down", "up"] * 10:
            world.change(state)
            world.wait(3)

    assert lines(caplog) == ["port a is down", "port a is up"] * 10


def test_one_that_is_quiet_again_is_logged_as_ever(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    for state in ["down", "up"] * 10:
        world.change(state)
    world.wait(2 * int(WINDOW) + 1)
    with caplog.at_level(logging.INFO):
        caplog.clear()
        world.change("down")

    assert lines(caplog) == ["port a is down"]


def test_another_port_is_another_matter(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    with caplog.at_level(logging.INFO):
        for state in ["down", "up"] * 10:
            world.change(state)
        world.change("down", "b")
        world.log.forget("a")

    assert lines(caplog)[-2:] == [
        "port b is down",
        "port a flaps: its state changed 16 more times within 1 s; it is up now",
    ]


@given(st.lists(st.one_of(st.sampled_from("ab"), st.integers(1, 12)), max_size=60))
def test_every_change_is_logged_or_counted(steps: list[str | int]) -> None:
    world = World()
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("bridge.engine")
    logger.addHandler(handler)
    before, logger.level = logger.level, logging.INFO
    try:
        for step in steps:
            if isinstance(step, str):
                world.change("up", step)
            else:
                world.wait(step)
        for port in "ab":
            world.log.forget(port)
    finally:
        logger.removeHandler(handler)
        logger.level = before

    for port in "ab":
        summed = sum(
            int(found[1]) for line in said if (found := re.match(rf"port {port} flaps.* (\d+) more", line))
        )
        assert said.count(f"port {port} is up") + summed == steps.count(port)
