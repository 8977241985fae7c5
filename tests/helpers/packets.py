"""Packets with addresses of one's choice, for tests: ARP, IPv4, IPv6 with extension headers, neighbour discovery.

Job: payloads for `frames.ethernet`. Addresses are text, stations are MAC addresses as bytes. Checksums are left
zero: who looks at addresses alone does not ask for them.
"""

from __future__ import annotations

import struct
from ipaddress import ip_address

from helpers import frames

ARP, RARP, IPV4, IPV6 = 0x0806, 0x8035, 0x0800, 0x86DD
HOP_BY_HOP, ROUTING, FRAGMENT, AH, OPTIONS = 0, 43, 44, 51, 60
TCP, UDP, ICMPV6 = 6, 17, 58
NS, NA = 135, 136
SOURCE_LINK, TARGET_LINK = 1, 2  # options of NS and NA


def address(text: str) -> bytes:
    """An IP address as it stands in packets."""
    return ip_address(text).packed


def arp(
    station: bytes, sender: str, target: str = "10.0.0.9", *, operation: int = 1, ethertype: int = ARP
) -> bytes:
    """An ARP frame from a station to all, about itself unless its payload is changed."""
    body = struct.pack("!HHBBH", 1, IPV4, 6, 4, operation) + station + address(sender)
    payload = body + bytes(6) + address(target)
    return frames.ethernet(frames.BROADCAST, station, ethertype=ethertype, payload=payload)


def ipv4(
    station: bytes,
    source: str,
    *,
    protocol: int = UDP,
    body: bytes = bytes(20),
    options: bytes = b"",
    fragment: int = 0,
    destination: bytes = frames.BROADCAST,
) -> bytes:
    """An IPv4 frame; `fragment` is the field of flags and offset."""
    header_len = 20 + len(options)
    header = struct.pack(
        "!BBHHHBBH", 0x40 | header_len // 4, 0, header_len + len(body), 1, fragment, 64, protocol, 0
    )
    addresses = address(source) + address("10.0.0.9")
    return frames.ethernet(destination, station, ethertype=IPV4, payload=header + addresses + options + body)


def dhcp(source_port: int = 68, destination_port: int = 67) -> bytes:
    """The UDP header of a DHCP client's message, and a little behind it."""
    return struct.pack("!HHHH", source_port, destination_port, 28, 0) + bytes(20)


def ipv6(
    station: bytes,
    source: str,
    *headers: tuple[int, bytes],
    protocol: int = UDP,
    body: bytes = bytes(20),
    destination: bytes = frames.group(0),
) -> bytes:
    """An IPv6 frame; `headers` are extension headers as (protocol, bytes behind the one of the next header)."""
    kinds = [kind for kind, _ in headers] + [protocol]
    chain = b"".join(bytes([kinds[i + 1]]) + rest for i, (_, rest) in enumerate(headers))
    payload = chain + body
    header = struct.pack("!IHBB", 6 << 28, len(payload), kinds[0], 255) + address(source)
    return frames.ethernet(
        destination, station, ethertype=IPV6, payload=header + address("ff02::1") + payload
    )


PADDING = bytes([0, 1, 4, 0, 0, 0, 0])  # of an extension header of 8 bytes: a PadN option


def fragment(offset: int, more: int = 1) -> tuple[int, bytes]:
    """A fragment header; offset in units of 8 bytes."""
    return FRAGMENT, struct.pack("!BHI", 0, offset << 3 | more, 77)


def neighbour(message: int, target: str, *options: bytes) -> bytes:
    """An NS or NA."""
    return struct.pack("!BBHI", message, 0, 0, 0) + address(target) + b"".join(options)


def ra() -> bytes:
    """A router advertisement without options, for half an hour."""
    return struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0)


def link_option(kind: int, station: bytes) -> bytes:
    """The option of NS and NA that tells a link-layer address."""
    return bytes([kind, 1]) + station
