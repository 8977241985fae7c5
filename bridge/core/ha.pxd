"""Declarations of csrc/ha/ and of csrc/thread/ha.h for Cython: only what this package uses."""

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t

from bridge.core.thread cimport br_bridge


cdef extern from "ha/beacon.h" nogil:
    enum:
        BR_BEACON_LEN
        BR_BEACON_KEY_MIN
        BR_BEACON_KEY_MAX
        BR_BEACON_GRANTED
        BR_BEACON_ELIGIBLE
        BR_BEACON_RELEASED
        BR_BEACON_WANTS
        BR_BEACON_LEFT
        BR_BEACON_FINE
        BR_BEACON_NONE
        BR_BEACON_CUT
        BR_BEACON_OTHER_VERSION
        BR_BEACON_FORGED

    struct br_beacon:
        uint64_t pair
        uint64_t sender
        uint64_t session
        uint64_t sequence
        uint64_t epoch
        uint64_t heard_sender
        uint64_t heard_session
        uint8_t flags
        uint8_t priority

    struct br_beacon_key:
        uint8_t len
        uint8_t *byte

    void br_beacon_write(uint8_t *frame, uint64_t source, const br_beacon *beacon, const br_beacon_key *key)
    int br_beacon_read(const uint8_t *frame, size_t len, const br_beacon_key *key, br_beacon *beacon)


cdef extern from "ha/pair.h" nogil:
    enum:
        BR_PAIR_PEERS_MAX
        BR_PAIR_active
        BR_PAIR_RANK_NS
        BR_PAIR_RELEASE_NS

    struct br_pair_config:
        uint64_t pair
        uint64_t self "self"
        uint64_t session
        uint64_t interval
        uint64_t preempt
        uint8_t priority

    struct br_pair_peer:
        uint64_t id
        uint64_t session
        uint64_t sequence
        uint64_t epoch
        uint64_t heard
        uint64_t granted
        uint8_t priority
        bint eligible
        bint hears
        bint lost

    struct br_pair:
        br_pair_config config
        int state
        uint64_t epoch
        uint64_t until
        uint64_t entered
        uint64_t gap
        bint healthy
        bint held
        br_pair_peer *peer

    void br_pair_init(br_pair *pair, const br_pair_config *config, uint64_t now)
    void br_pair_remember(br_pair *pair, uint64_t id, uint64_t session, uint64_t sequence)
    uint32_t br_pair_hear(br_pair *pair, uint64_t now, const br_beacon *beacon)
    uint32_t br_pair_tick(br_pair *pair, uint64_t now)
    uint32_t br_pair_set_health(br_pair *pair, uint64_t now, bint healthy)
    uint32_t br_pair_hold(br_pair *pair, uint64_t now, bint held)
    int br_pair_release(br_pair *pair, uint64_t now, uint32_t *todo)
    void br_pair_write(br_pair *pair, uint64_t now, br_beacon *beacon)
    void br_pair_sent(br_pair *pair, uint64_t now, uint32_t n)
    uint64_t br_pair_next(const br_pair *pair, uint64_t now)


cdef extern from "ha/gate.h" nogil:
    struct br_gate_page:
        int fd

    uint64_t br_gate_clock()
    void br_gate_open(br_gate_page *page, uint64_t epoch, uint64_t until)
    void br_gate_close(br_gate_page *page)
    uint64_t br_gate_until(const br_gate_page *page)
    uint64_t br_gate_epoch(const br_gate_page *page)
    uint64_t br_gate_progress(const br_gate_page *page)


cdef extern from "ha/member.h" nogil:
    enum:
        BR_MEMBER_PATHS

    struct br_member_counters:
        uint64_t *value


cdef extern from "thread/ha.h" nogil:
    enum:
        BR_PAIR_READ
        BR_PAIR_HEALTHY
        BR_PAIR_SICK
        BR_PAIR_HOLD
        BR_PAIR_RESUME
        BR_PAIR_SWITCH

    struct br_pair_start:
        br_pair_config config
        br_beacon_key key
        uint64_t source
        uint32_t n_paths
        int *path
        uint32_t n_remembered
        uint64_t (*remembered)[3]

    struct br_pair_state_copy:
        br_pair pair
        br_member_counters counters

    br_gate_page *br_bridge_gate_page(const br_bridge *bridge)
    int br_bridge_gate(br_bridge *bridge, bint gated)
    int br_bridge_pair_start(br_bridge *bridge, const br_pair_start *start)
    int br_bridge_pair_paths(br_bridge *bridge, const int *path, uint32_t n_paths)
    void br_bridge_pair_stop(br_bridge *bridge)
    int br_bridge_pair(br_bridge *bridge, int verb, br_pair_state_copy *copy)
