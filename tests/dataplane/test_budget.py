"""Budgets: what spends, what ends when they are spent, what stays exempt, and what survives a change."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from helpers import frames
from helpers.bridge import check_charges, check_conservation
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.layers.vrrp import VRRP
from scapy.packet import Raw

from bridge.core import _core
from bridge.core.values import PortRow

NEVER = 1e-15  # units a cycle: nothing comes back while a test runs
CLASSES = [name for name, _ in _core.CLASSES]
BUDGET: dict[str, Any] = {"unit": "frames", "rate": NEVER, "burst": 10, "action": "drop"}


class Bench:
    """Three access ports in VLAN 10 and budgets."""

    def __init__(self, *budgets: dict[str, Any]) -> None:
        self.bridge = _core.Bridge(burst=8)
        self.ports = [self.bridge.open_memory(index) for index in range(3)]
        self.apply(*budgets)

    def apply(self, *budgets: dict[str, Any]) -> None:
        snapshot = _core.Snapshot()
        for port in self.ports:
            snapshot.add_port(port, PortRow(mode="access", pvid=10))
        for serial, budget in enumerate(budgets, 1):
            snapshot.add_budget(**{"serial": serial, **BUDGET, **budget})
        self.bridge.apply(snapshot)

    def send(self, index: int, sent: Iterable[bytes]) -> int:
        """Send frames one batch each; how many copies came out."""
        n = 0
        for frame in sent:
            self.ports[index].inject([frame])
            self.bridge.turn()
            n += sum(len(port.drain()) for port in self.ports)
        counters = self.bridge.counters().ports
        check_conservation(counters)
        check_charges(self.bridge.bill())
        return n

    def dropped(self, index: int) -> int:
        return self.bridge.counters().ports[index].rx_drops.get("over_budget", 0)

    def events(self) -> list[tuple[str, int]]:
        return [(e.kind, e.mac) for e in self.bridge.events()[0] if e.kind.startswith("budget")]


def broadcast(source: int) -> bytes:
    return frames.ethernet(frames.BROADCAST, frames.host(source))


def test_a_spent_budget_ends_its_frames() -> None:
    bench = Bench({})
    assert bench.send(0, [broadcast(1)] * 15) == 2 * 10
    assert bench.dropped(0) == 5
    (state,) = bench.bridge.budgets()
    assert (state.over, state.spent, state.dropped, state.times_over) == (True, 10, 5, 1)
    assert state.tokens == pytest.approx(0, abs=1e-3)
    assert bench.events() == [("budget_over", 0)]


def test_what_it_does_not_name_is_not_touched() -> None:
    bench = Bench({"port": 0}, {"vid": 20}, {"classes": ["multicast"]}, {"talker": 0x02_0000_0000_09})
    assert bench.send(1, [broadcast(1)] * 20) == 40
    assert [state.spent for state in bench.bridge.budgets()] == [0, 0, 0, 0]
    assert bench.send(0, [broadcast(1)] * 20) == 20
    assert bench.dropped(1) == 0


@pytest.mark.parametrize(
    "named",
    [
        {"port": 0},
        {"vid": 10},
        {"classes": ["broadcast"]},
        {"talker": frames.number(frames.host(1))},
        {"port": 0, "classes": ["broadcast", "arp_nd"], "vid": 10},
    ],
    ids=str,
)
def test_each_way_to_name_what_is_limited(named: dict[str, Any]) -> None:
    bench = Bench(named)
    assert bench.send(0, [broadcast(1)] * 15) == 20
    other = bench.send(1, [frames.ethernet(frames.group(1), frames.host(2))] * 3)
    assert other == (0 if named == {"vid": 10} else 6)


def test_what_ended_spends_nothing_whatever_its_class() -> None:
    """A dropped frame to 01-80-C2-00-00-00 is still of the class `reserved`."""
    bench = Bench({}, {"talker": frames.number(frames.host(1))})
    assert bench.send(0, [frames.ethernet(frames.reserved(0), frames.host(1))] * 20) == 0
    assert [state.spent for state in bench.bridge.budgets()] == [0, 0]


def test_time_gives_tokens_back() -> None:
    bench = Bench({"rate": 1e9, "burst": 10})  # a cycle is enough for all
    assert bench.send(0, [broadcast(1)] * 50) == 100
    assert bench.dropped(0) == 0


def test_it_recovers_and_says_so() -> None:
    bench = Bench({})
    bench.send(0, [broadcast(1)] * 15)
    bench.events()
    before = bench.bridge.budgets()[0]
    bench.apply({"rate": 1e9})  # the same serial: the debt is still there, and soon paid
    assert bench.send(0, [broadcast(1)] * 5) == 10
    assert bench.events() == [("budget_under", 0)]
    assert bench.bridge.budgets()[0].spent == before.spent + 5


def test_another_serial_starts_full() -> None:
    bench = Bench({})
    bench.send(0, [broadcast(1)] * 15)
    bench.apply({"serial": 7})
    assert bench.bridge.budgets()[0].spent == 0
    assert bench.send(0, [broadcast(1)] * 3) == 6


def test_a_budget_keeps_its_state_when_its_place_changes() -> None:
    bench = Bench({"port": 1}, {"port": 0})
    bench.send(0, [broadcast(1)] * 15)
    bench.apply({"serial": 2, "port": 0})
    assert bench.bridge.budgets()[0].over
    assert bench.send(0, [broadcast(1)]) == 0


def test_debt_of_a_large_batch_is_kept() -> None:
    bench = Bench({})
    bench.ports[0].inject([broadcast(1)] * 8)
    bench.bridge.turn()
    bench.ports[0].inject([broadcast(1)] * 8)  # two tokens are left for eight frames
    bench.bridge.turn()
    assert bench.bridge.budgets()[0].tokens == pytest.approx(-6, abs=1e-3)


def test_cycles_and_bits() -> None:
    bench = Bench({"unit": "bits", "burst": 60 * 8 * 4}, {"unit": "cycles", "burst": 1e15, "action": "count"})
    bench.send(0, [broadcast(1)] * 10)
    bits, cycles = bench.bridge.budgets()
    assert (bits.spent, bits.dropped) == (60 * 8 * 4, 6)
    assert cycles.spent == sum(
        row.direct + row.induced for row in bench.bridge.bill().charges if row.frame_class == "broadcast"
    )


def test_counting_drops_nothing() -> None:
    bench = Bench({"action": "count"})
    assert bench.send(0, [broadcast(1)] * 15) == 30
    assert bench.bridge.budgets()[0].over
    assert bench.events() == [("budget_over", 0)]


def test_heartbeats_are_exempt_when_their_classes_are_left_out() -> None:
    bench = Bench({"classes": [name for name in CLASSES if name not in ("first_hop", "heartbeat")]})
    assert bench.send(0, [broadcast(1)] * 12) == 20
    advert = Ether(src="02:00:00:00:00:01", dst="01:00:5e:00:00:12") / IP(dst="224.0.0.18") / VRRP()
    corosync = (
        Ether(src="02:00:00:00:00:01", dst="01:00:5e:01:02:03")
        / IP(dst="239.1.2.3")
        / UDP(dport=5405)
        / Raw(bytes(20))
    )
    assert bench.send(0, [frames.padded(bytes(advert)), frames.padded(bytes(corosync))] * 3) == 12
    assert bench.bridge.budgets()[0].spent == 10


def test_stop_learning_keeps_a_mover_where_it_was() -> None:
    mover = frames.number(frames.host(1))
    bench = Bench({"action": "stop_learning", "talker": mover, "burst": 4})
    bench.send(0, [broadcast(1)] * 2)
    bench.send(1, [broadcast(1)] * 2)
    assert bench.bridge.fdb_find(10, mover).port == 1
    bench.send(2, [broadcast(1)] * 3)
    assert bench.bridge.fdb_find(10, mover).port == 1
    bench.send(2, [broadcast(2)])
    assert bench.bridge.fdb_find(10, mover + 1).port == 2


def test_stop_learning_does_not_open_a_drop_entry() -> None:
    mac = frames.number(frames.host(1))
    bench = Bench({"action": "stop_learning", "burst": 1})
    bench.send(0, [broadcast(2)] * 2)
    bench.bridge.fdb_set(10, mac, -1, "drop")
    assert bench.send(0, [broadcast(1)]) == 0


def test_bad_definitions() -> None:
    snapshot = _core.Snapshot()
    for wrong in (
        {"unit": "joules"},
        {"action": "explode"},
        {"classes": ["nobility"]},
        {"rate": 0},
        {"burst": -1},
        {"rate": float("nan")},
        {"vid": 4095},
        {"port": 256},
    ):
        with pytest.raises(ValueError, match="must be"):
            snapshot.add_budget(1, **{**BUDGET, **wrong})
    for serial in range(1, _core.BUDGETS_MAX + 1):
        snapshot.add_budget(serial, **BUDGET)
    with pytest.raises(ValueError, match="number of budgets"):
        snapshot.add_budget(99, **BUDGET)
