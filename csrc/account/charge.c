/* account/charge.c - see account/bill.h: what a batch cost, charged to its frames. */
#include "account/bill.h"
#include "port/port.h"

/* What a batch cost, as rates. What no frame of it can be charged with waits for the next batch. */
struct br_rates {
    double rx;              /* cycles a byte of weight */
    double frame[BR_OUTCOMES]; /* cycles a frame, without rx and tx */
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

static void br_bill_rates(struct br_rates *rates, const struct br_bill *bill, const struct br_work *work,
                          const double spent[BR_STAGE_N], double others, uint32_t n, double part)
{
    double all = spent[BR_STAGE_admit] + spent[BR_STAGE_account] + (double)bill->uncharged + others;
    const double admitted =
        br_bill_share(spent[BR_STAGE_learn] + spent[BR_STAGE_lookup], work->n_admitted, n, part, &all);
    rates->copy = br_bill_share(spent[BR_STAGE_flood], work->n_flooded, n, part, &all);
    const double forwarded = br_bill_share(spent[BR_STAGE_edit], work->n_forwarded, n, part, &all);

    rates->rx = spent[BR_STAGE_rx] / (double)(int64_t)((uint64_t)n * BR_BILL_BYTES + work->rx_bytes);
    rates->frame[BR_OUTCOME_REFUSED] = all * part;
    rates->frame[BR_OUTCOME_DROPPED] = all * part + admitted;
    rates->frame[BR_OUTCOME_FORWARDED] = all * part + admitted + forwarded;
    rates->frame[BR_OUTCOME_UNSENT] = rates->frame[BR_OUTCOME_FORWARDED];
    rates->frame[BR_OUTCOME_CUT] = rates->frame[BR_OUTCOME_FORWARDED];
    rates->frame[BR_OUTCOME_FLOODED] = rates->frame[BR_OUTCOME_DROPPED];
}

/* Charge a sum to the row of a source, unless it has none. */
static inline void br_bill_talker(struct br_bill *bill, struct br_budgets *budgets, const struct br_batch *batch,
                                  const struct br_frame *frame, const struct br_sum *sum)
{
    const struct br_stations *stations = &batch->stations[frame - batch->frame];

    if (__builtin_expect(batch->snapshot->n_budgets, 0))
        br_budget_spend(budgets, batch->snapshot, frame, stations->source & BR_FDB_MAC, sum);
    if (!stations->talker)
        return;
    struct br_talker *talker = &bill->talker[stations->talker - bill->entry];

    if (__builtin_expect(talker->key != stations->source, 0))
        br_talker_begin(talker, stations->source);
    br_sum_add(&talker->sum, sum);
    bill->talked += sum->direct + sum->induced;
}

/* Charge a sum to the row of its port, VLAN and class; returns its cycles. */
static uint64_t br_bill_charge(struct br_bill *bill, struct br_budgets *budgets, const struct br_batch *batch,
                               const struct br_port *ingress, const struct br_frame *frame, const struct br_sum *sum)
{
    if (__builtin_expect(batch->snapshot->n_budgets, 0))
        br_budget_spend(budgets, batch->snapshot, frame, 0, sum);
    struct br_charge *charge = &bill->charge[bill->last_charge];

    if (charge->serial != ingress->serial || charge->vid != frame->vid || charge->class != frame->class) {
        charge = br_charge_row(bill, ingress->serial, ingress->index, frame->vid, frame->class);
        bill->last_charge = (uint32_t)(charge - bill->charge);
    }
    br_sum_add(&charge->sum, sum);
    return sum->direct + sum->induced;
}

/* A frame with more than one copy. */
static void br_bill_copies(const struct br_batch *batch, const struct br_rates *rates, uint32_t i, struct br_sum *sum)
{
    const struct br_work *work = &batch->work;
    const struct br_frame *frame = &batch->frame[i];
    const double weight = br_frame_weight(frame);
    const double own = rates->frame[frame->outcome] + weight * rates->rx;

    *sum = (struct br_sum){.copies = work->copies[i]};
    br_sum_frame(sum, frame);
    if (frame->outcome == BR_OUTCOME_CUT) {
        sum->direct = br_bill_round(own + weight * work->tx_rate[frame->egress]);
        return;
    }
    const double copies = work->copy_tx[i] + rates->copy * work->targets[i];
    const double first = copies / work->targets[i];
    sum->direct = br_bill_round(own + first);
    sum->induced = br_bill_round(copies - first);
}

/* A frame of i to end - 1, drawn at random. */
static inline const struct br_frame *br_bill_draw(struct br_bill *bill, const struct br_batch *batch, uint32_t i,
                                                  uint32_t end)
{
    bill->random = bill->random * 6364136223846793005u + 1442695040888963407u; /* Knuth's MMIX generator */
    return &batch->frame[i + (uint32_t)((bill->random >> 32) * (end - i) >> 32)];
}

/* Charge what frames i to end - 1 cost, too many for one sample, to the talkers of as many samples as it takes. */
static void br_bill_samples(struct br_bill *bill, struct br_budgets *budgets, const struct br_batch *batch, double each,
                            double rate, uint32_t i, uint32_t end, const struct br_sum *sum)
{
    const struct br_frame *drawn[BR_BURST_MAX / BR_TALKER_SAMPLE];
    struct br_sum sample[BR_BURST_MAX / BR_TALKER_SAMPLE];
    double total = 0;
    uint32_t n = 0;

    for (uint32_t next; i < end; i = next, n++) {
        next = i + BR_TALKER_SAMPLE < end ? i + BR_TALKER_SAMPLE : end;
        drawn[n] = br_bill_draw(bill, batch, i, next);
        sample[n] = (struct br_sum){
            .frames = next - i,
            .segments = (uint64_t)(next - i) * drawn[n]->segments,
            .bytes = (uint64_t)(next - i) * drawn[n]->rx_len,
            .copies = sum->copies ? next - i : 0,
        };
        total += each * (double)(int64_t)sample[n].frames + rate * (double)(int64_t)sample[n].bytes;
    }
    const double scale = (double)(int64_t)sum->direct / (total > 1 ? total : 1);
    uint64_t left = sum->direct;
    for (uint32_t k = 0; k < n; k++) {
        const double cycles = each * (double)(int64_t)sample[k].frames + rate * (double)(int64_t)sample[k].bytes;
        const uint64_t share = br_bill_round(cycles * scale);

        sample[k].direct = k + 1 == n || share > left ? left : share; /* together exactly the sum */
        left -= sample[k].direct;
        br_bill_talker(bill, budgets, batch, drawn[k], &sample[k]);
    }
}

/* Frames from i on with one outcome, VLAN and class, charged together; returns where they end. */
static uint32_t br_bill_alike(struct br_bill *bill, struct br_budgets *budgets, const struct br_batch *batch,
                              const struct br_rates *rates, uint32_t i, uint32_t n, struct br_sum *sum)
{
    const struct br_work *work = &batch->work;
    const struct br_frame *first = &batch->frame[i];
    const bool has_egress = first->outcome >= BR_OUTCOME_UNSENT;
    const double rate = rates->rx + (first->outcome == BR_OUTCOME_FORWARDED ? work->tx_rate[first->egress] : 0);
    const double each = rates->frame[first->outcome] + rate * BR_BILL_BYTES;
    uint32_t end = i + 1;

    while (end < n && batch->frame[end].account == first->account)
        end++;
    *sum = (struct br_sum){0};
    if (end - i == n)
        *sum = (struct br_sum){.frames = n, .segments = work->rx_segments, .bytes = work->rx_bytes};
    else
        for (uint32_t k = i; k < end; k++)
            br_sum_frame(sum, &batch->frame[k]);
    sum->copies = has_egress ? sum->frames : 0;
    sum->direct = br_bill_round(each * (double)(int64_t)sum->frames + rate * (double)(int64_t)sum->bytes);
    if (end - i <= BR_TALKER_SAMPLE)
        br_bill_talker(bill, budgets, batch, br_bill_draw(bill, batch, i, end), sum);
    else
        br_bill_samples(bill, budgets, batch, each, rate, i, end, sum);
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

static void br_bill_note(struct br_bill *bill, const struct br_batch *batch, const struct br_port *ingress,
                         const double spent[BR_STAGE_N], uint64_t total, uint32_t n, double part)
{
    br_histogram_add(&bill->histogram[BR_HISTOGRAM_batch_cycles], total);
    br_histogram_add(&bill->histogram[BR_HISTOGRAM_batch_frames], n);
    br_histogram_add(&bill->histogram[BR_HISTOGRAM_frame_cycles], (uint64_t)((double)(int64_t)total * part));
    if (BR_LIKELY(total <= bill->slow_least))
        return;
    struct br_slow slow = {.stamp = batch->stamp, .cycles = total, .frames = n, .port = ingress->index};
    for (int stage = BR_STAGE_BUSY; stage < BR_STAGE_N; stage++)
        slow.stage[stage] = (uint64_t)spent[stage];
    br_bill_slow(bill, &slow);
}

/* Charge copies for mirrors to the frames they are of; returns their cycles. */
static uint64_t br_bill_mirrors(struct br_bill *bill, struct br_budgets *budgets, struct br_batch *batch,
                                const struct br_port *ingress, double cycles, uint32_t n)
{
    struct br_work *work = &batch->work;
    const double each = cycles / work->n_mirrored;
    uint64_t charged = 0;

    for (uint32_t i = 0; i < n; i++) {
        const struct br_frame *frame = &batch->frame[i];
        const struct br_sum sum = {
            .induced = br_bill_round(each * work->mirrored[i] + work->mirror_tx[i]),
            .copies = work->mirror_copies[i],
        };

        if (!work->mirrored[i])
            continue;
        br_bill_talker(bill, budgets, batch, frame, &sum);
        charged += br_bill_charge(bill, budgets, batch, ingress, frame, &sum);
    }
    work->n_mirrored = 0;
    return charged;
}

void br_bill_batch(struct br_bill *bill, struct br_budgets *budgets, struct br_batch *batch,
                   const struct br_port *ingress, uint32_t n)
{
    double spent[BR_STAGE_N];
    struct br_rates rates;
    struct br_sum sum;
    uint64_t charged = 0;
    const uint64_t total = br_bill_spent(bill, &batch->counters, spent);
    const double part = 1.0 / n;

    br_bill_rates(&rates, bill, &batch->work, spent, batch->work.n_mirrored ? 0 : spent[BR_STAGE_mirror], n, part);
    for (uint32_t i = 0; i < n;) {
        const struct br_frame *frame = &batch->frame[i];

        if (BR_LIKELY(frame->outcome < BR_OUTCOME_CUT)) {
            i = br_bill_alike(bill, budgets, batch, &rates, i, n, &sum);
        } else {
            br_bill_copies(batch, &rates, i++, &sum);
            br_bill_talker(bill, budgets, batch, frame, &sum);
        }
        charged += br_bill_charge(bill, budgets, batch, ingress, frame, &sum);
    }
    if (__builtin_expect(batch->work.n_mirrored, 0))
        charged += br_bill_mirrors(bill, budgets, batch, ingress, spent[BR_STAGE_mirror], n);
    bill->uncharged += (int64_t)(total - charged);
    batch->work.n_flooded = 0;
    br_bill_note(bill, batch, ingress, spent, total, n, part);
}

void br_bill_discard(struct br_bill *bill, struct br_budgets *budgets, struct br_batch *batch,
                     const struct br_port *ingress, uint32_t n)
{
    struct br_sum sum = {0};

    for (uint32_t i = 0; i < n; i++)
        br_sum_frame(&sum, &batch->frame[i]);
    br_bill_charge(bill, budgets, batch, ingress, &(struct br_frame){.class = BR_CLASS_dropped}, &sum);
}

