"""The data plane: C core behind a thin Cython layer. What each name means is in core/_core.pyi; this file only translates.

One nogil region around each call that may take time; errno becomes OSError in one place (`fail`).
"""

import os
import threading
from collections import namedtuple

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memset

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
    VID_MAX = 4094


cdef tuple names(const br_name *table, int n):
    return tuple((table[i].symbol.decode(), table[i].sentence.decode()) for i in range(n))


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
PORT_COUNTERS = names(br_port_counter_names, BR_PORT_COUNTER_N)
THREAD_COUNTERS = names(br_thread_counter_names, BR_THREAD_COUNTER_N)

Offload = namedtuple(
    "Offload",
    "needs_csum csum_start csum_offset gso ecn gso_size hdr_len",
    defaults=(False, 0, 0, "none", False, 0, 0),
)
Frame = namedtuple("Frame", "data tag offload", defaults=(None, Offload()))
Event = namedtuple("Event", "kind vid mac port old_port errno finding address", defaults=("", b""))
FdbEntry = namedtuple("FdbEntry", "vid mac port kind tick")
Counters = namedtuple("Counters", "ports thread stages fdb")
PortCounters = namedtuple("PortCounters", "values rx_drops tx_drops misses")
Charge = namedtuple("Charge", "port vid frame_class direct induced frames segments bytes copies serial")
Talker = namedtuple("Talker", "vid mac port direct induced frames segments bytes copies")
SlowBatch = namedtuple("SlowBatch", "stamp port frames cycles stages")
BudgetState = namedtuple("BudgetState", "serial over tokens spent dropped times_over")
MirrorState = namedtuple("MirrorState", "serial copies bytes lost over_rate")
Taken = namedtuple("Taken", "blocks end port")
Bill = namedtuple("Bill", "stamp stages charges uncharged departed histograms slow clock_jumps")

cdef dict GSO_TYPES = {"none": BR_GSO_NONE, "tcp4": BR_GSO_TCP4, "tcp6": BR_GSO_TCP6, "udp": BR_GSO_UDP}
cdef dict GSO_NAMES = {number: name for name, number in GSO_TYPES.items()}
cdef dict KINDS = {"dynamic": BR_FDB_DYNAMIC, "sticky": BR_FDB_STICKY, "static": BR_FDB_STATIC, "drop": BR_FDB_DROP}
cdef tuple KIND_NAMES = tuple(sorted(KINDS, key=KINDS.__getitem__))
cdef dict MODES = {"access": BR_MODE_ACCESS, "trunk": BR_MODE_TRUNK, "tunnel": BR_MODE_TUNNEL}
cdef dict PRIORITY_TAGS = {
    "never": BR_PRIORITY_TAGS_NEVER,
    "if_nonzero": BR_PRIORITY_TAGS_IF_NONZERO,
    "always": BR_PRIORITY_TAGS_ALWAYS,
}
cdef dict DIRECTIONS = {"both": BR_DIRECTION_BOTH, "ingress": BR_DIRECTION_INGRESS, "egress": BR_DIRECTION_EGRESS}
cdef tuple STAGE_NAMES = tuple(name for name, _ in STAGES)
cdef tuple CLASS_NAMES = tuple(name for name, _ in CLASSES)
cdef dict CLASS_NUMBERS = {name: number for number, name in enumerate(CLASS_NAMES)}
cdef dict BUDGET_UNITS = {"cycles": BR_BUDGET_CYCLES, "frames": BR_BUDGET_FRAMES, "bits": BR_BUDGET_BITS}
cdef dict BUDGET_ACTIONS = {
    "count": BR_BUDGET_COUNT,
    "drop": BR_BUDGET_DROP,
    "stop_learning": BR_BUDGET_STOP_LEARNING,
}
cdef tuple CAPTURE_ENDS = ("empty", "full", "unknown")
cdef dict MIRROR_UNITS = {"frames": True, "bits": False}
cdef dict FLOOD_NUMBERS = {
    "unknown": BR_FLOOD_UNKNOWN,
    "multicast": BR_FLOOD_MULTICAST,
    "broadcast": BR_FLOOD_BROADCAST,
}
cdef dict WAITING_NUMBERS = {name: number for number, (name, _) in enumerate(WAITINGS)}
cdef tuple DROP_NAMES = tuple(name for name, _ in DROP_REASONS)
cdef tuple MISS_NAMES = tuple(name for name, _ in MISSES)


