"""Declarations of csrc/batch/ for Cython: only what this package uses."""

from libc.stdint cimport uint32_t


cdef extern from "batch/batch.h" nogil:
    struct br_batch:
        uint32_t burst
