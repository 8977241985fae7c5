"""Hints do not crowd out what the control thread has to follow, and cost it the same whatever the flood."""

from __future__ import annotations

from collections import Counter

import pytest
from helpers import frames
from helpers.bridge import SECRET

from bridge.core import _core

VID, RING, HINTS = 10, 64, 512
FIXED, STATION = 1, 2  # a static one of port 1; who moves from port 1 to port 2


class Crowd:
    """Three access ports; port 0 may learn one station, and has it."""

    def __init__(self, *, events: int, **options: object) -> None:
        self.core = _core.Bridge(events=events, fdb_capacity=64, secret=SECRET)
        self.ports = [self.core.open_memory(index) for index in range(3)]
        snapshot = _core.Snapshot(**options)
        for port in self.ports:
            snapshot.add_port(port, mode="access", pvid=VID, mac_limit=0 if port.index else 1)
        self.core.apply(snapshot)
        self.core.fdb_set(VID, frames.number(frames.host(FIXED)), 1, "static")
        self.send(0, 0xFFFF)
        self.send(1, STATION)
        self.core.events()

    def send(self, index: int, *stations: int) -> None:
        hellos = [frames.ethernet(frames.BROADCAST, frames.host(station)) for station in stations]
        for first in range(0, len(hellos), 500):
            self.ports[index].inject(hellos[first : first + 500])
            while self.core.turn():
                pass
            for port in self.ports:
                port.drain()

    def told(self) -> tuple[Counter[str], int]:
        events, lost = self.core.events()
        return Counter(event.kind for event in events), lost


def test_a_flood_of_refused_stations_leaves_room_for_a_move() -> None:
    crowd = Crowd(events=RING)
    crowd.send(0, *range(100, 2100))
    crowd.send(2, STATION)
    assert crowd.told() == ({"refused_port_limit": RING // 2, "moved": 1}, 0)
    assert crowd.core.counters().ports[0].values["not_learned"] == 2000


@pytest.mark.parametrize(
    ("options", "kind"),
    [({}, "refused_port_limit"), ({"controlled": True}, "request")],
    ids=lambda value: str(value),
)
def test_a_port_has_so_many_hints_of_a_kind_a_round(options: dict[str, object], kind: str) -> None:
    crowd = Crowd(events=16384, **options)
    for _ in range(2):
        crowd.core.renew_hints()
        crowd.send(0, *range(100, 2100), FIXED)
        assert crowd.told() == ({kind: HINTS, "static_move": 1}, 0)
    crowd.send(0, *range(100, 2100))
    assert crowd.told() == ({}, 0)
    crowd.send(2, FIXED)
    assert crowd.told() == ({"static_move": 1}, 0), "another port has its own"


def test_a_known_station_that_is_refused_where_it_went_is_no_hint() -> None:
    """Its entry is gone, which has to be followed."""
    crowd = Crowd(events=16384)
    crowd.send(1, *range(3, 40))
    crowd.told()
    crowd.send(0, *range(1000, 2000))
    crowd.send(0, *range(3, 40))
    assert crowd.told() == ({"refused_port_limit": HINTS + 37}, 0)
