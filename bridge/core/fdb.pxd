"""Declarations of csrc/fdb/ for Cython: only what this package uses."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t


cdef extern from "fdb/table.h" nogil:
    enum:
        BR_FDB_DYNAMIC
        BR_FDB_STICKY
        BR_FDB_STATIC
        BR_FDB_DROP

    union br_fdb_value:
        uint64_t word
        uint16_t port
        uint16_t tick
        uint8_t kind

    struct br_fdb_entry:
        uint64_t key
        uint64_t value

    struct br_fdb:
        uint32_t capacity
        uint64_t *secret

    uint16_t br_fdb_tick(const br_fdb *fdb)
    void br_fdb_set_tick(br_fdb *fdb, uint16_t tick)
    uint32_t br_fdb_slots(const br_fdb *fdb)
    uint32_t br_fdb_n_sticky(const br_fdb *fdb)
    uint64_t br_fdb_key(uint16_t vid, uint64_t mac)


cdef extern from "fdb/read.h" nogil:
    bint br_fdb_read(const br_fdb *fdb, uint32_t index, br_fdb_entry *copy)
    uint32_t br_fdb_copy(const br_fdb *fdb, br_fdb_entry *out) nogil
    bint br_fdb_read_key(const br_fdb *fdb, uint64_t key, br_fdb_entry *copy)
