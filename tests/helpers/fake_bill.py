"""A data plane that only has a bill: counters that tests set, and a meter over them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bridge.account.meter import Meter
from bridge.account.window import Egress
from bridge.clock import Clock
from bridge.core._core import VID_OTHER, Bill, Charge, SlowBatch, Talker

HZ = 1_000_000_000
STAGES = ("blocked", "polling", "control", "rx", "admit", "learn", "lookup", "edit", "flood", "tx", "account")
BOUNDS = (0, 1, 2, 4, 8)
EPOCH = 1_800_000_000.0
PORTS = {0: "guests", 1: "uplink"}


class FakeCore:
    """Counts what `spend` says."""

    thread_id: int | None = None

    def __init__(self) -> None:
        self.stages = dict.fromkeys(STAGES, 0)
        self.charges: dict[tuple[int, int, str], Charge] = {}
        self.stations: dict[tuple[int, int], Talker] = {}
        self.uncharged = 0
        self.departed = 0
        self.jumps = 0
        self.counts = [0, 0, 0, 0, 0]
        self.slow: list[SlowBatch] = []
        self.stamp = 0
        self.talkers_read = 0

    def spend(
        self,
        port: int = 0,
        vid: int = 10,
        frame_class: str = "known_unicast",
        mac: int = 0,
        stage: str = "tx",
        **amounts: int,
    ) -> None:
        """Charge frames of one port, VLAN and class, and their source if it has an address."""
        cycles = amounts.get("direct", 0) + amounts.get("induced", 0)
        self.stages[stage] += cycles
        key = port, vid, frame_class
        known = self.charges.get(key, Charge(*key, *[0] * 6, serial=port + 1))
        self.charges[key] = Charge(*key, *_plus(known[3:9], amounts), serial=port + 1)
        if mac:
            station = self.stations.get((vid, mac), Talker(vid, mac, port, *[0] * 6))
            self.stations[vid, mac] = Talker(vid, mac, port, *_plus(station[3:], amounts))

    def depart(self, vid: int, mac: int) -> None:
        """Let a talker lose its FDB entry."""
        gone = self.stations.pop((vid, mac))
        self.departed += gone.direct + gone.induced

    def close(self, charge: Charge) -> None:
        """Keep of a charge of a closed port what the data plane does: its class."""
        key = -1, VID_OTHER, charge.frame_class
        known = self.charges.get(key, Charge(*key, *[0] * 6, serial=0))
        sums = [old + new for old, new in zip(known[3:9], charge[3:9], strict=True)]
        self.charges[key] = Charge(*key, *sums, serial=0)

    def bill(self) -> Bill:
        """Read it."""
        return Bill(
            stamp=self.stamp,
            stages=dict(self.stages),
            charges=list(self.charges.values()),
            uncharged=self.uncharged,
            departed=self.departed,
            histograms={"batch_frames": list(self.counts)},
            slow=list(self.slow),
            clock_jumps=self.jumps,
        )

    def talkers(self) -> list[Talker]:
        """Read them."""
        self.talkers_read += 1
        return list(self.stations.values())

    def clear_slow(self) -> None:
        """Forget slow batches."""
        self.slow.clear()


class FakeMeter(Meter):
    """A meter over a fake core whose cycle counter runs with the clock."""

    def __init__(self, clock: Clock, names: Mapping[int, str] = PORTS) -> None:
        self.core = FakeCore()
        self.names = dict(names)
        self.sent: dict[str, Egress] = {}
        self.effort = 0.0  # CPU time of each sample
        self._worked = 0.0
        super().__init__(
            self.core,
            clock,
            lambda: self.names,
            lambda: dict(self.sent),
            lambda: int(clock.now() * HZ),
            BOUNDS,
            lambda: EPOCH + clock.now(),
            self._work,
        )

    def _work(self) -> float:
        self._worked += self.effort
        return self._worked


def _plus(numbers: tuple[Any, ...], amounts: Mapping[str, int]) -> list[int]:
    names = ("direct", "induced", "frames", "segments", "bytes", "copies")
    return [number + amounts.get(name, 0) for number, name in zip(numbers, names, strict=True)]
