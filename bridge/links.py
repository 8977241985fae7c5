"""The kernel's network devices: find, make, change, remove and watch them, in any network namespace.

Job: everything that speaks rtnetlink (pyroute2), so that the engine sees devices as values and failures as
sentences. Owner: the engine's asyncio loop; every method is called there.

Threads: each namespace in use has one thread that entered it for good (`_Room`). Requests run there, one
after the other: the thread makes the descriptors that must belong to the namespace, and a netlink request
that waits for the kernel's RTNL lock blocks that thread and nothing else. No other thread ever changes its
namespace.

Watching: one netlink socket per namespace, bound *before* it dumps, so that no change falls between the two.
Lost messages (ENOBUFS) cost a new socket and a new dump; whoever watches sees only what changed. A namespace
ends for us when its name under /run/netns stops meaning it: its links are reported gone and the thread
leaves, so that the kernel can free it; when the name returns, its links are reported again.

Refuses: a device of the wrong kind, and every failed request, as `LinkError` with the way out.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import logging
import os
import socket
import threading
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pyroute2 import AsyncIPRoute, IPRoute
from pyroute2 import netns as kernel_netns
from pyroute2.netlink.exceptions import NetlinkDumpInterrupted, NetlinkError
from pyroute2.netlink.rtnl import RTMGRP_LINK

from bridge.errors import FramebridgeError
from bridge.facts import Facts, read_facts

log = logging.getLogger(__name__)

IFF_UP = 0x1  # include/uapi/linux/if.h
TUN_TYPE_TAP = 2  # IFF_TAP, as IFLA_TUN_TYPE reports it
TUNSETPERSIST = 0x400454CB  # include/uapi/linux/if_tun.h; the same on x86, arm64 and s390x

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Link:
    """A network device as the kernel describes it.

    `kind` is rtnetlink's (veth, vlan, bridge, ...), but `tap` or `tun` for the two forms of tun; None: a NIC.
    """

    index: int
    name: str
    mtu: int
    up: bool
    carrier: bool
    kind: str | None


class Created(NamedTuple):
    """A device that is there now; `made`: it was not there before."""

    link: Link
    made: bool


# Called with the namespace, the link as it is or was last seen, and whether it is there.
Watcher = Callable[[str | None, Link, bool], None]


class LinkError(FramebridgeError):
    """A device or namespace that cannot be used: which, why, and the way out."""

    def __init__(self, device: str, netns: str | None, message: str) -> None:
        self.device = device
        self.netns = netns
        subject = f"device {device!r}" if device else ""
        place = f"namespace {netns!r}" if netns else ""
        super().__init__(f"{' in '.join(filter(None, (subject, place)))}: {message}")


NOT_PERMITTED = "; framebridge needs the capabilities CAP_NET_ADMIN and CAP_NET_RAW"
NO_DEVICE = "; create the device first, or correct `device` and `netns`"
WAYS_OUT = {
    errno.EPERM: NOT_PERMITTED,
    errno.EACCES: NOT_PERMITTED,
    errno.ENODEV: NO_DEVICE,
    errno.ENXIO: NO_DEVICE,
    errno.EBADFD: "; the device went away meanwhile",
    errno.EBUSY: '; another program owns it: stop that program, or bridge its tap with kind = "link"',
    errno.EEXIST: "; another device has that name, or that VLAN of the same parent",
    errno.ENOENT: "; /dev/net/tun is missing: `modprobe tun`, or hand that device to the container",
}


def explain(error: OSError | NetlinkError, device: str, netns: str | None, action: str) -> LinkError:
    """Turn a failed system call or netlink request into a sentence with the way out."""
    code = _code(error)
    reason = os.strerror(code) if code > 0 else str(error)
    return LinkError(device, netns, f"cannot {action}: {reason}{WAYS_OUT.get(code, '')}")


def release_tap(fd: int) -> None:
    """Make an attached tap vanish with its last descriptor (TUNSETPERSIST 0)."""
    fcntl.ioctl(fd, TUNSETPERSIST, 0)


def _code(error: Exception) -> int:
    """Find the errno of a failed system call or netlink request; 0: it has none."""
    return getattr(error, "code", None) or getattr(error, "errno", None) or 0


# -- requests: run in the thread of a namespace ----------------------------------------------------


class _UnusableError(Exception):
    """Why a device cannot serve, in words; becomes a LinkError."""


_own = threading.local()


@contextlib.contextmanager
def _netlink() -> Iterator[IPRoute]:
    """Give the thread's netlink socket; opening one takes nearly as long as a request."""
    ipr = getattr(_own, "ipr", None)
    if ipr is None:
        ipr = _own.ipr = IPRoute()
    try:
        yield ipr
    except BaseException:  # an answer may still be under way
        _close_netlink()
        raise


