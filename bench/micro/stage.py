"""A bridge over replay ports, and what a run of it cost: the context of every micro benchmark.

One benchmark call is one C loop of many batches (`Bridge.turn`). The figures come from the core's own stamps,
before and after; the sum over all stages that work on frames, but `rx`, is the pipeline (rx here is a memcpy that
stands for a port). Each run is checked: every frame went where it had to, none was dropped that should not, and the
ledger balances.
"""

from __future__ import annotations

import os
import platform
import random
from collections.abc import Callable, Sequence
from typing import Any

from bridge.core._core import Bridge, Counters, Port, Snapshot
from bridge.core.values import PortRow

VLAN = 10
SECRET = bytes(range(16))  # the same hash in every run
FRAMES_PER_CALL = 100_000
ROUNDS = 15
SOURCES, DESTINATIONS, STRANGERS = 0x02_0000_0000_00, 0x02_1000_0000_00, 0x02_2000_0000_00
EVERYBODY = 0xFFFF_FFFF_FFFF
TRUNK: dict[str, Any] = {"mode": "trunk", "pvid": 0, "vids": [VLAN]}
FDB_CAPACITY = 65536
NO_PIPELINE = {"rx", "blocked", "polling", "control"}  # stages that are not work on a frame in hand

Benchmark = Any  # the fixture of pytest-benchmark, which has no types
Check = Callable[[Counters, Counters], None]


def ethernet(
    destination: int, source: int, size: int, vid: int | None = None, tpid: int = 0x8100, inner: bytes = b""
) -> bytes:
    """Return a frame of `size` bytes, the tags not counted; `inner` is a second tag."""
    tag = b"" if vid is None else tpid.to_bytes(2, "big") + vid.to_bytes(2, "big")
    header = destination.to_bytes(6, "big") + source.to_bytes(6, "big")
    return header + tag + inner + b"\x88\xb5" + bytes(size - 14)


