/*
 * pipeline/learn.c - the second stage of the pipeline: who spoke, and where. Rules R7 and R9.
 *
 * Job: a known source on its port, seen in this tick, is one comparison. Everything else takes the slow path: the locks
 *      of ports, policies of moves (pipeline/moves.h), limits (fdb/fdb.c); and each of them is told to the control thread (count/event.h).
 * Refuses, under its name (br_drop): sources with a drop entry, kept out by a lock or fixed elsewhere, and the bridge's
 *      own.
 * Thread: the data thread.
 */
#include "thread/bridge.h"
#include "pipeline/moves.h"

/* Count, tell the control thread, and decide what a source that is not simply known means for its frame. */
static enum br_drop br_learn_verdict(struct br_bridge *bridge, enum br_learn learn, uint64_t key, uint16_t port,
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
    struct br_port_counters *ingress = bridge->thread.ingress;

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
        br_events_put(&bridge->events, &event);
    else
        br_events_hint(&bridge->events, &event);
    return learn == BR_LEARN_STATIC && !bridge->snapshot->static_forward ? BR_DROP_static_move : BR_PASS;
}

/* A port or VLAN that does not learn still honours its lock, drop entries and addresses fixed elsewhere (R9). */
static enum br_drop br_learn_off(struct br_bridge *bridge, const struct br_fdb_entry *entry,
                                 const struct br_frame *frame, uint64_t source, const struct br_port_config *config)
{
    const uint16_t port = config->port->index;

    if (__builtin_expect((source & BR_FDB_MAC) == bridge->snapshot->own_address, 0))
        return br_own_verdict(bridge, frame);
    if (config->locked && br_lock_refuses(bridge, port, source))
        return BR_DROP_locked;
    if (BR_LIKELY(!entry))
        return BR_PASS;
    const union br_fdb_value value = br_fdb_value(entry);
    if (value.kind == BR_FDB_DROP)
        return BR_DROP_fdb_drop;
    if (value.kind == BR_FDB_DYNAMIC || value.port == port)
        return BR_PASS;
    return br_learn_verdict(bridge, BR_LEARN_STATIC, source, port, UINT16_MAX);
}

void br_learn_evicted(struct br_bridge *bridge, const struct br_learned *learned, uint16_t port)
{
    if (!learned->evicted)
        return;
    struct br_port *loser = bridge->snapshot->port[learned->evicted_port].port;

    if (loser)
        loser->counters.evicted++;
    br_events_put(&bridge->events, &(struct br_event){
                                       .key = learned->evicted,
                                       .port = learned->evicted_port,
                                       .old_port = port,
                                       .kind = BR_EVENT_evicted,
                                   });
}

/* Stations that were evicted after they spoke in this batch have no row on the bill: another may have it now. */
static void br_learn_forget_talkers(struct br_thread *thread, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (thread->stations[i].talker && thread->stations[i].talker->key != thread->stations[i].source)
            thread->stations[i].talker = NULL;
    thread->evicted = false;
}

static enum br_drop br_learn_slow(struct br_bridge *bridge, const struct br_port_config *port, const struct br_frame *frame,
                                  uint64_t key)
{
    const struct br_snapshot *snapshot = bridge->snapshot;
    const uint16_t index = port->port->index;

    if (__builtin_expect((key & BR_FDB_MAC) == snapshot->own_address, 0))
        return br_own_verdict(bridge, frame);
    if (snapshot->vlan_learning_off[frame->vid / 64] >> frame->vid % 64 & 1)
        return br_learn_off(bridge, br_fdb_find(&bridge->fdb, key, br_fdb_first(&bridge->fdb, key)), frame, key, port);
    if (port->locked && br_lock_refuses(bridge, index, key))
        return BR_DROP_locked;
    if (snapshot->vrrp_aware || snapshot->local_first) {
        const enum br_learn stays = br_move_judge(bridge, port, frame, key);
        if (stays != BR_LEARN_KNOWN)
            return br_learn_verdict(bridge, stays, key, index, UINT16_MAX);
    }
    const struct br_learn_rules rules = br_learn_rules(snapshot, port, frame->vid);
    struct br_learned learned = {.old_port = UINT16_MAX};
    const enum br_learn learn = br_fdb_learn(&bridge->fdb, key, &rules, &learned);

    bridge->thread.evicted |= learned.evicted != 0;
    br_learn_evicted(bridge, &learned, index);
    return br_learn_verdict(bridge, learn, key, index, learned.old_port);
}

void br_learn(struct br_bridge *bridge, const struct br_port_config *port, uint32_t n)
{
    struct br_thread *thread = &bridge->thread;
    struct br_fdb *fdb = &bridge->fdb;
    /* What the entry of a known source looks like: one comparison decides the hot case. */
    union br_fdb_value known = {
        .port = port->port->index,
        .port_generation = fdb->port_generation[port->port->index],
        .tick = br_fdb_tick(fdb),
        .kind = BR_FDB_DYNAMIC,
    };
    uint16_t vid = 0; /* the VLAN that known.vlan_generation is of */
    uint32_t n_live = 0;

    for (uint32_t i = 0; i < thread->n_live; i++) {
        struct br_frame *frame = thread->live[i];
        struct br_stations *stations = &thread->stations[frame - thread->frame];
        const struct br_fdb_entry *entry = br_fdb_probe(fdb, stations->source, stations->source_bucket);
        enum br_drop decision = BR_PASS;

        if (frame->vid != vid) {
            vid = frame->vid;
            known.vlan_generation = fdb->vlan_generation[vid];
        }
        if (!port->learning) {
            entry = br_fdb_find(fdb, stations->source, stations->source_bucket);
            decision = br_learn_off(bridge, entry, frame, stations->source, port);
        } else if (__builtin_expect(thread->n_over, 0) &&
                   br_budget_stops_learning(bridge, port->port->index, stations->source)) {
            entry = br_fdb_find(fdb, stations->source, stations->source_bucket);
            decision = br_learn_off(bridge, entry, frame, stations->source, port);
            thread->ingress->not_learned++;
        } else if (!entry || br_fdb_value(entry).word != known.word) {
            decision = br_learn_slow(bridge, port, frame, stations->source);
            entry = br_fdb_find(fdb, stations->source, stations->source_bucket);
        }
        stations->talker = entry;
        if (BR_LIKELY(decision == BR_PASS))
            thread->live[n_live++] = frame;
        else
            br_drop(thread, frame, BR_FATE_ENDED, decision);
    }
    thread->n_live = n_live;
    if (__builtin_expect(thread->evicted, 0))
        br_learn_forget_talkers(thread, n);
}
