"""The bridge in slow, obvious Python: the oracle the data plane is compared with (rules R1 to R12).

Job: say what must happen to every frame, one frame at a time, in the order of the rules. No batches
inside, no shared bytes, no hashing; the two traces of batching are visible outside: a batch is learned
before any of it is looked up, and its known unicast leaves before its floods (R11 promises order per
flow only). Frames, configuration and results have the shapes of `bridge.core._core` (named tuples compare
equal by value), so a test can run both side by side and compare whole values.
Independence: written from the rules, not from the C; it imports nothing of the product. Outside its
job: cycles, events lost by a full ring, real devices, and two full hash buckets.
"""

from __future__ import annotations

import struct
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import headers
from classes import classify
from guards import Rule, is_allowed, judge, judge_server
from routers import is_of_backup, is_virtual

TPIDS = (0x8100, 0x88A8)
HEADER = 14
TAG = 4
MIN_LEN = 60
SEGMENTS_MAX = 512
SEGMENT_MIN = 36  # bytes a super-frame has for each of its segments, at least: an MSS of 48 with timestamps
HEADERS_MAX = 1984  # bytes of a frame in which offload metadata may point
ZERO, BROADCAST = bytes(6), b"\xff" * 6
PROBE_TYPE, PROBE_MAGIC = 0x88B5, b"FBLP"
PROBES_TOLD = 64  # of the last probes seen it is remembered that they were told of
FLOODS = ("unknown", "multicast", "broadcast")
STORM_EXEMPT = ("first_hop", "heartbeat")
L4_CSUM_OFFSET = {"tcp4": 16, "tcp6": 16, "udp": 6}
L4_PROTOCOL = {"tcp4": 6, "tcp6": 6, "udp": 17}


class Offload(NamedTuple):
    """As bridge.core._core.Offload."""

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
    """As bridge.core._core.Frame."""

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
    ra_guard: bool = False
    dhcp_guard: bool = False
    blocked: bool = False

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
class Mirror:
    """What a MirrorRow says; `target` None: into a file, `ports` None: all others."""

    target: int | None = None
    ports: tuple[int, ...] | None = None
    rx: bool = True
    tx: bool = True
    vids: tuple[int, ...] | None = None
    frames: bool = True
    drops: bool = False
    snaplen: int = 0


class Captured(NamedTuple):
    """A packet of a file: interface (port), rx or tx, why it was dropped, its first bytes, its whole length."""

    port: int
    way: str
    reason: str
    data: bytes
    length: int


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
    mirrors: tuple[Mirror, ...] = ()
    own_address: int = 0
    instance: int = 0
    storms: dict[tuple[int, str], int] = field(default_factory=dict)  # port, flood class: frames, once


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
    reason: str = ""  # why it ended at ingress
    mirrored: set[int] = field(default_factory=set)  # mirrors to ports that have their tx copy


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


@dataclass
class Shot:
    """A frame that mirrors may copy: its bytes and metadata as they arrived or left, and what became of it."""

    receipt: Receipt
    data: bytes
    offload: Offload
    port: int
    way: str  # rx | tx
    reason: str
    vid: int


def rx_len(frame: Frame) -> int:
    """Bytes of a frame as it came in."""
    return len(frame.data) + (TAG if frame.tag else 0)


