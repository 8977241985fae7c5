"""Frames as bytes, for tests: Ethernet, tags, and TCP or UDP super-frames with their offload metadata.

Job: say what a frame is, not how its bytes lie. Plain Python (scapy takes milliseconds per frame and is
used where a second opinion on the bytes is wanted). Addresses are written as small numbers: `host(1)`
is 02:00:00:00:00:01.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

BROADCAST = b"\xff" * 6
TPID_Q = 0x8100
TPID_AD = 0x88A8
ETHERTYPE = 0x88B5  # IEEE 802 local experimental: means nothing to any stack
IP_VERSIONS = (b"\x08\x00", b"\x86\xdd")  # EtherTypes of IPv4 and IPv6
CHECKED = {6, 17, 58}  # TCP, UDP, ICMPv6: protocols whose checksum covers a pseudo-header
MIN_LEN = 60
HEADERS_TCP4 = 14 + 20 + 20


def host(number: int) -> bytes:
    """The address of station `number`: locally administered, unicast."""
    return b"\x02" + number.to_bytes(5, "big")


def group(number: int) -> bytes:
    """A multicast address that is nobody's."""
    return b"\x03" + number.to_bytes(5, "big")


def reserved(number: int) -> bytes:
    """01-80-C2-00-00-NN."""
    return b"\x01\x80\xc2\x00\x00" + bytes([number])


def number(address: bytes) -> int:
    """An address as the integer the core uses."""
    return int.from_bytes(address, "big")


def tag(vid: int, pcp: int = 0, dei: int = 0, tpid: int = TPID_Q) -> bytes:
    """Four bytes of tag."""
    return struct.pack("!HH", tpid, tci(vid, pcp, dei))


def tci(vid: int, pcp: int = 0, dei: int = 0) -> int:
    return pcp << 13 | dei << 12 | vid


def ethernet(
    destination: bytes, source: bytes, *tags: bytes, ethertype: int = ETHERTYPE, payload: bytes | int = 46
) -> bytes:
    """A frame; an integer payload is that many counting bytes."""
    body = bytes(i & 0xFF for i in range(payload)) if isinstance(payload, int) else payload
    return destination + source + b"".join(tags) + struct.pack("!H", ethertype) + body


def sized(destination: bytes, source: bytes, l3_len: int, *tags: bytes) -> bytes:
    """A frame with `l3_len` bytes behind its EtherType (R2 counts those against the MTU)."""
    return ethernet(destination, source, *tags, payload=l3_len)


def padded(data: bytes) -> bytes:
    """The frame as it leaves (R1)."""
    return data.ljust(MIN_LEN, b"\0")


# -- checksums and offload ---------------------------------------------------------------------------


def sum16(data: bytes, start: int = 0) -> int:
    """RFC 1071 sum, folded, not inverted."""
    total = start + sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def is_finished(data: bytes) -> bool:
    """Whether the checksums of an untagged IP frame add up: IPv4 header, TCP, UDP and ICMPv6; others pass.

    Fragments carry a part of a checksum only; of them the header counts.
    """
    packet = data[14:]
    if data[12:14] == IP_VERSIONS[0]:
        header_len, total_len = (packet[0] & 0xF) * 4, int.from_bytes(packet[2:4], "big")
        protocol, addresses = packet[9], packet[12:20]
        if sum16(packet[:header_len]) != 0xFFFF:
            return False
        if int.from_bytes(packet[6:8], "big") & 0x3FFF:  # more fragments, or not the first
            return True
    else:
        header_len, total_len = 40, 40 + int.from_bytes(packet[4:6], "big")
        protocol, addresses = packet[6], packet[8:40]
    body = packet[header_len:total_len]
    if protocol not in CHECKED:
        return True
    return sum16(body, sum16(addresses + struct.pack("!II", len(body), protocol))) == 0xFFFF


