/*
 * pipeline/learn.c - the second stage: who spoke, and where. Rules R7 and R9.
 *
 * Job: a known source on its port, seen in this tick, is one comparison. Everything else takes the slow path: the locks
 *      of ports, policies of moves (pipeline/moves.h), limits (fdb/fdb.c); and each of them is reported to the
 *      control thread (count/event.h).
 * Refuses, under its name (br_batch_drop): sources with a drop entry, kept out by a lock or fixed elsewhere, and
 *      the bridge's own loop probes.
 * Thread: the data thread.
 */
#include "fdb/fdb.h"
#include "pipeline/moves.h"
#include "pipeline/stages.h"
#include "protect/lock.h"

/* Count, report to the control thread, and decide what a source that is not simply known means for its frame. */
static enum br_drop br_learn_verdict(struct br_batch *batch, enum br_learn learn, uint64_t key, uint16_t port,
                                     uint16_t old_port)
{
    static const uint8_t event_kind[] = {
        [BR_LEARN_NEW] = BR_EVENT_learned,
        [BR_LEARN_MOVED] = BR_EVENT_moved,
        [BR_LEARN_REFRESHED] = BR_EVENT_refreshed,
        [BR_LEARN_REQUEST] = BR_EVENT_request,
        [BR_LEARN_STATIC] = BR_EVENT_static_move,
        [BR_LEARN_BACKUP] = BR_EVENT_backup_ignored,
        [BR_LEARN_LOCAL] = BR_EVENT_local_kept,
        [BR_LEARN_PORT_LIMIT] = BR_EVENT_refused_port_limit,
        [BR_LEARN_VLAN_LIMIT] = BR_EVENT_refused_vlan_limit,
        [BR_LEARN_FULL] = BR_EVENT_refused_full,
    };
    struct br_port_counters *ingress = batch->ingress;

    if (learn == BR_LEARN_KNOWN)
        return BR_PASS;
    if (learn == BR_LEARN_DROP)
        return BR_DROP_fdb_drop;
    ingress->learned += learn == BR_LEARN_NEW;
    ingress->moved += learn == BR_LEARN_MOVED;
    ingress->not_learned += learn == BR_LEARN_REQUEST || learn >= BR_LEARN_PORT_LIMIT;
    ingress->backup_ignored += learn == BR_LEARN_BACKUP;
    ingress->local_kept += learn == BR_LEARN_LOCAL;
    const struct br_event event = {.key = key, .port = port, .old_port = old_port, .kind = event_kind[learn]};
    if (learn == BR_LEARN_NEW || old_port != UINT16_MAX) /* the table is another */
        br_events_put(batch->events, &event);
    else
        br_events_hint(batch->events, &event);
    return learn == BR_LEARN_STATIC && !batch->snapshot->static_forward ? BR_DROP_static_move : BR_PASS;
}

/* A port or VLAN that does not learn still honours its lock, drop entries and addresses fixed elsewhere (R9). */
static enum br_drop br_learn_off(struct br_thread *thread, const struct br_fdb_entry *entry,
                                 const struct br_frame *frame, uint64_t source, const struct br_port_config *config)
{
    const uint16_t port = config->port->index;

    if (__builtin_expect((source & BR_FDB_MAC) == thread->batch.snapshot->own_address, 0))
        return br_own_verdict(thread, frame);
    if (config->locked && br_lock_refuses(&thread->batch, port, source))
        return BR_DROP_locked;
    if (BR_LIKELY(!entry))
        return BR_PASS;
    const union br_fdb_value value = br_fdb_value(entry);
    if (value.kind == BR_FDB_DROP)
        return BR_DROP_fdb_drop;
    if (value.kind == BR_FDB_DYNAMIC || value.port == port)
        return BR_PASS;
    return br_learn_verdict(&thread->batch, BR_LEARN_STATIC, source, port, UINT16_MAX);
}

void br_learn_evicted(struct br_batch *batch, const struct br_learned *learned, uint16_t port)
{
    if (!learned->evicted)
        return;
    struct br_port *loser = batch->snapshot->port[learned->evicted_port].port;

    if (loser)
        loser->counters.evicted++;
    br_events_put(batch->events, &(struct br_event){
                                       .key = learned->evicted,
                                       .port = learned->evicted_port,
                                       .old_port = port,
                                       .kind = BR_EVENT_evicted,
                                   });
}

