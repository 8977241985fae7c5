"""Port security at work: what the security of a port comes to in a snapshot, whom it admits, and rows that show it.

Pure. What the keys mean frame by frame is in csrc/protect/guard.h; how they are written, in config/security.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_address

from bridge.config.port import PortConfig
from bridge.config.security import OPEN, Security, Stations
from bridge.core._core import Event, Port, Snapshot

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
    if security.locked or security.source_guard:
        snapshot.secure_port(
            port,
            locked=security.locked,
            allow=ranges(security.allow),
            rules=[rule.for_core for rule in security.source_guard],
        )


def withdrawn(before: Security, after: Security, mac: int) -> bool:
    """Tell whether an allow list had an address and has it no longer, so that it must be forgotten."""
    return before.lists(mac) and not after.admits(mac)


def spoken_from(event: Event) -> str | None:
    """Write the address that a frame ended for; None: it had none that could be read."""
    return str(ip_address(event.address)) if event.address else None


def has_row(port: PortConfig) -> bool:
    """Tell whether there is anything to say of a port; an allow list may be kept while it is not locked."""
    return port.security != OPEN


def row(port: PortConfig, drops: Mapping[str, int]) -> Row:
    """Tell what a port allows, and by its drops at ingress how often something else came."""
    return {
        "port": port.name,
        "locked": port.security.locked,
        "allow": [str(one) for one in port.security.allow],
        "locked_drops": drops.get("locked", 0),
        "source_guard": [str(rule) for rule in port.security.source_guard],
        "source_guard_drops": drops.get("source_guard", 0),
    }
