/* fdb/read.c - see fdb/read.h. */
#include "fdb/read.h"

#include <stdlib.h>

/* As br_fdb_live, in another thread than the one that changes generations. */
static bool br_fdb_seems_live(const struct br_fdb *fdb, uint64_t key, union br_fdb_value value)
{
    return value.kind != BR_FDB_DYNAMIC ||
           (value.port_generation == __atomic_load_n(&fdb->port_generation[value.port], __ATOMIC_RELAXED) &&
            value.vlan_generation == __atomic_load_n(&fdb->vlan_generation[key >> 48], __ATOMIC_RELAXED));
}

bool br_fdb_read(const struct br_fdb *fdb, uint32_t index, struct br_fdb_entry *copy)
{
    const struct br_fdb_entry *entry = &fdb->entry[index];

    copy->key = __atomic_load_n(&entry->key, __ATOMIC_ACQUIRE);
    if (!copy->key)
        return false;
    copy->value = br_fdb_value(entry).word;
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return __atomic_load_n(&entry->key, __ATOMIC_RELAXED) == copy->key &&
           br_fdb_seems_live(fdb, copy->key, (union br_fdb_value){.word = copy->value});
}

static int br_fdb_compare(const void *left, const void *right)
{
    const uint64_t a = ((const struct br_fdb_entry *)left)->key;
    const uint64_t b = ((const struct br_fdb_entry *)right)->key;

    return (a > b) - (a < b);
}

uint32_t br_fdb_copy(const struct br_fdb *fdb, struct br_fdb_entry *out)
{
    uint32_t n = 0;

    for (uint32_t index = 0; index < br_fdb_slots(fdb); index++)
        n += br_fdb_read(fdb, index, &out[n]);
    qsort(out, n, sizeof(*out), br_fdb_compare);
    return n;
}

bool br_fdb_read_key(const struct br_fdb *fdb, uint64_t key, struct br_fdb_entry *copy)
{
    const uint32_t bucket[2] = {br_fdb_first(fdb, key), br_fdb_second(fdb, key)};

    for (int i = 0; i < 2; i++)
        for (uint32_t way = 0; way < BR_FDB_WAYS; way++)
            if (br_fdb_read(fdb, bucket[i] * BR_FDB_WAYS + way, copy) && copy->key == key)
                return true;
    return false;
}
