"""The kernel's network devices: find, make, change, remove and watch them, in any network namespace.

Job: the one door to rtnetlink (pyroute2), so that the engine sees devices as values and failures as sentences. What is
asked is in netlink.py, where and how devices are watched in namespaces.py. Owner: the engine's asyncio loop;
every method is called there.

Refuses: a device of the wrong kind, and every failed request, as `DeviceError` with the way out.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Collection
from typing import TypeVar

from pyroute2.netlink.exceptions import NetlinkError

from bridge.devices import netlink
from bridge.devices.claim import claim_link
from bridge.devices.device import Created, Device, DeviceError, explain
from bridge.devices.inspection import DeviceInfo
from bridge.devices.namespaces import Namespace, Watcher, open_namespace
from bridge.devices.netlink import Pair
from bridge.mac import format_mac

T = TypeVar("T")


class Devices:
    """Devices in namespaces; a namespace is in use from its first mention until `keep` drops it."""

    def __init__(self, *, interval: float = 0.5, rcvbuf: int = 1 << 20) -> None:
        """`interval`: seconds between looks whether a namespace is there; `rcvbuf`: of watching sockets."""
        self._interval = interval
        self._rcvbuf = rcvbuf
        self._namespaces: dict[str | None, Namespace] = {}
        self._entering = asyncio.Lock()
        self._watchers: list[Watcher] = []

    async def open(self) -> None:
        """Start with this process's own namespace."""
        await self._use(None)

    async def close(self) -> None:
        """Let go of all namespaces; idempotent."""
        await self.keep(())

    async def keep(self, namespaces: Collection[str | None]) -> None:
        """Let go of every namespace that is not named."""
        for netns in [netns for netns in self._namespaces if netns not in namespaces]:
            await self._namespaces.pop(netns).close()

    def watch(self, callback: Watcher) -> None:
        """Call `callback` for every link that comes, changes (its name, too) or goes."""
        self._watchers.append(callback)

    async def run_in(self, netns: str | None, function: Callable[..., T], *args: object) -> T:
        """Call `function` in the thread of a namespace; its exceptions pass unchanged."""
        return await (await self._use(netns)).run(function, *args)

    def tx_dropped(self, netns: str | None) -> dict[str, int]:
        """Give how many frames each device of a namespace in use did not take, by name; waits for nobody."""
        return namespace.tx_dropped() if (namespace := self._namespaces.get(netns)) else {}

    async def get(self, device: str, netns: str | None = None) -> Device | None:
        """Look a device up; None: there is none. A namespace that is missing is an error."""
        return await self._request(device, netns, "look it up", netlink.get, device)

    async def get_index(self, index: int, netns: str | None = None) -> Device | None:
        """Look the device of an index up; None: there is none. A namespace that is missing is an error."""
        return await self._request(f"{index}", netns, "look it up", netlink.get, index)

    async def identify(self, netns: str | None) -> tuple[int, int] | None:
        """Tell which namespace a name means: device number and inode; raises DeviceError."""
        return (await self._use(netns)).identity

    async def claim_link(self, device: Device, netns: str | None) -> socket.socket | None:
        """Claim a link for this process until what is returned is closed."""
        return await self._request(device.name, netns, "claim it", claim_link, device.index)

    async def inspect(self, device: str | int, netns: str | None = None) -> DeviceInfo | None:
        """Look at everything about a device that the audit judges; None: there is none."""
        return await self._request(f"{device}", netns, "look at it", netlink.inspect, device)

    async def check_tap(self, device: str, netns: str | None = None) -> None:
        """Refuse what `ensure_tap` would: a device that is there and no tap."""
        await self._request(device, netns, "use it", netlink.check_tap, device)

    async def check_link(self, device: str, netns: str | None = None) -> None:
        """Refuse what `ensure_link` would: a device that is missing and cannot be made."""
        await self._request(device, netns, "use it", netlink.check_link, device)

    async def ensure_tap(
        self,
        device: str,
        netns: str | None = None,
        mtu: int | None = None,
        *,
        mac: int | None = None,
        create: bool = True,
    ) -> Created:
        """Have a tap of this name, up, with this MTU; one that is made gets this address.

        One made here is persistent: see `set_persist`.
        """
        action = "set the tap up"
        return await self._request(device, netns, action, netlink.ensure_tap, device, mtu, mac, create)

    async def check_pair(self, device: str, netns: str | None = None) -> None:
        """Refuse a namespace that is missing, where the guest's end of a pair is to be."""
        await self._use(netns)

    async def ensure_pair(self, pair: Pair, netns: str | None, *, create: bool = True) -> Created:
        """Have a veth pair: our end here, the guest's in its namespace; both up. Gives our end."""
        if not create:
            found = await self.get(pair.ours)
            if found is None:
                raise explain(OSError(errno.ENODEV, ""), pair.ours, None, "use it")
            return Created(found, False)
        namespace = await self.run_in(netns, open_namespace)
        try:
            created = await self._request(
                pair.ours, None, "make the pair", netlink.ensure_pair, pair, namespace
            )
        finally:
            os.close(namespace)
        try:
            await self._request(pair.guest, netns, "set it up", netlink.change, pair.guest, {"state": "up"})
        except BaseException:
            if created.made:
                await self.delete(pair.ours, None, created.link.index)
            raise
        return created

    async def set_mac(self, device: str, netns: str | None, mac: int) -> None:
        """Change the address of a device."""
        changes: dict[str, object] = {"address": format_mac(mac)}
        await self._request(
            device, netns, f"give it the address {format_mac(mac)}", netlink.change, device, changes
        )

    async def ensure_link(self, device: str, netns: str | None = None, *, create: bool = True) -> Created:
        """Have a device of this name; a missing `eth1.100` is made: a VLAN interface of `eth1`, up."""
        return await self._request(device, netns, "use it", netlink.ensure_link, device, create)

    async def set_up(self, device: str, netns: str | None = None, *, up: bool = True) -> None:
        """Switch a device on or off."""
        state = "up" if up else "down"
        await self._request(device, netns, f"set it {state}", netlink.change, device, {"state": state})

    async def set_mtu(self, device: str, netns: str | None, mtu: int) -> None:
        """Change the MTU of a device."""
        await self._request(device, netns, f"set mtu {mtu}", netlink.change, device, {"mtu": mtu})

    async def delete(self, device: str, netns: str | None = None, index: int | None = None) -> bool:
        """Remove a device; False if there is none, or none with this index."""
        return await self._request(device, netns, "remove it", netlink.delete, device, index)

    async def _request(
        self, device: str, netns: str | None, action: str, function: Callable[..., T], *args: object
    ) -> T:
        try:
            return await self.run_in(netns, function, *args)
        except netlink.UnusableError as error:
            raise DeviceError(device, netns, str(error)) from error
        except (OSError, NetlinkError) as error:
            raise explain(error, device, netns, action) from error

    async def _use(self, netns: str | None) -> Namespace:
        async with self._entering:
            if (found := self._namespaces.get(netns)) is None:
                found = Namespace(netns, self._tell, self._interval, self._rcvbuf)
                try:
                    await found.open()
                except BaseException:
                    await found.close()
                    raise
                self._namespaces[netns] = found
            return found

    def _tell(self, netns: str | None, link: Device, present: bool) -> None:
        for watcher in self._watchers:
            watcher(netns, link, present)
