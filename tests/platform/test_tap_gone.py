"""What a tap descriptor says when its device is taken away, set down, or never was up.

Deleted under an open descriptor: poll() says POLLERR, read and write fail with EBADFD for ever; the
descriptor can be attached to a new device of the name. Down: write fails with EIO, read with EAGAIN
(nothing can be queued). Decided by drivers/net/tun.c:tun_chr_read_iter and tun_chr_write_iter
(tun_get() is NULL: EBADFD), tun_chr_poll, and tun_get_user (`!(tun->dev->flags & IFF_UP)`: EIO).
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import struct

import pytest
from helpers import frames, kernel
from helpers.net import HERE, Net

pytestmark = pytest.mark.root

FRAME = frames.ethernet(frames.host(2), frames.host(1))


def test_deleted(net: Net) -> None:
    tap = net.tap("t")
    poller = select.poll()
    poller.register(tap.fd, select.POLLIN)
    HERE.delete_link("t")
    assert poller.poll(0) == [(tap.fd, select.POLLERR)]
    for _again in range(2):
        with pytest.raises(OSError, match="bad state") as refusal:
            os.read(tap.fd, 100)
        assert refusal.value.errno == kernel.EBADFD
        with pytest.raises(OSError, match="bad state") as refusal:
            tap.send(FRAME)
        assert refusal.value.errno == kernel.EBADFD


def test_deleted_then_attached_again(net: Net) -> None:
    tap = net.tap("t")
    HERE.delete_link("t")
    fcntl.ioctl(tap.fd, kernel.TUNSETIFF, struct.pack("16sH22x", b"t", kernel.IFF_TAP | kernel.IFF_NO_PI))
    HERE.set_link("t", state="up")
    assert tap.send(FRAME) == len(FRAME)


def test_down(net: Net) -> None:
    tap = net.tap("t")
    HERE.set_link("t", state="down")
    with pytest.raises(OSError, match="Input/output") as refusal:
        tap.send(FRAME)
    assert refusal.value.errno == errno.EIO
    with pytest.raises(BlockingIOError):
        tap.receive()
    HERE.set_link("t", state="up")
    assert tap.send(FRAME) == len(FRAME)
