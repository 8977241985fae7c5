/* fdb/fdb.c - see fdb/fdb.h. Everything here is off the path of a known source and a known destination. */
#include "fdb/fdb.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
    BR_FDB_MAX_UNSWEPT = 200, /* below the 256 after which a VLAN generation would come round */
    BR_FDB_HUGE = 2 << 20,    /* a huge page */
};

static_assert((int)BR_OFFLOAD_VLANS == (int)BR_VLANS, "programs in the kernel know every VLAN");

/* Zeroed, and in huge pages where that can be had: two lookups a frame at random. */
struct br_fdb_entry *br_fdb_allocate(uint32_t n_slots)
{
    const size_t len = n_slots * sizeof(struct br_fdb_entry);
    struct br_fdb_entry *entry = aligned_alloc(len < BR_FDB_HUGE ? 64 : BR_FDB_HUGE, len);

    if (!entry)
        return NULL;
    madvise(entry, len, MADV_HUGEPAGE); /* a hint, and no harm if refused */
    memset(entry, 0, len);
    return entry;
}

int br_fdb_init(struct br_fdb *fdb, uint32_t capacity, const uint64_t secret[2])
{
    uint32_t n_buckets = 16;

    /* One bucket per entry. Simulated at capacity: no key finds both its buckets full, one in ten is in its second. */
    while (n_buckets < capacity)
        n_buckets *= 2;
    memset(fdb, 0, sizeof(*fdb));
    fdb->entry = br_fdb_allocate(n_buckets * BR_FDB_WAYS);
    if (!fdb->entry)
        return -ENOMEM;
    fdb->occupied = calloc((n_buckets + 63) / 64, sizeof(*fdb->occupied));
    fdb->n_dynamic = calloc(BR_VLANS, sizeof(*fdb->n_dynamic)); /* 4 MB, of which pages are used as VLANs are */
    if (!fdb->occupied || !fdb->n_dynamic) {
        br_fdb_fini(fdb);
        return -ENOMEM;
    }
    fdb->bucket_mask = n_buckets - 1;
    fdb->capacity = capacity;
    fdb->secret[0] = secret[0];
    fdb->secret[1] = secret[1];
    return 0;
}

void br_fdb_fini(struct br_fdb *fdb)
{
    if (!fdb->offload)
        free(fdb->entry);
    free(fdb->occupied);
    free(fdb->n_dynamic);
    fdb->entry = NULL;
    fdb->occupied = NULL;
    fdb->n_dynamic = NULL;
}

static void br_fdb_publish(struct br_fdb *fdb, struct br_offload_maps *offload)
{
    for (int port = 0; port < BR_PORTS_MAX; port++)
        __atomic_store_n(&offload->port[port].generation, fdb->port_generation[port], __ATOMIC_RELAXED);
    for (int vid = 0; vid < BR_VLANS; vid++)
        __atomic_store_n(&offload->vlan[vid].generation, fdb->vlan_generation[vid], __ATOMIC_RELAXED);
    __atomic_store_n(&offload->page->tick, br_fdb_tick(fdb), __ATOMIC_RELAXED);
}

struct br_fdb_entry *br_fdb_move(struct br_fdb *fdb, struct br_offload_maps *offload, struct br_fdb_entry *memory)
{
    struct br_fdb_entry *old = fdb->offload ? NULL : fdb->entry;

    if (offload) {
        br_fdb_publish(fdb, offload);
        memory = offload->entry;
    }
    memcpy(memory, fdb->entry, br_fdb_slots(fdb) * sizeof(*memory));
    fdb->offload = offload;
    __atomic_store_n(&fdb->entry, memory, __ATOMIC_RELEASE);
    return old;
}

/* The one place a value is written: value before key, for readers in other threads. */
static void br_fdb_store(struct br_fdb_entry *entry, uint64_t key, union br_fdb_value value)
{
    __atomic_store_n(&entry->value, value.word, __ATOMIC_RELAXED);
    __atomic_store_n(&entry->key, key, __ATOMIC_RELEASE);
}

