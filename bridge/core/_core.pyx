"""The data plane: C core behind a thin Cython layer. What each name means is in core/_core.pyi; this file only translates.

One nogil region around each call that may take time; errno becomes OSError in one place (`fail`).
"""

import os
import threading

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memset

from bridge.core._handles cimport VID_MAX, Port, MemoryPort, check_range, fail, lookup, names, place_to_c
from bridge.core._offload cimport OffloadMaps
from bridge.core._snapshot cimport Snapshot
from bridge.core.account cimport *
from bridge.core.count cimport *
from bridge.core.fdb cimport *
from bridge.core.frame cimport *
from bridge.core.memory cimport *
from bridge.core.mirror cimport *
from bridge.core.offload cimport *
from bridge.core.pipeline cimport *
from bridge.core.port cimport *
from bridge.core.protect cimport *
from bridge.core.snapshot cimport *
from bridge.core.thread cimport *

from bridge.core._handles import Capture
from bridge.core.values import (
    Bill,
    BudgetState,
    Charge,
    Counters,
    Event,
    FdbEntry,
    Frame,
    MirrorRow,
    MirrorState,
    Offload,
    OffloadTalker,
    PacketHeaders,
    PortCounters,
    PortRow,
    SlowBatch,
    Taken,
    Talker,
)

globals().update(MemoryPort=MemoryPort, OffloadMaps=OffloadMaps, Port=Port, Snapshot=Snapshot)  # a type that is cimported is no name of the module

PORTS_MAX = BR_PORTS_MAX
BURST_MAX = BR_BURST_MAX
BUDGETS_MAX = BR_BUDGETS_MAX
ALLOWED_MAX = BR_ALLOWED_MAX
GUARD_RULES_MAX = BR_GUARD_RULES_MAX
MIRRORS_MAX = BR_MIRRORS_MAX
MIRROR_SNAPLEN_MIN = BR_MIRROR_SNAPLEN_MIN
CAPTURE_LEAST = BR_CAPTURE_LEAST
CAPTURE_MOST = BR_CAPTURE_MOST
PACKET_BLOCK_LEN = BR_CAPTURE_BLOCK_LEN

cdef enum:
    EVENT_BURST = 512
    DUMPED = 13  # bytes of an entry: key (8), port (2), tick (2), kind (1), the first byte first
    DUMPED_GONE = 0xFF  # for the kind: there is no such entry any more


DROP_REASONS = names(br_drop_names, BR_DROP_N)
MISSES = names(br_miss_names, BR_MISS_N)
STAGES = names(br_stage_names, BR_STAGE_N)
CLASSES = names(br_class_names, BR_CLASS_N)
HISTOGRAMS = names(br_histogram_names, BR_HISTOGRAM_N)
HISTOGRAM_BOUNDS = tuple(br_histogram_bound(i) for i in range(BR_HISTOGRAM_BUCKETS))
VID_NONE = 0
VID_OTHER = BR_VID_OTHER
EVENTS = names(br_event_names, BR_EVENT_N)
WAITINGS = names(br_waiting_names, BR_WAITING_N)
GUARD_FINDINGS = names(br_guard_names, BR_GUARD_N)
OFFLOAD_PASSES = names(br_offload_pass_names, BR_OFFLOAD_PASS_N)
OFFLOAD_MAPS = ("table", "states", "ports", "vlans", "may_reach", "page", "heartbeat")
assert len(OFFLOAD_MAPS) == BR_OFFLOAD_MAPS
PORT_COUNTERS = names(br_port_counter_names, BR_PORT_COUNTER_N)
THREAD_COUNTERS = names(br_thread_counter_names, BR_THREAD_COUNTER_N)

cdef dict KINDS = {"dynamic": BR_FDB_DYNAMIC, "sticky": BR_FDB_STICKY, "static": BR_FDB_STATIC, "drop": BR_FDB_DROP}
cdef tuple KIND_NAMES = tuple(sorted(KINDS, key=KINDS.__getitem__))
cdef tuple STAGE_NAMES = tuple(name for name, _ in STAGES)
cdef tuple CLASS_NAMES = tuple(name for name, _ in CLASSES)
cdef tuple DROP_NAMES = tuple(name for name, _ in DROP_REASONS)
cdef tuple MISS_NAMES = tuple(name for name, _ in MISSES)


