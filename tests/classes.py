"""Classes of frames in slow, obvious Python: the oracle's half of csrc/frame/classify.h, written from the RFCs.

Independence: imports nothing of the product. A header that does not lie in the frame decides nothing.
"""

from __future__ import annotations

from collections.abc import Container

HEARTBEAT_PORTS = (5404, 5405)
HSRP_PORTS = (1985, 2029)


def classify(data: bytes, known: Container[int], heartbeat: Container[int] = HEARTBEAT_PORTS) -> str:
    """Name the class of an untagged frame; `known`: stations the FDB has."""
    destination = int.from_bytes(data[:6], "big")
    if destination >> 4 == 0x0180C200000:
        return "reserved"
    ethertype, payload = int.from_bytes(data[12:14], "big"), data[14:]
    if ethertype == 0x0806:
        return "arp_nd"
    found = ""
    if ethertype == 0x0800:
        found = ipv4(payload, heartbeat)
    elif ethertype == 0x86DD:
        found = ipv6(payload, heartbeat)
    if found:
        return found
    if destination == 0xFFFFFFFFFFFF:
        return "broadcast"
    if destination >> 40 & 1:
        return "multicast"
    return "known_unicast" if destination in known else "unknown_unicast"


def ipv4(packet: bytes, heartbeat: Container[int]) -> str:
    """RFC 791; a fragment but the first has no layer-4 header."""
    if len(packet) < 20 or int.from_bytes(packet[6:8], "big") % 8192:
        return ""
    return transport(packet[9], packet[packet[0] % 16 * 4 :], heartbeat)


def ipv6(packet: bytes, heartbeat: Container[int]) -> str:
    """RFC 8200, with at most a hop-by-hop header in front of the transport."""
    if len(packet) < 40:
        return ""
    protocol, rest = packet[6], packet[40:]
    if protocol == 0 and len(rest) >= 8:
        protocol, rest = rest[0], rest[8 + 8 * rest[1] :]
    return transport(protocol, rest, heartbeat)


def transport(protocol: int, header: bytes, heartbeat: Container[int]) -> str:
    """IANA protocol numbers: IGMP 2, UDP 17, ICMPv6 58, VRRP (and CARP) 112."""
    if protocol == 17 and len(header) >= 4:
        port = int.from_bytes(header[2:4], "big")
        if port in HSRP_PORTS:
            return "first_hop"
        return "heartbeat" if port in heartbeat else ""
    if protocol == 58 and header:
        if header[0] in (130, 131, 132, 143):
            return "igmp_mld"
        return "arp_nd" if header[0] in range(133, 138) else ""
    return {2: "igmp_mld", 112: "first_hop"}.get(protocol, "")
