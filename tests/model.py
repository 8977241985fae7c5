"""The bridge in slow, obvious Python: the oracle the data plane is compared with (rules R1 to R12).

Job: say what must happen to every frame, one frame at a time, in the order of the rules. No batches
inside, no shared bytes, no hashing; the two traces of batching are visible outside: a batch is learned
before any of it is looked up, and its known unicast leaves before its floods (R11 promises order per
flow only). Frames, configuration and results have the shapes of `bridge._core` (named tuples compare
equal by value), so a test can run both side by side and compare whole values.
Independence: written from the rules, not from the C; it imports nothing of the product. Outside its
job: cycles, events lost by a full ring, real devices, and two full hash buckets.
"""

from __future__ import annotations

import struct
from collections import Counter, defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from classes import classify
from guards import Rule, is_allowed, judge
from routers import is_of_backup, is_virtual

TPIDS = (0x8100, 0x88A8)
HEADER = 14
TAG = 4
MIN_LEN = 60
ZERO, BROADCAST = bytes(6), b"\xff" * 6
L4_CSUM_OFFSET = {"tcp4": 16, "tcp6": 16, "udp": 6}


class Offload(NamedTuple):
    """As bridge._core.Offload."""

    needs_csum: bool = False
    csum_start: int = 0
    csum_offset: int = 0
    gso: str = "none"
    ecn: bool = False
    gso_size: int = 0
    hdr_len: int = 0

    def moved(self, by: int) -> Offload:
        """The MAC addresses moved by `by` bytes against the payload: so do the offsets that are in use."""
        return self._replace(
            csum_start=self.csum_start + by if self.needs_csum else self.csum_start,
            hdr_len=self.hdr_len + by if self.hdr_len else 0,
        )


class Frame(NamedTuple):
    """As bridge._core.Frame."""

    data: bytes
    tag: tuple[int, int] | None = None
    offload: Offload = Offload()


class Event(NamedTuple):
    kind: str
    vid: int
    mac: int
    port: int
    old_port: int
    errno: int = 0
    finding: str = ""
    address: bytes = b""


class FdbEntry(NamedTuple):
    vid: int
    mac: int
    port: int
    kind: str
    tick: int


class Form(NamedTuple):
    """The tags a frame leaves with: TPID of the outer one, VIDs from the outside in; no VIDs: untagged."""

    tpid: int = 0
    vids: tuple[int, ...] = ()

    @property
    def is_bare(self) -> bool:
        """No tag, or one that names no VLAN."""
        return not any(self.vids)

    @property
    def room(self) -> int:
        return TAG * len(self.vids)