cdef uint64_t make_key(object vid, object mac) except? 0:
    check_range("VID", vid, 1, VID_MAX)
    if not 0 <= mac < 1 << 48:
        raise ValueError(f"MAC address must fit 48 bits, not {mac!r}")
    if mac == 0 or mac >> 40 & 1:
        raise ValueError(f"MAC address must be that of a station, not {mac:#014x}")
    return br_fdb_key(vid, mac)


cdef object make_entry(br_fdb_entry entry):
    cdef br_fdb_value value
    value.word = entry.value
    cdef int port = -1 if value.kind == BR_FDB_DROP else value.port
    return FdbEntry(entry.key >> 48, entry.key & 0xFFFFFFFFFFFF, port, KIND_NAMES[value.kind], value.tick)


cdef uint8_t *write_dumped(uint8_t *at, uint64_t key, uint64_t word, int kind) noexcept nogil:
    """Write an entry of a dump; returns the place behind it."""
    cdef br_fdb_value value
    cdef int byte

    value.word = word
    for byte in range(8):
        at[byte] = <uint8_t>(key >> (8 * (7 - byte)))
    at[8], at[9] = <uint8_t>(value.port >> 8), <uint8_t>value.port
    at[10], at[11] = <uint8_t>(value.tick >> 8), <uint8_t>value.tick
    at[12] = value.kind if kind < 0 else <uint8_t>kind
    return at + DUMPED


cdef uint32_t read_dumped(const br_fdb *fdb, const uint8_t *at, br_fdb_change *change) noexcept nogil:
    """Read an entry of a dump: the changes that bring a table there, two at most. What was set by hand stays as it is."""
    cdef uint64_t key = 0
    cdef br_fdb_entry known
    cdef br_fdb_value value
    cdef uint32_t n = 0
    cdef int byte

    for byte in range(8):
        key = key << 8 | at[byte]
    if key >> 48 < 1 or key >> 48 > 4094 or key << 16 == 0 or at[2] & 1 or at[8]:  # as make_key
        return 0
    if br_fdb_read_key(fdb, key, &known):
        value.word = known.value
        if value.kind != BR_FDB_DYNAMIC:
            return 0
        change[0].verb, change[0].key, change[0].port = BR_FDB_FORGET, key, value.port
        n = 1
    if at[12] > BR_FDB_STICKY:
        return n
    change[n].verb, change[n].key, change[n].port = BR_FDB_RESTORE, key, at[9]
    change[n].tick, change[n].kind = <uint16_t>(at[10] << 8 | at[11]), BR_FDB_DYNAMIC
    return n + 1


