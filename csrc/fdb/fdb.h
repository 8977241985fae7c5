/*
 * fdb/fdb.h - the forwarding information base: (VID, MAC) to port.
 *
 * Shape: buckets of four 16-byte entries, one cache line each. A key has two buckets from a keyed hash, so a probe is
 *      bounded by two lines and an attacker who does not know the key cannot aim at one bucket. Entries never move:
 *      an entry's index is stable for as long as it lives.
 * Thread: the data thread writes. Other threads may read entries (br_fdb_read): the value is stored before the key, and
 *      a reader checks the key twice.
 * Flush: an entry carries the generation of its port and of its VLAN; bumping a generation makes all its entries stale
 *      at once, O(1). A sweep reclaims stale entries a few buckets at a time. Until it has passed, counts may include
 *      stale entries; a learn that meets its limit meanwhile finishes the sweep before it is refused.
 * Kinds: dynamic (learned; ages, moves, is flushed), sticky (ages and is flushed, does not move), static (stays until
 *      it is deleted), drop (static, and frames from or to it end).
 * Clock: `tick` advances only when the control thread says so; an entry is written by a hit only when the tick changed.
 * Room: where the table, what may be learned in all, or a VLAN is full, the greediest port pays if the rules say
 *      `evict`: of the port with the most dynamic entries (in the table, or in that VLAN) the longest silent one goes
 *      (fdb/evict.c). At most one entry goes for one that comes. A port at its own limit is refused: it would only push
 *      out its own. What is set by hand knows no limit but the table, and takes its place there in the same way, whatever
 *      the rules say.
 * Refuses: what is learned and meets a limit and may not evict, or finds nobody to evict within bounds; what is set when
 *      no entry is dynamic; two full buckets (BR_LEARN_FULL).
 */
#ifndef BR_FDB_H
#define BR_FDB_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "frame/frame.h"
#include "frame/vlan.h"

enum {
    BR_PORTS_MAX = 256,
    BR_FDB_WAYS = 4,
    BR_FDB_SWEEP = 64,   /* buckets a sweep step visits: 4 KB */
    BR_FDB_VISITS = 128, /* buckets a search for a victim may visit while frames wait: 8 KB */
};

#define BR_FDB_MAC 0xffffffffffffull   /* of a key */
#define BR_FDB_GROUP 0x010000000000ull /* the group bit of a key's MAC; IEEE 802 clause 8.2.2 */

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

static_assert(sizeof(struct br_fdb_entry) == 16, "four entries are one cache line");
static_assert(sizeof(union br_fdb_value) == 8, "a value is read and written as one word");

struct br_fdb {
    struct br_fdb_entry *entry; /* hot from here */
    uint32_t bucket_mask;
    uint16_t tick; /* written by the control thread, one relaxed store */
    uint64_t secret[2];

    uint32_t capacity; /* cold from here: only when entries come and go */
    uint32_t n_entries;
    uint32_t sweep_next;
    uint32_t sweep_left;     /* buckets until every stale entry is reclaimed */
    uint32_t n_unswept;      /* flushes since the sweep was last complete */
    uint16_t port_generation[BR_PORTS_MAX];
    uint8_t vlan_generation[BR_VLANS];
    uint32_t n_by_port[BR_PORTS_MAX]; /* dynamic and sticky entries; upper bounds while a sweep is due */
    uint32_t n_by_vlan[BR_VLANS];
    uint32_t n_pinned; /* static and drop entries */
    /* for eviction; exact at any time */
    uint32_t hand;      /* bucket the next search begins with */
    uint64_t *occupied; /* a bit for each bucket that is not empty */
    uint32_t (*n_dynamic)[BR_PORTS_MAX]; /* live dynamic entries by VLAN and port */
    uint32_t n_dynamic_by_port[BR_PORTS_MAX];
};

/* What became of a source address. */
enum br_learn {
    BR_LEARN_KNOWN,
    BR_LEARN_NEW,
    BR_LEARN_MOVED,
    BR_LEARN_REFRESHED, /* known, but older than the limit */
    BR_LEARN_REQUEST,
    BR_LEARN_STATIC,    /* a static or sticky entry on another port keeps it */
    BR_LEARN_BACKUP,    /* a backup router spoke under the virtual address (pipeline/moves.h) */
    BR_LEARN_LOCAL,     /* an entry of an access or tunnel port stays there (pipeline/moves.h) */
    BR_LEARN_DROP,      /* a drop entry */
    BR_LEARN_PORT_LIMIT,
    BR_LEARN_VLAN_LIMIT,
    BR_LEARN_FULL,
};

