"""A rehearsal: what the data plane would do with one frame, found out without sending it.

Job: a second data plane of memory ports (`bridge.core._core.Bridge`) with the snapshot in force, the same FDB and no
traffic but this frame; what became of it there, stage by stage, with the key of the configuration that decides. It is
the code that forwards, so an answer is what would have happened, with three exceptions: budgets are full here (one that
is over where traffic runs is named), what Python does upon an event (loops, moving addresses) is not waited for, and
what the kernel forwards or holds back by itself comes to the same, but is not seen.
Thread: made by the control thread, while nothing changes; `play` may run in any. Nothing of it is seen by the bridge.
Refuses, as PortError: a port that is not up, frames that no port could receive.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from bridge.config.port import PortConfig
from bridge.core._core import DROP_REASONS, Bridge, Frame, MemoryPort, PortCounters
from bridge.core.values import Charge, Event, FdbEntry
from bridge.engine.data_plane import DataPlane
from bridge.errors import PortError
from bridge.mac import format_mac, is_group
from bridge.multicast.snooping import Snooping
from bridge.ports.table import PortTable

SLOTS = 16  # of a memory port: one frame, and what mirrors copy of it
FRAME_MIN, FRAME_MAX = 14, 65535  # bytes
BROADCAST = (1 << 48) - 1
MEANING = dict(DROP_REASONS)

# What a drop for this reason is a matter of: a key of the port where it happens,
PORT_KEYS = {
    "tag_not_allowed": "vlan",
    "vlan_not_allowed": "vlan",
    "inner_tag": "vlan",
    "oversize": "mtu",
    "source_guard": "source_guard",
    "ra_guard": "ra_guard",
    "dhcp_guard": "dhcp_guard",
    "multicast_guard": "multicast_router",
    "locked": "locked",
    "same_port": "hairpin",
    "storm": "storm_control",
    "isolated": "isolated",
    "split_horizon": "horizon",
    "ingress_only": "direction",
    "egress_only": "direction",
    "port_down": "enabled",
}
# or another table of the file.
TABLES = {
    "reserved": "bridge.pass_reserved",
    "static_move": "bridge.static_move",
    "no_member": "multicast.snooping",
    "over_budget": "budget",
}
LATE = (
    "same_port",
    "no_egress",
    "fdb_drop",
    "handover",
    "storm",
    "over_budget",
)  # behind admission and learning

Row = dict[str, object]


class Step(NamedTuple):
    """What one stage did: `port` is where, `key` what decides (`PORT.KEY`, `TABLE.KEY`), `data` a copy that leaves."""

    stage: str  # rx, admit, learn, lookup, tx, mirror, budget
    port: str
    outcome: str  # a word for programs
    text: str
    reason: str = ""  # of a drop
    key: str = ""
    data: bytes = b""

    @property
    def row(self) -> Row:
        """One row of an answer."""
        return {
            "stage": self.stage,
            "port": self.port or None,
            "outcome": self.outcome,
            "reason": self.reason or None,
            "text": self.text,
            "decided_by": self.key or None,
            "frame": self.data.hex() or None,
        }


class Outcome(NamedTuple):
    """What became of a frame; `frame_class` and `copies` are what it would be charged as."""

    steps: list[Step]
    frame_class: str
    copies: int


class Rehearsal:
    """One frame through a copy of the data plane."""

    def __init__(
        self,
        core: Bridge,
        ports: PortTable,
        data_plane: DataPlane,
        snooping: Snooping,
        name: str,
        data: bytes,
    ) -> None:
        attachment = ports[name]
        if attachment.state != "up":
            raise PortError(name, f"it is {attachment.state}, so no frame comes in by it")
        if not FRAME_MIN <= len(data) <= FRAME_MAX:
            raise PortError(name, f"a frame has {FRAME_MIN} to {FRAME_MAX} bytes, this one has {len(data)}")
        self._core = core
        self._data = data
        self._ingress = attachment.index
        self._names = {one.index: one.config.name for one in ports}
        self._configs: dict[int, PortConfig] = {one.index: one.config for one in ports}
        self._states = {one.index: one.state for one in ports}
        self._over = {row["budget"]: row for row in data_plane.budgets.rows(core) if row["state"] == "over"}
        self._budgets = data_plane.budgets.names_by_serial
        capacity = data_plane.bridge.fdb_size
        self._stage = Bridge(fdb_capacity=capacity, events=max(64, 2 * capacity))
        self._ports: dict[int, MemoryPort] = {
            index: self._stage.open_memory(index, slots=SLOTS) for index in ports.open_ports
        }
        self._snapshot, self._mirrors = data_plane.rehearsed(self._ports)
        self._put_groups = snooping.copied()
        self._is_pruned = False  # the frame went to members of its group

    def play(self) -> Outcome:
        """Send the frame in, and tell what became of it."""
        stage = self._stage
        stage.apply(self._snapshot)
        self._put_groups(stage)
        entries = self._copy_fdb()
        stage.events()
        self._ports[self._ingress].inject([Frame(self._data)])
        while stage.turn():
            pass
        counters = stage.counters().ports
        charge = next(one for one in stage.bill().charges if one.frames)
        self._is_pruned = counters[self._ingress].values["mcast_pruned"] > 0
        rx_drop = next(iter(counters[self._ingress].rx_drops), "")
        is_late = rx_drop in LATE
        steps = [
            *self._admitted(charge, "" if is_late else rx_drop),
            *self._learned(charge, entries, stage.events()[0]),
            *(self._found(charge, entries, rx_drop if is_late else "") if is_late or not rx_drop else ()),
            *self._left(charge, counters, is_forwarded=not rx_drop),
            *self._mirrored(),
            *self._budgeted(),
        ]
        return Outcome(steps, charge.frame_class, charge.copies)

    def _copy_fdb(self) -> dict[tuple[int, int], FdbEntry]:
        found = self._core.fdb_entries()
        self._stage.tick = self._core.tick
        fixed = [one for one in found if one.kind in ("static", "drop")]
        self._stage.fdb_set_many([(one.vid, one.mac, one.port, one.kind) for one in fixed])
        self._stage.fdb_restore([one for one in found if one.kind not in ("static", "drop")])
        return {(one.vid, one.mac): one for one in self._stage.fdb_entries()}

    # -- ingress

    @property
    def _port(self) -> str:
        return self._names[self._ingress]

    @property
    def _destination(self) -> int:
        return int.from_bytes(self._data[:6], "big")

    @property
    def _source(self) -> int:
        return int.from_bytes(self._data[6:12], "big")

    def _dropped(self, stage: str, index: int, reason: str) -> Step:
        name, key = self._names[index], TABLES.get(reason, "")
        if reason in PORT_KEYS and not (reason == "port_down" and self._configs[index].admin_up):
            key = port_key(
                name, PORT_KEYS[reason]
            )  # where it is down though enabled, the device has no carrier
        return Step(stage, name, "dropped", f"dropped: {MEANING[reason]}", reason, key)

    def _admitted(self, charge: Charge, reason: str) -> Iterator[Step]:
        name = self._port
        if charge.vid:
            yield Step("admit", name, "admitted", f"in VLAN {charge.vid}", key=port_key(name, "vlan"))
        if reason:
            yield self._dropped("admit", self._ingress, reason)

    def _learned(
        self, charge: Charge, entries: Mapping[tuple[int, int], FdbEntry], events: list[Event]
    ) -> Iterator[Step]:
        if not charge.vid:
            return
        who, name = format_mac(self._source), self._port
        known = entries.get((charge.vid, self._source))
        for event in events:
            where = self._names.get(event.old_port, "")
            if text := EVENT_TEXTS.get(event.kind):
                yield Step("learn", name, event.kind, text.format(who=who, where=where))
        if events:
            return
        if known is not None and known.port == self._ingress:
            yield Step("learn", name, "known", f"{who} is known here ({known.kind})")
        elif self._stage.fdb_find(charge.vid, self._source) is None:
            key = "" if self._configs[self._ingress].learning else port_key(name, "learning")
            yield Step("learn", name, "not_learned", f"{who} is not learned", key=key)

    def _found(
        self, charge: Charge, entries: Mapping[tuple[int, int], FdbEntry], reason: str
    ) -> Iterator[Step]:
        who, kind = format_mac(self._destination), charge.frame_class.replace("_", " ")
        entry = entries.get((charge.vid, self._destination))
        source = entries.get((charge.vid, self._source))
        if source is not None and source.kind == "drop":
            pass  # the destination was not looked up
        elif is_group(self._destination):
            yield Step("lookup", "", "group", f"{who} is a group: to every member of the VLAN, as {kind}")
        elif entry is None:
            yield Step("lookup", "", "unknown", f"{who} is not in the FDB: to every member of the VLAN")
        elif entry.kind != "drop":
            name = self._names.get(entry.port, "")
            yield Step("lookup", name, "known", f"{who} is behind port {name} ({entry.kind})")
        if reason:
            step = self._dropped("lookup", self._ingress, reason)
            yield step._replace(key=self._drop_entry(charge, entries)) if reason == "fdb_drop" else step

    def _drop_entry(self, charge: Charge, entries: Mapping[tuple[int, int], FdbEntry]) -> str:
        """Tell which of both addresses it is."""
        both = ((charge.vid, self._source), (charge.vid, self._destination))
        return next(
            f"fdb[{format_mac(mac)} vlan {vid}]"
            for vid, mac in both
            if (vid, mac) in entries and entries[vid, mac].kind == "drop"
        )

    # -- egress

    def _left(
        self, charge: Charge, counters: Mapping[int, PortCounters], *, is_forwarded: bool
    ) -> Iterator[Step]:
        for index, config in sorted(self._configs.items(), key=lambda pair: pair[1].name):
            copies = self._ports[index].drain() if index in self._ports else []
            if config.mode == "mirror":
                for copy in copies:
                    yield Step(
                        "mirror", config.name, "copied", f"a copy of {len(copy.data)} bytes", data=copy.data
                    )
                continue
            for copy in copies:
                yield Step(
                    "tx",
                    config.name,
                    "sent",
                    _form(copy.data),
                    key=port_key(config.name, "vlan"),
                    data=copy.data,
                )
            drops = counters[index].tx_drops if index in counters else {}
            for reason in drops:
                yield self._dropped("tx", index, reason)
            is_flooded = is_forwarded and charge.frame_class != "known_unicast" and index != self._ingress
            if not is_flooded or copies or drops or charge.vid not in config.members:
                continue
            if why := self._why_withheld(charge, index, config):
                text, reason, key = why
                place = port_key(config.name, key) if key else ""
                yield Step("tx", config.name, "withheld", f"not sent: {text}", reason, place)

    def _why_withheld(self, charge: Charge, index: int, config: PortConfig) -> tuple[str, str, str] | None:
        """Tell why a member of the VLAN was not asked to send what was flooded: in words, as a reason, by which key."""
        what = "multicast"
        if charge.frame_class == "unknown_unicast":
            what = "unknown"
        elif self._destination == BROADCAST:
            what = "broadcast"
        source = self._configs[self._ingress]
        if self._states[index] != "up":
            return f"the port is {self._states[index]}", "", "" if config.admin_up else "enabled"
        if config.isolated and source.isolated:
            return "both ports are isolated", "isolated", "isolated"
        if config.horizon and config.horizon == source.horizon:
            return "both ports are of one split-horizon group", "split_horizon", "horizon"
        if config.direction == "ingress":
            return "the port only receives", "", "direction"
        if self._is_pruned:
            return "no receiver of this group is known there (snooping)", "", ""
        if not getattr(config, f"flood_{what}"):
            return f"the port takes no flooded {what}", "", "flood"
        return None

    # -- beside

    def _mirrored(self) -> Iterator[Step]:
        for state in self._stage.mirrors():
            if state.copies:
                name = self._mirrors[state.serial]
                text = f"mirror {name} takes {state.copies} copies, {state.bytes} bytes"
                yield Step("mirror", "", "mirrored", text, key="mirror")

    def _budgeted(self) -> Iterator[Step]:
        for state in self._stage.budgets():
            name = self._budgets[state.serial]
            if state.spent and (row := self._over.get(name)):
                text = f"budget {name} is over where traffic runs: {ACTIONS[str(row['action'])]}"
                yield Step("budget", str(row["port"] or ""), "over", text, key="budget")


ACTIONS = {
    "drop": "such frames are dropped now",
    "count": "it only counts",
    "stop_learning": "their sources are not learned now",
}
EVENT_TEXTS = {  # of what learning makes known; the others come with a drop
    "learned": "{who} is learned here",
    "moved": "{who} moves here from port {where}",
    "request": "{who} waits for somebody to authorise it (controlled learning)",
    "static_move": "{who} has a static or sticky entry on port {where}",
    "backup_ignored": "{who} stays where it is: this is a backup router speaking",
    "local_kept": "{who} stays on port {where}, which is local",
    "evicted": "the longest silent station gives way",
    "refused_port_limit": "{who} is not learned: the port's mac_limit is reached",
    "refused_vlan_limit": "{who} is not learned: the VLAN's mac_limit is reached",
    "refused_full": "{who} is not learned: the table is full",
}


def at_the_gate(state: str) -> Step:
    """Say that nothing passes a bridge of a pair that is in this state."""
    text = f"dropped: this member of the pair is {state}, so its gate is closed; else this would happen:"
    return Step("gate", "", "dropped", text, "standby", "pair")


def port_key(name: str, key: str) -> str:
    """Name a key of a port, as messages about a configuration do."""
    return f"port[{name}].{key}"


def _form(data: bytes) -> str:
    """Tell how a copy leaves."""
    tags = []
    at = 12
    while data[at : at + 2] in (b"\x81\x00", b"\x88\xa8") and len(data) >= at + 4:
        tci = int.from_bytes(data[at + 2 : at + 4], "big")
        tags.append(f"{tci & 0xFFF}" + (f" (priority {tci >> 13})" if tci >> 13 else ""))
        at += 4
    return f"sent: {len(data)} bytes, " + (f"tagged {', '.join(tags)}" if tags else "untagged")
