"""Network namespaces in use: for each a thread that lives in it, and a task that knows its devices.

Threads: each namespace has one thread that entered it for good (`Room`). Requests run there, one after the other: the
thread makes the descriptors that must belong to the namespace, and a netlink request that waits for the kernel's RTNL
lock blocks that thread and nothing else. No other thread ever changes its namespace. All else runs in the loop.

Watching: one netlink socket per namespace, bound *before* it dumps, so that no change falls between the two. Lost
messages (ENOBUFS) cost a new socket and a new dump; whoever watches sees only what changed. A namespace ends for us
when its name under /run/netns stops meaning it: its links are reported gone and the thread leaves, so that the kernel
can free it; when the name returns, its links are reported again.

Refuses: a namespace that is missing or cannot be entered, as DeviceError.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from pyroute2 import AsyncIPRoute
from pyroute2 import netns as kernel_netns
from pyroute2.netlink.exceptions import NetlinkDumpInterrupted
from pyroute2.netlink.rtnl import RTMGRP_LINK

from bridge import privileges
from bridge.devices.counters import open_table, read_tx_dropped
from bridge.devices.device import Device, DeviceError, error_code
from bridge.devices.netlink import close_netlink, open_netlink, parse

log = logging.getLogger(__package__)

T = TypeVar("T")

OWN = "/proc/thread-self/ns/net"
CLONE_NEWNET = 0x4000_0000  # include/uapi/linux/sched.h

_libc = ctypes.CDLL(None, use_errno=True)

# Called with the namespace, the link as it is or was last seen, and whether it is there.
Watcher = Callable[[str | None, Device, bool], None]


def _set_network(fd: int) -> None:
    """Move this thread into a network namespace; a filter of system calls may forbid setns(2) that takes any kind."""
    if _libc.setns(fd, CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


class Room:
    """One thread that lives in one namespace, and which namespace that is."""

    def __init__(self, netns: str | None) -> None:
        # An absolute path stays what it is.
        self._path = Path(kernel_netns.NETNS_RUN_DIR, netns) if netns is not None else None
        self.identity: tuple[int, int] | None = None  # of the namespace: device number and inode
        self._executor = ThreadPoolExecutor(1, f"framebridge-netns-{netns or 'own'}")

    async def enter(self) -> None:
        """Move the thread into the namespace; raises OSError."""
        self.identity = await self.run(self._enter, self._path)

    @staticmethod
    def _enter(path: Path | None) -> tuple[int, int]:
        if path is not None and not path.is_file():  # opening a device or a FIFO may do more than open it
            code = errno.EINVAL if os.path.lexists(path) else errno.ENOENT
            raise OSError(code, os.strerror(code))
        fd = os.open(path or OWN, os.O_RDONLY | os.O_CLOEXEC)
        try:
            status = os.fstat(fd)
            if path is not None:
                _set_network(fd)
        finally:
            os.close(fd)
        return status.st_dev, status.st_ino

    def exists(self) -> bool:
        """Whether there is a namespace of the name, in so far as a look at its path tells."""
        return self._path is None or os.path.lexists(self._path)

    def is_current(self) -> bool:
        """Whether the name still means the namespace this room is in."""
        if self._path is None:
            return True
        try:
            status = self._path.stat()
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self.identity

    async def run(self, function: Callable[..., T], *args: object) -> T:
        """Call `function` in the thread."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, function, *args)

    async def leave(self) -> None:
        """End the thread, and with it our hold on the namespace; waits for what runs there."""
        await asyncio.to_thread(self._end)

    def _end(self) -> None:
        self._executor.submit(close_netlink)
        self._executor.shutdown()


