"""Declarations of csrc/pipeline/ for Cython: only what this package uses."""

from libc.stdint cimport int16_t, uint8_t, uint16_t, uint32_t

from bridge.core.account cimport br_bill
from bridge.core.batch cimport br_batch
from bridge.core.fdb cimport br_fdb


cdef extern from "multicast/groups.h" nogil:
    struct br_groups:
        uint32_t capacity


cdef extern from "pipeline/state.h" nogil:
    struct br_thread:
        br_batch batch
        br_fdb fdb
        br_bill bill
        br_groups *groups


cdef extern from "pipeline/originate.h" nogil:
    struct br_origination:
        const uint8_t *data
        uint32_t len
        uint16_t port
        uint16_t vid
        int16_t result
