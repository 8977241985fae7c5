"""Offloads on real devices: every switch of `ethtool -K` on every side, byte for byte and with true checksums.

    guest ── inner end ══ tap0 ══ framebridge ══ eth1 ── veth ── eth0 ══ inner end ── external

Checksums are verified by receivers that must: the inner ends (helpers.termination) have their offloads off, so
whatever arrives is cut to wire frames and finished there, and the stack behind them checks each one; a sniffer
in front of that stack checks them once more, with the plain sum of RFC 1071, and some with scapy. Sent is
with all offloads: the stacks make super-frames and leave checksums open, until a device has it switched off.
"""

from __future__ import annotations

import itertools
import json
import os
import select
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest
from helpers import frames
from helpers.daemon import Daemon, link, tap
from helpers.hosts import PORT, UDP_SEGMENT, Host, bulk_tcp, bulk_udp, host, pattern, sweep_udp
from helpers.kernel import VNET_GSO_ECN, VNET_GSO_UDP_L4, VNET_NEEDS_CSUM, VnetHeader
from helpers.net import DEADLINE, Namespace, Net, PacketSocket, Received
from helpers.termination import end_vlan, inner_end
from scapy.layers.inet import IP, TCP, UDP, IPOption_Router_Alert, IPOption_RR
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrHopByHop
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from bridge.core import _core
from bridge.core.values import PortRow

pytestmark = pytest.mark.root

Start = Callable[..., Daemon]
IP_LEN = {4: 20, 6: 40}
TCP_BYTES = 100_000  # more than one super-frame
SWITCHES = {
    "tso": "tcp-segmentation-offload",
    "gso": "generic-segmentation-offload",
    "gro": "generic-receive-offload",
    "tx": "tx-checksumming",
    "rx": "rx-checksumming",
    "sg": "scatter-gather",
    "uso": "tx-udp-segmentation",
    "txvlan": "tx-vlan-offload",
    "rxvlan": "rx-vlan-offload",
    "uro": "rx-udp-gro-forwarding",
    "gro-list": "rx-gro-list",
}


class Shape(NamedTuple):
    """The tags of a path: mode of the guest's port, tags of the guest's own, those of the external host."""

    guest: dict[str, Any]
    far: dict[str, Any]
    guest_tags: tuple[tuple[int, int], ...]  # (TPID, VID), outermost first; (0, 0): none
    far_tags: tuple[tuple[int, int], ...]


Q, AD = frames.TPID_Q, frames.TPID_AD
SHAPES = {
    "access to 802.1Q": Shape({"access": 10}, {"trunk": [10]}, ((0, 0),), ((Q, 10),)),
    "802.1Q to 802.1Q": Shape({"trunk": [10, 20]}, {"trunk": [10, 20]}, ((Q, 10),), ((Q, 10),)),
    "tunnel to 802.1ad": Shape(
        {"tunnel": 10}, {"trunk": [10], "tpid": "802.1ad"}, ((Q, 20),), ((AD, 10), (Q, 20))
    ),
    "tunnel to 802.1Q": Shape({"tunnel": 10}, {"trunk": [10]}, ((Q, 20),), ((Q, 10), (Q, 20))),
}


class Side:
    """A device whose offloads are switched; `usual` is what can be switched there, as it was found."""

    def __init__(self, space: Namespace, device: str) -> None:
        self._space, self._device = space, device
        self.usual = {name: on for name, on in space.features(device).items() if name in SWITCHES.values()}

    def switch(self, features: dict[str, bool]) -> None:
        """Switch some; what this device does not have is left out."""
        can = {name: on for name, on in features.items() if name in self.usual}
        if can:
            self._space.set_features(self._device, can)


class Setting(NamedTuple):
    """Features to switch, by side and by their short names."""

    name: str
    sides: dict[str, dict[str, bool]]


