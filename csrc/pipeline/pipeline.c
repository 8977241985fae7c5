/*
 * pipeline/pipeline.c - THE hot path: one batch of frames from one port to every port that must send them. Begin with
 * br_pipeline_run at the foot of the file, then read the stages: admit.c, learn.c, lookup below, edit.c, flood.c,
 * transmit.c.
 *
 *      admit ─▶ learn ─▶ lookup ─▶ edit ─▶ flood ─▶ tx
 *        └────────┴─────────┴── br_batch_drop(reason)      └── br_port_refuse(reason)
 *
 * Job: rules R1 to R12 (docs/architecture.md). Each stage is a loop over the live frames of the batch around one short
 *      decision per frame; a cycle stamp is taken where one stage ends and the next begins.
 * Learn, then forward: all sources of a batch are learned before the first destination is looked up. A batch comes from
 *      one port, so a MAC cannot move inside it; a frame to a station that spoke later in the same batch is already
 *      forwarded to where that station is.
 * Order (R11): frames of one (VID, source, destination) take the same path within a batch, and queues keep their order.
 * Thread: the data thread. Allocates, locks and logs nothing.
 */
#include "pipeline/pipeline.h"

#include "batch/send.h"
#include "frame/classify.h"
#include "frame/mac.h"
#include "pipeline/stages.h"
#include "protect/guard.h"
#include "protect/server_guard.h"
#include "snapshot/may_leave.h"

/* ---- lookup: R8 -------------------------------------------------------------------------------------------------- */

/* The class of a frame whose protocol may say more than where it goes; heartbeats above the limit of their port are
 * ordinary frames. */
static __attribute__((noinline)) void br_lookup_class(struct br_thread *thread, struct br_frame *frame,
                                                      enum br_class other)
{
    const bool is_flooded = frame->flags & BR_FRAME_FLOOD;
    enum br_class class = br_classify(frame, is_flooded, &thread->batch.snapshot->heartbeat.ports, other);

    if (br_class_is_beat(class))
        class = br_heartbeat_admit(&thread->heartbeats, &thread->batch, frame, class, other);
    frame->class = (uint8_t)class;
}

static inline enum br_drop br_lookup_flood(struct br_thread *thread, struct br_frame *frame,
                                           uint64_t destination, enum br_flood_class flood_class)
{
    static const uint8_t class[] = {
        [BR_FLOOD_UNKNOWN] = BR_CLASS_unknown_unicast,
        [BR_FLOOD_MULTICAST] = BR_CLASS_multicast,
        [BR_FLOOD_BROADCAST] = BR_CLASS_broadcast,
    };

    frame->flags |= BR_FRAME_FLOOD;
    frame->flood_class = (uint8_t)flood_class;
    frame->class = class[flood_class];
    if (BR_ACCOUNTING && !BR_LIKELY(br_is_plain_flood(frame, &thread->batch.snapshot->heartbeat.ports)))
        br_lookup_class(thread, frame, (enum br_class)class[flood_class]);
    if (__builtin_expect(br_mac_is_reserved(destination & BR_FDB_MAC), 0))
        frame->class = BR_CLASS_reserved;
    return BR_PASS;
}

static inline enum br_drop br_lookup_frame(struct br_thread *thread, const struct br_port_config *ingress,
                                           const struct br_stations *stations, struct br_frame *frame)
{
    const struct br_snapshot *snapshot = thread->batch.snapshot;

    if (stations->destination & BR_FDB_GROUP)
        return br_lookup_flood(thread, frame, stations->destination,
                               (stations->destination & BR_FDB_MAC) == BR_FDB_MAC ? BR_FLOOD_BROADCAST
                                                                                  : BR_FLOOD_MULTICAST);
    const struct br_fdb_entry *entry =
        br_fdb_find(&thread->fdb, stations->destination, stations->destination_bucket);
    if (!entry)
        return br_lookup_flood(thread, frame, stations->destination, BR_FLOOD_UNKNOWN);
    const union br_fdb_value value = br_fdb_value(entry);
    if (value.kind == BR_FDB_DROP)
        return BR_DROP_fdb_drop;
    if (!br_set_has(&snapshot->vlan[frame->vid], value.port)) /* or its device is missing, and the entry set by hand */
        return snapshot->port[value.port].port ? BR_DROP_no_egress : BR_DROP_port_down;
    if (__builtin_expect(br_set_has(&snapshot->denied_egress[frame->ingress], value.port), 0))
        return br_may_leave(ingress, &snapshot->port[value.port]);
    frame->egress = value.port;
    frame->outcome = BR_OUTCOME_FORWARDED;
    frame->class = BR_CLASS_known_unicast;
    if (BR_ACCOUNTING && !BR_LIKELY(br_is_plain(frame, &snapshot->heartbeat.ports)))
        br_lookup_class(thread, frame, BR_CLASS_known_unicast);
    return BR_PASS;
}