/* A sticky entry comes (1) or goes (-1); no flush takes it out of the counts. */
static void br_fdb_count_sticky(struct br_fdb *fdb, uint64_t key, uint16_t port, int change)
{
    const uint32_t n = (uint32_t)change;

    fdb->n_by_port[port] += n;
    fdb->n_by_vlan[key >> 48] += n;
    fdb->n_sticky_by_port[port] += n;
    fdb->n_sticky_by_vlan[key >> 48] += n;
    __atomic_store_n(&fdb->n_sticky, fdb->n_sticky + n, __ATOMIC_RELAXED);
}

/* Take the entry out of the counts of the generations it still belongs to; flushing zeroed the others. */
static void br_fdb_uncount(struct br_fdb *fdb, uint64_t key, union br_fdb_value value)
{
    fdb->n_entries--;
    fdb->n_pinned -= value.kind >= BR_FDB_STATIC;
    if (value.kind >= BR_FDB_STATIC)
        return;
    if (value.kind == BR_FDB_STICKY) {
        br_fdb_count_sticky(fdb, key, value.port, -1);
        return;
    }
    fdb->n_by_port[value.port] -= value.port_generation == fdb->port_generation[value.port];
    fdb->n_by_vlan[key >> 48] -= value.vlan_generation == fdb->vlan_generation[key >> 48];
    if (br_fdb_live(fdb, key, value)) {
        fdb->n_dynamic[key >> 48][value.port]--;
        fdb->n_dynamic_by_port[value.port]--;
    }
}

static void br_fdb_count(struct br_fdb *fdb, uint64_t key, union br_fdb_value value)
{
    fdb->n_entries++;
    fdb->n_pinned += value.kind >= BR_FDB_STATIC;
    if (value.kind >= BR_FDB_STATIC)
        return;
    if (value.kind == BR_FDB_STICKY) {
        br_fdb_count_sticky(fdb, key, value.port, 1);
        return;
    }
    fdb->n_by_port[value.port]++;
    fdb->n_by_vlan[key >> 48]++;
    fdb->n_dynamic[key >> 48][value.port]++;
    fdb->n_dynamic_by_port[value.port]++;
}

static void br_fdb_remove(struct br_fdb *fdb, struct br_fdb_entry *entry)
{
    const uint32_t bucket = (uint32_t)(entry - fdb->entry) / BR_FDB_WAYS;
    const struct br_fdb_entry *way = &fdb->entry[bucket * BR_FDB_WAYS];

    br_fdb_uncount(fdb, entry->key, br_fdb_value(entry));
    __atomic_store_n(&entry->key, 0, __ATOMIC_RELEASE);
    if (!(way[0].key | way[1].key | way[2].key | way[3].key))
        fdb->occupied[bucket / 64] &= ~(1ull << bucket % 64);
}

static union br_fdb_value br_fdb_value_make(const struct br_fdb *fdb, uint64_t key, uint16_t port,
                                            enum br_fdb_kind kind)
{
    return (union br_fdb_value){
        .port = port,
        .port_generation = kind == BR_FDB_DYNAMIC ? fdb->port_generation[port] : 0,
        .tick = br_fdb_tick(fdb),
        .vlan_generation = fdb->vlan_generation[key >> 48],
        .kind = (uint8_t)kind,
    };
}

/* Same key in either bucket, live or stale. */
static struct br_fdb_entry *br_fdb_any(const struct br_fdb *fdb, uint64_t key)
{
    struct br_fdb_entry *entry = br_fdb_probe(fdb, key, br_fdb_first(fdb, key));

    return entry ? entry : br_fdb_probe(fdb, key, br_fdb_second(fdb, key));
}

/* Free the stale entries of a bucket; returns how many slots are in use, and a free one if there is any. */
static int br_fdb_vacate(struct br_fdb *fdb, uint32_t bucket, struct br_fdb_entry **vacant)
{
    struct br_fdb_entry *entry = &fdb->entry[bucket * BR_FDB_WAYS];
    int n_used = 0;

    *vacant = NULL;
    for (int way = BR_FDB_WAYS - 1; way >= 0; way--) {
        if (entry[way].key && !br_fdb_live(fdb, entry[way].key, br_fdb_value(&entry[way])))
            br_fdb_remove(fdb, &entry[way]);
        if (entry[way].key)
            n_used++;
        else
            *vacant = &entry[way];
    }
    return n_used;
}

/* The slot for a new key: in its first bucket while that is less than half full, else in the emptier one; or NULL. */
static struct br_fdb_entry *br_fdb_place(struct br_fdb *fdb, uint64_t key)
{
    struct br_fdb_entry *first;
    struct br_fdb_entry *second;
    const int n_first = br_fdb_vacate(fdb, br_fdb_first(fdb, key), &first);

