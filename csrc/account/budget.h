/*
 * account/budget.h - limits in cycles, frames or bits per second for what a port, VLAN, class or talker spends, and
 * what follows.
 *
 * Shape: a token bucket for each budget. Frames spend when the bill charges them; what was dropped spends nothing, nor
 *      do frames of an exempt class. A budget whose tokens are gone is over until it has some again, and its debt is
 *      kept, so the long-run rate holds whatever the size of a batch. While it is over, its frames are dropped after
 *      lookup (drop), or its talker's address is not learned, moved or refreshed (stop_learning), or nothing happens
 *      but that it is reported (count). Of frames of one batch with one outcome, a sample is charged to its talker
 *      (account/bill.h), and so to the budget of that talker. Storm control is a budget of one port for one flood
 *      class: what is flooded by destination, whatever else it is.
 * Cost: a batch and a charge ask the budgets of their port and those of no port, not all of them.
 * Thread: the data thread. The definition is part of the snapshot, the state belongs to the thread.
 */
#ifndef BR_BUDGET_H
#define BR_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#include "account/sum.h"
#include "batch/batch.h"
#include "count/bucket.h"
#include "count/limits.h"

struct br_budget_state {
    uint32_t serial;
    bool over;          /* now: this decides */
    bool reported;      /* that it is over, and not that this is past */
    struct br_bucket bucket;
    uint64_t last_over; /* of the last one that found it over */
    uint64_t spent;     /* units */
    uint64_t dropped;   /* frames */
    uint64_t n_over;    /* times it was reported to be over */
};

struct br_budgets {
    uint32_t n_over; /* budgets for frames of the batch in work that are over */
    struct br_budget_state state[BR_BUDGETS_MAX]; /* in the order of the snapshot */
};

/* Another snapshot: the budgets that stay keep their state. */
void br_budget_carry(struct br_budgets *budgets, const struct br_snapshot *old, const struct br_snapshot *snapshot);
/* Before a batch of a port: what time gave back, and which budgets are over. */
void br_budget_refill(struct br_budgets *budgets, const struct br_batch *batch, uint16_t port);
/* The same for all, between batches: so that the end of a storm is reported when nothing comes any more. */
void br_budget_refill_all(struct br_budgets *budgets, const struct br_batch *batch);
/* Whether a budget that is over keeps this address from being learned, moved or refreshed. */
bool br_budget_stops_learning(const struct br_budgets *budgets, const struct br_snapshot *snapshot, uint16_t port,
                              uint64_t key);
/* After lookup: drop the frames whose budget is over. */
void br_budget_police(struct br_budgets *budgets, struct br_batch *batch);
/* Frames like this one were charged: to a talker, or, `talker` 0, to their port, VLAN and class. */
void br_budget_spend(struct br_budgets *budgets, const struct br_snapshot *snapshot, const struct br_frame *frame,
                     uint64_t talker, const struct br_sum *sum);

#endif
