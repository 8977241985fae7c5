/* thread/readout.c - see thread/readout.h. */
#include "thread/readout.h"

#include <string.h>

#include "port/port.h"
#include "thread/call.h"

struct br_counters_call {
    struct br_call call;
    const uint16_t *index;
    uint32_t n;
    struct br_port_counters *out;
    struct br_thread_counters *thread;
    uint32_t n_entries;
};

static bool br_counters_step(struct br_bridge *bridge, struct br_call *call)
{
    struct br_counters_call *copy = (struct br_counters_call *)call;

    for (uint32_t i = 0; i < copy->n; i++) {
        struct br_port *port = bridge->thread.batch.snapshot->port[copy->index[i]].port;

        if (!port) {
            memset(&copy->out[i], 0, sizeof(copy->out[i]));
            continue;
        }
        copy->out[i] = *br_port_read(port);
    }
    *copy->thread = bridge->thread.batch.counters;
    copy->thread->events_lost = bridge->events.n_lost;
    copy->n_entries = bridge->thread.fdb.n_entries;
    return true;
}

uint32_t br_bridge_counters(struct br_bridge *bridge, const uint16_t *index, uint32_t n, struct br_port_counters *out,
                            struct br_thread_counters *thread)
{
    struct br_counters_call copy = {
        .call.step = br_counters_step, .index = index, .n = n, .out = out, .thread = thread};

    br_bridge_call(bridge, &copy.call);
    return copy.n_entries;
}

struct br_bill_call {
    struct br_call call;
    struct br_bill_copy *copy;
};

static bool br_bill_step(struct br_bridge *bridge, struct br_call *call)
{
    struct br_bill_copy *copy = ((struct br_bill_call *)call)->copy;
    const struct br_bill *bill = &bridge->thread.bill;

    copy->stamp = bridge->thread.batch.stamp;
    copy->thread = bridge->thread.batch.counters;
    copy->uncharged = bill->uncharged;
    for (int stage = BR_STAGE_BUSY; stage < BR_STAGE_N; stage++) /* account of the last batch, at least */
        copy->uncharged += (int64_t)(copy->thread.stage_cycles[stage] - bill->stage_seen[stage]);
    copy->talked = bill->talked;
    copy->n_charges = bill->n_charges;
    memcpy(copy->charge, bill->charge, bill->n_charges * sizeof(*bill->charge));
    memcpy(copy->histogram, bill->histogram, sizeof(bill->histogram));
    copy->n_slow = bill->n_slow;
    memcpy(copy->slow, bill->slow, sizeof(bill->slow));
    return true;
}

void br_bridge_bill(struct br_bridge *bridge, struct br_bill_copy *copy)
{
    struct br_bill_call call = {.call.step = br_bill_step, .copy = copy};

    br_bridge_call(bridge, &call.call);
}

static bool br_clear_slow_step(struct br_bridge *bridge, struct br_call *call)
{
    (void)call;
    br_bill_clear_slow(&bridge->thread.bill);
    return true;
}

void br_bridge_clear_slow(struct br_bridge *bridge)
{
    struct br_call call = {.step = br_clear_slow_step};

    br_bridge_call(bridge, &call);
}

/* The state of what a snapshot has, in its order. */
struct br_states_call {
    struct br_call call;
    void *out;
};

static bool br_budgets_step(struct br_bridge *bridge, struct br_call *call)
{
    struct br_thread *thread = &bridge->thread;

    br_budget_refill_all(&thread->budgets, &thread->batch);
    memcpy(((struct br_states_call *)call)->out, thread->budgets.state,
           thread->batch.snapshot->n_budgets * sizeof(*thread->budgets.state));
    return true;
}

void br_bridge_budgets(struct br_bridge *bridge, struct br_budget_state out[BR_BUDGETS_MAX])
{
    br_bridge_call(bridge, &(struct br_states_call){{br_budgets_step}, out}.call);
}

static bool br_mirrors_step(struct br_bridge *bridge, struct br_call *call)
{
    memcpy(((struct br_states_call *)call)->out, bridge->thread.mirror.state, sizeof(bridge->thread.mirror.state));
    return true;
}

void br_bridge_mirrors(struct br_bridge *bridge, struct br_mirror_state out[BR_MIRRORS_MAX])
{
    br_bridge_call(bridge, &(struct br_states_call){{br_mirrors_step}, out}.call);
}

