"""Ports as the configuration wants them and as their devices allow: opened, changed, closed, attached again.

Job: between the ports (`PortTable`), the devices (`Devices`) and the data plane (`DataPlane`). By level, not by edge:
an event of a device only marks its port, and `reconcile` compares what is there with what is attached. Thread: control,
one call at a time (the engine's lock). The data plane learns of it by the next `DataPlane.commit`.

* up: attached, enabled, device up with carrier. down: anything less. missing: no such device.
* Devices made here (taps, VLAN interfaces) go with their port; others are left as they are. One that vanished, or whose
  namespace did, is made again; whoever wants to replace it has REMAKE_AFTER for that.

Refuses, as PortError: a port whose device cannot be had, unless that is tolerated (`open`); then nothing is left of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence

from bridge.clock import Clock
from bridge.config.port import PortConfig
from bridge.core._core import Bridge
from bridge.devices.device import Device, DeviceError
from bridge.devices.devices import Devices
from bridge.engine.data_plane import DataPlane
from bridge.errors import FramebridgeError, MissingError, PortError
from bridge.ports.attachment import Attachment
from bridge.ports.kinds import attach
from bridge.ports.table import RETRY_AFTER, PortTable
from bridge.protect.blocking import Blocks

log = logging.getLogger(__package__)

REMAKE_AFTER = 0.5  # seconds that a device which vanished is left to whoever wants to replace it


class PortReconciler:
    """The ports of one bridge, kept as they should be."""

    def __init__(
        self,
        core: Bridge,
        devices: Devices,
        clock: Clock,
        ports: PortTable,
        data_plane: DataPlane,
        blocks: Blocks,
    ) -> None:
        self._core = core
        self._devices = devices
        self._clock = clock
        self._ports = ports
        self._data_plane = data_plane
        self._blocks = blocks

    # -- as the configuration wants

    async def open(self, config: PortConfig, tolerate: type[FramebridgeError] | None) -> None:
        """Open a port; with an error that is tolerated it is left without its device until that can be had."""
        attachment = self._ports.add(config)
        try:
            await attach(attachment, self._core, self._devices, self._ports.holder, create=True)
            await self._data_plane.limit_storms(config)
        except BaseException as error:
            if tolerate is None or not isinstance(error, tolerate):
                await self.close([config.name])
                raise
            self._note_trouble(attachment, error)
            attachment.device = await attachment.find(self._devices)
        self._data_plane.refresh("port-added", config.name)

    async def change(self, config: PortConfig) -> None:
        """Change what can be changed without opening the device anew."""
        attachment = self._ports[config.name]
        await attachment.configure_mtu(self._devices, config.mtu)
        await attachment.configure_made(self._devices, config)
        await self._data_plane.limit_storms(config)
        attachment.config = config
        self._data_plane.refresh("port-changed", config.name)

    async def close(self, names: Sequence[str]) -> None:
        """Close ports and remove the devices that were made for them."""
        closing = [self._ports[name] for name in names]
        self._data_plane.detach(closing)
        for name in names:
            self._ports.remove(name)
        for attachment in closing:
            try:
                await attachment.remove_device(self._devices)
            except DeviceError as error:
                log.warning("port %s: %s", attachment.config.name, error)

    # -- as the devices allow

    async def reconcile(self, attachments: Iterable[Attachment]) -> None:
        """Make what is attached fit what is there."""
        for attachment in attachments:
            try:
                await self._reconcile_one(attachment)
            except Exception:  # a port in trouble must not leave the others alone
                log.exception("port %s", attachment.config.name)
        try:
            self._data_plane.commit()
        except OSError:
            log.exception("the data plane refuses the ports as they are")

    async def _reconcile_one(self, attachment: Attachment) -> None:
        """Attach or detach a port as its device wants it, block it or let it back."""
        if attachment.blocked != self._blocks.reason(attachment.config.name):
            self._data_plane.refresh()
        if not attachment.config.can.has_device:
            return
        before = attachment.port, attachment.device
        found = await attachment.find(self._devices)
        lost = attachment.port is not None and (attachment.broken or found is None)
        if lost:
            self._data_plane.detach([attachment])
            found = await attachment.find(self._devices)  # another one may have the name
        elif attachment.port is not None and found is not None:
            _tell_new_name(attachment, found)
        attachment.device, attachment.broken = found, False
        if lost:
            attachment.trouble = ""
            self._data_plane.report_state(
                attachment
            )  # also if its device, or another one, is attached at once
        if found is None:
            attachment.made = None  # somebody else removed it
            if lost:
                self._wait_for_others(attachment)
        if attachment.port is None and not self._must_wait(attachment, found):
            await self._attach_again(attachment, create=found is None)
        if (attachment.port, attachment.device) != before:
            self._data_plane.refresh()

    async def attach_missing(self) -> list[tuple[str, str]]:
        """Try now to attach what is not attached; returns ports and what is in their way, nothing for success."""
        tried = [one for one in self._ports if one.port is None and one.config.can.has_device]
        for attachment in tried:
            attachment.retry_at = 0.0
        await self.reconcile(tried)
        return [(one.config.name, "" if one.port is not None else one.trouble) for one in tried]

    def _wait_for_others(self, attachment: Attachment) -> None:
        """Leave a device that has just gone to whoever replaces it; then it is made again, if we may make it."""
        attachment.failed, attachment.retry_at = None, self._clock.now() + REMAKE_AFTER
        loop = asyncio.get_running_loop()
        loop.call_later(REMAKE_AFTER, self._ports.mark_dirty, attachment.config.name)

    def _must_wait(self, attachment: Attachment, device: Device | None) -> bool:
        """Check whether this device failed or went a moment ago: one that fails at once must not keep us busy."""
        failed = attachment.failed.index if attachment.failed else None
        is_same = failed == (device.index if device else None)
        return is_same and self._clock.now() < attachment.retry_at

    async def _attach_again(self, attachment: Attachment, *, create: bool) -> None:
        try:
            await attach(attachment, self._core, self._devices, self._ports.holder, create=create)
            attachment.trouble = ""
        except PortError as error:
            self._note_trouble(attachment, error)
            attachment.device = await attachment.find(self._devices)

    def _note_trouble(self, attachment: Attachment, error: BaseException) -> None:
        """Tell once why a port is not attached; of a missing device its state tells."""
        reason = error.reason if isinstance(error, PortError) else str(error)
        if reason == attachment.trouble:
            return
        attachment.trouble = reason
        if not isinstance(error, MissingError):
            log.warning("%s; trying again every %g s", error, RETRY_AFTER)


def _tell_new_name(attachment: Attachment, found: Device) -> None:
    """Log that the device of a port has another name or place than it was seen with."""
    before = attachment.device
    if before is None or before.name == found.name:
        return
    place = ", in another network namespace" if attachment.is_stray else ""
    log.warning(
        "port %s follows its device %s, now %s%s", attachment.config.name, before.name, found.name, place
    )
