/*
 * fdb/read.h - read the FDB from any thread, while the data thread goes on writing.
 *
 * Invariant: a copy is one entry as it was at one moment, or there is none: the writer stores the value before the key,
 *      and a reader checks the key twice. Entries that come or go meanwhile may be missed.
 */
#ifndef BR_FDB_READ_H
#define BR_FDB_READ_H

#include "fdb/table.h"

/* Any thread: live entry at `index` < br_fdb_slots(), or false. */
bool br_fdb_read(const struct br_fdb *fdb, uint32_t index, struct br_fdb_entry *copy);
/* Any thread: how many sticky entries there are. */
static inline uint32_t br_fdb_n_sticky(const struct br_fdb *fdb)
{
    return __atomic_load_n(&fdb->n_sticky, __ATOMIC_RELAXED);
}

/* Any thread: live entries in the order of their keys; `out` has room for br_fdb_slots(). Returns how many. */
uint32_t br_fdb_copy(const struct br_fdb *fdb, struct br_fdb_entry *out);
/* Any thread: live entry of a key, or false. */
bool br_fdb_read_key(const struct br_fdb *fdb, uint64_t key, struct br_fdb_entry *copy);

#endif
