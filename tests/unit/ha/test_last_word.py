"""The last word of a dead daemon: a beacon at which the other member opens at once, if the gate was open."""

from __future__ import annotations

import mmap
import socket
from typing import Any

import pytest

from bridge.core._ha import BEACON_GRANTED, BEACON_RELEASED, PAIR_STEPS, Pair, boot_clock, read_beacon
from bridge.core.values import Beacon
from bridge.ha.last_word import PAGE, REPEATS, release, state_of

SECRET = b"k" * 32
MS = 1_000_000
STEPS = {name: 1 << bit for bit, (name, _) in enumerate(PAIR_STEPS)}


@pytest.fixture
def ends() -> Any:
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with left, right:
        right.setblocking(False)
        yield left, right


def told(path: int) -> dict[str, Any]:
    who = {"pair": 7, "member": 1, "session": 100, "priority": 200, "secret": SECRET.hex()}
    return {**who, "hang": 0.2, "pid": 4711, "paths": [path]}


def page(until: int, *, epoch: int = 3, progress: int = 0, sequence: int = 500) -> mmap.mmap:
    made = mmap.mmap(-1, PAGE.size)
    PAGE.pack_into(made, 0, until, epoch, progress, sequence)
    return made


def test_it_hands_over_an_open_gate_and_the_other_member_opens_at_once(ends: Any) -> None:
    left, right = ends
    now = boot_clock()
    gate = page(now + 3600 * 1000 * MS)
    other = Pair(pair=7, member=2, session=50, interval=100 * MS, now=now - 1000 * MS)
    other.set_health(now - 900 * MS, True)
    other.hear(now - 120 * MS, Beacon(7, 1, 100, 499, 3, 2, 50, BEACON_GRANTED, 200))
    other.hear(now - 20 * MS, Beacon(7, 1, 100, 500, 3, 2, 50, BEACON_GRANTED, 200))
    assert other.state == "standby"
    assert release(gate, told(left.fileno())) == REPEATS
    assert PAGE.unpack_from(gate)[0] == 0
    said = [read_beacon(right.recv(200), secret=SECRET) for _ in range(REPEATS)]
    assert {fault for fault, _ in said} == {"fine"}
    beacon = said[0][1]
    assert beacon is not None
    assert (beacon.flags, beacon.epoch, beacon.session) == (BEACON_RELEASED, 3, 100)
    assert beacon.sequence > 500
    assert other.hear(now, beacon) & STEPS["announce"]
    assert other.state == "active"


def test_it_says_nothing_of_a_gate_that_has_closed(ends: Any) -> None:
    left, right = ends
    for until in (0, boot_clock() - 1):
        assert release(page(until), told(left.fileno())) == 0
    with pytest.raises(BlockingIOError):
        right.recv(200)


def test_what_it_answers() -> None:
    now = boot_clock()
    fine = state_of(page(now + 3600 * 1000 * MS, progress=now), told(0))
    assert (fine["health"], fine["gate"], fine["epoch"], fine["pid"]) == ("fine", "open", 3, 4711)
    hung = state_of(page(now - 1, progress=now - 300 * MS), told(0))
    assert (hung["health"], hung["gate"], hung["lease_ms"]) == ("hung", "closed", None)
    assert state_of(page(now + 3600 * 1000 * MS), told(0), is_dead=True)["gate"] == "closed"
