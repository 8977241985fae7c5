"""Hints do not crowd out what the control thread has to follow, and cost it the same whatever the flood."""

from __future__ import annotations

from collections import Counter

import pytest
from helpers import frames
from helpers.bridge import SECRET

from bridge.core import _core
from bridge.core.values import PortRow

VID, RING, HINTS = 10, 64, 512
FIXED, STATION = 1, 2  # a static one of port 1; who moves from port 1 to port 2


class Crowd:
    """Three access ports; port 0 may learn one station, and has it."""

    def __init__(self, *, events: int, **options: object) -> None:
        self.core = _core.Bridge(events=events, fdb_capacity=64, secret=SECRET)
        self.ports = [self.core.open_memory(index) for index in range(3)]
        snapshot = _core.Snapshot(**options)
        for port in self.ports:
            snapshot.add_port(port, PortRow(mode="access", pvid=VID, mac_limit=0 if port.index else 1))
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


OWN, INSTANCE = frames.host(0xEEEE), 0x1122334455667788


def probe(nonce: int) -> bytes:
    return _core.probe_frame(
        source=frames.number(OWN), instance=INSTANCE, nonce=nonce, port=1, vid=VID, sequence=1
    )


def test_no_flood_of_stations_keeps_a_fault_out() -> None:
    crowd = Crowd(events=RING, own_address=frames.number(OWN), instance=INSTANCE)
    for first in range(1000, 5000, 1000):
        crowd.send(1, *range(first, first + 1000))
    crowd.ports[2].inject([probe(nonce) for nonce in range(1, 9)])
    while crowd.core.turn():
        pass
    told, lost = crowd.told()
    assert lost > 1000
    assert told["probe"] == 8
    assert told.total() - 8 == RING


def test_a_guest_that_repeats_probes_has_its_share_of_faults() -> None:
    crowd = Crowd(events=16384, own_address=frames.number(OWN), instance=INSTANCE)
    for _ in range(2):
        crowd.core.renew_hints()
        for first in range(0, 4000, 500):
            crowd.ports[0].inject([probe(nonce) for nonce in range(first, first + 500)])
            while crowd.core.turn():
                pass
        crowd.ports[1].inject([probe(7)])
        while crowd.core.turn():
            pass
        events, lost = crowd.core.events()
        assert Counter((event.kind, event.port) for event in events) == {("probe", 0): HINTS, ("probe", 1): 1}
        assert lost == 0