cdef object fail(int error, str device=None):
    """OSError of a negative errno."""
    return OSError(-error, os.strerror(-error), device) if device else OSError(-error, os.strerror(-error))


cdef int check_range(str what, object value, int low, int high) except -1:
    if not low <= value <= high:
        raise ValueError(f"{what} must be {low}..{high}, not {value!r}")
    return 0


cdef object lookup(dict table, str what, object name):
    try:
        return table[name]
    except KeyError:
        raise ValueError(f"{what} must be one of {', '.join(table)}, not {name!r}") from None


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


cdef br_offload offload_to_c(object offload) except *:
    cdef br_offload raw
    cdef int gso = lookup(GSO_TYPES, "gso", offload.gso)
    raw.needs_csum = offload.needs_csum
    raw.gso_type = gso | (BR_GSO_ECN if offload.ecn else 0)
    raw.hdr_len = offload.hdr_len
    raw.gso_size = offload.gso_size
    raw.csum_start = offload.csum_start
    raw.csum_offset = offload.csum_offset
    return raw


cdef object offload_from_c(br_offload raw):
    gso = GSO_NAMES[raw.gso_type & ~BR_GSO_ECN]
    ecn = bool(raw.gso_type & BR_GSO_ECN)
    return Offload(bool(raw.needs_csum), raw.csum_start, raw.csum_offset, gso, ecn, raw.gso_size, raw.hdr_len)


cdef class Port:
    cdef br_port *raw
    cdef readonly int index
    cdef readonly str kind
    cdef readonly str device

    @property
    def fd(self):
        return self.raw.fd if self.raw else -1

    @property
    def failed(self):
        return self.raw is not NULL and self.raw.failed

    @property
    def closed(self):
        return self.raw is NULL

    def __repr__(self):
        return f"<{self.kind} port {self.index} {self.device or '-'}{' closed' if self.closed else ''}>"

    cdef br_port *open_raw(self) except NULL:
        if self.raw is NULL:
            raise ValueError(f"{self!r} is closed")
        return self.raw

    def __dealloc__(self):
        if self.raw:
            br_port_close(self.raw)


cdef class MemoryPort(Port):
    def inject(self, frames, int headroom=BR_HEADROOM, bint in_one=False):
        cdef br_port *raw = self.open_raw()
        cdef br_memory_frame frame
        cdef bytes data
        cdef int n = 0

        check_range("headroom", headroom, 0, BR_HEADROOM)
        for item in frames:
            if isinstance(item, bytes):
                item = Frame(item)
            data = item.data
            memset(&frame, 0, sizeof(frame))
            frame.data = data
            frame.len = len(data)
            frame.headroom = headroom
            frame.in_one = in_one
            if item.tag is not None:
                frame.tag_beside = True
                frame.tpid, frame.tci = item.tag
            frame.offload = offload_to_c(item.offload)
            error = br_memory_put(raw, &frame)
            if error == -28:  # ENOSPC
                break
            if error:
                raise fail(error)
            n += 1
        return n

    def drain(self):
        cdef br_port *raw = self.open_raw()
        cdef br_memory_frame frame
        frames = []

        while br_memory_peek(raw, &frame):
            frames.append(Frame(frame.data[:frame.len], None, offload_from_c(frame.offload)))
            br_memory_next(raw)
        return frames

    @property
    def pending(self):
        return br_memory_pending(self.open_raw())


