"""epoll names a tap for as long as frames wait in it, whoever read some of them: a single read may stop there.

The data thread leaves it to epoll whether a lone frame was alone (drivers/net/tun.c:tun_chr_poll looks at the ring).
"""

from __future__ import annotations

import select

import pytest
from helpers import frames
from helpers.net import Net

pytestmark = pytest.mark.root


def test_frames_left_behind_are_named_again(net: Net) -> None:
    tap = net.tap("t")
    sender = net.packet_socket("t")
    with select.epoll() as waiting:
        waiting.register(tap.fd, select.EPOLLIN)
        for i in range(3):
            sender.send(frames.ethernet(frames.host(2), frames.host(1), payload=bytes([i])))
        for i in range(3):
            assert waiting.poll(0) == [(tap.fd, select.EPOLLIN)]
            assert tap.receive().data[14] == i
        assert waiting.poll(0) == []
