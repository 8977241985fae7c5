"""How a port of each kind gets its device: checked before anything is closed for it, opened, made if it may be.

One row a kind in OPENERS; what a kind can do besides is a row of config/kinds.py. Thread: control; devices are opened
in the thread of their namespace (`Devices.run_in`). Invariant: an attempt that fails leaves no device and no descriptor
behind. Refuses, as PortError, or MissingError if the device is not there: whatever `Devices` or the data plane
refuses, with their way out.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple, TypeVar

from bridge.config.port import PortConfig
from bridge.core._core import Bridge, Port
from bridge.devices import stray
from bridge.devices.counters import Odometer, tx_dropped_here
from bridge.devices.device import DeviceError, explain
from bridge.devices.devices import Devices
from bridge.devices.netlink import Pair, set_persist
from bridge.errors import MissingError, PortError
from bridge.ports import vlan_filter
from bridge.ports.attachment import Attachment, Offered

T = TypeVar("T")

TAP_MTU = 1500  # of a tap that was just made; drivers/net/tun.c:tun_net_initialize


class Opener(NamedTuple):
    """How a port of one kind is opened; `create`: a device that is missing may be made."""

    open: Callable[[Attachment, Bridge, Devices, bool], Awaitable[None]]
    check: Callable[[Devices, str, str | None], Awaitable[None]]  # refuses what `open` would, as DeviceError


Holder = Callable[[tuple[tuple[int, int], int]], str | None]  # the port that is attached to a device


async def attach(
    attachment: Attachment, core: Bridge, devices: Devices, holder: Holder, *, create: bool
) -> None:
    """Open the device of a port, which is made if that is needed and `create` allows it; raises PortError."""
    config = attachment.config
    try:
        if attachment.offered is not None:
            await _adopt(attachment, core, devices, attachment.offered)
        else:
            if config.can.has_device:
                await _refuse_shared(attachment, devices, holder)
            await OPENERS[config.kind].open(attachment, core, devices, create)
    except DeviceError as error:
        raise _port_error(config, error) from error
    if config.can.has_device:
        attachment.device = await attachment.find(devices)
    attachment.filter = attachment.filter_refused = None
    attachment.judged = attachment.has_lane = False
    attachment.judge = attachment.lane = attachment.lane_ports = None
    attachment.ready = True


async def _adopt(attachment: Attachment, core: Bridge, devices: Devices, offered: Offered) -> None:
    """Take a port over from another process, which goes on with it until it is told to stop."""
    config = attachment.config
    device, netns = config.place
    attachment.offered = None
    attachment.home = await devices.identify(netns)
    found = await devices.get_index(offered.ifindex, netns)
    if not offered.is_stray and (found is None or attachment.home != offered.home):
        reason = "what another framebridge has of it is another device; start without --take-over"
        raise DeviceError(device, netns, reason)
    name = found.name if found is not None else device
    adopt = core.adopt_tap if config.can.is_held else core.adopt_link
    try:
        attachment.port = adopt(attachment.index, name, offered.place)
    except (OSError, ValueError, OverflowError) as error:
        raise DeviceError(
            device, netns, f"cannot be taken over: {error}; start without --take-over"
        ) from error
    if offered.is_stray:
        attachment.home, attachment.is_stray = offered.home, True
        seen = await asyncio.to_thread(stray.look, attachment.port.fd)
        found = seen.device if seen is not None else None
    attachment.device, attachment.was_adopted = found, True
    attachment.claim = socket.socket(fileno=offered.claim) if offered.claim >= 0 else None
    attachment.made = found if offered.is_made else None
    attachment.own_mtu = offered.own_mtu
    if config.can.takes_filter and vlan_filter.program(config) is None:
        with contextlib.suppress(OSError):  # there was none
            vlan_filter.detach(attachment.port.fd)
    if config.can.is_held:
        attachment.dropped, attachment.is_gone = Odometer(found.tx_dropped if found else 0), offered.is_stray
    if (
        found is not None
        and config.mtu not in (None, found.mtu)
        and config.can.sets_mtu
        and not offered.is_stray
    ):
        await devices.set_mtu(name, netns, config.mtu or found.mtu)


async def _refuse_shared(attachment: Attachment, devices: Devices, holder: Holder) -> None:
    """Refuse, as DeviceError, a device that another port has, by whatever name of it or of its namespace."""
    device, netns = attachment.config.place
    attachment.home = await devices.identify(netns)
    found = await devices.get(device, netns)
    if found is None or attachment.home is None:
        return
    if (other := holder((attachment.home, found.index))) is not None:
        called = "" if found.name == device else f"it is {found.name}, and "
        raise DeviceError(
            device,
            netns,
            f"{called}port {other!r} has it already; a device is one port, which may carry several VLANs",
        )


async def check(devices: Devices, port: PortConfig) -> None:
    """Refuse, as DeviceError, a device that cannot be attached, because it is not there or of another kind."""
    await OPENERS[port.kind].check(devices, port.device, port.netns)


async def check_all(ports: Iterable[PortConfig], devices: Devices) -> None:
    """Refuse, as PortError, ports whose devices cannot be attached, while nothing was closed for them yet."""
    for port in ports:
        try:
            await check(devices, port)
        except DeviceError as error:
            raise _port_error(port, error) from error


def _port_error(port: PortConfig, error: DeviceError) -> PortError:
    return (MissingError if error.is_missing else PortError)(port.name, str(error))


async def _open_memory(attachment: Attachment, core: Bridge, _: Devices, __: bool) -> None:
    attachment.port = core.open_memory(attachment.index)


async def _check_nothing(_: Devices, __: str, ___: str | None) -> None:
    """Accept: there is no device."""


async def _open_tap(attachment: Attachment, core: Bridge, devices: Devices, create: bool) -> None:
    config = attachment.config
    is_first = config.mtu is not None and attachment.own_mtu is None
    found = await attachment.find(devices) if is_first else None
    tap, made = await devices.ensure_tap(
        config.device, config.netns, config.mtu, mac=attachment.guest_address, create=create
    )
    try:
        port, dropped = await _open_device(attachment, devices, tap.name, _opening_tap(core))
    except DeviceError:
        if made:
            await devices.delete(config.device, config.netns, tap.index)
        raise
    attachment.port = port
    if made or config.persist:
        set_persist(port.fd, config.persist)
    if config.mac and not made:
        await devices.set_mac(tap.name, config.netns, config.mac)
    if is_first:
        attachment.own_mtu = found.mtu if found else TAP_MTU
    attachment.dropped, attachment.is_gone = Odometer(dropped), False


def _opening_tap(core: Bridge) -> Callable[[int, str], tuple[Port, int]]:
    """Open a tap, and see what the kernel dropped in front of it before: its queue is empty at that moment."""

    def open_tap(index: int, device: str) -> tuple[Port, int]:
        return core.open_tap(index, device), tx_dropped_here(device)

    return open_tap


async def _open_veth(attachment: Attachment, core: Bridge, devices: Devices, create: bool) -> None:
    config = attachment.config
    ours, home = config.place
    label = f"framebridge {attachment.bridge} {config.name}"
    pair = Pair(ours, config.device, attachment.guest_address, config.mtu, label)
    device, is_new = await devices.ensure_pair(pair, config.netns, create=create)
    try:
        if config.mac and not is_new:
            await devices.set_mac(config.device, config.netns, config.mac)
        attachment.claim = await devices.claim_link(device, home)
        attachment.port = await _open_device(attachment, devices, device.name, core.open_link)
    except DeviceError:
        attachment.release()
        if is_new:
            await devices.delete(ours, home, device.index)
        raise
    attachment.made = None if config.persist else device


async def _open_link(attachment: Attachment, core: Bridge, devices: Devices, create: bool) -> None:
    config = attachment.config
    device, is_new = await devices.ensure_link(config.device, config.netns, create=create)
    claim = None
    try:
        claim = await devices.claim_link(device, config.netns)
        attachment.port = await _open_device(attachment, devices, device.name, core.open_link)
    except DeviceError:
        if claim is not None:
            claim.close()
        if is_new:
            await devices.delete(config.device, config.netns, device.index)
        raise
    attachment.claim = claim
    attachment.made = device if is_new else None


async def _open_device(
    attachment: Attachment, devices: Devices, name: str, opener: Callable[[int, str], T]
) -> T:
    device, netns = attachment.config.place
    try:
        return await devices.run_in(netns, opener, attachment.index, name)
    except OSError as error:
        raise explain(error, device, netns, f"attach a {attachment.config.kind} port") from error


OPENERS = {
    "tap": Opener(_open_tap, Devices.check_tap),
    "veth": Opener(_open_veth, Devices.check_pair),
    "link": Opener(_open_link, Devices.check_link),
    "memory": Opener(_open_memory, _check_nothing),
}