cdef class Capture:
    cdef br_capture *raw
    cdef uint32_t interface[BR_PORTS_MAX]

    def __cinit__(self, *, int size=1 << 21):
        cdef int i

        check_range("size", size, BR_CAPTURE_LEAST, BR_CAPTURE_MOST)
        self.raw = <br_capture *>aligned_alloc(64, sizeof(br_capture))
        if self.raw is NULL:
            raise MemoryError
        error = br_capture_init(self.raw, size)
        if error:
            free(self.raw)
            self.raw = NULL
            raise fail(error)
        for i in range(BR_PORTS_MAX):
            self.interface[i] = BR_NO_INTERFACE

    def __dealloc__(self):
        if self.raw:
            br_capture_fini(self.raw)
            free(self.raw)

    def set_interface(self, int port, int number):
        check_range("port index", port, 0, BR_PORTS_MAX - 1)
        self.interface[port] = number if number >= 0 else BR_NO_INTERFACE

    def take(self, int limit=1 << 18):
        cdef br_capture_end end = BR_CAPTURE_EMPTY
        cdef uint16_t port = 0
        cdef uint32_t n
        cdef bytearray out = bytearray(limit)
        cdef uint8_t *at = out

        with nogil:
            n = br_capture_take(self.raw, self.interface, at, limit, &end, &port)
        del out[n:]
        return Taken(out, CAPTURE_ENDS[end], port)

    def wait(self, int milliseconds):
        cdef bint found

        with nogil:
            found = br_capture_wait(self.raw, milliseconds)
        return found

    def wake(self):
        br_capture_wake(self.raw)

    def stop(self):
        br_capture_stop(self.raw)

    def counts(self, int port):
        cdef uint64_t taken, lost

        check_range("port index", port, 0, BR_PORTS_MAX - 1)
        br_capture_counts(self.raw, port, &taken, &lost)
        return taken, lost