cdef class Bridge:
    def __cinit__(self, *, int fdb_capacity=65536, int burst=64, int events=16384, secret=None):
        cdef uint64_t key[2]
        cdef int error

        check_range("fdb_capacity", fdb_capacity, 1, 1 << 24)
        check_range("burst", burst, 1, BR_BURST_MAX)
        check_range("events", events, 1, 1 << 24)
        secret = os.urandom(16) if secret is None else secret
        if len(secret) != 16:
            raise ValueError(f"secret must be 16 bytes, not {len(secret)}")
        key[0] = int.from_bytes(secret[:8], "big")
        key[1] = int.from_bytes(secret[8:], "big")
        self.raw = <br_bridge *>aligned_alloc(64, sizeof(br_bridge))
        if self.raw is NULL:
            raise MemoryError
        error = br_bridge_init(self.raw, fdb_capacity, burst, events, key)
        if error:
            free(self.raw)
            self.raw = NULL
            raise fail(error)

    def __dealloc__(self):
        if self.raw:
            br_bridge_fini(self.raw)
            free(self.raw)

    # -- ports

    cdef Port adopt(self, Port port, br_port *raw, int index, str device):
        raw.index = index
        self.raw.last_serial += 1
        raw.serial = self.raw.last_serial
        port.raw = raw
        port.index = index
        port.kind = raw.ops.kind.decode()
        port.device = device
        return port

    def open_tap(self, int index, str device not None):
        cdef br_port *raw = NULL
        cdef bytes name = os.fsencode(device)

        check_range("port index", index, 0, BR_PORTS_MAX - 1)
        check_range("length of the device name", len(name), 1, 15)
        error = br_port_open_tap(&raw, name, self.raw.thread.batch.burst)
        if error:
            raise fail(error, device)
        return self.adopt(Port.__new__(Port), raw, index, device)

    def open_link(self, int index, str device not None, *, int slots=2048):
        cdef br_port *raw = NULL
        cdef bytes name = os.fsencode(device)

        check_range("port index", index, 0, BR_PORTS_MAX - 1)
        check_range("length of the device name", len(name), 1, 15)
        check_range("slots", slots, 1, 1 << 16)
        error = br_port_open_link(&raw, name, slots)
        if error:
            raise fail(error, device)
        return self.adopt(Port.__new__(Port), raw, index, device)

    def adopt_tap(self, int index, str device not None, place not None):
        cdef br_port *raw = NULL

        check_range("port index", index, 0, BR_PORTS_MAX - 1)
        check_range("descriptors of a tap", len(place.fds), 1, 1)
        error = br_port_adopt_tap(&raw, place.fds[0], self.raw.thread.batch.burst)
        if error:
            raise fail(error, device)
        return self.adopt(Port.__new__(Port), raw, index, device)

    def adopt_link(self, int index, str device not None, place not None):
        cdef br_port *raw = NULL
        cdef br_port_place known = place_to_c(place)

        check_range("port index", index, 0, BR_PORTS_MAX - 1)
        check_range("descriptors of a link", len(place.fds), BR_PORT_FDS, BR_PORT_FDS)
        error = br_port_adopt_link(&raw, &known)
        if error:
            raise fail(error, device)
        return self.adopt(Port.__new__(Port), raw, index, device)

    def open_memory(self, int index, *, int slots=1024, bint vnet=True):
        cdef br_port *raw = NULL

        check_range("port index", index, 0, BR_PORTS_MAX - 1)
        check_range("slots", slots, 1, 1 << 16)
        error = br_port_open_memory(&raw, slots, vnet)
        if error:
            raise fail(error)
        return self.adopt(MemoryPort.__new__(MemoryPort), raw, index, "")

    def open_replay(self, int index, frames):
        cdef br_port *raw = NULL
        cdef bytes frame

        check_range("port index", index, 0, BR_PORTS_MAX - 1)
        error = br_port_open_replay(&raw, len(frames), max(map(len, frames), default=0), self.raw.thread.batch.burst)
        if error:
            raise fail(error)
        port = self.adopt(Port.__new__(Port), raw, index, "")
        for frame in frames:
            error = br_replay_add(raw, frame, len(frame))
            if error:
                raise fail(error)
        return port

    def final_counters(self, Port port not None):
        cdef br_port *raw = port.open_raw()

        if self.snapshot is not None and port in self.snapshot.ports:
            raise ValueError(f"{port!r} is still in the applied snapshot")
        return port_counters(br_port_read(raw))

    def close_port(self, Port port not None):
        cdef br_port *raw

        if port.raw is NULL:
            return
        if self.snapshot is not None and port in self.snapshot.ports:
            raise ValueError(f"{port!r} is still in the applied snapshot")
        raw = port.raw
        port.raw = NULL
        with nogil:
            br_bridge_close(self.raw, raw)

    # -- configuration

    def apply(self, Snapshot snapshot not None):
        cdef br_snapshot *raw = snapshot.raw
        cdef int error

        for port in snapshot.ports:
            (<Port>port).open_raw()
        snapshot.applied = True
        with nogil:
            error = br_bridge_apply(self.raw, raw)
        if error:
            raise fail(error)
        self.snapshot = snapshot

    # -- the data thread

    def run(self):
        cdef int error

        self.thread_id = threading.get_native_id()
        with nogil:
            error = br_bridge_run(self.raw)
        self.thread_id = None
        if error:
            raise fail(error)

    def stop(self):
        br_bridge_stop(self.raw)

    def turn(self, int turns=1):
        cdef uint64_t total = 0
        cdef int n = 0
        cdef int i

        with nogil:
            for i in range(turns):
                n = br_bridge_turn(self.raw)
                if n < 0:
                    break
                total += <uint64_t>n
        if n < 0:
            raise fail(n)
        return total

    def wake(self):
        br_bridge_wake(self.raw)

    @property
    def running(self):
        return self.raw.running

    @property
    def progress(self):
        return br_bridge_progress(self.raw)

    # -- the kernel

    def share(self, OffloadMaps maps):
        cdef br_offload_maps *raw = NULL
        cdef int error

        if maps is not None:
            if maps.raw.n_slots != br_fdb_slots(&self.raw.thread.fdb):
                raise ValueError(f"the maps have {maps.raw.n_slots} slots, the FDB {br_fdb_slots(&self.raw.thread.fdb)}")
            raw = &maps.raw
        with nogil:
            error = br_bridge_share(self.raw, raw)
        if error:
            raise fail(error)
        self.shared = maps

    @property
    def fdb_hash(self):
        return br_fdb_slots(&self.raw.thread.fdb), self.raw.thread.fdb.secret[0], self.raw.thread.fdb.secret[1]

    def offload_talkers(self, OffloadMaps maps not None):
        cdef uint32_t index
        cdef br_fdb_entry entry
        cdef br_fdb_value value
        cdef br_offload_state *state
        talkers = []

        for index in range(min(maps.raw.n_slots, br_fdb_slots(&self.raw.thread.fdb))):
            state = &maps.raw.state[index]
            if state.frames and br_fdb_read(&self.raw.thread.fdb, index, &entry):
                value.word = entry.value
                talkers.append(OffloadTalker(
                    entry.key >> 48, entry.key & 0xFFFFFFFFFFFF, value.port, state.frames,
                    state.frames + state.more_segments, state.bytes,
                ))
        return talkers

    # -- clock

    @property
    def tick(self):
        return br_fdb_tick(&self.raw.thread.fdb)

    @tick.setter
    def tick(self, int value):
        br_fdb_set_tick(&self.raw.thread.fdb, value & 0xFFFF)

    # -- FDB

    cdef list change(self, list changes):
        """Carry out (verb, key, port, tick, kind) in order; returns 0 or -errno for each."""
        cdef uint32_t n = len(changes)
        cdef uint32_t i
        cdef br_fdb_change *raw = <br_fdb_change *>calloc(n or 1, sizeof(br_fdb_change))

        if raw is NULL:
            raise MemoryError
        try:
            for i in range(n):
                raw[i].verb, raw[i].key, raw[i].port, raw[i].tick, raw[i].kind = changes[i]
            with nogil:
                br_bridge_fdb(self.raw, raw, n)
            return [raw[i].result for i in range(n)]
        finally:
            free(raw)

    def fdb_set_many(self, entries):
        changes = []
        for vid, mac, port, kind in entries:
            number = lookup(KINDS, "kind", kind)
            if number == BR_FDB_DROP:
                port = 0
            check_range("port index", port, 0, BR_PORTS_MAX - 1)
            changes.append((BR_FDB_SET, make_key(vid, mac), port, 0, number))
        return [result == 0 for result in self.change(changes)]

    def fdb_set(self, vid, mac, port, kind="static"):
        return self.fdb_set_many([(vid, mac, port, kind)])[0]

    def fdb_delete(self, vid, mac):
        return self.change([(BR_FDB_DELETE, make_key(vid, mac), 0, 0, 0)])[0] == 0

    def fdb_expire(self, int max_age):
        cdef uint16_t now = br_fdb_tick(&self.raw.thread.fdb)
        cdef uint32_t index
        cdef br_fdb_entry entry
        cdef br_fdb_value value
        old = []
        changes = []

        for index in range(br_fdb_slots(&self.raw.thread.fdb)):
            if br_fdb_read(&self.raw.thread.fdb, index, &entry):
                value.word = entry.value
                if value.kind < BR_FDB_STATIC and <uint16_t>(now - value.tick) > max_age:
                    old.append(make_entry(entry))
                    changes.append((BR_FDB_EXPIRE, entry.key, 0, value.tick, 0))
        return [gone for gone, result in zip(old, self.change(changes), strict=True) if result == 0]

    def fdb_flush(self, *, port=None, vid=None, bint sticky=True):
        if port is not None:
            check_range("port index", port, 0, BR_PORTS_MAX - 1)
        if vid is not None:
            check_range("VID", vid, 1, VID_MAX)
        if port is not None and vid is not None:
            self.forget_fitting(port, (vid,), 1 << BR_FDB_DYNAMIC)
        elif port is not None:
            self.change([(BR_FDB_FLUSH_PORT, 0, port, 0, 0)])
        elif vid is not None:
            self.change([(BR_FDB_FLUSH_VLAN, vid, 0, 0, 0)])
        else:
            self.change([(BR_FDB_FLUSH_ALL, 0, 0, 0, 0)])
        if sticky and br_fdb_n_sticky(&self.raw.thread.fdb):
            self.forget_fitting(port, None if vid is None else (vid,), 1 << BR_FDB_STICKY)

    def fdb_forget(self, int port, vids):
        check_range("port index", port, 0, BR_PORTS_MAX - 1)
        self.forget_fitting(port, vids, 1 << BR_FDB_DYNAMIC | 1 << BR_FDB_STICKY)

    cdef object forget_fitting(self, port, vids, int kinds):
        """Delete one by one the entries of some kinds (a bit each) that are on a port and in some VLANs; None: on any, in all."""
        cdef bint wanted[VID_MAX + 1]
        cdef uint32_t index
        cdef br_fdb_entry entry
        cdef br_fdb_value value
        changes = []

        memset(wanted, vids is None, sizeof(wanted))
        for vid in vids or ():
            check_range("VID", vid, 1, VID_MAX)
            wanted[<int>vid] = True
        for index in range(br_fdb_slots(&self.raw.thread.fdb)):
            if br_fdb_read(&self.raw.thread.fdb, index, &entry) and wanted[entry.key >> 48]:
                value.word = entry.value
                if kinds >> value.kind & 1 and (port is None or value.port == port):
                    changes.append((BR_FDB_FORGET, entry.key, value.port, 0, 0))
        self.change(changes)

    def fdb_forget_each(self, entries, *, bint if_silent=False):
        verb = BR_FDB_EXPIRE if if_silent else BR_FDB_FORGET
        entries = [entry for entry in entries if entry.kind in ("dynamic", "sticky")]
        changes = [(verb, make_key(entry.vid, entry.mac), entry.port, entry.tick, 0) for entry in entries]
        return [gone for gone, result in zip(entries, self.change(changes), strict=True) if result == 0]

    def fdb_restore(self, entries):
        for entry in entries:
            lookup({"dynamic": 0, "sticky": 0}, "kind", entry.kind)
            check_range("port index", entry.port, 0, BR_PORTS_MAX - 1)
        changes = [
            (BR_FDB_RESTORE, make_key(entry.vid, entry.mac), entry.port, entry.tick, KINDS[entry.kind])
            for entry in entries
        ]
        return [result == 0 for result in self.change(changes)]

    def fdb_entries(self):
        cdef uint32_t slots = br_fdb_slots(&self.raw.thread.fdb)
        cdef br_fdb_entry *entry = <br_fdb_entry *>malloc(slots * sizeof(br_fdb_entry))
        cdef uint32_t n

        if entry is NULL:
            raise MemoryError
        try:
            with nogil:
                n = br_fdb_copy(&self.raw.thread.fdb, entry)
            return [make_entry(entry[i]) for i in range(n)]
        finally:
            free(entry)

    def fdb_raw(self):
        cdef uint32_t slots = br_fdb_slots(&self.raw.thread.fdb)
        cdef bytearray out = bytearray(slots * sizeof(br_fdb_entry))
        cdef uint8_t *bytes_at = out
        cdef br_fdb_entry *entry = <br_fdb_entry *>bytes_at
        cdef uint32_t i

        with nogil:
            for i in range(slots):
                if not br_fdb_read(&self.raw.thread.fdb, i, &entry[i]):
                    entry[i].key = entry[i].value = 0
        return bytes(out)

    def fdb_dump(self, const uint8_t[::1] since=None):
        cdef uint32_t slots = br_fdb_slots(&self.raw.thread.fdb)
        cdef const br_fdb_entry *before = NULL
        cdef br_fdb_entry now
        cdef uint8_t *start
        cdef uint8_t *at
        cdef bint is_there
        cdef uint32_t i

        if since is not None:
            if <size_t>since.shape[0] != slots * sizeof(br_fdb_entry):
                raise ValueError(f"a table of {slots} slots was {since.shape[0]} bytes before")
            before = <const br_fdb_entry *>&since[0]
        start = <uint8_t *>malloc(2 * slots * DUMPED)
        if start is NULL:
            raise MemoryError
        try:
            at = start
            with nogil:
                for i in range(slots):
                    is_there = br_fdb_read(&self.raw.thread.fdb, i, &now)
                    if not is_there:
                        now.key = now.value = 0
                    if before is not NULL and before[i].key == now.key and before[i].value == now.value:
                        continue
                    if before is not NULL and before[i].key and before[i].key != now.key:
                        at = write_dumped(at, before[i].key, before[i].value, DUMPED_GONE)
                    if is_there:
                        at = write_dumped(at, now.key, now.value, -1)
            return start[:at - start]
        finally:
            free(start)

    def fdb_load(self, const uint8_t[::1] dump not None):
        cdef uint32_t n = <uint32_t>(dump.shape[0] // DUMPED)
        cdef uint32_t n_changes = 0
        cdef uint32_t n_done = 0
        cdef uint32_t i
        cdef br_fdb_change *raw

        if dump.shape[0] % DUMPED:
            raise ValueError(f"a dump has {DUMPED} bytes an entry, not {dump.shape[0]} in all")
        raw = <br_fdb_change *>calloc(2 * n or 1, sizeof(br_fdb_change))
        if raw is NULL:
            raise MemoryError
        try:
            with nogil:
                for i in range(n):
                    n_changes += read_dumped(&self.raw.thread.fdb, &dump[i * DUMPED], &raw[n_changes])
                br_bridge_fdb(self.raw, raw, n_changes)
            for i in range(n_changes):
                n_done += raw[i].verb == BR_FDB_RESTORE and raw[i].result == 0
            return n_done
        finally:
            free(raw)

    def fdb_find(self, vid, mac):
        cdef uint64_t key = make_key(vid, mac)
        cdef br_fdb_entry entry

        return make_entry(entry) if br_fdb_read_key(&self.raw.thread.fdb, key, &entry) else None

    # -- events and counters

    @property
    def event_fd(self):
        return self.raw.events.fd

    def events(self, int most=0):
        cdef br_event raw[EVENT_BURST]
        cdef uint32_t left = most if most > 0 else self.raw.events.mask + 1  # never more: the writer may be faster
        cdef uint32_t n = 1
        cdef uint32_t i
        cdef uint64_t lost
        events = []

        while n and left:
            n = br_events_take(&self.raw.events, raw, min(left, <uint32_t>EVENT_BURST))
            left -= n
            for i in range(n):
                events.append(make_event(&raw[i]))
        lost = br_events_lost(&self.raw.events) - self.lost_seen
        self.lost_seen += lost
        return events, lost

    @property
    def events_waiting(self):
        return br_events_waiting(&self.raw.events)

    def renew_hints(self):
        br_events_renew(&self.raw.events)

    def counters(self):
        cdef uint16_t index[BR_PORTS_MAX]
        cdef br_thread_counters thread
        cdef br_port_counters *ports
        cdef uint32_t n_entries
        cdef int n = 0
        cdef int i

        for port in self.snapshot.ports if self.snapshot is not None else ():
            index[n] = port.index
            n += 1
        ports = <br_port_counters *>calloc(n or 1, sizeof(br_port_counters))
        if ports is NULL:
            raise MemoryError
        try:
            with nogil:
                n_entries = br_bridge_counters(self.raw, index, n, ports, &thread)
            return Counters(
                {index[i]: port_counters(&ports[i]) for i in range(n)},
                {THREAD_COUNTERS[i][0]: thread.value[i] for i in range(BR_THREAD_COUNTER_N)},
                named_stages(thread.stage_cycles),
                {"entries": n_entries, "capacity": self.raw.thread.fdb.capacity},
            )
        finally:
            free(ports)

    # -- the bill

    def bill(self):
        cdef br_bill_copy *copy = <br_bill_copy *>malloc(sizeof(br_bill_copy))
        cdef uint64_t present
        cdef uint32_t row
        cdef int kind

        if copy is NULL:
            raise MemoryError
        try:
            with nogil:
                br_bridge_bill(self.raw, copy)
                present = br_talkers_present(&self.raw.thread.bill, &self.raw.thread.fdb)
            slow = [slow_batch(&copy.slow[row]) for row in range(copy.n_slow)]
            return Bill(
                copy.stamp,
                named_stages(copy.thread.stage_cycles),
                [make_charge(&copy.charge[row]) for row in range(copy.n_charges)],
                copy.uncharged,
                copy.talked - min(present, copy.talked),
                {HISTOGRAMS[kind][0]: histogram(&copy.histogram[kind]) for kind in range(BR_HISTOGRAM_N)},
                sorted(slow, key=lambda batch: batch.cycles, reverse=True),
                copy.thread.value[CLOCK_JUMPS],
            )
        finally:
            free(copy)

    def talkers(self):
        cdef uint32_t index
        cdef br_fdb_entry entry
        cdef br_fdb_value value
        cdef br_talker talker
        talkers = []

        for index in range(br_fdb_slots(&self.raw.thread.fdb)):
            if br_talker_present(&self.raw.thread.bill, &self.raw.thread.fdb, index, &entry, &talker):
                value.word = entry.value
                talkers.append(Talker(
                    talker.key >> 48, talker.key & 0xFFFFFFFFFFFF, -1 if value.kind == BR_FDB_DROP else value.port,
                    talker.sum.direct, talker.sum.induced, talker.sum.frames, talker.sum.segments, talker.sum.bytes,
                    talker.sum.copies,
                ))
        return talkers

    def budgets(self):
        cdef br_budget_state raw[BR_BUDGETS_MAX]
        cdef uint32_t n = self.snapshot.raw.n_budgets if self.snapshot is not None else 0
        cdef uint32_t i

        with nogil:
            br_bridge_budgets(self.raw, raw)
        return [
            BudgetState(raw[i].serial, raw[i].reported, raw[i].bucket.tokens, raw[i].spent, raw[i].dropped, raw[i].n_over)
            for i in range(n)
        ]

    def mirrors(self):
        cdef br_mirror_state raw[BR_MIRRORS_MAX]
        cdef uint32_t n = self.snapshot.raw.mirrors.n if self.snapshot is not None else 0
        cdef uint32_t i

        with nogil:
            br_bridge_mirrors(self.raw, raw)
        return [
            MirrorState(self.snapshot.raw.mirrors.mirror[i].serial, raw[i].copies, raw[i].bytes, raw[i].lost, raw[i].over_rate)
            for i in range(n)
        ]

    def originate(self, frames):
        cdef list own = list(frames)
        cdef uint32_t n = len(own)
        cdef uint32_t i
        cdef bytes data
        cdef br_origination *raw = <br_origination *>calloc(n or 1, sizeof(br_origination))

        if raw is NULL:
            raise MemoryError
        try:
            for i in range(n):
                port, vid, data = own[i]
                check_range("port index", port, 0, BR_PORTS_MAX - 1)
                check_range("VID", vid, 1, VID_MAX)
                check_range("length of a frame", len(data), BR_ETH_HLEN, BR_HEAD_LEN)
                raw[i].port, raw[i].vid, raw[i].data, raw[i].len = port, vid, data, len(data)
            with nogil:
                br_bridge_originate(self.raw, raw, n)
            return [raw[i].result == 0 for i in range(n)]
        finally:
            free(raw)

    def shift_clock(self, long long cycles):
        with nogil:
            br_bridge_shift_clock(self.raw, cycles)

    def clear_slow(self):
        with nogil:
            br_bridge_clear_slow(self.raw)


def is_virtual_router(uint64_t mac):
    return br_mac_is_virtual_router(mac)


def probe_frame(*, uint64_t source, uint64_t instance, uint64_t nonce, int port, int vid, uint32_t sequence):
    cdef br_probe probe
    cdef uint8_t frame[BR_FRAME_MIN]

    probe.source, probe.instance, probe.nonce = source, instance, nonce
    probe.port, probe.vid, probe.sequence = port, vid, sequence
    br_probe_write(frame, &probe)
    return frame[:BR_FRAME_MIN]


def packet_headers(const uint8_t[::1] data not None):
    cdef br_packet packet

    if data.shape[0] < BR_ETH_HLEN:
        raise ValueError(f"no frame has {data.shape[0]} bytes: {BR_ETH_HLEN} are the least")
    if not br_packet_walk(&data[0], <uint32_t>data.shape[0], &packet):
        return None
    return PacketHeaders(
        packet.type,
        packet.n_tags,
        packet.network,
        packet.transport,
        packet.end,
        packet.protocol,
        packet.is_fragment,
        packet.is_later,
    )


def cycles_now():
    return br_cycles_now()


cdef int CLOCK_JUMPS = [name for name, _ in THREAD_COUNTERS].index("clock_jumps")


cdef object make_event(br_event *raw):
    kind, vid, mac = EVENTS[raw.kind][0], raw.key >> 48, raw.key & 0xFFFFFFFFFFFF
    if raw.kind == BR_EVENT_source_guard:
        finding, address = GUARD_FINDINGS[raw.finding][0], raw.address[:raw.address_len]
        return Event(kind, vid, mac, raw.port, -1, 0, finding, address)
    if BR_EVENT_group_joined <= raw.kind <= BR_EVENT_group_unregistered:
        time = -1 if raw.old_port == 0xFFFF else raw.old_port
        return Event(kind, vid, mac, raw.port, time, raw.finding, "", raw.address[:raw.address_len])
    return Event(kind, vid, mac, raw.port, -1 if raw.old_port == 0xFFFF else raw.old_port, raw.error)


cdef dict named_stages(const uint64_t *cycles):
    return {STAGE_NAMES[i]: cycles[i] for i in range(BR_STAGE_N)}


cdef object make_charge(const br_charge *raw):
    cdef int port = raw.port if raw.serial else -1
    return Charge(
        port, raw.vid, CLASS_NAMES[raw.frame_class], raw.sum.direct, raw.sum.induced, raw.sum.frames, raw.sum.segments,
        raw.sum.bytes, raw.sum.copies, raw.serial,
    )


cdef object slow_batch(const br_slow *raw):
    return SlowBatch(raw.stamp, raw.port, raw.frames, raw.cycles, named_stages(raw.stage))


cdef list histogram(const br_histogram *raw):
    return [raw.bucket[i] for i in range(BR_HISTOGRAM_BUCKETS)]


cdef dict named_drops(const uint64_t *counts):
    return {DROP_NAMES[i]: counts[i] for i in range(BR_DROP_N) if counts[i]}


cdef object port_counters(const br_port_counters *counters):
    return PortCounters(
        {PORT_COUNTERS[i][0]: counters.value[i] for i in range(BR_PORT_COUNTER_N)},
        named_drops(counters.rx_drops),
        named_drops(counters.tx_drops),
        {MISS_NAMES[i]: counters.misses[i] for i in range(BR_MISS_N) if counters.misses[i]},
    )
