"""The berths of a bridge: one for each port of the configuration, by name, and which of them want to be looked at.

Job: give each port its index, find berths by name and by what a device is called, and note what was heard of them
until somebody looks. Thread: control. Nothing here touches a device or the data plane.
Invariants: a port keeps its index for as long as its name is in the configuration, also where a change closes and opens
it again (`former` remembers until `forget_former`). What is heard of a port says *look*, not what there is to see.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping

from bridge.clock import Clock
from bridge.config.port import PortConfig
from bridge.core._core import PORTS_MAX
from bridge.devices.device import Link
from bridge.errors import PortError
from bridge.ports.attachment import Berth

log = logging.getLogger(__package__)

RETRY_AFTER = 1.0  # seconds before a device that failed is tried again


class Berths:
    """The berths of one bridge; iterating gives them in the order of their arrival."""

    def __init__(self, clock: Clock) -> None:
        self.former: dict[str, int] = {}  # indexes of ports closed in the change under way
        self._clock = clock
        self._berths: dict[str, Berth] = {}
        self._dirty: set[str] = set()
        self._heard = asyncio.Event()

    def __iter__(self) -> Iterator[Berth]:
        return iter(self._berths.values())

    def __contains__(self, name: object) -> bool:
        return name in self._berths

    def __getitem__(self, name: str) -> Berth:
        if name not in self._berths:
            known = ", ".join(self._berths) or "no ports"
            raise PortError(name, f"there is none of that name, only {known}")
        return self._berths[name]

    @property
    def port_names(self) -> list[str]:
        """Names of the ports."""
        return [*self._berths]

    def get(self, name: str) -> Berth | None:
        """Find a berth; None: there is no port of that name."""
        return self._berths.get(name)

    def chosen(self, name: str | None) -> list[Berth]:
        """Give one berth, or all by name; raises PortError."""
        if name is not None:
            return [self[name]]
        return sorted(self, key=lambda berth: berth.config.name)

    # -- indexes

    def index(self, name: str | None) -> int | None:
        """Give the index of a port that there has to be, if one is named."""
        return None if name is None else self[name].index

    def attached_indexes(self, name: str | None = None) -> dict[str, int | None]:
        """Give the indexes of one port or all by name, None for those that are not attached."""
        chosen = self.chosen(name)
        return {berth.config.name: berth.index if berth.port is not None else None for berth in chosen}

    @property
    def indexes(self) -> dict[str, int]:
        """The indexes of all ports."""
        return {name: berth.index for name, berth in self._berths.items()}

    @property
    def attached(self) -> dict[str, int]:
        """The indexes of the ports that are attached."""
        return {name: berth.index for name, berth in self._berths.items() if berth.port is not None}

    @property
    def carrying(self) -> dict[int, PortConfig]:
        """The ports that carry traffic, by index."""
        return {berth.index: berth.config for berth in self if berth.state == "up"}

    def names(self) -> dict[int, str]:
        """Ports by index, also those that are closed in the change under way."""
        former = {index: name for name, index in self.former.items()}
        return former | {berth.index: name for name, berth in self._berths.items()}

    @property
    def namespaces(self) -> set[str | None]:
        """The network namespaces that are in use: this process's own, and those of ports."""
        return {None, *(berth.config.netns for berth in self)}

    # -- coming and going

    def add(self, config: PortConfig) -> Berth:
        """Make the berth of a port."""
        berth = self._berths[config.name] = Berth(config, self._choose_index(config.name))
        return berth

    def _choose_index(self, name: str) -> int:
        """Choose the index a port had, or the lowest that is free and, if possible, was nobody's."""
        if name in self.former:
            return self.former[name]
        free = set(range(PORTS_MAX)) - {berth.index for berth in self}
        return min((free - set(self.former.values())) or free)

    def remove(self, name: str) -> None:
        """Give up the berth of a port that is closed."""
        self.former[name] = self._berths.pop(name).index
        self._dirty.discard(name)

    def forget_former(self) -> list[str]:
        """End a change; returns the ports that it closed for good."""
        gone = [name for name in self.former if name not in self._berths]
        self.former.clear()
        return gone

    def dropped(self, tables: Callable[[str | None], Mapping[str, int]]) -> dict[str, int]:
        """Count what the kernel dropped in front of attached taps, by port; each namespace's table is read once."""
        read: dict[str | None, Mapping[str, int]] = {}

        def table(netns: str | None) -> Mapping[str, int]:
            if netns not in read:
                read[netns] = tables(netns)
            return read[netns]

        return {berth.config.name: count for berth in self if (count := berth.read_dropped(table))}

    # -- what is heard of them

    def mark(self, name: str) -> None:
        """Have a port looked at."""
        self._dirty.add(name)
        self._heard.set()

    def mark_idle(self) -> None:
        """Have those looked at that are not attached though their device is there."""
        for name, berth in self._berths.items():
            if berth.port is None and berth.link is not None:
                self.mark(name)

    def link_changed(self, netns: str | None, link: Link, present: bool) -> None:
        """Hear that a device came, changed, or went."""
        for name, berth in self._berths.items():
            if (berth.config.netns, berth.config.device) == (netns, link.name):
                if not present and berth.is_of(link):
                    berth.broken = True
                    berth.note_gone(link)
                self.mark(name)

    def port_failed(self, index: int, errno: int) -> None:
        """Hear that the data plane cannot use a port any more."""
        for name, berth in self._berths.items():
            if berth.index == index and berth.port is not None:
                log.warning("port %s failed: %s", name, os.strerror(errno))
                berth.broken, berth.failed = True, berth.link
                berth.retry_at = self._clock.now() + RETRY_AFTER
                self.mark(name)

    def rx_refused(self, index: int) -> str | None:
        """Hear that a refused super-frame cost a port its receive ring; returns its name."""
        for name, berth in self._berths.items():
            if berth.index == index and berth.port is not None:
                log.warning(
                    "port %s: the kernel refused a super-frame that it cannot hand over (UFO, SCTP) and closed the"
                    " receive ring; receiving goes on without one, which costs more, until the port is attached anew",
                    name,
                )
                berth.renew_filter()
                return name
        return None

    async def heard(self) -> None:
        """Wait until there is something to be looked at."""
        await self._heard.wait()
        self._heard.clear()

    def take_marked(self) -> Iterable[Berth]:
        """Give the berths that are to be looked at, once."""
        dirty, self._dirty = self._dirty, set()
        return [self._berths[name] for name in dirty & self._berths.keys()]
