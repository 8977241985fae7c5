"""Any order: devices, namespaces and the bridge appear, vanish and return, and in the end every frame crosses.

The world is a guest on a tap, a guest behind a device that somebody else makes (both in namespaces of their own), and a
NIC with what is behind it. Each step makes one of them appear or vanish; the bridge starts somewhere in between.
Whatever is missing meanwhile, the others forward; when all is there, everything is up without a command.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from helpers import frames
from helpers.aio import QuickClock, until
from helpers.net import Namespace, Net, PacketSocket, make_name
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyroute2 import netns as kernel_netns

from bridge.config.port import PortConfig
from bridge.config.whole import Config
from bridge.devices.devices import Devices
from bridge.engine.engine import Engine

pytestmark = pytest.mark.root

VID = 10
PORTS = ("tap", "guest", "nic")


class World:
    """What a bridge in namespace `here` depends on; each part is there or not."""

    def __init__(self, net: Net) -> None:
        self.here = net.namespace()
        self.spaces = {name: Namespace(make_name()) for name in ("tap", "guest")}
        for space in self.spaces.values():
            net.callback(space.remove)
        self.there = dict.fromkeys(PORTS, False)

    def toggle(self, part: str) -> None:
        """Make a part appear or vanish."""
        make, remove = {
            "tap": (self._make_space, self._remove_space),
            "guest": (self._make_guest, self._remove_space),
            "nic": (self._make_nic, self._remove_nic),
        }[part]
        is_there = self.there[part]
        (remove if is_there else make)(part)
        self.there[part] = not is_there

    def complete(self) -> None:
        """Make everything appear that is missing."""
        for part in PORTS:
            if not self.there[part]:
                self.toggle(part)

    def _make_space(self, part: str) -> None:
        kernel_netns.create(str(self.spaces[part].name))

    def _remove_space(self, part: str) -> None:
        self.spaces[part].remove()

    def _make_guest(self, part: str) -> None:
        self._make_space(part)
        self._add_pair(self.spaces[part], "eth0", "peer")

    def _make_nic(self, _: str) -> None:
        self._add_pair(self.here, "eth1", "wire")

    def _remove_nic(self, _: str) -> None:
        self.here.delete_link("eth1")

    @staticmethod
    def _add_pair(space: Namespace, one: str, other: str) -> None:
        space.netlink(lambda ipr: ipr.link("add", ifname=one, kind="veth", peer={"ifname": other}))
        for device in (one, other):
            space.set_link(device, state="up")

    @property
    def ports(self) -> tuple[PortConfig, ...]:
        places = {
            "tap": ("tap", "tap0", self.spaces["tap"]),
            "guest": ("link", "eth0", self.spaces["guest"]),
            "nic": ("link", "eth1", self.here),
        }
        return tuple(
            PortConfig(name, kind, device=device, netns=space.name, pvid=VID)
            for name, (kind, device, space) in sorted(places.items())
        )

    def wires(self, net: Net) -> dict[str, PacketSocket]:
        """Packet sockets at the far end of each port."""
        places = {
            "tap": ("tap0", self.spaces["tap"]),
            "guest": ("peer", self.spaces["guest"]),
            "nic": ("wire", self.here),
        }
        for device, space in places.values():
            space.wait_carrier(device)
        return {name: net.packet_socket(device, space) for name, (device, space) in places.items()}


steps = st.lists(st.sampled_from(PORTS), max_size=6)


@given(before=steps, after=steps)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_order_ends_with_every_port_up(before: list[str], after: list[str]) -> None:
    with Net() as net:
        asyncio.run(_live(net, before, after))


async def _live(net: Net, before: list[str], after: list[str]) -> None:
    world = World(net)
    for part in before:
        world.toggle(part)
    engine = Engine(Config(ports=world.ports), devices=Devices(interval=0.02), clock=QuickClock())
    await engine.start()
    try:
        await _settle(engine, world)
        for part in after:
            world.toggle(part)
            await _settle(engine, world)
        world.complete()
        await _settle(engine, world)
        await _check_crossing(engine, await asyncio.to_thread(world.wires, net))
        assert engine.status.stats()[-1]["balance"] == 0
    finally:
        await engine.stop()


async def _settle(engine: Engine, world: World) -> None:
    """Each port is up whose device is there, and no other: by itself, whatever the others do."""

    def states() -> dict[str, bool]:
        return {str(row["port"]): row["state"] == "up" for row in engine.status.ports()}

    await until(lambda: states() == world.there, f"ports up as there: {world.there}")


async def _check_crossing(engine: Engine, wires: dict[str, PacketSocket]) -> None:
    """A broadcast from each port arrives at all others."""
    for number, (name, wire) in enumerate(wires.items()):
        data = frames.ethernet(frames.BROADCAST, frames.host(number + 1))
        wire.send(data)
        for other in wires.keys() - {name}:
            await until(_arrives(wires[other], data), f"the frame of {name} at {other}")


def _arrives(wire: PacketSocket, data: bytes) -> Callable[[], bool]:
    return lambda: any(frame.data == data for frame in wire.waiting())
