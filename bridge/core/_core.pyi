"""The data plane: C core behind a thin Cython layer.

One `Bridge` owns one forwarding information base (FDB), its ports and one data thread. Everything here is the
cold side: called from the control thread, may raise. The hot side runs in `Bridge.run` without the GIL.

MAC addresses are integers (48 bits, first byte on the wire is the most significant). VIDs are 1..4094. Ports are
named by `index`, 0..PORTS_MAX-1, chosen by the caller. Ages are ticks, a 16-bit counter that only the caller
advances (`Bridge.tick`). Operating-system failures raise `OSError` with errno and the device as filename.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, final

PORTS_MAX: int
BURST_MAX: int
BUDGETS_MAX: int
ALLOWED_MAX: int  # ranges of MAC addresses that all locked ports of a snapshot allow
GUARD_RULES_MAX: int  # of all ports of a snapshot
MIRRORS_MAX: int
MIRROR_SNAPLEN_MIN: int  # bytes: the least that a mirror may cut a copy to
CAPTURE_LEAST: int  # bytes of a ring
CAPTURE_MOST: int
PACKET_BLOCK_LEN: int  # bytes of a packet block beside the frame, at most

# Declared once, in csrc/count/counters.h: (name, sentence) in the order of the C enumerations.
DROP_REASONS: tuple[tuple[str, str], ...]
MISSES: tuple[tuple[str, str], ...]
STAGES: tuple[tuple[str, str], ...]
PORT_COUNTERS: tuple[tuple[str, str], ...]
THREAD_COUNTERS: tuple[tuple[str, str], ...]
EVENTS: tuple[tuple[str, str], ...]
CLASSES: tuple[tuple[str, str], ...]
HISTOGRAMS: tuple[tuple[str, str], ...]
WAITINGS: tuple[tuple[str, str], ...]
GUARD_FINDINGS: tuple[tuple[str, str], ...]

HISTOGRAM_BOUNDS: tuple[int, ...]  # the least value of each bucket: four buckets to a power of two
VID_NONE: int  # of a charge: the frame ended before its VLAN was known
VID_OTHER: int  # of a charge: the table of charges was full; port and class are still right

def is_virtual_router(mac: int) -> bool:
    """Tell whether an address is that of a router group (VRRP, CARP, HSRP, GLBP), whichever of them has it now."""

def probe_frame(*, source: int, instance: int, nonce: int, port: int, vid: int, sequence: int) -> bytes:
    """Write a loop probe. One of the snapshot's `instance` that comes back is an event `probe`, its nonce as `mac`."""

def cycles_now() -> int:
    """Read the cycle counter all stages are measured with (csrc/count/cycles.h)."""

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