static void br_lookup(struct br_thread *thread, const struct br_port_config *ingress)
{
    struct br_batch *batch = &thread->batch;
    uint32_t n_live = 0;

    for (uint32_t i = 0; i < batch->n_live; i++) {
        struct br_frame *frame = batch->live[i];
        const struct br_stations *stations = &batch->stations[frame - batch->frame];
        const enum br_drop decision = br_lookup_frame(thread, ingress, stations, frame);

        if (BR_LIKELY(decision == BR_PASS))
            batch->live[n_live++] = frame;
        else
            br_batch_drop(batch, frame, BR_OUTCOME_DROPPED, decision);
    }
    batch->n_live = n_live;
}

/* ---- guards ------------------------------------------------------------------------------------------------------ */

static void br_guards_police(struct br_batch *batch, uint8_t guards)
{
    if (guards & BR_GUARD_BIT_SOURCE)
        br_guard_police(batch);
    if (guards & (BR_GUARD_BIT_RA | BR_GUARD_BIT_DHCP))
        br_server_guard_police(batch, guards);
}

/* ---- the batch --------------------------------------------------------------------------------------------------- */

void br_pipeline_run(struct br_thread *thread, const struct br_port_config *ingress, uint32_t n)
{
    struct br_batch *batch = &thread->batch;

    batch->ingress = &ingress->port->counters;
    batch->counters.batches++;
    batch->counters.frames += n;
    if (__builtin_expect(batch->snapshot->n_budgets, 0))
        br_budget_refill(&thread->budgets, batch, ingress->port->index);
    const bool mirrored = batch->snapshot->mirrors.n;
    if (__builtin_expect(mirrored, 0))
        br_mirror_begin(&thread->mirror, batch, n);
    br_admit(thread, ingress, n);
    if (__builtin_expect(mirrored, 0))
        br_mirror_note(&thread->mirror, batch, n);
    if (__builtin_expect(ingress->guards, 0))
        br_guards_police(batch, ingress->guards);
    br_stage_end(batch, BR_STAGE_admit);
    br_learn(thread, ingress, n);
    br_stage_end(batch, BR_STAGE_learn);
    br_lookup(thread, ingress);
    if (__builtin_expect(thread->budgets.n_over, 0))
        br_budget_police(&thread->budgets, batch);
    br_stage_end(batch, BR_STAGE_lookup);
    br_edit(thread);
    br_stage_end(batch, BR_STAGE_edit);
    if (batch->n_live) {
        br_flood(thread);
        br_stage_end(batch, BR_STAGE_flood);
    }
    if (__builtin_expect(mirrored, 0))
        br_mirror_rx(&thread->mirror, batch, ingress->port->index, n);
    br_transmit(thread);
    br_release(batch, n);
    if (BR_ACCOUNTING)
        br_bill_batch(&thread->bill, &thread->budgets, batch, ingress->port, n);
    br_stage_end(batch, BR_STAGE_account);
}

void br_pipeline_discard(struct br_thread *thread, struct br_port *port, uint32_t n, enum br_drop reason)
{
    struct br_batch *batch = &thread->batch;

    batch->ingress = &port->counters;
    batch->has_tails = true;
    for (uint32_t i = 0; i < n; i++) {
        batch->frame[i].rx_len = br_frame_rx_len(&batch->frame[i]);
        batch->ingress->rx_bytes += batch->frame[i].rx_len;
        batch->ingress->rx_super_frames += br_frame_is_super(&batch->frame[i]);
        batch->frame[i].segments = 1;
        br_batch_drop(batch, &batch->frame[i], BR_OUTCOME_REFUSED, reason);
    }
    br_bill_discard(&thread->bill, &thread->budgets, batch, port, n);
    batch->ingress->rx_batches++;
    batch->ingress->rx_frames += n;
    batch->ingress->rx_segments += n;
    br_release(batch, n);
}