class Site:
    """One path from end to end."""

    def __init__(self, net: Net, start: Start, shape: Shape, mtu: int) -> None:
        self.mtu = mtu
        inner = 4 * (len(shape.far_tags) - 1)  # inner tags are payload
        wire_mtu = mtu + inner
        device_mtu = wire_mtu + 4 * (shape.far_tags[0][0] == AD)
        middle, inside, outside = (net.namespace() for _ in range(3))
        net.veth("eth1", "eth0", middle, outside, mtu=device_mtu)
        self.bridge = start(
            middle,
            tap("guest", inside, mtu=wire_mtu, **shape.guest),
            link("far", "eth1", mtu=wire_mtu, **shape.far),
        )
        self.guest = station(net, inside, "tap0", shape.guest_tags, mtu, 1)
        self.external = station(net, outside, "eth0", shape.far_tags, mtu, 2)
        places = {"guest": (inside, "tap0"), "bridge": (middle, "eth1"), "external": (outside, "eth0")}
        self.sides = {name: Side(*place) for name, place in places.items()}
        self.sniffers = [net.packet_socket(end.device, end.space) for end in (self.guest, self.external)]

    @contextmanager
    def switched(self, setting: Setting) -> Iterator[None]:
        """With some offloads other than they are."""
        for name, features in setting.sides.items():
            self.sides[name].switch({SWITCHES[feature]: on for feature, on in features.items()})
        yield
        for name in setting.sides:
            self.sides[name].switch(self.sides[name].usual)

    def cross(self) -> None:
        """TCP and UDP super-frames both ways over both versions: the same bytes, the right checksums."""
        for version, ip_len in IP_LEN.items():
            longest = self.mtu - ip_len - 8
            bulk_tcp(self.guest, self.external, version, TCP_BYTES)
            bulk_udp(self.guest, self.external, version, longest)
            sweep_udp(self.guest, self.external, version, [0, 1, 17, 18, 19, longest])
        for sniffer in self.sniffers:
            check_wire(sniffer, self.mtu)
        assert (self.guest.csum_errors(), self.external.csum_errors()) == ({}, {})
        assert self.bridge.drops() == {}

    def super_frames(self) -> tuple[int, int]:
        """Super-frames received from the guest and from outside."""
        guest, far = (self.bridge.stats(name)["rx_super_frames"] for name in ("guest", "far"))
        return guest, far


def station(
    net: Net, space: Namespace, device: str, tags: tuple[tuple[int, int], ...], mtu: int, number: int
) -> Host:
    """A host behind its tags, whose every frame is whole and finished before it gets there."""
    for outer in range(len(tags)):
        tpid, vid = tags[outer]
        device = end_vlan(net, space, device, vid, tpid=tpid, mtu=mtu + 4 * (len(tags) - 1 - outer))
    space.set_features(inner_end(device), {SWITCHES["tx"]: False, SWITCHES["gso"]: False})
    return host(space, device, 10, number, ipv6=True)


