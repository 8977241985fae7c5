"""A world in simulated time: members of a pair, and a network that delays, loses, reorders and cuts.

Drives the decisions of `csrc/ha/pair.h` alone: no socket, no thread, no real clock. What a gate allows is kept apart
from what a member believes, as the shared page keeps it: a gate is open until the lease ends, whether its member runs
or not.

Times are nanoseconds. A member that is paused (SIGSTOP) takes what came in meanwhile when it goes on, as the queue of a
socket does.
"""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field

from bridge.core._ha import PAIR_RANK_NS, PAIR_STEPS, Pair
from bridge.core.values import Beacon

MS = 1_000_000
INTERVAL = 100 * MS
PATIENCE = 3 * INTERVAL
PAIR_ID = 7
DO = {name: 1 << bit for bit, (name, _) in enumerate(PAIR_STEPS)}


@dataclass
class Member:
    number: int
    priority: int
    pair: Pair
    gate: int = 0  # open until
    dead: bool = False
    paused: bool = False
    queue: list[Beacon] = field(default_factory=list)
    happened: dict[str, int] = field(default_factory=dict)

    @property
    def runs(self) -> bool:
        return not (self.dead or self.paused)


class World:
    """`cuts` holds (path, from, to); `delay` is the range of each beacon's way; `loss` the share that is lost."""

    def __init__(
        self,
        priorities: tuple[int, ...] = (100, 90),
        *,
        paths: int = 2,
        seed: int = 0,
        delay: tuple[int, int] = (0, 2 * MS),
        loss: float = 0.0,
        preempt: int = 0,
    ) -> None:
        self.now = 10**12
        self.paths, self.delay, self.loss, self.preempt = paths, delay, loss, preempt
        self.cuts: set[tuple[int, int, int]] = set()
        self.overlaps: list[tuple[int, int]] = []  # (from, to) during which more than one gate was open
        self.nobody: list[tuple[int, int]] = []  # and during which none was
        self.steps = 0
        self._random = random.Random(seed)
        self._agenda: list[tuple[int, int, int, Pair, Beacon | None]] = []
        self._order = 0
        self.members = [Member(i, p, self._make(i, p)) for i, p in enumerate(priorities)]
        for member in self.members:
            self.set_health(member, True)

    def _make(self, number: int, priority: int) -> Pair:
        return Pair(
            pair=PAIR_ID,
            member=number + 1,
            session=self.now + number,
            interval=INTERVAL,
            preempt=self.preempt,
            priority=priority,
            now=self.now,
        )

    # -- what may happen ----------------------------------------------------------------------------

    def kill(self, member: Member) -> None:
        member.dead, member.gate = True, 0

    def start(self, member: Member) -> None:
        member.pair = self._make(member.number, member.priority)
        member.dead = member.paused = False
        member.gate, member.queue = 0, []
        self.set_health(member, True)

    def pause(self, member: Member) -> None:
        member.paused = True

    def resume(self, member: Member) -> None:
        member.paused = False
        waiting, member.queue = member.queue, []
        for beacon in waiting:
            self._do(member, member.pair.hear(self.now, beacon))
        self._wake(member)

    def set_health(self, member: Member, healthy: bool) -> None:
        self._do(member, member.pair.set_health(self.now, healthy))
        self._wake(member)

    def hold(self, member: Member, held: bool) -> None:
        self._do(member, member.pair.hold(self.now, held))

    def release(self, member: Member) -> bool:
        """Whether there was somebody to release to."""
        error, todo = member.pair.release(self.now)
        self._do(member, todo)
        return not error

    def deliver(self, member: Member, beacon: Beacon) -> None:
        """A beacon out of thin air: recorded, or made by somebody who has the secret."""
        self._do(member, member.pair.hear(self.now, beacon))

    # -- time ---------------------------------------------------------------------------------------

    def run(self, span: int) -> None:
        end = self.now + span
        while self._agenda and self._agenda[0][0] <= end:
            when, _, number, pair, beacon = heapq.heappop(self._agenda)
            self._pass(when)
            member = self.members[number]
            if member.dead or pair is not member.pair:
                continue
            self.steps += 1
            if beacon is None:
                self._wake(member)
            elif member.paused:
                member.queue.append(beacon)
            else:
                self._do(member, member.pair.hear(self.now, beacon))
                self._wake(member)
        self._pass(end)

    def open(self) -> list[int]:
        return [member.number for member in self.members if member.gate > self.now]

    def hears(self, sender: Member, receiver: Member) -> bool:
        return any((path, sender.number, receiver.number) not in self.cuts for path in range(self.paths))

    def _pass(self, when: int) -> None:
        """Book the time until then, gates closing by themselves on the way."""
        ends = sorted(member.gate for member in self.members)
        self._book(self.overlaps, self.now, min(ends[-2], when) if len(ends) > 1 else self.now)
        self._book(self.nobody, max(self.now, min(ends[-1], when)), when)
        self.now = when

    @staticmethod
    def _book(spans: list[tuple[int, int]], start: int, end: int) -> None:
        if end <= start:
            return
        if spans and spans[-1][1] == start:
            start = spans.pop()[0]
        spans.append((start, end))

    def _later(self, when: int, member: Member, beacon: Beacon | None) -> None:
        self._order += 1
        heapq.heappush(self._agenda, (when, self._order, member.number, member.pair, beacon))

    def _wake(self, member: Member) -> None:
        if member.runs:
            self._do(member, member.pair.tick(self.now))
            self._later(max(member.pair.next(self.now), self.now + 1), member, None)

    def _do(self, member: Member, todo: int) -> None:
        for name, bit in DO.items():
            if todo & bit:
                member.happened[name] = member.happened.get(name, 0) + 1
        if todo & DO["close"]:
            member.gate = 0
        if todo & DO["send"]:
            self._send(member)
            self._do(member, member.pair.tick(self.now))

    def _send(self, member: Member) -> None:
        beacon = member.pair.write(self.now)
        for path in range(self.paths):
            for other in self.members:
                cut = (path, member.number, other.number) in self.cuts
                if other is not member and not cut and self._random.random() >= self.loss:
                    self._later(self.now + self._random.randint(*self.delay), other, beacon)
        member.pair.sent(self.now, self.paths)
        if member.pair.state == "active":
            member.gate = member.pair.until


def settled() -> int:
    """How long a world needs, once nothing is wrong with it any more, until one member forwards."""
    return PATIENCE + PAIR_RANK_NS + 3 * INTERVAL + 1000 * MS
