"""A network device as a value, and what is wrong with one as a sentence.

Pure, but for a look at /dev/net/tun and at what this process may when a call was refused.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from pyroute2.netlink.exceptions import NetlinkError

from bridge import privileges
from bridge.errors import FramebridgeError


@dataclass(frozen=True, slots=True)
class Device:
    """A network device as the kernel describes it.

    `kind` is rtnetlink's (veth, vlan, bridge, ...), but `tap` or `tun` for the two forms of tun; None: a NIC.
    `tx_dropped` is a count of that moment, which makes it no other device.
    """

    index: int
    name: str
    mtu: int
    up: bool
    carrier: bool
    kind: str | None
    altnames: tuple[str, ...] = ()
    tx_dropped: int = field(default=0, compare=False)

    def is_called(self, name: str) -> bool:
        """Whether this is a name of it."""
        return name == self.name or name in self.altnames


class Created(NamedTuple):
    """A device that is there now; `made`: it was not there before."""

    link: Device
    made: bool


class DeviceError(FramebridgeError):
    """A device or namespace that cannot be used: which, why, and the way out."""

    def __init__(self, device: str, netns: str | None, message: str, *, is_missing: bool = False) -> None:
        """Make the error; `is_missing`: nothing is wrong but that it is not there."""
        self.device = device
        self.netns = netns
        self.is_missing = is_missing
        subject = f"device {device!r}" if device else ""
        place = f"namespace {netns!r}" if netns else ""
        super().__init__(f"{' in '.join(filter(None, (subject, place)))}: {message}")


TUN = "/dev/net/tun"
NO_DEVICE = "; create the device first, or correct `device` and `netns`"
MISSING = (errno.ENODEV, errno.ENXIO, errno.EBADFD)
WAYS_OUT = {
    errno.ENODEV: NO_DEVICE,
    errno.ENXIO: NO_DEVICE,
    errno.EBADFD: "; the device went away meanwhile",
    errno.EBUSY: '; another program owns it: stop that program, or bridge its tap with kind = "link"',
    errno.EEXIST: "; another device has that name, or that VLAN of the same parent",
    errno.ENOENT: "; /dev/net/tun is missing: `modprobe tun`, or hand that device to the container",
}


def explain(error: OSError | NetlinkError, device: str, netns: str | None, action: str) -> DeviceError:
    """Turn a failed system call or netlink request into a sentence with the way out."""
    code = error_code(error)
    reason = os.strerror(code) if code > 0 else str(error)
    if code == errno.EPERM:
        way_out = privileges.way_out(privileges.PORTS)
    else:
        way_out = _why_denied() if code == errno.EACCES else WAYS_OUT.get(code, "")
    return DeviceError(device, netns, f"cannot {action}: {reason}{way_out}", is_missing=code in MISSING)


def _why_denied() -> str:
    """Explain EACCES: capabilities, if this process lacks them, else the mode of /dev/net/tun."""
    if privileges.missing(privileges.PORTS) or os.access(TUN, os.R_OK | os.W_OK, effective_ids=True):
        return privileges.way_out(privileges.PORTS)
    mode = stat.S_IMODE(Path(TUN).stat().st_mode)
    return (
        f"; {TUN} has mode {mode:04o}: let this user read and write it (`chmod 0666 {TUN}`, or a udev rule)"
    )


def error_code(error: Exception) -> int:
    """Find the errno of a failed system call or netlink request; 0: it has none."""
    return getattr(error, "code", None) or getattr(error, "errno", None) or 0
