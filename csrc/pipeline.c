/*
 * pipeline.c - THE hot path: one batch of frames from one port to every port that must send them. Read it top-down from
 * br_pipeline_run at the foot of the file; the stages from edit on are in egress.c.
 *
 *      admit ─▶ learn ─▶ lookup ─▶ edit ─▶ flood ─▶ tx
 *        └────────┴─────────┴── br_drop(reason)      └── br_port_refuse(reason)
 *
 * Job: rules R1 to R12 (docs/architecture.md). Each stage is a loop over the live frames of the batch around one short
 *      decision per frame; a cycle stamp is taken where one stage ends and the next begins.
 * Learn, then forward: all sources of a batch are learned before the first destination is looked up. A batch comes from
 *      one port, so a MAC cannot move inside it; a frame to a station that spoke later in the same batch is already
 *      forwarded to where that station is.
 * Order (R11): frames of one (VID, source, destination) take the same path within a batch, and queues keep their order.
 * Thread: the data thread. Allocates, locks and logs nothing.
 */
#include "bridge.h"
#include "moves.h"
#include "offload.h"
#include "reach.h"
#include "translate.h"
#include "vlan.h"

/* ---- admit: R1 to R6 on ingress ---------------------------------------------------------------------------------- */

/* Make the frame canonical (frame.h): its outer tag, if it is one of the port's TPID, goes to tci. */
static inline enum br_drop br_admit_tag(const struct br_port_config *port, struct br_frame *frame)
{
    const bool beside = frame->flags & BR_FRAME_TAG_BESIDE;

    if (beside && frame->tpid == port->tpid && port->mode != BR_MODE_TUNNEL) {
        frame->flags |= BR_FRAME_WAS_TAGGED;
        return BR_PASS;
    }
    if (beside) { /* not ours to interpret: payload again (R6) */
        if (!br_vlan_push(frame, frame->tpid, frame->tci))
            return BR_DROP_no_headroom;
        frame->flags &= (uint8_t)~BR_FRAME_TAG_BESIDE;
    }
    frame->tci = port->untagged_tci;
    if (BR_LIKELY(br_frame_ethertype(frame) != port->tpid || port->mode == BR_MODE_TUNNEL))
        return BR_PASS;
    if (frame->len < BR_ETH_HLEN + BR_TAG_LEN)
        return BR_DROP_runt;
    frame->tci = br_vlan_pop(frame);
    frame->flags |= BR_FRAME_WAS_TAGGED;
    return BR_PASS;
}

/* 01-80-C2-00-00-00..0F; IEEE 802.1Q-2022 table 8-1. */
static inline bool br_mac_is_reserved(uint64_t mac)
{
    return mac >> 4 == 0x0180c200000;
}

/* R3, R4. */
static inline enum br_drop br_admit_addresses(const struct br_snapshot *snapshot, uint64_t destination, uint64_t source)
{
    if (source >> 40 & 1 || source == 0 || source == destination)
        return BR_DROP_bad_source;
    if (br_mac_is_reserved(destination) && !(snapshot->reserved_pass >> (destination & 0xf) & 1))
        return BR_DROP_reserved;
    return BR_PASS;
}

/* Trunk with translation: from the tags on the wire to one with the VID of the VLAN, PCP and DEI those of the outer. */
static enum br_drop br_admit_translated(const struct br_port_config *port, struct br_frame *frame)
{
    const struct br_translation *translation = port->translation;
    const uint16_t outer = frame->tci & BR_VID_MASK;
    uint16_t vid = translation->outer[outer];

    if (outer == 0 || outer == BR_VID_RESERVED)
        return BR_PASS; /* the native VLAN, or a fault: R5 */
    if (vid == BR_WIRE_DOUBLE) {
        if (br_frame_ethertype(frame) != BR_TPID_8021Q)
            return BR_DROP_vlan_not_allowed;
        if (frame->len < BR_ETH_HLEN + BR_TAG_LEN)
            return BR_DROP_runt;
        vid = br_translation_double(translation, outer, br_be16_read(frame->data + BR_ETH_HLEN) & BR_VID_MASK);
        if (vid != 0)
            br_vlan_pop(frame);
        frame->flags |= BR_FRAME_WAS_DOUBLE;
    }
    if (vid == 0)
        return BR_DROP_vlan_not_allowed;
    frame->tci = (uint16_t)((frame->tci & ~BR_VID_MASK) | vid);
    return BR_PASS;
}

