"""What the core gives and takes, as values.

MAC addresses are integers (48 bits, first byte on the wire is the most significant), VIDs 1..4094, ports go by index.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from bridge.core._handles import Capture


class Offload(NamedTuple):
    """Offload metadata of a frame, as in struct virtio_net_hdr; offsets count from the first byte of the frame."""

    needs_csum: bool = False
    csum_start: int = 0
    csum_offset: int = 0
    gso: str = "none"  # none | tcp4 | tcp6 | udp
    ecn: bool = False
    gso_size: int = 0
    hdr_len: int = 0


class Frame(NamedTuple):
    """A frame as a port delivers it.

    `tag` is a tag the port carries beside the bytes, as AF_PACKET does: (tpid, tci). None: any tag is inline.
    """

    data: bytes
    tag: tuple[int, int] | None = None
    offload: Offload = Offload()


class PacketHeaders(NamedTuple):
    """Where the headers of a frame are; offsets count from its first byte."""

    ethertype: int  # behind the tags
    tags: int
    network: int
    transport: int  # 0: not IP
    end: int  # of the packet; padding is behind it
    protocol: int
    is_fragment: bool
    is_later: bool  # a fragment but the first


class PortRow(NamedTuple):
    """What a snapshot says of a port. A field that a PortConfig has by the same name is taken from there."""

    mode: str = "access"  # access | trunk | tunnel
    pvid: int = 0  # access or tunnel VID; native VID of a trunk; 0: none
    vids: Iterable[int] = ()  # trunk only
    tpid: int = 0x8100
    mtu: int = 1500
    up: bool = True
    learning: bool = True
    flood_unknown: bool = True
    flood_multicast: bool = True
    flood_broadcast: bool = True
    isolated: bool = False
    mac_limit: int = 0  # 0: none
    native_tagged: bool = False  # frames of the native VLAN leave tagged
    translations: Iterable[tuple[int, int, int]] = ()  # VIDs outer and inner (0: none) on the wire, VLAN
    priority_tags: str = "never"  # | if_nonzero | always; for frames that leave without their VID
    default_pcp: int = 0  # of frames that come untagged
    horizon: int = 0  # split-horizon group; 0: none
    hairpin: bool = False  # frames may leave by the port they came by
    direction: str = "both"  # | ingress (only receives) | egress (only sends)
    blocked: bool = False  # why it is not up: frames for it end as `blocked`, not `port_down`


class MirrorRow(NamedTuple):
    """What a snapshot says of a mirror; exactly one of `target` and `capture` takes its copies."""

    serial: int
    ports: Iterable[int]  # indexes of those that are mirrored
    target: int | None = None  # index of a port of the snapshot
    capture: Capture | None = None
    rx: bool = True  # what arrives on them
    tx: bool = True  # what leaves them
    vids: Iterable[int] | None = None  # None: all, and frames that are in no VLAN
    frames: bool = True  # frames that are forwarded
    drops: bool = False  # frames that are dropped
    snaplen: int = 0  # bytes, MIRROR_SNAPLEN_MIN at least; 0: whole frames
    unit: str = "bits"  # frames | bits
    rate: float = 0  # units a cycle of cycles_now(); 0: no limit
    burst: float = 1  # units


class Event(NamedTuple):
    """What the data thread saw. `kind` is a name of EVENTS.

    `old_port` is where the source was (moved) or is (locked), or where the station is that took its room (evicted),
    else -1. Of a source_guard: `finding` is a name of GUARD_FINDINGS, `address` the IP address spoken from, in 4 or 16
    bytes, or empty. Of groups (group_...): `address` is the group, of group_query and group_router the address of who
    spoke; `errno` is the version of the protocol, of group_limit a number of JOINS; `old_port` the time that was told,
    in tenths of a second, of group_router in seconds (-1: for ever).
    """

    kind: str
    vid: int
    mac: int
    port: int
    old_port: int
    errno: int
    finding: str = ""
    address: bytes = b""


class FdbEntry(NamedTuple):
    """One FDB row. `kind`: dynamic | sticky | static | drop; `tick`: when its source was last seen."""

    vid: int
    mac: int
    port: int
    kind: str
    tick: int


class PortCounters(NamedTuple):
    """Counters of one port. R12: rx_frames + copies = forwarded + rx drops, and offered = tx_frames + tx drops."""

    values: dict[str, int]
    rx_drops: dict[str, int]  # only reasons with a count
    tx_drops: dict[str, int]
    misses: dict[str, int]  # only reasons with a count


class Counters(NamedTuple):
    """All counters at one batch boundary: nothing is in flight and R12 holds exactly."""

    ports: dict[int, PortCounters]
    thread: dict[str, int]
    stages: dict[str, int]  # cycles
    fdb: dict[str, int]  # entries, capacity, ...


class Charge(NamedTuple):
    """What the frames of one ingress port, VLAN and class cost in cycles since the bridge was made.

    `direct`: the frames themselves, one copy each; `induced`: the copies beyond the first. `copies` are all that
    were handed to egress ports. A super-frame is one of `frames` and several `segments`. `serial` differs each time a
    port is attached; port -1: ports that left, all together.
    """

    port: int
    vid: int
    frame_class: str  # a name of CLASSES
    direct: int
    induced: int
    frames: int
    segments: int
    bytes: int
    copies: int
    serial: int


class Talker(NamedTuple):
    """What one source MAC in one VLAN cost since it got its FDB entry, for as long as it has one. As Charge."""

    vid: int
    mac: int
    port: int
    direct: int
    induced: int
    frames: int
    segments: int
    bytes: int
    copies: int


class SlowBatch(NamedTuple):
    """One of the slowest batches: cycles by stage, and cycles_now() at its end."""

    stamp: int
    port: int
    frames: int
    cycles: int
    stages: dict[str, int]


class BudgetState(NamedTuple):
    """What became of a budget: `tokens` and `spent` in its unit, `dropped` frames, how often it went over."""

    serial: int
    over: bool
    tokens: float
    spent: int
    dropped: int
    times_over: int


class MirrorState(NamedTuple):
    """What became of a mirror's copies."""

    serial: int
    copies: int
    bytes: int
    lost: int  # found the ring full
    over_rate: int


