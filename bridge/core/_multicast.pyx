"""Groups: the parser of IGMP and MLD by itself, and the table of groups of a bridge.

What each name means is in _multicast.pyi. Compiled into the extension file of _core (see setup.py).
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from bridge.core._core cimport Bridge
from bridge.core._handles cimport VID_MAX, check_range, fail, lookup
from bridge.core.count cimport *
from bridge.core.frame cimport *
from bridge.core.multicast cimport *
from bridge.core.snapshot cimport br_port_set, br_set_add, br_set_has

from bridge.core.values import GroupEntry, Membership, SnoopState

GROUPS_RATE = BR_GROUPS_RATE
JOINS = ("known", "new", "port_limit", "vlan_limit", "full")
cdef tuple KINDS = ("none", "invalid", "query", "join", "leave", "records", "router")
cdef tuple VERBS = ("nothing", "join", "leave")
cdef dict SNOOPING = {"off": BR_SNOOPING_OFF, "watch": BR_SNOOPING_WATCH, "on": BR_SNOOPING_ON}
cdef dict FAMILIES = {0: BR_GROUP_MAC, 4: BR_GROUP_IPV4, 6: BR_GROUP_IPV6}
cdef dict FAMILY_NUMBERS = {number: family for family, number in FAMILIES.items()}
cdef dict LENGTHS = {0: 6, 4: 4, 6: 16}
cdef dict CHANGES = {
    "fix": BR_GROUP_FIX,
    "drop": BR_GROUP_DROP,
    "forget": BR_GROUP_FORGET,
    "ask": BR_GROUP_ASK,
    "close": BR_GROUP_CLOSE,
    "ask_one": BR_GROUP_ASK_ONE,
    "close_one": BR_GROUP_CLOSE_ONE,
    "limit": BR_GROUP_LIMIT,
}
GROUP_VERBS = tuple(CHANGES)


cdef frozenset ports_of(const br_port_set *ports):
    return frozenset(port for port in range(BR_PORTS_MAX) if br_set_has(ports, port))


cdef int add_ports(br_port_set *raw, ports) except -1:
    for port in ports:
        check_range("port index", port, 0, BR_PORTS_MAX - 1)
        br_set_add(raw, port)
    return 0


cdef int put_address(uint8_t *raw, int family, bytes address) except -1:
    if len(address) != LENGTHS[family]:
        raise ValueError(f"a group of family {family} has {LENGTHS[family]} bytes, not {len(address)}")
    memcpy(raw, <const char *>address, len(address))
    return 0


def read_membership(bytes frame not None, *, bint is_open=False):
    cdef br_membership raw
    cdef br_record_verb verb
    cdef int length
    cdef list records = []

    check_range("length of a frame", len(frame), BR_ETH_HLEN, 1 << 16)
    br_membership_read(<const uint8_t *>frame, len(frame), is_open, &raw)
    if raw.kind <= BR_MEMBERSHIP_INVALID:
        return Membership(KINDS[raw.kind])
    family = FAMILY_NUMBERS[raw.family]
    length = LENGTHS[family]
    group, source = raw.group[:length], raw.source[:length]
    while raw.kind == BR_MEMBERSHIP_RECORDS and br_membership_record(<const uint8_t *>frame, &raw, &verb):
        records.append((VERBS[<int>verb], raw.group[:length]))
    return Membership(KINDS[raw.kind], family, raw.version, bool(raw.is_general), raw.time, group, source, tuple(records))


def is_prunable(int family, bytes group not None):
    cdef uint8_t address[BR_GROUP_LEN]

    memset(address, 0, sizeof(address))
    put_address(address, family, group)
    return bool(br_group_is_prunable(lookup(FAMILIES, "family", family), address))


# -- of a bridge ----------------------------------------------------------------------------------------


def open_groups(Bridge bridge not None, int capacity):
    cdef int error

    check_range("capacity", capacity, 1, 1 << 20)
    with nogil:
        error = br_bridge_groups(bridge.raw, capacity)
    if error:
        raise fail(error)


cdef int put_rules(br_snooping_change *raw, int vid, int family, rules) except -1:
    check_range("VID", vid, 1, VID_MAX)
    check_range("group_limit", rules.group_limit, 0, 1 << 20)
    raw.vid, raw.family = vid, lookup(FAMILIES, "family", family)
    raw.config.snooping = lookup(SNOOPING, "snooping", rules.snooping)
    raw.config.pruning, raw.config.to_routers = rules.pruning, rules.to_routers
    raw.config.group_limit = rules.group_limit
    add_ports(&raw.config.always, rules.always)
    add_ports(&raw.config.reports, rules.reports)
    return add_ports(&raw.config.guarded, rules.guarded)


def set_snooping(Bridge bridge not None, rules):
    cdef list wanted = list(rules)
    cdef uint32_t n = len(wanted)
    cdef uint32_t i
    cdef br_snooping_change *raw = <br_snooping_change *>calloc(n or 1, sizeof(br_snooping_change))

    if raw is NULL:
        raise MemoryError
    try:
        for i in range(n):
            vid, family, one = wanted[i]
            put_rules(&raw[i], vid, family, one)
        with nogil:
            br_bridge_snoop(bridge.raw, raw, n)
        for i in range(n):
            if raw[i].result:
                raise fail(raw[i].result)
    finally:
        free(raw)


cdef int put_change(br_group_change *raw, change) except -1:
    raw.verb = lookup(CHANGES, "verb", change.verb)
    check_range("VID", change.vid, 0, VID_MAX)
    check_range("limit", change.limit, 0, 1 << 20)
    raw.vid, raw.n = change.vid, change.limit
    raw.family = BR_GROUP_ANY_FAMILY
    if change.family is not None:
        raw.family = lookup(FAMILIES, "family", change.family)
    if change.address:
        put_address(raw.address, change.family, change.address)
    raw.port = BR_ANY_PORT
    if change.port is not None:
        check_range("port index", change.port, 0, BR_PORTS_MAX - 1)
        raw.port = change.port
    raw.flags = (BR_GROUP_ONLY if change.only else 0) | (BR_GROUP_FLOOD if change.flooded else 0)
    return add_ports(&raw.ports, change.ports)


def change_groups(Bridge bridge not None, changes):
    cdef list wanted = list(changes)
    cdef uint32_t n = len(wanted)
    cdef uint32_t i
    cdef br_group_change *raw = <br_group_change *>calloc(n or 1, sizeof(br_group_change))

    if raw is NULL:
        raise MemoryError
    try:
        for i in range(n):
            put_change(&raw[i], wanted[i])
        with nogil:
            br_bridge_group_changes(bridge.raw, raw, n)
        return [raw[i].result for i in range(n)]
    finally:
        free(raw)


cdef object group_from_c(const br_group *raw):
    family = FAMILY_NUMBERS[raw.family]
    return GroupEntry(
        raw.vid, family, raw.address[:<int>LENGTHS[family]], ports_of(&raw.learned), ports_of(&raw.fixed),
        ports_of(&raw.missed), bool(raw.flags & BR_GROUP_ONLY), bool(raw.flags & BR_GROUP_FLOOD), raw.version, raw.tick,
        raw.reporter,
    )


def read_groups(Bridge bridge not None):
    cdef uint32_t n = 0
    cdef uint32_t i
    cdef uint32_t cap = 0 if bridge.raw.thread.groups is NULL else bridge.raw.thread.groups.capacity
    cdef br_group *raw = <br_group *>calloc(cap or 1, sizeof(br_group))

    if raw is NULL:
        raise MemoryError
    try:
        with nogil:
            n = br_bridge_read_groups(bridge.raw, raw, cap)
        return [group_from_c(&raw[i]) for i in range(n)]
    finally:
        free(raw)


def read_snooping(Bridge bridge not None, int vid, int family):
    cdef br_snoop_row row
    cdef uint8_t number = lookup(FAMILIES, "family", family)
    cdef bint is_there

    check_range("VID", vid, 1, VID_MAX)
    with nogil:
        is_there = br_bridge_read_row(bridge.raw, vid, number, &row)
    if not is_there:
        return None
    return SnoopState(
        bool(row.is_open), row.n_groups, bool(row.full[0] or row.full[1]), ports_of(&row.over[0]) | ports_of(&row.over[1]),
        row.spared.frames, row.spared.copies, row.spared.cycles,
    )
