"""Snooping of a bridge: follows what the data plane heard of groups, decides, asks, and tells.

Job: one `SnoopedVlan` for each VLAN and family that snoops, kept equal to the configuration and to the ports that carry
traffic; the rules that follow from them, written to the data plane; queries, sent; events. The data plane joins ports
by itself on the first report (csrc/multicast/groups.h); that a membership ends is decided here.
Thread: control, on the injectable clock; `tick` once a second. Work of a tick is bounded: QUERIES_MAX queries of VLANs,
which also spreads them; TOLD_MAX events of a kind.
Order around a snapshot: `prepare` before it, so that a port that comes up gets every group from its first moment;
`set_ports` after it, since only then the port can be asked.
Refuses: nothing; what the data plane refuses (OSError) is logged by the caller.
"""

from __future__ import annotations

import errno
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from bridge.clock import Clock
from bridge.config.group import GroupConfig
from bridge.config.group_address import Group, parse_group
from bridge.config.multicast import NO_SNOOPING, MulticastConfig
from bridge.config.port import PortConfig
from bridge.config.vlan import VlanConfig
from bridge.core._core import Bridge, Event
from bridge.core._multicast import (
    JOINS,
    change_groups,
    open_groups,
    read_groups,
    read_snooping,
    set_snooping,
)
from bridge.core.values import GroupChange, SnoopRules
from bridge.events import Emit
from bridge.fdb.known import Change
from bridge.multicast.messages import Querier, query
from bridge.multicast.vlan import SLACK, Heard, SnoopedVlan

log = logging.getLogger(__package__)

FAMILIES = (4, 6)
QUERIES_MAX = 128  # VLANs and families asked in a tick
TOLD_MAX = 32  # events of a kind in a tick; memberships that came and went are all told
UNREGISTERED_MAX = 1024  # groups remembered
HURT_MAX = 1024  # memberships remembered that `on` would have ended
BACKUP_PAUSE = 60.0  # seconds between two graces of a port for a backup router
OFF = SnoopRules()

Key = tuple[int, int]  # VLAN and family


class Fixed(NamedTuple):
    """What is set by hand of a group."""

    ports: frozenset[int]
    only: bool = False
    flooded: bool = False


