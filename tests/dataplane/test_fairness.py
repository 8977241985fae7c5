"""No port is starved: bursts end, everybody with work gets one a turn, and who comes first goes round."""

from __future__ import annotations

from collections import Counter

import pytest
from helpers import frames
from helpers.bridge import SECRET, check_conservation

from bridge.core import _core
from bridge.core.values import PortRow

BURST = 8
SINK = 9  # port index
TARGET = frames.host(SINK)


class Crowd:
    """Memory ports 0, 1, ... that send to one port more, known to the FDB; nobody waits."""

    def __init__(self, n: int, *, sink_slots: int = 4096) -> None:
        self.bridge = _core.Bridge(burst=BURST, secret=SECRET)
        self.ports = {i: self.bridge.open_memory(i, slots=1024) for i in range(n)}
        self.sink = self.bridge.open_memory(SINK, slots=sink_slots)
        self.configure()
        self.bridge.fdb_set(1, frames.number(TARGET), SINK)

    def configure(self, *, sink_up: bool = True) -> None:
        snapshot = _core.Snapshot()
        for port in self.ports.values():
            snapshot.add_port(port, PortRow(mode="access", pvid=1))
        snapshot.add_port(self.sink, PortRow(mode="access", pvid=1, up=sink_up))
        self.bridge.apply(snapshot)

    def offer(self, port: int, n: int, to: bytes = TARGET) -> None:
        frame = frames.padded(frames.ethernet(to, frames.host(100 + port)))
        assert self.ports[port].inject([frame] * n) == n

    def turn(self) -> list[int]:
        """Take one turn; returns the ports whose frames the sink got, in order."""
        self.bridge.turn()
        check_conservation(self.bridge.counters().ports)
        return [
            frames.number(frame.data[6:12]) - frames.number(frames.host(100)) for frame in self.sink.drain()
        ]


def test_a_burst_ends_and_others_get_theirs_in_the_same_turn() -> None:
    crowd = Crowd(3)
    crowd.offer(0, 1000)
    crowd.offer(1, 1)
    crowd.offer(2, BURST + 1)
    assert Counter(crowd.turn()) == {0: BURST, 1: 1, 2: BURST}
    assert Counter(crowd.turn()) == {0: BURST, 2: 1}
    assert Counter(crowd.turn()) == {0: BURST}


def test_overloaded_ports_share_alike() -> None:
    crowd = Crowd(5)
    for port in crowd.ports:
        crowd.offer(port, 1000)
    for turns in range(1, 50):
        counts = Counter(crowd.turn())
        assert counts == dict.fromkeys(crowd.ports, BURST), turns


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8])
def test_who_comes_first_goes_round(n: int) -> None:
    """The sink is a port, too: every n + 1 turns each of them comes first once, and the order behind is the same."""
    crowd = Crowd(n)
    orders = []
    for _ in range(3 * (n + 1)):
        for port in crowd.ports:
            crowd.offer(port, 1)
        orders.append(crowd.turn())
    ring = list(range(n))
    assert all(order in [ring[i:] + ring[:i] for i in ring] for order in orders)
    first = Counter(order[0] for order in orders)
    assert set(first) == set(ring)
    assert max(first.values()) <= 2 * 3  # the one behind the sink comes first in two turns of a round


def test_a_heartbeat_crosses_an_overload_within_a_turn() -> None:
    crowd = Crowd(4)
    for turns in range(100):
        for port in (0, 1, 2):
            crowd.offer(port, BURST)
        if turns % 10 == 3:
            crowd.offer(3, 1)
            assert crowd.turn().count(3) == 1
        else:
            crowd.turn()


@pytest.mark.parametrize("refusal", ["port_down", "tx_full"])
def test_a_port_that_takes_nothing_holds_up_nobody(refusal: str) -> None:
    """Overload towards a port that refuses; a heartbeat between two others crosses within a turn."""
    crowd = Crowd(3, sink_slots=1)
    crowd.configure(sink_up=refusal != "port_down")
    crowd.bridge.fdb_set(1, frames.number(frames.host(2)), 2)
    crowd.offer(0, 1000)
    for _ in range(10):
        crowd.offer(1, 1, to=frames.host(2))
        crowd.bridge.turn()
        assert len(crowd.ports[2].drain()) == 1
    counters = crowd.bridge.counters().ports
    check_conservation(counters)
    sent = counters[SINK].values["tx_frames"]
    assert counters[SINK].tx_drops == {refusal: 10 * BURST - sent}
    assert sent == (refusal == "tx_full")