class Segment(NamedTuple):
    """A transport frame whose checksum may be unfinished: bytes and where the offload metadata points."""

    data: bytes
    csum_start: int
    csum_offset: int
    hdr_len: int

    @property
    def finished(self) -> bytes:
        """The same frame with its checksum in place, computed the obvious way."""
        value = 0xFFFF ^ sum16(self.data[self.csum_start :])
        if value == 0 and self.csum_offset == 6:
            value = 0xFFFF  # UDP has no zero checksum; RFC 768
        at = self.csum_start + self.csum_offset
        return self.data[:at] + struct.pack("!H", value) + self.data[at + 2 :]


def ipv4(protocol: int, body: bytes) -> bytes:
    """An IPv4 header in front of `body`, checksum right."""
    total_len = min(20 + len(body), 0xFFFF)
    header = bytearray(struct.pack("!BBHHHBBH", 0x45, 0, total_len, 1, 0x4000, 64, protocol, 0))
    header += b"\x0a\0\0\1\x0a\0\0\2"
    struct.pack_into("!H", header, 10, 0xFFFF ^ sum16(bytes(header)))
    return bytes(header) + body


def ipv6(protocol: int, body: bytes) -> bytes:
    source, destination = b"\xfd" + bytes(14) + b"\1", b"\xfd" + bytes(14) + b"\2"
    return struct.pack("!IHBB", 6 << 28, min(len(body), 0xFFFF), protocol, 64) + source + destination + body


def _pseudo_sum(version: int, protocol: int, body_len: int) -> int:
    """Sum of the pseudo-header of `ipv4` or `ipv6` above: what a checksum-partial packet carries."""
    if version == 4:
        addresses = b"\x0a\0\0\1\x0a\0\0\2"
    else:
        addresses = b"\xfd" + bytes(14) + b"\1\xfd" + bytes(14) + b"\2"
    return sum16(addresses + struct.pack("!II", protocol, body_len))


def tcp(
    destination: bytes,
    source: bytes,
    *tags: bytes,
    payload_len: int = 100,
    version: int = 4,
    options: int = 0,
) -> Segment:
    """A checksum-partial TCP frame; with a long payload the super-frame a host hands to its device."""
    payload = bytes((i * 7) & 0xFF for i in range(payload_len))
    header_len = 20 + options
    pseudo = _pseudo_sum(version, 6, header_len + payload_len)
    header = struct.pack("!HHIIBBHHH", 4000, 5000, 1, 1, header_len // 4 << 4, 0x10, 64000, pseudo, 0)
    return _transport(destination, source, tags, version, 6, header + b"\1" * options, payload, 16)


def udp(destination: bytes, source: bytes, *tags: bytes, payload_len: int = 100, version: int = 4) -> Segment:
    """A checksum-partial UDP frame."""
    payload = bytes((i * 7) & 0xFF for i in range(payload_len))
    pseudo = _pseudo_sum(version, 17, 8 + payload_len)
    header = struct.pack("!HHHH", 4000, 5000, min(8 + payload_len, 0xFFFF), pseudo)
    return _transport(destination, source, tags, version, 17, header, payload, 6)


def sctp(
    destination: bytes, source: bytes, *tags: bytes, payload_len: int = 100, version: int = 4
) -> Segment:
    """An SCTP frame whose checksum, a CRC32c, is open: four bytes of zeros."""
    chunk = (
        struct.pack("!BBH", 0, 3, 16 + payload_len)
        + bytes(12)
        + bytes((i * 7) & 0xFF for i in range(payload_len))
    )
    header = struct.pack("!HHII", 4000, 5000, 0x01020304, 0)
    return _transport(destination, source, tags, version, 132, header, chunk, 8)


def _transport(
    destination: bytes,
    source: bytes,
    tags: tuple[bytes, ...],
    version: int,
    protocol: int,
    header: bytes,
    payload: bytes,
    csum_offset: int,
) -> Segment:
    packet = (ipv4 if version == 4 else ipv6)(protocol, header + payload)
    data = ethernet(destination, source, *tags, ethertype=0x0800 if version == 4 else 0x86DD, payload=packet)
    csum_start = len(data) - len(header) - len(payload)
    return Segment(data, csum_start, csum_offset, csum_start + len(header))