def _close_netlink() -> None:
    if (ipr := getattr(_own, "ipr", None)) is not None:
        _own.ipr = None
        ipr.close()


def _parse(message: Any) -> Link:
    kind = message.get(("linkinfo", "kind"))
    if kind == "tun":
        kind = "tap" if message.get(("linkinfo", "data", "tun_type")) in (TUN_TYPE_TAP, None) else "tun"
    return Link(
        index=message["index"],
        name=message.get("ifname"),
        mtu=message.get("mtu"),
        up=bool(message["flags"] & IFF_UP),
        carrier=bool(message.get("carrier")),
        kind=kind,
    )


def _ask(ipr: IPRoute, device: str) -> Any:
    """Return the kernel's message on a device; None: there is none."""
    try:
        return next(iter(ipr.link("get", ifname=device)))
    except NetlinkError as error:
        if error.code == errno.ENODEV:
            return None
        raise


def _find(ipr: IPRoute, device: str) -> Link | None:
    return None if (message := _ask(ipr, device)) is None else _parse(message)


def _need(ipr: IPRoute, device: str) -> Link:
    if (link := _find(ipr, device)) is None:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
    return link


def _get(device: str) -> Link | None:
    with _netlink() as ipr:
        return _find(ipr, device)


def _inspect(device: str) -> Facts | None:
    with _netlink() as ipr:
        return None if (message := _ask(ipr, device)) is None else read_facts(ipr, message)


def _change(device: str, changes: dict[str, object]) -> None:
    with _netlink() as ipr:
        ipr.link("set", index=_need(ipr, device).index, **changes)


def _delete(device: str, index: int | None) -> bool:
    """Remove the device unless another one (another index) took its name."""
    with _netlink() as ipr:
        link = _find(ipr, device)
        if link is None or index not in (None, link.index):
            return False
        ipr.link("del", index=link.index)
        return True


def _check_tap(device: str) -> None:
    """Refuse what `_ensure_tap` would, in so far as it can be known before."""
    with _netlink() as ipr:
        if (link := _find(ipr, device)) is not None:
            _refuse_no_tap(link)


def _refuse_no_tap(link: Link) -> None:
    if link.kind != "tap":
        raise _UnusableError(f'it is no tap but {link.kind or "a NIC"}; bridge it with kind = "link"')


def _ensure_tap(device: str, mtu: int | None, create: bool) -> Created:
    with _netlink() as ipr:
        made = create and _find(ipr, device) is None
        if made:
            ipr.link("add", ifname=device, kind="tuntap", mode="tap")
        link = _need(ipr, device)
        _refuse_no_tap(link)
        changes: dict[str, object] = {} if link.up else {"state": "up"}
        if mtu not in (None, link.mtu):
            changes["mtu"] = mtu
        try:
            if changes:
                ipr.link("set", index=link.index, **changes)
        except NetlinkError:
            if made:
                ipr.link("del", index=link.index)
            raise
        return Created(_need(ipr, device), made)


def _check_link(device: str) -> None:
    """Refuse what `_ensure_link` would, in so far as it can be known before."""
    with _netlink() as ipr:
        if _find(ipr, device) is None:
            _find_parent(ipr, device)


def _find_parent(ipr: IPRoute, device: str) -> tuple[Link, int]:
    """Find what a VLAN interface of this name would be made of: its parent and its VID."""
    name, _, vid = device.rpartition(".")
    parent = _find(ipr, name) if name and vid.isdecimal() and 0 < int(vid) < 4095 else None
    if parent is None:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
    return parent, int(vid)


def _ensure_link(device: str) -> Created:
    with _netlink() as ipr:
        if (link := _find(ipr, device)) is not None:
            return Created(link, False)
        _add_vlan_interface(ipr, device, *_find_parent(ipr, device))
        return Created(_need(ipr, device), True)


