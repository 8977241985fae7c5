"""Classes of frames in slow, obvious Python: the oracle's half of csrc/frame/classify.h, written from the RFCs.

Independence: imports nothing of the product. A header that does not lie in the frame decides nothing.
"""

from __future__ import annotations

from collections.abc import Container
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

import headers

HEARTBEAT_PORTS = (5404, 5405)
IPV4, IPV6, ARP = 0x0800, 0x86DD, 0x0806
IGMP, UDP, ICMPV6, OSPF, VRRP = 2, 17, 58, 89, 112  # IANA protocol numbers
TPIDS = (0x8100, 0x88A8, 0x9100, 0x9200, 0x9300)
SNAP = (bytes.fromhex("aaaa03000000"), bytes.fromhex("aaaa030000f8"))
WRAPS_MAX = 4


class Beat(NamedTuple):
    """A protocol of routers or clusters."""

    frame_class: str
    groups: tuple[str, ...] = ()  # that its packets go to
    unicast: bool = True  # they also go to one station


PROTOCOLS = {
    VRRP: Beat("first_hop", ("224.0.0.18", "ff02::12")),
    OSPF: Beat("heartbeat", ("224.0.0.5", "224.0.0.6", "ff02::5", "ff02::6"), unicast=False),
}
PORTS = {
    1985: Beat("first_hop", ("224.0.0.2", "224.0.0.102")),
    2029: Beat("first_hop", ("ff02::66",)),
    3222: Beat("first_hop", ("224.0.0.102", "ff02::66")),
    3784: Beat("heartbeat"),
    3785: Beat("heartbeat"),
    4784: Beat("heartbeat"),
}


def number(data: bytes) -> int:
    return int.from_bytes(data, "big")


def classify(
    data: bytes,
    known: Container[int],
    heartbeat: Container[int] = HEARTBEAT_PORTS,
    broadcast: Container[int] = (),
) -> str:
    """Name the class of an untagged frame; `known`: stations the FDB has; `broadcast`: ports, of heartbeats to all."""
    destination = number(data[:6])
    if destination >> 4 == 0x0180C200000:
        return "reserved"
    is_flooded = bool(destination >> 40 & 1) or destination not in known
    unwrapped = unwrap(data) if is_flooded else (number(data[12:14]), data[14:])
    if unwrapped is not None:
        found = behind(*unwrapped, data[:6], heartbeat, broadcast)
        if found:
            return found
    if destination == 0xFFFFFFFFFFFF:
        return "broadcast"
    if destination >> 40 & 1:
        return "multicast"
    return "known_unicast" if destination in known else "unknown_unicast"


def unwrap(data: bytes) -> tuple[int, bytes] | None:
    """The innermost EtherType and what is behind it; None: behind too many tags."""
    kind, rest = number(data[12:14]), data[14:]
    for _ in range(WRAPS_MAX + 1):
        if kind in TPIDS and len(rest) >= 4:
            kind, rest = number(rest[2:4]), rest[4:]
        elif kind < 0x600 and len(rest) >= 8 and rest[:6] in SNAP:
            kind, rest = number(rest[6:8]), rest[8:]
        else:
            return kind, rest
    return None


def behind(kind: int, packet: bytes, to: bytes, heartbeat: Container[int], broadcast: Container[int]) -> str:
    """What the packet of a frame to a station says; empty: nothing."""
    if kind == ARP:
        return "arp_nd"
    if kind not in (IPV4, IPV6):
        return ""
    try:
        rest, protocol, _, is_later, _ = headers.walk_ip(packet, kind)
    except headers.Broken:
        return ""
    if is_later:
        return ""
    target = ip_address(packet[16:20] if kind == IPV4 else packet[24:40])
    if protocol == IGMP:
        return "igmp_mld"
    if protocol == ICMPV6 and rest:
        if rest[0] in (130, 131, 132, 143):
            return "igmp_mld"
        return "arp_nd" if rest[0] in range(133, 138) else ""
    if protocol == UDP and len(rest) >= 8:
        port = number(rest[2:4])
        if to == b"\xff" * 6:
            return "heartbeat" if port in broadcast else ""
        return beat(PORTS.get(port), target, to) or (
            "heartbeat" if port in heartbeat and is_of_one_sort(target, to) else ""
        )
    return beat(PROTOCOLS.get(protocol), target, to)


def is_of_one_sort(target: IPv4Address | IPv6Address, to: bytes) -> bool:
    """MAC and IP destination are both of groups or both of stations."""
    if target.version == 4 and number(target.packed) >> 28 == 15:  # 240.0.0.0/4, with the broadcast address
        return False
    return to != b"\xff" * 6 and bool(to[0] & 1) == target.is_multicast


def beat(kind: Beat | None, target: IPv4Address | IPv6Address, to: bytes) -> str:
    if kind is None or not is_of_one_sort(target, to):
        return ""
    fits = str(target) in kind.groups if target.is_multicast else kind.unicast
    return kind.frame_class if fits else ""
