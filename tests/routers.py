"""Frames that a backup router, too, emits under the virtual address, in slow, obvious Python: the oracle of moves.h.

Independence: imports nothing of the product. A header that does not lie in the frame decides nothing.
"""

from __future__ import annotations

# RFC 9568 section 7.3 (VRRP; CARP, too), RFC 2281 section 5.3 (HSRP), HSRP version 2, HSRP on IPv6, GLBP
PREFIXES = ("00005e0001", "00005e0002", "00000c07ac", "00000c9ff", "000573a00", "0007b4")
IGMP_REPORTS = (0x12, 0x16, 0x17, 0x22)
ICMPV6_OF_BACKUPS = (131, 132, 143, 133, 135)  # MLD reports and done; router and neighbour solicitation


def is_virtual(address: bytes) -> bool:
    """Whether a group of routers shares the address."""
    return address.hex().startswith(PREFIXES)


def is_of_backup(data: bytes) -> bool:
    """Whether an untagged frame says nothing about who is active."""
    ethertype, packet = int.from_bytes(data[12:14], "big"), data[14:]
    if ethertype == 0x0800 and len(packet) >= 20:
        rest = packet[packet[0] % 16 * 4 :]
        is_first = int.from_bytes(packet[6:8], "big") % 8192 == 0
        return packet[9] == 2 and is_first and rest[:1] != b"" and rest[0] in IGMP_REPORTS
    if ethertype == 0x86DD and len(packet) >= 40:
        protocol, rest = packet[6], packet[40:]
        if protocol == 0 and len(rest) >= 8:
            protocol, rest = rest[0], rest[8 + 8 * rest[1] :]
        return protocol == 58 and rest[:1] != b"" and rest[0] in ICMPV6_OF_BACKUPS
    return False
