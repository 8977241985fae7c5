"""Port security at work: what the security of a port comes to in a snapshot, and rows that show it.

Pure. What the keys mean frame by frame is in csrc/protect/; how they are written, in config/security.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bridge.config.port import PortConfig
from bridge.config.security import OPEN, Security, Stations
from bridge.core._core import Port, Snapshot

Row = dict[str, object]


def ranges(allow: Iterable[Stations]) -> list[tuple[int, int]]:
    """Return what an allow list comes to: first and last address of runs that ascend and are apart."""
    runs: list[tuple[int, int]] = []
    for first, last in sorted(one.range for one in allow):
        if runs and first <= runs[-1][1] + 1:
            runs[-1] = runs[-1][0], max(last, runs[-1][1])
        else:
            runs.append((first, last))
    return runs


def secure(snapshot: Snapshot, port: Port, security: Security) -> None:
    """Write what a port of the snapshot allows into it."""
    if security != OPEN:
        snapshot.secure_port(
            port,
            locked=security.locked,
            allow=ranges(security.allow),
            rules=[rule.for_core for rule in security.source_guard],
            ra_guard=security.ra_guard,
            dhcp_guard=security.dhcp_guard,
        )


def has_row(port: PortConfig) -> bool:
    """Check whether there is anything to show of a port; an allow list may be kept while it is not locked."""
    return port.security != OPEN


def row(port: PortConfig, drops: Mapping[str, int]) -> Row:
    """Show what a port allows, and by its drops at ingress how often something else came."""
    return {
        "port": port.name,
        "locked": port.security.locked,
        "allow": [str(one) for one in port.security.allow],
        "locked_drops": drops.get("locked", 0),
        "source_guard": [str(rule) for rule in port.security.source_guard],
        "source_guard_drops": drops.get("source_guard", 0),
        "ra_guard": port.security.ra_guard,
        "ra_guard_drops": drops.get("ra_guard", 0),
        "dhcp_guard": port.security.dhcp_guard,
        "dhcp_guard_drops": drops.get("dhcp_guard", 0),
    }
