"""Counting moves: the window, what is told once, who is exempt, and that nothing grows."""

from __future__ import annotations

import pytest
from helpers.clock import ManualClock

from bridge.config import document as configs
from bridge.config.move_guard import MoveGuardConfig
from bridge.config.plan import plan
from bridge.config.write import to_toml
from bridge.core._core import is_virtual_router
from bridge.errors import ConfigError
from bridge.mac import parse_mac
from bridge.protect.move_guard import TRACKED, MoveGuard

MAC = 0x020000000001


def guard(**rules: object) -> tuple[MoveGuard, ManualClock]:
    clock = ManualClock()
    made = MoveGuard(clock)
    made.configure(MoveGuardConfig(**{"moves": 5, "window": 180, **rules}))  # type: ignore[arg-type]
    return made, clock


def test_the_fifth_move_within_the_window_is_one_too_many_and_told_once() -> None:
    counted, clock = guard()
    told = []
    for _ in range(12):
        clock.advance(10)
        told.append(counted.moved(10, MAC))
    assert told == [False] * 4 + [True] + [False] * 7


def test_the_window_begins_with_the_first_move() -> None:
    counted, clock = guard()
    for _ in range(4):
        assert not counted.moved(10, MAC)
    clock.advance(180)
    assert [counted.moved(10, MAC) for _ in range(5)] == [False] * 4 + [True]


def test_vlans_and_addresses_are_counted_apart() -> None:
    counted, _ = guard()
    for _ in range(4):
        for vid, mac in ((10, MAC), (20, MAC), (10, MAC + 1)):
            assert not counted.moved(vid, mac)
    assert counted.moved(20, MAC)


def test_what_was_dealt_with_is_counted_anew() -> None:
    counted, _ = guard()
    for _ in range(5):
        counted.moved(10, MAC)
    counted.forget(10, MAC)
    assert [counted.moved(10, MAC) for _ in range(5)] == [False] * 4 + [True]


def test_off_counts_nothing() -> None:
    counted, _ = guard(moves=0)
    assert not any(counted.moved(10, MAC) for _ in range(100))


@pytest.mark.parametrize(
    "text",
    [
        *(
            "00:00:5e:00:01:01",
            "00:00:5e:00:01:ff",
            "00:00:5e:00:02:07",
            "00:00:0c:07:ac:00",
            "00:00:0c:9f:f0:01",
        ),
        *("00:00:0c:9f:ff:ff", "00:05:73:a0:0f:ff", "00:07:b4:01:02:03"),
    ],
)
def test_virtual_routers_may_move(text: str) -> None:
    assert is_virtual_router(parse_mac(text))
    counted, _ = guard(moves=2)
    assert not any(counted.moved(10, parse_mac(text)) for _ in range(10))


@pytest.mark.parametrize(
    "text",
    [
        "00:00:5e:00:00:01",
        "00:00:5e:00:03:01",
        "00:00:0c:07:ad:00",
        "00:00:0c:9f:e0:01",
        "00:05:73:a0:10:00",
        "02:00:5e:00:01:01",
    ],
)
def test_their_neighbours_may_not(text: str) -> None:
    assert not is_virtual_router(parse_mac(text))


def test_a_million_addresses_take_no_more_room_than_some_thousand() -> None:
    counted, _ = guard(moves=2)
    for n in range(4 * TRACKED):
        counted.moved(10, MAC + n)
    assert len(counted._moves) == TRACKED
    assert not counted.moved(10, MAC), "it was forgotten: the first of them"
    assert counted.moved(10, MAC + 4 * TRACKED - 1)


# -- the table


def test_the_table_is_read_written_planned() -> None:
    off = configs.parse("")
    on = configs.parse('[move_guard]\nmoves = 5\naction = "hold"\nrecovery = 0\n')
    assert on.move_guard == MoveGuardConfig(5, 180, "hold", 0)
    assert configs.parse(to_toml(on)) == on
    assert [str(action) for action in plan(off, on)] == [
        "set move guard 5 moves in 180 s: moves 0 -> 5, action log -> hold, recovery 300 -> 0"
    ]
    assert [action.subject for action in plan(on, off)] == ["off"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "the key 'moves' is missing"),
        ("moves = 1", "a number of moves from 2"),
        ("moves = 5\nwindow = 0", "1 to 1000000 seconds"),
        ('moves = 5\naction = "drop"', "'log' or 'hold' or 'block'"),
        ("moves = 5\nrecovery = -1", r"expected 0 \(by hand\) or 1 to 1000000 seconds, got -1"),
        ("moves = 5\nrecovery = false", "seconds"),
        ("moves = 5\nwindows = 9", "did you mean 'window'"),
    ],
)
def test_refusals(text: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as caught:
        configs.parse("[move_guard]\n" + text)
    assert all(problem.line for problem in caught.value.problems)
