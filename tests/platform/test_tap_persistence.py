"""Who ends a tap: without persistence its last descriptor, with it nobody; any descriptor decides.

A persistent tap made by netlink (or `ip tuntap add`) vanishes with the descriptor that cleared its
persistence, so the program that closes it leaves nothing behind even if it is killed. Decided by
drivers/net/tun.c:__tun_chr_ioctl (TUNSETPERSIST, IFF_PERSIST) and __tun_detach (unregister_netdevice
when the last queue goes and IFF_PERSIST is not set).
"""

from __future__ import annotations

import fcntl
import os

import pytest
from helpers import kernel
from helpers.net import HERE, Net, attach_tap, capability

pytestmark = pytest.mark.root


def make_persistent_tap(net: Net, device: str) -> None:
    with capability("tap by netlink"):
        HERE.netlink(lambda ipr: ipr.link("add", ifname=device, kind="tuntap", mode="tap"))

    def remove() -> None:
        if HERE.link(device):
            HERE.delete_link(device)

    net.callback(remove)


def test_not_persistent(net: Net) -> None:
    tap = net.tap("t")
    assert HERE.link("t")
    os.close(tap.fd)
    assert HERE.link("t") is None


def test_persistent_stays_and_has_no_carrier(net: Net) -> None:
    make_persistent_tap(net, "t")
    HERE.set_link("t", state="up")
    link = HERE.link("t")
    assert link is not None
    assert not link["carrier"]
    fd = attach_tap("t")
    HERE.wait_carrier("t")
    os.close(fd)
    link = HERE.link("t")
    assert link is not None
    assert not link["carrier"]


def test_cleared_persistence_ends_with_the_descriptor(net: Net) -> None:
    make_persistent_tap(net, "t")
    fd = attach_tap("t")
    fcntl.ioctl(fd, kernel.TUNSETPERSIST, 0)
    assert HERE.link("t")
    os.close(fd)
    assert HERE.link("t") is None


def test_second_descriptor_is_refused(net: Net) -> None:
    net.tap("t")
    with pytest.raises(OSError, match="busy"):
        attach_tap("t")
