"""Loop detection without a bridge: which probes go out, which are known again, moves back and forth, who is weaker."""

from __future__ import annotations

import itertools

import pytest
from helpers.clock import ManualClock

from bridge.config import document as configs
from bridge.config.loop_detection import LoopDetectionConfig
from bridge.config.plan import plan
from bridge.config.port import PortConfig
from bridge.config.write import to_toml
from bridge.errors import ConfigError
from bridge.protect.loop_detection import PROBES, ROUNDS, MoveStorms, Prober, weaker

MAC = 0x020000000001
GUEST = PortConfig("guest", "memory", pvid=10)
TRUNK = PortConfig("uplink", "memory", mode="trunk", pvid=1, vids=tuple(range(100, 150)))


def prober() -> Prober:
    numbers = itertools.count(1)
    return Prober(lambda bits: next(numbers))


def test_each_port_is_probed_in_its_native_vlan_and_by_turns_in_the_others() -> None:
    probing = prober()
    rounds = [probing.round({3: GUEST, 4: TRUNK}) for _ in range(4)]
    assert [[probe.vid for probe in probes if probe.port == 3] for probes in rounds] == [[10]] * 4
    on_trunk = [[probe.vid for probe in probes if probe.port == 4] for probes in rounds]
    assert all(vids[0] == 1 and len(vids) == PROBES == len({*vids}) for vids in on_trunk)
    assert {vid for vids in on_trunk for vid in vids} == {1, *range(100, 150)}
    assert [probes[0].sequence for probes in rounds] == [0, 1, 2, 3]


def test_a_probe_is_known_for_some_rounds_and_nothing_else_is() -> None:
    probing = prober()
    (first,) = probing.round({3: GUEST})
    assert probing.origin(first.nonce) == (3, 10)
    assert probing.origin(first.nonce + 1) is None
    for _ in range(ROUNDS - 1):
        probing.round({3: GUEST})
    assert probing.origin(first.nonce) == (3, 10)
    probing.round({3: GUEST})
    assert probing.origin(first.nonce) is None


def test_nonces_are_drawn_by_lot() -> None:
    probing = Prober()
    probes = [probe for _ in range(2) for probe in probing.round({4: TRUNK})]
    assert len({probe.nonce for probe in probes}) == len(probes)
    assert all(0 <= probe.nonce < 1 << 48 for probe in probes)


def test_many_addresses_back_and_forth_are_a_loop_and_told_once() -> None:
    clock = ManualClock()
    storms = MoveStorms(clock)
    told = []
    for n in range(10):
        for port, old in ((1, 0), (0, 1), (1, 0)):
            told.append(storms.moved(10, MAC + n, port, old, 5))
    assert told.count(True) == 1
    assert told.index(True) == 4 * 3 + 1, "as the fifth of them comes back"
    clock.advance(1)
    assert not storms.moved(10, MAC, 1, 0, 5)


def test_a_failover_of_a_thousand_addresses_is_none() -> None:
    storms = MoveStorms(ManualClock())
    assert not any(storms.moved(10, MAC + n, 1, 0, 5) for n in range(1000))


def test_a_few_addresses_that_flap_are_none() -> None:
    storms = MoveStorms(ManualClock())
    assert not any(storms.moved(10, MAC + n % 4, n // 4 % 2, 1 - n // 4 % 2, 5) for n in range(1000))


def test_ports_are_paired() -> None:
    storms = MoveStorms(ManualClock())
    for n in range(8):
        port = 1 + n % 2
        assert not storms.moved(10, MAC + n, port, 0, 5)
        assert not storms.moved(10, MAC + n, 0, port, 5)


def test_what_is_remembered_of_a_second_is_bounded() -> None:
    storms = MoveStorms(ManualClock())
    for n in range(50_000):
        storms.moved(10, MAC + n, n % 2, 1 - n % 2, 5)
    assert len(storms._first) <= 8192


PART = PortConfig("t", "memory", mode="trunk", vids=(100,))


@pytest.mark.parametrize(
    ("ports", "blocked"),
    [
        ({2: TRUNK, 1: GUEST}, 1),
        ({1: GUEST, 2: TRUNK}, 1),
        ({1: GUEST, 2: GUEST}, 2),
        ({2: GUEST, 1: GUEST}, 1),  # which has the place of one that left
        ({1: TRUNK, 2: PART}, 2),
        ({1: PART, 2: TRUNK}, 1),
    ],
)
def test_one_port_is_the_weaker_whoever_hears_first(ports: dict[int, PortConfig], blocked: int) -> None:
    assert weaker(ports, 1, 2) == weaker(ports, 2, 1) == blocked
    assert weaker(ports, 1, 1) == 1


# -- the table


def test_the_table_is_read_written_planned() -> None:
    off = configs.parse("")
    on = configs.parse('[loop_detection]\ninterval = 2\naction = "block"\nmoving_addresses = 0\n')
    assert on.loop_detection == LoopDetectionConfig(2, "block", 300, 0)
    assert configs.parse(to_toml(on)) == on
    assert [str(action) for action in plan(off, on)] == [
        "set loop detection every 2 s: interval 0 -> 2, action log -> block, moving_addresses 20 -> 0"
    ]
    assert [action.subject for action in plan(on, off)] == ["off"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "the key 'interval' is missing"),
        ("interval = 0", "0.1 to 3600 seconds"),
        ('interval = 1\naction = "hold"', "'log' or 'block'"),
        ("interval = 1\nmoving_addresses = -1", "a number of addresses from 0"),
    ],
)
def test_refusals(text: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        configs.parse("[loop_detection]\n" + text)
