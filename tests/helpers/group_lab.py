"""A core over memory ports with the snooping that decides for it, on a clock that a test turns.

Job: a test says which ports there are, sends frames, lets time pass, and says who got what. What the bridge itself
sends is kept apart (`asked`). The ledger is checked after every step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bridge.config.group import GroupConfig
from bridge.config.multicast import MulticastConfig
from bridge.config.port import PortConfig
from bridge.config.vlan import VlanConfig
from bridge.core._core import Bridge, Counters, MemoryPort, Snapshot
from bridge.core.values import PortRow
from bridge.fdb.known import Change
from bridge.multicast.rows import GroupRows
from bridge.multicast.snooping import EVENTS, Snooping
from helpers import frames
from helpers.clock import ManualClock

OWN = 0x02_00_00_00_FF_01


def access(name: str, vid: int = 10, **more: Any) -> PortConfig:
    return PortConfig(name, "memory", pvid=vid, **more)


def trunk(name: str, *vids: int, **more: Any) -> PortConfig:
    return PortConfig(name, "memory", mode="trunk", vids=vids, **more)


class GroupLab:
    """One bridge. Ports by name."""

    def __init__(
        self,
        *ports: PortConfig,
        vlans: Iterable[VlanConfig] = (),
        groups: Iterable[GroupConfig] = (),
        slots: int = 1024,
        **multicast: Any,
    ) -> None:
        self.clock = ManualClock()
        self.core = Bridge(secret=bytes(16))
        self.events: list[dict[str, object]] = []
        self.asked: list[tuple[str, bytes]] = []
        self.snooping = Snooping(self.core, self.clock, self._emit, OWN)
        self.rows = GroupRows(self.core, self.clock, self.snooping)
        self.ports = {port.name: port for port in ports}
        self.index = {name: number for number, name in enumerate(self.ports)}
        self.memory: dict[str, MemoryPort] = {
            name: self.core.open_memory(number, slots=slots) for name, number in self.index.items()
        }
        self.up = set(self.ports)
        self.vlans = {vlan.vid: vlan for vlan in vlans}
        for group in groups:
            self.snooping.set_group(group)
        self.configure(**{"snooping": "on", **multicast})

    def _emit(self, event: str, /, **fields: object) -> None:
        self.events.append({"event": event, **fields})

    def configure(self, **multicast: Any) -> None:
        """Put another [multicast] in force."""
        self.snooping.configure(MulticastConfig(**multicast))
        self.apply()

    def apply(self) -> None:
        """Bring ports and VLANs into force, as the engine does."""
        carrying = {self.index[name]: self.ports[name] for name in self.ports if name in self.up}
        snapshot = Snapshot(own_address=OWN)
        for name, port in self.ports.items():
            names = set(PortRow._fields) & set(PortConfig.__dataclass_fields__)
            row = {key: getattr(port, key) for key in names} | {"mtu": 1500, "up": name in self.up}
            snapshot.add_port(self.memory[name], PortRow(**row))
        self.snooping.prepare(carrying, self.vlans)
        self.core.apply(snapshot)
        self.snooping.set_ports(carrying, self.vlans)
        self.settle()

    def change(self, name: str, port: PortConfig) -> None:
        self.ports[name] = port
        self.apply()

    def carrier(self, name: str, up: bool) -> None:
        self.up = self.up | {name} if up else self.up - {name}
        self.apply()

    # -- traffic

    def send(self, name: str, *sent: bytes) -> dict[str, list[bytes]]:
        """Send frames to a port; what came out because of them, by port."""
        self.memory[name].inject([*sent])
        return self.settle()

    def reached(self, name: str, *sent: bytes) -> str:
        """Send frames to a port, and name the ports that something came out of: `b t`."""
        return " ".join(sorted(self.send(name, *sent)))

    def settle(self) -> dict[str, list[bytes]]:
        """Let the bridge work until nothing waits; events are handled."""
        while self.core.turn():
            pass
        for event in self.core.events()[0]:
            if event.kind in EVENTS:
                self.snooping.handle(event)
            elif event.kind == "moved":
                self.snooping.fdb_changed(
                    Change("moved", event.vid, event.mac, event.port, "dynamic", event.old_port)
                )
            elif event.kind == "backup_ignored":
                self.snooping.backup_spoke(event)
        self.check()
        sent: dict[str, list[bytes]] = {}
        for name, port in self.memory.items():
            for frame in port.drain():
                if frames.number(frame.data[6:12]) == OWN:
                    self.asked.append((name, frame.data))
                else:
                    sent.setdefault(name, []).append(frame.data)
        return sent

    def check(self) -> None:
        """R12."""
        counters = self.core.counters()
        for one in counters.ports.values():
            values = one.values
            assert values["rx_frames"] + values["copies"] == values["forwarded"] + sum(one.rx_drops.values())
            assert values["offered"] == values["tx_frames"] + sum(one.tx_drops.values())
        for total in (
            sum(one.values["forwarded"] + one.values["originated"] for one in counters.ports.values()),
        ):
            assert total == sum(one.values["offered"] for one in counters.ports.values())

    def wait(self, seconds: float) -> None:
        """Let time pass, a second at a time."""
        while seconds > 0:
            step = min(1.0, seconds)
            seconds -= step
            self.clock.advance(step)
            self.core.tick = int(self.clock.now())
            self.core.renew_hints()
            self.snooping.tick()
            self.settle()

    # -- looks

    def counters(self) -> Counters:
        return self.core.counters()

    def count(self, name: str, counter: str) -> int:
        return self.core.counters().ports[self.index[name]].values[counter]

    def drops(self, name: str) -> Mapping[str, int]:
        return self.core.counters().ports[self.index[name]].rx_drops

    def members(self, state: str = "member") -> dict[str, set[str]]:
        """Ports by group."""
        found: dict[str, set[str]] = {}
        for row in self.rows.show():
            if row["state"] == state:
                found.setdefault(row["group"], set()).add(row["port"])
        return found

    def state(self, vid: int = 10, family: int = 4) -> str:
        return self.snooping.vlans[vid, family].state

    def told(self, event: str) -> list[dict[str, object]]:
        return [row for row in self.events if row["event"] == event]
