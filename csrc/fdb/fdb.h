/*
 * fdb/fdb.h - the forwarding information base: what changes it (the table itself and how it is probed: fdb/table.h).
 *
 * Thread: the data thread. Other threads read entries through fdb/read.h.
 * Flush: a dynamic entry carries the generation of its port and of its VLAN; bumping a generation makes all its entries
 *      stale at once, O(1). A sweep reclaims stale entries a few buckets at a time. Until it has passed, counts may include
 *      stale entries; a learn that meets its limit meanwhile finishes the sweep before it is refused.
 * Kinds: dynamic (learned; ages, moves, is flushed), sticky (ages, does not move), static (stays until it is deleted),
 *      drop (static, and frames from or to it end). All but dynamic ones were set by hand, stay whatever happens to their
 *      port, and are deleted one by one.
 * Clock: `tick` advances only when the control thread says so; an entry is written by a hit only when the tick changed.
 * Room: where the table, what may be learned in all, or a VLAN is full, the greediest port pays if the rules say
 *      `evict`: of the port with the most dynamic entries (in the table, or in that VLAN) the longest silent one goes
 *      (fdb/evict.c). At most one entry goes for one that comes. A port at its own limit is refused: it would only push
 *      out its own. What is set by hand knows no limit but the table, and takes its place there in the same way,
 *      whatever the rules say.
 * Refuses: what is learned and meets a limit and may not evict, or finds nobody to evict within bounds; what is set
 *      when no entry is dynamic; two full buckets (BR_LEARN_FULL).
 */
#ifndef BR_FDB_H
#define BR_FDB_H

#include <stdbool.h>
#include <stdint.h>

#include "fdb/table.h"

enum {
    BR_FDB_SWEEP = 64,   /* buckets a sweep step visits: 4 KB */
    BR_FDB_VISITS = 128, /* buckets a search for a victim may visit while frames wait: 8 KB */
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

/*
 * Move the table to the maps of `offload`, so that programs in the kernel read it as well, or back to `memory`, which
 * br_fdb_allocate gave (offload NULL). Slots keep their numbers. Data thread, or while nothing reads; returns the memory
 * that is free now, NULL: it was in maps.
 */
struct br_fdb_entry *br_fdb_allocate(uint32_t n_slots);
struct br_fdb_entry *br_fdb_move(struct br_fdb *fdb, struct br_offload_maps *offload, struct br_fdb_entry *memory);

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

#endif
