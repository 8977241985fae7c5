/*
 * share.h - the core's side of the maps of shared.h: mapping them, and telling the programs of ports and VLANs.
 *
 * Thread: open, close and set in the control thread; the FDB writes generations and states through what is mapped here
 *      (fdb/fdb.c), the data thread `acked` (handover.h). Stores that programs read are single words.
 * Opening and closing. A port is closed before what is true of it changes, and opened when the data thread knows: from the
 *      next frame on all of its frames go to userspace, and come back by tickets of a new epoch, in order.
 */
#ifndef BR_OFFLOAD_SHARE_H
#define BR_OFFLOAD_SHARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "offload/fdb_entry.h"
#include "offload/shared.h"

/* The maps the core sees, in the order in which their descriptors are given. */
enum br_offload_map {
    BR_OFFLOAD_TABLE,
    BR_OFFLOAD_STATES,
    BR_OFFLOAD_PORT,
    BR_OFFLOAD_VLAN,
    BR_OFFLOAD_MAY_REACH,
    BR_OFFLOAD_PAGE,
    BR_OFFLOAD_HEARTBEAT,
    BR_OFFLOAD_MAPS,
};

struct br_offload_maps {
    struct br_fdb_entry *entry; /* n_slots, in buckets */
    struct br_offload_state *state;
    struct br_offload_port *port;
    struct br_offload_vlan *vlan;
    uint64_t *may_reach; /* BR_OFFLOAD_PORT_WORDS for each port */
    struct br_offload_page *page;
    uint64_t *heartbeat;
    uint32_t n_slots;
    uint32_t epoch; /* of the last opening of any port */
    void *map[BR_OFFLOAD_MAPS];
    size_t map_len[BR_OFFLOAD_MAPS];
};

/* What is said of a port as it opens; the rest of br_offload_port is kept. */
struct br_offload_opening {
    struct br_offload_port port;
    uint64_t may_reach[BR_OFFLOAD_PORT_WORDS];
};

/* Map the maps of these descriptors, made for so many slots of the FDB: 0 or -errno. */
int br_offload_map(struct br_offload_maps *offload, const int fd[BR_OFFLOAD_MAPS], uint32_t n_slots);
void br_offload_unmap(struct br_offload_maps *offload);

/* All frames of the port are for userspace from now on. */
void br_offload_close_port(struct br_offload_maps *offload, uint16_t index);
/* The kernel may forward what `opening->port.flags` says. */
void br_offload_open_port(struct br_offload_maps *offload, uint16_t index, const struct br_offload_opening *opening);
/* Ports that carry the VLAN, and whether the kernel may forward its frames. */
void br_offload_set_vlan(struct br_offload_maps *offload, uint16_t vid, const uint64_t carried_by[BR_OFFLOAD_PORT_WORDS],
                         bool open);

/* Entries that are live in either role, and those with a ticket in either, of ports that are open. */
struct br_offload_usage {
    uint32_t live;
    uint32_t waiting;
};
void br_offload_count(const struct br_offload_maps *offload, struct br_offload_usage *usage);

/* The state of an entry that is new or moves: the kernel does not use it, until it has a ticket again. */
static inline void br_offload_begin_entry(struct br_offload_state *state, bool is_new)
{
    __atomic_store_n(&state->role[BR_OFFLOAD_SOURCE], 0, __ATOMIC_RELAXED);
    __atomic_store_n(&state->role[BR_OFFLOAD_DESTINATION], 0, __ATOMIC_RELAXED);
    if (is_new) {
        __atomic_store_n(&state->frames, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&state->bytes, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&state->more_segments, 0, __ATOMIC_RELAXED);
    }
    __atomic_thread_fence(__ATOMIC_RELEASE); /* before the entry */
}

#endif
