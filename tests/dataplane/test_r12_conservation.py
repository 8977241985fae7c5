"""R12: frames in + copies made = frames out + drops by reason, exactly, per port and in total.

Every other module checks this after each step (helpers.bridge.check_conservation); here are the ledgers
of a known story in numbers, changes of configuration in mid-flow, and a data thread that is watched
while it runs.
"""

from __future__ import annotations

import random
import threading

import pytest
from helpers import frames
from helpers.bridge import Lab, access, check_conservation, trunk
from helpers.net import wait_until

from bridge.core import _core
from bridge.core.values import PortRow

A, B = frames.host(1), frames.host(2)


def test_ledger_of_a_known_story() -> None:
    lab = Lab(access(10), access(10), trunk(10), access(10, mtu=1000))
    lab.send(0, frames.sized(frames.BROADCAST, A, 100))  # three copies
    lab.send(0, frames.sized(frames.BROADCAST, A, 1200))  # three copies, one refused
    lab.send(1, frames.sized(A, B, 100))  # one
    lab.send(1, frames.sized(A, B, 100, frames.tag(10)))  # none
    lab.send(2, frames.sized(B, A, 10, frames.tag(10)))  # A has moved; one, padded
    names = ("rx_frames", "rx_bytes", "copies", "flooded", "forwarded", "offered", "tx_frames", "tx_bytes")
    ledger = {index: tuple(lab.values(index)[name] for name in names) for index in range(4)}
    assert ledger == {
        0: (2, 114 + 1214, 4, 2, 6, 1, 1, 114),
        1: (2, 114 + 118, 0, 0, 1, 3, 3, 114 + 1214 + 60),
        2: (1, 28, 0, 0, 1, 2, 2, 118 + 1218),
        3: (0, 0, 0, 0, 0, 2, 1, 114),
    }
    counters = lab.core.counters()
    assert counters.ports[1].rx_drops == {"tag_not_allowed": 1}
    assert counters.ports[3].tx_drops == {"oversize": 1}
    assert counters.thread["frames"] == 5
    assert counters.thread["batches"] == 5


def test_every_counter_and_reason_has_a_sentence() -> None:
    kinds = ("DROP_REASONS", "MISSES", "PORT_COUNTERS", "THREAD_COUNTERS", "STAGES", "EVENTS")
    for table in (getattr(_core, kind) for kind in kinds):
        names = [name for name, _sentence in table]
        assert len(set(names)) == len(names)
        assert all(len(sentence) > 3 for _name, sentence in table)


@pytest.mark.parametrize("was_up", [True, False])
def test_what_waits_at_a_port_that_leaves_is_counted(was_up: bool) -> None:
    lab = Lab(access(10, up=was_up), access(10))
    port = lab.ports[0]
    with pytest.raises(ValueError, match="still in the applied snapshot"):
        lab.core.final_counters(port)
    port.inject([frames.ethernet(frames.BROADCAST, A)] * 3)
    lab.core.apply(_core.Snapshot())
    final = lab.core.final_counters(port)
    assert (final.values["rx_frames"], final.rx_drops) == (3, {"port_down": 3})
    check_conservation({0: final})
    lab.core.close_port(port)


def test_counters_of_a_port_survive_changes_of_others() -> None:
    lab = Lab(access(10), access(10), access(10))
    lab.send(0, frames.ethernet(frames.BROADCAST, A))
    before = lab.values(0), lab.values(1)
    lab.change(2, pvid=20)
    lab.change(1, isolated=True)
    assert (lab.values(0), lab.values(1)) == before


def test_an_applied_snapshot_does_not_change() -> None:
    """The data thread reads it without a lock (DESIGN section 3: immutable configuration)."""
    bridge = _core.Bridge()
    ports = [bridge.open_memory(0), bridge.open_memory(1)]
    snapshot = _core.Snapshot()
    snapshot.add_port(ports[0], PortRow(mode="access", pvid=10))
    bridge.apply(snapshot)
    with pytest.raises(ValueError, match="applied"):
        snapshot.add_port(ports[1], PortRow(mode="access", pvid=10))
    with pytest.raises(ValueError, match="applied"):
        snapshot.set_vlan_mac_limit(10, 1)


def test_frames_that_wait_belong_to_nobody_yet() -> None:
    """A frame is counted when the bridge takes it, not when it arrives."""
    lab = Lab(access(10), access(10))
    lab.inject(0, frames.ethernet(frames.BROADCAST, A))
    lab.check()
    assert lab.values(0)["rx_frames"] == 0


def test_any_bytes_at_all() -> None:
    """Random bytes of random lengths on every kind of port: each ends in a named way."""
    chance = random.Random(12)
    lab = Lab(
        access(10), trunk(10, 20, native=30), trunk(10, 20, tpid=frames.TPID_AD), access(30), access(20)
    )
    starts = [
        b"",
        frames.BROADCAST,
        B + A,
        frames.BROADCAST + A,
        B + A + frames.tag(10),
        B + A + frames.tag(0),
    ]
    for _batch in range(200):
        sent = [
            chance.choice(starts) + chance.randbytes(chance.choice((0, 1, 3, 9, 40, 300, 2000)))
            for _ in range(9)
        ]
        lab.send(chance.randrange(5), *sent)


def test_ledger_balances_while_the_data_thread_runs() -> None:
    """Counters are copied at a batch boundary, so whoever looks sees nothing in flight."""
    bridge = _core.Bridge(burst=4)
    ports = [bridge.open_memory(index, slots=64) for index in range(3)]
    configs = []
    for up in (True, False):
        snapshot = _core.Snapshot()
        for port in ports:
            snapshot.add_port(port, PortRow(mode="access", pvid=10, up=up or port.index != 2))
        configs.append(snapshot)
    bridge.apply(configs[0])
    thread = threading.Thread(target=bridge.run)
    thread.start()
    try:
        injected = 0
        for round_number in range(300):
            injected += ports[0].inject(
                [frames.ethernet(frames.BROADCAST, A, payload=i + 1) for i in range(7)]
            )
            injected += ports[1].inject([frames.ethernet(A, B)])
            bridge.wake()
            bridge.apply(configs[round_number % 2])
            check_conservation(bridge.counters().ports)
            for port in ports:
                port.drain()
        wait_until(lambda: not any(port.pending for port in ports), "all frames to be taken")
        counters = bridge.counters()
        check_conservation(counters.ports)
        assert sum(port.values["rx_frames"] for port in counters.ports.values()) == injected
    finally:
        bridge.stop()
        thread.join()
    assert not bridge.running