/* R5: which VLAN the frame is in. Leaves PCP and DEI in tci, with the VID of that VLAN. */
static inline enum br_drop br_admit_vlan(const struct br_snapshot *snapshot, const struct br_port_config *port,
                                         struct br_frame *frame)
{
    uint16_t vid = frame->tci & BR_VID_MASK;

    if (port->mode == BR_MODE_TRUNK) {
        if (vid == BR_VID_RESERVED)
            return BR_DROP_bad_vid;
        if (vid == 0)
            vid = port->pvid;
        if (vid == 0 || !br_set_has(&snapshot->vlan[vid], frame->ingress))
            return BR_DROP_vlan_not_allowed;
    } else {
        if (vid != 0)
            return BR_DROP_tag_not_allowed;
        vid = port->pvid;
    }
    frame->vid = vid;
    frame->tci = (uint16_t)((frame->tci & ~BR_VID_MASK) | vid);
    return BR_PASS;
}

/* What a port asks of admit; the usual one is compiled without the others. */
enum br_admission { BR_ADMISSION_PLAIN, BR_ADMISSION_TRANSLATED, BR_ADMISSION_NONE };

/* R2: the tag of a VLAN is free, a second one is payload. */
static inline uint32_t br_admit_l3_len(const struct br_frame *frame, enum br_admission admission)
{
    const bool second = admission == BR_ADMISSION_TRANSLATED && frame->flags & BR_FRAME_WAS_DOUBLE;

    return br_frame_l3_len(frame) + (second ? BR_TAG_LEN : 0);
}

static inline enum br_drop br_admit_frame(const struct br_bridge *bridge, const struct br_port_config *port,
                                          struct br_frame *frame, struct br_stations *stations,
                                          enum br_admission admission)
{
    const struct br_fdb *fdb = &bridge->fdb;

    if (admission == BR_ADMISSION_NONE)
        return BR_DROP_egress_only;
    if (frame->len < BR_ETH_HLEN)
        return BR_DROP_runt;
    if (frame->flags & BR_FRAME_TRUNCATED)
        return BR_DROP_truncated;
    enum br_drop decision = br_admit_tag(port, frame);
    if (decision != BR_PASS)
        return decision;
    const uint64_t destination = br_mac_read(frame->data);
    const uint64_t source = br_mac_read(frame->data + BR_ETH_ALEN);
    decision = br_admit_addresses(bridge->snapshot, destination, source);
    if (decision != BR_PASS)
        return decision;
    if (admission == BR_ADMISSION_TRANSLATED) {
        decision = br_admit_translated(port, frame);
        if (decision != BR_PASS)
            return decision;
    }
    decision = br_admit_vlan(bridge->snapshot, port, frame);
    if (decision != BR_PASS)
        return decision;
    if (!br_offload_none(&frame->offload) && !br_offload_admit(frame))
        return BR_DROP_bad_offload;
    if (br_admit_l3_len(frame, admission) > port->mtu)
        return BR_DROP_oversize;
    stations->source = br_fdb_key(frame->vid, source);
    stations->destination = br_fdb_key(frame->vid, destination);
    stations->source_bucket = br_fdb_first(fdb, stations->source);
    stations->destination_bucket = br_fdb_first(fdb, stations->destination);
    br_fdb_prefetch(fdb, stations->source_bucket);
    br_fdb_prefetch(fdb, stations->destination_bucket);
    return BR_PASS;
}

static inline __attribute__((always_inline)) void br_admit_batch(struct br_bridge *bridge,
                                                                 const struct br_port_config *port, uint32_t n,
                                                                 enum br_admission admission)
{
    struct br_thread *thread = &bridge->thread;
    const uint16_t index = port->port->index;
    uint64_t bytes = 0;
    uint64_t n_super = 0;
    uint64_t n_segments = 0;
    uint32_t n_live = 0;
    bool has_tails = false;

