"""MAC addresses as integers: 48 bits, the first byte on the wire is the most significant.

Pure. Refuses, with ValueError, text that is no MAC address and numbers beyond 48 bits.
"""

from __future__ import annotations

import re

MAC_BITS = 48

# IEEE 802-2014 clause 8.1: the first bit on the wire, the low bit of the first byte, marks a group address.
_GROUP_BIT = 1 << 40

_NOTATIONS = re.compile(
    r"[0-9a-f]{2}([:-])(?:[0-9a-f]{2}\1){4}[0-9a-f]{2}|[0-9a-f]{4}(?:\.[0-9a-f]{4}){2}",
    re.ASCII | re.IGNORECASE,
)


def parse_mac(text: str) -> int:
    """Read `02:00:5e:00:00:01`, `02-00-5E-00-00-01` or `0200.5e00.0001`."""
    if not _NOTATIONS.fullmatch(text):
        shown = text if len(text) <= 40 else text[:40] + "..."
        raise ValueError(f"{shown!r} is not a MAC address; write it like '02:00:5e:00:00:01'")
    return int(re.sub(r"[:.-]", "", text), 16)


def format_mac(mac: int) -> str:
    """Write lower-case hexadecimal with colons."""
    if not 0 <= mac < 1 << MAC_BITS:
        raise ValueError(f"{mac:#x} is not a MAC address: it has more than {MAC_BITS} bits or is negative")
    return mac.to_bytes(MAC_BITS // 8, "big").hex(":")


def is_group(mac: int) -> bool:
    """Tell whether the address is multicast or broadcast."""
    return bool(mac & _GROUP_BIT)
