/* budget.c - see budget.h. Nothing here runs for a bridge without budgets. */
#include <string.h>

#include "bridge.h"

static void br_budget_tell(struct br_bridge *bridge, uint32_t index, enum br_event_kind kind)
{
    br_events_put(&bridge->events, &(struct br_event){.key = index, .old_port = UINT16_MAX, .kind = (uint16_t)kind});
}

static void br_budget_refill_one(struct br_bridge *bridge, uint32_t index, uint64_t now)
{
    const struct br_budget *budget = &bridge->snapshot->budget[index];
    struct br_budget_state *state = &bridge->thread.budget[index];

    if (state->serial != budget->serial)
        *state = (struct br_budget_state){.serial = budget->serial, .tokens = budget->burst, .stamp = now};
    const uint64_t passed = now - state->stamp;
    state->stamp = now;
    if (passed < INT64_MAX) /* else the clock went backwards */
        state->tokens += (double)(int64_t)passed * budget->rate;
    if (state->tokens > budget->burst)
        state->tokens = budget->burst;
    const bool over = state->tokens < 1; /* not enough for the smallest frame */
    if (over == state->over)
        return;
    state->over = over;
    state->n_over += over;
    br_budget_tell(bridge, index, over ? BR_EVENT_budget_over : BR_EVENT_budget_under);
}

/* Another snapshot: the budgets that stay keep their state. */
void br_budget_carry(struct br_thread *thread, const struct br_snapshot *snapshot)
{
    struct br_budget_state old[BR_BUDGETS_MAX];

    memcpy(old, thread->budget, sizeof(old));
    memset(thread->budget, 0, sizeof(thread->budget));
    for (uint32_t i = 0; i < snapshot->n_budgets; i++)
        for (uint32_t k = 0; k < BR_BUDGETS_MAX; k++)
            if (old[k].serial == snapshot->budget[i].serial)
                thread->budget[i] = old[k];
    thread->n_over = 0;
}

/* Before a batch: what time gave back, and which budgets are over. */
void br_budget_refill(struct br_bridge *bridge)
{
    struct br_thread *thread = &bridge->thread;

    thread->n_over = 0;
    for (uint32_t i = 0; i < bridge->snapshot->n_budgets; i++) {
        br_budget_refill_one(bridge, i, thread->stamp);
        thread->n_over += thread->budget[i].over;
    }
}

static uint64_t br_budget_amount(const struct br_budget *budget, const struct br_sum *sum)
{
    switch ((enum br_budget_unit)budget->unit) {
    case BR_BUDGET_FRAMES:
        return sum->segments;
    case BR_BUDGET_BITS:
        return 8 * sum->bytes;
    default:
        return sum->direct + sum->induced;
    }
}

/* Frames were charged: to a talker, or to their port, VLAN and class. */
void br_budget_spend(struct br_thread *thread, const struct br_snapshot *snapshot, const struct br_spender *spender,
                     const struct br_sum *sum, bool by_talker)
{
    for (uint32_t i = 0; i < snapshot->n_budgets; i++) {
        const struct br_budget *budget = &snapshot->budget[i];

        if ((budget->talker != 0) != by_talker || !br_budget_matches(budget, spender))
            continue;
        const uint64_t amount = br_budget_amount(budget, sum);
        thread->budget[i].tokens -= (double)(int64_t)amount;
        thread->budget[i].spent += amount;
    }
}

/* The first budget that is over, drops, and has this frame among its own; NULL: none. */
static struct br_budget_state *br_budget_against(struct br_bridge *bridge, const struct br_spender *spender)
{
    const struct br_snapshot *snapshot = bridge->snapshot;

    for (uint32_t i = 0; i < snapshot->n_budgets; i++) {
        struct br_budget_state *state = &bridge->thread.budget[i];

        if (state->over && snapshot->budget[i].action == BR_BUDGET_DROP && br_budget_matches(&snapshot->budget[i], spender))
            return state;
    }
    return NULL;
}

/* After lookup: end the frames whose budget is over. */
void br_budget_police(struct br_bridge *bridge)
{
    struct br_thread *thread = &bridge->thread;
    uint32_t n_live = 0;

    for (uint32_t i = 0; i < thread->n_live; i++) {
        struct br_frame *frame = thread->live[i];
        const struct br_spender spender = {
            .port = frame->ingress,
            .vid = frame->vid,
            .class = frame->class,
            .mac = thread->stations[frame - thread->frame].source & BR_FDB_MAC,
        };
        struct br_budget_state *state = br_budget_against(bridge, &spender);

        if (!state) {
            thread->live[n_live++] = frame;
            continue;
        }
        state->dropped++;
        br_drop(thread, frame, BR_FATE_ENDED, BR_DROP_over_budget);
    }
    thread->n_live = n_live;
}

/* Whether a budget that is over keeps this address from being learned, moved or refreshed. */
bool br_budget_stops_learning(const struct br_bridge *bridge, uint16_t port, uint64_t key)
{
    const struct br_snapshot *snapshot = bridge->snapshot;

    for (uint32_t i = 0; i < snapshot->n_budgets; i++) {
        const struct br_budget *budget = &snapshot->budget[i];

        if (budget->action == BR_BUDGET_STOP_LEARNING && bridge->thread.budget[i].over &&
            (budget->port == BR_ANY_PORT || budget->port == port) && (budget->vid == 0 || budget->vid == key >> 48) &&
            (budget->talker == 0 || budget->talker == (key & BR_FDB_MAC)))
            return true;
    }
    return false;
}
