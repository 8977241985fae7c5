"""What the kernel knows of a device that decides how well a port on it works; read once, judged by an audit.

Job: rtnetlink (link, addresses), ethtool (features) and sysfs, as one value. Blocking: runs in the thread of the
device's network namespace (`Devices.inspect`). Raises what pyroute2 raises; a device without ethtool has no features.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute
from pyroute2.ethtool.ioctl import EthtoolError, IoctlEthtool
from pyroute2.netlink.exceptions import NetlinkDumpInterrupted

SCOPE_LINK = 253  # RT_SCOPE_LINK, include/uapi/linux/rtnetlink.h
MERGING = frozenset({"rx-lro", "rx-gro-list"})  # features that merge frames beyond repair
LAYERS_MAX = 4  # of devices upon devices that are looked into
BUS_DEVICES = "/sys/bus/{bus}/devices/{name}"  # the same in every network namespace, unlike /sys/class/net


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """A device. Features have ethtool's long names (net/ethtool/common.c:netdev_features_strings)."""

    index: int
    name: str
    kind: str | None  # rtnetlink's; None: a NIC
    mtu: int
    up: bool
    carrier: bool
    promiscuity: int  # how many want it promiscuous
    queue_len: int
    master: str = ""  # the device it is a part of
    master_kind: str = ""
    parent: int = 0  # index of the device a VLAN interface is of
    vlan: int = 0  # VID of a VLAN interface
    mode: str = ""  # of a macvlan: private, vepa, bridge, passthru, source
    addresses: tuple[str, ...] = ()  # IP, but for link-local ones
    on: frozenset[str] = frozenset()  # features at work
    off: frozenset[str] = frozenset()  # features that somebody switched off, or nobody on
    is_virtual_function: bool = False


def read_info(ipr: IPRoute, message: Any) -> DeviceInfo:
    """Collect the facts of the device that an rtnetlink message describes."""
    name, info = message.get("ifname"), ("linkinfo", "kind")
    kind = message.get(info)
    master = _read_master(ipr, message.get("master"))
    on, off = _read_features(name)
    on = on - MERGING | _read_merging(ipr, message)
    is_local = message.get("link_netnsid") is None  # else the index counts in another namespace
    return DeviceInfo(
        index=message["index"],
        name=name,
        kind=kind,
        mtu=message.get("mtu"),
        up=bool(message["flags"] & 1),
        carrier=bool(message.get("carrier")),
        promiscuity=message.get("promiscuity") or 0,
        queue_len=message.get("txqlen") or 0,
        master=master.get("ifname") if master else "",
        master_kind=(master.get(info) or "") if master else "",
        parent=(message.get("link") or 0) if kind == "vlan" and is_local else 0,
        vlan=(message.get(("linkinfo", "data", "vlan_id")) or 0) if kind == "vlan" else 0,
        mode=message.get(("linkinfo", "data", "macvlan_mode")) or "",
        addresses=_read_addresses(ipr, message["index"]),
        on=on,
        off=off,
        is_virtual_function=is_virtual_function(message),
    )


def _read_merging(ipr: IPRoute, message: Any, depth: int = 0) -> frozenset[str]:
    """Tell which of MERGING are at work on the devices that frames of this one really come in by.

    What a bond or a VLAN interface says of itself merges nothing: its members or its parent do.
    """
    kind, index = message.get(("linkinfo", "kind")), message["index"]
    below: list[Any] = []
    if depth < LAYERS_MAX and kind in ("bond", "team"):
        below = [one for one in ipr.link("dump", master=index) if one.get("master") == index]
    elif depth < LAYERS_MAX and kind in ("vlan", "macvlan") and message.get("link_netnsid") is None:
        below = [*filter(None, [_read_master(ipr, message.get("link"))])]
    if kind in ("bond", "team") or below:
        return frozenset[str]().union(*(_read_merging(ipr, one, depth + 1) for one in below))
    return _read_features(message.get("ifname"))[0] & MERGING


def _read_master(ipr: IPRoute, index: int | None) -> Any:
    return next(iter(ipr.link("get", index=index)), None) if index else None


def _read_addresses(ipr: IPRoute, index: int) -> tuple[str, ...]:
    while True:
        try:
            found = [*ipr.get_addr(index=index)]
        except NetlinkDumpInterrupted:  # addresses changed under the dump
            continue
        local = [message for message in found if message["scope"] < SCOPE_LINK]
        return tuple(message.get("local") or message.get("address") for message in local)


def _read_features(device: str) -> tuple[frozenset[str], frozenset[str]]:
    """Tell what is on, and what is off though it could be on and no other setting keeps it off."""
    with contextlib.closing(IoctlEthtool(device)) as ethtool:
        try:
            found = ethtool.get_features()
        except (EthtoolError, OSError):
            return frozenset(), frozenset()
    states = [
        (name, is_on, can_be_on and not found.is_requested(name)) for name, is_on, can_be_on, *_ in found
    ]
    on = frozenset(name for name, is_on, _ in states if is_on)
    return on, frozenset(name for name, _, is_off in states if is_off) - on


def is_virtual_function(message: Any) -> bool:
    """Tell whether the device an rtnetlink message describes is an SR-IOV virtual function."""
    bus, name = message.get("parent_dev_bus_name"), message.get("parent_dev_name")
    return bool(bus and name) and Path(BUS_DEVICES.format(bus=bus, name=name), "physfn").exists()
