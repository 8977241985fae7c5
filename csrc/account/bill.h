/*
 * account/bill.h - the bill: every busy cycle of the data thread, charged to the frames that caused it.
 *
 * Shape: `charge` has a row for each (port, VLAN, class) that was seen, `talker` a row beside each FDB entry, for the
 *      source that has it. A charge tells apart what the frame itself cost (direct, one copy included) and what the
 *      copies beyond the first cost (induced).
 * How: at the end of a batch the cycles of each stage since the last bill are spread over the frames that went through
 *      it. rx is spread over all frames of the batch and tx, port by port, over the copies sent there, by frame and by
 *      byte (BR_BILL_BYTES of them cost as much as a frame does); admit over all frames, learn and lookup over those
 *      admitted, edit over the known unicast, flood over the copies. Writing the bill is itself a stage, and is charged
 *      with the next batch, as is what rounding left over:
 *            sum(direct + induced) + uncharged = sum(busy stages)        exactly, at every batch boundary.
 *      Talkers: a flooded frame is charged to its own. Of frames that fare alike in a batch, one in BR_TALKER_SAMPLE is
 *      drawn at random and charged for all of them, as its row is most of what a charge costs (a cache line of its
 *      own). With fewer frames than that in a batch, as at low rates, each sample is smaller; a frame alone is charged
 *      exactly.
 * Thread: one writer, the data thread. charges are copied at a batch boundary; talkers may be read at any time.
 * Bounds: everything is allocated at set-up. A (port, VLAN, class) that finds the table full is charged to (port,
 *      BR_VID_OTHER, class), for which there is always room. Untouched rows of talkers take no memory.
 */
#ifndef BR_BILL_H
#define BR_BILL_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "account/budget.h"
#include "account/sum.h"
#include "batch/batch.h"
#include "count/counters.h"
#include "count/histogram.h"
#include "fdb/table.h"

enum {
    BR_VID_OTHER = 4095,
    BR_CHARGES_MAX = 32768,
    BR_CHARGES_OTHER = BR_PORTS_MAX * BR_CLASS_N, /* of them kept for BR_VID_OTHER */
    BR_TALKER_SAMPLE = 16,
    BR_SLOW_MAX = 16,
    BR_STAGE_BUSY = BR_STAGE_rx, /* this one and all after it are charged */
};

struct br_charge {
    uint32_t serial; /* of the port's attachment, 0: ports that left */
    uint16_t port;   /* its index */
    uint16_t vid;    /* 0: the frame was dropped before its VLAN was known */
    uint8_t class;
    struct br_sum sum;
};

struct br_talker {
    uint64_t key; /* as in the FDB */
    struct br_sum sum;
    uint64_t reserved;
};

static_assert(sizeof(struct br_charge) == 64, "a charge is one cache line");
static_assert(sizeof(struct br_talker) == 64, "a talker is one cache line");

/* One of the slowest batches. */
struct br_slow {
    uint64_t stamp; /* br_cycles_now() at its end */
    uint64_t cycles;
    uint64_t stage[BR_STAGE_N];
    uint32_t frames;
    uint16_t port;
};

struct br_bill {
    struct br_charge *charge; /* n_charges rows, in no order */
    uint32_t *index;          /* hash table of row numbers + 1 */
    uint32_t n_charges;
    uint32_t last_charge;     /* row that was charged last */
    struct br_talker *talker; /* beside the entries of the FDB */
    const struct br_fdb_entry *entry; /* the first of them */
    uint32_t n_talkers;
    uint64_t stage_seen[BR_STAGE_N];
    int64_t uncharged;
    uint64_t random;          /* state of the generator that draws talkers */
    uint64_t talked;          /* charged to talkers, those who left included */
    uint64_t slow_least;      /* of the rows of slow, once it is full */
    uint32_t n_slow;
    struct br_slow slow[BR_SLOW_MAX];
    struct br_histogram histogram[BR_HISTOGRAM_N];
};

/* The bill at one batch boundary. */
struct br_bill_copy {
    uint64_t stamp;
    struct br_thread_counters thread;
    int64_t uncharged;
    uint64_t talked;
    uint32_t n_charges;
    uint32_t n_slow;
    struct br_histogram histogram[BR_HISTOGRAM_N];
    struct br_slow slow[BR_SLOW_MAX];
    struct br_charge charge[BR_CHARGES_MAX];
};

/* 0 or -ENOMEM. */
int br_bill_init(struct br_bill *bill, const struct br_fdb *fdb);
void br_bill_fini(struct br_bill *bill);

/* Charge the batch of n >= 1 frames that the pipeline is done with. */
void br_bill_batch(struct br_bill *bill, struct br_budgets *budgets, struct br_batch *batch,
                   const struct br_port *ingress, uint32_t n);
/* Count n frames that were dropped as the port came up; what they cost is control work. */
void br_bill_discard(struct br_bill *bill, struct br_budgets *budgets, struct br_batch *batch,
                     const struct br_port *ingress, uint32_t n);

/* The row of (port, VLAN, class); made if there is none. */
struct br_charge *br_charge_row(struct br_bill *bill, uint32_t serial, uint16_t port, uint16_t vid, uint8_t class);
/* The slot has another station than before: what the old one cost stays in `talked`. */
void br_talker_begin(struct br_talker *talker, uint64_t key);

/* At a batch boundary: the rows of a port that left become one row a class, of serial 0. */
void br_bill_close(struct br_bill *bill, uint32_t serial);
/* At a batch boundary: forget the slowest batches. */
void br_bill_clear_slow(struct br_bill *bill);
/* Any thread: the entry at `index` of the FDB and the row beside it as they are now; false if they are of no one
 * station. */
bool br_talker_present(const struct br_bill *bill, const struct br_fdb *fdb, uint32_t index, struct br_fdb_entry *entry,
                       struct br_talker *copy);
/* Any thread: cycles of all talkers that have an entry. */
uint64_t br_talkers_present(const struct br_bill *bill, const struct br_fdb *fdb);

#endif
