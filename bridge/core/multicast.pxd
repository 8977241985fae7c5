"""Declarations of csrc/multicast/ and csrc/thread/multicast.h for Cython: only what this package uses."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from bridge.core.snapshot cimport br_port_set
from bridge.core.thread cimport br_bridge


cdef extern from "multicast/membership.h" nogil:
    enum:
        BR_GROUP_LEN
        BR_GROUP_MAC
        BR_GROUP_IPV4
        BR_GROUP_IPV6
        BR_MEMBERSHIP_NONE
        BR_MEMBERSHIP_INVALID
        BR_MEMBERSHIP_RECORDS

    enum br_record_verb:
        pass

    struct br_membership:
        uint8_t kind
        uint8_t family
        uint8_t version
        bint is_general
        uint16_t time
        uint8_t *group
        uint8_t *source

    void br_membership_read(const uint8_t *data, uint32_t len, bint is_open, br_membership *out)
    bint br_membership_record(const uint8_t *data, br_membership *report, br_record_verb *verb)
    bint br_group_is_prunable(uint8_t family, const uint8_t *group)


cdef extern from "multicast/groups.h" nogil:
    enum:
        BR_GROUPS_RATE
        BR_GROUP_ONLY
        BR_GROUP_FLOOD
        BR_SNOOPING_OFF
        BR_SNOOPING_WATCH
        BR_SNOOPING_ON

    struct br_snoop_config:
        uint8_t snooping
        bint pruning
        bint to_routers
        uint32_t group_limit
        br_port_set always
        br_port_set reports
        br_port_set guarded

    struct br_spared:
        uint64_t frames
        uint64_t copies
        double cycles

    struct br_snoop_row:
        bint is_open
        uint32_t n_groups
        bint *full
        br_port_set *over
        br_spared spared

    struct br_group:
        uint8_t *address
        uint16_t vid
        uint8_t family
        uint8_t flags
        uint8_t version
        uint16_t tick
        uint64_t reporter
        br_port_set learned
        br_port_set fixed
        br_port_set missed


cdef extern from "thread/multicast.h" nogil:
    enum:
        BR_GROUP_FIX
        BR_GROUP_DROP
        BR_GROUP_FORGET
        BR_GROUP_ASK
        BR_GROUP_CLOSE
        BR_GROUP_ASK_ONE
        BR_GROUP_CLOSE_ONE
        BR_GROUP_LIMIT
        BR_GROUP_ANY_FAMILY

    struct br_snooping_change:
        uint16_t vid
        uint8_t family
        int result
        br_snoop_config config

    struct br_group_change:
        uint8_t verb
        uint8_t family
        uint8_t flags
        uint16_t vid
        uint16_t port
        uint32_t n
        uint8_t *address
        br_port_set ports
        int result

    int br_bridge_groups(br_bridge *bridge, uint32_t capacity)
    void br_bridge_snoop(br_bridge *bridge, br_snooping_change *change, uint32_t n)
    void br_bridge_group_changes(br_bridge *bridge, br_group_change *change, uint32_t n)
    uint32_t br_bridge_read_groups(br_bridge *bridge, br_group *out, uint32_t cap)
    bint br_bridge_read_row(br_bridge *bridge, uint16_t vid, uint8_t family, br_snoop_row *out)
