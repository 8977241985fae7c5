"""What the data plane has been told, and the way it is told: whole, at a batch boundary, never in part.

Job: write down the berths and what is in force beside them (bridge, VLANs, budgets, mirrors) as a snapshot, apply it,
and then tell `Learning` and `Protection` which ports carry traffic, and the world what happened. Thread: control.

Theory of operation. Whoever changes something says so by `refresh`; `commit` tells all of it at once, if there is
any: a change of many ports and VLANs is one snapshot. Events of ports wait until the data plane knows. Ports leave
(`detach`) in two snapshots, however many they are: in the first they are down, so nothing is sent by them any more; the
second does not name them, what still waits in their queues ends, and their counters are final.

Refuses: nothing of its own; what the data plane refuses (OSError) leaves the snapshot of before in force.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence

from bridge.account.budgets import Budgets
from bridge.account.ledger import Ledger
from bridge.account.meter import Meter
from bridge.account.storm_budgets import storm_budgets
from bridge.config.bridge import BridgeConfig
from bridge.config.port import PortConfig
from bridge.config.vlan import VlanConfig
from bridge.core._core import Bridge, Snapshot
from bridge.events import Emit
from bridge.fdb.learning import Learning
from bridge.mirror.mirrors import Mirrors
from bridge.ports.attachment import Berth
from bridge.ports.table import Berths
from bridge.protect.protection import Protection

log = logging.getLogger(__package__)

NOMINAL_HZ = 1e9  # cycles per second where they cannot be told


class Plane:
    """The data plane of one bridge; `restore` is called whenever ports may have begun to carry traffic."""

    def __init__(
        self,
        core: Bridge,
        bridge: BridgeConfig,
        berths: Berths,
        *,
        emit: Emit,
        learning: Learning,
        protection: Protection,
        mirrors: Mirrors,
        ledger: Ledger,
        cost: Meter,
        restore: Callable[[], object],
    ) -> None:
        self.bridge = bridge
        self.vlans: dict[int, VlanConfig] = {}
        self.budgets = Budgets()
        self.mirrors = mirrors
        self._core = core
        self._berths = berths
        self._emit = emit
        self._learning = learning
        self._protection = protection
        self._ledger = ledger
        self._cost = cost
        self._restore = restore
        self._is_due = False  # the data plane does not know everything yet
        self._news: list[tuple[str, str]] = []  # events with their ports, to be told when it does

    @property
    def _hz(self) -> float:
        return self._cost.hz or NOMINAL_HZ

    async def limit_storms(self, port: PortConfig) -> None:
        """Put the storm control of a port in force."""
        if port.storm_control.limits:
            await self._cost.calibrate()
        self.budgets.limit_storms(port.name, storm_budgets(port.name, port.storm_control, self._hz))

    # -- telling

    def refresh(self, event: str = "", port: str = "") -> None:
        """Note that the data plane is to be told of a change, and the world of an event when that is done."""
        self._is_due = True
        if event:
            self._news.append((event, port))

    def commit(self) -> None:
        """Bring the data plane, the FDB and the world up to date with the berths, if there is anything new."""
        if not self._is_due:
            return
        self._write()
        self._is_due = False
        for berth in self._berths:
            self.tell_state(berth)
        news, self._news = self._news, []
        for event, port in news:
            state = {"state": self._berths[port].state} if event == "port-added" else {}
            self._emit(event, port=port, **state)

    def tell_state(self, berth: Berth) -> None:
        """Tell the state of a port if it is another than was told."""
        state = berth.state
        if state == berth.state_told:
            return
        berth.state_told = state
        if state == "blocked":
            return  # told with its reason
        level = logging.INFO if state == "up" else logging.WARNING
        log.log(level, "port %s is %s", berth.config.name, state)
        self._emit(f"port-{state}", port=berth.config.name)

    def tell_removed(self, names: Collection[str]) -> None:
        """Tell that ports are gone, but not of those nobody heard that they came."""
        untold = {port for event, port in self._news if event == "port-added"}
        self._news = [news for news in self._news if news[1] not in names]
        for name in names:
            if name not in untold:
                self._emit("port-removed", port=name)

    # -- snapshots

    def detach(self, berths: Sequence[Berth]) -> None:
        """Take ports out of the data plane and close their devices; entries vanish, counters stay."""
        leaving = [berth for berth in berths if berth.port is not None]
        if not leaving:
            return
        for berth in leaving:
            berth.ready = False
        self._write()
        ports = {berth.config.name: berth.port for berth in leaving if berth.port is not None}
        for berth in leaving:
            berth.port, berth.broken = None, False
        self._write()
        self._ledger.carry(ports)
        self._cost.carry({berth.index: berth.config.name for berth in leaving})
        for berth in leaving:
            berth.dropped = None
        for port in ports.values():
            self._core.close_port(port)

    def _write(self) -> None:
        """Apply a snapshot of the berths as they are."""
        for berth in self._berths:
            berth.blocked = self._protection.blocks.reason(berth.config.name)
            berth.lift_filter()
        self._core.apply(self._snapshot())
        for berth in self._berths:
            berth.set_filter()
        carrying = self._berths.carrying
        self._learning.set_ports(carrying)
        self._protection.set_ports(carrying)
        self._restore()

    def _snapshot(self) -> Snapshot:
        bridge = self.bridge
        snapshot = Snapshot(
            reserved_pass=bridge.reserved,
            static_move=bridge.static_move,
            controlled=bridge.learning == "controlled",
            age_ticks=self._learning.age_ticks,
            heartbeat_ports=bridge.heartbeat_ports,
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
        for berth in self._berths:
            berth.add_to(snapshot)
        attached = self._berths.attached
        if self.budgets:
            self.budgets.add_to(snapshot, self._berths.indexes, attached, self._hz)
        if self.mirrors:
            targets = {name for name in attached if self._berths[name].config.mode == "mirror"}
            self.mirrors.add_to(snapshot, attached, targets, self._hz, self._core)
        return snapshot
