"""What routers of a group emit under their virtual address: the active one alone, or any of them."""

from __future__ import annotations

import struct
from collections.abc import Callable

from helpers import frames

VIRTUAL = bytes.fromhex("00005e000105")  # VRID 5 on IPv4; RFC 9568 section 7.3
VIRTUAL_6 = bytes.fromhex("00005e000205")

Make = Callable[..., bytes]


def _icmpv6(kind: int, *, hop_by_hop: bool = False) -> Make:
    body = bytes([kind, 0, 0, 0]) + bytes(20)
    packet = frames.ipv6(58, body)
    if hop_by_hop:  # router alert; RFC 2711
        packet = frames.ipv6(0, bytes([58, 0, 5, 2, 0, 0, 1, 0]) + body)
    return lambda destination, source, *tags: frames.ethernet(
        destination, source, *tags, ethertype=0x86DD, payload=packet
    )


def _igmp(kind: int, options: bytes = b"") -> Make:
    packet = bytearray(frames.ipv4(2, options + bytes([kind, 0, 0, 0]) + bytes(8)))
    packet[0] = 0x45 + len(options) // 4
    return lambda destination, source, *tags: frames.ethernet(
        destination, source, *tags, ethertype=0x0800, payload=bytes(packet)
    )


def _vrrp(destination: bytes, source: bytes, *tags: bytes) -> bytes:
    packet = frames.ipv4(112, bytes([0x31, 5, 100, 1]) + bytes(8))
    return frames.ethernet(destination, source, *tags, ethertype=0x0800, payload=packet)


def _arp(destination: bytes, source: bytes, *tags: bytes) -> bytes:
    announced = source + b"\x0a\0\0\1"
    packet = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + announced + bytes(6) + b"\x0a\0\0\1"
    return frames.ethernet(destination, source, *tags, ethertype=0x0806, payload=packet)


OF_BACKUPS: dict[str, Make] = {
    "IGMPv3 report, router alert": _igmp(0x22, b"\x94\x04\0\0"),
    "IGMPv2 report": _igmp(0x16),
    "IGMPv1 report": _igmp(0x12),
    "IGMP leave": _igmp(0x17),
    "MLDv2 report": _icmpv6(143, hop_by_hop=True),
    "MLDv1 report": _icmpv6(131, hop_by_hop=True),
    "MLD done": _icmpv6(132, hop_by_hop=True),
    "router solicitation": _icmpv6(133),
    "neighbour solicitation": _icmpv6(135),
}
OF_ACTIVE: dict[str, Make] = {
    "VRRP advertisement": _vrrp,
    "gratuitous ARP": _arp,
    "neighbour advertisement": _icmpv6(136),
    "router advertisement": _icmpv6(134),
    "IGMP query": _igmp(0x11),
    "data": lambda destination, source, *tags: frames.udp(destination, source, *tags).finished,
}
ALL = (*OF_BACKUPS.values(), *OF_ACTIVE.values())
