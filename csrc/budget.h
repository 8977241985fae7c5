/*
 * budget.h - limits in cycles, frames or bits per second for what a port, VLAN, class or talker spends, and what follows.
 *
 * Shape: a token bucket for each budget. Frames spend when the bill charges them; what was dropped spends nothing, nor do
 *      frames of an exempt class. A budget whose tokens are gone is over until it has some again, and its debt is kept, so
 *      the long-run rate holds whatever the size of a batch. While it is over, its frames end after lookup (drop), or
 *      its talker's address is not learned, moved or refreshed (stop_learning), or nothing happens but that it is told (count).
 *      Frames of one batch that fare alike are charged to a talker by lot (bill.h); so is the budget of a talker.
 * Thread: the data thread. The definition is part of the snapshot, the state belongs to the thread.
 */
#ifndef BR_BUDGET_H
#define BR_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#include "counters.h"

enum { BR_BUDGETS_MAX = 64, BR_ANY_PORT = UINT16_MAX };

enum br_budget_unit { BR_BUDGET_CYCLES, BR_BUDGET_FRAMES, BR_BUDGET_BITS };
enum br_budget_action { BR_BUDGET_COUNT, BR_BUDGET_DROP, BR_BUDGET_STOP_LEARNING };

/* The definition; 0 or BR_ANY_PORT: whichever. */
struct br_budget {
    uint32_t serial;  /* of the definition, not 0; another one starts with a full bucket */
    uint16_t port;    /* ingress */
    uint16_t vid;
    uint64_t talker;  /* MAC address */
    uint16_t classes; /* bit set of enum br_class that spend and are dropped: exempt ones left out */
    uint8_t unit;
    uint8_t action;
    double rate;      /* units a cycle of the clock */
    double burst;     /* units */
};

struct br_budget_state {
    uint32_t serial;
    bool over;
    double tokens;
    uint64_t stamp;   /* of the last refill */
    uint64_t spent;   /* units */
    uint64_t dropped; /* frames */
    uint64_t n_over;  /* times it went over */
};

/* What a budget is asked about: one frame, or frames that have this in common. */
struct br_spender {
    uint16_t port;
    uint16_t vid;
    uint8_t class;
    uint64_t mac; /* 0: not asked */
};

static inline bool br_budget_matches(const struct br_budget *budget, const struct br_spender *spender)
{
    return (budget->port == BR_ANY_PORT || budget->port == spender->port) &&
           (budget->vid == 0 || budget->vid == spender->vid) && budget->classes >> spender->class & 1 &&
           (budget->talker == 0 || budget->talker == spender->mac);
}

#endif