def _add_vlan_interface(ipr: IPRoute, device: str, parent: Link, vid: int) -> None:
    try:
        ipr.link("add", ifname=device, kind="vlan", link=parent.index, vlan_id=vid)
    except NetlinkError as error:
        if error.code != errno.EOPNOTSUPP:
            raise
        raise _UnusableError(
            "this kernel makes no VLAN interfaces (no module 8021q); "
            f"a trunk port on {parent.name!r} with vlan = {{ trunk = [{vid}] }} needs none"
        ) from error
    try:
        ipr.link("set", index=_need(ipr, device).index, state="up")
    except NetlinkError as error:
        if error.code != errno.ENETDOWN:  # its parent is down; it comes up with it
            raise


def _open_netlink() -> int:
    kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC
    return socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE).detach()


# -- namespaces ------------------------------------------------------------------------------------


class _Room:
    """One thread that lives in one namespace, and which namespace that is."""

    def __init__(self, netns: str | None) -> None:
        self._path = Path(kernel_netns.NETNS_RUN_DIR, netns) if netns is not None else None
        self._identity: tuple[int, int] | None = None
        self._executor = ThreadPoolExecutor(1, f"framebridge-netns-{netns or 'own'}")

    async def enter(self) -> None:
        """Move the thread into the namespace; raises OSError."""
        if self._path is not None:
            self._identity = await self.run(self._enter, self._path)

    @staticmethod
    def _enter(path: Path) -> tuple[int, int]:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            status = os.fstat(fd)
            kernel_netns.setns(fd)
        finally:
            os.close(fd)
        return status.st_dev, status.st_ino

    def is_current(self) -> bool:
        """Whether the name still means the namespace this room is in."""
        if self._path is None:
            return True
        try:
            status = self._path.stat()
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self._identity

    async def run(self, function: Callable[..., T], *args: object) -> T:
        """Call `function` in the thread."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, function, *args)

    async def leave(self) -> None:
        """End the thread, and with it our hold on the namespace; waits for what runs there."""
        await asyncio.to_thread(self._end)

    def _end(self) -> None:
        self._executor.submit(_close_netlink)
        self._executor.shutdown()


class _Namespace:
    """A namespace in use: its room, its links, and the task that keeps both true."""

    def __init__(self, netns: str | None, report: Watcher, interval: float, rcvbuf: int) -> None:
        self._netns = netns
        self._report = report
        self._interval = interval
        self._rcvbuf = rcvbuf
        self._room: _Room | None = None
        self._links: dict[int, Link] = {}
        self._follower: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Enter, take stock and follow from there; raises LinkError."""
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

    async def _enter(self) -> None:
        room = _Room(self._netns)
        try:
            await room.enter()
        except OSError as error:
            await room.leave()
            if error.errno == errno.ENOENT:
                raise self._absent() from error
            way = "; framebridge needs the capability CAP_SYS_ADMIN" if error.errno == errno.EPERM else ""
            message = f"cannot enter it: {os.strerror(error.errno or 0)}{way}"
            raise LinkError("", self._netns, message) from error
        except BaseException:
            await room.leave()
            raise
        self._room = room

    def _absent(self) -> LinkError:
        message = f"there is none of that name; `ip netns add {self._netns}` makes it"
        return LinkError("", self._netns, message)

    async def _leave(self) -> None:
        room, self._room = self._room, None
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
                await asyncio.sleep(self._interval)
                with contextlib.suppress(LinkError):
                    await self._enter()
        finally:
            await self._leave()

    async def _inhabit(self, room: _Room, started: asyncio.Event) -> None:
        """Watch until the name means another namespace or none; then report every link gone."""
        watch = asyncio.create_task(self._watch(room, started))
        try:
            while room.is_current():
                await asyncio.wait((watch,), timeout=self._interval)
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
        self._replace(())

    async def _watch(self, room: _Room, started: asyncio.Event) -> None:
        """Report links, from one netlink socket after the other as each one fails."""
        while True:
            try:
                async with self._listen(room) as ipr:
                    self._replace([_parse(message) async for message in await ipr.link("dump")])
                    started.set()
                    while True:
                        async for message in ipr.get():
                            self._take(message)
            except NetlinkDumpInterrupted:  # links changed under the dump
                continue
            except Exception as error:  # whatever it is: watching goes on
                code = _code(error)
                reason = os.strerror(code) if code > 0 else repr(error)
                log.warning("link events lost (namespace %s): %s; asking again", self._netns, reason)
                if code != errno.ENOBUFS:
                    started.set()
                    await asyncio.sleep(self._interval)

    @contextlib.asynccontextmanager
    async def _listen(self, room: _Room) -> AsyncIterator[AsyncIPRoute]:
        ipr = AsyncIPRoute(fileno=await room.run(_open_netlink), rcvbuf=self._rcvbuf)
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
            self._put(_parse(message))
        elif message["event"] == "RTM_DELLINK":
            self._drop(message["index"])

    def _replace(self, links: Collection[Link]) -> None:
        """Make `links` the truth, after a dump."""
        for index in self._links.keys() - {link.index for link in links}:
            self._drop(index)
        for link in links:
            self._put(link)

    def _put(self, link: Link) -> None:
        before = self._links.get(link.index)
        self._links[link.index] = link
        if before is not None and before.name != link.name:
            self._report(self._netns, before, False)
        if before != link:
            self._report(self._netns, link, True)

    def _drop(self, index: int) -> None:
        if (link := self._links.pop(index, None)) is not None:
            self._report(self._netns, link, False)


