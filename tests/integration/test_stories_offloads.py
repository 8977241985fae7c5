"""Whatever a guest writes into its offload headers, others and its own next frame are served.

guest: a tap that this test holds, as QEMU does ══ t0: link ═╗
a: a tap of the bridge ═════════════════════════════════════╬═ framebridge ═ eth1 ── veth ── eth0
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from helpers import frames, kernel
from helpers.daemon import Daemon, link, tap
from helpers.hosts import bulk_tcp, bulk_udp, host, stream
from helpers.kernel import VnetHeader
from helpers.net import Net
from helpers.tunnels import vxlan_device

from bridge.control.client import Client

pytestmark = pytest.mark.root

A, GUEST = frames.host(1), frames.host(2)
UFO = frames.udp(A, GUEST, payload_len=3000)
UFO_HEADER = VnetHeader(
    kernel.VNET_NEEDS_CSUM, kernel.VNET_GSO_UDP, UFO.hdr_len, 1000, UFO.csum_start, UFO.csum_offset
)


def numbered(i: int) -> bytes:
    return frames.ethernet(A, GUEST, payload=i.to_bytes(2, "big") * 30)


class Held:
    """A guest that writes its own offload headers, the guest `a`, an uplink; all in VLAN 10."""

    def __init__(self, net: Net, start: Callable[..., Daemon]) -> None:
        self.spaces = {name: net.namespace() for name in ("a", "middle", "outside")}
        self.guest = net.tap("t0", self.spaces["middle"], vnet=True)
        net.veth("eth1", "eth0", self.spaces["middle"], self.spaces["outside"])
        self.ports = {
            "guest": link("guest", "t0", access=10),
            "a": tap("a", self.spaces["a"], access=10),
            "uplink": link("uplink", "eth1", access=10),
        }
        self.bridge = start(self.spaces["middle"], *self.ports.values())
        self.a = net.packet_socket("tap0", self.spaces["a"])
        self.a.send(frames.ethernet(GUEST, A))  # so that it is known
        self.bridge.wait(lambda: self.bridge.fdb(), "the guest a to be known")

    def count(self, name: str) -> int:
        return int(self.bridge.stats("guest")[name])

    def wait_count(self, name: str, n: int) -> None:
        self.bridge.wait(lambda: self.count(name) == n, f"{name} {n}")

    def check_passes(self) -> None:
        """Twenty frames arrive."""
        sent = [numbered(i) for i in range(20)]
        for frame in sent:
            self.guest.send(frame)
        assert [self.a.wait().data for _ in sent] == sent


@pytest.fixture
def held(net: Net, start: Callable[..., Daemon]) -> Held:
    return Held(net, start)


def test_a_guest_cannot_stop_its_port(held: Held) -> None:
    """UFO is nothing a packet socket can hand over, and the kernel's receive ring ends with it. The port does not."""
    held.check_passes()
    with Client(str(held.bridge.socket)) as client:
        events = client.stream("Monitor", {})
        assert next(events) == []
        held.guest.send(UFO.data, UFO_HEADER)
        held.wait_count("rx_refused", 1)
        held.check_passes()
        assert (
            next(row for rows in events for row in rows if row["event"].startswith("rx"))["port"] == "guest"
        )
    held.bridge.wait_log("port guest: the kernel refused a super-frame")
    (finding,) = [row for row in held.bridge.rows("port", "audit") if row["check"] == "refused"]
    assert (finding["port"], finding["severity"]) == ("guest", "warning")

    for i in range(20):  # from now on each costs only itself
        held.guest.send(UFO.data, UFO_HEADER)
        held.guest.send(numbered(i))
    assert [held.a.wait().data for _ in range(20)] == [numbered(i) for i in range(20)]
    held.wait_count("rx_refused", 21)
    assert (held.count("rx_frames"), held.count("rx_missed")) == (60, 0)
    assert held.bridge.port("guest")["state"] == "up"
    assert held.bridge.drops() == {("guest", "missed", "refused"): 21}


def test_a_port_attached_anew_has_its_ring_again(held: Held) -> None:
    """And loses it again with the next one."""
    for _ in range(2):
        held.guest.send(UFO.data, UFO_HEADER)
        held.wait_count("rx_refused", 1)
        held.check_passes()
        held.bridge.rows("port", "del", "guest")
        held.bridge.rows("reload")
        held.bridge.wait_state("guest", "up")


@pytest.mark.parametrize("gso_size", [1, 8, 124])
def test_a_guest_cannot_multiply_its_frames(held: Held, gso_size: int) -> None:
    """64 KB that ask for 64000 segments, where the uplink cuts none itself: a heartbeat beside them loses nothing."""
    held.spaces["middle"].set_offload("eth1", kernel.ETHTOOL_STSO, on=False)
    guest, external = host(held.spaces["a"], "tap0", 10, 1), host(held.spaces["outside"], "eth0", 10, 2)
    for to in (frames.BROADCAST, bytes.fromhex(external.mac.replace(":", "")), A):
        segment = frames.tcp(to, GUEST, payload_len=64000)
        header = VnetHeader(
            kernel.VNET_NEEDS_CSUM, kernel.VNET_GSO_TCPV4, segment.hdr_len, gso_size, segment.csum_start, 16
        )
        with stream(guest, external, interval=0.005) as heartbeat:
            for _ in range(10):
                held.guest.send(segment.data, header)
                heartbeat.wait_more(10)
    assert held.bridge.drops() == {("guest", "rx", "bad_offload"): 30}
    assert held.count("rx_segments") == held.count("rx_frames") == 30


class Tunnelled:
    """Two guests with veths on links, each with a VXLAN to the other over the bridge."""

    def __init__(self, net: Net, start: Callable[..., Daemon], *, csum: bool) -> None:
        middle, *self.guests = (net.namespace() for _ in range(3))
        ports = []
        for number, space in enumerate(self.guests, 1):
            net.veth("eth0", f"g{number}", space, middle)
            space.add_address("eth0", f"10.98.0.{number}", 24)
            vxlan_device(space, "eth0", f"10.98.0.{number}", f"10.98.0.{3 - number}", csum=csum)
            ports.append(link(f"g{number}", f"g{number}", access=10))
        self.bridge = start(middle, *ports)
        self.hosts = [
            host(space, "vxlan0", 10, number, ipv6=True) for number, space in enumerate(self.guests, 1)
        ]


@pytest.mark.parametrize("csum", [False, True], ids=["no outer checksum", "outer checksum"])
def test_tcp_in_a_tunnel(net: Net, start: Callable[..., Daemon], csum: bool) -> None:
    """Hosts hand their devices super-frames inside VXLAN; every byte arrives, and no checksum is wrong."""
    site = Tunnelled(net, start, csum=csum)
    one, other = site.hosts
    for version in (4, 6):
        bulk_tcp(one, other, version)
        bulk_udp(one, other, version, 1000)
    assert site.bridge.drops() == {}
    assert all(site.bridge.stats(port)["rx_super_frames"] > 0 for port in ("g1", "g2"))
    assert all(site.bridge.stats(port)["tx_segmented"] > 0 for port in ("g1", "g2"))
    assert (one.csum_errors(), other.csum_errors()) == ({}, {})
