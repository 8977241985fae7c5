/* account/bill.c - see account/bill.h. */
#include "account/bill.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "thread/bridge.h"

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

/* ---- sums -------------------------------------------------------------------------------------------------------- */

/* One writer; a row that other threads may read is torn across its values, never within one. */
static inline void br_sum_write(struct br_sum *to, struct br_sum sum)
{
    __atomic_store_n(&to->direct, sum.direct, __ATOMIC_RELAXED);
    __atomic_store_n(&to->induced, sum.induced, __ATOMIC_RELAXED);
    __atomic_store_n(&to->frames, sum.frames, __ATOMIC_RELAXED);
    __atomic_store_n(&to->segments, sum.segments, __ATOMIC_RELAXED);
    __atomic_store_n(&to->bytes, sum.bytes, __ATOMIC_RELAXED);
    __atomic_store_n(&to->copies, sum.copies, __ATOMIC_RELAXED);
}

static inline void br_sum_add(struct br_sum *to, const struct br_sum *sum)
{
    br_sum_write(to, (struct br_sum){
                         .direct = to->direct + sum->direct,
                         .induced = to->induced + sum->induced,
                         .frames = to->frames + sum->frames,
                         .segments = to->segments + sum->segments,
                         .bytes = to->bytes + sum->bytes,
                         .copies = to->copies + sum->copies,
                     });
}

