"""Frames inside tunnels, as a host hands them to its device: outer headers of the whole, the inner checksum left open.

Job: `KINDS[name](segment)` puts a frame into a tunnel; csum_start and hdr_len are those of the inner segment. Outer
checksums of UDP and GRE are as the kernel leaves them in a super-frame: the sum of the pseudo-header, or nothing.
`vxlan_device` makes a real one.
Sources: RFC 7348 (VXLAN), RFC 8926 (Geneve), RFC 2784 and 2890 (GRE), RFC 2003, 4213, 2473 (IP in IP);
net/ipv4/udp_tunnel_core.c, net/ipv6/ip6_udp_tunnel.c.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from bridge.lab.netns import find_index
from helpers.frames import Segment, ethernet, host, ipv4, ipv6, sum16
from helpers.net import Namespace, capability

UDP, GRE, IPIP, IPV6 = 17, 47, 4, 41
TEB = 0x6558  # transparent Ethernet bridging

Wrap = Callable[[Segment], Segment]


def into(outer: bytes, body: bytes, segment: Segment, removed: int) -> Segment:
    """A segment whose first `removed` bytes gave way to the headers `outer`, which come before `body`."""
    by = len(outer) - removed
    return Segment(outer + body, segment.csum_start + by, segment.csum_offset, segment.hdr_len + by)


def outside(version: int, protocol: int, header: bytes, body: bytes) -> bytes:
    """Ethernet and IP headers in front of a tunnel header."""
    packet = (ipv4 if version == 4 else ipv6)(protocol, header + body)
    frame = ethernet(host(0xB), host(0xA), ethertype=0x0800 if version == 4 else 0x86DD, payload=packet)
    return frame[: len(frame) - len(body)]


def udp(version: int, header: bytes, body: bytes, port: int, *, csum: bool) -> bytes:
    """The headers of a UDP tunnel up to `body`."""
    length = 8 + len(header) + len(body)
    addresses = (
        b"\x0a\0\0\1\x0a\0\0\2" if version == 4 else b"\xfd" + bytes(14) + b"\1\xfd" + bytes(14) + b"\2"
    )
    check = sum16(addresses + struct.pack("!II", UDP, length)) if csum else 0
    return outside(version, UDP, struct.pack("!HHHH", 50000, port, length & 0xFFFF, check) + header, body)


def vxlan(version: int, *, csum: bool) -> Wrap:
    header = struct.pack("!II", 0x08000000, 42 << 8)
    return lambda segment: into(
        udp(version, header, segment.data, 4789, csum=csum), segment.data, segment, removed=0
    )


def geneve(version: int, options: bytes, *, csum: bool) -> Wrap:
    header = struct.pack("!BBHI", len(options) // 4, 0, TEB, 42 << 8) + options
    return lambda segment: into(
        udp(version, header, segment.data, 6081, csum=csum), segment.data, segment, removed=0
    )


def gre(
    version: int, *, csum: bool = False, key: bool = False, sequence: bool = False, tap: bool = False
) -> Wrap:
    """GRE with an IP packet or, as gretap, an Ethernet frame inside."""

    def wrap(segment: Segment) -> Segment:
        body = segment.data if tap else segment.data[14:]
        kind = TEB if tap else int.from_bytes(segment.data[12:14], "big")
        header = struct.pack("!HH", csum << 15 | key << 13 | sequence << 12, kind)
        header += bytes(4 * csum) + b"\0\0\0\7" * key + b"\0\0\0\1" * sequence
        return into(outside(version, GRE, header, body), body, segment, removed=0 if tap else 14)

    return wrap


def ip_in_ip(version: int) -> Wrap:
    def wrap(segment: Segment) -> Segment:
        body = segment.data[14:]
        protocol = IPIP if segment.data[12:14] == b"\x08\0" else IPV6
        return into(outside(version, protocol, b"", body), body, segment, removed=14)

    return wrap


KINDS: dict[str, Wrap] = {
    "vxlan": vxlan(4, csum=False),
    "vxlan with checksum": vxlan(4, csum=True),
    "vxlan over IPv6": vxlan(6, csum=True),
    "vxlan over IPv6 without checksum": vxlan(6, csum=False),
    "geneve": geneve(4, b"", csum=False),
    "geneve with options": geneve(6, bytes(range(12)), csum=True),
    "gre": gre(4),
    "gre with checksum and key": gre(4, csum=True, key=True),
    "gre over IPv6": gre(6),
    "gretap": gre(4, tap=True),
    "ip6gretap": gre(6, key=True, tap=True),
    "ip in IPv4": ip_in_ip(4),  # ipip, sit
    "ip in IPv6": ip_in_ip(6),
}


NUD_PERMANENT = 0x80  # include/uapi/linux/neighbour.h


def vxlan_device(
    space: Namespace, device: str, local: str, remote: str, remote_mac: str | None = None, *, csum: bool
) -> str:
    """Make a VXLAN over `device`, which has the address `local`; a neighbour whose MAC is given need not answer."""
    kind: dict[str, Any] = {"vxlan_id": 42, "vxlan_port": 4789}
    if ":" in remote:
        kind |= {"vxlan_local6": local, "vxlan_group6": remote, "vxlan_udp_zero_csum6_tx": not csum}
    else:
        kind |= {"vxlan_local": local, "vxlan_group": remote, "vxlan_udp_csum": csum}

    def work(ipr: Any) -> None:
        index = find_index(ipr, device)
        if remote_mac:
            ipr.neigh("add", dst=remote, lladdr=remote_mac, ifindex=index, state=NUD_PERMANENT)
        with capability("VXLAN"):
            ipr.link("add", ifname="vxlan0", kind="vxlan", vxlan_link=index, **kind)

    space.netlink(work)
    space.set_link("vxlan0", state="up")
    return "vxlan0"
