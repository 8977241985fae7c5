"""VLAN translation of a trunk: the `map` key, `WIRE:VLAN`, as values; which maps make sense; how they are written.

Pure. `WIRE` is what frames of the VLAN have on the wire: `100`, a VID, or `200.30`, an outer and an inner one,
as Linux names eth0.200.30. A VLAN that is not named has its own VID there. Invariant, which `flaws` checks: to
every frame belongs at most one VLAN, and to every VLAN one form; see csrc/snapshot/translation.h.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterator
from typing import NamedTuple

from bridge.config import checks
from bridge.config.table import BadValueError, show


class Translation(NamedTuple):
    """One VLAN of a trunk and its tags on the wire. `inner` 0: only the outer one."""

    outer: int
    inner: int
    vid: int

    @property
    def wire(self) -> str:
        """The tags, as they are configured."""
        return f"{self.outer}.{self.inner}" if self.inner else str(self.outer)

    def __str__(self) -> str:
        """Write it as it is configured."""
        return f"{self.wire}:{self.vid}"


def translation(value: object) -> Translation:
    """Check for one element of `map`."""
    match = isinstance(value, str) and re.fullmatch(r"([0-9]{1,5})(?:\.([0-9]{1,5}))?:([0-9]{1,5})", value)
    if not match:
        raise BadValueError(f"expected WIRE:VLAN like '100:10' or '200.30:20', got {show(value)}")
    outer, inner, vid = (checks.vid(int(number)) if number else 0 for number in match.groups())
    return Translation(outer, inner, vid)


def carried_outside(members: Collection[int], translations: Collection[Translation]) -> frozenset[int]:
    """Return the VIDs that the outer tags of these VLANs have on the wire."""
    mapped = {one.vid for one in translations}
    return frozenset(members) - mapped | {one.outer for one in translations if one.vid in members}


def flaws(translations: Collection[Translation], members: Collection[int], native: int) -> Iterator[str]:
    """Say what is wrong with the map of a trunk that carries these VLANs, and the way out; `native` 0: none."""
    mapped = {one.vid for one in translations}
    outers = {one.outer for one in translations}  # nothing can be wrong with the other VIDs
    wires = [Translation(vid, 0, vid) for vid in members if vid in outers and vid not in mapped]
    for one in translations:
        if one.vid == native:
            yield f"{one}: VLAN {one.vid} is the native one and has its own VID on the wire; take one of them away"
        elif one.vid not in members:
            yield f"{one}: the trunk does not carry VLAN {one.vid}; add it to trunk, or take this away"
    by_vid, by_outer = defaultdict(list), defaultdict(list)
    for one in sorted(translations):
        by_vid[one.vid].append(one.wire)
    for one in sorted({*translations, *wires}):
        by_outer[one.outer].append(one)
    for vid, tags in by_vid.items():
        if len(tags) > 1:
            yield f"VLAN {vid} is mapped to {' and '.join(tags)}; frames can only leave under one, keep that"
    for outer, users in by_outer.items():
        yield from _outer_flaws(outer, users)


def _outer_flaws(outer: int, users: list[Translation]) -> Iterator[str]:
    """Judge the VLANs that have this outer VID."""
    by_wire = defaultdict(set)
    for one in users:
        by_wire[one.wire].add(one.vid)
    for wire, vids in by_wire.items():
        if len(vids) > 1:
            own = f"; VLAN {outer} has its own VID" if outer in vids and wire == str(outer) else ""
            listed = " and ".join(f"VLAN {vid}" for vid in sorted(vids))
            yield f"{wire} on the wire would be {listed}{own}; give one of them other tags"
    if 0 < sum(one.inner == 0 for one in users) < len(users):
        single = next(one.vid for one in users if one.inner == 0)
        double = next(one for one in users if one.inner)
        yield (
            f"outer VID {outer} is VLAN {single} by itself and, with {double.inner} behind it, VLAN {double.vid}: "
            "a frame with two tags could be of either; use another outer VID"
        )
