/* snapshot/budget_rules.c - see snapshot/budget_rules.h. */
#include "snapshot/budget_rules.h"

#include "snapshot/snapshot.h"

void br_budget_add(struct br_snapshot *snapshot, const struct br_budget *budget)
{
    const uint32_t list = budget->port == BR_ANY_PORT ? BR_PORTS_MAX : budget->port;
    uint16_t *end = &snapshot->budget_first[list];

    while (*end)
        end = &snapshot->budget[*end - 1].next;
    snapshot->budget[snapshot->n_budgets] = *budget;
    snapshot->budget[snapshot->n_budgets].next = 0;
    *end = (uint16_t)++snapshot->n_budgets;
}

