"""The configuration of docs/hardening.md, as the page has it, under the attacks that the page names.

web: a tap that this test holds, as QEMU does ══ tap-web ═╗
db1 ── veth ══════════════════════════════════════ tap-db1 ═╬═ framebridge ═ eth1 ── veth ── eth0: the trunk
db2 ── veth ══════════════════════════════════════ tap-db2 ═╝

Whatever comes, heartbeats of db1 to db2 (200 a second) lose nothing, and each frame of an attack is accounted for:
dropped under the reason that the page names, passed within a limit, or missed in front of its port.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from helpers import frames, kernel
from helpers.daemon import Daemon, daemon
from helpers.frames import Segment
from helpers.hosts import Stream, host, stream
from helpers.kernel import VnetHeader
from helpers.net import Net, PacketSocket, Tap
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import ICMPv6ND_NS, ICMPv6ND_RA, IPv6
from scapy.layers.l2 import ARP, Ether

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.storm]

PAGE = (Path(__file__).parents[2] / "docs" / "hardening.md").read_text()
WEB, DB1, DB2 = (frames.host(number) for number in (1, 2, 3))
SOURCE = "02:00:00:00:00:01"
EVERYBODY = "ff:ff:ff:ff:ff:ff"
HEARTBEAT = 0.005  # seconds
MANY = 3000


class Attack(NamedTuple):
    """Frames from one port, and what becomes of them: `passes` some of them, within a limit."""

    port: str
    reason: str
    frames: list[tuple[bytes, VnetHeader]]
    passes: bool = False


def plain(*sent: bytes) -> list[tuple[bytes, VnetHeader]]:
    return [(frame, VnetHeader()) for frame in sent]


def supers(to: bytes, gso_size: int, count: int) -> list[tuple[bytes, VnetHeader]]:
    """64 KB of TCP from the address that web may use."""
    segment: Segment = frames.tcp(to, WEB, payload_len=64000)
    data = segment.data[:26] + bytes([10, 99, 10, 1]) + segment.data[30:]
    header = VnetHeader(
        kernel.VNET_NEEDS_CSUM, kernel.VNET_GSO_TCPV4, segment.hdr_len, gso_size, segment.csum_start, 16
    )
    return [(data, header)] * count


def tagged(frame: bytes) -> bytes:
    return frame[:12] + frames.tag(10) + frame[12:]


def stations(count: int) -> list[bytes]:
    lots = random.Random(1)
    return [b"\x06" + lots.randbytes(5) for _ in range(count)]


MY_ARP = bytes(Ether(src=SOURCE, dst=EVERYBODY) / ARP(hwsrc=SOURCE, psrc="10.99.10.1", pdst="10.99.10.77"))
MY_NS = bytes(
    Ether(src=SOURCE, dst="33:33:ff:00:00:77") / IPv6(src="fd99:10::1", dst="ff02::1:ff00:77")
    / ICMPv6ND_NS(tgt="fd99:10::77")
)  # fmt: skip
THEIR_ARP = bytes(
    Ether(src=SOURCE, dst=EVERYBODY) / ARP(op="is-at", hwsrc=SOURCE, psrc="10.99.10.3", pdst="10.99.10.2")
)
RA = bytes(
    Ether(src=SOURCE, dst="33:33:00:00:00:01") / IPv6(src="fe80::ff:fe00:1", dst="ff02::1") / ICMPv6ND_RA()
)
OFFER = bytes(
    Ether(src=SOURCE, dst=EVERYBODY) / IP(src="10.99.10.1", dst="255.255.255.255") / UDP(sport=67, dport=68)
    / BOOTP(op=2) / DHCP(options=[("message-type", "offer"), "end"])
)  # fmt: skip

ATTACKS = {
    "MAC flood": Attack(
        "web", "locked", plain(*(frames.ethernet(frames.BROADCAST, one) for one in stations(MANY)))
    ),
    "stolen MAC address, moves": Attack(
        "web", "locked", plain(*[frames.ethernet(DB2, DB1), frames.ethernet(DB1, DB2)] * (MANY // 2))
    ),
    "stolen IP address": Attack("web", "source_guard", plain(*[THEIR_ARP] * MANY)),
    "router": Attack("web", "ra_guard", plain(*[RA] * MANY)),
    "DHCP server": Attack("web", "dhcp_guard", plain(*[OFFER] * MANY)),
    "ARP storm": Attack("web", "storm", plain(*[MY_ARP] * MANY), passes=True),
    "ND storm": Attack("web", "storm", plain(*[MY_NS] * MANY), passes=True),
    "unknown unicast": Attack(
        "web", "storm", plain(*(frames.ethernet(one, WEB) for one in stations(MANY))), passes=True
    ),
    "super-frames of 64 KB": Attack("web", "over_budget", supers(DB1, 1448, 300), passes=True),
    "gso_size 1": Attack("web", "bad_offload", supers(DB1, 1, 300)),
    "gso_size 1 to all": Attack("web", "bad_offload", supers(frames.BROADCAST, 1, 300)),
    "tiny broadcasts of the trunk": Attack(
        "uplink",
        "storm",
        plain(*(tagged(frames.ethernet(frames.BROADCAST, one)) for one in stations(2 * MANY))),
        passes=True,
    ),
}
ALWAYS_DROPS = {"storm"}  # of those that pass some: faster than their limit on any machine


class Tenants:
    """The bridge of the page, with guests on its devices."""

    def __init__(self, bridge: Daemon, web: Tap, trunk: PacketSocket) -> None:
        self.bridge = bridge
        self.heartbeat: Stream
        self.wires: dict[str, Tap | PacketSocket] = {"web": web, "uplink": trunk}

    def came(self, port: str) -> tuple[int, int]:
        """Frames that came to a port, and of them those that it was given."""
        row = self.bridge.stats(port)
        return row["rx_frames"] + row["rx_missed"] + row["rx_refused"], row["rx_frames"]

    def dropped(self, port: str) -> dict[str, int]:
        """Drops at ingress by reason."""
        drops = self.bridge.drops()
        return {reason: n for (one, way, reason), n in drops.items() if (one, way) == (port, "rx")}

    def carry_out(self, name: str) -> None:
        """Send all of an attack, and account for each frame."""
        port, reason, sent, passes = ATTACKS[name]
        before, (came, given) = self.dropped(port), self.came(port)
        for frame, header in sent:
            wire = self.wires[port]
            wire.send(frame, header) if isinstance(wire, Tap) else wire.send(frame)
        self.bridge.wait(lambda: self.came(port)[0] == came + len(sent), f"all of {name}")
        new = {one: n - before.get(one, 0) for one, n in self.dropped(port).items() if n > before.get(one, 0)}
        assert set(new) <= {reason}, name
        if not passes:
            assert new[reason] == self.came(port)[1] - given, name
        elif reason in ALWAYS_DROPS:
            assert new[reason] > 0, name


@pytest.fixture
def tenants(net: Net, tmp_path: Path) -> Iterator[Tenants]:
    middle, outside = net.namespace(), net.namespace()
    web = net.tap("tap-web", middle, vnet=True)
    net.veth("eth1", "eth0", middle, outside)
    (text,) = re.findall(r"```toml\n(.*?)```", PAGE, re.S)
    socket = tmp_path / "d.sock"
    guests = {}
    for number, name in ((2, "db1"), (3, "db2")):
        guests[name] = net.namespace()
        net.veth(f"tap-{name}", "eth0", middle, guests[name])
        guests[name].set_link("eth0", address=f"02:00:00:00:00:0{number}")
    text = text.replace("[bridge]\n", f'[bridge]\ncontrol_socket = "{socket}"\n', 1)
    with daemon(tmp_path, middle, text, socket) as bridge:
        one = Tenants(bridge, web, net.packet_socket("eth0", outside))
        db1, db2 = host(guests["db1"], "eth0", 10, 2), host(guests["db2"], "eth0", 10, 3)
        web.send(frames.ethernet(frames.BROADCAST, WEB))
        with stream(db1, db2, HEARTBEAT) as one.heartbeat:
            yield one
        bridge.finish()


def test_attacks_cost_the_heartbeats_of_others_nothing(tenants: Tenants) -> None:
    """The stream is checked when the story is over: all arrived, once, in order."""
    bridge = tenants.bridge
    bridge.wait(lambda: (10, SOURCE) in bridge.fdb(), "web to be known")
    places = {
        (10, f"02:00:00:00:00:0{n}"): (port, "dynamic") for n, port in ((1, "web"), (2, "db1"), (3, "db2"))
    }
    for name in ATTACKS:
        tenants.carry_out(name)
        tenants.heartbeat.wait_more(20)
        guests = {key: place for key, place in bridge.fdb().items() if place[0] != "uplink"}
        assert guests == places, f"{name}: nobody is learned, moved or forgotten"


def test_a_guest_cannot_be_taken_over_from_the_trunk(tenants: Tenants) -> None:
    bridge = tenants.bridge
    bridge.wait(lambda: (10, SOURCE) in bridge.fdb(), "web to be known")
    for _ in range(200):
        tenants.wires["uplink"].send(tagged(frames.ethernet(WEB, DB1)))
    bridge.wait(lambda: tenants.came("uplink")[0] >= 200, "the frames of the trunk")
    assert bridge.stats("uplink")["local_kept"] == bridge.stats("uplink")["rx_frames"]
    assert bridge.fdb()[10, "02:00:00:00:00:02"] == ("db1", "dynamic")
    tenants.heartbeat.wait_more(20)
