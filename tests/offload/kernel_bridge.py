"""A core whose ports are open to the kernel, without an engine: links and taps of one namespace, programs attached.

Job: what tests of the programs need: ports by name, what came of each frame, and every counter of the kernel's side.
The data thread runs only in `turn`, so a test decides what userspace knows by when.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from helpers.net import Namespace, Net, Wire, wait_until

from bridge.core._core import OFFLOAD_PASSES, Bridge, Port, Snapshot
from bridge.core.values import PortRow
from bridge.offload.counts import Counts
from bridge.offload.libbpf import OffloadError
from bridge.offload.program import PortProgram, Programs

PASSES = [name for name, _ in OFFLOAD_PASSES]


@dataclass
class KernelPort:
    """One port: how it is configured, its programs, and where a test sends and receives."""

    index: int
    device: str
    port: Port
    program: PortProgram
    ifindex: int
    wire: Wire
    options: dict[str, Any]
    mtu: int = 1500
    opening: dict[str, Any] = field(default_factory=dict)

    @property
    def members(self) -> tuple[int, ...]:
        return tuple(set(self.options.get("vids", ())) | ({self.options.get("pvid", 0)} - {0}))


class KernelBridge:
    """`wire(name)` is the far side of a port."""

    def __init__(self, net: Net, *, capacity: int = 4096, secret: bytes = bytes(range(16))) -> None:
        self._net = net
        self.space = net.namespace()
        self.core = Bridge(fdb_capacity=capacity, secret=secret)
        try:
            self.programs = Programs(self.core)
        except OffloadError as error:
            pytest.skip(str(error))
        self.counts = Counts(self.programs)
        self.ports: dict[str, KernelPort] = {}
        self.outside: dict[str, Namespace] = {}

    def link(self, name: str, **options: Any) -> KernelPort:
        outside = self._net.namespace()
        self._net.veth(name, "far", self.space, outside)
        self.outside[name] = outside
        index = len(self.ports)
        port = self.space.run(self.core.open_link, index, name)
        return self._add(name, port, "link", self._net.packet_socket("far", outside, vnet=True), options)

    def tap(self, name: str, **options: Any) -> KernelPort:
        index = len(self.ports)
        port = self.space.run(self.core.open_tap, index, name)
        self.space.set_link(name, state="up")
        return self._add(name, port, "tap", self._net.packet_socket(name, self.space, vnet=True), options)

    def _add(self, name: str, port: Port, kind: str, wire: Wire, options: dict[str, Any]) -> KernelPort:
        row = self.space.link(name)
        assert row is not None
        program = self.programs.load(port.index, "queue" if kind == "tap" else "socket")
        self.space.run(program.attach, row["index"])
        if kind == "link":
            program.filter(port.fd)
        added = KernelPort(port.index, name, port, program, row["index"], wire, options)
        added.opening = {"delivery": "ingress" if kind == "tap" else "egress"}
        self.ports[name] = added
        self.counts.watch_port(port.index)
        return added

    def apply(self) -> None:
        """Tell the data plane, then open every port to the kernel."""
        snapshot = Snapshot()
        for one in self.ports.values():
            snapshot.add_port(one.port, PortRow(mtu=one.mtu, **one.options))
        self.core.apply(snapshot)
        for vid in {vid for one in self.ports.values() for vid in one.members}:
            carriers = [one.index for one in self.ports.values() if vid in one.members]
            self.programs.shared.set_vlan(vid, carriers, True)
        self.programs.shared.set_heartbeat((5404, 5405))
        for one in self.ports.values():
            self.open(one, snapshot)

    def open(self, one: KernelPort, snapshot: Snapshot, **changes: Any) -> None:
        pvid = one.options.get("pvid", 0)
        opening: dict[str, Any] = {
            "takes": True,
            "gives": True,
            "trunk": one.options["mode"] == "trunk",
            "filters": False,
            "ifindex": one.ifindex,
            "mtu": one.mtu,
            "pvid": pvid,
            "bare": 0 if one.options.get("native_tagged") else pvid,
            "tpid": one.options.get("tpid", 0x8100),
            "default_pcp": one.options.get("default_pcp", 0),
            "reaches": [
                other.index for other in self.ports.values() if snapshot.reaches(one.index, other.index)
            ],
        }
        self.programs.shared.open_port(one.index, **{**opening, **one.opening, **changes})

    def wire(self, name: str) -> Wire:
        return self.ports[name].wire

    def turn(self) -> None:
        """Let userspace do all it has to do, until it says that it is done with what was left to it."""

        def is_done() -> bool:
            self.core.turn(4)
            passed, acked = self.programs.shared.handed_over
            return passed == acked

        wait_until(is_done, "userspace is done with everything")

    def passes(self) -> dict[str, int]:
        """Frames left to userspace, by reason, of all ports."""
        self.counts.read()
        total: dict[str, int] = {}
        for by_reason in self.counts.passes.values():
            for reason, n in by_reason.items():
                total[reason] = total.get(reason, 0) + n
        return total

    def forwarded(self) -> int:
        """Frames the kernel forwarded so far."""
        self.counts.read()
        return sum(amount.frames for amount in self.counts.rows.values())

    def close(self) -> None:
        self.core.apply(Snapshot())
        for one in self.ports.values():
            self.core.close_port(one.port)
            self.space.run(one.program.detach, None)
            one.program.close()
        self.programs.close(self.core)


@contextlib.contextmanager
def kernel_bridge(net: Net, **options: Any) -> Iterator[KernelBridge]:
    bridge = KernelBridge(net, **options)
    try:
        yield bridge
    finally:
        bridge.close()


def introduce(bridge: KernelBridge, stations: Sequence[tuple[str, bytes]]) -> None:
    """Have stations of ports learned: each sends a frame of its own to nobody."""
    for name, frame in stations:
        bridge.wire(name).send(frame)
    bridge.turn()
