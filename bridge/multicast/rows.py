"""Rows about groups: who is a member where, who asks, and what snooping spares. Pure but for reading the data plane."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf
from typing import Any

from bridge.clock import Clock
from bridge.config.group_address import Group
from bridge.core._core import Bridge
from bridge.core._multicast import read_groups, read_snooping
from bridge.core.values import GroupEntry, SnoopState
from bridge.mac import format_mac
from bridge.multicast.snooping import Snooping
from bridge.multicast.vlan import SnoopedVlan

Row = dict[str, Any]

STATES = ("member", "static", "grace", "limit", "router")
_OF_KIND = {"static": {"static"}, "learned": {"member"}, "routers": {"router"}}


class GroupRows:
    """What `mdb` commands show."""

    def __init__(self, core: Bridge, clock: Clock, snooping: Snooping) -> None:
        self._core = core
        self._clock = clock
        self._snooping = snooping

    def show(
        self,
        vlan: int | None = None,
        port: int | None = None,
        group: Group | None = None,
        kind: str | None = None,
    ) -> list[Row]:
        """One row per port that is a member of a group, or gets every group of a VLAN; every filter has to fit."""
        name = None if port is None else self._snooping.name(port)
        rows = [*self._members(), *self._of_all_groups()]
        return [
            row
            for row in rows
            if vlan in (None, row["vlan"])
            and (port is None or row["port"] == name)
            and (group is None or row["group"] == str(group))
            and (kind is None or row["state"] in _OF_KIND[kind])
        ]

    def _members(self) -> Iterator[Row]:
        tick = self._core.tick
        for entry in sorted(
            read_groups(self._core), key=lambda entry: (entry.vid, entry.family, entry.address)
        ):
            if entry.flooded:
                continue
            for port in sorted(entry.fixed):
                yield self._row(
                    entry.vid, port, "static", Group(entry.family, entry.address), only=entry.only
                )
            for port in sorted(entry.learned):
                yield self._learned(entry, port, tick)

    def _learned(self, entry: GroupEntry, port: int, tick: int) -> Row:
        row = self._row(entry.vid, port, "member", Group(entry.family, entry.address))
        protocol = "MLDv" if entry.family == 6 else "IGMPv"
        return {
            **row,
            "version": f"{protocol}{entry.version}",
            "unanswered": int(port in entry.missed),
            "age": tick - entry.tick & 0xFFFF,
            "last_reporter": format_mac(entry.reporter),
        }

    def _of_all_groups(self) -> Iterator[Row]:
        """Give ports that get every group, and why."""
        for (vid, family), vlan in sorted(self._snooping.vlans.items()):
            state = read_snooping(self._core, vid, family)
            always = {index for index, port in vlan.ports.items() if port.multicast_router == "always"}
            for port in sorted((vlan.routers.keys() | always) & vlan.ports.keys()):
                yield self._row(vid, port, "router", family=family)
            for port in sorted(vlan.grace.keys() & vlan.ports.keys()):
                yield self._row(vid, port, "grace", family=family)
            for port in sorted(state.over if state else ()):
                yield self._row(vid, port, "limit", family=family)

    def _row(
        self,
        vid: int,
        port: int,
        state: str,
        group: Group | None = None,
        *,
        family: int = 0,
        only: bool = False,
    ) -> Row:
        return {
            "vlan": vid,
            "group": str(group) if group else "*",
            "mac": format_mac(group.mac) if group else None,
            "port": self._snooping.name(port),
            "state": state,
            "family": group.family if group else family,
            "only": only,
            "version": None,
            "unanswered": None,
            "age": None,
            "last_reporter": None,
        }

    def saved(self, columns: Callable[[float], Row]) -> list[Row]:
        """One row per VLAN: copies spared, or (`watch`) that would be, and what they cost; and who would lose a group.

        `columns` turns cycles into other units.
        """
        rows = []
        for vid, (frames, copies, cycles) in sorted(self._snooping.spared.items()):
            mode = self._snooping.snooping_of(vid)
            verb = "spares" if mode == "on" else "would spare"
            text = f"snooping {verb} VLAN {vid} {copies} copies of {frames} frames"
            if mode == "watch" and self._snooping.vlans[vid, 4].state == "quiet":
                text = f"nobody asks for members in VLAN {vid}, so nothing is known; set querier = true"
            row = {"measure": "snooping", "mode": mode, "vlan": vid, "group": None, "port": None}
            row |= {"frames": frames, "copies": copies, "cycles": round(cycles), **columns(cycles)}
            rows.append({**row, "text": text})
        return [*rows, *self._warnings(dict.fromkeys(columns(0)))]

    def _warnings(self, no_columns: Row) -> Iterator[Row]:
        """Give groups with traffic that nobody reported, and members that `on` would have lost."""
        found = [
            (
                "unregistered",
                vid,
                group,
                port,
                "has traffic, and nobody reported it: with unregistered = routers it ends",
            )
            for (vid, group), (port, _) in self._snooping.unregistered.items()
        ]
        found += [
            (
                "would_lose",
                vid,
                group,
                port,
                "left two queries unanswered on this port, which may still want it",
            )
            for vid, group, port in self._snooping.hurt
        ]
        for measure, vid, group, port, text in sorted(found):
            yield {
                "measure": measure,
                "mode": self._snooping.snooping_of(vid),
                "vlan": vid,
                "group": str(group),
                "port": self._snooping.name(port),
                **{"frames": None, "copies": None, "cycles": None, **no_columns},
                "text": f"{group} in VLAN {vid} {text}",
            }

    def queriers(self, vlan: int | None = None) -> list[Row]:
        """One row per VLAN and family that snoops: its state, and who asks."""
        now = self._clock.now()
        return [
            self._querier(one, read_snooping(self._core, *key), now)
            for key, one in sorted(self._snooping.vlans.items())
            if vlan in (None, one.vid)
        ]

    def _querier(self, vlan: SnoopedVlan, state: SnoopState | None, now: float) -> Row:
        who = vlan.other or (vlan.own if vlan.may_query else None)
        next_query = max(vlan.next_query, now) - now if vlan.is_querier and vlan.next_query < inf else None
        return {
            "vlan": vlan.vid,
            "family": vlan.family,
            "snooping": vlan.snooping,
            "state": vlan.state,
            "querier": str(Group(vlan.family, who.address)) if who else None,
            "mac": format_mac(who.mac) if who else None,
            "port": self._snooping.name(vlan.other.port) if vlan.other else None,
            "since": round(now - vlan.since),
            "next": None if next_query is None else round(next_query),
            "groups": state.groups if state else 0,
            "full": bool(state and state.is_full),
            "spared_frames": state.frames if state else 0,
            "spared_copies": state.copies if state else 0,
        }
