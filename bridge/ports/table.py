"""The ports of a bridge: an attachment for each port of the configuration, and which of them to reconcile.

Job: give each port its index, find ports by name and by what a device is called, and mark those whose device or state
may have changed (`mark_dirty`) until somebody takes them. Thread: control. Nothing here opens a device.
Invariants: a port keeps its index for as long as its name is in the configuration, also where a change closes and opens
it again (`former` remembers until `forget_former`). A mark says *look*, not what there is to see.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping

from bridge.clock import Clock
from bridge.config.port import PortConfig
from bridge.core._core import PORTS_MAX, Port
from bridge.devices.device import Device
from bridge.errors import PortError
from bridge.ports.attachment import Attachment, Offered

log = logging.getLogger(__package__)

RETRY_AFTER = 1.0  # seconds before a device that failed is tried again


class PortTable:
    """The ports of one bridge; iterating gives them in the order of their arrival."""

    def __init__(self, clock: Clock, bridge: str = "") -> None:
        self._bridge = bridge
        self.offered: dict[str, Offered] = {}  # ports of another process, to be taken over
        self.former: dict[str, int] = {}  # indexes of ports closed in the change under way
        self._clock = clock
        self._attachments: dict[str, Attachment] = {}
        self._dirty: set[str] = set()
        self._is_marked = asyncio.Event()

    def __iter__(self) -> Iterator[Attachment]:
        return iter(self._attachments.values())

    def __contains__(self, name: object) -> bool:
        return name in self._attachments

    def __getitem__(self, name: str) -> Attachment:
        if name not in self._attachments:
            known = ", ".join(self._attachments) or "no ports"
            raise PortError(name, f"there is none of that name, only {known}")
        return self._attachments[name]

    @property
    def port_names(self) -> list[str]:
        """Names of the ports."""
        return [*self._attachments]

    def get(self, name: str) -> Attachment | None:
        """Find an attachment; None: there is no port of that name."""
        return self._attachments.get(name)

    def chosen(self, name: str | None) -> list[Attachment]:
        """Give one attachment, or all by name; raises PortError."""
        if name is not None:
            return [self[name]]
        return sorted(self, key=lambda attachment: attachment.config.name)

    # -- indexes

    def index(self, name: str | None) -> int | None:
        """Give the index of a port that there has to be, if one is named."""
        return None if name is None else self[name].index

    def attached_indexes(self, name: str | None = None) -> dict[str, int | None]:
        """Give the indexes of one port or all by name, None for those that are not attached."""
        chosen = self.chosen(name)
        return {one.config.name: one.index if one.port is not None else None for one in chosen}

    @property
    def indexes(self) -> dict[str, int]:
        """The indexes of all ports."""
        return {name: attachment.index for name, attachment in self._attachments.items()}

    @property
    def attached(self) -> dict[str, int]:
        """The indexes of the ports that are attached."""
        return {
            name: attachment.index
            for name, attachment in self._attachments.items()
            if attachment.port is not None
        }

    @property
    def open_ports(self) -> dict[int, Port]:
        """The data plane's ports of those that are attached, by index."""
        return {attachment.index: attachment.port for attachment in self if attachment.port is not None}

    @property
    def carrying(self) -> dict[int, PortConfig]:
        """The ports that carry traffic, by index."""
        return {attachment.index: attachment.config for attachment in self if attachment.state == "up"}

    def names(self) -> dict[int, str]:
        """Ports by index, also those that are closed in the change under way."""
        former = {index: name for name, index in self.former.items()}
        return former | {attachment.index: name for name, attachment in self._attachments.items()}

    @property
    def namespaces(self) -> set[str | None]:
        """The network namespaces that are in use: this process's own, and those of ports."""
        return {None, *(attachment.config.netns for attachment in self)}

    # -- coming and going

    def add(self, config: PortConfig) -> Attachment:
        """Make the attachment of a port."""
        attachment = self._attachments[config.name] = Attachment(
            config, self._choose_index(config.name), self._bridge
        )
        offered = self.offered.pop(config.name, None)
        if offered is not None and offered.attachment == config.attachment:
            attachment.offered = offered
        return attachment

    def _choose_index(self, name: str) -> int:
        """Choose the index a port had, or the lowest that is free and, if possible, was nobody's."""
        if name in self.former:
            return self.former[name]
        free = set(range(PORTS_MAX)) - {attachment.index for attachment in self}
        return min((free - set(self.former.values())) or free)

    def remove(self, name: str) -> None:
        """Give up the attachment of a port that is closed."""
        self.former[name] = self._attachments.pop(name).index
        self._dirty.discard(name)

    def forget_former(self) -> list[str]:
        """End a change; returns the ports that it closed for good."""
        gone = [name for name in self.former if name not in self._attachments]
        self.former.clear()
        return gone

    def dropped(self, tables: Callable[[str | None], Mapping[str, int]]) -> dict[str, int]:
        """Count what the kernel dropped in front of attached taps, by port; each namespace's table is read once."""
        read: dict[str | None, Mapping[str, int]] = {}

        def table(netns: str | None) -> Mapping[str, int]:
            if netns not in read:
                read[netns] = tables(netns)
            return read[netns]

        return {one.config.name: count for one in self if (count := one.read_dropped(table))}

    # -- those to reconcile

    def mark_dirty(self, name: str) -> None:
        """Have a port reconciled."""
        self._dirty.add(name)
        self._is_marked.set()

    def mark_idle_dirty(self) -> None:
        """Have those reconciled that nothing else tells of.

        Those that are not attached: their device may serve now, or may be made. And taps in other namespaces.
        """
        for name, attachment in self._attachments.items():
            if attachment.port is None or attachment.is_stray:
                self.mark_dirty(name)

    def holder(self, identity: tuple[tuple[int, int], int]) -> str | None:
        """Find the port that is attached to a device."""
        return next((name for name, one in self._attachments.items() if one.identity == identity), None)

    def device_changed(self, netns: str | None, device: Device, present: bool) -> None:
        """Mark the port whose device came, changed, or went."""
        for port, attachment in self._attachments.items():
            name, place = attachment.config.place
            if place != netns or attachment.is_stray:
                continue
            is_same = attachment.is_of(device)
            if is_same and not present:
                attachment.broken = not attachment.config.can.is_held  # else its descriptor tells
                attachment.note_gone(device)
            if is_same or (attachment.port is None and device.is_called(name)):
                self.mark_dirty(port)

    def port_failed(self, index: int, errno: int) -> None:
        """Mark a port that the data plane cannot use any more."""
        for name, attachment in self._attachments.items():
            if attachment.index == index and attachment.port is not None:
                log.warning("port %s failed: %s", name, os.strerror(errno))
                attachment.broken, attachment.failed = True, attachment.device
                attachment.retry_at = self._clock.now() + RETRY_AFTER
                self.mark_dirty(name)

    def rx_refused(self, index: int) -> str | None:
        """Hear that a refused super-frame cost a port its receive ring; returns its name."""
        for name, attachment in self._attachments.items():
            if attachment.index == index and attachment.port is not None:
                log.warning(
                    "port %s: the kernel refused a super-frame that it cannot hand over (UFO, SCTP) and closed the"
                    " receive ring; receiving goes on without one, which costs more, until the port is attached anew",
                    name,
                )
                attachment.renew_filter()
                return name
        return None

    async def wait_dirty(self) -> None:
        """Wait until there is something to reconcile."""
        await self._is_marked.wait()
        self._is_marked.clear()

    def take_dirty(self) -> Iterable[Attachment]:
        """Give the attachments to reconcile, once."""
        dirty, self._dirty = self._dirty, set()
        return [self._attachments[name] for name in dirty & self._attachments.keys()]