    for (uint32_t i = 0; i < n; i++) {
        struct br_frame *frame = &thread->frame[i];

        frame->ingress = index;
        frame->segments = 1;
        frame->rx_len = br_frame_rx_len(frame);
        bytes += frame->rx_len;
        n_super += br_frame_is_super(frame);
        has_tails |= frame->tail != NULL;
        const enum br_drop decision = br_admit_frame(bridge, port, frame, &thread->stations[i], admission);
        n_segments += frame->segments;
        if (BR_LIKELY(decision == BR_PASS)) {
            thread->live[n_live++] = frame;
        } else {
            thread->stations[i].talker = NULL;
            br_drop(thread, frame, BR_FATE_REFUSED, decision);
        }
    }
    thread->n_live = n_live;
    thread->has_tails = has_tails;
    thread->bill.n_admitted = n_live;
    thread->bill.rx_bytes = bytes;
    thread->bill.rx_segments = n_segments;
    thread->ingress->rx_batches++;
    thread->ingress->rx_frames += n;
    thread->ingress->rx_bytes += bytes;
    thread->ingress->rx_super_frames += n_super;
    thread->ingress->rx_segments += n_segments;
}

static void br_admit(struct br_bridge *bridge, const struct br_port_config *port, uint32_t n)
{
    if (__builtin_expect(port->direction == BR_DIRECTION_EGRESS, 0))
        br_admit_batch(bridge, port, n, BR_ADMISSION_NONE);
    else if (__builtin_expect(port->translation != NULL, 0))
        br_admit_batch(bridge, port, n, BR_ADMISSION_TRANSLATED);
    else
        br_admit_batch(bridge, port, n, BR_ADMISSION_PLAIN);
}

/* ---- learn: R7, R9 ----------------------------------------------------------------------------------------------- */

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
    br_events_put(&bridge->events, &(struct br_event){
                                       .key = key,
                                       .port = port,
                                       .old_port = old_port,
                                       .kind = event_kind[learn],
                                   });
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

/* Count and tell who gave way to the station that spoke on `port`. */
static void br_learn_evicted(struct br_bridge *bridge, const struct br_learned *learned, uint16_t port)
{
    struct br_port *loser = bridge->snapshot->port[learned->evicted_port].port;

    if (loser)
        loser->counters.evicted++;
    bridge->thread.evicted = true;
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

    if (learned.evicted)
        br_learn_evicted(bridge, &learned, index);
    return br_learn_verdict(bridge, learn, key, index, learned.old_port);
}