class Model:
    """The bridge. Same verbs as bridge.core._core.Bridge."""

    def __init__(self, *, fdb_capacity: int = 65536, burst: int = 64) -> None:
        self.capacity, self.burst, self.tick, self.turns = fdb_capacity, burst, 0, 0
        self.config = Config({})
        self.ports: dict[int, Port] = {}
        self.fdb: dict[tuple[int, int], FdbEntry] = {}
        self._events: list[Event] = []
        self.captured: list[tuple[int, Captured]] = []  # by number of the mirror
        self._queues: dict[int, list[tuple[Admitted, bytes, Offload]]] = {}  # of the batch, by egress port
        self._copies: dict[int, list[tuple[Receipt, bytes, Offload]]] = {}  # of mirrors, by target
        self._refused: list[tuple[Admitted, int, str]] = []  # by ports, before they were queued
        self._probes_told: dict[int, tuple[int, int, int]] = {}
        self._storm_left: dict[tuple[int, str], int] = {}
        self.charges: defaultdict[tuple[int, int, str], Counter[str]] = defaultdict(
            Counter
        )  # by port, VID, class

    # -- ports and configuration

    def open_memory(self, index: int, *, slots: int = 1024, vnet: bool = True) -> None:
        self.ports[index] = Port(slots, vnet)

    def apply(self, config: Config) -> None:
        for index, port in config.ports.items():
            if index in self.config.ports and port.up and not self.config.ports[index].up:
                self._discard(
                    self.ports[index], "blocked" if self.config.ports[index].blocked else "port_down"
                )
        for index in self.config.ports.keys() - config.ports.keys():
            self._discard(self.ports[index], "port_down")
        self._storm_left = {  # another limit starts afresh
            key: self._storm_left[key]
            if self.config.storms.get(key) == frames and key in self._storm_left
            else frames
            for key, frames in config.storms.items()
            if key[0] in config.ports
        }
        self.config = config

    def _discard(self, port: Port, reason: str) -> None:
        """What came while a port was down is out of date when it comes up; what waits when it leaves is too late."""
        port.values["rx_batches"] += -(-len(port.waiting) // self.burst)
        while port.waiting:
            frame, _ = port.waiting.popleft()
            self._count_received(port, frame)
            self._end(Receipt(self._index_of(port), rx_len(frame)), Drop(reason))

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
        arrived = []  # every frame of the batch, and what it is inside the bridge
        port.values["rx_batches"] += 1
        for frame, headroom in batch:
            self._count_received(port, frame)
            receipt = Receipt(index, rx_len(frame))
            try:
                admitted.append(self._admit(index, frame, headroom, receipt))
                arrived.append((frame, receipt, admitted[-1]))
            except Drop as drop:
                self._end(receipt, drop)
                arrived.append((frame, receipt, None))
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
        storms = {flood for (port, flood), left in self._storm_left.items() if port == index and left < 1}
        for frame in learned:
            try:
                targets, flooded = self._find_targets(frame, storms)
            except Drop as drop:
                self._end(frame.receipt, drop)
                continue
            (floods if flooded else known).append((frame, targets))
        for frame, targets in known:
            self._charge(frame, {int.from_bytes(frame.destination, "big")}, len(targets))
        for frame, targets in floods:
            self._charge(frame, set(), len(targets))
            key = index, flood_class(frame.destination)
            if key in self._storm_left and frame.receipt.frame_class not in STORM_EXEMPT:
                self._storm_left[key] -= frame.receipt.segments
        for frame, targets in known + floods:
            port.values["copies"] += len(targets) - 1
            port.values["forwarded"] += len(targets)
            self._deliver(frame, targets)
        port.values["flooded"] += len(floods)
        self._mirror_rx(arrived)
        self._transmit()

    @staticmethod
    def _count_received(port: Port, frame: Frame) -> None:
        port.values["rx_frames"] += 1
        port.values["rx_bytes"] += rx_len(frame)
        port.values["rx_super_frames"] += frame.offload.gso != "none"
        port.values["rx_segments"] += 1

    # -- the bill: what is counted beside the cycles

    def _end(self, receipt: Receipt, drop: Drop) -> None:
        self.ports[receipt.index].rx_drops[drop.reason] += 1
        receipt.reason = drop.reason
        receipt.frame_class = frame_class = "reserved" if drop.reason == "reserved" else "dropped"
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
        elif (end := sctp_end(data, offload)) is not None:  # open on its way in only
            data, offload = finish_crc(data, offload.csum_start, end), Offload()
            self.ports[index].values["rx_checksums"] += 1
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

    # -- guards

    def _guard(self, frame: Admitted) -> None:
        """A frame speaks from an address of its port, and not as a server if that is none, or ends."""
        rules = self.config.ports[frame.ingress].rules
        finding, address = judge(frame.data, rules) if rules else ("passed", b"")
        if finding != "passed":
            mac = int.from_bytes(frame.source, "big")
            told = Event("source_guard", frame.vid, mac, frame.ingress, -1, 0, finding, address)
            self._events.append(told)
            raise Drop("source_guard")
        port = self.config.ports[frame.ingress]
        if reason := judge_server(frame.data, ra_guard=port.ra_guard, dhcp_guard=port.dhcp_guard):
            mac = int.from_bytes(frame.source, "big")
            self._events.append(Event(reason, frame.vid, mac, frame.ingress, -1))
            raise Drop(reason)

    # -- R7 and R9: who is where

    def _learn(self, frame: Admitted) -> None:
        index, config = frame.ingress, self.config.ports[frame.ingress]
        key = (frame.vid, int.from_bytes(frame.source, "big"))
        if self.config.own_address and key[1] == self.config.own_address:
            self._take_own(frame)
            return
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
            is_gone = entry and reason == "refused_port_limit"  # not there any more: better flooded than lost
            self._event(reason, *key, index, entry.port if entry and is_gone else -1)
            self.ports[index].values["not_learned"] += 1
            if is_gone:
                del self.fdb[key]
        else:
            self._event("moved" if entry else "learned", *key, index, entry.port if entry else -1)
            self.ports[index].values["moved" if entry else "learned"] += 1
            self.fdb[key] = FdbEntry(*key, index, "dynamic", self.tick)

    def _take_own(self, frame: Admitted) -> None:
        """A frame with the bridge's own address as source: a probe that came back ends, others go on."""
        nonce = probe_nonce(frame.data, self.config.instance)
        if nonce is None:
            config, own = self.config.ports[frame.ingress], self.config.own_address
            if config.locked and not is_allowed(own, config.allow):
                self._event("locked", frame.vid, own, frame.ingress)
                raise Drop("locked")
            self.ports[frame.ingress].values["not_learned"] += 1
            return
        slot, mark = (nonce + frame.ingress) % PROBES_TOLD, (frame.vid, nonce, frame.ingress)
        if self._probes_told.get(slot) != mark:
            self._probes_told[slot] = mark
            self._event("probe", *mark)
        raise Drop("own_probe")

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
        evicted, refuses = False, self.config.full_table == "refuse"
        if vlan_limit and sum(ages(e) and e.vid == vid for e in self.fdb.values()) >= vlan_limit:
            if refuses or not self._evict([e for e in self.fdb.values() if e.vid == vid], index):
                return "refused_vlan_limit"
            evicted = True
        most = self.capacity
        if self.config.mac_limit:
            most = min(most, self.config.mac_limit + sum(not ages(e) for e in self.fdb.values()))
        is_full = len(self.fdb) >= most and not evicted
        if is_full and (refuses or not self._evict([*self.fdb.values()], index)):
            return "refused_full"
        return ""

    def _evict(self, scope: list[FdbEntry], learner: int) -> bool:
        """Let the greediest port of these entries lose the dynamic one that was silent for longest."""
        scope = [entry for entry in scope if entry.kind == "dynamic"]
        if not scope:
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

    def _find_targets(self, frame: Admitted, storms: set[str]) -> tuple[list[int], bool]:
        """Ports a frame is for, and whether it is flooded; `storms`: flood classes whose limit is spent."""
        ports, ingress = self.config.ports, self.config.ports[frame.ingress]
        if not frame.destination[0] & 1:
            entry = self.fdb.get((frame.vid, int.from_bytes(frame.destination, "big")))
            if entry:
                return [self._check_known(frame, entry)], False
        flood = flood_class(frame.destination)
        if flood in storms and classify(frame.data, set()) not in STORM_EXEMPT:
            raise Drop("storm")
        targets = [
            index
            for index, config in sorted(ports.items())
            if frame.vid in config.members
            and config.up
            and getattr(config, f"flood_{flood}")
            and not why_not_reached(ingress, config, same=index == frame.ingress)
        ]
        if not targets:
            raise Drop("no_egress")
        return targets, True

    def _check_known(self, frame: Admitted, entry: FdbEntry) -> int:
        if entry.kind == "drop":
            raise Drop("fdb_drop")
        egress = self.config.ports.get(entry.port)
        if not egress:
            raise Drop("port_down")
        if frame.vid not in egress.members:
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
            frame.data, frame.offload = finish_checksum(frame.data, frame.offload), Offload()
            self.ports[unable[0]].values["tx_checksums"] += 1
        forms = {index: self._form(index, frame) for index in takers}
        last = min(forms.values(), key=lambda form: built_last(form, frame.vid), default=Form())
        for index in built_in_order(takers, forms, frame.vid):
            # all forms but the last are built in copies with room
            if forms[index] == last and frame.headroom < last.room:
                self.ports[index].tx_drops["no_headroom"] += 1
                self._refused.append((frame, index, "no_headroom"))
            else:
                self._enqueue(index, frame, forms[index])

    def _offer(self, index: int, frame: Admitted) -> bool:
        """Whether the port takes the frame; a refusal is counted there."""
        port, config = self.ports[index], self.config.ports[index]
        port.values["offered"] += 1
        reason, form = "", self._form(index, frame)
        if not config.up:
            reason = "blocked" if config.blocked else "port_down"
        elif l3_len(frame) + max(0, form.room - TAG) > config.mtu:  # the first tag is free
            reason = "oversize"
        elif form.is_bare and self._leaks_tag(config, frame):
            reason = "inner_tag"
        if reason:
            port.tx_drops[reason] += 1
            self._refused.append((frame, index, reason))
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

    def _enqueue(self, index: int, frame: Admitted, form: Form) -> None:
        """Give the frame its final form and queue it."""
        self._queues.setdefault(index, []).append((frame, *self._shape(frame, form)))

    @staticmethod
    def _shape(frame: Admitted, form: Form) -> tuple[bytes, Offload]:
        data, offload = frame.data, frame.offload
        for place in reversed(range(len(form.vids))):  # an inner tag is always of 0x8100
            tpid = TPIDS[0] if place else form.tpid
            data, offload = push(data, tpid, frame.priority | form.vids[place]), offload.moved(TAG)
        return padded(data, offload), offload

    def _transmit(self) -> None:
        """Send what is queued, port by port, each in its order; copies for mirrors last."""
        queues, self._queues = self._queues, {}
        for index, queue in queues.items():
            sent = [
                (frame, data, offload, self._send(index, frame.receipt, data, offload))
                for frame, data, offload in queue
            ]
            for frame, data, offload, reason in sent:
                self._mirror(Shot(frame.receipt, data, offload, index, "tx", reason, frame.vid))
        copies, self._copies = self._copies, {}
        for index, waiting in copies.items():
            self.ports[index].values["offered"] += len(waiting)
            for receipt, data, offload in waiting:
                self._send(index, receipt, data, offload)

    def _send(self, index: int, receipt: Receipt, data: bytes, offload: Offload) -> str:
        """Hand a frame in its final form to a port, cut if it takes none such; the reason if it refuses."""
        port = self.ports[index]
        if offload.gso == "none" or (port.vnet and is_own(data, offload)):
            return self._put(port, data, offload)
        pieces = cut(data, offload, port.vnet)
        if not pieces:
            port.tx_drops["gso_unsupported"] += 1
            return "gso_unsupported"
        port.values["tx_segmented"] += 1
        port.values["offered"] += len(pieces) - 1
        self._count_copies(receipt, len(pieces) - 1)
        for piece, left_open in pieces:
            self._put(port, padded(piece, left_open), left_open)
        return ""

    def _count_copies(self, receipt: Receipt, n: int) -> None:
        for counter in ("copies", "forwarded"):
            self.ports[receipt.index].values[counter] += n
        self.charges[receipt.index, receipt.vid, receipt.frame_class]["copies"] += n

    def _put(self, port: Port, data: bytes, offload: Offload) -> str:
        if len(port.sent) >= port.slots:
            port.tx_drops["tx_full"] += 1
            return "tx_full"
        port.sent.append(Frame(data, None, offload))
        port.values["tx_frames"] += 1
        port.values["tx_bytes"] += len(data)
        port.values["tx_super_frames"] += offload.gso != "none"
        port.values["tx_segments"] += segments(data, offload)
        return ""

    # -- mirrors

    def _mirror_rx(self, arrived: list[tuple[Frame, Receipt, Admitted | None]]) -> None:
        """Copy what came in, and then, as it came in, what ports refused."""
        shots = {}
        for frame, receipt, inside in arrived:
            shot = shots[id(receipt)] = make_arrival(frame, receipt, inside)
            self._mirror(shot)
        refused, self._refused = self._refused, []
        for inside, index, reason in refused:
            self._mirror(replace(shots[id(inside.receipt)], port=index, way="tx", reason=reason))

    def _mirror(self, shot: Shot) -> None:
        """Give every mirror that wants it its copy."""
        for number, mirror in enumerate(self.config.mirrors):
            if (
                getattr(mirror, shot.way)
                and (shot.port in mirror.ports if mirror.ports is not None else shot.port != mirror.target)
                and (mirror.vids is None or shot.vid in mirror.vids)
                and (mirror.drops if shot.reason else mirror.frames)
            ):
                self._copy(number, mirror, shot)

    def _copy(self, number: int, mirror: Mirror, shot: Shot) -> None:
        data = shot.data[: mirror.snaplen or None]
        if mirror.target is None:
            self.captured.append((number, Captured(shot.port, shot.way, shot.reason, data, len(shot.data))))
            return
        if shot.way == "tx" and number in shot.receipt.mirrored:  # one copy, however many ports it leaves by
            return
        if shot.way == "tx":
            shot.receipt.mirrored.add(number)
        port, config = self.ports[mirror.target], self.config.ports[mirror.target]
        offload = shot.offload if data == shot.data else Offload()
        self._count_copies(shot.receipt, 1)
        if reason := why_no_copy(config, data, offload):
            port.values["offered"] += 1
            port.tx_drops[reason] += 1
            return
        if offload.needs_csum and offload.gso == "none" and not port.vnet:
            data, offload = finish_checksum(data, offload), Offload()
            port.values["tx_checksums"] += 1
        self._copies.setdefault(mirror.target, []).append((shot.receipt, padded(data, offload), offload))

    # -- frames of the bridge itself

    def originate(self, index: int, vid: int, data: bytes) -> bool:
        config = self.config.ports.get(index)
        if not config or not config.up or vid not in config.members or config.direction == "ingress":
            return False
        frame = Admitted(data, Offload(), -1, vid, 0, False, 64, Receipt(-1, len(data)))
        self.ports[index].values["originated"] += 1
        if self._offer(index, frame):
            self._send(index, frame.receipt, *self._shape(frame, self._form(index, frame)))
        self._refused.clear()  # mirrors do not see frames of the bridge itself
        return True

    # -- the FDB from outside

    def fdb_set(self, vid: int, mac: int, port: int, kind: str = "static") -> bool:
        place = -1 if kind == "drop" else port
        is_full = (vid, mac) not in self.fdb and len(self.fdb) >= self.capacity
        if is_full and not self._evict([*self.fdb.values()], place):
            return False
        self.fdb[vid, mac] = FdbEntry(vid, mac, place, kind, self.tick)
        return True

    def fdb_delete(self, vid: int, mac: int) -> bool:
        return self.fdb.pop((vid, mac), None) is not None

    def fdb_expire(self, max_age: int) -> list[FdbEntry]:
        old = [e for e in self.fdb.values() if ages(e) and (self.tick - e.tick) & 0xFFFF > max_age]
        for entry in old:
            del self.fdb[entry.vid, entry.mac]
        return old

    def fdb_flush(self, *, port: int | None = None, vid: int | None = None, sticky: bool = True) -> None:
        kinds = ("dynamic", "sticky") if sticky else ("dynamic",)
        for entry in list(self.fdb.values()):
            if entry.kind in kinds and port in (None, entry.port) and vid in (None, entry.vid):
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


def built_in_order(takers: list[int], forms: dict[int, Form], vid: int) -> list[int]:
    """Order in which ports get a frame: as they are, unless a form says more than the VLAN's own VID.

    Then form by form: those that do, the last one found first, then the VLAN's own VID by TPID, then untagged.
    """
    written = [forms[index] for index in takers if built_last(forms[index], vid)[0] == 2]
    if not written:
        return takers
    place = {form: n for n, form in enumerate(dict.fromkeys(written))}
    return sorted(
        takers,
        key=lambda index: (built_last(forms[index], vid)[0], place.get(forms[index], forms[index].tpid)),
        reverse=True,
    )


def make_arrival(frame: Frame, receipt: Receipt, inside: Admitted | None) -> Shot:
    """A frame as it was on the wire, its tags where they were."""
    wire = push(frame.data, *frame.tag) if frame.tag else frame.data
    offload = Offload()
    if inside:
        room = len(wire) - len(inside.data)
        wire = wire[: 12 + room] + inside.data[12:]  # its checksum may have been finished
        offload = inside.offload.moved(room)
    tag = wire[12:16].ljust(4, b"\0")
    tagged = int.from_bytes(tag[:2], "big") in TPIDS
    vid = receipt.vid or (int.from_bytes(tag[2:], "big") & 0xFFF if tagged else 0)
    return Shot(receipt, wire, offload, receipt.index, "rx", receipt.reason, vid)


def why_no_copy(config: PortConfig, data: bytes, offload: Offload) -> str:
    """Reason why the target of a mirror refuses a copy; empty: it takes it."""
    if not config.up:
        return "port_down"
    if len(data) < HEADER:
        return "runt"
    whole = len(data) if offload.gso == "none" else min(len(data), offload.hdr_len + offload.gso_size)
    tag = TAG if ethertype_of(data) in TPIDS else 0
    return "oversize" if whole - HEADER - tag > config.mtu else ""


def padded(data: bytes, offload: Offload) -> bytes:
    """R1; zeros behind a super-frame would be payload of its segments."""
    return data.ljust(MIN_LEN, b"\0") if offload.gso == "none" else data


def flood_class(destination: bytes) -> str:
    """What a frame that is flooded is flooded as."""
    if not destination[0] & 1:
        return "unknown"
    return "broadcast" if destination == BROADCAST else "multicast"


def probe_nonce(data: bytes, instance: int) -> int | None:
    """The nonce of a loop probe of this instance, behind at most two tags; None: it is none."""
    at = 12
    while at < 20 and int.from_bytes(data[at : at + 2], "big") in TPIDS:
        at += TAG
    body = data[at + 2 :]
    is_probe = ethertype_of(data[at - 12 :]) == PROBE_TYPE and len(body) >= 26 and body[:4] == PROBE_MAGIC
    if not is_probe or int.from_bytes(body[4:12], "big") != instance:
        return None
    return int.from_bytes(body[12:18], "big")


def ethertype_of(data: bytes) -> int:
    return int.from_bytes(data[12:14], "big")


def push(data: bytes, tpid: int, tci: int) -> bytes:
    return data[:12] + struct.pack("!HH", tpid, tci) + data[12:]


def check_offload(data: bytes, offload: Offload) -> int:
    """Check offload metadata against a canonical frame; the end of a super-frame's headers, else 0."""
    if not offload.needs_csum and offload.gso == "none":
        return 0
    start = offload.csum_start
    room = min(len(data), HEADERS_MAX)
    if not offload.needs_csum or start < HEADER or start + offload.csum_offset + 2 > room:
        raise Drop("bad_offload")
    if offload.gso == "none":
        return 0
    if offload.csum_offset != L4_CSUM_OFFSET[offload.gso] or offload.gso_size == 0:
        raise Drop("bad_offload")
    fixed = 8 if offload.gso == "udp" else 20
    if start + fixed > room:
        raise Drop("bad_offload")
    header_len = 8 if offload.gso == "udp" else (data[start + 12] >> 4) * 4  # RFC 9293 3.1, data offset
    if header_len < fixed or start + header_len > room:
        raise Drop("bad_offload")
    if start + header_len >= len(data):  # a super-frame has payload to cut
        raise Drop("bad_offload")
    count = segments(data, offload._replace(hdr_len=start + header_len))
    if count > SEGMENTS_MAX or count * max(SEGMENT_MIN, (start + header_len) // 4) > len(data):
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


def sctp_end(data: bytes, offload: Offload) -> int | None:
    """The end of an SCTP packet whose checksum is open; None: it is no such packet."""
    if not offload.needs_csum or offload.csum_offset != 8 or (found := headers.walk(data)) is None:
        return None
    is_whole = not found.is_fragment and found.end >= found.transport + 12
    is_sctp = (found.transport, found.protocol) == (offload.csum_start, 132)
    return found.end if is_sctp and is_whole else None


def finish_crc(data: bytes, start: int, end: int) -> bytes:
    """RFC 9260 appendix A, bit by bit."""
    packet = data[start : start + 8] + bytes(4) + data[start + 12 : end]
    crc = 0xFFFFFFFF
    for byte in packet:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return data[: start + 8] + (crc ^ 0xFFFFFFFF).to_bytes(4, "little") + data[start + 12 :]


def is_own(data: bytes, offload: Offload) -> bool:
    """Whether the segments of a super-frame are those of its own IP header, not of one inside a tunnel."""
    found = headers.walk(data[:HEADERS_MAX])
    return (
        found is not None
        and (found.transport, found.protocol) == (offload.csum_start, L4_PROTOCOL[offload.gso])
        and not found.is_fragment
        and (offload.gso == "udp" or (found.ethertype == headers.IPV6) == (offload.gso == "tcp6"))
    )


def cut(data: bytes, offload: Offload, is_open: bool) -> list[tuple[bytes, Offload]]:
    """The wire frames a super-frame stands for, checksums finished or left open; none if its headers do not say how.

    Those left open that are datagrams with a checksum, in one tunnel, are put together to super-frames again.
    """
    transport, protocol = offload.csum_start, L4_PROTOCOL[offload.gso]
    layers = headers.layers(data, transport, protocol)
    if layers is None:
        return []
    payload = data[offload.hdr_len :]
    pieces = [payload[i : i + offload.gso_size] for i in range(0, len(payload), offload.gso_size)]
    finished, left_open = [], []
    for n, piece in enumerate(pieces):
        frame = bytearray(data[: offload.hdr_len] + piece)
        for layer in layers:
            write_length(frame, layer, n)
        if offload.gso == "udp":
            struct.pack_into("!H", frame, transport + 4, len(frame) - transport)
        else:
            write_tcp(frame, transport, offload.gso_size, n, is_last=n == len(pieces) - 1)
        pseudo = pseudo_sum(frame, layers[-1], protocol, len(frame) - transport)
        at = transport + offload.csum_offset
        struct.pack_into("!H", frame, at, pseudo)
        frame = bytearray(finish_checksum(bytes(frame), offload))
        for position in reversed(range(len(layers))):
            write_checksum(frame, layers, position)
        finished.append(bytes(frame))
        struct.pack_into("!H", frame, at, pseudo)
        left_open.append((bytes(frame), Offload(True, transport, offload.csum_offset)))
    if not is_open:
        return [(frame, Offload()) for frame in finished]
    if [layer.kind for layer in layers[1:-1]] != ["udp"] or not layers[1].has_csum:
        return left_open
    unit = offload.hdr_len - layers[1].at - 8 + offload.gso_size
    return [*datagrams(finished, layers, unit, left_open)]


def datagrams(
    finished: list[bytes], layers: list[headers.Layer], unit: int, left_open: list[tuple[bytes, Offload]]
) -> Iterator[tuple[bytes, Offload]]:
    """As many as IP can say the length of in one super-frame; one that is left alone as it is."""
    udp = layers[1].at
    most, done = (65535 - udp - 8) // unit, 0
    while (count := min(most, len(finished) - done)) >= 2:
        bodies = [frame[udp + 8 :] for frame in finished[done : done + count]]
        frame = bytearray(finished[done][: udp + 8] + b"".join(bodies))
        for layer in layers[:2]:
            write_length(frame, layer, 0)
        struct.pack_into("!H", frame, udp + 6, pseudo_sum(frame, layers[0], headers.UDP, len(frame) - udp))
        yield bytes(frame), Offload(True, udp, 6, "udp", False, unit, udp + 8)
        done += count
    yield from left_open[done:]


def write_length(frame: bytearray, layer: headers.Layer, n: int) -> None:
    """What a header says of its length; the identification and the checksum of IPv4."""
    at, length = layer.at, len(frame) - layer.at
    if layer.kind == "ipv4":
        struct.pack_into("!H", frame, at + 2, length)
        struct.pack_into("!H", frame, at + 4, int.from_bytes(frame[at + 4 : at + 6], "big") + n & 0xFFFF)
        struct.pack_into("!H", frame, at + 10, 0)
        struct.pack_into("!H", frame, at + 10, 0xFFFF ^ sum16(frame[at : at + (frame[at] & 15) * 4]))
    elif layer.kind != "gre":
        struct.pack_into("!H", frame, at + 4, length - 40 * (layer.kind == "ipv6"))


def write_tcp(frame: bytearray, at: int, gso_size: int, n: int, *, is_last: bool) -> None:
    sequence = int.from_bytes(frame[at + 4 : at + 8], "big")
    struct.pack_into("!I", frame, at + 4, sequence + n * gso_size & 0xFFFFFFFF)
    if not is_last:
        frame[at + 13] &= ~0x09  # FIN, PSH
    if n:
        frame[at + 13] &= ~0x80  # CWR


def pseudo_sum(frame: bytearray, ip: headers.Layer, protocol: int, length: int) -> int:
    addresses = frame[ip.at + 12 : ip.at + 20] if ip.kind == "ipv4" else frame[ip.at + 8 : ip.at + 40]
    return sum16(addresses + struct.pack("!II", length, protocol))


def write_checksum(frame: bytearray, layers: list[headers.Layer], position: int) -> None:
    """The checksum of a UDP or GRE header in front of a finished segment, over every byte that follows."""
    layer = layers[position]
    if not layer.has_csum:
        return
    at = layer.at + (6 if layer.kind == "udp" else 4)
    struct.pack_into("!H", frame, at, 0)
    total = sum16(frame[layer.at :])
    if layer.kind == "udp":
        pseudo = pseudo_sum(frame, layers[position - 1], headers.UDP, len(frame) - layer.at)
        total = sum16(struct.pack("!HH", total, pseudo))
    value = 0xFFFF ^ total
    struct.pack_into("!H", frame, at, (value or 0xFFFF) if layer.kind == "udp" else value)


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