class Drop(Exception):  # noqa: N818 a verdict, not an error
    """The frame, or the copy, ends here for this reason."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


@dataclass(frozen=True)
class PortConfig:
    """Keyword arguments of Snapshot.add_port, but for the last three."""

    mode: str
    pvid: int = 0
    vids: tuple[int, ...] = ()
    tpid: int = 0x8100
    mtu: int = 1500
    up: bool = True
    learning: bool = True
    flood_unknown: bool = True
    flood_multicast: bool = True
    flood_broadcast: bool = True
    isolated: bool = False
    mac_limit: int = 0
    native_tagged: bool = False
    translations: tuple[tuple[int, int, int], ...] = ()  # VIDs outer and inner (0: none) on the wire, VLAN
    priority_tags: str = "never"
    default_pcp: int = 0
    horizon: int = 0
    hairpin: bool = False
    direction: str = "both"
    locked: bool = False
    allow: tuple[tuple[int, int], ...] = ()  # the arguments of Snapshot.secure_port
    rules: tuple[Rule, ...] = ()

    @property
    def members(self) -> set[int]:
        """VIDs the port is a member of; the native VLAN always is one."""
        return {vid for vid in (*self.vids, self.pvid) if vid}

    @property
    def wires(self) -> dict[int, tuple[int, ...]]:
        """VIDs of the tags that frames of a VLAN have outside, the outer one first."""
        own: dict[int, tuple[int, ...]] = {vid: (vid,) for vid in self.members}
        return own | {vid: (outer, inner) if inner else (outer,) for outer, inner, vid in self.translations}


@dataclass(frozen=True)
class Config:
    """Arguments of Snapshot, and the ports by index."""

    ports: dict[int, PortConfig]
    reserved_pass: int = 0
    static_move: str = "drop"
    controlled: bool = False
    age_ticks: int = 300
    vlan_limits: dict[int, int] = field(default_factory=dict)
    vlans_not_learning: frozenset[int] = frozenset()
    full_table: str = "evict"
    mac_limit: int = 0
    vrrp_aware: bool = False
    local_first: bool = False


@dataclass
class Port:
    """A memory port: what waits on it, what the bridge sent by it, and its ledger."""

    slots: int
    vnet: bool
    waiting: deque[tuple[Frame, int]] = field(default_factory=deque)  # with its head-room
    sent: list[Frame] = field(default_factory=list)
    values: Counter[str] = field(default_factory=Counter)
    rx_drops: Counter[str] = field(default_factory=Counter)
    tx_drops: Counter[str] = field(default_factory=Counter)


@dataclass
class Receipt:
    """What the bill counts of a frame."""

    index: int
    rx_len: int  # bytes, tag included
    vid: int = 0
    segments: int = 1
    frame_class: str = ""


@dataclass
class Admitted:
    """A frame inside the bridge: canonical, that is without its outer tag."""

    data: bytes
    offload: Offload
    ingress: int
    vid: int
    priority: int  # PCP and DEI in their place in the TCI
    was_tagged: bool
    headroom: int  # room in front of the bytes
    receipt: Receipt
    was_double: bool = False  # a second tag was the VLAN's, too

    @property
    def destination(self) -> bytes:
        return self.data[:6]

    @property
    def source(self) -> bytes:
        return self.data[6:12]

    @property
    def ethertype(self) -> int:
        return int.from_bytes(self.data[12:14], "big")


def rx_len(frame: Frame) -> int:
    """Bytes of a frame as it came in."""
    return len(frame.data) + (TAG if frame.tag else 0)


class Model:
    """The bridge. Same verbs as bridge._core.Bridge."""

    def __init__(self, *, fdb_capacity: int = 65536, burst: int = 64) -> None:
        self.capacity, self.burst, self.tick, self.turns = fdb_capacity, burst, 0, 0
        self.config = Config({})
        self.ports: dict[int, Port] = {}
        self.fdb: dict[tuple[int, int], FdbEntry] = {}
        self._events: list[Event] = []
        self.charges: defaultdict[tuple[int, int, str], Counter[str]] = defaultdict(
            Counter
        )  # by port, VID, class

    # -- ports and configuration

    def open_memory(self, index: int, *, slots: int = 1024, vnet: bool = True) -> None:
        self.ports[index] = Port(slots, vnet)

    def apply(self, config: Config) -> None:
        for index, port in config.ports.items():
            if index in self.config.ports and port.up and not self.config.ports[index].up:
                self._discard(self.ports[index])
        self.config = config

    def _discard(self, port: Port) -> None:
        """What came while a port was down is out of date when it comes up."""
        port.values["rx_batches"] += -(-len(port.waiting) // self.burst)
        while port.waiting:
            frame, _ = port.waiting.popleft()
            self._count_received(port, frame)
            self._end(Receipt(self._index_of(port), rx_len(frame)), Drop("port_down"))

    def inject(self, index: int, frames: Iterable[Frame | bytes], headroom: int = 64) -> int:
        """Queue frames; how many fitted."""
        port, n = self.ports[index], 0
        for frame in frames:
            if len(port.waiting) == port.slots:
                break
            port.waiting.append((Frame(frame) if isinstance(frame, bytes) else Frame(*frame), headroom))
            n += 1
        return n

    def drain(self, index: int) -> list[Frame]:
        sent, self.ports[index].sent = self.ports[index].sent, []
        return sent

    # -- forwarding

    def turn(self) -> int:
        """Serve every port once, at most one batch each; returns frames received."""
        n = 0
        self.turns += 1
        ports = sorted(self.config.ports.items())
        first = self.turns % (len(ports) or 1)  # goes round
        for index, config in ports[first:] + ports[:first]:
            if not config.up:
                continue
            waiting = self.ports[index].waiting
            batch = [waiting.popleft() for _ in range(min(self.burst, len(waiting)))]
            n += len(batch)
            if batch:
                self._forward_batch(index, batch)
        return n

    def _forward_batch(self, index: int, batch: list[tuple[Frame, int]]) -> None:
        """Admit all, guard all, learn all, then forward each: learn, then forward."""
        port = self.ports[index]
        admitted = []
        port.values["rx_batches"] += 1
        for frame, headroom in batch:
            self._count_received(port, frame)
            receipt = Receipt(index, rx_len(frame))
            try:
                admitted.append(self._admit(index, frame, headroom, receipt))
            except Drop as drop:
                self._end(receipt, drop)
        guarded = []
        for frame in admitted:
            try:
                self._guard(frame)
                guarded.append(frame)
            except Drop as drop:
                self._end(frame.receipt, drop)
        learned = []
        for frame in guarded:
            try:
                self._learn(frame)
                learned.append(frame)
            except Drop as drop:
                self._end(frame.receipt, drop)
        known, floods = [], []
        for frame in learned:
            try:
                targets, flooded = self._find_targets(frame)
            except Drop as drop:
                self._end(frame.receipt, drop)
                continue
            (floods if flooded else known).append((frame, targets))
        for frame, targets in known:
            self._charge(frame, {int.from_bytes(frame.destination, "big")}, len(targets))
        for frame, targets in floods:
            self._charge(frame, set(), len(targets))
        for frame, targets in known + floods:
            port.values["copies"] += len(targets) - 1
            port.values["forwarded"] += len(targets)
            self._deliver(frame, targets)
        port.values["flooded"] += len(floods)

    @staticmethod
    def _count_received(port: Port, frame: Frame) -> None:
        port.values["rx_frames"] += 1
        port.values["rx_bytes"] += rx_len(frame)
        port.values["rx_super_frames"] += frame.offload.gso != "none"
        port.values["rx_segments"] += 1

    # -- the bill: what is counted beside the cycles

    def _end(self, receipt: Receipt, drop: Drop) -> None:
        self.ports[receipt.index].rx_drops[drop.reason] += 1
        frame_class = "reserved" if drop.reason == "reserved" else "dropped"
        self._enter(receipt, frame_class, 0)

    def _charge(self, frame: Admitted, known: set[int], copies: int) -> None:
        frame.receipt.frame_class = classify(frame.data, known)
        self._enter(frame.receipt, frame.receipt.frame_class, copies)

    def _enter(self, receipt: Receipt, frame_class: str, copies: int) -> None:
        row = self.charges[receipt.index, receipt.vid, frame_class]
        row.update(frames=1, bytes=receipt.rx_len, segments=receipt.segments, copies=copies)

    def _index_of(self, port: Port) -> int:
        return next(index for index, known in self.ports.items() if known is port)

    # -- R1 to R6: what may come in

    def _admit(self, index: int, frame: Frame, headroom: int, receipt: Receipt) -> Admitted:
        config = self.config.ports[index]
        data, tag, offload = frame
        if config.direction == "egress":
            raise Drop("egress_only")
        if len(data) < HEADER:
            raise Drop("runt")
        own_tci = None
        if tag and (tag[0] != config.tpid or config.mode == "tunnel"):  # payload: back into the bytes
            if headroom < TAG:
                raise Drop("no_headroom")
            data, offload, headroom = push(data, *tag), offload.moved(TAG), headroom - TAG
        elif tag:
            own_tci = tag[1]
        elif ethertype_of(data) == config.tpid and config.mode != "tunnel":
            if len(data) < HEADER + TAG:
                raise Drop("runt")
            own_tci = int.from_bytes(data[14:16], "big")
            data, offload, headroom = data[:12] + data[16:], offload.moved(-TAG), headroom + TAG

        self._check_addresses(data[:6], data[6:12])
        was_double = own_tci is not None and self._is_double(config, own_tci & 0xFFF)
        if was_double and ethertype_of(data) != TPIDS[0]:
            raise Drop("vlan_not_allowed")
        if was_double and len(data) < HEADER + TAG:
            raise Drop("runt")
        inner = (int.from_bytes(data[14:16], "big") & 0xFFF,) if was_double else ()
        receipt.vid = vid = self._find_vid(config, own_tci, inner)
        if was_double:
            data, offload, headroom = data[:12] + data[16:], offload.moved(-TAG), headroom + TAG
        header_end = check_offload(data, offload)
        if header_end:
            offload = offload._replace(hdr_len=header_end)
            receipt.segments = segments(data, offload)
            self.ports[index].values["rx_segments"] += receipt.segments - 1
        priority = config.default_pcp << 13 if own_tci is None else own_tci & 0xF000
        admitted = Admitted(
            data, offload, index, vid, priority, own_tci is not None, headroom, receipt, was_double
        )
        if l3_len(admitted) + TAG * was_double > config.mtu:
            raise Drop("oversize")
        return admitted

    def _check_addresses(self, destination: bytes, source: bytes) -> None:
        if source[0] & 1 or source in (ZERO, destination):
            raise Drop("bad_source")
        is_reserved = destination[:5] == b"\x01\x80\xc2\x00\x00" and destination[5] < 16
        if is_reserved and not self.config.reserved_pass >> destination[5] & 1:
            raise Drop("reserved")

    @staticmethod
    def _is_double(config: PortConfig, outer: int) -> bool:
        """Whether frames with this outer VID have a second tag before their VLAN can be told."""
        return any(wire[0] == outer for wire in config.wires.values() if len(wire) == 2)

    @staticmethod
    def _find_vid(config: PortConfig, own_tci: int | None, inner: tuple[int, ...]) -> int:
        """The VLAN the frame enters (R5)."""
        vid = (own_tci or 0) & 0xFFF
        if config.mode != "trunk":
            if vid:
                raise Drop("tag_not_allowed")
            return config.pvid
        if vid == 4095:
            raise Drop("bad_vid")
        by_wire = {wire: known for known, wire in config.wires.items()}
        vid = by_wire.get((vid, *inner), 0) if vid else config.pvid
        if vid not in config.members:
            raise Drop("vlan_not_allowed")
        return vid

    # -- source guard

    def _guard(self, frame: Admitted) -> None:
        """A frame speaks from an address of its port, or ends."""
        rules = self.config.ports[frame.ingress].rules
        finding, address = judge(frame.data, rules) if rules else ("passed", b"")
        if finding != "passed":
            mac = int.from_bytes(frame.source, "big")
            told = Event("source_guard", frame.vid, mac, frame.ingress, -1, 0, finding, address)
            self._events.append(told)
            raise Drop("source_guard")

    # -- R7 and R9: who is where

    def _learn(self, frame: Admitted) -> None:
        index, config = frame.ingress, self.config.ports[frame.ingress]
        key = (frame.vid, int.from_bytes(frame.source, "big"))
        entry = self.fdb.get(key)
        if entry and entry.kind == "drop":
            raise Drop("fdb_drop")
        if config.locked and (entry is None or entry.port != index) and not is_allowed(key[1], config.allow):
            self._event("locked", *key, index, entry.port if entry else -1)
            raise Drop("locked")
        if entry and entry.kind in ("static", "sticky") and entry.port != index:
            self._event("static_move", *key, index)
            if self.config.static_move == "drop":
                raise Drop("static_move")
            return
        if not config.learning or frame.vid in self.config.vlans_not_learning:
            return
        if entry and entry.port == index:
            self._refresh(entry)
        elif entry and (why := self._why_stay(entry, frame)):
            self._event(why, *key, index)
            self.ports[index].values[why] += 1
        elif reason := self._why_not_install(entry, key[0], index):
            self._event(reason, *key, index)
            self.ports[index].values["not_learned"] += 1
            if entry and reason == "refused_port_limit":  # it is not there any more: better flooded than lost
                del self.fdb[key]
        else:
            self._event("moved" if entry else "learned", *key, index, entry.port if entry else -1)
            self.ports[index].values["moved" if entry else "learned"] += 1
            self.fdb[key] = FdbEntry(*key, index, "dynamic", self.tick)

    def _refresh(self, entry: FdbEntry) -> None:
        age = (self.tick - entry.tick) & 0xFFFF
        if self.config.age_ticks and age > self.config.age_ticks and ages(entry):
            self._event("refreshed", entry.vid, entry.mac, entry.port)
        self.fdb[entry.vid, entry.mac] = entry._replace(tick=self.tick)

    def _why_not_install(self, entry: FdbEntry | None, vid: int, index: int) -> str:
        """Name of the event that says why an address is not learned, or moved, here; empty: there is room now."""
        port_limit, vlan_limit = self.config.ports[index].mac_limit, self.config.vlan_limits.get(vid, 0)
        if self.config.controlled:
            return "request"
        if port_limit and sum(ages(e) and e.port == index for e in self.fdb.values()) >= port_limit:
            return "refused_port_limit"
        if entry:  # a move takes no more room in its VLAN or in the table
            return ""
        evicted = False
        if vlan_limit and sum(ages(e) and e.vid == vid for e in self.fdb.values()) >= vlan_limit:
            if not self._evict([e for e in self.fdb.values() if e.vid == vid], index):
                return "refused_vlan_limit"
            evicted = True
        most = self.capacity
        if self.config.mac_limit:
            most = min(most, self.config.mac_limit + sum(not ages(e) for e in self.fdb.values()))
        if len(self.fdb) >= most and not evicted and not self._evict([*self.fdb.values()], index):
            return "refused_full"
        return ""

    def _evict(self, scope: list[FdbEntry], learner: int) -> bool:
        """Let the greediest port of these entries lose the dynamic one that was silent for longest."""
        scope = [entry for entry in scope if entry.kind == "dynamic"]
        if self.config.full_table == "refuse" or not scope:
            return False
        greed = Counter(entry.port for entry in scope)
        loser = min(greed, key=lambda port: (-greed[port], port == learner, port))
        victim = min(
            (entry for entry in scope if entry.port == loser),
            key=lambda entry: (-((self.tick - entry.tick) & 0xFFFF), entry.vid, entry.mac),
        )
        del self.fdb[victim.vid, victim.mac]
        self._event("evicted", victim.vid, victim.mac, loser, learner)
        if loser in self.config.ports:
            self.ports[loser].values["evicted"] += 1
        return True

    def _why_stay(self, entry: FdbEntry, frame: Admitted) -> str:
        """Name of the event that says why an entry stays on another port; empty: it may move."""
        ports, home = self.config.ports, self.config.ports.get(entry.port)
        if is_virtual(frame.source):
            return "backup_ignored" if self.config.vrrp_aware and is_of_backup(frame.data) else ""
        age = (self.tick - entry.tick) & 0xFFFF
        is_alive = not self.config.age_ticks or age <= self.config.age_ticks
        is_local = home is not None and home.mode != "trunk" and ports[frame.ingress].mode == "trunk"
        return "local_kept" if self.config.local_first and is_alive and is_local else ""

    def _event(self, kind: str, vid: int, mac: int, port: int, old_port: int = -1) -> None:
        self._events.append(Event(kind, vid, mac, port, old_port))

    # -- R8: where to

    def _find_targets(self, frame: Admitted) -> tuple[list[int], bool]:
        """Ports a frame is for, and whether it is flooded."""
        ports, ingress = self.config.ports, self.config.ports[frame.ingress]
        if not frame.destination[0] & 1:
            entry = self.fdb.get((frame.vid, int.from_bytes(frame.destination, "big")))
            if entry:
                return [self._check_known(frame, entry)], False
            flag = "flood_unknown"
        else:
            flag = "flood_broadcast" if frame.destination == BROADCAST else "flood_multicast"
        targets = [
            index
            for index, config in sorted(ports.items())
            if frame.vid in config.members
            and config.up
            and getattr(config, flag)
            and not why_not_reached(ingress, config, same=index == frame.ingress)
        ]
        if not targets:
            raise Drop("no_egress")
        return targets, True

    def _check_known(self, frame: Admitted, entry: FdbEntry) -> int:
        if entry.kind == "drop":
            raise Drop("fdb_drop")
        egress = self.config.ports.get(entry.port)
        if not egress or frame.vid not in egress.members:
            raise Drop("no_egress")
        ingress = self.config.ports[frame.ingress]
        if reason := why_not_reached(ingress, egress, same=entry.port == frame.ingress):
            raise Drop(reason)
        return entry.port

    # -- R1, R2, R6, R10: how it leaves

    def _deliver(self, frame: Admitted, targets: list[int]) -> None:
        """Hand one frame to every port it is for."""
        takers = [index for index in targets if self._offer(index, frame)]
        unable = [index for index in takers if not self.ports[index].vnet]
        if frame.offload.needs_csum and frame.offload.gso == "none" and unable:  # finished once, for all
            frame = replace(frame, data=finish_checksum(frame.data, frame.offload), offload=Offload())
            self.ports[unable[0]].values["tx_checksums"] += 1
        forms = {index: self._form(index, frame) for index in takers}
        last = min(forms.values(), key=lambda form: built_last(form, frame.vid), default=Form())
        for index in takers:
            # all forms but the last are built in copies with room
            if forms[index] == last and frame.headroom < last.room:
                self.ports[index].tx_drops["no_headroom"] += 1
            else:
                self._send(index, frame, forms[index])

    def _offer(self, index: int, frame: Admitted) -> bool:
        """Whether the port takes the frame; a refusal is counted there."""
        port, config = self.ports[index], self.config.ports[index]
        port.values["offered"] += 1
        reason, form = "", self._form(index, frame)
        if not config.up:
            reason = "port_down"
        elif l3_len(frame) + max(0, form.room - TAG) > config.mtu:  # the first tag is free
            reason = "oversize"
        elif form.is_bare and self._leaks_tag(config, frame):
            reason = "inner_tag"
        if reason:
            port.tx_drops[reason] += 1
        return not reason

    def _form(self, index: int, frame: Admitted) -> Form:
        """The tags the frame gets on the port."""
        config = self.config.ports[index]
        if frame.vid != config.pvid or config.native_tagged:
            return Form(config.tpid, config.wires[frame.vid])
        has_tag = {"never": False, "if_nonzero": frame.priority != 0, "always": True}[config.priority_tags]
        return Form(config.tpid, (0,)) if has_tag else Form()

    @staticmethod
    def _leaks_tag(config: PortConfig, frame: Admitted) -> bool:
        """Would the port, or the station behind it, take the payload of an untagged frame for a tag? (R6)"""
        looks_tagged = frame.ethertype == config.tpid or (frame.was_tagged and frame.ethertype in TPIDS)
        return looks_tagged and config.mode != "tunnel"

    def _send(self, index: int, frame: Admitted, form: Form) -> None:
        port = self.ports[index]
        data, offload = frame.data, frame.offload
        for place in reversed(range(len(form.vids))):  # an inner tag is always of 0x8100
            tpid = TPIDS[0] if place else form.tpid
            data, offload = push(data, tpid, frame.priority | form.vids[place]), offload.moved(TAG)
        if offload.gso == "none" or port.vnet:
            self._put(port, data, offload)
        elif pieces := cut(data, offload):
            port.values["tx_segmented"] += 1
            port.values["offered"] += len(pieces) - 1
            for counter in ("copies", "forwarded"):
                self.ports[frame.ingress].values[counter] += len(pieces) - 1
            row = self.charges[frame.ingress, frame.vid, frame.receipt.frame_class]
            row["copies"] += len(pieces) - 1
            for piece in pieces:
                self._put(port, piece, Offload())
        else:
            port.tx_drops["gso_unsupported"] += 1

    def _put(self, port: Port, data: bytes, offload: Offload) -> None:
        if offload.gso == "none":
            data = data.ljust(MIN_LEN, b"\0")
        if len(port.sent) >= port.slots:
            port.tx_drops["tx_full"] += 1
            return
        port.sent.append(Frame(data, None, offload))
        port.values["tx_frames"] += 1
        port.values["tx_bytes"] += len(data)
        port.values["tx_super_frames"] += offload.gso != "none"
        port.values["tx_segments"] += segments(data, offload)

    # -- the FDB from outside

    def fdb_set(self, vid: int, mac: int, port: int, kind: str = "static") -> bool:
        if (vid, mac) not in self.fdb and len(self.fdb) >= self.capacity:
            return False
        self.fdb[vid, mac] = FdbEntry(vid, mac, -1 if kind == "drop" else port, kind, self.tick)
        return True

    def fdb_delete(self, vid: int, mac: int) -> bool:
        return self.fdb.pop((vid, mac), None) is not None

    def fdb_expire(self, max_age: int) -> list[FdbEntry]:
        old = [e for e in self.fdb.values() if ages(e) and (self.tick - e.tick) & 0xFFFF > max_age]
        for entry in old:
            del self.fdb[entry.vid, entry.mac]
        return old

    def fdb_flush(self, *, port: int | None = None, vid: int | None = None) -> None:
        for entry in list(self.fdb.values()):
            if ages(entry) and port in (None, entry.port) and vid in (None, entry.vid):
                del self.fdb[entry.vid, entry.mac]

    def fdb_entries(self) -> list[FdbEntry]:
        return list(self.fdb.values())

    def events(self) -> list[Event]:
        taken, self._events = self._events, []
        return taken


# -- what frames are ---------------------------------------------------------------------------------


def ages(entry: FdbEntry) -> bool:
    """Whether an entry ages, is flushed, and counts against limits."""
    return entry.kind in ("dynamic", "sticky")


def why_not_reached(ingress: PortConfig, egress: PortConfig, *, same: bool) -> str:
    """Reason why frames of one port may not leave by another one, or by the same; empty: they may."""
    if same and not egress.hairpin:
        return "same_port"
    if egress.direction == "ingress":
        return "ingress_only"
    if not same and ingress.isolated and egress.isolated:
        return "isolated"
    if not same and ingress.horizon and ingress.horizon == egress.horizon:
        return "split_horizon"
    return ""


def built_last(form: Form, vid: int) -> tuple[int, int]:
    """Order in which forms are left for last: untagged, the VLAN's own VID by TPID, then those that say otherwise."""
    return (2, 0) if form.vids not in ((), (vid,)) else (1 if form.vids else 0, form.tpid)


