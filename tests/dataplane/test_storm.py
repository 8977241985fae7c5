"""Storm control: a budget of a port for what is flooded, by destination. Rows of the SONiC storm control plan."""

from __future__ import annotations

import pytest
from helpers import frames
from helpers.bridge import Lab, access, check_charges, check_conservation
from scapy.layers.inet import IP
from scapy.layers.l2 import ARP, Ether
from scapy.layers.vrrp import VRRP

from bridge.core import _core
from bridge.core._core import Bridge, Snapshot
from bridge.core.values import PortRow

SECOND = (
    10**13
)  # cycles of a clock that the test turns; what the machine's own adds meanwhile is nothing beside it
LIMIT = 1000  # units a second
BURST = LIMIT // 10
BATCH = 16

FLOODED = {
    "broadcast": frames.ethernet(frames.BROADCAST, frames.host(1)),
    "multicast": frames.ethernet(frames.group(1), frames.host(1)),
    "unknown": frames.ethernet(frames.host(77), frames.host(1)),
}


def lab(**limits: int) -> Lab:
    """Limits of port 0 by flood class, in frames."""
    return Lab(
        access(10),
        access(10),
        access(10),
        storms={(0, flood): frames for flood, frames in limits.items()},
    )


def dropped(bridge: Lab, index: int = 0) -> int:
    return bridge.core.counters().ports[index].rx_drops.get("storm", 0)


@pytest.mark.parametrize("flood", FLOODED)
def test_each_class_has_a_limit_of_its_own(flood: str) -> None:
    bridge = lab(**{flood: 5})
    for name, frame in FLOODED.items():
        before = dropped(bridge)
        for _ in range(12):
            bridge.send(0, frame)
        assert dropped(bridge) - before == (7 if name == flood else 0)


def test_another_port_and_known_unicast_are_not_touched() -> None:
    bridge = lab(broadcast=1, multicast=1, unknown=1)
    bridge.learn(1, 2)
    for frame in FLOODED.values():
        bridge.send(0, *[frame] * 3)
    before = dropped(bridge)
    for _ in range(5):
        assert set(bridge.send(0, frames.ethernet(frames.host(2), frames.host(1))).sent) == {1}
        assert set(bridge.send(1, FLOODED["broadcast"]).sent) == {0, 2}
    assert dropped(bridge) == before
    assert dropped(bridge, 1) == 0


def test_the_class_is_the_destination_whatever_the_frame_is_for_the_bill() -> None:
    """An ARP request is a broadcast here; on the bill it is ARP."""
    bridge = lab(broadcast=2)
    request = frames.padded(bytes(Ether(src="02:00:00:00:00:01", dst="ff:ff:ff:ff:ff:ff") / ARP()))
    for _ in range(5):
        bridge.send(0, request)
    assert dropped(bridge) == 3


def test_heartbeats_are_exempt() -> None:
    bridge = lab(multicast=1)
    advert = Ether(src="02:00:00:00:00:01", dst="01:00:5e:00:00:12") / IP(dst="224.0.0.18") / VRRP()
    bridge.send(0, *[FLOODED["multicast"]] * 2)
    for _ in range(5):
        assert set(bridge.send(0, frames.padded(bytes(advert))).sent) == {1, 2}
    assert dropped(bridge) == 0
    bridge.send(0, FLOODED["multicast"])
    assert dropped(bridge) == 1


def test_writing_a_limit_again_replaces_it_and_taking_it_away_ends_it() -> None:
    bridge = lab(broadcast=2)
    for _ in range(4):
        bridge.send(0, FLOODED["broadcast"])
    assert dropped(bridge) == 2
    bridge.change_bridge(storms={})
    for _ in range(4):
        bridge.send(0, FLOODED["broadcast"])
    assert dropped(bridge) == 2
    bridge.change_bridge(storms={(0, "broadcast"): 3})
    for _ in range(4):
        bridge.send(0, FLOODED["broadcast"])
    assert dropped(bridge) == 3


def test_a_link_that_flaps_does_not_refill() -> None:
    bridge = lab(broadcast=2)
    for _ in range(3):
        bridge.send(0, FLOODED["broadcast"])
    for up in (False, True):
        bridge.change(0, up=up)
    bridge.send(0, FLOODED["broadcast"])
    assert dropped(bridge) == 2


# -- rates, on a clock that the test turns


