"""The objects of one running bridge, made and connected. Nothing is started here, and nothing decided.

Whoever adds one (the kernel offload, the snooping) adds a line here, and a line in engine.py if it has to be started or
to be kept going. Order: what others are made of comes first.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from bridge.account.ledger import Ledger, Tally
from bridge.account.meter import Meter
from bridge.account.window import Egress
from bridge.audit.auditor import Auditor
from bridge.clock import Clock
from bridge.config.whole import Config
from bridge.core._core import HISTOGRAM_BOUNDS, Bridge, cycles_now
from bridge.devices.devices import Devices
from bridge.engine.data_plane import DataPlane
from bridge.engine.data_thread import DataThread
from bridge.engine.events import CoreEvents
from bridge.engine.reconcile import PortReconciler
from bridge.engine.state_log import StateLog
from bridge.engine.status import Status
from bridge.events import Events
from bridge.fdb.file import FdbFile
from bridge.fdb.learning import Learning
from bridge.ha.member import Member
from bridge.metrics.server import MetricsServer
from bridge.mirror.mirrors import Mirrors
from bridge.multicast.rows import GroupRows
from bridge.multicast.snooping import Snooping
from bridge.offload.counts import Counts
from bridge.offload.offload import Offload
from bridge.ports.table import PortTable
from bridge.protect.own_address import own_address
from bridge.protect.protection import Protection

log = logging.getLogger(__package__)

EVENTS_MIN = 16384  # of the ring


class Parts:
    """What a bridge is made of. `config` is the one in force."""

    def __init__(self, config: Config, clock: Clock, devices: Devices) -> None:
        self.config = config
        self.clock = clock
        self.devices = devices
        size = config.bridge.fdb_size
        # The ring of events has room for a table that is learned anew at once.
        self.core = core = Bridge(fdb_capacity=size, events=max(EVENTS_MIN, size))
        self.turns = asyncio.Lock()  # of whatever changes ports
        self.events = Events()
        emit = self.events.emit
        self.core_events = CoreEvents(core, emit)
        self.ports = ports = PortTable(clock, config.bridge.socket_path)
        self.learning = learning = Learning(core, clock, self.events, self.core_events.drain)
        self.fdb_file = FdbFile(learning.store, self.current_config)
        self.protection = Protection(
            core, clock, emit, own_address(config.bridge), ports.mark_dirty, learning
        )
        self.snooping = Snooping(core, clock, emit, self.protection.own_address)
        self.member = Member(
            core, devices, ports, self.protection.own_address, emit, learning, config.bridge.socket_path
        )
        self.counts = Counts()
        self.ledger = Ledger(core, self._dropped, self.counts)
        self.offload = Offload(core, devices, ports, self.counts)
        self.cost = Meter(core, clock, ports.names, self._egress, cycles_now, HISTOGRAM_BOUNDS)
        self.state_log = StateLog(clock)
        self.data_plane = DataPlane(
            core,
            config.bridge,
            ports,
            emit=emit,
            learning=learning,
            protection=self.protection,
            snooping=self.snooping,
            mirrors=Mirrors(self._mirror_changed),
            ledger=self.ledger,
            cost=self.cost,
            offload=self.offload,
            restore=self.fdb_file.restore,
            state_log=self.state_log,
        )
        self.reconciler = PortReconciler(core, devices, clock, ports, self.data_plane, self.protection.blocks)
        self.auditor = Auditor(devices, clock, ports, emit, self.turns, self._tallies)
        self.status = Status(
            core,
            ports,
            self.data_plane,
            learning,
            self.ledger,
            self.cost,
            self.offload,
            self.counts,
            GroupRows(core, clock, self.snooping),
        )
        self.metrics = MetricsServer(self.status.state)
        self.thread = DataThread(core, self.core_events.take)
        self._connect()

    def _connect(self) -> None:
        """Let the parts hear of each other."""
        self.learning.known.on_change(self.protection)
        self.learning.known.on_change(self.snooping)
        self.learning.known.on_change(self.member.sync)
        self.devices.watch(self.ports.device_changed)
        self.devices.watch(self.member.device_changed)
        self.core_events.connect(
            fdb=self.learning,
            protection=self.protection,
            snooping=self.snooping,
            budgets=self.data_plane.budgets,
            ports=self.ports,
            member=self.member,
        )

    def current_config(self) -> Config:
        """Give the configuration in force."""
        return self.config

    def _dropped(self) -> Mapping[str, int]:
        """Count what the kernel dropped in front of attached taps."""
        return self.ports.dropped(self.devices.tx_dropped)

    def _tallies(self) -> dict[str, Tally]:
        return self.ledger.tallies(self.ports.attached_indexes())

    def _egress(self) -> Mapping[str, Egress]:
        """Give what each port sent, for the bill."""
        return self.ledger.egress(self.ports.attached_indexes())

    def _mirror_changed(self, name: str, state: str, reason: str) -> None:
        level = logging.INFO if state == "closed" else logging.WARNING
        log.log(level, "mirror %s: %s", name, f"{state}: {reason}" if reason else state)
        self.events.emit(f"mirror-{state}", mirror=name, **({"reason": reason} if reason else {}))
