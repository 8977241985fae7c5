"""The decisions of a pair (csrc/ha/pair.h) in simulated time: the failure matrix, and random lives.

* A network that delivers: whatever members do (die, stop, come back, lose carriers, are held, hand over), two gates are
  never open at once.
* A network that does not: two gates are open at once only as long as no beacon crosses; and somebody forwards again
  soon after all is well.
"""

from __future__ import annotations

from itertools import product

import pytest
from helpers.pair_world import DO, INTERVAL, MS, PAIR_ID, PATIENCE, World, settled
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.core._ha import BEACON_GRANTED, PAIR_RANK_NS, Pair
from bridge.core.values import Beacon

BOTH = tuple(product((0, 1), (0, 1), (0, 1)))


def started(priorities: tuple[int, ...] = (100, 90), **how: object) -> World:
    world = World(priorities, **how)  # type: ignore[arg-type]
    world.run(1000 * MS)
    assert len(world.open()) == 1
    assert world.overlaps == []
    world.nobody.clear()
    return world


def longest(spans: list[tuple[int, int]]) -> int:
    return max((end - start for start, end in spans), default=0)


def cut(world: World, sender: int, receiver: int) -> None:
    world.cuts |= {(path, sender, receiver) for path in range(world.paths)}


def test_the_better_of_two_that_start_together_forwards() -> None:
    assert started((90, 100)).open() == [1]
    assert started((100, 90)).open() == [0]
    assert started((100, 100)).open() == [1]  # the greater id decides


def test_killed() -> None:
    world = started()
    world.kill(world.members[0])
    world.run(1000 * MS)
    assert world.open() == [1]
    assert longest(world.nobody) <= PATIENCE + PAIR_RANK_NS + 3 * MS
    assert world.overlaps == []


def test_who_comes_back_does_not_take_over() -> None:
    world = started()
    world.kill(world.members[0])
    world.run(1000 * MS)
    world.start(world.members[0])
    world.run(5000 * MS)
    assert world.open() == [1]


def test_preemption_is_a_planned_switch() -> None:
    world = started(preempt=500 * MS)
    world.kill(world.members[0])
    world.run(1000 * MS)
    world.start(world.members[0])
    world.nobody.clear()
    world.run(3000 * MS)
    assert world.open() == [0]
    assert longest(world.nobody) <= 3 * MS
    assert world.overlaps == []


def test_stopped_and_continued() -> None:
    world = started()
    world.pause(world.members[0])
    world.run(700 * MS)
    world.resume(world.members[0])
    world.run(1000 * MS)
    assert world.open() == [1]
    assert longest(world.nobody) <= PATIENCE + PAIR_RANK_NS
    assert world.overlaps == []


def test_an_uplink_lost_is_handed_over_at_once() -> None:
    world = started()
    world.set_health(world.members[0], False)
    world.run(1000 * MS)
    assert world.open() == [1]
    assert longest(world.nobody) <= 3 * MS
    world.set_health(world.members[1], False)
    world.run(1000 * MS)
    assert world.open() == []
    world.set_health(world.members[0], True)
    world.run(50 * MS)
    assert world.open() == [0]


def test_a_planned_switch() -> None:
    world = started()
    assert not world.release(world.members[1])
    assert world.release(world.members[0])
    world.run(3000 * MS)
    assert world.open() == [1]
    assert longest(world.nobody) <= 3 * MS
    assert world.overlaps == []


def test_nobody_to_switch_to() -> None:
    world = started()
    world.hold(world.members[1], True)
    world.run(200 * MS)
    assert not world.release(world.members[0])
    assert world.open() == [0]


def test_a_peer_that_does_not_take_over_gets_it_back() -> None:
    world = started()
    assert world.release(world.members[0])
    world.pause(world.members[1])
    world.run(1500 * MS)
    assert world.open() == [0]


def test_one_path_cut() -> None:
    world = started()
    world.cuts = {(0, 0, 1), (0, 1, 0)}
    world.run(2000 * MS)
    assert (world.open(), world.nobody, world.overlaps) == ([0], [], [])


def test_a_standby_that_hears_nothing_wins_over_the_deaf_rule() -> None:
    world = started()
    cut(world, 0, 1)
    world.run(2000 * MS)
    assert world.open() == [1]
    assert world.members[0].happened["deaf"] == 1
    assert longest(world.overlaps) <= INTERVAL


def test_an_active_that_hears_nothing_goes_on() -> None:
    world = started()
    cut(world, 1, 0)
    world.run(2000 * MS)
    assert (world.open(), world.nobody, world.overlaps) == ([0], [], [])


def test_two_that_met_again_keep_one_and_announce_once_more() -> None:
    world = started()
    cut(world, 0, 1)
    cut(world, 1, 0)
    world.run(1000 * MS)
    assert world.open() == [0, 1]  # beacons alone cannot tell: loop detection is there for this
    before = world.members[1].happened["announce"]
    world.cuts.clear()
    world.run(500 * MS)
    assert world.open() == [1]  # the later epoch
    assert world.members[1].happened["announce"] == before + 1


def test_three_members_are_too_many_and_never_two_gates() -> None:
    world = World((100, 100, 50))
    world.run(3000 * MS)
    assert len(world.open()) == 1
    assert all(member.happened["crowd"] for member in world.members)
    assert world.overlaps == []