static struct br_sum br_sum_read(const struct br_sum *sum)
{
    return (struct br_sum){
        .direct = __atomic_load_n(&sum->direct, __ATOMIC_RELAXED),
        .induced = __atomic_load_n(&sum->induced, __ATOMIC_RELAXED),
        .frames = __atomic_load_n(&sum->frames, __ATOMIC_RELAXED),
        .segments = __atomic_load_n(&sum->segments, __ATOMIC_RELAXED),
        .bytes = __atomic_load_n(&sum->bytes, __ATOMIC_RELAXED),
        .copies = __atomic_load_n(&sum->copies, __ATOMIC_RELAXED),
    };
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

/* The row of (port, VLAN, class); made if there is none. */
static struct br_charge *br_charge_row(struct br_bill *bill, uint32_t serial, uint16_t port, uint16_t vid, uint8_t class)
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

/* The slot has another station than before: what the old one cost stays in `talked`. */
static void br_talker_begin(struct br_talker *talker, uint64_t key)
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

/* ---- the batch --------------------------------------------------------------------------------------------------- */

/* What a batch cost, as rates. What no frame of it can be charged with waits for the next batch. */
struct br_tariff {
    double rx;              /* cycles a byte of weight */
    double frame[BR_FATES]; /* cycles a frame, without rx and tx */
    double copy;            /* cycles of flood a copy */
};

static inline void br_sum_frame(struct br_sum *sum, const struct br_frame *frame)
{
    sum->frames++;
    sum->segments += frame->segments;
    sum->bytes += frame->rx_len;
}

static inline uint64_t br_bill_round(double cycles)
{
    return cycles > 0 ? (uint64_t)(int64_t)(cycles + 0.5) : 0;
}

/* Cycles of each busy stage since the last bill; returns their sum. */
static uint64_t br_bill_spent(struct br_bill *bill, const struct br_thread_counters *counters, double spent[BR_STAGE_N])
{
    uint64_t total = 0;

    for (int stage = BR_STAGE_BUSY; stage < BR_STAGE_N; stage++) {
        const uint64_t cycles = counters->stage_cycles[stage] - bill->stage_seen[stage];

        bill->stage_seen[stage] = counters->stage_cycles[stage];
        spent[stage] = (double)(int64_t)cycles;
        total += cycles;
    }
    return total;
}

/*
 * Spread a stage over the frames that went through it, or copies; what none did is everybody's. `part` is 1 / n: most
 * batches need no other division.
 */
static inline double br_bill_share(double cycles, uint32_t of, uint32_t n, double part, double *all)
{
    if (BR_LIKELY(of == n))
        return cycles * part;
    if (of)
        return cycles / of;
    *all += cycles;
    return 0;
}

static void br_bill_tariff(struct br_tariff *tariff, const struct br_bill *bill, const double spent[BR_STAGE_N],
                           double others, uint32_t n, double part)
{
    double all = spent[BR_STAGE_admit] + spent[BR_STAGE_account] + (double)bill->uncharged + others;
    const double admitted =
        br_bill_share(spent[BR_STAGE_learn] + spent[BR_STAGE_lookup], bill->n_admitted, n, part, &all);
    tariff->copy = br_bill_share(spent[BR_STAGE_flood], bill->n_flooded, n, part, &all);
    const double forwarded = br_bill_share(spent[BR_STAGE_edit], bill->n_forwarded, n, part, &all);

    tariff->rx = spent[BR_STAGE_rx] / (double)(int64_t)((uint64_t)n * BR_BILL_BYTES + bill->rx_bytes);
    tariff->frame[BR_FATE_REFUSED] = all * part;
    tariff->frame[BR_FATE_ENDED] = all * part + admitted;
    tariff->frame[BR_FATE_FORWARDED] = all * part + admitted + forwarded;
    tariff->frame[BR_FATE_UNSENT] = tariff->frame[BR_FATE_FORWARDED];
    tariff->frame[BR_FATE_CUT] = tariff->frame[BR_FATE_FORWARDED];
    tariff->frame[BR_FATE_FLOODED] = tariff->frame[BR_FATE_ENDED];
}

/* Charge a sum to the row of a source, unless it has none. */
static inline void br_bill_talker(struct br_thread *thread, const struct br_snapshot *snapshot,
                                  const struct br_frame *frame, const struct br_sum *sum)
{
    const struct br_stations *stations = &thread->stations[frame - thread->frame];
    struct br_bill *bill = &thread->bill;

    if (__builtin_expect(snapshot->n_budgets, 0))
        br_budget_spend(thread, snapshot, frame, stations->source & BR_FDB_MAC, sum);
    if (!stations->talker)
        return;
    struct br_talker *talker = &bill->talker[stations->talker - bill->entry];

    if (__builtin_expect(talker->key != stations->source, 0))
        br_talker_begin(talker, stations->source);
    br_sum_add(&talker->sum, sum);
    bill->talked += sum->direct + sum->induced;
}

/* Charge a sum to the row of its port, VLAN and class; returns its cycles. */
static uint64_t br_bill_charge(struct br_thread *thread, const struct br_snapshot *snapshot,
                               const struct br_port *ingress, const struct br_frame *frame, const struct br_sum *sum)
{
    struct br_bill *bill = &thread->bill;

    if (__builtin_expect(snapshot->n_budgets, 0))
        br_budget_spend(thread, snapshot, frame, 0, sum);
    struct br_charge *charge = &bill->charge[bill->last_charge];

    if (charge->serial != ingress->serial || charge->vid != frame->vid || charge->class != frame->class) {
        charge = br_charge_row(bill, ingress->serial, ingress->index, frame->vid, frame->class);
        bill->last_charge = (uint32_t)(charge - bill->charge);
    }
    br_sum_add(&charge->sum, sum);
    return sum->direct + sum->induced;
}

/* A frame with more than one copy. */
static void br_bill_copies(const struct br_thread *thread, const struct br_tariff *tariff, uint32_t i, struct br_sum *sum)
{
    const struct br_bill *bill = &thread->bill;
    const struct br_frame *frame = &thread->frame[i];
    const double weight = br_bill_weight(frame);
    const double own = tariff->frame[frame->fate] + weight * tariff->rx;

    *sum = (struct br_sum){.copies = bill->copies[i]};
    br_sum_frame(sum, frame);
    if (frame->fate == BR_FATE_CUT) {
        sum->direct = br_bill_round(own + weight * bill->tx_rate[frame->egress]);
        return;
    }
    const double copies = bill->copy_tx[i] + tariff->copy * bill->targets[i];
    const double first = copies / bill->targets[i];
    sum->direct = br_bill_round(own + first);
    sum->induced = br_bill_round(copies - first);
}

/* A frame of i to end - 1, drawn by lot. */
static inline const struct br_frame *br_bill_draw(struct br_thread *thread, uint32_t i, uint32_t end)
{
    struct br_bill *bill = &thread->bill;

    bill->lot = bill->lot * 6364136223846793005u + 1442695040888963407u; /* Knuth's MMIX generator */
    return &thread->frame[i + (uint32_t)((bill->lot >> 32) * (end - i) >> 32)];
}

/* Charge what frames i to end - 1 cost, more than one lot of them, to the talkers that the lots fall on. */
static void br_bill_lots(struct br_thread *thread, const struct br_snapshot *snapshot, double each, double rate, uint32_t i,
                         uint32_t end, const struct br_sum *sum)
{
    const struct br_frame *drawn[BR_BURST_MAX / BR_TALKER_LOT];
    struct br_sum lot[BR_BURST_MAX / BR_TALKER_LOT];
    double total = 0;
    uint32_t n = 0;

    for (uint32_t next; i < end; i = next, n++) {
        next = i + BR_TALKER_LOT < end ? i + BR_TALKER_LOT : end;
        drawn[n] = br_bill_draw(thread, i, next);
        lot[n] = (struct br_sum){
            .frames = next - i,
            .segments = (uint64_t)(next - i) * drawn[n]->segments,
            .bytes = (uint64_t)(next - i) * drawn[n]->rx_len,
            .copies = sum->copies ? next - i : 0,
        };
        total += each * (double)(int64_t)lot[n].frames + rate * (double)(int64_t)lot[n].bytes;
    }
    const double scale = (double)(int64_t)sum->direct / (total > 1 ? total : 1);
    uint64_t left = sum->direct;
    for (uint32_t k = 0; k < n; k++) {
        const double cycles = each * (double)(int64_t)lot[k].frames + rate * (double)(int64_t)lot[k].bytes;
        const uint64_t share = br_bill_round(cycles * scale);

        lot[k].direct = k + 1 == n || share > left ? left : share; /* together exactly the sum */
        left -= lot[k].direct;
        br_bill_talker(thread, snapshot, drawn[k], &lot[k]);
    }
}

/* Frames from i on that fare alike; returns where they end. */
static uint32_t br_bill_alike(struct br_thread *thread, const struct br_snapshot *snapshot,
                              const struct br_tariff *tariff, uint32_t i, uint32_t n, struct br_sum *sum)
{
    const struct br_bill *bill = &thread->bill;
    const struct br_frame *first = &thread->frame[i];
    const bool has_egress = first->fate >= BR_FATE_UNSENT;
    const double rate = tariff->rx + (first->fate == BR_FATE_FORWARDED ? bill->tx_rate[first->egress] : 0);
    const double each = tariff->frame[first->fate] + rate * BR_BILL_BYTES;
    uint32_t end = i + 1;

    while (end < n && thread->frame[end].account == first->account)
        end++;
    *sum = (struct br_sum){0};
    if (end - i == n)
        *sum = (struct br_sum){.frames = n, .segments = bill->rx_segments, .bytes = bill->rx_bytes};
    else
        for (uint32_t k = i; k < end; k++)
            br_sum_frame(sum, &thread->frame[k]);
    sum->copies = has_egress ? sum->frames : 0;
    sum->direct = br_bill_round(each * (double)(int64_t)sum->frames + rate * (double)(int64_t)sum->bytes);
    if (end - i <= BR_TALKER_LOT)
        br_bill_talker(thread, snapshot, br_bill_draw(thread, i, end), sum);
    else
        br_bill_lots(thread, snapshot, each, rate, i, end, sum);
    return end;
}

static void br_bill_slow(struct br_bill *bill, const struct br_slow *batch)
{
    uint32_t at = bill->n_slow;

    if (bill->n_slow < BR_SLOW_MAX)
        bill->n_slow++;
    else
        for (uint32_t i = at = 0; i < BR_SLOW_MAX; i++)
            if (bill->slow[i].cycles < bill->slow[at].cycles)
                at = i;
    bill->slow[at] = *batch;
    bill->slow_least = UINT64_MAX;
    for (uint32_t i = 0; i < BR_SLOW_MAX; i++) /* unused rows are zero: until the table is full every batch is slow */
        if (bill->slow[i].cycles < bill->slow_least)
            bill->slow_least = bill->slow[i].cycles;
}

static void br_bill_note(const struct br_thread *thread, struct br_bill *bill, const struct br_port *ingress,
                         const double spent[BR_STAGE_N], uint64_t total, uint32_t n, double part)
{
    br_histogram_add(&bill->histogram[BR_HISTOGRAM_batch_cycles], total);
    br_histogram_add(&bill->histogram[BR_HISTOGRAM_batch_frames], n);
    br_histogram_add(&bill->histogram[BR_HISTOGRAM_frame_cycles], (uint64_t)((double)(int64_t)total * part));
    if (BR_LIKELY(total <= bill->slow_least))
        return;
    struct br_slow batch = {.stamp = thread->stamp, .cycles = total, .frames = n, .port = ingress->index};
    for (int stage = BR_STAGE_BUSY; stage < BR_STAGE_N; stage++)
        batch.stage[stage] = (uint64_t)spent[stage];
    br_bill_slow(bill, &batch);
}

/* Charge copies for mirrors to the frames they are of; returns their cycles. */
static uint64_t br_bill_mirrors(struct br_thread *thread, const struct br_snapshot *snapshot, const struct br_port *ingress,
                                double cycles, uint32_t n)
{
    struct br_mirror_thread *mirror = &thread->mirror;
    const double each = cycles / mirror->n_shots;
    uint64_t charged = 0;

    for (uint32_t i = 0; i < n; i++) {
        const struct br_frame *frame = &thread->frame[i];
        const struct br_sum sum = {
            .induced = br_bill_round(each * mirror->shots[i] + mirror->tx[i]),
            .copies = mirror->copies[i],
        };

        if (!mirror->shots[i])
            continue;
        br_bill_talker(thread, snapshot, frame, &sum);
        charged += br_bill_charge(thread, snapshot, ingress, frame, &sum);
    }
    mirror->n_shots = 0;
    return charged;
}

void br_bill_batch(struct br_thread *thread, const struct br_snapshot *snapshot, const struct br_port *ingress, uint32_t n)
{
    struct br_bill *bill = &thread->bill;
    double spent[BR_STAGE_N];
    struct br_tariff tariff;
    struct br_sum sum;
    uint64_t charged = 0;
    const uint64_t total = br_bill_spent(bill, &thread->counters, spent);
    const double part = 1.0 / n;

    br_bill_tariff(&tariff, bill, spent, thread->mirror.n_shots ? 0 : spent[BR_STAGE_mirror], n, part);
    for (uint32_t i = 0; i < n;) {
        const struct br_frame *frame = &thread->frame[i];

        if (BR_LIKELY(frame->fate < BR_FATE_CUT)) {
            i = br_bill_alike(thread, snapshot, &tariff, i, n, &sum);
        } else {
            br_bill_copies(thread, &tariff, i++, &sum);
            br_bill_talker(thread, snapshot, frame, &sum);
        }
        charged += br_bill_charge(thread, snapshot, ingress, frame, &sum);
    }
    if (__builtin_expect(thread->mirror.n_shots, 0))
        charged += br_bill_mirrors(thread, snapshot, ingress, spent[BR_STAGE_mirror], n);
    bill->uncharged += (int64_t)(total - charged);
    bill->n_flooded = 0;
    br_bill_note(thread, bill, ingress, spent, total, n, part);
}

void br_bill_discard(struct br_thread *thread, const struct br_snapshot *snapshot, const struct br_port *ingress, uint32_t n)
{
    struct br_sum sum = {0};

    for (uint32_t i = 0; i < n; i++)
        br_sum_frame(&sum, &thread->frame[i]);
    br_bill_charge(thread, snapshot, ingress, &(struct br_frame){.class = BR_CLASS_dropped}, &sum);
}

void br_bill_clear_slow(struct br_bill *bill)
{
    memset(bill->slow, 0, sizeof(bill->slow));
    bill->n_slow = 0;
    bill->slow_least = 0;
}