    if (n_first < BR_FDB_WAYS / 2)
        return first;
    return br_fdb_vacate(fdb, br_fdb_second(fdb, key), &second) < n_first ? second : first;
}

static void br_fdb_sweep_step(struct br_fdb *fdb)
{
    struct br_fdb_entry *entry = &fdb->entry[fdb->sweep_next * BR_FDB_WAYS];

    for (int way = 0; way < BR_FDB_WAYS; way++)
        if (entry[way].key && !br_fdb_live(fdb, entry[way].key, br_fdb_value(&entry[way])))
            br_fdb_remove(fdb, &entry[way]);
    fdb->sweep_next = (fdb->sweep_next + 1) & fdb->bucket_mask;
    if (--fdb->sweep_left == 0)
        fdb->n_unswept = 0;
}

/* Whether a count is below its limit, not counting stale entries: sweeps on while that could change the answer. */
static bool br_fdb_below(struct br_fdb *fdb, const uint32_t *count, uint32_t limit)
{
    while (*count >= limit && fdb->sweep_left)
        br_fdb_sweep_step(fdb);
    return *count < limit;
}

static int br_fdb_insert(struct br_fdb *fdb, uint64_t key, uint16_t port, enum br_fdb_kind kind)
{
    struct br_fdb_entry *entry = br_fdb_any(fdb, key);
    const bool is_new = !entry;

    if (entry)
        br_fdb_remove(fdb, entry);
    else if (!br_fdb_below(fdb, &fdb->n_entries, fdb->capacity))
        return -ENOSPC;
    if (!entry)
        entry = br_fdb_place(fdb, key);
    if (!entry)
        return -ENOSPC;
    const union br_fdb_value value = br_fdb_value_make(fdb, key, port, kind);
    const uint32_t bucket = (uint32_t)(entry - fdb->entry) / BR_FDB_WAYS;

    br_fdb_count(fdb, key, value);
    if (fdb->offload)
        br_offload_begin_entry(&fdb->offload->state[entry - fdb->entry], is_new);
    br_fdb_store(entry, key, value);
    fdb->occupied[bucket / 64] |= 1ull << bucket % 64;
    return 0;
}

/* Known on this port: note that it was seen. */
static enum br_learn br_fdb_refresh(struct br_fdb *fdb, struct br_fdb_entry *entry, uint16_t age_ticks)
{
    union br_fdb_value value = br_fdb_value(entry);
    const uint16_t now = br_fdb_tick(fdb);
    const uint16_t age = (uint16_t)(now - value.tick);

    value.tick = now;
    __atomic_store_n(&entry->value, value.word, __ATOMIC_RELAXED);
    return age_ticks && age > age_ticks && value.kind < BR_FDB_STATIC ? BR_LEARN_REFRESHED : BR_LEARN_KNOWN;
}

/* Entries the table may have, of all kinds: what may be learned comes beside what is pinned. */
static uint32_t br_fdb_most(const struct br_fdb *fdb, const struct br_learn_rules *rules)
{
    const uint64_t most = (uint64_t)rules->total_limit + fdb->n_pinned;

    return rules->total_limit && most < fdb->capacity ? (uint32_t)most : fdb->capacity;
}

/* Remove whoever gives way to an entry at `port`; false: nobody does. */
static bool br_fdb_evict(struct br_fdb *fdb, uint16_t vid, uint16_t port, uint32_t most_visits,
                         struct br_learned *learned)
{
    struct br_fdb_entry *victim = br_fdb_victim(fdb, vid, port, most_visits);

    if (!victim)
        return false;
    learned->evicted = victim->key;
    learned->evicted_port = br_fdb_value(victim).port;
    br_fdb_remove(fdb, victim);
    return true;
}

/* Whether a station may come where `*count` meets `limit`, be it in place of another. */
static bool br_fdb_make_room(struct br_fdb *fdb, const uint32_t *count, uint32_t limit, uint16_t vid,
                             const struct br_learn_rules *rules, struct br_learned *learned)
{
    return br_fdb_below(fdb, count, limit) || learned->evicted ||
           (rules->evict && br_fdb_evict(fdb, vid, rules->port, BR_FDB_VISITS, learned));
}

