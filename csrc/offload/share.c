/* share.c - see share.h. */
#include "offload/share.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

_Static_assert(sizeof(struct br_offload_port) % 8 == 0 && sizeof(struct br_offload_vlan) % 8 == 0 &&
                   sizeof(struct br_offload_state) % 8 == 0,
               "values of a map lie one behind the other");

static size_t br_offload_pages(size_t len)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);

    return (len + page - 1) / page * page;
}

int br_offload_map(struct br_offload_maps *offload, const int fd[BR_OFFLOAD_MAPS], uint32_t n_slots)
{
    const size_t len[BR_OFFLOAD_MAPS] = {
        [BR_OFFLOAD_TABLE] = (size_t)n_slots * sizeof(*offload->entry),
        [BR_OFFLOAD_STATES] = (size_t)n_slots * sizeof(*offload->state),
        [BR_OFFLOAD_PORT] = BR_OFFLOAD_PORTS * sizeof(*offload->port),
        [BR_OFFLOAD_VLAN] = BR_OFFLOAD_VLANS * sizeof(*offload->vlan),
        [BR_OFFLOAD_MAY_REACH] = BR_OFFLOAD_PORTS * BR_OFFLOAD_PORT_WORDS * sizeof(uint64_t),
        [BR_OFFLOAD_PAGE] = sizeof(*offload->page),
        [BR_OFFLOAD_HEARTBEAT] = BR_OFFLOAD_HEARTBEAT_WORDS * sizeof(uint64_t),
    };

    *offload = (struct br_offload_maps){.n_slots = n_slots};
    for (int i = 0; i < BR_OFFLOAD_MAPS; i++) {
        void *map = mmap(NULL, br_offload_pages(len[i]), PROT_READ | PROT_WRITE, MAP_SHARED, fd[i], 0);

        if (map == MAP_FAILED) {
            const int error = -errno;
            br_offload_unmap(offload);
            return error;
        }
        offload->map[i] = map;
        offload->map_len[i] = br_offload_pages(len[i]);
    }
    offload->entry = offload->map[BR_OFFLOAD_TABLE];
    offload->state = offload->map[BR_OFFLOAD_STATES];
    offload->port = offload->map[BR_OFFLOAD_PORT];
    offload->vlan = offload->map[BR_OFFLOAD_VLAN];
    offload->may_reach = offload->map[BR_OFFLOAD_MAY_REACH];
    offload->page = offload->map[BR_OFFLOAD_PAGE];
    offload->heartbeat = offload->map[BR_OFFLOAD_HEARTBEAT];
    return 0;
}

void br_offload_unmap(struct br_offload_maps *offload)
{
    for (int i = 0; i < BR_OFFLOAD_MAPS; i++)
        if (offload->map[i])
            munmap(offload->map[i], offload->map_len[i]);
    *offload = (struct br_offload_maps){0};
}

void br_offload_close_port(struct br_offload_maps *offload, uint16_t index)
{
    __atomic_store_n(&offload->port[index].flags, 0, __ATOMIC_SEQ_CST);
}

/* Epochs come round: then no word of an earlier round may be left that means something again. */
static uint32_t br_offload_next_epoch(struct br_offload_maps *offload)
{
    if (offload->epoch == BR_OFFLOAD_EPOCH_MAX) {
        for (uint32_t i = 0; i < offload->n_slots; i++)
            br_offload_begin_entry(&offload->state[i], false);
        offload->epoch = 0;
    }
    return ++offload->epoch;
}

void br_offload_open_port(struct br_offload_maps *offload, uint16_t index, const struct br_offload_opening *opening)
{
    struct br_offload_port *port = &offload->port[index];
    struct br_offload_port new = opening->port;

    br_offload_close_port(offload, index);
    memcpy(&offload->may_reach[index * BR_OFFLOAD_PORT_WORDS], opening->may_reach, sizeof(opening->may_reach));
    new.flags = 0;
    new.epoch = br_offload_next_epoch(offload);
    new.generation = __atomic_load_n(&port->generation, __ATOMIC_RELAXED);
    *port = new;
    __atomic_store_n(&port->flags, opening->port.flags, __ATOMIC_SEQ_CST);
}

void br_offload_set_vlan(struct br_offload_maps *offload, uint16_t vid, const uint64_t carried_by[BR_OFFLOAD_PORT_WORDS],
                         bool open)
{
    struct br_offload_vlan *vlan = &offload->vlan[vid];

    for (int i = 0; i < BR_OFFLOAD_PORT_WORDS; i++)
        __atomic_store_n(&vlan->carried_by[i], carried_by[i], __ATOMIC_RELAXED);
    __atomic_store_n(&vlan->open, open, __ATOMIC_SEQ_CST);
}

void br_offload_count(const struct br_offload_maps *offload, struct br_offload_usage *usage)
{
    *usage = (struct br_offload_usage){0};
    for (uint32_t i = 0; i < offload->n_slots; i++) {
        const union br_fdb_value value = {.word = __atomic_load_n(&offload->entry[i].value, __ATOMIC_RELAXED)};
        bool live = false;
        bool waiting = false;

        if (!__atomic_load_n(&offload->entry[i].key, __ATOMIC_RELAXED) || value.port >= BR_OFFLOAD_PORTS)
            continue;
        for (int role = 0; role < BR_OFFLOAD_ROLES; role++) {
            const uint64_t word = __atomic_load_n(&offload->state[i].role[role], __ATOMIC_RELAXED);
            const bool counts = word && word >> BR_OFFLOAD_EPOCH_SHIFT == offload->port[value.port].epoch &&
                                offload->port[value.port].flags;

            live |= counts && word >> BR_OFFLOAD_LIVE_SHIFT & 1;
            waiting |= counts && !(word >> BR_OFFLOAD_LIVE_SHIFT & 1);
        }
        usage->live += live;
        usage->waiting += waiting;
    }
}
