/*
 * thread/readout.h - copies of what the data thread counts, each of one batch boundary, so that what is read adds up.
 *
 * Thread: the control thread.
 */
#ifndef BR_READOUT_H
#define BR_READOUT_H

#include "thread/bridge.h"

/* Copy counters of n ports (`out[i]` of `index[i]`) and of the thread; returns how many entries the FDB has. */
uint32_t br_bridge_counters(struct br_bridge *bridge, const uint16_t *index, uint32_t n, struct br_port_counters *out,
                            struct br_thread_counters *thread);
void br_bridge_bill(struct br_bridge *bridge, struct br_bill_copy *copy);
/* Forget the slowest batches. */
void br_bridge_clear_slow(struct br_bridge *bridge);
/* The state of the budgets, in the order of the snapshot. */
void br_bridge_budgets(struct br_bridge *bridge, struct br_budget_state out[BR_BUDGETS_MAX]);
/* The state of the mirrors, in the order of the snapshot. */
void br_bridge_mirrors(struct br_bridge *bridge, struct br_mirror_state out[BR_MIRRORS_MAX]);

#endif
