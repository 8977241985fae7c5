/* account/bill.c - see account/bill.h: the rows of the bill, and reading them. account/charge.c adds to them. */
#include "account/bill.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "fdb/read.h"

enum { BR_CHARGE_SLOTS = 2 * BR_CHARGES_MAX }; /* of the hash table: at most half full */

/* Zeroed memory that takes none until it is touched. */
static void *br_bill_map(size_t len)
{
    void *map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return map == MAP_FAILED ? NULL : map;
}

static size_t br_talkers_len(uint32_t fdb_slots)
{
    return (size_t)fdb_slots * sizeof(struct br_talker);
}

int br_bill_init(struct br_bill *bill, const struct br_fdb *fdb)
{
    bill->charge = br_bill_map(BR_CHARGES_MAX * sizeof(*bill->charge));
    bill->index = br_bill_map(BR_CHARGE_SLOTS * sizeof(*bill->index));
    bill->n_talkers = br_fdb_slots(fdb);
    bill->talker = br_bill_map(br_talkers_len(bill->n_talkers));
    bill->entry = fdb->entry;
    return bill->charge && bill->index && bill->talker ? 0 : -ENOMEM;
}

void br_bill_fini(struct br_bill *bill)
{
    if (bill->charge)
        munmap(bill->charge, BR_CHARGES_MAX * sizeof(*bill->charge));
    if (bill->index)
        munmap(bill->index, BR_CHARGE_SLOTS * sizeof(*bill->index));
    if (bill->talker)
        munmap(bill->talker, br_talkers_len(bill->n_talkers));
}

/* ---- charges ----------------------------------------------------------------------------------------------------- */

static uint32_t br_charge_hash(uint32_t serial, uint16_t vid, uint8_t class)
{
    const uint64_t key = (uint64_t)serial << 20 | (uint64_t)vid << 8 | class;

    return (uint32_t)(key * 0x9e3779b97f4a7c15ull >> 32); /* Fibonacci hashing: Knuth, TAOCP volume 3, section 6.4 */
}

/* The place in the index of a row, or of the gap where it belongs. */
static uint32_t *br_charge_place(const struct br_bill *bill, uint32_t serial, uint16_t vid, uint8_t class)
{
    for (uint32_t slot = br_charge_hash(serial, vid, class);; slot++) {
        uint32_t *place = &bill->index[slot % BR_CHARGE_SLOTS];

        if (!*place)
            return place;
        const struct br_charge *charge = &bill->charge[*place - 1];
        if (charge->serial == serial && charge->vid == vid && charge->class == class)
            return place;
    }
}

struct br_charge *br_charge_row(struct br_bill *bill, uint32_t serial, uint16_t port, uint16_t vid, uint8_t class)
{
    uint32_t *place = br_charge_place(bill, serial, vid, class);

    if (!*place) {
        if (vid != BR_VID_OTHER && bill->n_charges >= BR_CHARGES_MAX - BR_CHARGES_OTHER)
            return br_charge_row(bill, serial, port, BR_VID_OTHER, class);
        bill->charge[bill->n_charges] = (struct br_charge){.serial = serial, .port = port, .vid = vid, .class = class};
        *place = ++bill->n_charges;
    }
    return &bill->charge[*place - 1];
}

void br_bill_close(struct br_bill *bill, uint32_t serial)
{
    struct br_sum gone[BR_CLASS_N] = {0};
    uint32_t n = 0;

    for (uint32_t i = 0; i < bill->n_charges; i++) {
        if (bill->charge[i].serial == serial)
            br_sum_add(&gone[bill->charge[i].class], &bill->charge[i].sum);
        else
            bill->charge[n++] = bill->charge[i];
    }
    bill->n_charges = n;
    bill->last_charge = 0;
    memset(bill->index, 0, BR_CHARGE_SLOTS * sizeof(*bill->index));
    for (uint32_t i = 0; i < n; i++)
        *br_charge_place(bill, bill->charge[i].serial, bill->charge[i].vid, bill->charge[i].class) = i + 1;
    for (uint8_t class = 0; class < BR_CLASS_N; class++)
        if (gone[class].frames)
            br_sum_add(&br_charge_row(bill, 0, UINT16_MAX, BR_VID_OTHER, class)->sum, &gone[class]);
}

/* ---- talkers ----------------------------------------------------------------------------------------------------- */

void br_talker_begin(struct br_talker *talker, uint64_t key)
{
    __atomic_store_n(&talker->key, 0, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    br_sum_write(&talker->sum, (struct br_sum){0}); /* no reader trusts it while there is no key */
    __atomic_store_n(&talker->key, key, __ATOMIC_RELEASE);
}

static bool br_talker_read(const struct br_talker *talker, struct br_talker *copy)
{
    copy->key = __atomic_load_n(&talker->key, __ATOMIC_ACQUIRE);
    if (!copy->key)
        return false;
    copy->sum = br_sum_read(&talker->sum);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return __atomic_load_n(&talker->key, __ATOMIC_RELAXED) == copy->key;
}

bool br_talker_present(const struct br_bill *bill, const struct br_fdb *fdb, uint32_t index, struct br_fdb_entry *entry,
                       struct br_talker *copy)
{
    return br_fdb_read(fdb, index, entry) && br_talker_read(&bill->talker[index], copy) && copy->key == entry->key;
}

uint64_t br_talkers_present(const struct br_bill *bill, const struct br_fdb *fdb)
{
    struct br_fdb_entry entry;
    struct br_talker talker;
    uint64_t cycles = 0;

    for (uint32_t i = 0; i < br_fdb_slots(fdb); i++)
        if (br_talker_present(bill, fdb, i, &entry, &talker))
            cycles += talker.sum.direct + talker.sum.induced;
    return cycles;
}

void br_bill_clear_slow(struct br_bill *bill)
{
    memset(bill->slow, 0, sizeof(bill->slow));
    bill->n_slow = 0;
    bill->slow_least = 0;
}
