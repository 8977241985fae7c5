"""Real 802.1Q interfaces at both ends: under our port, and where the external VLAN ends."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from helpers.daemon import Daemon, link, tap
from helpers.hosts import Host, bulk_tcp, host, sweep_ping, sweep_udp
from helpers.net import Namespace, Net, wait_until
from helpers.vlan_interface import add_vlan_interface

pytestmark = pytest.mark.root

SIZES = (0, 1, 17, 18, 22, 100, 1000, 1468, 1471, 1472)  # around the padding and the MTU


@pytest.fixture
def spaces(net: Net) -> dict[str, Namespace]:
    """A guest, the bridge (eth1) and the outside (eth0), joined by a veth pair."""
    spaces = {name: net.namespace() for name in ("guest", "middle", "outside")}
    net.veth("eth1", "eth0", spaces["middle"], spaces["outside"])
    return spaces


def external(spaces: dict[str, Namespace], vid: int, number: int = 9) -> Host:
    """A host on a VLAN interface outside."""
    outside = spaces["outside"]
    return host(outside, add_vlan_interface(outside, "eth0", vid), vid, number, ipv6=True)


def check_reach(one: Host, other: Host) -> None:
    """Pings, every byte of many sizes, and TCP with the offloads of the hosts."""
    assert one.ping(other) == other.ping(one) == (3, 3)
    for version, header in ((4, 0), (6, 20)):
        sizes = [size - header for size in SIZES if size >= header]
        sweep_ping(one, other, version, sizes)
        sweep_udp(one, other, version, sizes)
        bulk_tcp(one, other, version, 1 << 20)
    assert one.csum_errors() == other.csum_errors() == {}


def test_a_port_on_a_vlan_interface(spaces: dict[str, Namespace], start: Callable[..., Daemon]) -> None:
    """The daemon makes eth1.100, bridges it untagged, and takes it away in the end."""
    far = external(spaces, 100)
    middle = spaces["middle"]
    guests = tap("guest", spaces["guest"], access=100)
    bridge = start(middle, guests, link("uplink", "eth1.100", access=100))
    bridge.wait_state("uplink", "up")
    near = host(spaces["guest"], "tap0", 100, 1, ipv6=True)

    check_reach(near, far)

    assert middle.devices() == {"lo", "eth1", "eth1.100"}
    assert bridge.fdb() == {
        (100, near.mac): ("guest", "dynamic"),
        (100, far.mac): ("uplink", "dynamic"),
    }
    bridge.check_books()
    assert bridge.end() == 0
    wait_until(lambda: middle.devices() == {"lo", "eth1"}, "eth1.100 to go")


def test_a_vlan_interface_that_was_there_stays(
    spaces: dict[str, Namespace], start: Callable[..., Daemon]
) -> None:
    far = external(spaces, 100)
    middle = spaces["middle"]
    add_vlan_interface(middle, "eth1", 100)
    guests = tap("guest", spaces["guest"], access=100)
    bridge = start(middle, guests, link("uplink", "eth1.100", access=100))
    bridge.wait_state("uplink", "up")

    assert host(spaces["guest"], "tap0", 100, 1).ping(far) == (3, 3)

    assert bridge.end() == 0
    assert middle.devices() == {"lo", "eth1", "eth1.100"}


def test_a_trunk_against_vlan_interfaces(spaces: dict[str, Namespace], start: Callable[..., Daemon]) -> None:
    far_ten, far_twenty = external(spaces, 10), external(spaces, 20)
    ports = [
        tap("ten", spaces["guest"], "tap0", access=10),
        tap("twenty", spaces["guest"], "tap1", access=20),
    ]
    bridge = start(spaces["middle"], *ports, link("uplink", "eth1", trunk=[10, 20]))
    bridge.wait_state("uplink", "up")
    ten = host(spaces["guest"], "tap0", 10, 1, ipv6=True)
    twenty = host(spaces["guest"], "tap1", 20, 1)

    check_reach(ten, far_ten)
    assert twenty.ping(far_twenty) == (3, 3)

    assert {vid for vid, _mac in bridge.fdb()} == {10, 20}


def test_vlans_of_a_customer_in_a_vlan_of_the_provider(
    spaces: dict[str, Namespace], start: Callable[..., Daemon]
) -> None:
    """The guest's VLAN 20 travels inside VLAN 10: a tunnel port here, eth0.10.20 outside."""
    outside, guest = spaces["outside"], spaces["guest"]
    inner = add_vlan_interface(outside, add_vlan_interface(outside, "eth0", 10), 20)
    far = host(outside, inner, 30, 9, ipv6=True)
    bridge = start(spaces["middle"], tap("guest", guest, tunnel=10), link("uplink", "eth1", trunk=[10]))
    bridge.wait_state("uplink", "up")
    own = add_vlan_interface(guest, "tap0", 20)
    near = host(guest, own, 30, 1, ipv6=True)
    for space, device in ((outside, inner), (guest, own)):
        space.set_link(device, mtu=1496)  # one tag more is four bytes of payload less (R2)

    assert near.ping(far) == far.ping(near) == (3, 3)
    for version, most in ((4, 1468), (6, 1448)):
        sweep_ping(near, far, version, (0, 100, most))
        sweep_udp(near, far, version, (0, 100, most))
        bulk_tcp(near, far, version, 1 << 20)