def ethertype_of(data: bytes) -> int:
    return int.from_bytes(data[12:14], "big")


def push(data: bytes, tpid: int, tci: int) -> bytes:
    return data[:12] + struct.pack("!HH", tpid, tci) + data[12:]


def check_offload(data: bytes, offload: Offload) -> int:
    """Check offload metadata against a canonical frame; the end of a super-frame's headers, else 0."""
    if not offload.needs_csum and offload.gso == "none":
        return 0
    start = offload.csum_start
    if not offload.needs_csum or start < HEADER or start + offload.csum_offset + 2 > len(data):
        raise Drop("bad_offload")
    if offload.gso == "none":
        return 0
    if offload.csum_offset != L4_CSUM_OFFSET[offload.gso] or offload.gso_size == 0:
        raise Drop("bad_offload")
    fixed = 8 if offload.gso == "udp" else 20
    if start + fixed > len(data):
        raise Drop("bad_offload")
    header_len = 8 if offload.gso == "udp" else (data[start + 12] >> 4) * 4  # RFC 9293 3.1, data offset
    if header_len < fixed or start + header_len >= len(data):  # a super-frame has payload to cut
        raise Drop("bad_offload")
    return start + header_len


def segments(data: bytes, offload: Offload) -> int:
    """Wire frames a frame stands for."""
    return 1 if offload.gso == "none" else -(-(len(data) - offload.hdr_len) // offload.gso_size)


def l3_len(frame: Admitted) -> int:
    """What R2 compares with the MTU: bytes behind the header, of the longest segment of a super-frame."""
    whole = len(frame.data)
    if frame.offload.gso != "none":
        whole = min(whole, frame.offload.hdr_len + frame.offload.gso_size)
    return whole - HEADER


def finish_checksum(data: bytes, offload: Offload) -> bytes:
    """RFC 1071 over everything from csum_start on; what is in the field is the sum of the pseudo-header."""
    total = sum16(data[offload.csum_start :])
    at = offload.csum_start + offload.csum_offset
    return data[:at] + struct.pack("!H", (0xFFFF ^ total) or 0xFFFF) + data[at + 2 :]


def cut(data: bytes, offload: Offload) -> list[bytes]:
    """The wire frames a super-frame stands for, checksums finished; none if it is not TCP or UDP over IP."""
    types = range(HEADER - 2, offload.csum_start - 1, TAG)
    at = next((at for at in types if int.from_bytes(data[at : at + 2], "big") not in TPIDS), None)
    ethertype = None if at is None else int.from_bytes(data[at : at + 2], "big")
    ip, transport = (at or 0) + 2, offload.csum_start
    if ethertype not in (0x0800, 0x86DD) or ip + (20 if ethertype == 0x0800 else 40) > transport:
        return []
    payload = data[offload.hdr_len :]
    pieces = [payload[i : i + offload.gso_size] for i in range(0, len(payload), offload.gso_size)]
    frames = []
    for n, piece in enumerate(pieces):
        frame = bytearray(data[: offload.hdr_len] + piece)
        transport_len = len(frame) - transport
        if ethertype == 0x0800:
            addresses = frame[ip + 12 : ip + 20]
            struct.pack_into("!H", frame, ip + 2, len(frame) - ip)
            struct.pack_into("!H", frame, ip + 4, int.from_bytes(frame[ip + 4 : ip + 6], "big") + n & 0xFFFF)
            struct.pack_into("!H", frame, ip + 10, 0)
            struct.pack_into("!H", frame, ip + 10, 0xFFFF ^ sum16(frame[ip:transport]))
        else:
            addresses = frame[ip + 8 : ip + 40]
            struct.pack_into("!H", frame, ip + 4, len(frame) - ip - 40)
        if offload.gso == "udp":
            struct.pack_into("!H", frame, transport + 4, transport_len)
        else:
            sequence = int.from_bytes(frame[transport + 4 : transport + 8], "big")
            struct.pack_into("!I", frame, transport + 4, sequence + n * offload.gso_size & 0xFFFFFFFF)
            if n < len(pieces) - 1:
                frame[transport + 13] &= ~0x09  # FIN, PSH
            if n:
                frame[transport + 13] &= ~0x80  # CWR
        pseudo = sum16(addresses + struct.pack("!II", transport_len, 17 if offload.gso == "udp" else 6))
        struct.pack_into("!H", frame, transport + offload.csum_offset, pseudo)
        frames.append(finish_checksum(bytes(frame), offload))
    return frames


def sum16(data: bytes) -> int:
    """RFC 1071 sum of 16-bit words, folded, not inverted."""
    total = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def with_changes(config: Config, index: int, **changes: object) -> Config:
    """The configuration with one port changed."""
    ports = dict(config.ports)
    ports[index] = replace(ports[index], **changes)  # type: ignore[arg-type]
    return replace(config, ports=ports)
