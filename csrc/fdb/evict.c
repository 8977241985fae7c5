/*
 * fdb/evict.c - who gives way when a limit is met: the longest silent dynamic entry of the greediest port.
 *
 * Job: a search, nothing else; fdb/fdb.c removes what is found. Greediest is the port with the most dynamic entries
 *      in the VLAN that is full, or in the table; of equals one that is not the learner's, and of those the lowest
 *      index. So whoever floods pays for it as soon as it has more than any other, and everybody else keeps what it has
 *      (Open vSwitch documents the same aim in lib/mac-learning.h).
 * Bounds: at most BR_FDB_VISITS buckets that are not empty and one round of the bitmap that names them. With so few
 *      entries in the table that is all of them: the choice is exact, by age in ticks, then by the smaller key. With
 *      more, a hand goes round the table and the oldest of the first BR_FDB_SAMPLE that fit is taken. A search that met
 *      none until then goes on for as long as its caller allows, or finds nobody; the next one begins where it stopped.
 * Thread: the data thread.
 */
#include "fdb/fdb.h"

enum { BR_FDB_SAMPLE = 8 };

static uint16_t br_fdb_greediest(const uint32_t n_dynamic[BR_PORTS_MAX], uint16_t learner)
{
    uint16_t greediest = UINT16_MAX;
    uint32_t most = 0;

    for (uint16_t port = 0; port < BR_PORTS_MAX; port++)
        if (n_dynamic[port] > most || (n_dynamic[port] == most && greediest == learner)) {
            greediest = port;
            most = n_dynamic[port];
        }
    return greediest;
}

/* Empty buckets from this one on, as far as one word of the bitmap says. */
static uint32_t br_fdb_gap(const struct br_fdb *fdb, uint32_t bucket)
{
    const uint64_t rest = fdb->occupied[bucket / 64] >> bucket % 64;
    const uint32_t gap = rest ? (uint32_t)__builtin_ctzll(rest) : 64 - bucket % 64;
    const uint32_t left = fdb->bucket_mask + 1 - bucket;

    return gap < left ? gap : left;
}

struct br_fdb_search {
    uint16_t vid; /* 0: any */
    uint16_t port;
    uint16_t now;
    uint16_t age; /* of the oldest */
    uint32_t n_met;
    struct br_fdb_entry *oldest;
};

static void br_fdb_search_bucket(const struct br_fdb *fdb, uint32_t bucket, struct br_fdb_search *search)
{
    struct br_fdb_entry *entry = &fdb->entry[bucket * BR_FDB_WAYS];

    for (int way = 0; way < BR_FDB_WAYS; way++, entry++) {
        const union br_fdb_value value = br_fdb_value(entry);
        const uint16_t age = (uint16_t)(search->now - value.tick);

        if (!entry->key || value.kind != BR_FDB_DYNAMIC || value.port != search->port ||
            (search->vid && entry->key >> 48 != search->vid) || !br_fdb_live(fdb, entry->key, value))
            continue;
        search->n_met++;
        if (!search->oldest || age > search->age || (age == search->age && entry->key < search->oldest->key)) {
            search->oldest = entry;
            search->age = age;
        }
    }
}

struct br_fdb_entry *br_fdb_victim(struct br_fdb *fdb, uint16_t vid, uint16_t port, uint32_t most_visits)
{
    const uint32_t n_enough = fdb->n_entries <= BR_FDB_VISITS ? UINT32_MAX : BR_FDB_SAMPLE;
    struct br_fdb_search search = {
        .vid = vid,
        .port = br_fdb_greediest(vid ? fdb->n_dynamic[vid] : fdb->n_dynamic_by_port, port),
        .now = br_fdb_tick(fdb),
    };
    uint32_t left = search.port == UINT16_MAX ? 0 : fdb->bucket_mask + 1;

    for (uint32_t n_visits = 0; left && search.n_met < n_enough;) {
        if (n_visits >= (search.oldest ? BR_FDB_VISITS : most_visits))
            break;
        uint32_t step = br_fdb_gap(fdb, fdb->hand);

        if (!step) {
            br_fdb_search_bucket(fdb, fdb->hand, &search);
            n_visits++;
            step = 1;
        }
        step = step < left ? step : left;
        left -= step;
        fdb->hand = (fdb->hand + step) & fdb->bucket_mask;
    }
    return search.oldest;
}
