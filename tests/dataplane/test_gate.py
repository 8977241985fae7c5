"""The gate: closed, everything received is dropped as `standby`, nobody is learned, nothing is sent."""

from __future__ import annotations

import pytest
from helpers import frames
from helpers.bridge import Lab, access

from bridge.core import _core, _ha
from bridge.core.values import Beacon

FRAME = frames.ethernet(frames.BROADCAST, frames.host(1))
SECOND = 10**9


def gated() -> Lab:
    lab = Lab(access(10), access(10))
    _ha.set_gate(lab.core, True)
    return lab


def pass_through(lab: Lab, *data: bytes) -> list[bytes]:
    """Inject at port 0, take what leaves by port 1: the model knows no gate."""
    lab.ports[0].inject(data)
    lab.core.turn(4)
    return [frame.data for frame in lab.ports[1].drain()]


def counters(lab: Lab, port: int) -> _core.PortCounters:
    return lab.core.counters().ports[port]


def test_a_new_gate_is_closed() -> None:
    lab = gated()
    assert pass_through(lab, FRAME, FRAME) == []
    assert counters(lab, 0).rx_drops["standby"] == 2
    assert lab.core.fdb_entries() == []
    assert _ha.read_gate(lab.core)[0] == 0


def test_open_until_its_time() -> None:
    lab = gated()
    now = _ha.boot_clock()
    _ha.open_gate(lab.core, 7, now + 3600 * SECOND)
    assert pass_through(lab, FRAME) == [FRAME]
    assert _ha.read_gate(lab.core)[:2] == (now + 3600 * SECOND, 7)
    _ha.open_gate(lab.core, 7, _ha.boot_clock())
    assert pass_through(lab, FRAME) == []
    _ha.open_gate(lab.core, 8, now + 3600 * SECOND)
    assert pass_through(lab, FRAME) == [FRAME]
    _ha.close_gate(lab.core)
    assert pass_through(lab, FRAME) == []
    assert counters(lab, 0).rx_drops["standby"] == 2


def test_a_closed_gate_sends_nothing_of_its_own() -> None:
    lab = gated()
    assert lab.core.originate([(1, 10, FRAME)]) == [False]
    assert lab.ports[1].drain() == []
    assert counters(lab, 1).values["originated"] == 0
    _ha.open_gate(lab.core, 1, _ha.boot_clock() + 3600 * SECOND)
    assert lab.core.originate([(1, 10, FRAME)]) == [True]
    assert len(lab.ports[1].drain()) == 1


def test_without_a_gate_everything_passes() -> None:
    lab = gated()
    _ha.set_gate(lab.core, False)
    assert pass_through(lab, FRAME) == [FRAME]
    with pytest.raises(RuntimeError, match="has no gate"):
        _ha.read_gate(lab.core)


def test_beacons_are_neither_forwarded_nor_learned() -> None:
    lab = Lab(access(10), access(10))
    beacon = _ha.write_beacon(
        Beacon(1, 2, 3, 4, 5, 0, 0, 1, 100), source=frames.number(frames.host(5)), secret=bytes(16)
    )
    assert pass_through(lab, beacon) == []
    assert counters(lab, 0).rx_drops["beacon"] == 1
    assert lab.core.fdb_entries() == []