def check_wire(sniffer: PacketSocket, mtu: int) -> None:
    """Everything that arrived is a wire frame, and each of its checksums is true."""
    arrived = [frame.data for frame in sniffer.waiting() if frame.data[12:14] in frames.IP_VERSIONS]
    assert len(arrived) > 50, "a sniffer that sees nothing proves nothing"
    for data in arrived:
        assert len(data) <= mtu + 14
        assert frames.is_finished(data), data.hex()
    for data in arrived[:: len(arrived) // 8]:
        assert scapy_finishes(data) == data


def scapy_finishes(data: bytes) -> bytes:
    """The frame with every length and checksum as scapy computes them."""
    frame = Ether(data)
    layer = frame
    while layer:
        for name in ("chksum", "len", "plen"):
            if name in layer.fields:
                delattr(layer, name)
        layer = layer.payload
    return bytes(frame)


SIDES = ("guest", "bridge", "external")
OFF = dict.fromkeys(SWITCHES, False)


def at_all(features: dict[str, bool]) -> dict[str, dict[str, bool]]:
    """The same on all sides."""
    return dict.fromkeys(SIDES, features)


AS_FOUND = Setting("all as they are", {})
MERGED = Setting(
    "wire frames, merged by the device of the bridge",
    {"external": {"tso": False, "uso": False}, "bridge": {"gro": True, "uro": True}},
)
EVERYWHERE_OFF = Setting("all off everywhere", at_all(OFF))
COARSE = [
    *(Setting(f"all off at the {side}", {side: OFF}) for side in SIDES),
    *(Setting(f"all off but at the {side}", {key: OFF for key in SIDES if key != side}) for side in SIDES),
    Setting("gro for UDP too", at_all({"gro": True, "uro": True})),
]
FINE = [
    *(Setting(f"{name} off everywhere", at_all({name: False})) for name in SWITCHES),
    *(
        Setting(f"{name} off at the {side}", {side: {name: False}})
        for name, side in itertools.product(("tso", "tx", "sg", "uso"), SIDES)
    ),
]


def crossed(site: Site, setting: Setting) -> tuple[int, int]:
    """Cross with a setting; the super-frames the bridge received from the guest and from outside."""
    before = site.super_frames()
    with site.switched(setting):
        try:
            site.cross()
        except Exception as error:
            raise AssertionError(f"{setting.name}: {error}") from error
    guest, far = (after - earlier for after, earlier in zip(site.super_frames(), before, strict=True))
    return guest, far


CASES = [
    ("access to 802.1Q", 1500, COARSE + FINE),
    ("tunnel to 802.1ad", 1500, COARSE + FINE),
    ("802.1Q to 802.1Q", 1500, COARSE),
    ("tunnel to 802.1Q", 1500, COARSE),
    ("access to 802.1Q", 9000, COARSE),
    ("tunnel to 802.1ad", 9000, COARSE),
]


@pytest.mark.parametrize(
    ("shape", "mtu", "settings"), CASES, ids=[f"{shape}, {mtu}" for shape, mtu, _settings in CASES]
)
def test_every_switch_on_every_side(
    net: Net, start: Start, shape: str, mtu: int, settings: list[Setting]
) -> None:
    site = Site(net, start, SHAPES[shape], mtu)

    assert min(crossed(site, AS_FOUND)) > 0
    assert crossed(site, EVERYWHERE_OFF) == (0, 0)
    merged = crossed(site, MERGED)[1]
    assert (merged > 0) == (len(SHAPES[shape].far_tags) == 1)  # with two tags, devices merge nothing
    for setting in settings:
        crossed(site, setting)


def test_lists_of_frames_are_refused_by_name(net: Net, start: Start) -> None:
    """With rx-gro-list a device merges frames without saying where their checksums are: that is no super-frame."""
    site = Site(net, start, SHAPES["access to 802.1Q"], 1500)
    listed = {
        "external": {"tso": False, "uso": False, "tx": False},
        "bridge": {"gro": True, "gro-list": True},
    }
    with site.switched(Setting("lists", listed)), site.external.socket(4, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1000)
        sock.sendto(bytes(50_000), (site.guest.ip, PORT))
        refused = site.bridge.wait(site.bridge.drops, "the list to be dropped")
    assert {*refused} == {("far", "rx", "bad_offload")}


# -- made with scapy -----------------------------------------------------------------------------------

OPTIONS = [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (1, 2)), ("NOP", None), ("WScale", 7)]
SCAPY_PACKETS = {
    "TCP": IP() / TCP(flags="PA"),
    "TCP with options": IP(tos=0x2E, id=65530, ttl=3) / TCP(flags="FPA", seq=2**32 - 3000, options=OPTIONS),
    "TCP behind IP options": IP(options=[IPOption_RR(), IPOption_Router_Alert()]) / TCP(flags="A"),
    "TCP with ECN": IP(tos=2) / TCP(flags="CEA", seq=77),
    "TCP over IPv6": IPv6(tc=0xB8, fl=0x12345) / TCP(flags="PA", options=OPTIONS),
    "TCP over IPv6 behind headers": IPv6() / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / TCP(flags="PA"),
    "UDP": IP(id=9) / UDP(),
    "UDP behind IP options": IP(options=[IPOption_RR()]) / UDP(),
    "UDP over IPv6": IPv6(hlim=2) / UDP(),
}
PAYLOADS = [1, 1000, 1001, 2000, 9999]  # bytes; some are a multiple of GSO_SIZE
GSO_SIZE = 1000


