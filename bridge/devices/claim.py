"""Claims of devices: of two daemons that would bridge one link, the second is refused.

A claim is a listening socket of an abstract name, which the kernel keeps once per network namespace and drops with its
last descriptor: so it is one of (namespace, ifindex), whatever the device is called and wherever the daemons have their
files. Blocking; called in the thread of the device's namespace. Taps need none: the kernel gives each to one process.

Refuses, as UnusableError: a link that another daemon holds. A name that is taken by somebody who could not be one of
ours, for he is neither root nor this user, holds nothing.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct

from bridge.devices.netlink import UnusableError

BACKLOG = 4096  # of those who ask whose it is: nobody takes their connections


def claim_link(index: int) -> socket.socket | None:
    """Claim a link of the namespace of this thread, until what is returned is closed; None: the name is squatted."""
    address = f"\0framebridge/link/{index}"
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        claim.bind(address)
        claim.listen(BACKLOG)
    except OSError:
        claim.close()
        if (owner := _owner(address)) is None:
            return None
        raise UnusableError(
            f"another framebridge{owner} bridges it, and both would forward each frame; stop one of the two"
        ) from None
    return claim


def _owner(address: str) -> str | None:
    """Say who holds a claim, as far as can be seen; None: nobody of ours."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        with contextlib.suppress(OSError):
            probe.connect(address)
            pid, uid, _ = struct.unpack("iII", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            if uid not in (0, os.geteuid()):
                return None
            return f" (pid {pid})" if pid else ""
    return ""