static void br_learn(struct br_bridge *bridge, const struct br_port_config *port, uint32_t n)
{
    struct br_thread *thread = &bridge->thread;
    struct br_fdb *fdb = &bridge->fdb;
    /* What the entry of a known source looks like: one comparison decides the hot case. */
    union br_fdb_value known = {
        .port = port->port->index,
        .port_generation = fdb->port_generation[port->port->index],
        .tick = __atomic_load_n(&fdb->tick, __ATOMIC_RELAXED),
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

/* ---- lookup: R8 -------------------------------------------------------------------------------------------------- */

static inline enum br_drop br_lookup_flood(const struct br_snapshot *snapshot, struct br_frame *frame,
                                           uint64_t destination, enum br_flood_class flood_class)
{
    static const uint8_t class[] = {
        [BR_FLOOD_UNKNOWN] = BR_CLASS_unknown_unicast,
        [BR_FLOOD_MULTICAST] = BR_CLASS_multicast,
        [BR_FLOOD_BROADCAST] = BR_CLASS_broadcast,
    };

    frame->flags |= BR_FRAME_FLOOD;
    frame->flood_class = (uint8_t)flood_class;
    if (br_mac_is_reserved(destination & BR_FDB_MAC))
        frame->class = BR_CLASS_reserved;
    else if (BR_ACCOUNTING)
        frame->class = (uint8_t)br_classify(frame, &snapshot->heartbeat, class[flood_class]);
    return BR_PASS;
}

static inline enum br_drop br_lookup_frame(const struct br_bridge *bridge, const struct br_port_config *ingress,
                                           const struct br_stations *stations, struct br_frame *frame)
{
    const struct br_snapshot *snapshot = bridge->snapshot;

    if (stations->destination & BR_FDB_GROUP)
        return br_lookup_flood(snapshot, frame, stations->destination,
                               (stations->destination & BR_FDB_MAC) == BR_FDB_MAC ? BR_FLOOD_BROADCAST
                                                                                  : BR_FLOOD_MULTICAST);
    const struct br_fdb_entry *entry =
        br_fdb_find(&bridge->fdb, stations->destination, stations->destination_bucket);
    if (!entry)
        return br_lookup_flood(snapshot, frame, stations->destination, BR_FLOOD_UNKNOWN);
    const union br_fdb_value value = br_fdb_value(entry);
    if (value.kind == BR_FDB_DROP)
        return BR_DROP_fdb_drop;
    if (!br_set_has(&snapshot->vlan[frame->vid], value.port))
        return BR_DROP_no_egress;
    if (__builtin_expect(br_set_has(&snapshot->barred[frame->ingress], value.port), 0))
        return br_reach(ingress, &snapshot->port[value.port]);
    frame->egress = value.port;
    frame->fate = BR_FATE_FORWARDED;
    if (BR_ACCOUNTING)
        frame->class = (uint8_t)br_classify(frame, &snapshot->heartbeat, BR_CLASS_known_unicast);
    return BR_PASS;
}

static void br_lookup(struct br_bridge *bridge, const struct br_port_config *ingress)
{
    struct br_thread *thread = &bridge->thread;
    uint32_t n_live = 0;

    for (uint32_t i = 0; i < thread->n_live; i++) {
        struct br_frame *frame = thread->live[i];
        const struct br_stations *stations = &thread->stations[frame - thread->frame];
        const enum br_drop decision = br_lookup_frame(bridge, ingress, stations, frame);

        if (BR_LIKELY(decision == BR_PASS))
            thread->live[n_live++] = frame;
        else
            br_drop(thread, frame, BR_FATE_ENDED, decision);
    }
    thread->n_live = n_live;
}

/* ---- the batch --------------------------------------------------------------------------------------------------- */

/* Process the n frames that rx of `ingress` left in thread->frame. */
void br_pipeline_run(struct br_bridge *bridge, const struct br_port_config *ingress, uint32_t n)
{
    struct br_thread *thread = &bridge->thread;

    thread->ingress = &ingress->port->counters;
    thread->counters.batches++;
    thread->counters.frames += n;
    if (__builtin_expect(bridge->snapshot->n_budgets, 0))
        br_budget_refill(bridge, ingress->port->index);
    const bool mirrored = bridge->snapshot->mirrors.n;
    if (__builtin_expect(mirrored, 0))
        br_mirror_begin(bridge, n);
    br_admit(bridge, ingress, n);
    if (__builtin_expect(ingress->guarded, 0))
        br_guard_police(bridge);
    br_stage_end(thread, BR_STAGE_admit);
    br_learn(bridge, ingress, n);
    br_stage_end(thread, BR_STAGE_learn);
    br_lookup(bridge, ingress);
    if (__builtin_expect(thread->n_over, 0))
        br_budget_police(bridge);
    br_stage_end(thread, BR_STAGE_lookup);
    if (__builtin_expect(mirrored, 0))
        br_mirror_note(thread, n);
    br_edit(bridge);
    br_stage_end(thread, BR_STAGE_edit);
    if (thread->n_live) {
        br_flood(bridge);
        br_stage_end(thread, BR_STAGE_flood);
    }
    if (__builtin_expect(mirrored, 0))
        br_mirror_rx(bridge, ingress->port->index, n);
    br_transmit(bridge);
    br_release(thread, n);
    if (BR_ACCOUNTING)
        br_bill_batch(thread, bridge->snapshot, ingress->port, n);
    br_stage_end(thread, BR_STAGE_account);
}

/* End the n frames that rx of a port left in thread->frame without looking at them. */
void br_pipeline_discard(struct br_bridge *bridge, struct br_port *port, uint32_t n, enum br_drop reason)
{
    struct br_thread *thread = &bridge->thread;

    thread->ingress = &port->counters;
    thread->has_tails = true;
    for (uint32_t i = 0; i < n; i++) {
        thread->frame[i].rx_len = br_frame_rx_len(&thread->frame[i]);
        thread->ingress->rx_bytes += thread->frame[i].rx_len;
        thread->ingress->rx_super_frames += br_frame_is_super(&thread->frame[i]);
        thread->frame[i].segments = 1;
        br_drop(thread, &thread->frame[i], BR_FATE_REFUSED, reason);
    }
    br_bill_discard(thread, bridge->snapshot, port, n);
    thread->ingress->rx_batches++;
    thread->ingress->rx_frames += n;
    thread->ingress->rx_segments += n;
    br_release(thread, n);
}