class Event(NamedTuple):
    """What the data thread saw. `kind` is a name of EVENTS.

    `old_port` is where the source was (moved) or is (locked), or where the station is that took its room (evicted),
    else -1. Of a source_guard: `finding` is a name of GUARD_FINDINGS, `address` the IP address spoken from, in 4 or 16
    bytes, or empty.
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

class Counters(NamedTuple):
    """All counters at one batch boundary: nothing is in flight and R12 holds exactly."""

    ports: dict[int, PortCounters]
    thread: dict[str, int]
    stages: dict[str, int]  # cycles
    fdb: dict[str, int]  # entries, capacity, ...

class PortCounters(NamedTuple):
    """Counters of one port. R12: rx_frames + copies = forwarded + rx drops, and offered = tx_frames + tx drops."""

    values: dict[str, int]
    rx_drops: dict[str, int]  # only reasons with a count
    tx_drops: dict[str, int]
    misses: dict[str, int]  # only reasons with a count

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

class BudgetState(NamedTuple):
    """What became of a budget: `tokens` and `spent` in its unit, `dropped` frames, how often it went over."""

    serial: int
    over: bool
    tokens: float
    spent: int
    dropped: int
    times_over: int

class SlowBatch(NamedTuple):
    """One of the slowest batches: cycles by stage, and cycles_now() at its end."""

    stamp: int
    port: int
    frames: int
    cycles: int
    stages: dict[str, int]

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

@final
class Snapshot:
    """Immutable once applied: the whole configuration of the data plane."""

    def __init__(
        self,
        *,
        reserved_pass: int = 0,
        static_move: str = "drop",
        controlled: bool = False,
        age_ticks: int = 300,
        heartbeat_ports: Iterable[int] = (5404, 5405),
        waiting: str = "balanced",
        full_table: str = "evict",
        mac_limit: int = 0,
        vrrp_aware: bool = False,
        local_first: bool = False,
        own_address: int = 0,
        instance: int = 0,
    ) -> None:
        """`reserved_pass`: bit n passes 01-80-C2-00-00-0n. `static_move`: drop | forward (R9).

        `full_table`: evict | refuse, where the table, `mac_limit` or a VLAN's limit is full (csrc/fdb/evict.c).
        `mac_limit`: dynamic and sticky entries at most, 0: none. `vrrp_aware`, `local_first`: csrc/pipeline/moves.h.

        `heartbeat_ports`: UDP destination ports whose frames are of class heartbeat.
        `waiting`: a name of WAITINGS.
        `own_address`: of the bridge, never learned; 0: none. `instance`: 64 bits in its loop probes.
        """
    def add_port(
        self,
        port: Port,
        *,
        mode: str,  # access | trunk | tunnel
        pvid: int = 0,  # access or tunnel VID; native VID of a trunk; 0: none
        vids: Iterable[int] = (),  # trunk only
        tpid: int = 0x8100,
        mtu: int = 1500,
        up: bool = True,
        learning: bool = True,
        flood_unknown: bool = True,
        flood_multicast: bool = True,
        flood_broadcast: bool = True,
        isolated: bool = False,
        mac_limit: int = 0,  # 0: none
        native_tagged: bool = False,  # frames of the native VLAN leave tagged
        translations: Iterable[tuple[int, int, int]] = (),  # VIDs outer and inner (0: none) on the wire, VLAN
        priority_tags: str = "never",  # | if_nonzero | always; for frames that leave without their VID
        default_pcp: int = 0,  # of frames that come untagged
        horizon: int = 0,  # split-horizon group; 0: none
        hairpin: bool = False,  # frames may leave by the port they came by
        direction: str = "both",  # | ingress (only receives) | egress (only sends)
        blocked: bool = False,  # why it is not up: frames for it end as `blocked`, not `port_down`
    ) -> None: ...
    def secure_port(
        self,
        port: Port,
        *,
        locked: bool = False,
        allow: Iterable[tuple[int, int]] = (),  # MACs from first to last; ascending and apart
        rules: Iterable[tuple[int, bytes, int]] = (),  # MAC or 0, IP address of 4 or 16 bytes, prefix length
    ) -> None:
        """Say who may send on a port of the snapshot, once a port (protect/guard.h); rules switch source guard on."""
    def set_vlan_mac_limit(self, vid: int, limit: int) -> None: ...
    def set_vlan_learning(self, vid: int, learning: bool) -> None: ...
    def add_budget(
        self,
        serial: int,
        *,
        unit: str,  # cycles | frames (wire frames) | bits
        rate: float,  # units a cycle of cycles_now()
        burst: float,  # units
        action: str,  # count | drop | stop_learning
        classes: Iterable[str] = ...,  # names of CLASSES that spend and are dropped; default all
        port: int | None = None,  # index of the ingress port; None: all of them together
        vid: int = 0,  # 0: all VLANs together
        talker: int = 0,  # MAC address; 0: all of them together
        floods: Iterable[str] = (),  # of unknown, multicast, broadcast; none: flooded or not
        calm: int = 0,  # cycles without being over until it is no longer called so
    ) -> None:
        """Limit what frames spend, at most BUDGETS_MAX times.

        The state of a budget goes by its `serial` (1..2**31-1) and stays when another snapshot has one of the same.
        Dropped frames spend nothing; with `floods` their reason is `storm`, else `over_budget`.
        An event budget_over or budget_under has its place, from 0, as `mac`.
        """

    def add_mirror(
        self,
        serial: int,
        *,
        target: int | None = None,  # index of a port of the snapshot that takes the copies
        capture: Capture | None = None,  # or what does
        ports: Iterable[int] | None = None,  # indexes of the mirrored ports; None: all but the target
        rx: bool = True,  # what arrives on them
        tx: bool = True,  # what leaves them
        vids: Iterable[int] | None = None,  # None: all, and frames that are in no VLAN
        frames: bool = True,  # frames that are forwarded
        drops: bool = False,  # frames that are dropped
        snaplen: int = 0,  # bytes, MIRROR_SNAPLEN_MIN at least; 0: whole frames
        unit: str = "bits",  # frames | bits
        rate: float = 0,  # units a cycle of cycles_now(); 0: no limit
        burst: float = 1,  # units
    ) -> None:
        """Copy frames, at most MIRRORS_MAX times; csrc/mirror/mirror.h says which and in what form.

        The state of a mirror goes by its `serial` (1..2**31-1) and stays when another snapshot has one of the same.
        """

class MirrorState(NamedTuple):
    """What became of a mirror's copies."""

    serial: int
    copies: int
    bytes: int
    lost: int  # found the ring full
    over_rate: int

