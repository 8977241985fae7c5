"""Network namespaces to build labs in: made, entered, joined, waited for, and gone when the block ends.

The one toolkit of the lab, of the benchmarks (bench/lab/net.py) and of the tests (tests/helpers/net.py), which put
their own names and errors around it. Needs root. Work inside a namespace runs in a short-lived thread that entered
it: the caller never moves, and sockets or programs made there stay there. Netlink by pyroute2, no program is needed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from pyroute2 import IPRoute, netns

from bridge.errors import FramebridgeError

NETNS_DIR = Path("/run/netns")
PAUSE_MIN, PAUSE_MAX = 0.0005, 0.02  # seconds between looks

T = TypeVar("T")


class NotInTimeError(FramebridgeError):
    """What was waited for did not come about."""


def wait_until(condition: Callable[[], T], what: str, timeout: float) -> T:
    """Call `condition` until it returns something true; return that, or raise NotInTimeError."""
    end = time.monotonic() + timeout
    pause = PAUSE_MIN
    while not (result := condition()):
        if time.monotonic() >= end:
            raise NotInTimeError(f"not within {timeout:g} s: {what}")
        time.sleep(pause)
        pause = min(2 * pause, PAUSE_MAX)
    return result


# -- inside


def run_in(name: str | None, function: Callable[..., T], *args: Any, **options: Any) -> T:
    """Call `function` in a thread inside a namespace (None: this process's own); give what it returns or raises."""
    outcome: list[tuple[bool, Any]] = []

    def work() -> None:
        try:
            if name is not None:
                fd = os.open(NETNS_DIR / name, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    netns.setns(fd)
                finally:
                    os.close(fd)
            outcome.append((True, function(*args, **options)))
        except BaseException as error:  # handed to the caller
            outcome.append((False, error))

    thread = threading.Thread(target=work, name=f"inside {name}")
    thread.start()
    thread.join()
    good, value = outcome[0]
    if not good:
        raise value
    result: T = value
    return result


def netlink(name: str | None, function: Callable[[IPRoute], T]) -> T:
    """Call `function` with a netlink socket of a namespace."""

    def work() -> T:
        with IPRoute() as ipr:
            return function(ipr)

    return run_in(name, work)


def find_index(ipr: IPRoute, device: str) -> int:
    """Give the index of a device; raises OSError (ENODEV)."""
    found = list(ipr.link_lookup(ifname=device))
    if not found:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), device)
    return int(found[0])


def silence_ipv6() -> None:
    """Stop router solicitations and the like on every device the current namespace will ever have."""
    for scope in ("all", "default"):
        switch = Path(f"/proc/sys/net/ipv6/conf/{scope}/disable_ipv6")
        if switch.exists():
            switch.write_text("1")


# -- namespaces


@contextlib.contextmanager
def namespace(name: str, *, ipv6: bool = True) -> Iterator[str]:
    """Make a namespace with its loopback up. Without `ipv6` nothing in it sends a frame of its own accord."""
    netns.create(name)
    try:
        if not ipv6:
            run_in(name, silence_ipv6)
        set_link(name, "lo", state="up")
        yield name
    finally:
        remove(name)


def remove(name: str, *, with_programs: bool = False) -> None:
    """Take a name away; idempotent. The namespace ends with its last program, which `with_programs` kills first."""
    if not (NETNS_DIR / name).exists():
        return
    if with_programs:
        for pid in programs(name):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(FileNotFoundError):
        netns.remove(name)


def programs(name: str) -> list[int]:
    """List the processes that run in a namespace."""
    there = (NETNS_DIR / name).stat()
    found = []
    for path in Path("/proc").glob("[0-9]*/ns/net"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            here = path.stat()
            if (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino):
                found.append(int(path.parts[2]))
    return found


def named(prefix: str) -> list[str]:
    """List the namespaces whose names begin so."""
    return sorted(path.name for path in NETNS_DIR.glob(f"{prefix}*"))


# -- devices


def set_link(name: str | None, device: str, **changes: Any) -> None:
    """Change a device (`state="up"`, `mtu=9000`, `address=...`)."""
    netlink(name, lambda ipr: ipr.link("set", index=find_index(ipr, device), **changes))


def delete_link(name: str | None, device: str) -> None:
    """Remove a device."""
    netlink(name, lambda ipr: ipr.link("del", index=find_index(ipr, device)))


def add_address(name: str | None, device: str, address: str, prefix: int) -> None:
    """Give a device an IP address."""
    netlink(
        name, lambda ipr: ipr.addr("add", index=find_index(ipr, device), address=address, prefixlen=prefix)
    )


def connect(
    left: str | None, left_device: str, right: str | None, right_device: str, *, mtu: int = 1500
) -> None:
    """Join two namespaces by a veth pair, both ends up."""
    fd = os.open(NETNS_DIR / right if right else "/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        peer = {"ifname": right_device, "net_ns_fd": fd}
        netlink(left, lambda ipr: ipr.link("add", ifname=left_device, kind="veth", peer=peer))
    finally:
        os.close(fd)
    for name, device in ((left, left_device), (right, right_device)):
        set_link(name, device, mtu=mtu, state="up")
