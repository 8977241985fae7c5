/* account/budget.c - see account/budget.h. Nothing here runs for a bridge without budgets. */
#include "account/budget.h"

#include <string.h>

static void br_budget_tell(const struct br_batch *batch, uint32_t index, enum br_event_kind kind)
{
    br_events_fault(batch->events, &(struct br_event){.key = index, .old_port = UINT16_MAX, .kind = (uint16_t)kind});
}

static void br_budget_refill_one(struct br_budgets *budgets, const struct br_batch *batch, uint32_t index)
{
    const struct br_budget *budget = &batch->snapshot->budget[index];
    struct br_budget_state *state = &budgets->state[index];
    const uint64_t now = batch->stamp;

    if (state->serial != budget->serial)
        *state = (struct br_budget_state){.serial = budget->serial, .bucket = br_bucket_full(budget->burst, now)};
    br_bucket_refill(&state->bucket, budget->rate, budget->burst, now);
    state->over = br_bucket_is_empty(&state->bucket);
    if (state->over)
        state->last_over = now;
    const bool reported = state->over || (state->reported && now - state->last_over < budget->hold_off);
    if (reported == state->reported)
        return;
    state->reported = reported;
    state->n_over += reported;
    br_budget_tell(batch, index, reported ? BR_EVENT_budget_over : BR_EVENT_budget_under);
}

/* The budgets that frames of a port may be asked about, as places + 1: those of the port, then those of no port. */
static inline uint32_t br_budget_begin(const struct br_snapshot *snapshot, uint16_t port)
{
    return snapshot->budget_first[port] ? snapshot->budget_first[port] : snapshot->budget_first[BR_PORTS_MAX];
}

static inline uint32_t br_budget_next(const struct br_snapshot *snapshot, uint32_t at)
{
    const struct br_budget *budget = &snapshot->budget[at - 1];

    return budget->next || budget->port == BR_ANY_PORT ? budget->next : snapshot->budget_first[BR_PORTS_MAX];
}

void br_budget_carry(struct br_budgets *budgets, const struct br_snapshot *old, const struct br_snapshot *snapshot)
{
    static const struct br_budget_state none;
    struct br_budget_state state[BR_BUDGETS_MAX];

    memcpy(state, budgets->state, old->n_budgets * sizeof(*state));
    for (uint32_t i = 0; i < snapshot->n_budgets; i++) {
        const uint32_t serial = snapshot->budget[i].serial;
        uint32_t k = i < old->n_budgets && state[i].serial == serial ? i : 0; /* most have not moved */

        while (k < old->n_budgets && state[k].serial != serial)
            k++;
        budgets->state[i] = k < old->n_budgets ? state[k] : none;
    }
    budgets->n_over = 0;
}

void br_budget_refill(struct br_budgets *budgets, const struct br_batch *batch, uint16_t port)
{
    const struct br_snapshot *snapshot = batch->snapshot;

    budgets->n_over = 0;
    for (uint32_t at = br_budget_begin(snapshot, port); at; at = br_budget_next(snapshot, at)) {
        br_budget_refill_one(budgets, batch, at - 1);
        budgets->n_over += budgets->state[at - 1].over;
    }
}

void br_budget_refill_all(struct br_budgets *budgets, const struct br_batch *batch)
{
    for (uint32_t i = 0; i < batch->snapshot->n_budgets; i++)
        br_budget_refill_one(budgets, batch, i);
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

static struct br_spender br_budget_spender(const struct br_frame *frame, uint64_t mac)
{
    return (struct br_spender){frame->ingress, frame->vid, frame->class, br_frame_floods(frame), mac};
}

void br_budget_spend(struct br_budgets *budgets, const struct br_snapshot *snapshot, const struct br_frame *frame,
                     uint64_t talker, const struct br_sum *sum)
{
    const struct br_spender spender = br_budget_spender(frame, talker);

    if (frame->outcome <= BR_OUTCOME_DROPPED)
        return;
    for (uint32_t at = br_budget_begin(snapshot, frame->ingress); at; at = br_budget_next(snapshot, at)) {
        const struct br_budget *budget = &snapshot->budget[at - 1];
        struct br_budget_state *state = &budgets->state[at - 1];

        if ((budget->talker != 0) != (talker != 0) || !br_budget_matches(budget, &spender))
            continue;
        const uint64_t amount = br_budget_amount(budget, sum);
        state->bucket.tokens -= (double)(int64_t)amount;
        state->spent += amount;
    }
}

/* The first budget that is over, drops, and has this frame among its own, as a place + 1; 0: none. */
static uint32_t br_budget_against(const struct br_budgets *budgets, const struct br_snapshot *snapshot,
                                  const struct br_spender *spender)
{
    for (uint32_t at = br_budget_begin(snapshot, spender->port); at; at = br_budget_next(snapshot, at)) {
        const struct br_budget *budget = &snapshot->budget[at - 1];

        if (budgets->state[at - 1].over && budget->action == BR_BUDGET_DROP &&
            br_budget_matches(budget, spender))
            return at;
    }
    return 0;
}

void br_budget_police(struct br_budgets *budgets, struct br_batch *batch)
{
    uint32_t n_live = 0;

    for (uint32_t i = 0; i < batch->n_live; i++) {
        struct br_frame *frame = batch->live[i];
        const uint64_t mac = batch->stations[frame - batch->frame].source & BR_FDB_MAC;
        const struct br_spender spender = br_budget_spender(frame, mac);
        const uint32_t against = br_budget_against(budgets, batch->snapshot, &spender);

        if (!against) {
            batch->live[n_live++] = frame;
            continue;
        }
        budgets->state[against - 1].dropped++;
        br_batch_drop(batch, frame, BR_OUTCOME_DROPPED,
                batch->snapshot->budget[against - 1].floods ? BR_DROP_storm : BR_DROP_over_budget);
    }
    batch->n_live = n_live;
}

bool br_budget_stops_learning(const struct br_budgets *budgets, const struct br_snapshot *snapshot, uint16_t port,
                              uint64_t key)
{
    for (uint32_t at = br_budget_begin(snapshot, port); at; at = br_budget_next(snapshot, at)) {
        const struct br_budget *budget = &snapshot->budget[at - 1];

        if (budget->action == BR_BUDGET_STOP_LEARNING && budgets->state[at - 1].over &&
            (budget->vid == 0 || budget->vid == key >> 48) &&
            (budget->talker == 0 || budget->talker == (key & BR_FDB_MAC)))
            return true;
    }
    return false;
}