/* Stations that were evicted after they spoke in this batch have no row on the bill: another may have it now. */
static void br_learn_forget_talkers(struct br_batch *batch, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (batch->stations[i].talker && batch->stations[i].talker->key != batch->stations[i].source)
            batch->stations[i].talker = NULL;
    batch->evicted = false;
}

static enum br_drop br_learn_slow(struct br_thread *thread, const struct br_port_config *port,
                                  const struct br_frame *frame, uint64_t key)
{
    struct br_batch *batch = &thread->batch;
    struct br_fdb *fdb = &thread->fdb;
    const struct br_snapshot *snapshot = batch->snapshot;
    const uint16_t index = port->port->index;

    if (__builtin_expect((key & BR_FDB_MAC) == snapshot->own_address, 0))
        return br_own_verdict(thread, frame);
    if (snapshot->vlan_learning_off[frame->vid / 64] >> frame->vid % 64 & 1)
        return br_learn_off(thread, br_fdb_find(fdb, key, br_fdb_first(fdb, key)), frame, key, port);
    if (port->locked && br_lock_refuses(&thread->batch, index, key))
        return BR_DROP_locked;
    if (snapshot->vrrp_aware || snapshot->local_first) {
        const enum br_learn stays = br_move_judge(snapshot, fdb, port, frame, key);
        if (stays != BR_LEARN_KNOWN)
            return br_learn_verdict(batch, stays, key, index, UINT16_MAX);
    }
    const struct br_learn_rules rules = br_learn_rules(snapshot, port, frame->vid);
    struct br_learned learned = {.old_port = UINT16_MAX};
    const enum br_learn learn = br_fdb_learn(fdb, key, &rules, &learned);

    batch->evicted |= learned.evicted != 0;
    br_learn_evicted(batch, &learned, index);
    return br_learn_verdict(batch, learn, key, index, learned.old_port);
}

void br_learn(struct br_thread *thread, const struct br_port_config *port, uint32_t n)
{
    struct br_batch *batch = &thread->batch;
    struct br_fdb *fdb = &thread->fdb;
    /* What the entry of a known source looks like: one comparison decides the hot case. */
    union br_fdb_value known = {
        .port = port->port->index,
        .port_generation = fdb->port_generation[port->port->index],
        .tick = br_fdb_tick(fdb),
        .kind = BR_FDB_DYNAMIC,
    };
    uint16_t vid = 0; /* the VLAN that known.vlan_generation is of */
    uint32_t n_live = 0;

    for (uint32_t i = 0; i < batch->n_live; i++) {
        struct br_frame *frame = batch->live[i];
        struct br_stations *stations = &batch->stations[frame - batch->frame];
        const struct br_fdb_entry *entry = br_fdb_probe(fdb, stations->source, stations->source_bucket);
        enum br_drop decision = BR_PASS;

        if (frame->vid != vid) {
            vid = frame->vid;
            known.vlan_generation = fdb->vlan_generation[vid];
        }
        if (!port->learning) {
            entry = br_fdb_find(fdb, stations->source, stations->source_bucket);
            decision = br_learn_off(thread, entry, frame, stations->source, port);
        } else if (__builtin_expect(thread->budgets.n_over, 0) &&
                   br_budget_stops_learning(&thread->budgets, batch->snapshot, port->port->index, stations->source)) {
            entry = br_fdb_find(fdb, stations->source, stations->source_bucket);
            decision = br_learn_off(thread, entry, frame, stations->source, port);
            batch->ingress->not_learned++;
        } else if (!entry || br_fdb_value(entry).word != known.word) {
            decision = br_learn_slow(thread, port, frame, stations->source);
            entry = br_fdb_find(fdb, stations->source, stations->source_bucket);
        }
        stations->talker = entry;
        if (BR_LIKELY(decision == BR_PASS))
            batch->live[n_live++] = frame;
        else
            br_batch_drop(batch, frame, BR_OUTCOME_DROPPED, decision);
    }
    batch->n_live = n_live;
    if (__builtin_expect(batch->evicted, 0))
        br_learn_forget_talkers(batch, n);
}
