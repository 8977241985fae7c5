"""Taps that were moved to another network namespace: their descriptor goes on working, and leads to them.

Blocking; `look` uses a thread of its own, which enters the namespace and ends: nothing keeps a namespace alive whose
guest is gone. ioctl numbers: include/uapi/linux/if_tun.h, the same on x86, arm64 and s390x.
"""

from __future__ import annotations

import fcntl
import os
import struct
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from pyroute2 import netns as kernel_netns

from bridge.devices.device import Device
from bridge.devices.netlink import close_netlink, get

TUNGETIFF = 0x800454D2
TUNGETDEVNETNS = 0x54E3  # Linux 5.2
IFREQ_LEN = 40


class Found(NamedTuple):
    """A device, and the namespace it is in (device number and inode, as netns(7) tells namespaces apart).

    `device` is None where this process may not enter that.
    """

    name: str
    device: Device | None
    namespace: tuple[int, int]


def look(fd: int) -> Found | None:
    """Find the tap of a descriptor, wherever it is; None: there is none any more."""
    try:
        request = fcntl.ioctl(fd, TUNGETIFF, bytes(IFREQ_LEN))
        namespace = fcntl.ioctl(fd, TUNGETDEVNETNS)
    except OSError:
        return None
    (raw,) = struct.unpack_from("16s", request)
    name = raw.rstrip(b"\0").decode()
    try:
        status = os.fstat(namespace)
        with ThreadPoolExecutor(1, "framebridge-stray") as visitor:
            device = visitor.submit(_visit, namespace, name).result()
    except PermissionError:
        device = None
    finally:
        os.close(namespace)
    return Found(name, device, (status.st_dev, status.st_ino))


def _visit(namespace: int, name: str) -> Device | None:
    try:
        kernel_netns.setns(namespace)
        return get(name)
    finally:
        close_netlink()
