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

#include "count/counters.h"

enum { BR_BUDGETS_MAX = 1024, BR_ANY_PORT = UINT16_MAX };

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
    uint8_t floods;   /* bit set of enum br_flood_class: storm control of these; 0: flooded or not */
    uint16_t next;    /* of the same port; a place + 1, 0: none */
    double rate;      /* units a cycle of the clock */
    double burst;     /* units */
    uint64_t calm;    /* cycles without being over until its end is told; a storm is one, not one for each token */
};

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

/* What a budget is asked about: one frame, or frames that have this in common. */
struct br_spender {
    uint16_t port;
    uint16_t vid;
    uint8_t class;
    uint8_t floods; /* the bit of its flood class; 0: not flooded */
    uint64_t mac;   /* 0: not asked */
};

static inline bool br_budget_matches(const struct br_budget *budget, const struct br_spender *spender)
{
    return (budget->port == BR_ANY_PORT || budget->port == spender->port) &&
           (budget->vid == 0 || budget->vid == spender->vid) && budget->classes >> spender->class & 1 &&
           (budget->floods == 0 || budget->floods & spender->floods) &&
           (budget->talker == 0 || budget->talker == spender->mac);
}

#endif
