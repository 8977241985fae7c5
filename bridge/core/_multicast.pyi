"""Types of bridge.core._multicast: what a frame says about membership, and the table of groups of a bridge."""

from __future__ import annotations

from collections.abc import Iterable

from bridge.core._core import Bridge
from bridge.core.values import GroupChange, GroupEntry, Membership, SnoopRules, SnoopState

GROUPS_RATE: int  # new memberships a second and port
JOINS: tuple[str, ...]  # what became of a report, by number
GROUP_VERBS: tuple[str, ...]

def read_membership(frame: bytes, *, is_open: bool = False) -> Membership:
    """Read a canonical frame whose destination is a group; `is_open`: its checksum is yet to be made."""

def is_prunable(family: int, group: bytes) -> bool:
    """Whether frames to a group may be pruned: 224.0.0.0/24 and ff02::/16 may not, and what is no group is none."""

def open_groups(bridge: Bridge, capacity: int) -> None:
    """Have a table of groups from now on; raises OSError (EBUSY: there is one)."""

def set_snooping(bridge: Bridge, rules: Iterable[tuple[int, int, SnoopRules]]) -> None:
    """Replace what is decided about VLANs and families (4 or 6); raises OSError."""

def change_groups(bridge: Bridge, changes: Iterable[GroupChange]) -> list[int]:
    """Carry out changes in order; for each 0 or -errno, or how many memberships ended."""

def read_groups(bridge: Bridge) -> list[GroupEntry]:
    """Give every group."""

def read_snooping(bridge: Bridge, vid: int, family: int) -> SnoopState | None:
    """Give the state of a VLAN and family; None: it never snooped."""
