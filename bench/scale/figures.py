"""What is measured of a large bridge, and what it is compared with.

A measurement takes a `Place` and gives figures by name; FIGURES says what each means and, for those that have one, its
target. Here are those of a bridge without traffic; storms.py has the others.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.errors import BenchError
from bench.lab import traffic

from .place import Place, Timing, Variant

LEARN_RATE = 15_000  # new addresses per second
MOVE_RATE = 50_000  # moves per second
FLOOD_RATE = 200_000  # frames per second
FILL_RATE = 30_000
BURST = 16  # frames a generator that sleeps hands over at once
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
        "MB", "growth of resident memory from a quarter of the storm, when all is in use, to its end", 4
    ),
    "flood_offered": Figure("/s", "frames per second of new stations on a port at its limit, as offered"),
    "flood_loss": Figure("frames", "known unicast lost meanwhile", 0),
    "flood_missing": Figure("", "addresses taught on another port meanwhile and not in the table", 0),
    "flood_events_lost": Figure("", "events that found the ring full", 0),
    "flood_answer": Figure("s", "slowest answer to StatsShow during the flood"),
    "flood_answer_median": Figure("s", "answer to StatsShow during the flood"),
    "flood_control": Figure("", "share of a core that the control thread used"),
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