class Links:
    """Devices in namespaces; a namespace is in use from its first mention until `keep` drops it."""

    def __init__(self, *, interval: float = 1.0, rcvbuf: int = 1 << 20) -> None:
        """`interval`: seconds between looks whether a namespace is there; `rcvbuf`: of watching sockets."""
        self._interval = interval
        self._rcvbuf = rcvbuf
        self._namespaces: dict[str | None, _Namespace] = {}
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
        """Call `callback` for every link that comes, changes, goes, or (as two) takes another name."""
        self._watchers.append(callback)

    async def run_in(self, netns: str | None, function: Callable[..., T], *args: object) -> T:
        """Call `function` in the thread of a namespace; its exceptions pass unchanged."""
        return await (await self._use(netns)).run(function, *args)

    async def get(self, device: str, netns: str | None = None) -> Link | None:
        """Look a device up; None: there is none. A namespace that is missing is an error."""
        return await self._request(device, netns, "look it up", _get, device)

    async def inspect(self, device: str, netns: str | None = None) -> Facts | None:
        """Look at everything about a device that the audit judges; None: there is none."""
        return await self._request(device, netns, "look at it", _inspect, device)

    async def check(self, kind: str, device: str, netns: str | None = None) -> None:
        """Refuse a tap or link that cannot be attached, because it is not there or of another kind."""
        function = _check_tap if kind == "tap" else _check_link
        await self._request(device, netns, "use it", function, device)

    async def ensure_tap(
        self, device: str, netns: str | None = None, mtu: int | None = None, *, create: bool = True
    ) -> Created:
        """Have a tap of this name, up, with this MTU. One made here is persistent: see `release_tap`."""
        return await self._request(device, netns, "set the tap up", _ensure_tap, device, mtu, create)

    async def ensure_link(self, device: str, netns: str | None = None) -> Created:
        """Have a device of this name; a missing `eth1.100` is made: a VLAN interface of `eth1`, up."""
        return await self._request(device, netns, "use it", _ensure_link, device)

    async def set_up(self, device: str, netns: str | None = None, *, up: bool = True) -> None:
        """Switch a device on or off."""
        state = "up" if up else "down"
        await self._request(device, netns, f"set it {state}", _change, device, {"state": state})

    async def set_mtu(self, device: str, netns: str | None, mtu: int) -> None:
        """Change the MTU of a device."""
        await self._request(device, netns, f"set mtu {mtu}", _change, device, {"mtu": mtu})

    async def delete(self, device: str, netns: str | None = None, index: int | None = None) -> bool:
        """Remove a device; False if there is none, or none with this index."""
        return await self._request(device, netns, "remove it", _delete, device, index)

    async def _request(
        self, device: str, netns: str | None, action: str, function: Callable[..., T], *args: object
    ) -> T:
        try:
            return await self.run_in(netns, function, *args)
        except _UnusableError as error:
            raise LinkError(device, netns, str(error)) from error
        except (OSError, NetlinkError) as error:
            raise explain(error, device, netns, action) from error

    async def _use(self, netns: str | None) -> _Namespace:
        async with self._entering:
            if (found := self._namespaces.get(netns)) is None:
                found = _Namespace(netns, self._tell, self._interval, self._rcvbuf)
                try:
                    await found.open()
                except BaseException:
                    await found.close()
                    raise
                self._namespaces[netns] = found
            return found

    def _tell(self, netns: str | None, link: Link, present: bool) -> None:
        for watcher in self._watchers:
            watcher(netns, link, present)
