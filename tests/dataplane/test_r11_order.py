"""R11: order per (VID, source, destination), no duplicates, nothing leaves by its ingress port.

Every story runs with batches of 1, 2, B-1, B, B+1 and several B frames (house rule 7), and with nothing
at all.
"""

from __future__ import annotations

import random
from collections import defaultdict

import pytest
from helpers import frames
from helpers.bridge import Lab, access, trunk

from bridge.core import _core

A, B, C = frames.host(1), frames.host(2), frames.host(3)
BURST = 8
SIZES = [1, 2, BURST - 1, BURST, BURST + 1, 3 * BURST + 2]
every_size = pytest.mark.parametrize("n", SIZES)


def numbered(destination: bytes, source: bytes, number: int, *tags: bytes) -> bytes:
    return frames.ethernet(destination, source, *tags, payload=number.to_bytes(4, "big") * 12)


def test_nothing_to_do() -> None:
    lab = Lab(access(10), access(10), burst=BURST)
    assert lab.turn() == 0
    assert lab.drain() == {}
    assert lab.core.counters().thread["batches"] == 0


def test_turn_without_configuration() -> None:
    assert _core.Bridge().turn() == 0


@every_size
def test_known_unicast(n: int) -> None:
    lab = Lab(access(10), access(10), access(10), burst=BURST)
    lab.learn(1, 2)
    sent = [numbered(B, A, i) for i in range(n)]
    assert lab.send(0, *sent).data == {1: sent}


@every_size
def test_flood(n: int) -> None:
    lab = Lab(access(10), access(10), trunk(10), burst=BURST)
    assert lab.send(0, *(numbered(frames.BROADCAST, A, i) for i in range(n))).data == {
        1: [numbered(frames.BROADCAST, A, i) for i in range(n)],
        2: [numbered(frames.BROADCAST, A, i, frames.tag(10)) for i in range(n)],
    }


@every_size
def test_a_turn_takes_one_batch(n: int) -> None:
    lab = Lab(access(10), access(10), burst=BURST)
    lab.inject(0, *(numbered(B, A, i) for i in range(n)))
    assert lab.turn() == min(n, BURST)
    assert lab.ports[0].pending == n - min(n, BURST)


@every_size
def test_answer_inside_the_batch_of_the_question(n: int) -> None:
    """Learn, then forward: a frame to a station that speaks later in the same batch is not flooded."""
    lab = Lab(trunk(10, 20), access(10), access(10), burst=BURST)
    sent = [numbered(B, A, i, frames.tag(10)) for i in range(n)]
    verdict = lab.send(0, *sent, numbered(frames.BROADCAST, B, n, frames.tag(10)))
    in_one_batch = n % BURST
    assert verdict.drops.get(("rx", 0, "same_port"), 0) == in_one_batch
    assert len(verdict.sent[1]) == n - in_one_batch + 1


@pytest.mark.parametrize("seed", range(5))
@every_size
def test_flows_keep_their_order_in_any_mix(seed: int, n: int) -> None:
    chance = random.Random(seed)
    lab = Lab(trunk(10, 20), access(10), trunk(10, 20), access(20), burst=BURST)
    lab.learn(1, 2)
    lab.learn(2, 3, vid=20)
    destinations = [B, C, frames.host(9), frames.group(1), frames.BROADCAST]
    flows: dict[tuple[bytes, int], list[bytes]] = defaultdict(list)
    sent = []
    for i in range(n):
        destination, vid = chance.choice(destinations), chance.choice((10, 20))
        frame = numbered(destination, A, i, frames.tag(vid))
        flows[destination, vid].append(frame)
        sent.append(frame)
    got = lab.send(0, *sent).data
    for (_destination, vid), flow in flows.items():
        untagged = [frame[:12] + frame[16:] for frame in flow]
        for index, port_vid in ((1, 10), (3, 20)):
            seen = [frame for frame in got.get(index, []) if frame in untagged]
            assert seen in ([], untagged), "a flow arrives whole, once and in order, or not at all"
            assert seen == [] or port_vid == vid
        seen = [frame for frame in got.get(2, []) if frame in flow]
        assert seen in ([], flow)
    assert 0 not in got


@every_size
def test_no_duplicates_over_many_ports(n: int) -> None:
    lab = Lab(*(access(10) for _ in range(10)), trunk(10), trunk(10, tpid=frames.TPID_AD), burst=BURST)
    got = lab.send(3, *(numbered(frames.BROADCAST, A, i) for i in range(n))).data
    assert set(got) == set(range(12)) - {3}
    assert all(len(sent) == len(set(sent)) == n for sent in got.values())


def test_largest_burst() -> None:
    lab = Lab(access(10), trunk(10), access(10), burst=_core.BURST_MAX)
    sent = [numbered(frames.BROADCAST, A, i) for i in range(_core.BURST_MAX + 1)]
    assert lab.send(0, *sent).data[2] == sent
