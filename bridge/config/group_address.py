"""Addresses of groups: as people write them, as bytes, and as a destination of Ethernet. Pure.

A group is an IPv4 or IPv6 address, or an Ethernet address for what does not go by IP. Refuses what is never pruned:
224.0.0.0/24 and ff02::/16, which hosts and routers need whether or not they report them (RFC 4541 section 2.1.2).
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from bridge.config.table import BadValueError, show
from bridge.mac import format_mac, is_group, parse_mac


class Group(NamedTuple):
    """A group: `family` 4, 6 or 0 (an Ethernet address), and its bytes."""

    family: int
    address: bytes

    def __str__(self) -> str:
        if self.family == 0:
            return format_mac(int.from_bytes(self.address, "big"))
        return str(IPv4Address(self.address) if self.family == 4 else IPv6Address(self.address))

    @property
    def mac(self) -> int:
        """The destination of its frames: RFC 1112 section 6.4, RFC 2464 section 7."""
        if self.family == 4:
            return 0x01005E000000 | int.from_bytes(self.address, "big") & 0x7FFFFF
        if self.family == 6:
            return 0x333300000000 | int.from_bytes(self.address[12:], "big")
        return int.from_bytes(self.address, "big")


def is_link_local(group: Group) -> bool:
    """Whether a group is of those that are never pruned."""
    return group.address[:3] == b"\xe0\0\0" if group.family == 4 else group.address[:2] == b"\xff\x02"


def parse_group(text: str) -> Group:
    """Read the address of a group; raises ValueError."""
    if re.fullmatch(r"[0-9A-Fa-f]{1,2}([:-][0-9A-Fa-f]{1,2}){5}", text):
        mac = parse_mac(text)
        if not is_group(mac) or mac == 0xFFFFFFFFFFFF:
            raise ValueError("is the address of no group")
        return Group(0, mac.to_bytes(6, "big"))
    address = ip_address(text)
    if not address.is_multicast:
        raise ValueError("is the address of no group")
    return Group(address.version, address.packed)


def group_address(value: object) -> str:
    """Check for the address of a group that snooping can prune; return it in its canonical form."""
    try:
        group = parse_group(value) if isinstance(value, str) else None
    except ValueError:
        group = None
    if group is None:
        raise BadValueError(
            f"expected a group like '239.1.1.1', 'ff05::1' or an Ethernet address, got {show(value)}"
        )
    if group.family and is_link_local(group):
        raise BadValueError(
            f"{group} is never pruned, as hosts need it whether or not they report it; remove it"
        )
    return str(group)
