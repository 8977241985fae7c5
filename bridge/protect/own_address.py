"""The bridge's own address: source of its loop probes, never learned.

Configured, or derived from the machine's identity (machine-id(5), else its host name) and the name of the bridge: it
stays the same over restarts, as a switch with a limit of addresses on its port wants it, and differs from bridge to
bridge.
"""

from __future__ import annotations

import hashlib
import socket
from pathlib import Path

from bridge.config.bridge import BridgeConfig

_MACHINE_ID = Path("/etc/machine-id")
_LOCAL = 0x02 << 40  # locally administered, of one station; IEEE 802-2014 clause 8.4


def own_address(bridge: BridgeConfig) -> int:
    """Tell the address a bridge of this configuration has."""
    if bridge.address:
        return bridge.address
    try:
        machine = _MACHINE_ID.read_text().strip()
    except OSError:
        machine = socket.gethostname()
    digest = hashlib.blake2b(
        f"{machine} {bridge.name}".encode(), digest_size=5, person=b"framebridge"
    ).digest()
    return _LOCAL | int.from_bytes(digest, "big")