struct br_learn_rules {
    uint16_t port;
    bool controlled;
    uint16_t age_ticks; /* 0: entries do not age */
    bool evict;
    uint32_t port_limit; /* 0: none; dynamic and sticky entries */
    uint32_t vlan_limit;
    uint32_t total_limit;
};

/* What an entry that came did to others. */
struct br_learned {
    uint64_t evicted; /* key of who gave way; 0: nobody */
    uint16_t evicted_port;
    uint16_t old_port; /* where it was, if it is not there any more: BR_LEARN_MOVED, BR_LEARN_PORT_LIMIT */
};

int br_fdb_init(struct br_fdb *fdb, uint32_t capacity, const uint64_t secret[2]);
void br_fdb_fini(struct br_fdb *fdb);

/* The slow part of learning: everything but "known, same port, same tick". `learned->evicted` begins as 0. */
enum br_learn br_fdb_learn(struct br_fdb *fdb, uint64_t key, const struct br_learn_rules *rules,
                           struct br_learned *learned);

/* Add or replace, in a full table in place of another; 0, or -ENOSPC when nobody can give way. */
int br_fdb_set(struct br_fdb *fdb, uint64_t key, uint16_t port, enum br_fdb_kind kind, struct br_learned *learned);
/* Add an entry of before a restart, last seen at `tick`: 0, -EEXIST when there is one, -ENOSPC. A sticky one was set by
 * hand, and is again; a dynamic one evicts nobody. */
int br_fdb_restore(struct br_fdb *fdb, uint64_t key, const struct br_learn_rules *rules, enum br_fdb_kind kind,
                   uint16_t tick, struct br_learned *learned);
/* 0 or -ENOENT. */
int br_fdb_delete(struct br_fdb *fdb, uint64_t key);
/* Delete a dynamic or sticky entry that is on this port; -ENOENT if it is not. */
int br_fdb_forget(struct br_fdb *fdb, uint64_t key, uint16_t port);
/* Delete a dynamic or sticky entry last seen at `tick`; -EAGAIN when it was seen since. */
int br_fdb_expire(struct br_fdb *fdb, uint64_t key, uint16_t tick);

void br_fdb_flush_port(struct br_fdb *fdb, uint16_t port);
void br_fdb_flush_vlan(struct br_fdb *fdb, uint16_t vid);
void br_fdb_flush_all(struct br_fdb *fdb);

/* Visit BR_FDB_SWEEP buckets if a sweep is due. */
void br_fdb_sweep(struct br_fdb *fdb);

/* The dynamic entry that gives way in a VLAN, or in the table when `vid` is 0, to a station at `port` (BR_PORTS_MAX:
 * nowhere), if it is met within so many buckets that are not empty; or NULL. */
struct br_fdb_entry *br_fdb_victim(struct br_fdb *fdb, uint16_t vid, uint16_t port, uint32_t most_visits);

/* Any thread: live entry at `index` < br_fdb_slots(), or false. */
bool br_fdb_read(const struct br_fdb *fdb, uint32_t index, struct br_fdb_entry *copy);
/* Any thread: live entries in the order of their keys; `out` has room for br_fdb_slots(). Returns how many. */
uint32_t br_fdb_copy(const struct br_fdb *fdb, struct br_fdb_entry *out);
/* Any thread: live entry of a key, or false. */
bool br_fdb_read_key(const struct br_fdb *fdb, uint64_t key, struct br_fdb_entry *copy);

static inline uint32_t br_fdb_slots(const struct br_fdb *fdb)
{
    return (fdb->bucket_mask + 1) * BR_FDB_WAYS;
}

static inline uint64_t br_fdb_key(uint16_t vid, uint64_t mac)
{
    return (uint64_t)vid << 48 | mac;
}

/* The six address bytes at `bytes`, first byte on the wire most significant; reads eight bytes. */
static inline uint64_t br_mac_read(const uint8_t *bytes)
{
    uint64_t word;

    __builtin_memcpy(&word, bytes, sizeof(word));
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word >> 16;
}

/* 01-80-C2-00-00-00..0F; IEEE 802.1Q-2022 table 8-1. */
static inline bool br_mac_is_reserved(uint64_t mac)
{
    return mac >> 4 == 0x0180c200000;
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
}

/* Data thread: it alone changes generations, so it need not load them atomically, which takes 5 instructions a frame. */
static inline bool br_fdb_live(const struct br_fdb *fdb, uint64_t key, union br_fdb_value value)
{
    return value.kind >= BR_FDB_STATIC || (value.port_generation == fdb->port_generation[value.port] &&
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
