"""The bridge's own address: source of its loop probes, never learned.

Configured, or derived from the machine's identity (machine-id(5), else its host name) and the name of the bridge: it
stays the same over restarts, as a switch with a limit of addresses on its port wants it, and differs from bridge to
bridge.
"""

from __future__ import annotations

from bridge.config.bridge import BridgeConfig
from bridge.mac import stable_mac


def own_address(bridge: BridgeConfig) -> int:
    """Tell the address a bridge of this configuration has."""
    return bridge.address or stable_mac(bridge.name)
