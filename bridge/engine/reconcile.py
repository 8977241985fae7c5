"""The keeper of ports: opens, changes and closes them, and keeps each in the state its device allows.

Job: between the berths, the devices (`Links`) and the data plane (`Plane`). Devices are looked after by level, not by
edge: an event of a link only says *look*, and `look` compares what is there with what is attached. Thread: control, one
call at a time (the engine's lock). What the data plane has to know is left to the next `Plane.commit`.

* up: attached, enabled, device up with carrier. down: anything less. missing: no such device.
* Devices made here (taps, VLAN interfaces) go with their port; others are left as they are.

Refuses, as PortError: a port whose device cannot be had, unless it was in force before; then nothing is left of it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from bridge.clock import Clock
from bridge.config.port import PortConfig
from bridge.core._core import Bridge
from bridge.devices.device import Link, LinkError
from bridge.devices.devices import Links
from bridge.engine.data_plane import Plane
from bridge.errors import FramebridgeError, PortError
from bridge.ports.attachment import Berth
from bridge.ports.table import RETRY_AFTER, Berths
from bridge.protect.blocking import Blocks

log = logging.getLogger(__package__)


class PortKeeper:
    """The keeper of one bridge's ports."""

    def __init__(
        self, core: Bridge, links: Links, clock: Clock, berths: Berths, plane: Plane, blocks: Blocks
    ) -> None:
        self._core = core
        self._links = links
        self._clock = clock
        self._berths = berths
        self._plane = plane
        self._blocks = blocks

    # -- as the configuration wants

    async def open(self, config: PortConfig, *, strict: bool) -> None:
        """Open a port. Not `strict`: it may be left without its device."""
        berth = self._berths.add(config)
        try:
            await berth.attach(self._core, self._links, create=True)
            await self._plane.limit_storms(config)
        except BaseException as error:
            if strict or not isinstance(error, FramebridgeError):
                await self.close([config.name])
                raise
            log.error("%s; it will be attached when that is over", error)
            berth.link = await berth.find(self._links)
        self._plane.refresh("port-added", config.name)

    async def change(self, config: PortConfig) -> None:
        """Change what can be changed without opening the device anew."""
        berth = self._berths[config.name]
        await berth.configure_mtu(self._links, config.mtu)
        await self._plane.limit_storms(config)
        berth.config = config
        self._plane.refresh("port-changed", config.name)

    async def close(self, names: Sequence[str]) -> None:
        """Close ports and remove the devices that were made for them."""
        berths = [self._berths[name] for name in names]
        self._plane.detach(berths)
        for name in names:
            self._berths.remove(name)
        for berth in berths:
            try:
                await berth.remove_device(self._links)
            except LinkError as error:
                log.warning("port %s: %s", berth.config.name, error)

    # -- as the devices allow

    async def look(self, berths: Iterable[Berth]) -> None:
        """Make what is attached fit what is there."""
        for berth in berths:
            try:
                await self._look_at(berth)
            except Exception:  # a port in trouble must not leave the others alone
                log.exception("port %s", berth.config.name)
        try:
            self._plane.commit()
        except OSError:
            log.exception("the data plane refuses the ports as they are")

    async def _look_at(self, berth: Berth) -> None:
        """Attach or detach a port as its device wants it, block it or let it back."""
        if berth.blocked != self._blocks.reason(berth.config.name):
            self._plane.refresh()
        if berth.config.kind == "memory":
            return
        before = berth.port, berth.link
        link = await berth.find(self._links)
        lost = berth.port is not None and (berth.broken or link is None or not berth.is_of(link))
        if lost:
            self._plane.detach([berth])
        berth.link, berth.broken = link, False
        if lost:
            self._plane.tell_state(berth)  # also if its device, or another one, is attached at once
        if link is None:
            berth.made = None  # somebody else removed it
        elif berth.port is None and not self._must_wait(berth, link):
            await self._attach_again(berth)
        if (berth.port, berth.link) != before:
            self._plane.refresh()

    def _must_wait(self, berth: Berth, link: Link) -> bool:
        """Tell whether this device failed a moment ago: one that fails at once must not keep us busy."""
        is_same = berth.failed is not None and berth.failed.index == link.index
        return is_same and self._clock.now() < berth.retry_at

    async def _attach_again(self, berth: Berth) -> None:
        try:
            await berth.attach(self._core, self._links, create=False)
            berth.trouble = ""
        except PortError as error:
            if str(error) != berth.trouble:
                berth.trouble = str(error)
                log.warning("%s; trying again every %g s", error, RETRY_AFTER)
            berth.link = await berth.find(self._links)
