"""A packet socket bound with protocol 0 sends, with the tag inline, and never receives; none takes SO_ZEROCOPY.

A link sends through such a socket, so that nobody waits on the one whose buffers come back
(net/packet/af_packet.c:packet_do_bind, net/core/sock.c:sock_def_write_space, sk_setsockopt).
"""

from __future__ import annotations

import errno
import os
import socket

import pytest
from helpers import frames
from helpers.net import Net

pytestmark = pytest.mark.root

MINE = frames.ethernet(frames.host(2), frames.host(1), frames.tag(10))
THEIRS = frames.ethernet(frames.host(1), frames.host(2))
SO_ZEROCOPY = 60  # include/uapi/asm-generic/socket.h


def test_it_sends_and_does_not_receive(net: Net) -> None:
    net.veth("a", "b")
    both, other = net.packet_socket("a"), net.packet_socket("b")
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0) as sender:
        sender.bind(("a", 0))
        assert sender.send(MINE) == len(MINE)
        assert other.wait_inline() == MINE
        other.send(THEIRS)
        assert both.wait().data == THEIRS  # it is there for those who receive
        with pytest.raises(BlockingIOError):
            sender.recv(2048)


def test_it_does_not_send_without_copying() -> None:
    with (
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sender,
        pytest.raises(OSError, match=os.strerror(errno.EOPNOTSUPP)),
    ):
        sender.setsockopt(socket.SOL_SOCKET, SO_ZEROCOPY, 1)
