"""Declarations of csrc/count/ for Cython: only what this package uses."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t


cdef extern from "count/bucket.h" nogil:
    struct br_bucket:
        double tokens


cdef extern from "count/counters.h" nogil:
    enum:
        BR_DROP_N
        BR_MISS_N
        BR_STAGE_N
        BR_EVENT_N
        BR_PORT_COUNTER_N
        BR_THREAD_COUNTER_N
        BR_CLASS_N
        BR_HISTOGRAM_N
        BR_WAITING_N
        BR_GUARD_N
        BR_PAIR_STATE_N
        BR_PAIR_STEP_N
        BR_MEMBER_COUNTER_N
        BR_OFFLOAD_PASS_N
        BR_EVENT_source_guard
        BR_EVENT_group_joined
        BR_EVENT_group_unregistered

    struct br_port_counters:
        uint64_t *value
        uint64_t *rx_drops
        uint64_t *tx_drops
        uint64_t *misses

    struct br_thread_counters:
        uint64_t *value
        uint64_t *stage_cycles


cdef extern from "count/limits.h" nogil:
    enum:
        BR_PORTS_MAX
        BR_ANY_PORT
        BR_BUDGETS_MAX
        BR_MIRRORS_MAX
        BR_MIRROR_SNAPLEN_MIN
        BR_ALLOWED_MAX
        BR_GUARD_RULES_MAX
        BR_CAPTURE_LEAST
        BR_CAPTURE_MOST


cdef extern from "count/names.h" nogil:
    struct br_name:
        const char *symbol
        const char *sentence

    const br_name *br_drop_names
    const br_name *br_miss_names
    const br_name *br_stage_names
    const br_name *br_class_names
    const br_name *br_histogram_names
    const br_name *br_waiting_names
    const br_name *br_event_names
    const br_name *br_port_counter_names
    const br_name *br_thread_counter_names
    const br_name *br_guard_names
    const br_name *br_pair_state_names
    const br_name *br_pair_step_names
    const br_name *br_member_counter_names
    const br_name *br_offload_pass_names


cdef extern from "count/event.h" nogil:
    struct br_event:
        uint64_t key
        uint16_t port
        uint16_t old_port
        uint16_t kind
        uint16_t error
        uint8_t finding
        uint8_t address_len
        uint8_t *address

    struct br_events:
        int fd
        uint32_t mask

    void br_events_renew(br_events *events)
    uint32_t br_events_waiting(const br_events *events)
    uint64_t br_events_lost(const br_events *events)
    uint32_t br_events_take(br_events *events, br_event *out, uint32_t cap)


cdef extern from "count/cycles.h" nogil:
    uint64_t br_cycles_now()


cdef extern from "count/histogram.h" nogil:
    enum:
        BR_HISTOGRAM_BUCKETS

    struct br_histogram:
        uint64_t *bucket

    uint64_t br_histogram_bound(uint32_t index)