class Taken(NamedTuple):
    """Packet blocks of a pcapng section, in the byte order of the machine, and why there are no more.

    `end` is empty (the ring), full (`limit`), or unknown: `port` is next and has no interface yet.
    """

    blocks: bytearray
    end: str
    port: int

@final
class Capture:
    """A ring of bytes that a mirror fills and one thread empties. Packets lost in between are counted by port."""

    def __init__(self, *, size: int = ...) -> None:
        """Make room for `size` bytes, rounded up to a power of two."""
    def set_interface(self, port: int, number: int) -> None:
        """Name the interface block of a port; -1: none, and `take` stops at its next packet."""
    def take(self, limit: int = ...) -> Taken:
        """Take what is there, as blocks of at most `limit` bytes together."""
    def wait(self, milliseconds: int) -> bool:
        """Sleep until there is something to take, or somebody calls `wake`; False: nothing for so long."""
    def wake(self) -> None:
        """End a wait of the other thread."""
    def stop(self) -> None:
        """Want no more: what the mirror would copy from now on is passed over."""
    def counts(self, port: int) -> tuple[int, int]:
        """Packets of a port that were taken, and that were lost."""

class Port:
    """An open port. Traffic flows once a snapshot that names it is applied."""

    index: int
    kind: str
    device: str
    @property
    def fd(self) -> int: ...
    @property
    def failed(self) -> bool:
        """The data thread gave up on it (event `port_error`); it wants to be closed and opened again."""
    @property
    def closed(self) -> bool: ...

@final
class MemoryPort(Port):
    """A port without a file descriptor: two rings in memory."""

    def inject(self, frames: Iterable[Frame | bytes], headroom: int = 64, in_one: bool = False) -> int:
        """Queue frames for rx; returns how many fitted.

        `in_one`: frames longer than a head buffer lie in one piece, as a tap reads them, not in two, as a link does.
        """
    def drain(self) -> list[Frame]:
        """Take what the bridge sent, oldest first."""
    @property
    def pending(self) -> int:
        """Injected frames the bridge has not taken yet."""