cdef class Snapshot:
    cdef br_snapshot *raw
    cdef list captures  # keeps them open as well
    cdef list ports  # keeps them open as long as this snapshot may be in use
    cdef bint applied  # from then on the data thread reads it

    def __cinit__(self):
        self.raw = <br_snapshot *>aligned_alloc(64, sizeof(br_snapshot))
        if self.raw is NULL:
            raise MemoryError
        memset(self.raw, 0, sizeof(br_snapshot))
        self.ports = []
        self.captures = []

    def __init__(self, *, int reserved_pass=0, static_move="drop", bint controlled=False, int age_ticks=300,
                 heartbeat_ports=(5404, 5405), waiting="balanced", full_table="evict", int mac_limit=0,
                 bint vrrp_aware=False, bint local_first=False, uint64_t own_address=0, uint64_t instance=0):
        cdef uint16_t udp

        check_range("reserved_pass", reserved_pass, 0, 0xFFFF)
        check_range("age_ticks", age_ticks, 0, 0x7FFF)
        check_range("mac_limit", mac_limit, 0, 0x7FFFFFFF)
        self.raw.reserved_pass = reserved_pass
        self.raw.static_forward = lookup({"drop": False, "forward": True}, "static_move", static_move)
        self.raw.controlled = controlled
        self.raw.evict = lookup({"evict": True, "refuse": False}, "full_table", full_table)
        self.raw.mac_limit = mac_limit
        self.raw.vrrp_aware = vrrp_aware
        self.raw.local_first = local_first
        self.raw.waiting = lookup(WAITING_NUMBERS, "waiting", waiting)
        self.raw.age_ticks = age_ticks
        self.raw.own_address = own_address
        self.raw.instance = instance
        for number in heartbeat_ports:
            check_range("heartbeat port", number, 1, 65535)
            udp = number
            br_udp_ports_add(&self.raw.heartbeat, udp)

    def __dealloc__(self):
        if self.raw:
            for i in range(BR_PORTS_MAX):
                free(self.raw.port[i].translation)
        free(self.raw)

    cdef int check_open(self) except -1:
        if self.applied:
            raise ValueError("the snapshot has been applied; make a new one")
        return 0

    def add_port(self, Port port not None, *, str mode, int pvid=0, vids=(), int tpid=0x8100, int mtu=1500, bint up=True,
                 bint learning=True, bint flood_unknown=True, bint flood_multicast=True, bint flood_broadcast=True,
                 bint isolated=False, int mac_limit=0, bint native_tagged=False, translations=(), priority_tags="never",
                 int default_pcp=0, int horizon=0, bint hairpin=False, direction="both", bint blocked=False):
        cdef br_port_config *config = &self.raw.port[port.index]
        cdef uint16_t vid

        self.check_open()
        if config.port:
            raise ValueError(f"port index {port.index} is in the snapshot already")
        check_range("pvid", pvid, 0 if mode == "trunk" else 1, VID_MAX)
        check_range("mtu", mtu, 68, 65535)
        check_range("mac_limit", mac_limit, 0, 0x7FFFFFFF)
        check_range("default_pcp", default_pcp, 0, 7)
        check_range("horizon", horizon, 0, 0xFFFF)
        if tpid not in (0x8100, 0x88A8):
            raise ValueError(f"tpid must be 0x8100 or 0x88a8, not {tpid:#x}")
        if blocked and up:
            raise ValueError("a blocked port is not up")
        config.mode = lookup(MODES, "mode", mode)
        members = tuple(vids) if mode == "trunk" else ()
        for member in members:
            if not 1 <= member <= VID_MAX:
                check_range("VID", member, 1, VID_MAX)
        config.priority_tags = lookup(PRIORITY_TAGS, "priority_tags", priority_tags)
        config.direction = lookup(DIRECTIONS, "direction", direction)
        if translations:
            self.translate(config, {pvid, *members} - {0}, translations)
        config.port = port.open_raw()
        config.pvid = pvid
        config.tpid = tpid
        config.mtu = mtu
        config.up = up
        config.blocked = blocked
        config.learning = learning
        config.isolated = isolated
        config.mac_limit = mac_limit
        config.bare = 0 if native_tagged else pvid
        config.untagged_tci = default_pcp << 13
        config.horizon = horizon
        config.hairpin = hairpin
        config.plain = up and config.translation is NULL and config.priority_tags == BR_PRIORITY_TAGS_NEVER
        if pvid:
            br_set_add(&self.raw.vlan[pvid], port.index)
        for vid in members:
            br_set_add(&self.raw.vlan[vid], port.index)
        if up and flood_unknown:
            br_set_add(&self.raw.flood[BR_FLOOD_UNKNOWN], port.index)
        if up and flood_multicast:
            br_set_add(&self.raw.flood[BR_FLOOD_MULTICAST], port.index)
        if up and flood_broadcast:
            br_set_add(&self.raw.flood[BR_FLOOD_BROADCAST], port.index)
        self.raw.port_index[self.raw.n_ports] = port.index
        self.raw.n_ports += 1
        br_reach_add(self.raw, port.index)
        self.ports.append(port)

    cdef int translate(self, br_port_config *config, set members, translations) except -1:
        """Every VLAN of the trunk gets its tags on the wire; those that `translations` does not name, their own VID."""
        cdef br_translation *translation = <br_translation *>calloc(1, sizeof(br_translation))
        cdef uint16_t outer, inner, vid

        if translation is NULL:
            raise MemoryError
        free(config.translation)  # of an attempt that failed
        config.translation = translation
        wires = {member: (member, 0) for member in members}
        for outer, inner, vid in translations:
            check_range("outer VID", outer, 1, VID_MAX)
            check_range("inner VID", inner, 0, VID_MAX)
            if config.mode != BR_MODE_TRUNK or vid not in members:
                raise ValueError(f"VLAN {vid} is not carried by the port and cannot be translated")
            wires[vid] = (outer, inner)
        for vid, (outer, inner) in wires.items():
            if br_translation_add(translation, outer, inner, vid):
                raise ValueError(f"VLAN {vid} cannot have the tags {outer}.{inner}: another VLAN has them, or the outer one alone")

    def secure_port(self, Port port not None, *, bint locked=False, allow=(), rules=()):
        cdef br_guards *guards = &self.raw.guards
        cdef br_guard_port *place = &guards.port[port.index]

        self.check_open()
        if self.raw.port[port.index].port is NULL:
            raise ValueError(f"port index {port.index} is not in the snapshot")
        allow, rules = list(allow), list(rules)
        check_range("number of allowed ranges", guards.n_allowed + len(allow), 0, BR_ALLOWED_MAX)
        check_range("number of guard rules", guards.n_rules + len(rules), 0, BR_GUARD_RULES_MAX)
        place.allowed = guards.n_allowed
        place.rule = guards.n_rules
        least = 0
        for first, last in allow:
            if not least <= first <= last <= 0xFFFFFFFFFFFF:
                raise ValueError(f"ranges must ascend and be apart, not {first:#x} to {last:#x}")
            guards.allowed[guards.n_allowed] = br_mac_range(first, last)
            guards.n_allowed += 1
            least = last + 1
        place.n_allowed = len(allow)
        for mac, address, length in sorted(rules, key=lambda rule: len(rule[1])):
            self.add_rule(mac, address, length)
            if len(address) == 4:
                place.n_ipv4 += 1
        place.n_ipv6 = len(rules) - place.n_ipv4
        self.raw.port[port.index].locked = locked
        self.raw.port[port.index].guarded = len(rules) > 0

    cdef int add_rule(self, object mac, bytes address, int length) except -1:
        cdef br_guard_rule *rule = &self.raw.guards.rule[self.raw.guards.n_rules]
        cdef object width = 8 * len(address)  # objects: shifts of 128 bits
        cdef object ones = 1
        cdef int word

        if width not in (32, 128):
            raise ValueError(f"an address has 4 or 16 bytes, not {len(address)}")
        check_range("prefix length", length, 0, width)
        if not 0 <= mac < 1 << 48:
            raise ValueError(f"MAC address must fit 48 bits, not {mac!r}")
        mask = (ones << width) - (ones << width - length)
        network = int.from_bytes(address, "big") & mask
        for word in range(2):
            rule.mask[word] = mask << 128 - width >> 64 * (1 - word) & (ones << 64) - 1
            rule.address[word] = network << 128 - width >> 64 * (1 - word) & (ones << 64) - 1
        rule.mac = mac
        self.raw.guards.n_rules += 1
        return 0

    def set_vlan_mac_limit(self, int vid, int limit):
        self.check_open()
        check_range("VID", vid, 1, VID_MAX)
        check_range("limit", limit, 0, 0x7FFFFFFF)
        self.raw.vlan_limit[vid] = limit

    def set_vlan_learning(self, int vid, bint learning):
        cdef uint64_t bit = <uint64_t>1 << (vid & 63)

        self.check_open()
        check_range("VID", vid, 1, VID_MAX)
        if learning:
            self.raw.vlan_learning_off[vid >> 6] &= ~bit
        else:
            self.raw.vlan_learning_off[vid >> 6] |= bit

    def add_budget(self, int serial, *, str unit, double rate, double burst, str action, classes=CLASS_NAMES, port=None,
                   int vid=0, uint64_t talker=0, floods=(), uint64_t calm=0):
        cdef br_budget budget

        self.check_open()
        check_range("number of budgets", self.raw.n_budgets + 1, 1, BR_BUDGETS_MAX)
        check_range("serial", serial, 1, 0x7FFFFFFF)
        check_range("VID", vid, 0, VID_MAX)
        if port is not None:
            check_range("port index", port, 0, BR_PORTS_MAX - 1)
        if not rate > 0 or not burst > 0:
            raise ValueError(f"rate and burst must be above 0, not {rate!r} and {burst!r}")
        budget.unit = lookup(BUDGET_UNITS, "unit", unit)
        budget.action = lookup(BUDGET_ACTIONS, "action", action)
        budget.classes = 0
        for name in classes:
            budget.classes |= 1 << lookup(CLASS_NUMBERS, "class", name)
        budget.serial = serial
        budget.port = BR_ANY_PORT if port is None else port
        budget.vid = vid
        budget.talker = talker
        budget.rate = rate
        budget.burst = burst
        budget.calm = calm
        budget.floods = 0
        for name in floods:
            budget.floods |= 1 << lookup(FLOOD_NUMBERS, "flood class", name)
        br_budget_add(self.raw, &budget)

    def add_mirror(self, int serial, *, target=None, Capture capture=None, ports=None, bint rx=True, bint tx=True, vids=None,
                   bint frames=True, bint drops=False, int snaplen=0, str unit="bits", double rate=0, double burst=1):
        cdef br_mirrors *mirrors = &self.raw.mirrors
        cdef br_mirror *mirror = &mirrors.mirror[mirrors.n]
        cdef uint8_t bit = 1 << mirrors.n
        cdef int i

        self.check_open()
        check_range("number of mirrors", mirrors.n + 1, 1, BR_MIRRORS_MAX)
        check_range("serial", serial, 1, 0x7FFFFFFF)
        if (target is None) == (capture is None):
            raise ValueError("a mirror has either a target or a capture")
        if snaplen:
            check_range("snaplen", snaplen, BR_MIRROR_SNAPLEN_MIN, 1 << 18)
        if not rate >= 0 or not burst > 0:
            raise ValueError(f"rate must be 0 or more and burst above 0, not {rate!r} and {burst!r}")
        sources = [port for port in range(BR_PORTS_MAX) if port != target] if ports is None else list(ports)
        for port in sources:
            check_range("port index", port, 0, BR_PORTS_MAX - 1)
        members = range(BR_VID_OTHER + 1) if vids is None else list(vids)
        for vid in members if vids is not None else ():
            check_range("VID", vid, 1, VID_MAX)
        mirror.by_frames = lookup(MIRROR_UNITS, "unit", unit)
        mirror.serial, mirror.snaplen, mirror.rate, mirror.burst = serial, snaplen, rate, burst
        mirror.queue = mirrors.n
        if capture is not None:
            mirror.capture = capture.raw
            self.captures.append(capture)
        else:
            check_range("port index", target, 0, BR_PORTS_MAX - 1)
            if self.raw.port[<int>target].port is NULL:
                raise ValueError(f"the target, port {target}, is not in the snapshot")
            mirror.target = target
            mirrors.to_port |= bit
            for i in range(mirrors.n - 1, -1, -1):
                if mirrors.mirror[i].capture is NULL and mirrors.mirror[i].target == mirror.target:
                    mirror.queue = i
        for port in sources:
            mirrors.at[BR_RX][<int>port] |= bit if rx else 0
            mirrors.at[BR_TX][<int>port] |= bit if tx else 0
        for vid in members:
            mirrors.vlan[<int>vid] |= bit
        mirrors.frames |= bit if frames else 0
        mirrors.drops |= bit if drops else 0
        mirrors.n += 1


