"""An Engine without a data plane: the same interface and rules as bridge.engine, rows from memory.

For tests of what sits on top of it. A port on device "absent0" cannot be opened; all else works at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, Unpack

from bridge.audit.rules import Finding
from bridge.config.actions import Action
from bridge.config.group_address import Group
from bridge.config.plan import plan
from bridge.config.port import PortConfig
from bridge.config.vids import format_vids
from bridge.config.whole import Config
from bridge.engine.rehearsal import Outcome, Step
from bridge.errors import ApplyError, FramebridgeError, PortError
from bridge.events import Events, Subscription
from bridge.fdb.rows import Filters
from bridge.mac import format_mac
from bridge.protect import security as guards
from helpers.clock import ManualClock
from helpers.fake_bill import FakeMeter

Row = dict[str, Any]

QUEUE_CAP = 100
REASONS = {"runt": "fewer than 14 bytes", "bad_vid": "VID 4095"}

AGE = 20  # seconds

Table = dict[tuple[int, int], tuple[str, str]]


def fitting(fdb: Table, port: str | None, vlan: int | None, more: Filters) -> list[tuple[int, int]]:
    """Keys of entries that fit; all are AGE seconds old."""
    mac, state, older = more.get("mac"), more.get("state"), more.get("older")
    return [
        key
        for key, (place, kind) in sorted(fdb.items())
        if port in (None, place) and vlan in (None, key[0]) and mac in (None, key[1])
        if state in (None, kind) and (older is None or older <= AGE)
    ]


class FakeOffload:
    """See bridge.offload.offload."""

    state = "off"


class FakeMember:
    """See bridge.ha.member: in a pair, and forwarding until it is held or hands over."""

    def __init__(self, calls: list[str]) -> None:
        self.state = "active"
        self._calls = calls

    def rows(self) -> list[Row]:
        return [{"member": format_mac(FakeEngine.own_address), "who": "self", "state": self.state}]

    async def switch(self) -> None:
        self._calls.append("pair switch")
        if self.state != "active":
            raise FramebridgeError("this member does not forward")
        self.state = "standby"

    def hold(self, held: bool) -> None:
        self._calls.append(f"pair hold {held}")
        self.state = "ineligible" if held else "standby"

    async def announce(self, vid: int | None = None) -> int:
        self._calls.append(f"announce {vid}")
        return 7


class FakeEngine:
    def __init__(self, config: Config) -> None:
        self.config = Config()
        self.status = FakeStatus(self)
        self._first = config
        self.progress = 0
        self.is_stuck = False
        self.faults: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.events = Events(QUEUE_CAP)
        self.fdb: Table = {}
        self.calls: list[str] = []
        self.member = FakeMember(self.calls)
        clock = ManualClock()
        self.cost = FakeMeter(clock)
        self.cost.core.spend(mac=0x020000000001, stage="rx", direct=900, frames=3, segments=6, bytes=180)
        clock.advance(1)

    async def start(self, *, strict: bool = False) -> None:
        self.calls.append("start")
        await self.apply(self._first, old=None)

    async def stop(self) -> None:
        self.calls.append("stop")
        self.events.close()

    async def apply(self, new: Config, **old: None) -> tuple[Action, ...]:
        actions = plan(old.get("old", self.config), new)
        for port in new.ports:
            if port.device == "absent0":
                cause = PortError(port.name, "no device absent0; create it first")
                raise cause if old else ApplyError(f"nothing was changed: {cause}") from cause
        await asyncio.sleep(0)  # a real engine waits here, and others run
        self.config = new
        names = {port.name for port in new.ports}
        self.fdb = {key: value for key, value in self.fdb.items() if value[0] in names | {""}}
        if actions:
            self.events.emit("reload", actions=len(actions))
        return actions

    async def attach_missing(self) -> list[tuple[str, str]]:
        return []

    def wake(self) -> None:
        self.progress += not self.is_stuck

    def subscribe(self) -> Subscription:
        return self.events.subscribe()

    async def audit(self, config: Config) -> list[Finding]:
        return [
            Finding(port.name, "error", "lro", "it merges", "do not")
            for port in config.ports
            if port.kind == "link"
        ]

    async def rehearse(self, port: str, frame: bytes) -> Outcome:
        step = Step("admit", port, "admitted", f"{len(frame)} bytes in VLAN 10", key=f"port[{port}].vlan")
        return Outcome([step], "broadcast", 2)

    own_address = 0x020000000099
    thread_number = None
    offload = FakeOffload()

    def unblock(self, port: str) -> bool:
        self.calls.append(f"unblock {port}")
        return port == "guests"

    async def fdb_add(self, vlan: int, mac: int, port: str, kind: str) -> None:
        self.fdb[vlan, mac] = (port, kind)

    async def fdb_delete(self, vlan: int, mac: int) -> bool:
        return self.fdb.pop((vlan, mac), None) is not None

    async def fdb_flush(
        self, port: str | None = None, vlan: int | None = None, **more: Unpack[Filters]
    ) -> int:
        victims = fitting(self.fdb, port, vlan, more)
        for key in victims:
            del self.fdb[key]
        return len(victims)

    def mdb_flush(self, port: str | None, vlan: int | None, group: Group | None) -> int:
        return 3


class FakeStatus:
    """What it answers; see bridge.engine.status."""

    def __init__(self, engine: FakeEngine) -> None:
        self._engine = engine

    def _ports(self, name: str | None) -> list[PortConfig]:
        return [port for port in self._engine.config.ports if name in (None, port.name)]

    def ports(self, name: str | None = None) -> list[Row]:
        return [
            {
                "port": port.name,
                "index": index,
                "kind": port.kind,
                "device": port.device,
                "netns": port.netns,
                "state": "up" if port.admin_up else "down",
                "reason": None,
                "mode": port.mode,
                "vlan": format_vids(port.vids) if port.mode == "trunk" else port.pvid,
                "native": port.pvid if port.mode == "trunk" and port.pvid else None,
                "tpid": f"{port.tpid:#06x}",
                "mtu": port.mtu or 1500,
                "filter": None,
                "fdb_entries": sum(place == port.name for place, _ in self._engine.fdb.values()),
                "rx_frames": 0,
                "tx_frames": 0,
                "drops": 0,
            }
            for index, port in enumerate(self._ports(name))
        ]

    def guards(self, name: str | None = None) -> list[Row]:
        return [guards.row(port, {}) for port in self._ports(name) if guards.has_row(port)]

    def vlans(self) -> list[Row]:
        vids = sorted({vid for port in self._engine.config.ports for vid in port.members})
        return [
            {
                "vlan": vid,
                "name": "",
                "tagged": [p.name for p in self._engine.config.ports if vid in p.members and vid != p.pvid],
                "untagged": [p.name for p in self._engine.config.ports if vid == p.pvid],
                "fdb_entries": sum(key[0] == vid for key in self._engine.fdb),
                "mac_limit": 0,
                "learning": True,
            }
            for vid in vids
        ]

    def fdb_stream(
        self, port: str | None = None, vlan: int | None = None, **more: Unpack[Filters]
    ) -> Iterator[Row]:
        for vid, mac in fitting(self._engine.fdb, port, vlan, more):
            place, kind = self._engine.fdb[vid, mac]
            yield {"mac": format_mac(mac), "vlan": vid, "port": place or None, "state": kind, "age": None}

    def stats(self, name: str | None = None, drops: bool = False) -> list[Row]:
        rows: list[Row] = [{"port": port.name, "rx_frames": 7, "tx_frames": 5} for port in self._ports(name)]
        total: list[Row] = [] if name else [{"port": "total", "rx_frames": 7 * len(rows), "balance": 0}]
        return [*rows, *total, *(self.drops(all=True) if drops else [])]

    def storms(self, port: str | None = None) -> list[Row]:
        return [
            {"port": p.name, "flood": flood, "unit": limit.unit, "per_second": limit.limit, "state": "within"}
            for p in self._ports(port)
            for flood, limit in p.storm_control.limits.items()
        ]

    def budgets(self) -> list[Row]:
        return [{"budget": "storm", "unit": "frames", "state": "over", "spent": 10, "dropped": 5}]

    def offload(self, name: str | None = None) -> list[Row]:
        return [{"port": port, "state": "off"} for port in self._names(name)]

    def offload_left(self, name: str | None = None) -> list[Row]:
        return [{"port": port, "reason": "group", "frames": 1} for port in self._names(name)]

    def offload_check(self, name: str | None = None) -> list[Row]:
        return [{"port": port, "frames": "sent", "reason": "it only receives"} for port in self._names(name)]

    def _names(self, name: str | None) -> list[str]:
        return [port.name for port in self._engine.config.ports if name in (None, port.name)]

    def groups(
        self,
        port: str | None = None,
        vlan: int | None = None,
        group: Group | None = None,
        kind: str | None = None,
    ) -> list[Row]:
        member = {"vlan": vlan or 10, "group": str(group or "239.1.1.1"), "port": port or "guests"}
        return [{**member, "state": "member" if kind != "static" else "static"}]

    def queriers(self, vlan: int | None = None) -> list[Row]:
        return [{"vlan": vlan or 10, "family": 4, "snooping": "on", "state": "quiet"}]

    def saved(self) -> list[Row]:
        return [
            {"measure": "snooping", "mode": "on", "vlan": 10, "copies": 7, "text": "spares VLAN 10 7 copies"}
        ]

    def mirrors(self) -> list[Row]:
        return [{"mirror": mirror.name, "state": "mirroring"} for mirror in self._engine.config.mirrors]

    def drops(self, all: bool = False) -> list[Row]:  # noqa: A002
        return [
            {"port": port.name, "direction": "rx", "reason": reason, "frames": 0, "meaning": meaning}
            for port in self._engine.config.ports
            for reason, meaning in REASONS.items()
            if all
        ]