class Stage:
    """Port 0 plays frames; the others only count."""

    def __init__(self, frames: Sequence[bytes], *, burst: int = 64, fdb: int = FDB_CAPACITY) -> None:
        self.bridge = Bridge(fdb_capacity=fdb, burst=burst, secret=SECRET)
        self.source = self.bridge.open_replay(0, frames)
        self.burst = burst
        self.sinks: list[Port] = []
        self.snapshot = Snapshot()

    def ingress(self, **options: Any) -> None:
        """Put the source into the snapshot; default: an access port."""
        self.snapshot.add_port(self.source, PortRow(**{"mode": "access", "pvid": VLAN, **options}))

    def egress(self, frames: Sequence[bytes] = (), **options: Any) -> int:
        """Add a port that counts (and plays `frames`, if any); returns its index."""
        index = len(self.sinks) + 1
        self.sinks.append(self.bridge.open_replay(index, list(frames)))
        self.snapshot.add_port(self.sinks[-1], PortRow(**{"mode": "access", "pvid": VLAN, **options}))
        return index

    def ready(self, n_warm: int = 0) -> None:
        """Apply the snapshot and play every frame once."""
        self.bridge.apply(self.snapshot)
        self.bridge.turn(max(1, -(-n_warm // self.burst)))

    def know(self, base: int, n: int, port: int, kind: str = "dynamic") -> None:
        """Put `n` stations behind a port."""
        assert all(self.bridge.fdb_set_many([(VLAN, base + i, port, kind) for i in range(n)]))

    def per_frame(self, before: Counters, after: Counters) -> dict[str, float]:
        """Give cycles per frame by stage between two readings."""
        n_frames = after.thread["frames"] - before.thread["frames"]
        return {name: (after.stages[name] - before.stages[name]) / n_frames for name in after.stages}

    def measure(
        self, benchmark: Benchmark, check: Check, *, copies: int = 1, tick: bool = False, **context: Any
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
            calls.append(self.per_frame(before, self.bridge.counters()))

        before = self.bridge.counters()
        benchmark.pedantic(call, rounds=ROUNDS, warmup_rounds=1)
        after = self.bridge.counters()
        check(before, after)
        assert_balanced(after)
        self.record(benchmark, calls, copies=copies, **context)

    def record(
        self, benchmark: Benchmark, calls: list[dict[str, float]], *, copies: int = 1, **context: Any
    ) -> None:
        """Keep the median of some calls, and what they were made with."""
        calls.sort(key=pipeline)
        stages = calls[len(calls) // 2]
        fdb = self.bridge.counters().fdb
        benchmark.extra_info.update(
            {
                "cycles_per_frame": round(pipeline(stages), 1),
                "cycles_per_frame_spread": [round(pipeline(calls[0]), 1), round(pipeline(calls[-1]), 1)],
                "cycles_per_copy": round(pipeline(stages) / copies, 1),
                "stages": {name: round(cycles, 1) for name, cycles in stages.items()},
                "burst": self.burst,
                "fdb_entries": fdb["entries"],
                "fdb_capacity": fdb["capacity"],
                "fdb_fill": round(fdb["entries"] / fdb["capacity"], 4),
                "kernel": platform.release(),
                "cpu": cpu(),
                **context,
            }
        )


def pipeline(stages: dict[str, float]) -> float:
    """Cycles of the stages that work on a frame in hand."""
    return sum(cycles for name, cycles in stages.items() if name not in NO_PIPELINE)


# -- checks: what must be true of the counters before and after a run


def assert_balanced(counters: Counters) -> None:
    """R12, per port."""
    for port in counters.ports.values():
        values = port.values
        assert values["rx_frames"] + values["copies"] == values["forwarded"] + sum(port.rx_drops.values())
        assert values["offered"] == values["tx_frames"] + sum(port.tx_drops.values())


def no_drops(_before: Counters, after: Counters) -> None:
    """Every frame received was sent on, and none was dropped."""
    assert all(not port.rx_drops and not port.tx_drops for port in after.ports.values())
    received = sum(port.values["rx_frames"] + port.values["copies"] for port in after.ports.values())
    assert received == sum(port.values["tx_frames"] for port in after.ports.values()) > 0


def all_dropped(reason: str) -> Check:
    """Every frame received was dropped for one reason."""

    def check(_before: Counters, after: Counters) -> None:
        port = after.ports[0]
        assert port.rx_drops == {reason: port.values["rx_frames"]}
        assert port.values["rx_frames"] > 0

    return check


def cpu() -> str:
    """Return the name of the processor, as the kernel tells it."""
    with open("/proc/cpuinfo") as lines:  # noqa: PTH123 a kernel file, read line by line
        names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
        return f"{next(names, platform.machine())} x{os.cpu_count()}"


# -- scenes that more than one benchmark plays


def known_unicast(
    n_macs: int,
    *,
    size: int = 60,
    burst: int = 64,
    fdb: int | None = None,
    frames_max: int = 64_000,
    n_ports: int = 1,
    seed: int = 1,
    **egress: Any,
) -> Stage:
    """Half the stations, behind port 0, talk to the other half, behind the other ports: all known, in random order.

    At most `frames_max` different frames: with more stations, a random choice of them speaks.
    """
    shuffled = random.Random(seed)
    half = n_macs // 2
    speakers = range(half) if half <= frames_max else shuffled.sample(range(half), frames_max)
    frames = [ethernet(DESTINATIONS + shuffled.randrange(half), SOURCES + i, size) for i in speakers]
    shuffled.shuffle(frames)
    stage = Stage(frames, burst=burst, fdb=fdb or max(FDB_CAPACITY, n_macs))
    stage.ingress()
    ports = [stage.egress(**egress) for _ in range(n_ports)]
    stage.ready()
    stage.know(SOURCES, half, 0)
    stations = [(VLAN, DESTINATIONS + i, ports[i % n_ports], "dynamic") for i in range(half)]
    assert all(stage.bridge.fdb_set_many(stations))
    stage.bridge.turn(-(-len(frames) // burst))
    return stage


def flood(n_ports: int, *, size: int = 60, burst: int = 64, mixed: bool = False, **egress: Any) -> Stage:
    """Broadcasts of a thousand stations to n ports; mixed: every second one wants a tag."""
    stage = Stage([ethernet(EVERYBODY, SOURCES + i, size) for i in range(1000)], burst=burst)
    stage.ingress()
    for i in range(n_ports):
        stage.egress(**(TRUNK if mixed and i % 2 else egress))
    stage.ready(1000)
    return stage
