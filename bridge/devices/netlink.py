"""Requests to the kernel about network devices; blocking, run in the thread of a namespace (`Namespace.run`).

Job: look devices up, make, change and remove them by rtnetlink. Thread: any that entered its network namespace for
good; each keeps one netlink socket, until `close_netlink`.
Refuses: a device of the wrong kind, as UnusableError; every failed request, as what the system or pyroute2 raises.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from bridge.devices.device import Created, Device
from bridge.devices.inspection import DeviceInfo, read_info
from bridge.mac import format_mac

NAME_MAX = 15  # bytes of a name, IFNAMSIZ without its NUL; altnames may be longer
IFF_UP = 0x1  # include/uapi/linux/if.h
TUN_TYPE_TAP = 2  # IFF_TAP, as IFLA_TUN_TYPE reports it
IFF_NOARP = 0x80
_OF_NO_USE_HERE: dict[str, Any] = {  # an end that only the bridge reads: no ARP, no IPv6 address of its own
    "flags": IFF_NOARP,
    "change": IFF_NOARP,
    "IFLA_AF_SPEC": {"attrs": [["AF_INET6", {"attrs": [["IFLA_INET6_ADDR_GEN_MODE", 1]]}]]},
}
TUNSETPERSIST = 0x400454CB  # include/uapi/linux/if_tun.h; the same on x86, arm64 and s390x


class UnusableError(Exception):
    """Why a device cannot serve, in words; becomes a DeviceError."""


_own = threading.local()


@contextlib.contextmanager
def _socket() -> Iterator[IPRoute]:
    """Give the thread's netlink socket; opening one takes nearly as long as a request."""
    ipr = getattr(_own, "ipr", None)
    if ipr is None:
        ipr = _own.ipr = IPRoute()
    try:
        yield ipr
    except BaseException:  # an answer may still be under way
        close_netlink()
        raise


def close_netlink() -> None:
    """Close the socket of this thread, if it has one."""
    if (ipr := getattr(_own, "ipr", None)) is not None:
        _own.ipr = None
        ipr.close()


def parse(message: Any) -> Device:
    """Read what the kernel says of a device."""
    kind = message.get(("linkinfo", "kind"))
    if kind == "tun":
        kind = "tap" if message.get(("linkinfo", "data", "tun_type")) in (TUN_TYPE_TAP, None) else "tun"
    return Device(
        index=message["index"],
        name=message.get("ifname"),
        mtu=message.get("mtu"),
        up=bool(message["flags"] & IFF_UP),
        carrier=bool(message.get("carrier")),
        kind=kind,
        altnames=tuple(value for _, value in (message.get("prop_list") or {}).get("attrs", ())),
        tx_dropped=(message.get("stats64") or {}).get("tx_dropped", 0),
    )


def _ask(ipr: IPRoute, device: str | int) -> Any:
    """Return the kernel's message on a device, by its index or any of its names; None: there is none."""
    is_short = isinstance(device, str) and len(device.encode()) <= NAME_MAX
    key = (
        "index" if isinstance(device, int) else "ifname" if is_short else "altname"
    )  # short ones may be either
    try:
        return next(iter(ipr.link("get", **{key: device})))
    except NetlinkError as error:
        if error.code == errno.ENODEV:
            return None
        raise


def _find(ipr: IPRoute, device: str | int) -> Device | None:
    return None if (message := _ask(ipr, device)) is None else parse(message)


def _need(ipr: IPRoute, device: str) -> Device:
    if (link := _find(ipr, device)) is None:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
    return link


def get(device: str | int) -> Device | None:
    """Look a device up; None: there is none."""
    with _socket() as ipr:
        return _find(ipr, device)


def inspect(device: str | int) -> DeviceInfo | None:
    """Look at everything about a device that the audit judges; None: there is none."""
    with _socket() as ipr:
        return None if (message := _ask(ipr, device)) is None else read_info(ipr, message)


def change(device: str, changes: dict[str, object]) -> None:
    """Change attributes of a device."""
    with _socket() as ipr:
        ipr.link("set", index=_need(ipr, device).index, **changes)


def delete(device: str, index: int | None) -> bool:
    """Remove the device: the one of this index, whatever it is called now, or the one of this name."""
    with _socket() as ipr:
        link = _find(ipr, device if index is None else index)
        if link is None:
            return False
        ipr.link("del", index=link.index)
        return True


def check_tap(device: str) -> None:
    """Refuse what `ensure_tap` would, in so far as it can be known before."""
    with _socket() as ipr:
        if (link := _find(ipr, device)) is not None:
            _refuse_no_tap(link)


