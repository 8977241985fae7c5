"""A storm of moves, of new or of refused stations leaves nothing behind that grows with its length.

Everything that hears of it takes part: the mirror of the table, move guard, loop detection, a monitor that does not
read.
What is counted is what Python and the C library have handed out; tables that are allocated once do not show.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import sys
from collections.abc import Sequence
from types import SimpleNamespace

import pytest
from helpers import frames
from helpers.clock import ManualClock

from bridge.account.budgets import Budgets
from bridge.config.bridge import BridgeConfig
from bridge.config.loop_detection import LoopDetectionConfig
from bridge.config.move_guard import MoveGuardConfig
from bridge.config.port import PortConfig
from bridge.core._core import Bridge, Snapshot
from bridge.core.values import PortRow
from bridge.engine.events import CoreEvents
from bridge.events import Events
from bridge.fdb.learning import Learning
from bridge.multicast.snooping import Snooping
from bridge.ports.table import PortTable
from bridge.protect.protection import Protection

VID, BURST = 10, 64
WARM_TURNS, TURNS, TURNS_A_SECOND = 200, 1000, 50
BLOCKS_MAX, BYTES_MAX = 500, 1 << 16
MOVING = [range(1, 1 + BURST)] * 2  # both ports speak for the same stations
STRANGERS = [range(1000, 9192), range(1, 2)]


class Handed(ctypes.Structure):
    """struct mallinfo2, mallinfo(3)."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


def handed_out() -> tuple[int, int]:
    """Blocks Python has in use, and bytes of the C library."""
    mallinfo2 = ctypes.CDLL(None).mallinfo2
    mallinfo2.restype = Handed
    gc.collect()
    info = mallinfo2()
    return sys.getallocatedblocks(), info.uordblks + info.hblkhd


class Storm:
    """Two ports that play frames without end, under everything that hears of what they do."""

    def __init__(self, stations: Sequence[range], *, mac_limit: int, capacity: int) -> None:
        self.clock = ManualClock()
        self.core = Bridge(fdb_capacity=capacity, events=1024, burst=BURST)
        self.events = Events()
        self.monitor = self.events.subscribe()
        self.core_events = CoreEvents(self.core, self.events.emit)
        self.learning = Learning(self.core, self.clock, self.events, self.core_events.drain)
        self.protection = Protection(
            self.core, self.clock, self.events.emit, 0x02000000FFFF, lambda port: None, self.learning
        )
        self.learning.known.on_change(self.protection)
        self.core_events.connect(
            fdb=self.learning,
            protection=self.protection,
            snooping=Snooping(self.core, self.clock, self.events.emit, 0x02000000FFFF),
            member=SimpleNamespace(stepped=list.append),  # type: ignore[arg-type]
            budgets=Budgets(),
            ports=PortTable(self.clock),
        )
        self.protection.guard_moves(MoveGuardConfig(moves=5, window=10))
        self.protection.detect_loops(LoopDetectionConfig(interval=1.0, moving_addresses=5))
        configs = {
            index: PortConfig(f"p{index}", "memory", pvid=VID, mac_limit=mac_limit) for index in (0, 1)
        }
        snapshot = Snapshot()
        for index, numbers in enumerate(stations):
            hellos = [frames.ethernet(frames.BROADCAST, frames.host(number)) for number in numbers]
            port = self.core.open_replay(index, [frames.padded(hello) for hello in hellos])
            snapshot.add_port(port, PortRow(mode="access", pvid=VID, mac_limit=mac_limit))
        self.learning.configure(BridgeConfig())
        self.core.apply(snapshot)
        self.learning.set_ports(configs)
        self.protection.set_ports(configs)

    def rage(self, turns: int) -> None:
        for turn in range(turns):
            self.core.turn()
            self.core_events.take()
            if turn % TURNS_A_SECOND == 0:
                self.clock.advance(1)
                self.learning.tick()
                self.protection.tick()


@pytest.mark.parametrize(
    ("stations", "mac_limit", "counter"),
    [(MOVING, 0, "moved"), (STRANGERS, 0, "evicted"), (STRANGERS, 4, "not_learned")],
    ids=["moves", "strangers", "refused"],
)
def test_a_longer_storm_holds_no_more_memory(
    stations: Sequence[range], mac_limit: int, counter: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)  # what is logged, pytest would keep
    storm = Storm(stations, mac_limit=mac_limit, capacity=256)
    storm.rage(WARM_TURNS)
    happened = storm.core.counters().ports[0].values[counter]
    blocks, handed = handed_out()
    storm.rage(TURNS)
    more_blocks, more_handed = handed_out()
    happened = storm.core.counters().ports[0].values[counter] - happened
    assert happened > 30 * TURNS
    assert more_blocks - blocks <= BLOCKS_MAX
    assert more_handed - handed <= BYTES_MAX
