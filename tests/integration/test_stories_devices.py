"""Devices come and go: what was learned there is forgotten, traffic resumes, and nobody else notices."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest
from helpers.daemon import Daemon, link, tap
from helpers.hosts import Host, host, stream
from helpers.net import Namespace, Net

pytestmark = pytest.mark.root


class Pair(NamedTuple):
    """Two guests and an untagged host outside, all in one VLAN; eth1 in `middle` leads to eth0 outside."""

    bridge: Daemon
    middle: Namespace
    guest: Host
    other: Host
    far: Host


@pytest.fixture
def pair(net: Net, start: Callable[..., Daemon]) -> Pair:
    middle, one, two, outside = (net.namespace() for _ in range(4))
    net.veth("eth1", "eth0", middle, outside)
    ports = (tap("one", one, access=10), tap("two", two, access=10), link("far", "eth1", access=10))
    bridge = start(middle, *ports)
    guest, other, far = host(one, "tap0", 10, 1), host(two, "tap0", 10, 2), host(outside, "eth0", 10, 9)
    return Pair(bridge, middle, guest, other, far)


def learned(pair: Pair, port: str) -> set[str]:
    return {mac for (_, mac), (where, _) in pair.bridge.fdb().items() if where == port}


@pytest.mark.smoke
def test_carrier_is_lost_and_comes_back(pair: Pair) -> None:
    assert pair.guest.ping(pair.far) == (3, 3)
    assert learned(pair, "far") == {pair.far.mac}
    with stream(pair.guest, pair.other):
        pair.far.space.set_link("eth0", state="down")
        pair.bridge.wait_state("far", "down")
        assert learned(pair, "far") == set()
        pair.far.space.set_link("eth0", state="up")
        pair.bridge.wait_state("far", "up")
        assert learned(pair, "far") == set()

    assert pair.guest.ping(pair.far) == (3, 3)
    assert learned(pair, "far") == {pair.far.mac}


def test_a_veth_is_deleted_and_made_again(net: Net, pair: Pair) -> None:
    assert pair.guest.ping(pair.far) == (3, 3)
    before, mac = pair.bridge.stats("far"), pair.far.mac
    with stream(pair.guest, pair.other):
        pair.middle.delete_link("eth1")
        pair.bridge.wait_state("far", "missing")
        assert learned(pair, "far") == set()
        net.veth("eth1", "eth0", pair.middle, pair.far.space)
        pair.bridge.wait_state("far", "up")
        assert learned(pair, "far") == set()

    pair.far.space.set_link("eth0", address=mac)
    far = host(pair.far.space, "eth0", 10, 9)
    assert pair.guest.ping(far) == (3, 3)
    assert learned(pair, "far") == {mac}
    assert pair.bridge.stats("far")["rx_frames"] >= before["rx_frames"] + 3


def test_a_guest_takes_its_interface_down_and_up(pair: Pair) -> None:
    assert pair.guest.ping(pair.far) == (3, 3)
    with stream(pair.far, pair.other):
        pair.guest.space.set_link("tap0", state="down")
        pair.bridge.wait_state("one", "down")
        assert learned(pair, "one") == set()
        pair.guest.space.set_link("tap0", state="up")
        pair.bridge.wait_state("one", "up")
        assert learned(pair, "one") == set()

    assert pair.guest.ping(pair.far) == (3, 3)
    assert learned(pair, "one") == {pair.guest.mac}


def test_a_tap_is_deleted_and_made_again_by_somebody_else(pair: Pair) -> None:
    with stream(pair.far, pair.other):
        pair.guest.space.delete_link("tap0")
        pair.bridge.wait_state("one", "missing")
        pair.guest.space.netlink(lambda ipr: ipr.link("add", ifname="tap0", kind="tuntap", mode="tap"))
        pair.guest.space.set_link("tap0", state="up")
        pair.bridge.wait_state("one", "up")

    guest = host(pair.guest.space, "tap0", 10, 1)
    assert guest.ping(pair.far) == (3, 3)
    assert pair.bridge.end() == 0
    assert guest.space.devices() == {"lo", "tap0"}  # it was not made by the daemon


def test_the_namespace_of_a_guest_ends(pair: Pair) -> None:
    """A guest that is gone for good: the others talk on, and the port is removed by hand."""
    with stream(pair.far, pair.other):
        pair.guest.space.remove()
        pair.bridge.wait_state("one", "missing")
        pair.bridge.rows("port", "del", "one")
    assert [row["port"] for row in pair.bridge.rows("port", "show")] == ["far", "two"]
