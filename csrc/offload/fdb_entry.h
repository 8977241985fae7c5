/*
 * fdb_entry.h - the shape of an FDB entry, for who reads the table: the core (fdb/fdb.h) and the programs in the kernel
 * (offload/unicast.bpf.c).
 *
 * Reading from outside the data thread: the value is stored before the key, so a reader checks the key twice.
 */
#ifndef BR_OFFLOAD_FDB_ENTRY_H
#define BR_OFFLOAD_FDB_ENTRY_H

#include <stdbool.h>
#include <stdint.h>

enum { BR_FDB_WAYS = 4 };

enum br_fdb_kind { BR_FDB_DYNAMIC, BR_FDB_STICKY, BR_FDB_STATIC, BR_FDB_DROP };

union br_fdb_value {
    uint64_t word;
    struct {
        uint16_t port;
        uint16_t port_generation;
        uint16_t tick;
        uint8_t vlan_generation;
        uint8_t kind;
    };
};

struct br_fdb_entry {
    uint64_t key; /* VID in bits 48..59, MAC below; 0: free */
    uint64_t value;
};

/* What a key's hash leads to. */
struct br_fdb_bucket {
    struct br_fdb_entry way[BR_FDB_WAYS];
};

_Static_assert(sizeof(struct br_fdb_entry) == 16, "four entries are one cache line");
_Static_assert(sizeof(union br_fdb_value) == 8, "a value is read and written as one word");

#endif
