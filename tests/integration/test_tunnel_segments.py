"""A super-frame inside VXLAN, cut by the bridge and by the kernel: byte for byte the same wire frames.

    guest: vxlan0 over g0 ── m0 ═ a kernel bridge ═ m1, which segments nothing ── s0: sink

The kernel's own bridge forwards the very buffer whose copy a packet socket on m0 takes: what arrives at s0 is what the
kernel makes of it, and what the bridge makes of the copy must be that.
"""

from __future__ import annotations

from typing import Any

import pytest
from helpers import frames, kernel
from helpers.bridge import SECRET
from helpers.frames import Segment
from helpers.kernel import VnetHeader
from helpers.net import HERE, Namespace, Net, Received, capability
from helpers.tunnels import vxlan_device
from model import Frame, Offload

from bridge.core import _core
from bridge.core.values import PortRow
from bridge.lab.netns import find_index

pytestmark = pytest.mark.root

OFF = dict.fromkeys(
    [
        "tx-checksumming",
        "tcp-segmentation-offload",
        "generic-segmentation-offload",
        "tx-udp-segmentation",
        "tx-udp_tnl-segmentation",
        "tx-udp_tnl-csum-segmentation",
    ],
    False,
)
INNER = {
    "tcp4": (
        kernel.VNET_GSO_TCPV4,
        lambda n: frames.tcp(frames.host(2), frames.host(1), payload_len=n, options=12),
    ),
    "tcp6": (
        kernel.VNET_GSO_TCPV6,
        lambda n: frames.tcp(frames.host(2), frames.host(1), payload_len=n, version=6),
    ),
    "udp": (kernel.VNET_GSO_UDP_L4, lambda n: frames.udp(frames.host(2), frames.host(1), payload_len=n)),
}
GSO_NAMES = {number: name for name, (number, _build) in INNER.items()}
ADDRESSES = {4: ("10.0.0.1", "10.0.0.2", 24), 6: ("fd00::1", "fd00::2", 64)}


class Site:
    """The guest's tunnel, a look at what leaves it, and the sink."""

    def __init__(self, net: Net, version: int, csum: bool) -> None:
        guest, middle, sink = net.namespace(ipv6=True), net.namespace(), net.namespace()
        net.veth("g0", "m0", guest, middle)
        net.veth("m1", "s0", middle, sink)
        middle.set_features("m1", {name: on for name, on in OFF.items() if name in middle.features("m1")})
        join(middle, "m0", "m1")
        local, remote, prefix = ADDRESSES[version]
        guest.add_address("g0", local, prefix)
        vxlan_device(guest, "g0", local, remote, str((sink.link("s0") or {})["address"]), csum=csum)
        self.inside = net.packet_socket("vxlan0", guest, vnet=True)
        self.before = net.packet_socket("m0", middle, vnet=True)
        self.behind = net.packet_socket("s0", sink)

    def send(self, gso: str, payload_len: int, gso_size: int) -> tuple[Received, list[bytes]]:
        """A super-frame into the tunnel: as it left the guest, and what the kernel made of it."""
        number, build = INNER[gso]
        segment: Segment = build(payload_len)
        header = VnetHeader(
            kernel.VNET_NEEDS_CSUM, number, segment.hdr_len, gso_size, segment.csum_start, segment.csum_offset
        )
        self.inside.send(segment.data, header)
        whole = self.before.wait_for(is_tunnelled)
        n_segments = -(-payload_len // gso_size)
        return whole, [self.behind.wait_for(is_tunnelled).data for _ in range(n_segments)]


def is_tunnelled(frame: Received) -> bool:
    """Whether it is of what was sent into the tunnel, and not what hosts say of their own accord."""
    inside = {b"\x08\x00": 50, b"\x86\xdd": 70}.get(frame.data[12:14], 0)
    return frame.data[inside : inside + 12] == frames.host(2) + frames.host(1)


def join(space: Namespace, *devices: str) -> None:
    """Make the devices ports of a kernel bridge."""

    def work(ipr: Any) -> None:
        with capability("a kernel bridge"):
            ipr.link("add", ifname="br0", kind="bridge")
        for device in devices:
            ipr.link("set", index=find_index(ipr, device), master=find_index(ipr, "br0"))

    space.netlink(work)
    space.set_link("br0", state="up")


def cut(whole: Received) -> list[bytes]:
    """What the bridge makes of it for a port that takes no super-frames."""
    bridge = _core.Bridge(secret=SECRET)
    taker = bridge.open_memory(1, slots=1024, vnet=False)
    forward(bridge, taker, whole)
    return [frame.data for frame in taker.drain()]


def forward(bridge: _core.Bridge, taker: _core.Port, whole: Received) -> None:
    """From a memory port to the port that takes it."""
    vnet = whole.vnet
    assert vnet is not None
    source = bridge.open_memory(0, slots=64)
    snapshot = _core.Snapshot()
    for port in (source, taker):
        snapshot.add_port(port, PortRow(mode="access", pvid=1, mtu=1500))
    bridge.apply(snapshot)
    offload = Offload(
        True, vnet.csum_start, vnet.csum_offset, GSO_NAMES[vnet.gso_type], False, vnet.gso_size, vnet.hdr_len
    )
    assert source.inject([Frame(whole.data, None, offload)]) == 1
    while bridge.turn():
        pass


@pytest.mark.parametrize("gso", INNER)
@pytest.mark.parametrize("csum", [True, False], ids=["outer checksum", "no outer checksum"])
@pytest.mark.parametrize("version", [4, 6])
def test_the_kernel_makes_the_same_of_it(net: Net, version: int, csum: bool, gso: str) -> None:
    site = Site(net, version, csum)
    for payload_len, gso_size in ((2000, 1000), (3001, 1000), (60_000, 1300), (20_001, 500), (1301, 1300)):
        whole, wanted = site.send(gso, payload_len, gso_size)
        assert whole.vnet is not None
        assert whole.vnet.csum_start >= 84, "the header of the inner segment"
        assert cut(whole) == wanted, f"{payload_len} bytes in segments of {gso_size}"


@pytest.mark.parametrize("gso", INNER)
@pytest.mark.parametrize("csum", [True, False], ids=["outer checksum", "no outer checksum"])
@pytest.mark.parametrize("version", [4, 6])
def test_a_link_sends_the_same(net: Net, version: int, csum: bool, gso: str) -> None:
    """Datagrams with a checksum leave together; a device that cuts nothing has the kernel take them apart again."""
    site = Site(net, version, csum)
    net.veth("k0", "k1")
    HERE.set_features("k0", {name: on for name, on in OFF.items() if name in HERE.features("k0")})
    wire = net.packet_socket("k1")
    for payload_len, gso_size in ((2000, 1000), (60_000, 1300), (47 * 1300, 1300), (20_001, 500)):
        whole, wanted = site.send(gso, payload_len, gso_size)
        bridge = _core.Bridge(secret=SECRET)
        taker = bridge.open_link(1, "k0")
        forward(bridge, taker, whole)
        assert [wire.wait_for(is_tunnelled).data for _ in wanted] == wanted, f"{payload_len} bytes"
        assert bridge.counters().ports[1].tx_drops == {}
        bridge.apply(_core.Snapshot())
        bridge.close_port(taker)
