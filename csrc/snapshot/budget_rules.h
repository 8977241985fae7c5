/* snapshot/budget_rules.h - budgets as a snapshot has them, and which frames each is about; see account/budget.h. */
#ifndef BR_BUDGET_RULES_H
#define BR_BUDGET_RULES_H

#include <stdbool.h>
#include <stdint.h>

#include "count/limits.h"

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
    uint64_t hold_off; /* cycles without being over until its end is reported; a storm is one, not one for each token */
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

struct br_snapshot;

/* Control thread: write another budget into a snapshot that has room for it. */
void br_budget_add(struct br_snapshot *snapshot, const struct br_budget *budget);

#endif
