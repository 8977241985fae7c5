"""MAC addresses as integers: 48 bits, the first byte on the wire is the most significant.

Pure, but for `stable_mac`, which asks the machine who it is. Refuses, with ValueError, text that is no MAC address and
numbers beyond 48 bits.
"""

from __future__ import annotations

import hashlib
import re
import socket
from pathlib import Path

MAC_BITS = 48
_LOCAL = 0x02 << 40  # locally administered, of one station; IEEE 802-2014 clause 8.4
_MACHINE_ID = Path("/etc/machine-id")

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


def stable_mac(*names: str) -> int:
    """Derive an address of this machine for something with these names; it is the same after each start.

    From machine-id(5), else the host name, which bridge guests made of one image do not share.
    """
    try:
        machine = _MACHINE_ID.read_text().strip()
    except OSError:
        machine = socket.gethostname()
    text = " ".join((machine, *names))
    digest = hashlib.blake2b(text.encode(), digest_size=5, person=b"framebridge").digest()
    return _LOCAL | int.from_bytes(digest, "big")


def is_group(mac: int) -> bool:
    """Tell whether the address is multicast or broadcast."""
    return bool(mac & _GROUP_BIT)
