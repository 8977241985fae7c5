"""Histories of a bill, as they could have happened: what was spent, step by step, on a fake data plane."""

from __future__ import annotations

from dataclasses import dataclass, field

from helpers.fake_bill import FakeCore
from hypothesis import strategies as st

CLASSES = ("known_unicast", "unknown_unicast", "broadcast", "arp_nd", "dropped")
BUSY_STAGES = ("rx", "admit", "lookup", "flood", "tx", "account")
VIDS = (0, 10, 20, 4095)
MACS = (0, 0x020000000001, 0x020000000002, 0x020000000003)


@dataclass(frozen=True)
class Spend:
    """Frames that come in; `mac` 0: their source has no FDB entry."""

    port: int
    vid: int
    frame_class: str
    mac: int
    stage: str
    amounts: dict[str, int] = field(hash=False)

    def do(self, core: FakeCore) -> None:
        core.spend(self.port, self.vid, self.frame_class, self.mac, self.stage, **self.amounts)


@dataclass(frozen=True)
class Depart:
    """A talker loses its FDB entry."""

    vid: int
    mac: int

    def do(self, core: FakeCore) -> None:
        if (self.vid, self.mac) in core.stations:
            core.depart(self.vid, self.mac)


@dataclass(frozen=True)
class Idle:
    """Cycles that are nobody's."""

    stage: str
    cycles: int

    def do(self, core: FakeCore) -> None:
        core.stages[self.stage] += self.cycles


@dataclass(frozen=True)
class Round:
    """The part of the last batch that is charged with the next one becomes more or less."""

    cycles: int

    def do(self, core: FakeCore) -> None:
        grown = self.cycles - core.uncharged
        if grown > 0:
            core.stages["account"] += grown
        else:
            core.spend(frame_class="known_unicast", stage="account", direct=-grown, frames=1)
            core.stages["account"] += grown
        core.uncharged = self.cycles


_amounts = st.fixed_dictionaries(
    {
        "direct": st.integers(0, 1 << 40),
        "induced": st.integers(0, 1 << 40),
        "frames": st.integers(1, 1 << 20),
        "segments": st.integers(1, 1 << 24),
        "bytes": st.integers(60, 1 << 30),
        "copies": st.integers(0, 1 << 24),
    }
)
spends = st.builds(
    Spend,
    st.sampled_from([0, 1]),
    st.sampled_from(VIDS),
    st.sampled_from(CLASSES),
    st.sampled_from(MACS),
    st.sampled_from(BUSY_STAGES),
    _amounts,
)
steps = st.one_of(
    spends,
    spends,
    st.builds(Depart, st.sampled_from(VIDS), st.sampled_from(MACS[1:])),
    st.builds(Idle, st.sampled_from(["blocked", "polling", "control"]), st.integers(0, 1 << 40)),
    st.builds(Round, st.integers(0, 1000)),
)
histories = st.lists(st.lists(steps, max_size=6), min_size=1, max_size=8)
