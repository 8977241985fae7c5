"""Frames that a backup router, too, emits under the virtual address, in slow, obvious Python: the oracle of moves.h.

Independence: imports nothing of the product. A header that does not lie in the frame decides nothing.
"""

from __future__ import annotations

from classes import IPV4, IPV6, unwrap
from headers import Broken, walk_ip

# RFC 9568 section 7.3 (VRRP; CARP, too), RFC 2281 section 5.3 (HSRP), HSRP version 2, HSRP on IPv6, GLBP
PREFIXES = ("00005e0001", "00005e0002", "00000c07ac", "00000c9ff", "000573a00", "0007b4")
IGMP_REPORTS = (0x12, 0x16, 0x17, 0x22)
ICMPV6_OF_BACKUPS = (131, 132, 143, 133, 135)  # MLD reports and done; router and neighbour solicitation


def is_virtual(address: bytes) -> bool:
    """Whether a group of routers shares the address."""
    return address.hex().startswith(PREFIXES)


def is_of_backup(data: bytes) -> bool:
    """Whether an untagged frame says nothing about who is active."""
    unwrapped = unwrap(data)
    if unwrapped is None or unwrapped[0] not in (IPV4, IPV6):
        return False
    kind, packet = unwrapped
    try:
        rest, protocol, _, is_later, _ = walk_ip(packet, kind)
    except Broken:
        return False
    if is_later or not rest:
        return False
    if kind == IPV4:
        return protocol == 2 and rest[0] in IGMP_REPORTS
    return protocol == 58 and rest[0] in ICMPV6_OF_BACKUPS
