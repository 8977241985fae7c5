"""Declarations of csrc/account/ for Cython: only what this package uses."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from bridge.core.count cimport br_bucket, br_histogram, br_thread_counters
from bridge.core.fdb cimport br_fdb, br_fdb_entry


cdef extern from "account/bill.h" nogil:
    enum:
        BR_VID_OTHER

    struct br_sum:
        uint64_t direct
        uint64_t induced
        uint64_t frames
        uint64_t segments
        uint64_t bytes
        uint64_t copies

    struct br_charge:
        uint32_t serial
        uint16_t port
        uint16_t vid
        uint8_t frame_class "class"
        br_sum sum

    struct br_talker:
        uint64_t key
        br_sum sum

    struct br_slow:
        uint64_t stamp
        uint64_t cycles
        uint64_t *stage
        uint32_t frames
        uint16_t port

    struct br_bill:
        br_talker *talker
        uint64_t talked

    struct br_bill_copy:
        uint64_t stamp
        br_thread_counters thread
        long long uncharged
        uint64_t talked
        uint32_t n_charges
        uint32_t n_slow
        br_histogram *histogram
        br_slow *slow
        br_charge *charge

    bint br_talker_present(const br_bill *bill, const br_fdb *fdb, uint32_t index, br_fdb_entry *entry, br_talker *copy)
    uint64_t br_talkers_present(const br_bill *bill, const br_fdb *fdb)


cdef extern from "account/budget.h" nogil:
    struct br_budget_state:
        uint32_t serial
        bint reported
        br_bucket bucket
        uint64_t spent
        uint64_t dropped
        uint64_t n_over
