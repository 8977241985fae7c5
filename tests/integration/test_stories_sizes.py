"""ping, UDP and TCP of every size up to the MTU, tagged and untagged, both ways, IPv4 and IPv6.

A guest on a tap talks to a host that is tagged (behind the trunk) or untagged (behind an access port). The
receiving stack drops what has a wrong checksum. With offloads the checksum of a packet is left open between
hosts; `bridge` switches offload off at the devices the bridge sends to, so the kernel completes what our
metadata says, and `hosts` at the senders, so every packet is complete from the first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from helpers import frames, kernel
from helpers.daemon import Daemon, link, tap
from helpers.hosts import Host, bulk_tcp, host, silence, sweep_ping, sweep_tcp, sweep_udp
from helpers.net import Net, wait_until
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
        sweep_udp(one, other, version, sizes(longest, step))
        sweep_tcp(one, other, version, sizes(longest - TCP_LEN + 8, step)[1:])
        bulk_tcp(one, other, version)
        bulk_tcp(other, one, version)


@pytest.mark.parametrize("offload", ["everywhere", "not at the hosts", "not at the bridge"])
@pytest.mark.parametrize("far", ["tagged", "untagged"])
@pytest.mark.parametrize(("mtu", "step"), [(1500, 1), (9000, 7)])
def test_every_size_crosses(net: Net, start: Start, mtu: int, step: int, far: str, offload: str) -> None:
    middle, near, outside = net.namespace(), net.namespace(ipv6=True), net.namespace(ipv6=True)
    net.veth("eth1", "eth0", middle, outside, mtu=mtu)
    device = "eth0"
    if far == "tagged":
        device = end_vlan(net, outside, "eth0", 10, mtu=mtu)
        silence(outside, "eth0")  # it is in no VLAN
    vlan = {"trunk": [10, 20]} if far == "tagged" else {"access": 10}
    bridge = start(middle, tap("guest", near, access=10, mtu=mtu), link("uplink", "eth1", **vlan))
    guest, external = host(near, "tap0", 10, 1), host(outside, device, 10, 2)
    if offload == "not at the hosts":
        for space, name in ((near, "tap0"), (outside, "eth0"), (outside, device)):
            space.set_offload(name, kernel.ETHTOOL_STXCSUM, False)
    if offload == "not at the bridge":
        middle.set_offload("eth1", kernel.ETHTOOL_STXCSUM, False)

    all_sizes_cross(guest, external, mtu, step)

    assert (guest.csum_errors(), external.csum_errors()) == ({}, {})
    assert bridge.drops() == {}
    assert bridge.port("guest")["mtu"] == bridge.port("uplink")["mtu"] == mtu


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
