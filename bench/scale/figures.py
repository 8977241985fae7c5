"""What is measured of a large bridge, and what it is compared with.

A measurement takes a `Place` and gives figures by name; FIGURES says what each means and, for those that have one, its
target. Traffic is of the harness's own generator: known unicast from a guest to a trunk at KNOWN_RATE all the time, and
beside it what is measured. Checked in the same run: the table holds what it must, entry by entry.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench.errors import BenchError
from bench.lab import traffic

from .place import Place, Timing, Variant, guest_vlan

KNOWN_RATE = 5_000  # frames per second
LEARN_RATE = 15_000  # new addresses per second
MOVE_RATE = 50_000  # moves per second
MARGIN = 1.05  # what the generator offers beyond the rate wanted: a busy machine makes it late
MOVE_MARGIN = 1.25  # the two sides do not always take turns
STATIONS = 4_000  # that move
FILL_RATE = 30_000
BURST = 16  # frames a generator that sleeps hands over at once
POLL_SECONDS = 0.1  # between questions during a storm
SPREAD = "02:%02x:00:00:00:00*%d"  # addresses counting up, one family for each purpose

Values = dict[str, float | Timing]


@dataclass(frozen=True, slots=True)
class Figure:
    """One number; `target` is a bound it must keep: below it (`at_most`) or not below."""

    unit: str
    what: str
    target: float | None = None
    at_most: bool = True
    offered: str = ""  # the figure that says what the generator managed to offer: no more can come of it

    def keeps(self, value: float) -> bool:
        """Say whether a value keeps the target, if there is one."""
        return self.target is None or (value <= self.target if self.at_most else value >= self.target)


FIGURES: dict[str, Figure] = {
    "start": Figure("s", "from `framebridge run` to an answer of its socket", 2.0),
    "start_rss": Figure("MB", "resident memory after the start"),
    "reload_same": Figure("s", "`framebridge reload`, nothing changed", 0.5),
    "reload_port": Figure("s", "`framebridge reload`, one guest isolated", 0.5),
    "reload_guests": Figure("s", "`framebridge reload`, all guests isolated", 0.5),
    "reload_vlan": Figure("s", "`framebridge reload`, eight guests in another VLAN", 0.5),
    "reload_trunks": Figure("s", "`framebridge reload`, every trunk without a hundred VLANs", 0.5),
    "reload_less": Figure("s", "`framebridge reload`, eight guests removed"),
    "reload_more": Figure("s", "`framebridge reload`, eight guests added"),
    "fill_entries": Figure("", "entries in the table"),
    "fill_rss": Figure("MB", "resident memory with the table full"),
    "fdb_show": Figure("s", "`framebridge -j fdb show` of the full table", 1.0),
    "fdb_show_text": Figure("s", "`framebridge fdb show` of the full table"),
    "vlan_show": Figure("s", "`framebridge -j vlan show`"),
    "port_show": Figure("s", "`framebridge -j port show`, full table"),
    "stats_show": Figure("s", "`framebridge -j stats show`, full table"),
    "reload_full": Figure("s", "`framebridge reload`, eight guests in another VLAN, full table", 0.5),
    "flush": Figure("s", "`framebridge fdb flush` of the full table"),
    "learn_rate": Figure(
        "/s", "new addresses per second, all of them in the table", LEARN_RATE, False, "learn_offered"
    ),
    "learn_offered": Figure("/s", "new addresses per second that the generator offered"),
    "learn_loss": Figure("frames", "known unicast lost meanwhile", 0),
    "learn_missing": Figure("", "addresses sent and not in the table", 0),
    "learn_events_lost": Figure("", "events that found the ring full"),
    "move_rate": Figure("/s", "moves per second over the whole storm", MOVE_RATE, False, "move_offered"),
    "move_offered": Figure("/s", "frames per second of the two sides that the generator offered"),
    "move_seconds": Figure("s", "length of the storm"),
    "move_loss": Figure("frames", "known unicast lost meanwhile", 0),
    "move_wrong": Figure("", "entries that are not where they were last seen", 0),
    "move_events_lost": Figure("", "events that found the ring full"),
    "move_answer": Figure("s", "slowest answer to StatsShow during the storm"),
    "move_answer_median": Figure("s", "answer to StatsShow during the storm"),
    "move_rss": Figure("MB", "resident memory after the storm"),
    "move_growth": Figure(
        "MB", "growth of resident memory from the first second of the storm to its end", 16
    ),
}


# -- start and reload


def measure_start(place: Place) -> Values:
    """Start the daemon; it stays."""
    place.stop()
    place.write()
    timing = place.start()
    rows = place.ask("PortShow")
    up = sum(row["state"] == "up" for row in rows)
    if up != place.size.ports:
        raise BenchError(f"{up} of {place.size.ports} ports are up")
    return {"start": timing, "start_rss": place.memory()["rss"]}


RELOADS = {
    "reload_same": Variant(),
    "reload_port": Variant(isolated=1),
    "reload_guests": Variant(isolated=10_000),
    "reload_vlan": Variant(moved=8),
    "reload_trunks": Variant(trunk_vlans=-100),
    "reload_less": Variant(guests=-8),
}


def measure_reload(place: Place) -> Values:
    """Change and change back, each timed; what it is after is checked by the number of actions."""
    values: Values = {}
    for name, variant in RELOADS.items():
        values[name] = _reload(place, variant)
        back = _reload(place, Variant())
        if name == "reload_less":
            values["reload_more"] = back
    return values


def _reload(place: Place, variant: Variant) -> Timing:
    place.wait_rest()
    place.write(_absolute(place, variant))
    return place.time_command("reload")[0]


def _absolute(place: Place, variant: Variant) -> Variant:
    """Turn numbers below zero, so many less than all, into numbers."""
    vlans, guests = variant.trunk_vlans, variant.guests
    return Variant(
        isolated=min(variant.isolated, place.size.guests),
        moved=min(variant.moved, place.size.guests),
        trunk_vlans=place.size.vlans + vlans if vlans is not None and vlans < 0 else vlans,
        guests=place.size.guests + guests if guests is not None and guests < 0 else guests,
    )


# -- the full table


def measure_table(place: Place) -> Values:
    """Fill the table over all VLANs, look at it, change something, empty it."""
    vlans, wanted = place.size.vlans, place.size.entries
    place.ask("FdbFlush")
    anchor, rest = SPREAD % (0x10, 1), wanted - vlans
    everywhere = f"1-{vlans}"
    first = traffic.Stream(
        place.outer, "x0", stream=8000, tag=everywhere, src=anchor, dst="ff:ff:ff:ff:ff:ff", rate=FILL_RATE / 4,
        count=vlans, seconds=60, pace="sleep", burst=BURST,
    )  # fmt: skip
    others = first.with_changes(
        stream=8001, stage=1, src=SPREAD % (0x11, rest), dst=anchor, rate=FILL_RATE, count=rest
    )
    traffic.run([first, others])  # these talk to the first through one port: nothing is flooded
    values: Values = {}
    values["fdb_show"], rows = place.time_rows("fdb", "show")
    if len(rows) < 0.98 * wanted:
        raise BenchError(f"{len(rows)} entries, not about {wanted}")
    values["fill_entries"] = len(rows)
    values["fdb_show_text"], _ = place.time_command("fdb", "show")
    for what in ("vlan", "port", "stats"):
        values[f"{what}_show"], _ = place.time_command("-j", what, "show")
    values["reload_full"] = _reload(place, Variant(moved=8))
    _reload(place, Variant())
    values["fill_rss"] = place.memory()["rss"]
    values["flush"], _ = place.time_command("fdb", "flush")
    return values


# -- storms


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
        "move_growth": watch.memory[-1] - watch.memory[0],
    }


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


MEASURES: dict[str, Callable[[Place], Values]] = {
    "start": measure_start,
    "reload": measure_reload,
    "table": measure_table,
    "learning": measure_learning,
    "moves": measure_moves,
}
