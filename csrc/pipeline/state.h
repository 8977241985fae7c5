/*
 * pipeline/state.h - what a data thread owns: the batch in work, and the state of each feature that looks at it.
 *
 * Thread: the data thread's own; the control thread reaches it by calls (thread/call.h).
 */
#ifndef BR_STATE_H
#define BR_STATE_H

#include "account/bill.h"
#include "account/budget.h"
#include "batch/batch.h"
#include "fdb/table.h"
#include "mirror/mirror.h"
#include "multicast/groups.h"
#include "multicast/heartbeat.h"

enum { BR_PROBES_REPORTED = 64 }; /* remembered, so that a probe that circles is reported once a port */

struct br_thread {
    struct br_batch batch;
    struct br_fdb fdb; /* where batch.fdb points to; here, so that a frame's lookups need no second base address */
    struct br_bill bill;
    struct br_budgets budgets;
    struct br_mirror_thread mirror;
    struct br_groups *groups; /* NULL: no VLAN ever snooped */
    struct br_heartbeats heartbeats;
    uint64_t probe_reported[BR_PROBES_REPORTED];
};

#endif
