"""A snapshot: the whole configuration of the data plane, written down piece by piece and then applied as one.

What each name means is in _snapshot.pyi. Compiled into the extension file of _core (see setup.py).
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from bridge.core._handles cimport VID_MAX, Capture, Port, check_range, lookup
from bridge.core.account cimport *
from bridge.core.count cimport *
from bridge.core.frame cimport *
from bridge.core.memory cimport *
from bridge.core.snapshot cimport *

from bridge.declared import CLASSES, WAITINGS

cdef dict MODES = {"access": BR_MODE_ACCESS, "trunk": BR_MODE_TRUNK, "tunnel": BR_MODE_TUNNEL}
cdef dict PRIORITY_TAGS = {
    "never": BR_PRIORITY_TAGS_NEVER,
    "if_nonzero": BR_PRIORITY_TAGS_IF_NONZERO,
    "always": BR_PRIORITY_TAGS_ALWAYS,
}
cdef dict DIRECTIONS = {"both": BR_DIRECTION_BOTH, "ingress": BR_DIRECTION_INGRESS, "egress": BR_DIRECTION_EGRESS}
cdef dict CLASS_NUMBERS = {name: number for number, name in enumerate(CLASSES)}
cdef dict BUDGET_UNITS = {"cycles": BR_BUDGET_CYCLES, "frames": BR_BUDGET_FRAMES, "bits": BR_BUDGET_BITS}
cdef dict BUDGET_ACTIONS = {
    "count": BR_BUDGET_COUNT,
    "drop": BR_BUDGET_DROP,
    "stop_learning": BR_BUDGET_STOP_LEARNING,
}
cdef dict MIRROR_UNITS = {"frames": True, "bits": False}
cdef dict FLOOD_NUMBERS = {
    "unknown": BR_FLOOD_UNKNOWN,
    "multicast": BR_FLOOD_MULTICAST,
    "broadcast": BR_FLOOD_BROADCAST,
}
cdef dict WAITING_NUMBERS = {name: number for number, name in enumerate(WAITINGS)}


cdef class Snapshot:
    def __cinit__(self):
        self.raw = <br_snapshot *>aligned_alloc(64, sizeof(br_snapshot))
        if self.raw is NULL:
            raise MemoryError
        memset(self.raw, 0, sizeof(br_snapshot))
        self.ports = []
        self.captures = []

    def __init__(self, *, int reserved_pass=0, static_move="drop", bint controlled=False, int age_ticks=300,
                 heartbeat_ports=(5404, 5405), broadcast_ports=(), double heartbeat_rate=0, double heartbeat_burst=0,
                 waiting="balanced", full_table="evict", int mac_limit=0,
                 bint vrrp_aware=False, bint local_first=False, uint64_t own_address=0, uint64_t instance=0):
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
        if not heartbeat_rate >= 0 or not heartbeat_burst >= 0:
            raise ValueError(f"rate and burst of heartbeats are 0 or more, not {heartbeat_rate!r} and {heartbeat_burst!r}")
        self.raw.heartbeat.rate = heartbeat_rate
        self.raw.heartbeat.burst = heartbeat_burst
        br_beat_ports_begin(&self.raw.heartbeat.ports)
        for number in (*heartbeat_ports, *broadcast_ports):
            check_range("heartbeat port", number, 1, 65535)
            br_beat_ports_add(&self.raw.heartbeat.ports, <int>number, number in broadcast_ports)

    def __dealloc__(self):
        if self.raw:
            for i in range(BR_PORTS_MAX):
                free(self.raw.port[i].translation)
        free(self.raw)

    cdef int check_open(self) except -1:
        if self.applied:
            raise ValueError("the snapshot has been applied; make a new one")
        return 0

    def add_port(self, Port port not None, row not None):
        cdef br_port_config *config = &self.raw.port[port.index]
        cdef uint16_t vid

        self.check_open()
        if config.port:
            raise ValueError(f"port index {port.index} is in the snapshot already")
        check_range("pvid", row.pvid, 0 if row.mode == "trunk" else 1, VID_MAX)
        check_range("mtu", row.mtu, 68, 65535)
        check_range("mac_limit", row.mac_limit, 0, 0x7FFFFFFF)
        check_range("default_pcp", row.default_pcp, 0, 7)
        check_range("horizon", row.horizon, 0, 0xFFFF)
        if row.tpid not in (0x8100, 0x88A8):
            raise ValueError(f"tpid must be 0x8100 or 0x88a8, not {row.tpid:#x}")
        if row.blocked and row.up:
            raise ValueError("a blocked port is not up")
        config.mode = lookup(MODES, "mode", row.mode)
        members = tuple(row.vids) if row.mode == "trunk" else ()
        for member in members:
            if not 1 <= member <= VID_MAX:
                check_range("VID", member, 1, VID_MAX)
        config.priority_tags = lookup(PRIORITY_TAGS, "priority_tags", row.priority_tags)
        config.direction = lookup(DIRECTIONS, "direction", row.direction)
        if row.translations:
            self.translate(config, {row.pvid, *members} - {0}, row.translations)
        config.port = port.open_raw()
        config.pvid = row.pvid
        config.tpid = row.tpid
        config.mtu = row.mtu
        config.up = row.up
        config.blocked = row.blocked
        config.learning = row.learning
        config.isolated = row.isolated
        config.mac_limit = row.mac_limit
        config.untagged_vid = 0 if row.native_tagged else row.pvid
        config.untagged_tci = <uint16_t>(<int>row.default_pcp << 13)
        config.horizon = row.horizon
        config.hairpin = row.hairpin
        config.simple = row.up and config.translation is NULL and config.priority_tags == BR_PRIORITY_TAGS_NEVER
        for vid in members if row.pvid == 0 else (row.pvid, *members):
            br_set_add(&self.raw.vlan[vid], port.index)
        for flood, is_on in (
            (BR_FLOOD_UNKNOWN, row.flood_unknown),
            (BR_FLOOD_MULTICAST, row.flood_multicast),
            (BR_FLOOD_BROADCAST, row.flood_broadcast),
        ):
            if row.up and is_on:
                br_set_add(&self.raw.flood[<int>flood], port.index)
        self.raw.port_index[self.raw.n_ports] = port.index
        self.raw.n_ports += 1
        br_may_leave_add(self.raw, port.index)
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

    def secure_port(self, Port port not None, *, bint locked=False, allow=(), rules=(),
                    bint ra_guard=False, bint dhcp_guard=False):
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
        self.raw.port[port.index].guards = (
            (BR_GUARD_BIT_SOURCE if rules else 0)
            | (BR_GUARD_BIT_RA if ra_guard else 0)
            | (BR_GUARD_BIT_DHCP if dhcp_guard else 0)
        )

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

    def reaches(self, int ingress, int egress):
        check_range("port index", ingress, 0, BR_PORTS_MAX - 1)
        check_range("port index", egress, 0, BR_PORTS_MAX - 1)
        return not br_set_has(&self.raw.denied_egress[ingress], egress)

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

    def add_budget(self, int serial, *, str unit, double rate, double burst, str action, classes=CLASSES, port=None,
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
        budget.hold_off = calm
        budget.floods = 0
        for name in floods:
            budget.floods |= 1 << lookup(FLOOD_NUMBERS, "flood class", name)
        br_budget_add(self.raw, &budget)

    def add_mirror(self, row not None):
        cdef br_mirrors *mirrors = &self.raw.mirrors
        cdef br_mirror mirror
        cdef Capture capture = row.capture
        cdef uint8_t bit

        self.check_open()
        check_range("number of mirrors", mirrors.n + 1, 1, BR_MIRRORS_MAX)
        check_range("serial", row.serial, 1, 0x7FFFFFFF)
        if (row.target is None) == (capture is None):
            raise ValueError("a mirror has either a target or a capture")
        if row.snaplen:
            check_range("snaplen", row.snaplen, BR_MIRROR_SNAPLEN_MIN, 1 << 18)
        if not row.rate >= 0 or not row.burst > 0:
            raise ValueError(f"rate must be 0 or more and burst above 0, not {row.rate!r} and {row.burst!r}")
        ports = list(row.ports)
        for port in ports if row.target is None else (*ports, row.target):
            check_range("port index", port, 0, BR_PORTS_MAX - 1)
        vids = range(BR_VID_OTHER + 1) if row.vids is None else list(row.vids)
        for vid in vids if row.vids is not None else ():
            check_range("VID", vid, 1, VID_MAX)
        if row.target is not None and self.raw.port[<int>row.target].port is NULL:
            raise ValueError(f"the target, port {row.target}, is not in the snapshot")
        memset(&mirror, 0, sizeof(mirror))
        mirror.by_frames = lookup(MIRROR_UNITS, "unit", row.unit)
        mirror.serial, mirror.snaplen, mirror.rate, mirror.burst = row.serial, row.snaplen, row.rate, row.burst
        if capture is not None:
            mirror.capture = capture.raw
            self.captures.append(capture)
        else:
            mirror.target = row.target
        bit = br_mirror_add(mirrors, &mirror)
        for port in ports:
            mirrors.at[BR_RX][<int>port] |= bit if row.rx else 0
            mirrors.at[BR_TX][<int>port] |= bit if row.tx else 0
        for vid in vids:
            mirrors.vlan[<int>vid] |= bit
        mirrors.frames |= bit if row.frames else 0
        mirrors.drops |= bit if row.drops else 0
