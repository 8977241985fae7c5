"""A bridge over replay ports, and what a run of it cost: the context of every micro benchmark.

One benchmark call is one C loop of many batches (`Bridge.turn`). The figures come from the core's own stamps,
before and after; the sum over all busy stages but `rx` is the pipeline (rx here is a memcpy that stands for a port).
Each run is checked: every frame went where it had to, none was dropped, and the ledger balances.
"""

from __future__ import annotations

import os
import platform
import random
from collections.abc import Callable, Sequence
from typing import Any

from bridge._core import Bridge, Counters, Port, Snapshot

VLAN = 10
SECRET = bytes(range(16))  # the same hash in every run
FRAMES_PER_CALL = 100_000
ROUNDS = 15
IDLE = ("blocked", "polling", "control")
NO_PIPELINE = (*IDLE, "rx")
SOURCES, DESTINATIONS = 0x02_0000_0000_00, 0x02_1000_0000_00


def ethernet(destination: int, source: int, size: int, vid: int | None = None) -> bytes:
    """Return a frame of `size` bytes, the tag not counted."""
    tag = b"" if vid is None else b"\x81\x00" + vid.to_bytes(2, "big")
    header = destination.to_bytes(6, "big") + source.to_bytes(6, "big")
    return header + tag + b"\x88\xb5" + bytes(size - 14)


class Stage:
    """Port 0 plays frames; the others only count."""

    def __init__(self, frames: Sequence[bytes], *, burst: int = 64, fdb: int = 65536) -> None:
        self.bridge = Bridge(fdb_capacity=fdb, burst=burst, secret=SECRET)
        self.source = self.bridge.open_replay(0, frames)
        self.burst = burst
        self.sinks: list[Port] = []
        self.snapshot = Snapshot()

    def ingress(self, **options: Any) -> None:
        """Put the source into the snapshot; default: an access port."""
        self.snapshot.add_port(self.source, **{"mode": "access", "pvid": VLAN, **options})

    def egress(self, frames: Sequence[bytes] = (), **options: Any) -> int:
        """Add a port that counts (and plays `frames`, if any); returns its index."""
        index = len(self.sinks) + 1
        self.sinks.append(self.bridge.open_replay(index, list(frames)))
        self.snapshot.add_port(self.sinks[-1], **{"mode": "access", "pvid": VLAN, **options})
        return index

    def ready(self, n_warm: int = 0) -> None:
        """Apply the snapshot and play every frame once."""
        self.bridge.apply(self.snapshot)
        self.bridge.turn(max(1, -(-n_warm // self.burst)))

    def measure(
        self,
        benchmark: Any,
        check: Callable[[Counters, Counters], None],
        *,
        copies: int = 1,
        tick: bool = False,
        **context: Any,
    ) -> None:
        """Run, check and record the median call.

        `copies`: what one frame becomes, for cycles per copy. `tick`: let the FDB's clock advance before each call.
        """
        turns = FRAMES_PER_CALL // self.burst
        calls: list[dict[str, float]] = []

        def call() -> None:
            self.bridge.tick += tick
            before = self.bridge.counters()
            self.bridge.turn(turns)
            after = self.bridge.counters()
            n_frames = after.thread["frames"] - before.thread["frames"]
            calls.append(
                {name: (after.stages[name] - before.stages[name]) / n_frames for name in after.stages}
            )

        before = self.bridge.counters()
        benchmark.pedantic(call, rounds=ROUNDS, warmup_rounds=1)
        after = self.bridge.counters()
        check(before, after)
        assert_balanced(after)
        calls.sort(key=pipeline)
        stages = calls[len(calls) // 2]
        benchmark.extra_info.update(
            {
                "cycles_per_frame": round(pipeline(stages), 1),
                "cycles_per_frame_spread": [round(pipeline(calls[0]), 1), round(pipeline(calls[-1]), 1)],
                "cycles_per_copy": round(pipeline(stages) / copies, 1),
                "stages": {name: round(cycles, 1) for name, cycles in stages.items()},
                "burst": self.burst,
                "fdb_entries": after.fdb["entries"],
                "kernel": platform.release(),
                "cpu": cpu(),
                **context,
            }
        )


def pipeline(stages: dict[str, float]) -> float:
    """Cycles of all busy stages but `rx`."""
    return sum(cycles for name, cycles in stages.items() if name not in NO_PIPELINE)


def assert_balanced(counters: Counters) -> None:
    """R12, per port."""
    for port in counters.ports.values():
        values = port.values
        assert values["rx_frames"] + values["copies"] == values["forwarded"] + sum(port.rx_drops.values())
        assert values["offered"] == values["tx_frames"] + sum(port.tx_drops.values())


def no_drops(before: Counters, after: Counters) -> None:
    """Every frame received was sent on, and none was dropped."""
    assert all(not port.rx_drops and not port.tx_drops for port in after.ports.values())
    received = sum(port.values["rx_frames"] + port.values["copies"] for port in after.ports.values())
    assert received == sum(port.values["tx_frames"] for port in after.ports.values()) > 0


def cpu() -> str:
    """Return the name of the processor, as the kernel tells it."""
    with open("/proc/cpuinfo") as lines:  # noqa: PTH123 a kernel file, read line by line
        names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
        return f"{next(names, platform.machine())} x{os.cpu_count()}"


def known_unicast(n_macs: int, *, size: int = 60, burst: int = 64, seed: int = 1, **egress: Any) -> Stage:
    """Half the stations, behind port 0, talk to the other half, behind port 1: all known, in random order."""
    shuffled = random.Random(seed)
    half = n_macs // 2
    frames = [ethernet(DESTINATIONS + shuffled.randrange(half), SOURCES + i, size) for i in range(half)]
    shuffled.shuffle(frames)
    stage = Stage(frames, burst=burst, fdb=max(65536, n_macs))
    stage.ingress()
    port = stage.egress(**egress)
    stage.ready(half)
    stage.bridge.fdb_set_many([(VLAN, DESTINATIONS + i, port, "dynamic") for i in range(half)])
    return stage