cdef class Bridge:
    cdef br_bridge *raw
    cdef Snapshot snapshot
    cdef uint64_t lost_seen
    cdef readonly object thread_id

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
        error = br_port_open_tap(&raw, name, self.raw.thread.burst)
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
        error = br_port_open_replay(&raw, len(frames), max(map(len, frames), default=0), self.raw.thread.burst)
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

    # -- clock

    @property
    def tick(self):
        return br_fdb_tick(&self.raw.fdb)

    @tick.setter
    def tick(self, int value):
        br_fdb_set_tick(&self.raw.fdb, value & 0xFFFF)

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
        cdef uint16_t now = br_fdb_tick(&self.raw.fdb)
        cdef uint32_t index
        cdef br_fdb_entry entry
        cdef br_fdb_value value
        old = []
        changes = []

        for index in range(br_fdb_slots(&self.raw.fdb)):
            if br_fdb_read(&self.raw.fdb, index, &entry):
                value.word = entry.value
                if value.kind < BR_FDB_STATIC and <uint16_t>(now - value.tick) > max_age:
                    old.append(make_entry(entry))
                    changes.append((BR_FDB_EXPIRE, entry.key, 0, value.tick, 0))
        return [gone for gone, result in zip(old, self.change(changes), strict=True) if result == 0]

    def fdb_flush(self, *, port=None, vid=None):
        if port is not None:
            check_range("port index", port, 0, BR_PORTS_MAX - 1)
        if vid is not None:
            check_range("VID", vid, 1, VID_MAX)
        if port is None and vid is None:
            self.change([(BR_FDB_FLUSH_ALL, 0, 0, 0, 0)])
        elif vid is None:
            self.change([(BR_FDB_FLUSH_PORT, 0, port, 0, 0)])
        elif port is None:
            self.change([(BR_FDB_FLUSH_VLAN, vid, 0, 0, 0)])
        else:
            self.fdb_forget(port, (vid,))

    def fdb_forget(self, int port, vids):
        cdef bint wanted[VID_MAX + 1]
        cdef uint32_t index
        cdef br_fdb_entry entry
        cdef br_fdb_value value
        changes = []

        check_range("port index", port, 0, BR_PORTS_MAX - 1)
        memset(wanted, 0, sizeof(wanted))
        for vid in vids:
            check_range("VID", vid, 1, VID_MAX)
            wanted[<int>vid] = True
        for index in range(br_fdb_slots(&self.raw.fdb)):
            if br_fdb_read(&self.raw.fdb, index, &entry) and wanted[entry.key >> 48]:
                value.word = entry.value
                if value.port == port and value.kind < BR_FDB_STATIC:
                    changes.append((BR_FDB_FORGET, entry.key, port, 0, 0))
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
        cdef uint32_t slots = br_fdb_slots(&self.raw.fdb)
        cdef br_fdb_entry *entry = <br_fdb_entry *>malloc(slots * sizeof(br_fdb_entry))
        cdef uint32_t n

        if entry is NULL:
            raise MemoryError
        try:
            with nogil:
                n = br_fdb_copy(&self.raw.fdb, entry)
            return [make_entry(entry[i]) for i in range(n)]
        finally:
            free(entry)

    def fdb_find(self, vid, mac):
        cdef uint64_t key = make_key(vid, mac)
        cdef br_fdb_entry entry

        return make_entry(entry) if br_fdb_read_key(&self.raw.fdb, key, &entry) else None

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
                {"entries": n_entries, "capacity": self.raw.fdb.capacity},
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
                present = br_talkers_present(&self.raw.thread.bill, &self.raw.fdb)
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

        for index in range(br_fdb_slots(&self.raw.fdb)):
            if br_talker_present(&self.raw.thread.bill, &self.raw.fdb, index, &entry, &talker):
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
            BudgetState(raw[i].serial, raw[i].told, raw[i].tokens, raw[i].spent, raw[i].dropped, raw[i].n_over)
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


def cycles_now():
    return br_cycles_now()


cdef int CLOCK_JUMPS = [name for name, _ in THREAD_COUNTERS].index("clock_jumps")


cdef object make_event(br_event *raw):
    kind, vid, mac = EVENTS[raw.kind][0], raw.key >> 48, raw.key & 0xFFFFFFFFFFFF
    if raw.kind == BR_EVENT_source_guard:
        finding, address = GUARD_FINDINGS[raw.finding][0], raw.address[:raw.address_len]
        return Event(kind, vid, mac, raw.port, -1, 0, finding, address)
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
