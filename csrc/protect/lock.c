/* protect/lock.c - see protect/lock.h. */
#include "protect/lock.h"

/* Whether a port's allow list has this MAC. */
static bool br_lock_allows(const struct br_guards *guards, uint16_t port, uint64_t mac)
{
    const struct br_mac_range *range = &guards->allowed[guards->port[port].allowed];
    uint32_t n = guards->port[port].n_allowed;

    while (n) { /* the range that has it is among the n from `range` on */
        const uint32_t half = n / 2;

        if (mac > range[half].last) {
            range += half + 1;
            n -= half + 1;
        } else if (mac < range[half].first) {
            n = half;
        } else {
            return true;
        }
    }
    return false;
}

bool br_lock_refuses(struct br_batch *batch, uint16_t port, uint64_t key)
{
    const struct br_fdb_entry *entry = br_fdb_find(batch->fdb, key, br_fdb_first(batch->fdb, key));
    const union br_fdb_value value = entry ? br_fdb_value(entry) : (union br_fdb_value){.port = UINT16_MAX};

    if (entry && (value.kind == BR_FDB_DROP || value.port == port))
        return false;
    if (br_lock_allows(&batch->snapshot->guards, port, key & BR_FDB_MAC))
        return false;
    br_events_hint(batch->events,
                   &(struct br_event){.key = key, .port = port, .old_port = value.port, .kind = BR_EVENT_locked});
    return true;
}