class Namespace:
    """A namespace in use: its room, its links, and the task that keeps both true."""

    def __init__(self, netns: str | None, report: Watcher, interval: float, rcvbuf: int) -> None:
        self._netns = netns
        self._report = report
        self._interval = interval
        self._rcvbuf = rcvbuf
        self._room: Room | None = None
        self._table = -1  # descriptor of its device table
        self._links: dict[int, Device] = {}
        self._follower: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Enter, take stock and follow from there; raises DeviceError."""
        await self._enter()
        started = asyncio.Event()
        self._follower = asyncio.create_task(self._follow(started))
        await started.wait()

    async def close(self) -> None:
        """Stop following and let go of the namespace."""
        if self._follower is not None:
            self._follower.cancel()
            await asyncio.gather(self._follower, return_exceptions=True)
            self._follower = None
        await self._leave()

    async def run(self, function: Callable[..., T], *args: object) -> T:
        """Call `function` in the thread of the namespace."""
        if self._room is None:
            raise self._absent()
        return await self._room.run(function, *args)

    def tx_dropped(self) -> dict[str, int]:
        """Give what each device did not take, by name; waits for nobody."""
        return read_tx_dropped(self._table) if self._table >= 0 else {}

    @property
    def identity(self) -> tuple[int, int] | None:
        """Which namespace it is; None: it is missing."""
        return self._room.identity if self._room is not None else None

    async def _enter(self) -> None:
        room = Room(self._netns)
        if not room.exists():
            await room.leave()
            raise self._absent()
        try:
            await room.enter()
            self._table = await room.run(open_table)
        except OSError as error:
            await room.leave()
            if error.errno == errno.ENOENT:
                raise self._absent() from error
            way = privileges.way_out(privileges.NAMESPACES) if error.errno == errno.EPERM else ""
            message = f"cannot enter it: {os.strerror(error.errno or 0)}{way}"
            raise DeviceError("", self._netns, message) from error
        except BaseException:
            await room.leave()
            raise
        self._room = room

    def _absent(self) -> DeviceError:
        message = f"there is none of that name; `ip netns add {self._netns}` makes it"
        if str(self._netns).startswith("/"):
            message = "there is none at that path; start the guest that it belongs to"
        return DeviceError("", self._netns, message, is_missing=True)

    async def _leave(self) -> None:
        room, self._room = self._room, None
        if self._table >= 0:
            os.close(self._table)
            self._table = -1
        if room is not None:
            await room.leave()

    async def _follow(self, started: asyncio.Event) -> None:
        """Live in the namespace as long as it is there, wait for its return, again and again."""
        try:
            while True:
                if self._room is not None:
                    await self._inhabit(self._room, started)
                    await self._leave()
                    log.warning("namespace %s is gone", self._netns)
                started.set()
                with contextlib.suppress(DeviceError):
                    await self._enter()  # another one may have the name already
                if self._room is None:
                    await asyncio.sleep(self._interval)
        finally:
            await self._leave()

    async def _inhabit(self, room: Room, started: asyncio.Event) -> None:
        """Watch until the name means another namespace or none; then report every link gone."""
        watch = asyncio.create_task(self._watch(room, started))
        try:
            while room.is_current():
                await asyncio.wait((watch,), timeout=self._interval)
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
        self._replace(())

    async def _watch(self, room: Room, started: asyncio.Event) -> None:
        """Report links, from one netlink socket after the other as each one fails."""
        while True:
            try:
                async with self._listen(room) as ipr:
                    self._replace([parse(message) async for message in await ipr.link("dump")])
                    started.set()
                    while True:
                        async for message in ipr.get():
                            self._take(message)
            except NetlinkDumpInterrupted:  # links changed under the dump
                continue
            except Exception as error:  # whatever it is: watching goes on
                code = error_code(error)
                reason = os.strerror(code) if code > 0 else repr(error)
                log.warning("link events lost (namespace %s): %s; asking again", self._netns, reason)
                if code != errno.ENOBUFS:
                    started.set()
                    await asyncio.sleep(self._interval)

    @contextlib.asynccontextmanager
    async def _listen(self, room: Room) -> AsyncIterator[AsyncIPRoute]:
        ipr = AsyncIPRoute(fileno=await room.run(open_netlink), rcvbuf=self._rcvbuf)
        try:
            await ipr.bind(groups=RTMGRP_LINK)
            yield ipr
        finally:
            ipr.close()

    def _take(self, message: Any) -> None:
        # A device that leaves a kernel bridge is announced as RTM_DELLINK of family AF_BRIDGE: it lives on.
        if message["family"] != socket.AF_UNSPEC:
            return
        if message["event"] == "RTM_NEWLINK":
            self._put(parse(message))
        elif message["event"] == "RTM_DELLINK":
            self._drop(message["index"], parse(message))

    def _replace(self, links: Collection[Device]) -> None:
        """Make `links` the truth, after a dump."""
        for index in self._links.keys() - {link.index for link in links}:
            self._drop(index)
        for link in links:
            self._put(link)

    def _put(self, link: Device) -> None:
        before = self._links.get(link.index)
        self._links[link.index] = link
        if before != link:
            self._report(self._netns, link, True)

    def _drop(self, index: int, last: Device | None = None) -> None:
        """Report a link gone; `last` is what the kernel said of it in the end."""
        if (link := self._links.pop(index, None)) is not None:
            last = last or link
            self._report(self._netns, replace(link, tx_dropped=last.tx_dropped), False)


def open_namespace() -> int:
    """Open the namespace of this thread."""
    return os.open(OWN, os.O_RDONLY | os.O_CLOEXEC)
