"""Twenty frames, counted everywhere: see PMD - stats in Open vSwitch tests/pmd.at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from helpers import frames
from helpers.daemon import Daemon, tap
from helpers.net import Net

pytestmark = pytest.mark.root


def numbers(rows: list[dict[str, Any]]) -> set[object]:
    """Every number of some rows."""
    return {value for row in rows for value in row.values() if isinstance(value, int | float)}


def test_before_the_first_frame_all_is_zero_and_twenty_frames_add_up(
    net: Net, start: Callable[..., Daemon]
) -> None:
    here, there, middle = (net.namespace() for _ in range(3))
    bridge = start(middle, tap("a", here, access=10), tap("b", there, access=10))
    sender, receiver = (net.packet_socket("tap0", space) for space in (here, there))

    assert numbers(bridge.rows("stats", "show")) == {0}
    assert not any(row["frames"] for row in bridge.rows("cost", "show", "class"))
    assert bridge.rows("drops", "show") == []

    for number in range(20):
        sender.send(frames.ethernet(frames.BROADCAST, frames.host(number)))
    for _ in range(20):
        receiver.wait()

    bridge.check_books()
    one, other = bridge.stats("a"), bridge.stats("b")
    keys = ("rx_frames", "forwarded", "flooded", "tx_frames")
    assert [one[key] for key in keys] == [20, 20, 20, 0]
    assert [other[key] for key in keys] == [0, 0, 0, 20]
    charged = {row["class"]: row["frames"] for row in bridge.rows("cost", "show", "class") if row["frames"]}
    assert charged == {"broadcast": 20}
    assert bridge.fdb() == {(10, frames.host(number).hex(":")): ("a", "dynamic") for number in range(20)}