def test_of_two_under_one_id_the_later_forwards() -> None:
    """A cloned machine: the one that started first notices, and stands back."""
    world = World((100,))
    world.run(1000 * MS)
    clone = Pair(
        pair=PAIR_ID, member=1, session=world.now, interval=INTERVAL, preempt=0, priority=100, now=world.now
    )
    clone.set_health(world.now, True)
    world.deliver(world.members[0], clone.write(world.now))
    assert world.open() == []
    assert world.members[0].happened["crowd"] == 1


@pytest.mark.parametrize("session", [-1, 0])
def test_a_recorded_beacon_changes_nothing(session: int) -> None:
    world = started()
    standby, active = world.members[1], world.members[0]
    recorded = active.pair.write(world.now)
    world.run(3000 * MS)
    before = standby.pair.write(world.now)
    assert (
        standby.pair.hear(world.now, recorded._replace(session=recorded.session + session)) & DO["replayed"]
    )
    after = standby.pair.write(world.now)
    assert after == before._replace(sequence=before.sequence + 1)


def test_beacons_of_an_earlier_run_are_known_after_a_restart() -> None:
    pair = Pair(pair=PAIR_ID, member=1, session=5, interval=INTERVAL, preempt=0, priority=1, now=0)
    pair.remember(2, 100, 1000)
    beacon = Beacon(PAIR_ID, 2, 100, 900, 3, 0, 0, BEACON_GRANTED, 1)
    assert pair.hear(1, beacon) & DO["replayed"]
    assert not pair.hear(2, beacon._replace(sequence=1001)) & DO["replayed"]


def test_beacons_of_others_are_told_apart() -> None:
    pair = Pair(pair=PAIR_ID, member=1, session=5, interval=INTERVAL, preempt=0, priority=1, now=0)
    own = pair.write(1)
    assert pair.hear(2, own) & DO["reflected"]
    assert pair.hear(3, own._replace(pair=8)) & DO["foreign"]


# -- random lives ---------------------------------------------------------------------------------------

deeds = st.sampled_from(["kill", "start", "pause", "resume", "sick", "well", "hold", "unhold", "release"])
lives = st.lists(st.tuples(deeds, st.integers(0, 1), st.integers(0, 700 * MS)), max_size=25)


def do(world: World, deed: str, number: int) -> None:
    member = world.members[number]
    match deed:
        case "kill":
            world.kill(member)
        case "start" if member.dead:
            world.start(member)
        case "pause" if not member.dead:
            world.pause(member)
        case "resume" if member.paused and not member.dead:
            world.resume(member)
        case "sick" | "well" if member.runs:
            world.set_health(member, deed == "well")
        case "hold" | "unhold" if member.runs:
            world.hold(member, deed == "hold")
        case "release" if member.runs:
            world.release(member)


def mend(world: World) -> None:
    world.cuts.clear()
    world.loss = 0.0
    for member in world.members:
        if member.dead:
            world.start(member)
        elif member.paused:
            world.resume(member)
        world.hold(member, False)
        world.set_health(member, True)
    world.run(settled())


@given(
    life=lives,
    priorities=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    seed=st.integers(0, 2**32),
    delay=st.integers(0, 20 * MS),
    preempt=st.sampled_from([0, 0, 300 * MS]),
)
@example(  # who released and is well again, and a peer that heard of the release last a patience ago
    life=[
        ("kill", 0, 330000001),
        ("start", 0, 69999999),
        ("sick", 0, 0),
        ("sick", 1, 29959040),
        ("pause", 1, 270040961),
    ],
    priorities=(1, 1),
    seed=0,
    delay=2,
    preempt=0,
)
def test_where_beacons_arrive_two_gates_are_never_open(
    life: list[tuple[str, int, int]], priorities: tuple[int, int], seed: int, delay: int, preempt: int
) -> None:
    world = World(priorities, seed=seed, delay=(0, delay), preempt=preempt)
    for deed, number, then in life:
        do(world, deed, number)
        world.run(then)
    mend(world)
    assert world.overlaps == []
    assert len(world.open()) == 1


@given(
    life=st.lists(
        st.one_of(
            st.tuples(deeds, st.integers(0, 1), st.integers(0, 700 * MS)),
            st.tuples(st.frozensets(st.sampled_from(BOTH)), st.just(0), st.integers(0, 1500 * MS)),
        ),
        max_size=20,
    ),
    seed=st.integers(0, 2**32),
    loss=st.sampled_from([0.0, 0.1, 0.5]),
)
def test_overlaps_end_with_the_first_beacons_that_cross(
    life: list[tuple[str | frozenset[tuple[int, int, int]], int, int]], seed: int, loss: float
) -> None:
    """Where beacons cross at all, two open gates last no longer than it takes to notice that they no longer do."""
    delay = 5 * MS
    world = World(seed=seed, delay=(0, delay), loss=loss)
    for deed, number, then in life:
        if isinstance(deed, str):
            do(world, deed, number)
        else:
            world.cuts = {way for way in deed if way[1] != way[2]}
        world.overlaps.clear()
        alive = (
            world.loss == 0.0
            and all(m.runs for m in world.members)
            and any(world.hears(world.members[a], world.members[1 - a]) for a in (0, 1))
        )
        world.run(then)
        if alive:
            assert longest(world.overlaps) <= PATIENCE + 2 * INTERVAL + 2 * delay
    mend(world)
    assert len(world.open()) == 1
