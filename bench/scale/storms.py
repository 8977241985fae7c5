"""Storms a large bridge has to stand: stations that are new, that move, that are refused.

Traffic is of the harness's own generator: known unicast from a guest to a trunk at KNOWN_RATE all the time, and beside
it what is measured. Checked in the same run: the table holds what it must, entry by entry.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

from bench.errors import BenchError
from bench.lab import traffic

from .figures import BURST, FLOOD_RATE, LEARN_RATE, MOVE_RATE, SPREAD, Values
from .place import Place, cpu_seconds, guest_vlan

KNOWN_RATE = 5_000  # frames per second
MARGIN = 1.05  # what the generator offers beyond the rate wanted: a busy machine makes it late
MOVE_MARGIN = 1.25  # the two sides do not always take turns
STATIONS = 4_000  # that move
STRANGERS = 1_000_000  # that flood
FLOOD_BURST = 64
FLOODER_LIMIT = 10  # stations
TEACH_RATE = 1_000  # new addresses a second beside the flood
POLL_SECONDS = 0.1  # between questions during a storm


def _known(place: Place, seconds: float) -> tuple[list[traffic.Stream], traffic.Sink]:
    """Known unicast from guest 0 to a station on trunk 1; stage 0 lets both be learned."""
    vlan = guest_vlan(0)
    guest, station = _one(0x20), _one(0x21)
    flow = traffic.Stream(
        place.guests, "g0", stage=1, src=guest, dst=station, rate=KNOWN_RATE, seconds=seconds, pace="sleep"
    )
    here = flow.with_changes(stage=0, stream=8002, count=4, rate=1000)
    there = traffic.Stream(
        place.outer, "x1", stream=8003, src=station, dst=guest, tag=str(vlan), count=4, rate=1000
    )
    return [here, there, flow], traffic.Sink(place.outer, "x1", (1,), tag=str(vlan))


def _lost(outcome: traffic.Outcome) -> int:
    if "sink" in outcome.limits:
        raise BenchError("the sink of the instrument overflowed: its loss cannot be told from the bridge's")
    return int(outcome.sender(1)["offered"]) - int(outcome.received(1)["unique"])


def measure_learning(place: Place, seconds: float = 4.0) -> Values:
    """Stations that were never seen talk to a known one, LEARN_RATE new ones a second."""
    place.ask("FdbFlush")
    n = min(int(LEARN_RATE * seconds), place.size.entries - 64)
    vlan, station = guest_vlan(1), _one(0x22)
    hello = traffic.Stream(place.guests, "g1", stream=8004, src=station, count=4, rate=1000)
    teach = traffic.Stream(
        place.outer, "x0", stream=2, stage=1, tag=str(vlan), src=SPREAD % (0x23, n), dst=station,
        rate=LEARN_RATE * MARGIN, count=n, seconds=n / LEARN_RATE + 5, pace="sleep", burst=BURST,
    )  # fmt: skip
    known, sink = _known(place, n / LEARN_RATE)
    before = place.thread()
    outcome = traffic.run([*known, hello, teach], [sink])
    after = place.thread()
    taught = {row["mac"] for row in place.ask("FdbShow", vlan=vlan) if row["mac"].startswith("02:23:")}
    sent = outcome.sender(2)
    return {
        "learn_rate": len(taught) / float(sent["seconds"]),
        "learn_offered": float(sent["offered_pps"]),
        "learn_loss": _lost(outcome),
        "learn_missing": n - len(taught),
        "learn_events_lost": after["events_lost"] - before["events_lost"],
    }


def measure_moves(place: Place, seconds: float = 60.0, stations: int = STATIONS) -> Values:
    """Two trunks speak for the same stations at once; at the end each station speaks once, from a known side."""
    place.ask("FdbFlush")
    stations = min(stations, place.size.entries // 2)
    vlan, target = guest_vlan(2), _one(0x24)
    place.ask(
        "FdbAdd", mac=target, vlan=vlan, kind="drop"
    )  # what is measured is the moves, not where frames go
    both = SPREAD % (0x25, stations)
    rate = MOVE_RATE / 2 * MOVE_MARGIN
    lag = (
        stations / rate
    )  # the second side runs half a round behind: side by side they would overtake each other
    sides = [
        traffic.Stream(
            place.outer,
            dev,
            stream=stream,
            stage=1,
            tag=str(vlan),
            dst=target,
            src=both,
            rate=pace,
            seconds=seconds,
            pace="sleep",
            burst=BURST,
        )
        for dev, stream, pace in (
            ("x2", 3, rate),
            ("x3", 4, f"{rate / 2:.0f}@{lag:.3f}+{rate:.0f}@{seconds}"),
        )
    ]
    known, sink = _known(place, seconds)
    before, moved = place.thread(), place.totals()["moved"]
    with _watched(place) as watch:
        outcome = traffic.run([*known, *sides], [sink], around=watch.edge)
    after = place.thread()
    moves = place.totals()["moved"] - moved
    wrong = _end_state(place, vlan, target, stations)
    return {
        "move_rate": moves / seconds,
        "move_offered": sum(float(outcome.sender(stream)["offered"]) for stream in (3, 4)) / seconds,
        "move_seconds": seconds,
        "move_loss": _lost(outcome),
        "move_wrong": wrong,
        "move_events_lost": after["events_lost"] - before["events_lost"],
        "move_answer": max(watch.answers),
        "move_answer_median": sorted(watch.answers)[len(watch.answers) // 2],
        "move_rss": watch.memory[-1],
        "move_growth": watch.memory[-1] - watch.memory[len(watch.memory) // 4],
    }


def measure_flood(place: Place, seconds: float = 10.0) -> Values:
    """Let a port at its mac_limit invent stations, as macof does, while another one teaches real ones."""
    place.ask("FdbFlush")
    place.ask("PortSet", port="t2", changes={"mac_limit": FLOODER_LIMIT})
    vlan, target, n = guest_vlan(3), _one(0x26), int(TEACH_RATE * seconds)
    n = min(n, place.size.entries // 2)
    place.ask("FdbAdd", mac=target, vlan=vlan, kind="drop")
    flood = traffic.Stream(
        place.outer, "x2", stream=3, stage=1, tag=str(vlan), src=SPREAD % (0x27, STRANGERS), dst=target,
        rate=FLOOD_RATE, seconds=seconds, pace="sleep", burst=FLOOD_BURST,
    )  # fmt: skip
    teach = traffic.Stream(
        place.outer, "x3", stream=4, stage=1, tag=str(vlan), src=SPREAD % (0x28, n), dst=target,
        rate=TEACH_RATE, count=n, seconds=seconds + 5, pace="sleep",
    )  # fmt: skip
    known, sink = _known(place, seconds)
    before, spent, began = place.thread(), _control_seconds(place.pid), time.monotonic()
    with _watched(place) as watch:
        outcome = traffic.run([*known, flood, teach], [sink], around=watch.edge)
    share = (_control_seconds(place.pid) - spent) / (time.monotonic() - began)
    after = place.thread()
    taught = {row["mac"] for row in place.ask("FdbShow", vlan=vlan) if row["mac"].startswith("02:28:")}
    place.ask("PortSet", port="t2", changes={"mac_limit": None})
    return {
        "flood_offered": float(outcome.sender(3)["offered_pps"]),
        "flood_loss": _lost(outcome),
        "flood_missing": int(outcome.sender(4)["offered"]) - len(taught),
        "flood_events_lost": after["events_lost"] - before["events_lost"],
        "flood_answer": max(watch.answers),
        "flood_answer_median": sorted(watch.answers)[len(watch.answers) // 2],
        "flood_control": share,
    }


def _control_seconds(pid: int) -> float:
    """CPU time of the control thread, which is the first one of the process."""
    return cpu_seconds(f"{pid}/task/{pid}")


def _end_state(place: Place, vlan: int, target: str, stations: int) -> int:
    """Let the lower half speak from one trunk, the upper half from the other; returns entries that are elsewhere."""
    half = stations // 2
    base = int(_one(0x25).replace(":", ""), 16)
    wanted = {_mac(base + n): "t2" if n < half else "t3" for n in range(stations)}
    traffic.run(
        [
            traffic.Stream(
                place.outer, dev, stream=stream, tag=str(vlan), dst=target, src=f"{_mac(first)}*{n}", count=n,
                rate=10_000, seconds=30, pace="sleep",
            )
            for dev, stream, first, n in (("x2", 8006, base, half), ("x3", 8007, base + half, stations - half))
        ]
    )  # fmt: skip
    found = {row["mac"]: row["port"] for row in place.ask("FdbShow", vlan=vlan)}
    counts = {row["port"]: row["fdb_entries"] for row in place.ask("PortShow")}
    table: dict[str, int] = {
        name: sum(row["port"] == name for row in place.ask("FdbShow")) for name in ("t2", "t3")
    }
    wrong: int = sum(found.get(mac) != port for mac, port in wanted.items())
    return wrong + sum(abs(int(counts[name]) - number) for name, number in table.items())


def _one(family: int) -> str:
    """Give the first address of a family."""
    return SPREAD.partition("*")[0] % family


def _mac(value: int) -> str:
    return ":".join(f"{value >> shift & 0xFF:02x}" for shift in range(40, -8, -8))


class _Watch:
    """Questions asked of a daemon in a storm: how long it takes to answer, how much memory it has."""

    def __init__(self, place: Place) -> None:
        self.answers: list[float] = []
        self.memory: list[float] = []
        self._place = place
        self._on = threading.Event()
        self._over = threading.Event()

    def edge(self, what: str) -> None:
        """Follow the traffic tool: ask only while it sends."""
        (self._on if what == "start" else self._over).set()

    def run(self) -> None:
        """Ask until it is over."""
        self._on.wait()
        pid = self._place.pid
        while not self._over.is_set():
            begin = time.monotonic()
            self._place.ask("StatsShow")
            self.answers.append(time.monotonic() - begin)
            self.memory.append(_resident(pid))
            self._over.wait(POLL_SECONDS)

    def end(self) -> None:
        """End at once."""
        self._on.set()
        self._over.set()


def _resident(pid: int) -> float:
    """Resident memory in MB."""
    with open(f"/proc/{pid}/statm") as file:  # noqa: PTH123 a kernel file, read often
        return int(file.read().split()[1]) * 4096 / (1 << 20)


@contextlib.contextmanager
def _watched(place: Place) -> Iterator[_Watch]:
    watch = _Watch(place)
    thread = threading.Thread(target=watch.run)
    thread.start()
    try:
        yield watch
    finally:
        watch.end()
        thread.join()
    if not watch.answers:
        raise BenchError("the daemon was not asked during the storm")