def open_packet(packet: Packet, payload: bytes) -> tuple[bytes, VnetHeader]:
    """A packet for a device that does the rest: its checksum is left open, and it may stand for many."""
    transport = TCP if TCP in packet else UDP
    gso = {(4, TCP): 1, (6, TCP): 4}.get((packet.version, transport), VNET_GSO_UDP_L4)
    gso |= VNET_GSO_ECN if transport is TCP and packet[TCP].flags.C else 0
    whole = packet / Raw(payload)
    data = bytes(whole)
    header_len = len(data) - len(payload)
    start = header_len - len(bytes(packet[transport]))
    at = 16 if transport is TCP else 6
    addresses = data[12:20] if packet.version == 4 else data[8:40]
    protocol = 6 if transport is TCP else 17
    pseudo = frames.sum16(addresses + struct.pack("!II", len(data) - start, protocol))
    data = data[: start + at] + struct.pack("!H", pseudo) + data[start + at + 2 :]
    if len(payload) <= GSO_SIZE:
        return data, VnetHeader(VNET_NEEDS_CSUM, 0, 0, 0, 14 + start, at)
    return data, VnetHeader(VNET_NEEDS_CSUM, gso, 14 + header_len, GSO_SIZE, 14 + start, at)


def addressed(packet: Packet, source: Host, to: Host) -> Packet:
    """To the station `to`, but to nobody's IP address: nobody answers."""
    packet = packet.copy()
    packet.src, packet.dst = source.address(packet.version), to.address(packet.version) + "7"
    packet.lastlayer().sport, packet.lastlayer().dport = 1111, 2222
    return packet


def wire_frames(frame: Packet, payload: bytes) -> list[bytes]:
    """What a station must get of a packet, each made by scapy from the first header to the last checksum."""
    pieces = [payload[at : at + GSO_SIZE] for at in range(0, len(payload), GSO_SIZE)]
    made = []
    for number, piece in enumerate(pieces):
        one = frame.copy()
        if IP in one:
            one[IP].id = (one[IP].id + number) & 0xFFFF
        if TCP in one:
            one[TCP].seq = (one[TCP].seq + number * GSO_SIZE) & 0xFFFFFFFF
            one[TCP].flags -= "C" if number else ""
            one[TCP].flags -= "FP" if number < len(pieces) - 1 else ""
        made.append(bytes(one / Raw(piece)).ljust(frames.MIN_LEN, b"\0"))
    return made


@pytest.mark.parametrize("shape", ["access to 802.1Q", "tunnel to 802.1ad"])
def test_super_frames_made_with_scapy(net: Net, start: Start, shape: str) -> None:
    """Headers no stack here makes, both ways: what arrives is what scapy would have sent one by one."""
    site = Site(net, start, SHAPES[shape], 1500)
    wires = [net.packet_socket(one.device, one.space, vnet=True) for one in (site.guest, site.external)]
    ends = [(site.guest, wires[0]), (site.external, wires[1])]
    for (source, sender), (sink, receiver) in (ends, ends[::-1]):
        ether = Ether(src=source.mac, dst=sink.mac)
        addresses = bytes(ether)[:12]

        def is_ours(frame: Received, addresses: bytes = addresses) -> bool:
            return frame.data.startswith(addresses)

        sender.send(bytes(ether / addressed(SCAPY_PACKETS["UDP"], source, sink)))  # so that both are known
        receiver.wait_for(is_ours)
        for name, size in itertools.product(SCAPY_PACKETS, PAYLOADS):
            packet, payload = addressed(SCAPY_PACKETS[name], source, sink), pattern(size, size)
            data, vnet = open_packet(packet, payload)
            sender.send(bytes(ether / packet)[:14] + data, vnet)
            wanted = wire_frames(ether / packet, payload)
            got = [receiver.wait_for(is_ours).data.ljust(frames.MIN_LEN, b"\0") for _ in wanted]
            assert got == wanted, f"{name}, {size} bytes from {source.device} to {sink.device}"
    assert site.bridge.drops() == {}


# -- cut in software -----------------------------------------------------------------------------------


