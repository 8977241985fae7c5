"""Declarations of csrc/protect/ for Cython: only what this package uses."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t


cdef extern from "protect/probe.h" nogil:
    struct br_probe:
        uint64_t source
        uint64_t instance
        uint64_t nonce
        uint16_t port
        uint16_t vid
        uint32_t sequence

    void br_probe_write(uint8_t *frame, const br_probe *probe)
