"""Declarations of csrc/thread/ for Cython: only what this package uses."""

from libc.stdint cimport int16_t, uint8_t, uint16_t, uint32_t, uint64_t

from bridge.core.account cimport br_bill_copy, br_budget_state
from bridge.core.count cimport br_events, br_port_counters, br_thread_counters
from bridge.core.mirror cimport br_mirror_state
from bridge.core.offload cimport br_offload_maps
from bridge.core.pipeline cimport br_origination, br_thread
from bridge.core.port cimport br_port
from bridge.core.snapshot cimport br_snapshot


cdef extern from "thread/bridge.h" nogil:
    struct br_bridge:
        br_thread thread
        br_events events
        bint running
        uint32_t last_serial

    int br_bridge_init(br_bridge *bridge, uint32_t fdb_capacity, uint32_t burst, uint32_t events,
                       const uint64_t *secret)
    void br_bridge_fini(br_bridge *bridge)
    int br_bridge_run(br_bridge *bridge)
    void br_bridge_stop(br_bridge *bridge)
    int br_bridge_turn(br_bridge *bridge)
    void br_bridge_wake(br_bridge *bridge)
    uint64_t br_bridge_progress(const br_bridge *bridge)


cdef extern from "thread/changes.h" nogil:
    enum:
        BR_FDB_SET
        BR_FDB_DELETE
        BR_FDB_FORGET
        BR_FDB_EXPIRE
        BR_FDB_RESTORE
        BR_FDB_FLUSH_PORT
        BR_FDB_FLUSH_VLAN
        BR_FDB_FLUSH_ALL

    struct br_fdb_change:
        uint64_t key
        uint16_t port
        uint16_t tick
        uint8_t verb
        uint8_t kind
        int16_t result

    int br_bridge_apply(br_bridge *bridge, const br_snapshot *snapshot)
    void br_bridge_originate(br_bridge *bridge, br_origination *frame, uint32_t n)
    void br_bridge_shift_clock(br_bridge *bridge, long long cycles)
    void br_bridge_close(br_bridge *bridge, br_port *port)
    int br_bridge_share(br_bridge *bridge, br_offload_maps *offload)
    void br_bridge_fdb(br_bridge *bridge, br_fdb_change *change, uint32_t n)


cdef extern from "thread/readout.h" nogil:
    uint32_t br_bridge_counters(br_bridge *bridge, const uint16_t *index, uint32_t n, br_port_counters *out,
                            br_thread_counters *thread)
    void br_bridge_bill(br_bridge *bridge, br_bill_copy *copy)
    void br_bridge_clear_slow(br_bridge *bridge)
    void br_bridge_budgets(br_bridge *bridge, br_budget_state *out)
    void br_bridge_mirrors(br_bridge *bridge, br_mirror_state *out)
