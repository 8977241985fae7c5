"""Declarations of csrc/snapshot/ for Cython: only what this package uses."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from bridge.core.frame cimport br_beat_ports
from bridge.core.port cimport br_port


cdef extern from "snapshot/budget_rules.h" nogil:
    enum:
        BR_BUDGET_CYCLES
        BR_BUDGET_FRAMES
        BR_BUDGET_BITS
        BR_BUDGET_COUNT
        BR_BUDGET_DROP
        BR_BUDGET_STOP_LEARNING

    struct br_budget:
        uint32_t serial
        uint16_t port
        uint16_t vid
        uint64_t talker
        uint16_t classes
        uint8_t unit
        uint8_t action
        uint8_t floods
        double rate
        double burst
        uint64_t hold_off


cdef extern from "snapshot/translation.h" nogil:
    struct br_translation:
        pass

    int br_translation_add(br_translation *translation, uint16_t outer, uint16_t inner, uint16_t vid)


cdef extern from "snapshot/guard_rules.h" nogil:
    struct br_mac_range:
        uint64_t first
        uint64_t last

    struct br_guard_rule:
        uint64_t *address
        uint64_t *mask
        uint64_t mac

    struct br_guard_port:
        uint16_t allowed
        uint16_t n_allowed
        uint16_t rule
        uint16_t n_ipv4
        uint16_t n_ipv6

    struct br_guards:
        uint16_t n_allowed
        uint16_t n_rules
        br_guard_port *port
        br_mac_range *allowed
        br_guard_rule *rule


cdef extern from "snapshot/mirror_rules.h" nogil:
    struct br_mirror:
        uint32_t serial
        uint32_t snaplen
        void *capture  # struct br_capture: csrc/mirror/capture.h
        uint16_t target
        uint8_t queue
        bint by_frames
        double rate
        double burst

    struct br_mirrors:
        uint32_t n
        uint8_t to_port
        uint8_t frames
        uint8_t drops
        uint8_t[2][256] at
        uint8_t *vlan
        br_mirror *mirror

    uint8_t br_mirror_add(br_mirrors *mirrors, const br_mirror *mirror)


cdef extern from "snapshot/port_config.h" nogil:
    enum:
        BR_MODE_ACCESS
        BR_MODE_TRUNK
        BR_MODE_TUNNEL
        BR_PRIORITY_TAGS_NEVER
        BR_PRIORITY_TAGS_IF_NONZERO
        BR_PRIORITY_TAGS_ALWAYS
        BR_DIRECTION_BOTH
        BR_DIRECTION_INGRESS
        BR_DIRECTION_EGRESS
        BR_GUARD_BIT_SOURCE
        BR_GUARD_BIT_RA
        BR_GUARD_BIT_DHCP
        BR_FLOOD_UNKNOWN
        BR_FLOOD_MULTICAST
        BR_FLOOD_BROADCAST

    struct br_port_set:
        pass

    void br_set_add(br_port_set *set, uint16_t port)
    bint br_set_has(const br_port_set *set, uint16_t port)

    struct br_port_config:
        br_port *port
        uint32_t mtu
        uint32_t mac_limit
        uint16_t pvid
        uint16_t tpid
        uint8_t mode
        bint up
        bint learning
        bint isolated
        br_translation *translation
        uint16_t untagged_vid
        uint16_t untagged_tci
        uint16_t horizon
        uint8_t priority_tags
        uint8_t direction
        bint hairpin
        bint simple
        bint locked
        uint8_t guards
        bint blocked


cdef extern from "snapshot/heartbeat_rules.h" nogil:
    struct br_heartbeat_rules:
        br_beat_ports ports
        double rate
        double burst


cdef extern from "snapshot/snapshot.h" nogil:
    struct br_snapshot:
        uint16_t n_ports
        uint16_t *port_index
        uint16_t reserved_pass
        uint16_t age_ticks
        bint static_forward
        uint8_t waiting
        bint controlled
        bint evict
        bint vrrp_aware
        bint local_first
        uint32_t mac_limit
        br_port_set *denied_egress
        br_port_set *flood
        br_port_config *port
        br_port_set *vlan
        uint32_t *vlan_limit
        uint64_t *vlan_learning_off
        br_heartbeat_rules heartbeat
        br_guards guards
        uint64_t own_address
        uint64_t instance
        uint32_t n_budgets
        br_mirrors mirrors


cdef extern from "snapshot/may_leave.h" nogil:
    void br_may_leave_add(br_snapshot *snapshot, uint16_t index)


cdef extern from "snapshot/budget_rules.h" nogil:
    void br_budget_add(br_snapshot *snapshot, const br_budget *budget)
