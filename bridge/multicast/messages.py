"""Queries for members of groups, as frames: IGMPv2 and v3 (RFC 2236, RFC 3376), MLDv1 and v2 (RFC 2710, RFC 3810).

Pure. What comes in is read in C (csrc/multicast/membership.h).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from bridge.config.group_address import Group

ALL_HOSTS = Group(4, bytes([224, 0, 0, 1]))
ALL_NODES = Group(6, IPv6Address("ff02::1").packed)
ROBUSTNESS = 2
SHORTEST = 60  # bytes of a frame

_TOS = 0xC0  # internetwork control: RFC 3376 section 4
_ROUTER_ALERT_IPV4 = b"\x94\x04\0\0"  # RFC 2113
_HOP_BY_HOP = b"\x3a\0\x05\x02\0\0\x01\0"  # ICMPv6 follows; router alert for MLD (RFC 2711), padding


@dataclass(frozen=True, slots=True)
class Querier:
    """Who asks: the bridge's own address; the IPv4 address of its queries; version 2 or 3 (MLD: 1 less)."""

    mac: int
    address: str = "0.0.0.0"
    version: int = 3
    interval: float = 125

    def source(self, family: int) -> bytes:
        """Give the IP address that it asks from."""
        return IPv4Address(self.address).packed if family == 4 else link_local(self.mac)


def link_local(mac: int) -> bytes:
    """Give the link-local address of a station: RFC 4291 appendix A."""
    octets = mac.to_bytes(6, "big")
    return b"\xfe\x80" + bytes(6) + bytes([octets[0] ^ 2]) + octets[1:3] + b"\xff\xfe" + octets[3:]


def query(querier: Querier, family: int, response: float, group: Group | None = None) -> bytes:
    """Make a query, general or for one group, that is to be answered within so many seconds."""
    make = _igmp if family == 4 else _mld
    return make(querier, response, group).ljust(SHORTEST, b"\0")


def _igmp(querier: Querier, response: float, group: Group | None) -> bytes:
    to = group or ALL_HOSTS
    asked = group.address if group else bytes(4)
    code, tail = _answer_within(querier, round(response * 10), 4)
    message = _with_sum(bytes([0x11, code, 0, 0]) + asked + tail, 2)
    header = struct.pack("!BBHHHBBH", 0x46, _TOS, 24 + len(message), 0, 0, 1, 2, 0)
    header += querier.source(4) + to.address + _ROUTER_ALERT_IPV4
    return _ethernet(to, querier.mac, 0x0800) + _with_sum(header, 10) + message


def _mld(querier: Querier, response: float, group: Group | None) -> bytes:
    to = group or ALL_NODES
    asked = group.address if group else bytes(16)
    code, tail = _answer_within(querier, round(response * 1000), 12)
    message = struct.pack("!BBHHH", 130, 0, 0, code, 0) + asked + tail
    source = link_local(querier.mac)
    pseudo = source + to.address + struct.pack("!IHBB", len(message), 0, 0, 58)
    message = message[:2] + _sum(pseudo + message) + message[4:]
    header = struct.pack("!IHBB", 6 << 28, len(_HOP_BY_HOP) + len(message), 0, 1) + source + to.address
    return _ethernet(to, querier.mac, 0x86DD) + header + _HOP_BY_HOP + message


def _answer_within(querier: Querier, units: int, bits: int) -> tuple[int, bytes]:
    """Write a time to answer as a code with `bits` of mantissa, and what the newest version has behind the group."""
    units = max(1, units)
    if querier.version == 3:
        return _float(units, bits), bytes([ROBUSTNESS, _float(round(querier.interval), 4), 0, 0])
    return min(units, (1 << bits + 4) - 1), b""


def _ethernet(to: Group, mac: int, ethertype: int) -> bytes:
    return to.mac.to_bytes(6, "big") + mac.to_bytes(6, "big") + struct.pack("!H", ethertype)


def _float(value: int, bits: int) -> int:
    """Write a number in a code of `bits` of mantissa: RFC 3376 section 4.1.1, RFC 3810 section 5.1.3."""
    if value < 1 << bits + 3:
        return value
    exponent = 0
    while value >> exponent + 3 >= 1 << bits + 1:
        exponent += 1
    if exponent > 7:
        return (1 << bits + 4) - 1
    return 1 << bits + 3 | exponent << bits | value >> exponent + 3 & (1 << bits) - 1


def _with_sum(message: bytes, at: int) -> bytes:
    return message[:at] + _sum(message) + message[at + 2 :]


def _sum(data: bytes) -> bytes:
    """Give the Internet checksum: RFC 1071."""
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return (~total & 0xFFFF).to_bytes(2, "big")
