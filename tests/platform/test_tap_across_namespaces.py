"""A tap opened inside a namespace keeps working from outside: the device lives there, the descriptor here.

That is how one bridge process serves guests in many namespaces. The device belongs to the namespace its
descriptor was *opened* in, and stays attached when it is moved. Decided by
drivers/net/tun.c:tun_chr_open (sock_net of the opener) and tun_net_init (the device may move: netns is
not immutable for tun).
"""

from __future__ import annotations

import pytest
from helpers import frames
from helpers.net import HERE, NETNS_DIR, Namespace, Net, Tap

pytestmark = pytest.mark.root

IN = frames.ethernet(frames.host(2), frames.host(1))
OUT = frames.ethernet(frames.host(1), frames.host(2))


def check_both_ways(net: Net, tap: Tap, device: str, space: Namespace) -> None:
    inside = net.packet_socket(device, space)
    tap.send(IN)
    assert inside.wait().data == IN
    inside.send(OUT)
    assert tap.wait().data == OUT


def test_opened_in_the_namespace(net: Net) -> None:
    guest = net.namespace()
    tap = net.tap("t", guest)
    assert "t" in guest.devices()
    assert "t" not in HERE.devices()
    check_both_ways(net, tap, "t", guest)


def test_moved_into_the_namespace(net: Net) -> None:
    guest = net.namespace()
    tap = net.tap("t")
    with (NETNS_DIR / str(guest.name)).open() as handle:
        HERE.netlink(lambda ipr: ipr.link("set", ifname="t", net_ns_fd=handle.fileno()))
    guest.set_link("t", state="up")  # moving a device sets it down
    check_both_ways(net, tap, "t", guest)


def test_namespace_ends_first(net: Net) -> None:
    guest = net.namespace()
    tap = net.tap("t", guest)
    inside = net.packet_socket("t", guest)
    tap.send(IN)
    assert inside.wait().data == IN
    guest.remove()
    tap.send(IN)  # the open descriptor and socket keep the nameless namespace alive
    assert inside.wait().data == IN
