"""Where the headers of a frame are, in slow, obvious Python: the oracle of csrc/frame/packet.h and of tunnels.

Independence: imports nothing of the product and shares no way of doing it: every header is cut off the front of what is
left, and a header that is not all there ends it. Offsets are told by how much is left.
"""

from __future__ import annotations

from typing import NamedTuple

TPIDS = (0x8100, 0x88A8)
TAGS_MAX, CHAIN_MAX = 4, 8
IPV4, IPV6 = 0x0800, 0x86DD
EXTENSIONS = {IPV4: {51}, IPV6: {0, 43, 44, 51, 60}}  # RFC 8200, RFC 4302
TCP, UDP, GRE = 6, 17, 47
TUNNELS = {4: IPV4, 41: IPV6}
LAYERS_MAX = 8


class Headers(NamedTuple):
    """As bridge.core._core.PacketHeaders."""

    ethertype: int
    tags: int
    network: int
    transport: int
    end: int
    protocol: int
    is_fragment: bool
    is_later: bool


class Broken(Exception):  # noqa: N818 a verdict, not an error
    """A header is cut short or contradicts itself."""


def number(data: bytes) -> int:
    return int.from_bytes(data, "big")


def walk(frame: bytes) -> Headers | None:
    """The headers of a frame; None: broken."""
    rest, tags = frame[12:], 0
    while number(rest[:2]) in TPIDS and tags < TAGS_MAX and len(rest) >= 6:
        rest, tags = rest[4:], tags + 1
    ethertype, rest = number(rest[:2]), rest[2:]
    network = len(frame) - len(rest)
    if ethertype not in EXTENSIONS:
        return Headers(ethertype, tags, network, 0, len(frame), 0, False, False)
    try:
        behind, protocol, is_fragment, is_later, spare = walk_ip(rest, ethertype)
    except Broken:
        return None
    end = len(frame) - spare
    return Headers(ethertype, tags, network, end - len(behind), end, protocol, is_fragment, is_later)


def walk_ip(packet: bytes, ethertype: int) -> tuple[bytes, int, bool, bool, int]:
    """What is behind the headers of an IP packet, its protocol, whether a fragment, a later one; bytes of padding."""
    spare = 0
    if ethertype == IPV4:
        length, total = (packet[0] & 15) * 4 if packet else 0, number(packet[2:4])
        if len(packet) < 20 or packet[0] >> 4 != 4 or not 20 <= length <= len(packet) or 0 < total < length:
            raise Broken
        fragment = number(packet[6:8])
        protocol, is_fragment, is_later = packet[9], bool(fragment & 0x3FFF), bool(fragment & 0x1FFF)
    else:
        if len(packet) < 40 or packet[0] >> 4 != 6:
            raise Broken
        length, total = 40, 40 + number(packet[4:6]) if number(packet[4:6]) else 0
        protocol, is_fragment, is_later = packet[6], False, False
    if total and total < len(packet):
        spare, packet = len(packet) - total, packet[:total]
    rest = packet[length:]
    for _ in range(CHAIN_MAX + 1):
        if is_later or protocol not in EXTENSIONS[ethertype]:
            return rest, protocol, is_fragment, is_later, spare
        if len(rest) < 8:
            raise Broken
        size = {44: 8, 51: 8 + 4 * rest[1]}.get(protocol, 8 + 8 * rest[1])
        if protocol == 44:
            is_fragment, is_later = True, bool(number(rest[2:4]) & 0xFFF8)
        if len(rest) < size:
            raise Broken
        protocol, rest = rest[0], rest[size:]
    if is_later:
        return rest, protocol, is_fragment, is_later, spare
    raise Broken


class Layer(NamedTuple):
    """A header that says how long what follows is, or covers it with a checksum."""

    kind: str  # ipv4 | ipv6 | udp | gre
    at: int
    has_csum: bool = False


def layers(frame: bytes, transport: int, protocol: int) -> list[Layer] | None:
    """The headers from a frame's EtherType to the segment of `protocol` at `transport`; None: they lead elsewhere."""
    rest, tags = frame[12:transport], 0
    while number(rest[:2]) in TPIDS and tags < TAGS_MAX and len(rest) >= 6:
        rest, tags = rest[4:], tags + 1
    ethertype, at = number(rest[:2]), transport - len(rest) + 2
    if ethertype not in EXTENSIONS:
        return None
    found: list[Layer] = []
    while True:
        try:
            behind, inside, is_fragment, _, spare = walk_ip(frame[at:transport], ethertype)
        except Broken:
            return None
        found.append(Layer("ipv4" if ethertype == IPV4 else "ipv6", at))
        at = transport - spare - len(behind)
        if is_fragment:
            return None
        if at == transport:
            return found if inside == protocol and is_fit(found, transport) else None
        if inside in TUNNELS:
            ethertype = TUNNELS[inside]
            continue
        start = open_tunnel(frame, at, transport, inside, found)
        inner = find_inner(frame, start, transport, protocol) if start else None
        if inner is None:
            return None
        ethertype, at = inner


def is_fit(found: list[Layer], transport: int) -> bool:
    return len(found) <= LAYERS_MAX and not any((transport - layer.at) % 2 for layer in found)


def open_tunnel(frame: bytes, at: int, transport: int, protocol: int, found: list[Layer]) -> int:
    """Take the header of a UDP or GRE tunnel; where what it carries begins, 0: unknown."""
    if protocol == UDP and at + 8 <= transport:
        found.append(Layer("udp", at, frame[at + 6 : at + 8] != b"\0\0"))
        return at + 8
    if protocol == GRE and at + 2 <= transport:
        flags = number(frame[at : at + 2])
        end = at + 4 + 4 * bool(flags & 0x8000) + 4 * bool(flags & 0x2000)
        if not flags & 0x5FFF and end <= transport:
            found.append(Layer("gre", at, bool(flags & 0x8000)))
            return end
    return 0


def find_inner(frame: bytes, start: int, transport: int, protocol: int) -> tuple[int, int] | None:
    """EtherType and offset of the IP header right in front of the segment whose length ends where the frame does."""
    at = transport - 40
    ip = frame[at:transport]
    if at >= start and ip[0] >> 4 == 6 and ip[6] == protocol and number(ip[4:6]) == len(frame) - transport:
        return IPV6, at
    for words in range(5, 16):
        at = transport - 4 * words
        ip = frame[at:transport]
        if at >= start and ip[0] == 0x40 + words and ip[9] == protocol and number(ip[2:4]) == len(frame) - at:
            return IPV4, at
    return None