class Snooping:
    """The snooping of one bridge. `vlans` are those that snoop."""

    def __init__(self, core: Bridge, clock: Clock, emit: Emit, own_address: int) -> None:
        self.vlans: dict[Key, SnoopedVlan] = {}
        self.config = NO_SNOOPING
        self.groups: dict[tuple[int, str], GroupConfig] = {}
        self.unregistered: dict[tuple[int, Group], tuple[int, float]] = {}  # port that sent, when it was seen
        self.hurt: dict[tuple[int, Group, int], float] = {}  # by VLAN, group, port: since when, in `watch`
        self._core = core
        self._clock = clock
        self._emit = emit
        self._own_address = own_address
        self._vlans: Mapping[int, VlanConfig] = {}
        self._ports: dict[int, PortConfig] = {}
        self._written: dict[Key, SnoopRules] = {}
        self._fixed: dict[tuple[int, Group], Fixed] = {}
        self._limits: dict[int, int] = {}
        self._told: Counter[str] = Counter()
        self._backups: dict[int, float] = {}
        self._is_open = False

    @property
    def querier(self) -> Querier:
        """The bridge itself as one that asks."""
        config = self.config
        return Querier(self._own_address, config.querier_address, config.version, config.query_interval)

    # -- configuration and ports

    def configure(self, config: MulticastConfig) -> None:
        """Put `[multicast]` in force."""
        self.config = config
        self._renew()

    def set_group(self, group: GroupConfig) -> None:
        """Put a `[[group]]` in force."""
        self.groups[group.vid, group.group] = group
        self._fix()

    def remove_group(self, group: GroupConfig) -> None:
        """Take a `[[group]]` out of force."""
        self.groups.pop((group.vid, group.group), None)
        self._fix()

    def prepare(self, ports: Mapping[int, PortConfig], vlans: Mapping[int, VlanConfig]) -> None:
        """Get ready for the ports that are about to carry traffic: those that are new somewhere get every group."""
        now = self._clock.now()
        if not self.vlans:
            return
        for vid in {vid for index, port in ports.items() for vid in port.members - self._members(index)}:
            for family in FAMILIES:
                if (vlan := self.vlans.get((vid, family))) is not None:
                    fresh = {i: p for i, p in ports.items() if vid in p.members and i not in vlan.ports}
                    vlan.ports = {**vlan.ports, **fresh}
                    vlan.favour(now, fresh)
        self._write()

    def set_ports(self, ports: Mapping[int, PortConfig], vlans: Mapping[int, VlanConfig]) -> None:
        """Take over the ports that carry traffic, and what `[[vlan]]` says."""
        before, self._ports, self._vlans = self._ports, dict(ports), dict(vlans)
        self._forget_gone(before)
        self._renew()
        if not self._is_open:
            return
        for vlan in self.vlans.values():
            fresh = [
                index
                for index in vlan.ports
                if index in vlan.grace and vlan.vid not in _members(before, index)
            ]
            self._ask(vlan, fresh)

    def _members(self, index: int) -> frozenset[int]:
        return _members(self._ports, index)

    def _forget_gone(self, before: Mapping[int, PortConfig]) -> None:
        """End the memberships of ports that carry nothing any more, or a VLAN less."""
        changes = []
        for index in before:
            left = _members(before, index) - self._members(index)
            if index not in self._ports:
                changes.append(GroupChange("forget", port=index))
            else:
                changes += [GroupChange("forget", vid=vid, port=index) for vid in sorted(left)]
            for vid in left:
                for family in FAMILIES:
                    if (vlan := self.vlans.get((vid, family))) is not None:
                        vlan.lose([index])
        if changes and self._is_open:
            change_groups(self._core, changes)
        self.hurt = {key: at for key, at in self.hurt.items() if key[0] in self._members(key[2])}

    def snooping_of(self, vid: int) -> str:
        """Tell whether a VLAN snoops: off, watch, on."""
        own = self._vlans.get(vid)
        return (own.snooping if own else "") or self.config.snooping

    def _renew(self) -> None:
        """Have a state for each VLAN that snoops and is carried by a port, and write what follows."""
        by_vlan: dict[int, dict[int, PortConfig]] = {}
        wanted = {self.config.snooping, *(vlan.snooping for vlan in self._vlans.values())} - {"", "off"}
        for index, port in self._ports.items() if wanted else ():
            for vid in port.members:
                if self.snooping_of(vid) != "off":
                    by_vlan.setdefault(vid, {})[index] = port
        if by_vlan and not self._is_open:
            open_groups(self._core, self.config.mdb_size)
            self._is_open = True
        for key in [key for key in self.vlans if key[0] not in by_vlan]:
            del self.vlans[key]
        for vid, ports in by_vlan.items():
            for family in FAMILIES:
                self._renew_vlan(vid, family, ports)
        self._limit()
        self._fix()
        self._write()

    def _renew_vlan(self, vid: int, family: int, ports: Mapping[int, PortConfig]) -> None:
        now = self._clock.now()
        own = self._vlans.get(vid) or VlanConfig(vid)
        wanted = self.config.querier if own.querier is None else own.querier
        may_query = self.snooping_of(vid) == "on" if wanted is None else wanted
        who = Heard(self.querier.source(family), self._own_address, -1, now)
        vlan = self.vlans.get((vid, family))
        if vlan is None:
            vlan = SnoopedVlan(
                vid, family, self.snooping_of(vid), self.config, may_query, own.group_limit, who, since=now
            )
            vlan.next_query = now if may_query else vlan.next_query
            self.vlans[vid, family] = vlan
        elif may_query and not vlan.may_query and vlan.other is None:
            vlan.next_query = now
        vlan.snooping, vlan.config, vlan.group_limit = self.snooping_of(vid), self.config, own.group_limit
        vlan.may_query, vlan.own, vlan.ports = may_query, who, ports

    def _limit(self) -> None:
        wanted = {index: port.most_groups for index, port in self._ports.items()}
        changed = [index for index, limit in wanted.items() if self._limits.get(index) != limit]
        if self._is_open and changed:
            change_groups(
                self._core, [GroupChange("limit", port=index, limit=wanted[index]) for index in changed]
            )
            self._limits |= {index: wanted[index] for index in changed}

    def _fix(self) -> None:
        """Bring what is set by hand into the table."""
        if not self._is_open:
            return
        indexes = {port.name: index for index, port in self._ports.items()}
        wanted = {
            (vid, parse_group(text)): Fixed(
                frozenset(indexes[name] for name in one.ports if name in indexes), only=one.only
            )
            for (vid, text), one in self.groups.items()
            if (vid, 4) in self.vlans
        }
        wanted |= {
            (0, parse_group(text)): Fixed(frozenset(), flooded=True) for text in self.config.always_flood
        }
        wanted = {key: fixed for key, fixed in wanted.items() if fixed != Fixed(frozenset())}
        changed = [
            key for key in wanted.keys() | self._fixed.keys() if wanted.get(key) != self._fixed.get(key)
        ]
        changes = []
        for vid, group in changed:
            fixed = wanted.get((vid, group), Fixed(frozenset()))
            changes.append(
                GroupChange("fix", vid, *group, ports=fixed.ports, only=fixed.only, flooded=fixed.flooded)
            )
        if changes:
            results = change_groups(self._core, changes)
            for (vid, group), result in zip(changed, results, strict=True):
                if result == -errno.ENOSPC:
                    log.warning(
                        "group %s in VLAN %d: the table has no room; raise multicast.mdb_size", group, vid
                    )
        self._fixed = wanted

    def _write(self) -> None:
        """Tell the data plane what changed."""
        wanted = {key: vlan.rules for key, vlan in self.vlans.items()}
        changed = {key: rules for key, rules in wanted.items() if self._written.get(key) != rules}
        ended = [key for key in self._written if key not in wanted]
        if not changed and not ended:
            return
        rules = [(*key, rules) for key, rules in changed.items()] + [(*key, OFF) for key in ended]
        set_snooping(self._core, rules)
        if ended:
            change_groups(self._core, [GroupChange("forget", vid=vid) for vid in {key[0] for key in ended}])
        self._written = wanted

    def copied(self) -> Callable[[Bridge], None]:
        """Read what decides where groups go, to be put into another data plane: that of a rehearsal."""
        if not self._is_open:
            return lambda _: None
        size, rules = self.config.mdb_size, [(*key, rules) for key, rules in self._written.items()]
        groups = read_groups(self._core)

        def put(core: Bridge) -> None:
            open_groups(core, size)
            set_snooping(core, rules)
            change_groups(
                core,
                [
                    GroupChange(
                        *("fix", group.vid, group.family, group.address),
                        ports=group.learned | group.fixed,
                        only=group.only,
                        flooded=group.flooded,
                    )
                    for group in groups
                ],
            )

        return put

    # -- what was heard

    def handle(self, event: Event) -> None:
        """Take an event of the data plane about groups."""
        family = 4 if len(event.address) == 4 else 6
        if (vlan := self.vlans.get((event.vid, family))) is None:
            return  # of before
        _HANDLERS[event.kind](self, vlan, event)

    def _joined(self, vlan: SnoopedVlan, event: Event) -> None:
        group = Group(vlan.family, event.address)
        self.hurt.pop((vlan.vid, group, event.port), None)
        self.unregistered.pop((vlan.vid, group), None)
        self._tell("mdb-joined", vlan, event.port, group=str(group), mac=event.mac)

    def _left(self, vlan: SnoopedVlan, event: Event) -> None:
        port = vlan.ports.get(event.port)
        group = Group(vlan.family, event.address)
        if port is None:
            return
        if port.fast_leave:
            gone = [GroupChange("drop", vlan.vid, *group, port=event.port)]
            if change_groups(self._core, gone)[0]:
                self._tell("mdb-left", vlan, event.port, group=str(group), reason="leave")
        elif vlan.is_querier and vlan.begin_leave(self._clock.now(), event.address, event.port):
            self._ask_for(vlan, event.address, event.port)

    def _expired(self, vlan: SnoopedVlan, event: Event) -> None:
        group = Group(vlan.family, event.address)
        if vlan.snooping == "watch" and len(self.hurt) < HURT_MAX:
            self.hurt[vlan.vid, group, event.port] = self._clock.now()
        self._tell("mdb-left", vlan, event.port, group=str(group), reason="unanswered")

    def _limited(self, vlan: SnoopedVlan, event: Event) -> None:
        group = Group(vlan.family, event.address)
        self._tell_some(
            "mdb-limit", vlan, event.port, group=str(group), reason=JOINS[event.errno].replace("_", "-")
        )

    def _queried(self, vlan: SnoopedVlan, event: Event) -> None:
        now = self._clock.now()
        who = Heard(event.address, event.mac, event.port, now)
        news = vlan.query_heard(now, who, max(event.old_port, 1) / 10)
        if "querier" in news:
            self._tell_querier(vlan)
        if "router" in news:
            self._tell_some("multicast-router", vlan, event.port, state="heard", mac=event.mac)
        self._write()

    def _asked(self, vlan: SnoopedVlan, event: Event) -> None:
        vlan.group_asked(self._clock.now(), event.address, max(event.old_port, 1) / 10)

    def _router(self, vlan: SnoopedVlan, event: Event) -> None:
        now = self._clock.now()
        if event.old_port == 0:
            if vlan.routers.pop(event.port, None) is not None:
                self._tell_some("multicast-router", vlan, event.port, state="gone", mac=event.mac)
        elif vlan.hold_router(event.port, now + event.old_port if event.old_port > 0 else float("inf")):
            self._tell_some("multicast-router", vlan, event.port, state="heard", mac=event.mac)
        self._write()

    def _unregistered(self, vlan: SnoopedVlan, event: Event) -> None:
        key = vlan.vid, Group(vlan.family, event.address)
        if key not in self.unregistered and len(self.unregistered) >= UNREGISTERED_MAX:
            del self.unregistered[next(iter(self.unregistered))]
        self.unregistered[key] = event.port, self._clock.now()

    def resync(self) -> None:
        """Events were lost: rounds that nobody knows of are to end, and everything is asked again."""
        now = self._clock.now()
        for vlan in self.vlans.values():
            vlan.asked(now, self.config.response_time)
            vlan.next_query = min(vlan.next_query, now) if vlan.is_querier else vlan.next_query

    # -- who moves

    def fdb_changed(self, change: Change) -> None:
        """Let a station that moves have its groups where it is now: it will not report them anew."""
        if change.what == "moved":
            self._favour(change.vid, change.port)

    def fdb_reset(self) -> None:
        """Nothing: moves are reported one by one."""

    def backup_spoke(self, event: Event) -> None:
        """Treat a backup router, whose address does not move (vrrp_aware), as one that moved: once a minute."""
        now = self._clock.now()
        if self._backups.get(event.port, -BACKUP_PAUSE) + BACKUP_PAUSE <= now:
            self._backups[event.port] = now
            self._favour(event.vid, event.port)

    def take_over(self) -> None:
        """Begin to forward in the place of another bridge: nothing that was learned is sure."""
        for vlan in self.vlans.values():
            vlan.favour(self._clock.now(), vlan.ports)
            if vlan.is_querier:
                vlan.take_over()
        self._write()
        self.tick()

    def _favour(self, vid: int, port: int) -> None:
        for family in FAMILIES:
            vlan = self.vlans.get((vid, family))
            if vlan is not None and vlan.state != "quiet" and port in vlan.ports:
                fresh = vlan.favour(self._clock.now(), [port])
                self._write()
                self._ask(vlan, fresh)

    # -- asking

    def _ask(self, vlan: SnoopedVlan, ports: Iterable[int]) -> None:
        """Ask some ports for all their groups. That is no round: other ports owe no answer."""
        if vlan.may_query and ports:
            frame = query(self.querier, vlan.family, self.config.response_time)
            self._core.originate([(port, vlan.vid, frame) for port in ports])

    def _ask_for(self, vlan: SnoopedVlan, address: bytes, port: int) -> None:
        """Ask a port whether it still has members of a group."""
        now = self._clock.now()
        group = Group(vlan.family, address)
        vlan.group_asked(now, address, self.config.last_member_time)
        change_groups(self._core, [GroupChange("ask_one", vlan.vid, *group, port=port)])
        frame = query(self.querier, vlan.family, self.config.last_member_time, group)
        self._core.originate([(port, vlan.vid, frame)])

    def _ask_all(self, vlan: SnoopedVlan) -> None:
        frame = query(self.querier, vlan.family, self.config.response_time)
        change_groups(self._core, [GroupChange("ask", vlan.vid, vlan.family)])
        self._core.originate([(port, vlan.vid, frame) for port in vlan.ports])
        is_first = vlan.sent == 0
        vlan.query_sent(self._clock.now())
        if is_first:
            self._tell_querier(vlan)

    # -- time

    def tick(self) -> None:
        """Let time pass: call it once a second."""
        now = self._clock.now()
        self._told.clear()
        for vlan in self.vlans.values():
            self._expire(vlan, now)
        self._write()
        for vlan in self.vlans.values():
            for address, port in vlan.questions(now):
                if vlan.is_querier:
                    self._ask_for(vlan, address, port)
        due = [
            vlan for vlan in self.vlans.values() if vlan.next_query <= now and vlan.is_querier and vlan.ports
        ]
        for vlan in sorted(due, key=lambda vlan: vlan.next_query)[:QUERIES_MAX]:
            self._ask_all(vlan)
        self._write()

    def _expire(self, vlan: SnoopedVlan, now: float) -> None:
        changes = []
        if vlan.round_over(now):
            changes.append(GroupChange("close", vlan.vid, vlan.family))
        changes += [
            GroupChange("close_one", vlan.vid, vlan.family, address) for address in vlan.rounds_over(now)
        ]
        if changes:
            change_groups(self._core, changes)
        for word in vlan.expire(now):
            if word == "querier":
                self._tell_querier(vlan)
            elif word == "quiet":
                self._tell_some("multicast-quiet", vlan, None, family=vlan.family)

    # -- telling

    def name(self, index: int) -> str | None:
        """Name a port that carries traffic."""
        port = self._ports.get(index)
        return port.name if port else None

    def _tell(self, event: str, vlan: SnoopedVlan, port: int | None, **more: object) -> None:
        self._emit(event, vlan=vlan.vid, port=None if port is None else self.name(port), **more)

    def _tell_some(self, event: str, vlan: SnoopedVlan, port: int | None, **more: object) -> None:
        """Tell of what anybody may cause any number of times."""
        self._told[event] += 1
        if self._told[event] <= TOLD_MAX:
            self._tell(event, vlan, port, **more)

    def _tell_querier(self, vlan: SnoopedVlan) -> None:
        who = vlan.other
        port = None if who is None else who.port
        address = str(Group(vlan.family, (who or vlan.own).address))
        self._tell_some(
            "multicast-querier",
            vlan,
            port,
            family=vlan.family,
            querier=address if who or vlan.may_query else None,
            mac=(who or vlan.own).mac,
        )

    def flush(self, vid: int | None, port: int | None, group: Group | None) -> int:
        """Forget learned members that fit every filter given, then ask; returns how many."""
        if not self._is_open:
            return 0
        family, address = group or (None, b"")
        change = GroupChange("forget", vid or 0, family, address, port)
        flushed = change_groups(self._core, [change])[0]
        for vlan in self.vlans.values():
            if vid in (None, vlan.vid):
                vlan.favour(self._clock.now(), vlan.ports if port is None else {port} & vlan.ports.keys())
                self._write()
                self._ask(vlan, vlan.ports if port is None else {port} & vlan.ports.keys())
        return flushed

    @property
    def spared(self) -> dict[int, tuple[int, int, float]]:
        """Frames, copies and cycles that snooping spared each VLAN, or would spare it."""
        found: dict[int, tuple[int, int, float]] = {}
        for vid, family in self.vlans:
            if (state := read_snooping(self._core, vid, family)) is not None:
                frames, copies, cycles = found.get(vid, (0, 0, 0.0))
                found[vid] = frames + state.frames, copies + state.copies, cycles + state.cycles
        return found


def _members(ports: Mapping[int, PortConfig], index: int) -> frozenset[int]:
    return ports[index].members if index in ports else frozenset()


_HANDLERS = {
    "group_joined": Snooping._joined,
    "group_left": Snooping._left,
    "group_expired": Snooping._expired,
    "group_limit": Snooping._limited,
    "group_query": Snooping._queried,
    "group_asked": Snooping._asked,
    "group_router": Snooping._router,
    "group_unregistered": Snooping._unregistered,
}

EVENTS = tuple(_HANDLERS)
__all__ = ["EVENTS", "SLACK", "Snooping"]
