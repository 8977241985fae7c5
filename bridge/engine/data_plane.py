"""Snapshots: how the data plane learns of a change, whole, at a batch boundary, never in part.

Job: write the ports and what is in force beside them (bridge, VLANs, budgets, mirrors) into a snapshot, apply it, then
hand `Learning` and `Protection` the ports that carry traffic, and emit the events of the change. Thread: control.

Theory of operation. Whoever changes something calls `refresh`; `commit` applies all of it at once, if there is
any: a change of many ports and VLANs is one snapshot. Events of ports wait until it is in force. Ports leave
(`detach`) in two snapshots, however many they are: in the first they are down, so nothing is sent by them any more; the
second does not name them, what still waits in their queues is dropped, and their counters are final.

Refuses: nothing of its own; what the data plane refuses (OSError) leaves the snapshot of before in force.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence

from bridge.account.budgets import Budgets
from bridge.account.ledger import Ledger
from bridge.account.meter import Meter
from bridge.account.storm_budgets import storm_budgets
from bridge.config.bridge import BridgeConfig
from bridge.config.heartbeats import HeartbeatConfig, set_of_broadcast, set_of_ports
from bridge.config.port import PortConfig
from bridge.config.vlan import VlanConfig
from bridge.core._core import Bridge, Port, Snapshot
from bridge.engine.state_log import StateLog
from bridge.events import Emit
from bridge.fdb.learning import Learning
from bridge.mirror.mirrors import Mirrors
from bridge.multicast.snooping import Snooping
from bridge.offload.offload import Offload
from bridge.offload.policy import closings
from bridge.ports.attachment import Attachment
from bridge.ports.table import PortTable
from bridge.protect.protection import Protection

HEARTBEAT_BURST = 1.0  # seconds: so much of the limit of a port may come at once
NOMINAL_HZ = 1e9  # cycles per second where they cannot be measured


class DataPlane:
    """The data plane of one bridge; `restore` is called whenever ports may have begun to carry traffic."""

    def __init__(
        self,
        core: Bridge,
        bridge: BridgeConfig,
        ports: PortTable,
        *,
        emit: Emit,
        learning: Learning,
        protection: Protection,
        snooping: Snooping,
        mirrors: Mirrors,
        ledger: Ledger,
        cost: Meter,
        offload: Offload,
        restore: Callable[[], object],
        state_log: StateLog,
    ) -> None:
        self.bridge = bridge
        self.heartbeats = HeartbeatConfig()
        self.vlans: dict[int, VlanConfig] = {}
        self.budgets = Budgets()
        self.mirrors = mirrors
        self._core = core
        self._ports = ports
        self._emit = emit
        self._learning = learning
        self._protection = protection
        self._snooping = snooping
        self._ledger = ledger
        self._cost = cost
        self._offload = offload
        self._restore = restore
        self._state_log = state_log
        self._is_stale = False  # the snapshot in force is out of date
        self._news: list[tuple[str, str]] = []  # events with their ports, to be emitted once it is renewed

    @property
    def _hz(self) -> float:
        return self._cost.hz or NOMINAL_HZ

    async def limit_storms(self, port: PortConfig) -> None:
        """Put the storm control of a port in force."""
        if port.storm_control.limits:
            await self._cost.calibrate()
        self.budgets.limit_storms(port.name, storm_budgets(port.name, port.storm_control, self._hz))

    # -- changes

    def refresh(self, event: str = "", port: str = "") -> None:
        """Note that the snapshot in force is out of date, and an event to be emitted once it is renewed."""
        self._is_stale = True
        if event:
            self._news.append((event, port))

    def commit(self) -> None:
        """Bring the data plane, the FDB and the world up to date with the ports, if there is anything new."""
        if not self._is_stale:
            return
        self._write()
        self._is_stale = False
        for attachment in self._ports:
            self.report_state(attachment)
        news, self._news = self._news, []
        for event, port in news:
            state = {"state": self._ports[port].state} if event == "port-added" else {}
            self._emit(event, port=port, **state)

    def report_state(self, attachment: Attachment) -> None:
        """Log and emit the state of a port if it is another than was reported."""
        state = attachment.state
        if state == attachment.state_reported:
            return
        attachment.state_reported = state
        if state == "blocked":
            return  # reported with its reason by Blocks
        level = logging.INFO if state == "up" else logging.WARNING
        name = attachment.config.name
        text = f"port {name} is {state}"
        if state == "missing" and attachment.trouble:
            text += f": {attachment.trouble}; it is attached when that appears"
        self._state_log.changed(name, state, level, text)
        self._emit(f"port-{state}", port=attachment.config.name)

    def report_removed(self, names: Collection[str]) -> None:
        """Emit that ports are gone, but not those whose arrival was never emitted."""
        unheard = {port for event, port in self._news if event == "port-added"}
        self._news = [news for news in self._news if news[1] not in names]
        for name in names:
            self._state_log.forget(name)
            if name not in unheard:
                self._emit("port-removed", port=name)

    # -- snapshots

    def detach(self, attachments: Sequence[Attachment]) -> None:
        """Take ports out of the data plane and close their devices; entries vanish, counters stay."""
        leaving = [attachment for attachment in attachments if attachment.port is not None]
        if not leaving:
            return
        for attachment in leaving:
            attachment.ready = False
        self._write()
        self._offload.leave(leaving)
        ports = {
            attachment.config.name: attachment.port for attachment in leaving if attachment.port is not None
        }
        for attachment in leaving:
            attachment.port, attachment.broken = None, False
        self._write()
        self._ledger.carry(ports)
        self._cost.carry({attachment.index: attachment.config.name for attachment in leaving})
        for attachment in leaving:
            attachment.release()
        for port in ports.values():
            self._core.close_port(port)

    def _write(self) -> None:
        """Apply a snapshot of the ports as they are."""
        for attachment in self._ports:
            attachment.blocked = self._protection.blocks.reason(attachment.config.name)
            attachment.lift_filter()
        self._offload.set_closings(
            closings(self.budgets.configs, self.mirrors.configs, self.vlans.values()),
            tuple(sorted(set_of_ports(self.bridge.heartbeat_ports))),
        )
        snapshot = self._snapshot(self._ports.open_ports)
        if self.mirrors:
            self.mirrors.add_to(snapshot, self._ports.attached, self._mirror_targets, self._hz, self._core)
        self._snooping.prepare(self._ports.carrying, self.vlans)
        with self._offload.closed(snapshot):
            self._core.apply(snapshot)
            for attachment in self._ports:
                attachment.set_filter()
                attachment.set_lane(self._lane_ports)
            carrying = self._ports.carrying
            self._learning.set_ports(carrying, {port.index: port.config for port in self._ports})
            self._protection.set_ports(carrying)
            self._snooping.set_ports(carrying, self.vlans)
        self._restore()

    def rehearsed(self, stand_ins: Mapping[int, Port]) -> tuple[Snapshot, dict[int, str]]:
        """Write down what is in force for ports that stand in for those of these indexes; mirrors by serial."""
        snapshot = self._snapshot(stand_ins)
        return snapshot, self.mirrors.rehearse(snapshot, self._ports.attached, self._mirror_targets, self._hz)

    @property
    def _mirror_targets(self) -> set[str]:
        return {name for name in self._ports.attached if self._ports[name].config.mode == "mirror"}

    @property
    def _lane_ports(self) -> tuple[frozenset[int], frozenset[int]] | None:
        """UDP ports that lanes are for, and whose broadcasts; None: there are to be no lanes."""
        ports = self.bridge.heartbeat_ports
        return (set_of_ports(ports), set_of_broadcast(ports)) if self.heartbeats.lane else None

    def _snapshot(self, ports: Mapping[int, Port]) -> Snapshot:
        bridge = self.bridge
        snapshot = Snapshot(
            reserved_pass=bridge.reserved,
            static_move=bridge.static_move,
            controlled=bridge.learning == "controlled",
            age_ticks=self._learning.age_ticks,
            heartbeat_ports=set_of_ports(bridge.heartbeat_ports),
            broadcast_ports=set_of_broadcast(bridge.heartbeat_ports),
            heartbeat_rate=self.heartbeats.limit.limit,
            heartbeat_burst=max(1.0, self.heartbeats.limit.limit * HEARTBEAT_BURST),
            waiting=bridge.waiting,
            full_table=bridge.full_table,
            mac_limit=bridge.mac_limit,
            vrrp_aware=bridge.vrrp_aware,
            local_first=bridge.local_first,
            own_address=self._protection.own_address,
            instance=self._protection.instance,
        )
        for vlan in self.vlans.values():
            if vlan.mac_limit:
                snapshot.set_vlan_mac_limit(vlan.vid, vlan.mac_limit)
            if not vlan.learning:
                snapshot.set_vlan_learning(vlan.vid, False)
        for attachment in self._ports:
            if attachment.index in ports:
                attachment.add_to(snapshot, ports[attachment.index])
        if self.budgets:
            self.budgets.add_to(snapshot, self._ports.indexes, self._ports.attached, self._hz)
        return snapshot