class Patch:
    """A bridge in this process: a guest's tap, and a port without vnet header patched to a plain tap.

    What the port sends is written to the plain tap, whose stack checks every checksum; and back.
    """

    def __init__(self, net: Net, mtu: int) -> None:
        near, far = net.namespace(), net.namespace()
        self.core = _core.Bridge()
        net.callback(self._end)
        self._tap = near.run(self.core.open_tap, 0, "tap0")
        self._memory = self.core.open_memory(1, slots=4096, vnet=False)
        self._plain = net.tap("tap1", far)
        for space, device in ((near, "tap0"), (far, "tap1")):
            space.set_link(device, mtu=mtu, state="up")
        snapshot = _core.Snapshot()
        for port in (self._tap, self._memory):
            snapshot.add_port(port, PortRow(mode="access", pvid=10, mtu=mtu))
        self.core.apply(snapshot)
        self.guest = host(near, "tap0", 10, 1, ipv6=True)
        self.far = host(far, "tap1", 10, 2, ipv6=True)
        self._snapshot = snapshot
        self._stop, self._stopped = os.pipe()
        self._thread = threading.Thread(target=self._pump)
        self._thread.start()

    def _pump(self) -> None:
        """Turn the bridge and carry frames until told to stop; sleeps while there is nothing to carry."""
        while self._stop not in select.select([self._tap.fd, self._plain.fd, self._stop], [], [])[0]:
            while True:
                arrived = [frame.data for frame in self._plain.waiting()]
                assert self._memory.inject(arrived) == len(arrived)
                turned = self.core.turn()
                for frame in self._memory.drain():
                    assert frame.offload == _core.Offload()
                    self._plain.send(frame.data)
                if not arrived and not turned:
                    break

    def _end(self) -> None:
        os.close(self._stopped)
        self._thread.join(DEADLINE)
        os.close(self._stop)
        self.core.apply(_core.Snapshot())
        for port in (self._tap, self._memory):
            self.core.close_port(port)


@pytest.mark.parametrize("mtu", [1500, 9000])
def test_super_frames_are_cut_for_a_port_that_takes_none(net: Net, mtu: int) -> None:
    patch = Patch(net, mtu)
    sniffer = net.packet_socket("tap1", patch.far.space)
    for version, ip_len in IP_LEN.items():
        longest = mtu - ip_len - 8
        bulk_tcp(patch.guest, patch.far, version, 1 << 20)
        bulk_udp(patch.guest, patch.far, version, longest)
        bulk_udp(patch.guest, patch.far, version, longest // 3)
        sweep_udp(patch.guest, patch.far, version, [0, 1, 17, 18, 19, longest])
    check_wire(sniffer, mtu)

    assert (patch.guest.csum_errors(), patch.far.csum_errors()) == ({}, {})
    ports = patch.core.counters().ports
    assert ports[1].values["tx_segmented"] == ports[0].values["rx_super_frames"] > 20
    assert ports[1].values["tx_checksums"] > 0
    assert ports[1].values["tx_super_frames"] == 0
    assert ports[1].values["tx_frames"] == ports[0].values["rx_segments"]
    assert [drops for port in ports.values() for drops in (port.rx_drops, port.tx_drops) if drops] == []


# -- iperf3 --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["access to 802.1Q", "tunnel to 802.1ad"])
def test_iperf3_both_ways_at_once(net: Net, start: Start, shape: str) -> None:
    """Two TCP streams each way over either version: everything arrives, nothing is dropped."""
    site = Site(net, start, SHAPES[shape], 1500)
    net.program(["iperf3", "-s", "--forceflush"], site.external.space).wait_output("Server listening")
    for version in IP_LEN:
        command = ["iperf3", "-J", "-c", site.external.address(version), "--bidir", "-n", "20M", "-P", "2"]
        done = site.guest.space.run(subprocess.run, command, capture_output=True, text=True, timeout=DEADLINE)
        report = json.loads(done.stdout)
        assert "error" not in report, report
        for way in ("sum_received", "sum_received_bidir_reverse"):
            assert report["end"][way]["bytes"] > 0
    assert (site.guest.csum_errors(), site.external.csum_errors()) == ({}, {})
    assert site.bridge.drops() == {}