static enum br_learn br_fdb_learn_new(struct br_fdb *fdb, uint64_t key, const struct br_learn_rules *rules,
                                      struct br_learned *learned)
{
    const uint16_t vid = (uint16_t)(key >> 48);

    if (rules->controlled)
        return BR_LEARN_REQUEST;
    if (rules->port_limit && !br_fdb_below(fdb, &fdb->n_by_port[rules->port], rules->port_limit))
        return BR_LEARN_PORT_LIMIT;
    if (rules->vlan_limit && !br_fdb_make_room(fdb, &fdb->n_by_vlan[vid], rules->vlan_limit, vid, rules, learned))
        return BR_LEARN_VLAN_LIMIT;
    if (!br_fdb_make_room(fdb, &fdb->n_entries, br_fdb_most(fdb, rules), 0, rules, learned))
        return BR_LEARN_FULL;
    return br_fdb_insert(fdb, key, rules->port, BR_FDB_DYNAMIC) ? BR_LEARN_FULL : BR_LEARN_NEW;
}

enum br_learn br_fdb_learn(struct br_fdb *fdb, uint64_t key, const struct br_learn_rules *rules,
                           struct br_learned *learned)
{
    struct br_fdb_entry *entry = br_fdb_find(fdb, key, br_fdb_first(fdb, key));

    if (!entry)
        return br_fdb_learn_new(fdb, key, rules, learned);
    const union br_fdb_value value = br_fdb_value(entry);
    if (value.kind == BR_FDB_DROP)
        return BR_LEARN_DROP;
    if (value.port == rules->port)
        return br_fdb_refresh(fdb, entry, rules->age_ticks);
    if (value.kind != BR_FDB_DYNAMIC)
        return BR_LEARN_STATIC;
    if (rules->controlled)
        return BR_LEARN_REQUEST;
    if (rules->port_limit && !br_fdb_below(fdb, &fdb->n_by_port[rules->port], rules->port_limit)) {
        learned->old_port = value.port;
        br_fdb_remove(fdb, entry); /* it is not there any more: better flooded than lost */
        return BR_LEARN_PORT_LIMIT;
    }
    learned->old_port = value.port;
    br_fdb_insert(fdb, key, rules->port, BR_FDB_DYNAMIC); /* replaces in place, cannot fail */
    return BR_LEARN_MOVED;
}

int br_fdb_set(struct br_fdb *fdb, uint64_t key, uint16_t port, enum br_fdb_kind kind, struct br_learned *learned)
{
    /* By hand, so seldom: the search may go round the whole table, and finds whoever is dynamic. */
    if (!br_fdb_any(fdb, key) && !br_fdb_below(fdb, &fdb->n_entries, fdb->capacity))
        br_fdb_evict(fdb, 0, kind == BR_FDB_DROP ? BR_PORTS_MAX : port, UINT32_MAX, learned);
    return br_fdb_insert(fdb, key, port, kind);
}

/* Whether a station of before a restart may come back; it takes nobody's place. */
static bool br_fdb_has_room(struct br_fdb *fdb, uint64_t key, const struct br_learn_rules *rules)
{
    return (!rules->port_limit || br_fdb_below(fdb, &fdb->n_by_port[rules->port], rules->port_limit)) &&
           (!rules->vlan_limit || br_fdb_below(fdb, &fdb->n_by_vlan[key >> 48], rules->vlan_limit)) &&
           br_fdb_below(fdb, &fdb->n_entries, br_fdb_most(fdb, rules));
}

int br_fdb_restore(struct br_fdb *fdb, uint64_t key, const struct br_learn_rules *rules, enum br_fdb_kind kind,
                   uint16_t tick, struct br_learned *learned)
{
    if (br_fdb_find(fdb, key, br_fdb_first(fdb, key)))
        return -EEXIST;
    if ((kind == BR_FDB_DYNAMIC && !br_fdb_has_room(fdb, key, rules)) ||
        br_fdb_set(fdb, key, rules->port, kind, learned))
        return -ENOSPC;
    struct br_fdb_entry *entry = br_fdb_any(fdb, key);
    union br_fdb_value value = br_fdb_value(entry);
    value.tick = tick;
    __atomic_store_n(&entry->value, value.word, __ATOMIC_RELAXED);
    return 0;
}