class PortPlace(NamedTuple):
    """Descriptors of a port, for another process that takes it over, and where reading has got to (port/port.h)."""

    fds: tuple[int, ...]
    slots: int = 0
    taken: int = 0
    released: int = 0
    taken_seen: int = 0
    wedged: bool = False
    missed_seen: int = 0


class Taken(NamedTuple):
    """Packet blocks of a pcapng section, in the byte order of the machine, and why there are no more.

    `end` is empty (the ring), full (`limit`), or unknown: `port` is next and has no interface yet.
    """

    blocks: bytearray
    end: str
    port: int


class Bill(NamedTuple):
    """Where the cycles went, at one batch boundary.

    Stages after `control` are busy, and sum(direct + induced of charges) + uncharged = sum(busy stages), exactly.
    Values only grow and may wrap at 2**64.
    """

    stamp: int  # cycles_now()
    stages: dict[str, int]
    charges: list[Charge]
    uncharged: int  # not yet: rounding, and the writing of the last bill; may be a little below 0
    departed: int  # direct and induced cycles of talkers that lost their FDB entry
    histograms: dict[str, list[int]]  # a name of HISTOGRAMS: batches by bucket of HISTOGRAM_BOUNDS
    slow: list[SlowBatch]  # slowest first, at most 16, since clear_slow()
    clock_jumps: int  # stamps that went backwards or leapt; their cycles are nobody's


class Beacon(NamedTuple):
    """What a member of a pair says (csrc/ha/beacon.h). `flags`: a set of BEACON_..., ids and times 64 bits."""

    pair: int
    sender: int
    session: int  # greater in each run of the sender
    sequence: int
    epoch: int
    heard_sender: int  # whom the sender heard lately, 0: nobody
    heard_session: int
    flags: int
    priority: int


class PairPeer(NamedTuple):
    """Another member, as the data thread knows it. `heard`: boot_clock() of its last beacon."""

    member: int
    session: int
    sequence: int
    epoch: int
    heard: int
    forwards: bool
    priority: int
    eligible: bool
    hears: bool  # it hears us
    lost: bool  # it fell silent


class PairState(NamedTuple):
    """A member, between two turns. `state`: a name of PAIR_STATES; times are boot_clock()'s.

    `until`: end of its lease; `since`: when it entered the state; `gap`: how long before its last opening a peer was
    last heard to forward, in ns; 0: none was.
    """

    state: str
    epoch: int
    until: int
    since: int
    gap: int
    healthy: bool
    held: bool
    peers: tuple[PairPeer, ...]
    counters: dict[str, int]  # names of MEMBER_COUNTERS


class Membership(NamedTuple):
    """What a frame says about membership (csrc/multicast/membership.h)."""

    kind: str  # none | invalid | query | join | leave | records | router
    family: int = 0  # 4 | 6
    version: int = 0
    is_general: bool = False
    time: int = 0  # of a query: tenths of a second; of a router: seconds
    group: bytes = b""  # of a query, join or leave
    source: bytes = b""
    records: tuple[tuple[str, bytes], ...] = ()  # nothing | join | leave, and the group


class SnoopRules(NamedTuple):
    """What is decided about a VLAN and family; ports by index."""

    snooping: str = "off"  # off | watch | on
    pruning: bool = False  # else every group is flooded
    to_routers: bool = False  # unregistered groups: to `always` only
    group_limit: int = 0  # 0: none
    always: Iterable[int] = ()  # get every group
    reports: Iterable[int] = ()  # get reports and leaves
    guarded: Iterable[int] = ()  # queries and hellos from here teach nothing


class SnoopState(NamedTuple):
    """What the data thread knows of a VLAN and family; what it spared its ports, or would (`watch`)."""

    is_open: bool  # a round
    groups: int
    is_full: bool
    over: frozenset[int]  # ports at a limit
    frames: int
    copies: int
    cycles: float


class GroupEntry(NamedTuple):
    """One group: `family` 0 (an Ethernet address), 4 or 6; ports by index."""

    vid: int  # 0: any
    family: int
    address: bytes
    learned: frozenset[int]
    fixed: frozenset[int]
    missed: frozenset[int]  # did not answer the last query
    only: bool  # `fixed` is the whole set
    flooded: bool  # always
    version: int
    tick: int  # of the last report
    reporter: int  # MAC


class GroupChange(NamedTuple):
    """One change of groups; `verb` is a name of GROUP_VERBS, on which it depends which fields count."""

    verb: str
    vid: int = 0
    family: int | None = None  # None: any
    address: bytes = b""
    port: int | None = None  # None: any
    ports: Iterable[int] = ()
    only: bool = False
    flooded: bool = False
    limit: int = 0


class OffloadTalker(NamedTuple):
    """What a station of the FDB sent by the kernel since it was learned."""

    vid: int
    mac: int
    port: int
    frames: int
    segments: int  # wire frames
    bytes: int
