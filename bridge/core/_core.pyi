"""The data plane: C core behind a thin Cython layer.

One `Bridge` owns one forwarding information base (FDB), its ports and one data thread. Everything here is the
cold side: called from the control thread, may raise. The hot side runs in `Bridge.run` without the GIL.

MAC addresses are integers (48 bits, first byte on the wire is the most significant). VIDs are 1..4094. Ports are
named by `index`, 0..PORTS_MAX-1, chosen by the caller. Ages are ticks, a 16-bit counter that only the caller
advances (`Bridge.tick`). Operating-system failures raise `OSError` with errno and the device as filename.
"""

from collections.abc import Iterable, Sequence
from typing import final

from bridge.core._handles import Capture as Capture
from bridge.core._handles import MemoryPort as MemoryPort
from bridge.core._handles import Port as Port
from bridge.core._offload import OffloadMaps as OffloadMaps
from bridge.core._snapshot import Snapshot as Snapshot
from bridge.core.values import Bill as Bill
from bridge.core.values import BudgetState as BudgetState
from bridge.core.values import Charge as Charge
from bridge.core.values import Counters as Counters
from bridge.core.values import Event as Event
from bridge.core.values import FdbEntry as FdbEntry
from bridge.core.values import Frame as Frame
from bridge.core.values import MirrorRow as MirrorRow
from bridge.core.values import MirrorState as MirrorState
from bridge.core.values import Offload as Offload
from bridge.core.values import OffloadTalker as OffloadTalker
from bridge.core.values import PacketHeaders as PacketHeaders
from bridge.core.values import PortCounters as PortCounters
from bridge.core.values import PortPlace as PortPlace
from bridge.core.values import PortRow as PortRow
from bridge.core.values import SlowBatch as SlowBatch
from bridge.core.values import Taken as Taken
from bridge.core.values import Talker as Talker

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
OFFLOAD_PASSES: tuple[tuple[str, str], ...]
OFFLOAD_MAPS: tuple[str, ...]  # names of the maps that OffloadMaps is made of, in their order

HISTOGRAM_BOUNDS: tuple[int, ...]  # the least value of each bucket: four buckets to a power of two
VID_NONE: int  # of a charge: the frame was dropped before its VLAN was known
VID_OTHER: int  # of a charge: the table of charges was full; port and class are still right

def is_virtual_router(mac: int) -> bool:
    """Tell whether an address is that of a router group (VRRP, CARP, HSRP, GLBP), whichever of them has it now."""

def probe_frame(*, source: int, instance: int, nonce: int, port: int, vid: int, sequence: int) -> bytes:
    """Write a loop probe. One of the snapshot's `instance` that comes back is an event `probe`, its nonce as `mac`."""

def packet_headers(data: bytes) -> PacketHeaders | None:
    """Find the headers of a frame (csrc/frame/packet.h); None: a header of IP is cut short or contradicts itself."""

def cycles_now() -> int:
    """Read the cycle counter all stages are measured with (csrc/count/cycles.h)."""

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
    def adopt_tap(self, index: int, device: str, place: PortPlace) -> Port:
        """Make a port of the descriptors of another process, which belong to it then; OSError (EBADF): no tap's."""
    def adopt_link(self, index: int, device: str, place: PortPlace) -> Port: ...
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
    def share(self, maps: OffloadMaps | None) -> None:
        """Keep the FDB in these maps, or in memory of its own again; traffic goes on."""
    @property
    def fdb_hash(self) -> tuple[int, int, int]:
        """Slots of the FDB, and the two words of the secret that its hash is keyed with."""
    def offload_talkers(self, maps: OffloadMaps) -> list[OffloadTalker]: ...
    def fdb_raw(self) -> bytes:
        """Give the table as it lies in memory, for `fdb_dump` to compare with."""
    def fdb_dump(self, since: bytes | None = None) -> bytes:
        """Give the table, or what changed since `fdb_raw`: 13 bytes an entry, in no order (docs/take-over.md)."""
    def fdb_load(self, dump: bytes) -> int:
        """Bring the learned entries of the table to what a dump says; returns how many were put in."""
    def fdb_set_many(self, entries: Sequence[tuple[int, int, int, str]]) -> list[bool]: ...
    def fdb_delete(self, vid: int, mac: int) -> bool:
        """Remove an entry of any kind; False: there was none."""
    def fdb_expire(self, max_age: int) -> list[FdbEntry]:
        """Remove dynamic and sticky entries whose age in ticks is above `max_age`; returns them."""
    def fdb_flush(self, *, port: int | None = None, vid: int | None = None, sticky: bool = True) -> None:
        """Forget dynamic and sticky entries of a port, of a VLAN, of both (logical AND), or all of them.

        Dynamic ones of a port or a VLAN are gone at once, however many; sticky ones are deleted one by one, if at all.
        """
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
