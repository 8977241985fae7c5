"""ping, UDP and TCP of every size up to the MTU, tagged and untagged, both ways, IPv4 and IPv6.

A guest on a tap talks to a host behind a link port; each is tagged (its port is a trunk and the VLAN ends
behind it) or untagged (an access port). The receiving stack drops what has a wrong checksum. With offloads
the checksum of a packet is left open between hosts: "not at the bridge" switches them off at the device the
bridge sends to, so that the kernel completes what our metadata says, and "not at the hosts" at the senders,
so that every packet is complete from the first.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from helpers import frames, kernel
from helpers.daemon import Daemon, link, tap
from helpers.hosts import Host, bulk_tcp, bulk_udp, host, sweep_ping, sweep_tcp, sweep_udp
from helpers.net import Namespace, Net, wait_until
from helpers.termination import end_vlan
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

pytestmark = pytest.mark.root

Start = Callable[..., Daemon]
IP_LEN = {4: 20, 6: 40}
TCP_LEN = 32  # with timestamps


def sizes(longest: int, step: int) -> Sequence[int]:
    """Every size, or every `step`th and those at both ends."""
    edges = {*range(70), *range(longest - 20, longest + 1)}
    return sorted(edges | {*range(0, longest, step)})


def all_sizes_cross(one: Host, other: Host, mtu: int, step: int) -> None:
    for version, ip_len in IP_LEN.items():
        longest = mtu - ip_len - 8
        sweep_ping(one, other, version, sizes(longest, step))
        sweep_udp(one, other, version, [*sizes(longest, step), longest + 1, 60_000])  # two in fragments
        sweep_tcp(one, other, version, sizes(longest - TCP_LEN + 8, step)[1:])
        bulk_udp(one, other, version, longest)
        bulk_tcp(one, other, version)


ENDS = list(itertools.product(("untagged", "tagged"), repeat=2))
CASES = [
    *((near, far, 1500, "everywhere", 1) for near, far in ENDS),
    *((near, far, 1500, "not at the bridge", 1) for near, far in ENDS),
    *((near, far, 1500, "not at the hosts", 1) for near, far in ENDS if near != far),
    ("untagged", "tagged", 9000, "everywhere", 1),
    ("tagged", "untagged", 9000, "everywhere", 7),
    ("tagged", "tagged", 9000, "not at the bridge", 7),
]


def vlan_of(end: str) -> dict[str, Any]:
    return {"trunk": [10, 20]} if end == "tagged" else {"access": 10}


def host_at(net: Net, space: Namespace, device: str, end: str, mtu: int, number: int) -> Host:
    """A host on a device, or where VLAN 10 of that device ends."""
    if end == "tagged":
        device = end_vlan(net, space, device, 10, mtu=mtu)
    return host(space, device, 10, number, ipv6=True)


@pytest.mark.parametrize(("near", "far", "mtu", "offload", "step"), CASES)
def test_every_size_crosses(
    net: Net, start: Start, near: str, far: str, mtu: int, offload: str, step: int
) -> None:
    middle, inside, outside = net.namespace(), net.namespace(), net.namespace()
    net.veth("eth1", "eth0", middle, outside, mtu=mtu)
    bridge = start(
        middle, tap("guest", inside, mtu=mtu, **vlan_of(near)), link("far", "eth1", **vlan_of(far))
    )
    guest = host_at(net, inside, "tap0", near, mtu, 1)
    external = host_at(net, outside, "eth0", far, mtu, 2)
    without = {
        "not at the hosts": [(inside, "tap0"), (outside, "eth0")],
        "not at the bridge": [(middle, "eth1")],
    }
    for space, device in without.get(offload, []):
        space.set_offload(device, kernel.ETHTOOL_STXCSUM, False)

    all_sizes_cross(guest, external, mtu, step)

    assert (guest.csum_errors(), external.csum_errors()) == ({}, {})
    assert bridge.drops() == {}
    super_frames = [bridge.stats(name)["rx_super_frames"] for name in ("guest", "far")]
    assert [count > 0 for count in super_frames] == [offload != "not at the hosts"] * 2
    assert bridge.port("guest")["mtu"] == bridge.port("far")["mtu"] == mtu


def test_the_checks_of_the_receiver_are_real(net: Net, start: Start) -> None:
    """A wrong checksum crosses as it is and is dropped by the receiver, which is how a sweep would notice."""
    middle, near, outside = net.namespace(), net.namespace(), net.namespace()
    net.veth("eth1", "eth0", middle, outside)
    start(middle, tap("guest", near, access=10), link("uplink", "eth1", access=10))
    external = host(outside, "eth0", 10, 2)
    datagram = IP(src="10.99.10.1", dst=external.ip) / UDP(sport=1, dport=2, chksum=0x1234) / b"payload"

    net.packet_socket("tap0", near).send(bytes(Ether(dst=external.mac, src=frames.host(1)) / datagram))

    wait_until(external.csum_errors, "the receiver to count it")
    assert external.csum_errors() == {"UdpInCsumErrors": 1}