def _refuse_no_tap(link: Device) -> None:
    if link.kind != "tap":
        raise UnusableError(f'it is no tap but {link.kind or "a NIC"}; bridge it with kind = "link"')


def ensure_tap(device: str, mtu: int | None, mac: int | None, create: bool) -> Created:
    """Have a tap of this name, up, with this MTU; it is made, with this address, if `create` allows it."""
    with _socket() as ipr:
        made = create and _find(ipr, device) is None
        if made:
            ipr.link("add", ifname=device, kind="tuntap", mode="tap")
        link = _need(ipr, device)
        _refuse_no_tap(link)
        changes: dict[str, object] = {} if link.up else {"state": "up"}
        if mtu not in (None, link.mtu):
            changes["mtu"] = mtu
        if made and mac:
            changes["address"] = format_mac(mac)
        try:
            if changes:
                ipr.link("set", index=link.index, **changes)
        except NetlinkError:
            if made:
                ipr.link("del", index=link.index)
            raise
        return Created(_need(ipr, device), made)


def check_link(device: str) -> None:
    """Refuse what `ensure_link` would, in so far as it can be known before."""
    with _socket() as ipr:
        if _find(ipr, device) is None:
            _find_parent(ipr, device)


def _find_parent(ipr: IPRoute, device: str) -> tuple[Device, int]:
    """Find what a VLAN interface of this name would be made of: its parent and its VID."""
    name, _, vid = device.rpartition(".")
    parent = _find(ipr, name) if name and vid.isdecimal() and 0 < int(vid) < 4095 else None
    if parent is None:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
    return parent, int(vid)


def ensure_link(device: str, create: bool) -> Created:
    """Have a device of this name; a missing `eth1.100` is made if `create` allows it."""
    with _socket() as ipr:
        if not create:
            return Created(_need(ipr, device), False)
        if (link := _find(ipr, device)) is not None:
            return Created(link, False)
        _add_vlan_interface(ipr, device, *_find_parent(ipr, device))
        return Created(_need(ipr, device), True)


def _add_vlan_interface(ipr: IPRoute, device: str, parent: Device, vid: int) -> None:
    try:
        ipr.link("add", ifname=device, kind="vlan", link=parent.index, vlan_id=vid)
    except NetlinkError as error:
        if error.code != errno.EOPNOTSUPP:
            raise
        raise UnusableError(
            "this kernel makes no VLAN interfaces (no module 8021q); "
            f"a trunk port on {parent.name!r} with vlan = {{ trunk = [{vid}] }} needs none"
        ) from error
    try:
        ipr.link("set", index=_need(ipr, device).index, state="up")
    except NetlinkError as error:
        if error.code != errno.ENETDOWN:  # its parent is down; it comes up with it
            raise


def set_persist(fd: int, persist: bool) -> None:
    """Have an attached tap stay, or vanish with its last descriptor."""
    fcntl.ioctl(fd, TUNSETPERSIST, int(persist))


class Pair(NamedTuple):
    """A veth pair to be made; `label` marks our end as made for this port."""

    ours: str
    guest: str
    mac: int
    mtu: int | None
    label: str


def ensure_pair(pair: Pair, namespace: int) -> Created:
    """Have a pair, our end up and of no use to the kernel here, the other in the namespace of a descriptor.

    One that was made for the port before, and was left by a daemon that was killed or told to, is taken over.
    """
    with _socket() as ipr:
        if (message := _ask(ipr, pair.ours)) is not None:
            found = parse(message)
            if found.kind != "veth" or message.get("ifalias") != pair.label:
                raise UnusableError("it is there already and not of this port; remove it, or rename the port")
            ipr.link("set", index=found.index, state="up", **({"mtu": pair.mtu} if pair.mtu else {}))
            return Created(_need(ipr, pair.ours), False)
        mtu = {"mtu": pair.mtu} if pair.mtu else {}
        peer = {"ifname": pair.guest, "net_ns_fd": namespace, "address": format_mac(pair.mac), **mtu}
        ipr.link("add", ifname=pair.ours, kind="veth", peer=peer, **mtu)
        link = _need(ipr, pair.ours)
        try:
            ipr.link("set", index=link.index, ifalias=pair.label, **_OF_NO_USE_HERE)
            ipr.link("set", index=link.index, state="up")
        except NetlinkError:
            ipr.link("del", index=link.index)
            raise
        return Created(_need(ipr, pair.ours), True)


def open_netlink() -> int:
    """Open a netlink socket in the namespace of this thread."""
    kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC
    return socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE).detach()
