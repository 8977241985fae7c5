/*
 * fdb/table.h - the table of the FDB, (VID, MAC) to port, and how it is probed: the part of it that each frame meets.
 *
 * Shape: buckets of four 16-byte entries, one cache line each. A key has two buckets from a keyed hash, so a probe is
 *      bounded by two lines and an attacker who does not know the key cannot aim at one bucket. Entries never move:
 *      an entry's index is stable for as long as it lives.
 * Thread: the data thread writes. Other threads may read entries (br_fdb_read): the value is stored before the key, and
 *      a reader checks the key twice.
 */
#ifndef BR_FDB_TABLE_H
#define BR_FDB_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "count/limits.h"
#include "frame/vlan.h"
#include "offload/fdb_entry.h"
#include "offload/share.h"

#define BR_FDB_MAC 0xffffffffffffull   /* of a key */
#define BR_FDB_GROUP 0x010000000000ull /* the group bit of a key's MAC; IEEE 802 clause 8.2.2 */

struct br_fdb {
    struct br_fdb_entry *entry; /* hot from here */
    uint32_t bucket_mask;
    uint16_t tick; /* written by the control thread, one relaxed store */
    uint64_t secret[2];

    uint32_t capacity; /* cold from here: only when entries come and go */
    struct br_offload_maps *offload; /* whose maps the table is in, NULL: its own memory */
    uint32_t n_entries;
    uint32_t sweep_next;
    uint32_t sweep_left;     /* buckets until every stale entry is reclaimed */
    uint32_t n_unswept;      /* flushes since the sweep was last complete */
    uint16_t port_generation[BR_PORTS_MAX];
    uint8_t vlan_generation[BR_VLANS];
    uint32_t n_by_port[BR_PORTS_MAX]; /* dynamic and sticky entries; upper bounds while a sweep is due */
    uint32_t n_by_vlan[BR_VLANS];
    uint32_t n_sticky_by_port[BR_PORTS_MAX]; /* of them, exact */
    uint32_t n_sticky_by_vlan[BR_VLANS];
    uint32_t n_sticky;
    uint32_t n_pinned; /* static and drop entries */
    /* for eviction; exact at any time */
    uint32_t hand;      /* bucket the next search begins with */
    uint64_t *occupied; /* a bit for each bucket that is not empty */
    uint32_t (*n_dynamic)[BR_PORTS_MAX]; /* live dynamic entries by VLAN and port */
    uint32_t n_dynamic_by_port[BR_PORTS_MAX];
};

static inline uint32_t br_fdb_slots(const struct br_fdb *fdb)
{
    return (fdb->bucket_mask + 1) * BR_FDB_WAYS;
}

static inline uint64_t br_fdb_key(uint16_t vid, uint64_t mac)
{
    return (uint64_t)vid << 48 | mac;
}

/* Multiply-and-fold under a secret: both halves of the 128-bit product depend on every bit of the key. */
static inline uint64_t br_fdb_hash(const struct br_fdb *fdb, uint64_t key)
{
    const unsigned __int128 product = (unsigned __int128)(key ^ fdb->secret[0]) * (fdb->secret[1] | 1);

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint32_t br_fdb_first(const struct br_fdb *fdb, uint64_t key)
{
    return (uint32_t)br_fdb_hash(fdb, key) & fdb->bucket_mask;
}

static inline uint32_t br_fdb_second(const struct br_fdb *fdb, uint64_t key)
{
    return (uint32_t)(br_fdb_hash(fdb, key) >> 32) & fdb->bucket_mask;
}

static inline void br_fdb_prefetch(const struct br_fdb *fdb, uint32_t bucket)
{
    __builtin_prefetch(&fdb->entry[bucket * BR_FDB_WAYS]);
}

static inline union br_fdb_value br_fdb_value(const struct br_fdb_entry *entry)
{
    return (union br_fdb_value){.word = __atomic_load_n(&entry->value, __ATOMIC_RELAXED)};
}

/* Any thread. */
static inline uint16_t br_fdb_tick(const struct br_fdb *fdb)
{
    return __atomic_load_n(&fdb->tick, __ATOMIC_RELAXED);
}

/* Control thread. */
static inline void br_fdb_set_tick(struct br_fdb *fdb, uint16_t tick)
{
    __atomic_store_n(&fdb->tick, tick, __ATOMIC_RELAXED);
    if (fdb->offload)
        __atomic_store_n(&fdb->offload->page->tick, tick, __ATOMIC_RELAXED);
}

/* Data thread: it alone changes generations, so it loads them as they are; atomically takes 5 instructions a frame. */
static inline bool br_fdb_live(const struct br_fdb *fdb, uint64_t key, union br_fdb_value value)
{
    return value.kind != BR_FDB_DYNAMIC || (value.port_generation == fdb->port_generation[value.port] &&
                                            value.vlan_generation == fdb->vlan_generation[key >> 48]);
}

static inline struct br_fdb_entry *br_fdb_probe(const struct br_fdb *fdb, uint64_t key, uint32_t bucket)
{
    struct br_fdb_entry *entry = &fdb->entry[bucket * BR_FDB_WAYS];

    for (int way = 0; way < BR_FDB_WAYS; way++)
        if (entry[way].key == key)
            return &entry[way];
    return NULL;
}

/* The live entry of a key, or NULL; `bucket` is br_fdb_first(). */
static inline struct br_fdb_entry *br_fdb_find(const struct br_fdb *fdb, uint64_t key, uint32_t bucket)
{
    struct br_fdb_entry *entry = br_fdb_probe(fdb, key, bucket);

    if (!entry)
        entry = br_fdb_probe(fdb, key, br_fdb_second(fdb, key));
    return entry && br_fdb_live(fdb, key, br_fdb_value(entry)) ? entry : NULL;
}

#endif
