"""What the kernel may forward: which ports and VLANs are open to it, and why the others are not.

Pure: from configuration and the state of ports to values. The kernel forwards known unicast of plain ports only;
whatever has to look at each frame, or at what it costs, closes a port or a VLAN to it. Frames that are not for the
kernel are forwarded by userspace as ever.

Refuses: nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from bridge.config.budget import BudgetConfig
from bridge.config.mirror import MirrorConfig
from bridge.config.port import PortConfig
from bridge.config.vlan import VlanConfig

# Classes that frames to a station of the FDB may have (csrc/frame/classify.h).
UNICAST_CLASSES = frozenset(("known_unicast", "arp_nd", "igmp_mld", "first_hop", "heartbeat"))


def why_never(port: PortConfig) -> str:
    """Say why programs are not attached to a port of this configuration; "": they are."""
    if not port.offload:
        return "offload = false"
    if not port.can.offloads:
        return f"a {port.kind} port cannot"
    if port.mode == "mirror":
        return "it takes copies of mirrors only"
    if port.mode == "tunnel":
        return "a tunnel port carries tags as payload"
    if port.translations:
        return "its VLANs have other tags on the wire"
    if port.priority_tags != "never":
        return "it sends priority tags"
    return ""


class Closing(NamedTuple):
    """A port or VLAN that is closed, for frames that come in, leave, or both; no port and VLAN: all of them."""

    reason: str
    port: str = ""
    vid: int = 0
    takes: bool = False  # closed to frames that come in
    gives: bool = False  # closed to frames that leave


def closings(
    budgets: Iterable[BudgetConfig], mirrors: Iterable[MirrorConfig], vlans: Iterable[VlanConfig]
) -> list[Closing]:
    """Find what is closed by more than the port's own configuration."""
    found = []
    for budget in budgets:
        if not budget.floods and UNICAST_CLASSES.intersection(budget.spenders):
            found.append(Closing(f"budget {budget.name}", budget.port, budget.vlan, takes=True))
    for mirror in mirrors:
        if mirror.what == "drops":
            continue
        ways = {"takes": mirror.direction != "tx", "gives": mirror.direction != "rx"}
        reason = f"mirror {mirror.name}"
        if mirror.vids:
            found += [Closing(reason, vid=vid, takes=True, gives=True) for vid in mirror.vids]
        else:
            found += [Closing(reason, port, **ways) for port in mirror.ports or ("",)]
    found += [
        Closing("learning is off in the VLAN", vid=one.vid, takes=True) for one in vlans if not one.learning
    ]
    return found


def why_closed(port: PortConfig, state: str, closed: Collection[Closing]) -> tuple[list[str], list[str]]:
    """Say why a port that has its programs takes no frames for the kernel to forward, and why it gives none."""
    takes, gives = [], []
    if state != "up":
        takes.append(f"the port is {state}")
        gives.append(f"the port is {state}")
    if port.direction == "egress":
        takes.append("it only sends")
    if port.direction == "ingress":
        gives.append("it only receives")
    if not port.learning:
        takes.append("it does not learn")
    if port.security.locked:
        takes.append("it is locked")
    if port.security.source_guard:
        takes.append("source guard looks at its frames")
    if port.security.ra_guard or port.security.dhcp_guard:
        takes.append("a guard against servers looks at its frames")
    for one in closed:
        if not one.vid and one.port in ("", port.name):
            if one.takes:
                takes.append(one.reason)
            if one.gives:
                gives.append(one.reason)
    return takes, gives


def closed_vlans(closed: Iterable[Closing]) -> dict[int, str]:
    """Find the VLANs that are closed, with the first reason. A budget of one port in a VLAN closes all of that."""
    found: dict[int, str] = {}
    for one in closed:
        if one.vid:
            found.setdefault(one.vid, one.reason)
    return found


@dataclass(frozen=True, slots=True)
class Plan:
    """A port as the kernel is to see it; two that are equal need no change."""

    takes: bool
    gives: bool
    filters: bool
    trunk: bool
    ifindex: int
    mtu: int
    pvid: int
    bare: int
    tpid: int
    default_pcp: int
    delivery: str
    peer_mac: bytes
    reaches: frozenset[int]
    vids: frozenset[int]  # that it carries and that are open: not of the opening, but a reason for another

    def opening(self) -> dict[str, Any]:
        """Give what OffloadMaps.open_port takes."""
        return {name: getattr(self, name) for name in self.__slots__ if name != "vids"}


def vlan_members(ports: Mapping[int, PortConfig]) -> dict[int, frozenset[int]]:
    """Find which ports (by index) carry each VLAN."""
    members: dict[int, set[int]] = {}
    for index, port in ports.items():
        for vid in port.members:
            members.setdefault(vid, set()).add(index)
    return {vid: frozenset(indexes) for vid, indexes in members.items()}
