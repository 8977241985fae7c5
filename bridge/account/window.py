"""The bill as values: what the data plane's counters said at two moments, and what was spent in between.

Job: a `Reading` is everything that is counted, at one moment; `difference` of two is a `Window`, and windows
add up. Pure: no clock, no file, no data plane (meter.py reads those). Rows are made of windows by
bridge.cost_views.

Invariants: every number of a window is 0 or more, whatever happened to the counters: they are 64 bits wide and
may wrap, and one that went backwards (a port or an FDB entry that was made anew) began at 0. The cycles of a
talker whose FDB entry vanished inside the window are kept as `departed`. Windows that follow one another add up
to the window from the first to the last.

Words: busy stages are all but NOT_BUSY. A super-frame is one frame with `segments` wire frames. direct: what
frames cost themselves, one copy included; induced: what the copies beyond the first cost.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Self, TypeVar

NOT_BUSY = ("blocked", "polling", "control")  # stages that are not spent on frames
REMOVED = ""  # port of the charges of all ports that are no more
VID_NONE = 0  # VLAN of a frame that was dropped before it was known
VID_OTHER = 4095  # VLANs that are not listed
WRAP = 1 << 64

K = TypeVar("K", bound=Hashable)


class Amount(NamedTuple):
    """What was spent on some frames. `direct` and `induced` are cycles."""

    direct: int = 0
    induced: int = 0
    frames: int = 0
    segments: int = 0
    bytes: int = 0
    copies: int = 0

    @property
    def cycles(self) -> int:
        """All cycles."""
        return self.direct + self.induced

    def plus(self, other: Amount) -> Amount:
        """Add."""
        return Amount(*(mine + its for mine, its in zip(self, other, strict=True)))

    def since(self, before: Amount) -> Amount:
        """Return what was added after `before` was read."""
        return Amount(*(growth(was, now) for was, now in zip(before, self, strict=True)))


class ChargeKey(NamedTuple):
    """What charges are kept by. `port` is a name, REMOVED for those that are no more."""

    port: str
    vid: int
    frame_class: str


class TalkerKey(NamedTuple):
    """A source MAC in a VLAN, and the port it was seen on last."""

    vid: int
    mac: int
    port: str


class Egress(NamedTuple):
    """What a port was asked to send, and the cycles of sending it."""

    offered: int = 0
    tx_cycles: int = 0

    @property
    def cycles_per_copy(self) -> float:
        """The cost of one copy out of the port; 0.0 if there was none."""
        return self.tx_cycles / self.offered if self.offered else 0.0


@dataclass(frozen=True, slots=True)
class Times:
    """What the kernel knows of the data thread, in seconds; None: this kernel does not tell."""

    cpu: float | None = None  # CPU clock of the thread
    preempted: float | None = None  # ready to run, but others ran
    steal: float | None = None  # taken by the hypervisor, all CPUs of the machine

    def since(self, before: Times) -> Times:
        """Return what passed after `before` was read."""
        return Times(
            *(
                None if was is None or now is None else max(0.0, now - was)
                for was, now in (
                    (before.cpu, self.cpu),
                    (before.preempted, self.preempted),
                    (before.steal, self.steal),
                )
            )
        )

    def plus(self, other: Times) -> Times:
        """Add; what one does not know is unknown."""
        return Times(
            *(
                None if mine is None or its is None else mine + its
                for mine, its in (
                    (self.cpu, other.cpu),
                    (self.preempted, other.preempted),
                    (self.steal, other.steal),
                )
            )
        )


NOTHING = Amount()
NO_TALKER = (REMOVED, NOTHING)
NO_TIMES = Times(0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Reading:
    """All that is counted, at one moment of the monotonic clock; every count grows, modulo 2**64."""

    time: float
    stages: Mapping[str, int] = field(default_factory=dict)
    charges: Mapping[ChargeKey, Amount] = field(default_factory=dict)
    talkers: Mapping[tuple[int, int], tuple[str, Amount]] = field(default_factory=dict)  # by VLAN and MAC
    departed: int = 0  # cycles of talkers that lost their FDB entry; a level: it may fall a little
    egress: Mapping[str, Egress] = field(default_factory=dict)  # by port
    histograms: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    times: Times = Times()
    clock_jumps: int = 0

    def without_port(self, name: str) -> Reading:
        """Return the reading as it would be if this port had been among the removed ones already."""
        egress = {port: sent for port, sent in self.egress.items() if port != name}
        return replace(self, charges=without_port(self.charges, name), egress=egress)


@dataclass(slots=True)
class Window:
    """What was spent in `seconds`; `until` is the moment it ends (monotonic clock)."""

    seconds: float = 0.0
    until: float = 0.0
    stages: dict[str, int] = field(default_factory=dict)
    charges: dict[ChargeKey, Amount] = field(default_factory=dict)
    talkers: dict[TalkerKey, Amount] = field(default_factory=dict)
    others: Amount = NOTHING  # talkers that are not listed
    departed: int = 0  # cycles
    egress: dict[str, Egress] = field(default_factory=dict)
    times: Times = NO_TIMES
    clock_jumps: int = 0

    @property
    def busy(self) -> int:
        """Cycles spent on frames; every attribution adds up to it."""
        return sum(cycles for stage, cycles in self.stages.items() if stage not in NOT_BUSY)

    @property
    def total(self) -> Amount:
        """Sum of all charges."""
        return total(self.charges.values())

    def add(self, other: Window) -> Self:
        """Add a window that follows this one, in place."""
        self.seconds += other.seconds
        self.until = other.until
        _add_numbers(self.stages, other.stages)
        _add_amounts(self.charges, other.charges)
        _add_amounts(self.talkers, other.talkers)
        self.others = self.others.plus(other.others)
        self.departed += other.departed
        for port, egress in other.egress.items():
            offered, cycles = self.egress.get(port, Egress())
            self.egress[port] = Egress(offered + egress.offered, cycles + egress.tx_cycles)
        self.times = self.times.plus(other.times)
        self.clock_jumps += other.clock_jumps
        return self

    def bounded(self, charges: int, talkers: int) -> Self:
        """Keep only the dearest charges and talkers, in place; the rest is summed up."""
        kept, rest = dearest(self.talkers, talkers)
        self.talkers = kept
        self.others = self.others.plus(total(rest.values()))
        self.charges, small = dearest(self.charges, charges)
        for key, amount in small.items():
            folded = key._replace(vid=VID_OTHER)
            self.charges[folded] = self.charges.get(folded, Amount()).plus(amount)
        return self


def growth(before: int, after: int) -> int:
    """Return what a counter of 64 bits grew by; one that went backwards began anew at 0."""
    grown = (after - before) % WRAP
    return grown if grown < WRAP >> 1 else after


def change(before: int, after: int) -> int:
    """Return what a level of 64 bits, which may also fall, changed by."""
    return (after - before + (WRAP >> 1)) % WRAP - (WRAP >> 1)


def without_port(charges: Mapping[ChargeKey, Amount], name: str) -> dict[ChargeKey, Amount]:
    """Return charges with those of one port among the removed ones."""
    found: dict[ChargeKey, Amount] = {}
    for key, amount in charges.items():
        kept = key._replace(port=REMOVED) if key.port == name else key
        found[kept] = found.get(kept, Amount()).plus(amount)
    return found


def total(amounts: Iterable[Amount]) -> Amount:
    """Add up."""
    columns = zip(*amounts, strict=True)
    return Amount(*map(sum, columns))


def dearest(amounts: Mapping[K, Amount], most: int) -> tuple[dict[K, Amount], dict[K, Amount]]:
    """Part amounts into the `most` dearest and the rest."""
    if len(amounts) <= most:
        return dict(amounts), {}
    ranked = sorted(amounts.items(), key=lambda item: item[1].cycles, reverse=True)
    return dict(ranked[:most]), dict(ranked[most:])


def difference(before: Reading, after: Reading) -> Window:
    """Return what was spent between two readings, `before` being the earlier one."""
    talkers, gone = _talkers_since(before, after)
    return Window(
        seconds=max(0.0, after.time - before.time),
        until=after.time,
        stages={name: growth(before.stages.get(name, 0), now) for name, now in after.stages.items()},
        charges=_grown(
            {key: now.since(before.charges.get(key, Amount())) for key, now in after.charges.items()}
        ),
        talkers=talkers,
        departed=max(0, change(before.departed, after.departed) - gone),
        egress={port: _egress_since(before.egress.get(port), now) for port, now in after.egress.items()},
        times=after.times.since(before.times),
        clock_jumps=growth(before.clock_jumps, after.clock_jumps),
    )


def _talkers_since(before: Reading, after: Reading) -> tuple[dict[TalkerKey, Amount], int]:
    """Return what each talker spent, and what those that vanished had spent before the window began."""
    if before.talkers is after.talkers:
        return {}, 0
    talkers: dict[TalkerKey, Amount] = {}
    gone = sum(before.talkers[key][1].cycles for key in before.talkers.keys() - after.talkers.keys())
    for (vid, mac), entry in after.talkers.items():
        known = before.talkers.get((vid, mac), NO_TALKER)
        if known == entry:
            continue
        (_, was), (port, now) = known, entry
        if _is_new(was, now):
            gone += was.cycles
            was = NOTHING
        talkers[TalkerKey(vid, mac, port)] = now.since(was)
    return _grown(talkers), gone


def _is_new(was: Amount, now: Amount) -> bool:
    """Whether a talker's entry was made anew: a count went backwards. One that caught up cannot be recognised."""
    return any(
        count < before and growth(before, count) == count for before, count in zip(was, now, strict=True)
    )


def _egress_since(before: Egress | None, now: Egress) -> Egress:
    if before is None:
        return now
    return Egress(*(growth(was, value) for was, value in zip(before, now, strict=True)))


def _grown(amounts: dict[K, Amount]) -> dict[K, Amount]:
    return {key: amount for key, amount in amounts.items() if any(amount)}


def _add_numbers(into: dict[str, int], more: Mapping[str, int]) -> None:
    for name, number in more.items():
        into[name] = into.get(name, 0) + number


def _add_amounts(into: dict[K, Amount], more: Mapping[K, Amount]) -> None:
    for key, amount in more.items():
        known = into.get(key)
        into[key] = amount if known is None else known.plus(amount)