@final
class Bridge:
    def __init__(
        self,
        *,
        fdb_capacity: int = 65536,
        burst: int = 64,
        events: int = 16384,
        secret: bytes | None = None,  # 16 bytes, key of the FDB hash; None: random
    ) -> None: ...
    # -- ports: open in the thread whose network namespace holds the device
    def open_tap(self, index: int, device: str) -> Port:
        """Attach to tap `device` (created if absent, then it vanishes with the port)."""
    def open_link(self, index: int, device: str, *, slots: int = 2048) -> Port: ...
    def open_memory(self, index: int, *, slots: int = 1024, vnet: bool = True) -> MemoryPort: ...
    def open_replay(self, index: int, frames: Sequence[bytes]) -> Port:
        """A source that plays `frames` in order without end and a sink that only counts: for benchmarks."""
    def final_counters(self, port: Port) -> PortCounters:
        """Counters of a port that no applied snapshot names; refused with ValueError while one does."""
    def close_port(self, port: Port) -> None:
        """Refused with ValueError while the applied snapshot names the port."""
    # -- configuration
    def apply(self, snapshot: Snapshot) -> None:
        """Swap the snapshot at the next batch boundary; returns when the data thread uses it."""
    # -- the data thread
    def run(self) -> None:
        """Forward until stop(); call in a thread of its own. Runs without the GIL."""
    def stop(self) -> None: ...
    @property
    def running(self) -> bool: ...
    def turn(self, turns: int = 1) -> int:
        """Turns of the loop in this thread without waiting (only while not running); returns frames received."""
    @property
    def progress(self) -> int:
        """Turns of the loop so far: what a watchdog looks at."""
    def wake(self) -> None:
        """Make a waiting data thread take one turn."""
    # -- clock
    tick: int
    # -- FDB
    def fdb_set(self, vid: int, mac: int, port: int, kind: str = "static") -> bool:
        """Add or replace an entry, in a full table in place of a dynamic one, which is an event; False: there is none.

        `drop` entries ignore `port` (use -1).
        """
    def fdb_set_many(self, entries: Sequence[tuple[int, int, int, str]]) -> list[bool]: ...
    def fdb_delete(self, vid: int, mac: int) -> bool:
        """Remove an entry of any kind; False: there was none."""
    def fdb_expire(self, max_age: int) -> list[FdbEntry]:
        """Remove dynamic and sticky entries whose age in ticks is above `max_age`; returns them."""
    def fdb_flush(self, *, port: int | None = None, vid: int | None = None) -> None:
        """Forget dynamic and sticky entries of a port, of a VLAN, of both (logical AND), or all of them."""
    def fdb_forget(self, port: int, vids: Iterable[int]) -> None:
        """Forget dynamic and sticky entries of a port in some VLANs: one pass over the table, however many."""
    def fdb_forget_each(self, entries: Iterable[FdbEntry], *, if_silent: bool = False) -> list[FdbEntry]:
        """Forget those of these that are dynamic or sticky and still on their port; returns them.

        `if_silent`: only what was not seen since, wherever it is.
        """
    def fdb_restore(self, entries: Sequence[FdbEntry]) -> list[bool]:
        """Add dynamic and sticky entries with their ticks; False: known by now, no room, or not a VLAN of the port.

        The dynamic keep to all limits; the sticky are added as by `fdb_set`.
        """
    def fdb_entries(self) -> list[FdbEntry]:
        """Give the table, sorted by VID and MAC address."""
    def fdb_find(self, vid: int, mac: int) -> FdbEntry | None: ...
    # -- events and counters
    @property
    def event_fd(self) -> int:
        """Readable when events wait."""
    def events(self, most: int = 0) -> tuple[list[Event], int]:
        """Take waiting events, at most so many (0: as the ring holds); then those lost since the last call.

        `event_fd` stays readable while events are left.
        """
    @property
    def events_waiting(self) -> int:
        """Events that were not taken by now."""
    def renew_hints(self) -> None:
        """Let ports give hints again: of each kind of events that change nothing a port has 512 between two calls."""
    def counters(self) -> Counters: ...
    # -- the bill
    def bill(self) -> Bill: ...
    def talkers(self) -> list[Talker]:
        """Read while forwarding goes on: each value is exact, values of one row may be a batch apart."""
    def budgets(self) -> list[BudgetState]:
        """Tell the state of the snapshot's budgets, in its order."""
    def mirrors(self) -> list[MirrorState]:
        """Tell the state of the snapshot's mirrors, in its order."""
    def originate(self, frames: Iterable[tuple[int, int, bytes]]) -> list[bool]:
        """Send frames of the bridge itself: (port index, VID, untagged bytes); False: not up, or not of that VLAN."""
    def shift_clock(self, cycles: int) -> None:
        """For tests: let the data thread see its cycle counter leap ahead, or back, by so much."""
    def clear_slow(self) -> None:
        """Forget the slowest batches."""
    @property
    def thread_id(self) -> int | None:
        """Kernel thread id of the data thread, as in /proc/self/task; None: it does not run."""