int br_fdb_delete(struct br_fdb *fdb, uint64_t key)
{
    struct br_fdb_entry *entry = br_fdb_any(fdb, key);

    if (!entry)
        return -ENOENT;
    const bool live = br_fdb_live(fdb, key, br_fdb_value(entry));
    br_fdb_remove(fdb, entry);
    return live ? 0 : -ENOENT;
}

int br_fdb_forget(struct br_fdb *fdb, uint64_t key, uint16_t port)
{
    struct br_fdb_entry *entry = br_fdb_any(fdb, key);

    if (!entry || br_fdb_value(entry).kind >= BR_FDB_STATIC || br_fdb_value(entry).port != port)
        return -ENOENT;
    br_fdb_remove(fdb, entry);
    return 0;
}

int br_fdb_expire(struct br_fdb *fdb, uint64_t key, uint16_t tick)
{
    struct br_fdb_entry *entry = br_fdb_any(fdb, key);

    if (!entry)
        return -ENOENT;
    const union br_fdb_value value = br_fdb_value(entry);
    if (value.kind >= BR_FDB_STATIC || value.tick != tick)
        return -EAGAIN;
    br_fdb_remove(fdb, entry);
    return 0;
}

void br_fdb_sweep(struct br_fdb *fdb)
{
    for (int i = 0; i < BR_FDB_SWEEP && fdb->sweep_left; i++)
        br_fdb_sweep_step(fdb);
}

/* Every flush starts a full round from where the sweep stands; generations must not come round before it is done. */
static void br_fdb_sweep_request(struct br_fdb *fdb)
{
    fdb->sweep_left = fdb->bucket_mask + 1;
    if (++fdb->n_unswept >= BR_FDB_MAX_UNSWEPT)
        while (fdb->sweep_left)
            br_fdb_sweep_step(fdb);
}

/* All dynamic entries of a port are stale from now on, for readers in other threads, too. */
static void br_fdb_outdate_port(struct br_fdb *fdb, uint16_t port)
{
    const uint16_t generation = (uint16_t)(fdb->port_generation[port] + 1);

    __atomic_store_n(&fdb->port_generation[port], generation, __ATOMIC_RELAXED);
    if (fdb->offload)
        __atomic_store_n(&fdb->offload->port[port].generation, generation, __ATOMIC_RELAXED);
}

void br_fdb_flush_port(struct br_fdb *fdb, uint16_t port)
{
    br_fdb_outdate_port(fdb, port);
    fdb->n_by_port[port] = fdb->n_sticky_by_port[port];
    fdb->n_dynamic_by_port[port] = 0;
    for (int vid = 0; vid < BR_VLANS; vid++)
        if (fdb->n_by_vlan[vid])
            fdb->n_dynamic[vid][port] = 0;
    br_fdb_sweep_request(fdb);
}

void br_fdb_flush_vlan(struct br_fdb *fdb, uint16_t vid)
{
    const uint8_t generation = (uint8_t)(fdb->vlan_generation[vid] + 1);

    __atomic_store_n(&fdb->vlan_generation[vid], generation, __ATOMIC_RELAXED);
    if (fdb->offload)
        __atomic_store_n(&fdb->offload->vlan[vid].generation, generation, __ATOMIC_RELAXED);
    fdb->n_by_vlan[vid] = fdb->n_sticky_by_vlan[vid];
    for (int port = 0; port < BR_PORTS_MAX; port++) {
        fdb->n_dynamic_by_port[port] -= fdb->n_dynamic[vid][port];
        fdb->n_dynamic[vid][port] = 0;
    }
    br_fdb_sweep_request(fdb);
}

void br_fdb_flush_all(struct br_fdb *fdb)
{
    for (uint16_t port = 0; port < BR_PORTS_MAX; port++)
        br_fdb_outdate_port(fdb, port);
    memcpy(fdb->n_by_port, fdb->n_sticky_by_port, sizeof(fdb->n_by_port));
    memset(fdb->n_dynamic_by_port, 0, sizeof(fdb->n_dynamic_by_port));
    for (int vid = 0; vid < BR_VLANS; vid++)
        if (fdb->n_by_vlan[vid])
            memset(fdb->n_dynamic[vid], 0, sizeof(fdb->n_dynamic[vid]));
    br_fdb_sweep_request(fdb);
}

