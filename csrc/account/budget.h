/*
 * account/budget.h - limits in cycles, frames or bits per second for what a port, VLAN, class or talker spends, and what
 * follows.
 *
 * Shape: a token bucket for each budget. Frames spend when the bill charges them; what was dropped spends nothing, nor
 *      do frames of an exempt class. A budget whose tokens are gone is over until it has some again, and its debt is
 *      kept, so the long-run rate holds whatever the size of a batch. While it is over, its frames end after lookup
 *      (drop), or its talker's address is not learned, moved or refreshed (stop_learning), or nothing happens but that
 *      it is told (count). Frames of one batch that fare alike are charged to a talker by lot (account/bill.h); so is the
 *      budget of a talker. Storm control is a budget of one port for one flood class: what is flooded by destination,
 *      whatever else it is.
 * Cost: a batch and a charge ask the budgets of their port and those of no port, not all of them.
 * Thread: the data thread. The definition is part of the snapshot, the state belongs to the thread.
 */
#ifndef BR_BUDGET_H
#define BR_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#include "count/limits.h"

struct br_budget_state {
    uint32_t serial;
    bool over;          /* now: this decides */
    bool told;          /* that it is over, and not that this is past */
    double tokens;
    uint64_t stamp;     /* of the last refill */
    uint64_t last_over; /* of the last one that found it over */
    uint64_t spent;     /* units */
    uint64_t dropped;   /* frames */
    uint64_t n_over;    /* times it was told to be over */
};

#endif
