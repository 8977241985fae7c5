"""The site of most stories: guests a and b in VLAN 10, guest c in VLAN 20, a trunk to the outside.

    a (10) ═╗
    b (10) ═╬═ framebridge ═ eth1 ── veth ── eth0: trunk 10, 20, native 30
    c (20) ═╝

Guests are namespaces with a tap `tap0`. IPv6 is silent, so nobody sends a frame that a test did not ask for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from helpers.daemon import Daemon, link, tap
from helpers.hosts import Host, host
from helpers.net import Net, PacketSocket
from helpers.termination import end_vlan

VLANS = {"a": 10, "b": 10, "c": 20}


class Lan:
    """Namespaces by name (guests, `middle` and `outside`), the tables of the ports, the daemon."""

    def __init__(self, net: Net, start: Callable[..., Daemon]) -> None:
        self._net = net
        self.spaces = {name: net.namespace() for name in (*VLANS, "middle", "outside")}
        net.veth("eth1", "eth0", self.spaces["middle"], self.spaces["outside"])
        self.ports = {name: tap(name, self.spaces[name], access=vid) for name, vid in VLANS.items()}
        self.ports["uplink"] = link("uplink", "eth1", trunk=[10, 20], native=30)
        self.bridge = start(self.spaces["middle"], *self.ports.values())

    def wire(self, name: str) -> PacketSocket:
        """What arrives at a guest or outside, and a way to send from there."""
        return self._net.packet_socket("eth0" if name == "outside" else "tap0", self.spaces[name])

    def guest(self, name: str, number: int) -> Host:
        """Give a guest its addresses."""
        return host(self.spaces[name], "tap0", VLANS[name], number)

    def external(self, vid: int, number: int = 9) -> Host:
        """A host behind the trunk, in one VLAN."""
        outside = self.spaces["outside"]
        return host(outside, end_vlan(self._net, outside, "eth0", vid), vid, number)

    def rewrite(self, **ports: str | None) -> None:
        """Write the file of the daemon with some tables changed, added, or (None) left out."""
        tables = {**self.ports, **ports}
        self.bridge.write(*(table for table in tables.values() if table is not None))

    def shape(self) -> list[dict[str, Any]]:
        """The rows of `port show` without what traffic changes."""
        moving = {"rx_frames", "tx_frames", "drops", "rx_missed", "fdb_entries"}
        return [
            {key: value for key, value in row.items() if key not in moving}
            for row in self.bridge.ask("PortShow")
        ]