class Clocked:
    """Ports 0 to 2 in VLAN 10; port 0 has one limit in each flood class named."""

    def __init__(self, unit: str, rate: float, burst: float, *floods: str, calm: int = 0) -> None:
        self.bridge = Bridge(burst=BATCH)
        self.ports = [self.bridge.open_memory(index) for index in range(3)]
        snapshot = Snapshot()
        for port in self.ports:
            snapshot.add_port(port, PortRow(mode="access", pvid=10))
        for serial, flood in enumerate(floods, 1):
            snapshot.add_budget(
                serial,
                unit=unit,
                rate=rate,
                burst=burst,
                action="drop",
                port=0,
                floods=[flood],
                calm=calm,
            )
        self.bridge.apply(snapshot)

    def offer(self, frame: bytes, per_second: int, seconds: int) -> int:
        """Offer frames at an even rate, each millisecond; returns how many came out of port 1."""
        steps, passed = 1000 * seconds, 0
        for step in range(steps):
            n = per_second * (step + 1) // 1000 - per_second * step // 1000
            self.bridge.shift_clock(SECOND // 1000)
            self.ports[0].inject([frame] * n)
            while self.bridge.turn():
                pass
            passed += len(self.ports[1].drain())
            self.ports[2].drain()
        check_conservation(self.bridge.counters().ports)
        return passed


@pytest.mark.parametrize("offered", [500, 1000, 1500, 5000])
def test_frames_pass_at_the_limit_whatever_is_offered(offered: int) -> None:
    """What passes in 4 s: the limit, and once the burst; and a batch, since it is a batch that finds tokens left."""
    bench = Clocked("frames", LIMIT / SECOND, BURST, "broadcast")
    assert bench.offer(FLOODED["broadcast"], offered, 4) == pytest.approx(
        min(offered * 4, LIMIT * 4 + BURST), abs=BATCH
    )


def test_bits_pass_at_the_limit() -> None:
    frame = FLOODED["unknown"]
    bits = 8 * len(frame) * LIMIT
    bench = Clocked("bits", bits / SECOND, bits / 10, "unknown")
    assert bench.offer(frame, 3 * LIMIT, 4) == pytest.approx(LIMIT * 4 + BURST, abs=BATCH)


def test_the_end_of_a_storm_is_told_when_nothing_comes_any_more() -> None:
    bench = Clocked("frames", LIMIT / SECOND, 1.0, "broadcast")
    bench.offer(FLOODED["broadcast"], 5000, 1)
    kinds = [event.kind for event in bench.bridge.events()[0] if event.kind.startswith("budget")]
    assert kinds[0] == "budget_over"
    bench.ports[0].inject([FLOODED["broadcast"]] * BATCH)
    bench.bridge.turn()
    assert bench.bridge.budgets()[0].over
    bench.bridge.events()
    bench.bridge.shift_clock(SECOND)
    bench.bridge.turn()
    assert not bench.bridge.budgets()[0].over
    assert [event.kind for event in bench.bridge.events()[0]] == ["budget_under"]


def test_a_storm_is_told_once_however_many_tokens_come_meanwhile() -> None:
    """At the limit the bucket is empty and has a token again a thousand times a second; then all is calm."""
    bench = Clocked("frames", LIMIT / SECOND, BURST, "broadcast", calm=SECOND)
    assert bench.offer(FLOODED["broadcast"], 5000, 2) == pytest.approx(LIMIT * 2 + BURST, abs=BATCH)
    (state,) = bench.bridge.budgets()
    assert (state.over, state.times_over) == (True, 1)
    bench.offer(FLOODED["broadcast"], LIMIT // 2, 2)
    assert [event.kind for event in bench.bridge.events()[0] if event.kind.startswith("budget")] == [
        "budget_over",
        "budget_under",
    ]
    (state,) = bench.bridge.budgets()
    assert (state.over, state.times_over) == (False, 1)


def test_every_port_can_have_three_limits_and_the_books_hold() -> None:
    bridge = Bridge(burst=8)
    ports = [bridge.open_memory(index, slots=8) for index in range(_core.PORTS_MAX)]
    snapshot = Snapshot()
    for port in ports:
        snapshot.add_port(port, PortRow(mode="access", pvid=10))
        for place, flood in enumerate(FLOODED):
            snapshot.add_budget(
                1 + 3 * port.index + place,
                unit="frames",
                rate=1e-15,
                burst=2,
                action="drop",
                port=port.index,
                floods=[flood],
            )
    bridge.apply(snapshot)
    for index in (0, 255):
        for _ in range(3):
            ports[index].inject([FLOODED["broadcast"]])
            bridge.turn()
    states = {state.serial: state for state in bridge.budgets()}
    assert [(states[serial].spent, states[serial].dropped) for serial in (1, 1 + 3 * 255, 2)] == [
        (2, 1),
        (2, 1),
        (0, 0),
    ]
    check_conservation(bridge.counters().ports)
    check_charges(bridge.bill())
