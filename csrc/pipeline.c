/*
 * pipeline.c - THE hot path: one batch of frames from one port to every port that must send them. Read it top-down from
 * br_pipeline_run at the foot of the file.
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
#include "offload.h"
#include "vlan.h"

#define BR_LIKELY(condition) __builtin_expect(!!(condition), 1)

/* The only way to end a frame before it has an egress port. */
static inline void br_drop(struct br_thread *thread, enum br_drop reason)
{
    thread->ingress->rx_drops[reason]++;
}

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
    frame->tci = 0;
    if (BR_LIKELY(br_frame_ethertype(frame) != port->tpid || port->mode == BR_MODE_TUNNEL))
        return BR_PASS;
    if (frame->len < BR_ETH_HLEN + BR_TAG_LEN)
        return BR_DROP_runt;
    frame->tci = br_vlan_pop(frame);
    frame->flags |= BR_FRAME_WAS_TAGGED;
    return BR_PASS;
}

/* R3, R4. */
static inline enum br_drop br_admit_addresses(const struct br_snapshot *snapshot, uint64_t destination, uint64_t source)
{
    if (source >> 40 & 1 || source == 0 || source == destination)
        return BR_DROP_bad_source;
    if (destination >> 4 == 0x0180c200000 && !(snapshot->reserved_pass >> (destination & 0xf) & 1))
        return BR_DROP_reserved;
    return BR_PASS;
}

/* R5: which VLAN the frame is in. Leaves PCP and DEI in tci, with the VID of that VLAN. */
static inline enum br_drop br_admit_vlan(const struct br_snapshot *snapshot, const struct br_port_config *port,
                                         uint16_t index, struct br_frame *frame)
{
    uint16_t vid = frame->tci & BR_VID_MASK;

    if (port->mode == BR_MODE_TRUNK) {
        if (vid == BR_VID_RESERVED)
            return BR_DROP_bad_vid;
        if (vid == 0)
            vid = port->pvid;
        if (vid == 0 || !br_set_has(&snapshot->vlan[vid], index))
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

static inline enum br_drop br_admit_frame(const struct br_bridge *bridge, const struct br_port_config *port,
                                          struct br_frame *frame)
{
    const struct br_fdb *fdb = &bridge->fdb;

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
    decision = br_admit_vlan(bridge->snapshot, port, frame->ingress, frame);
    if (decision != BR_PASS)
        return decision;
    if (!br_offload_admit(frame))
        return BR_DROP_bad_offload;
    if (br_frame_l3_len(frame) > port->mtu)
        return BR_DROP_oversize;
    frame->source_bucket = br_fdb_first(fdb, br_fdb_key(frame->vid, source));
    frame->destination_bucket = br_fdb_first(fdb, br_fdb_key(frame->vid, destination));
    br_fdb_prefetch(fdb, frame->source_bucket);
    br_fdb_prefetch(fdb, frame->destination_bucket);
    return BR_PASS;
}

static void br_admit(struct br_bridge *bridge, const struct br_port_config *port, uint32_t n)
{
    struct br_thread *thread = &bridge->thread;
    struct br_port_counters *counters = thread->ingress;
    uint32_t n_live = 0;

    counters->rx_batches++;
    counters->rx_frames += n;
    for (uint32_t i = 0; i < n; i++) {
        struct br_frame *frame = &thread->frame[i];

        frame->ingress = port->port->index;
        frame->segments = 1;
        counters->rx_bytes += br_frame_len(frame) + (frame->flags & BR_FRAME_TAG_BESIDE ? BR_TAG_LEN : 0);
        counters->rx_super_frames += br_frame_is_super(frame);
        const enum br_drop decision = br_admit_frame(bridge, port, frame);
        counters->rx_segments += frame->segments;
        if (BR_LIKELY(decision == BR_PASS))
            thread->live[n_live++] = frame;
        else
            br_drop(thread, decision);
    }
    thread->n_live = n_live;
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
        [BR_LEARN_PORT_LIMIT] = BR_EVENT_refused_port_limit,
        [BR_LEARN_VLAN_LIMIT] = BR_EVENT_refused_vlan_limit,
        [BR_LEARN_FULL] = BR_EVENT_refused_full,
    };
    struct br_thread *thread = &bridge->thread;

    if (learn == BR_LEARN_KNOWN)
        return BR_PASS;
    if (learn == BR_LEARN_DROP)
        return BR_DROP_fdb_drop;
    thread->ingress->learned += learn == BR_LEARN_NEW;
    thread->ingress->moved += learn == BR_LEARN_MOVED;
    thread->ingress->not_learned += learn == BR_LEARN_REQUEST || learn >= BR_LEARN_PORT_LIMIT;
    br_events_put(&bridge->events, &(struct br_event){
                                       .key = key,
                                       .port = port,
                                       .old_port = learn == BR_LEARN_MOVED ? old_port : UINT16_MAX,
                                       .kind = event_kind[learn],
                                   });
    return learn == BR_LEARN_STATIC && !bridge->snapshot->static_forward ? BR_DROP_static_move : BR_PASS;
}

static enum br_drop br_learn_slow(struct br_bridge *bridge, const struct br_port_config *port, uint64_t key,
                                  uint16_t index)
{
    const struct br_snapshot *snapshot = bridge->snapshot;
    const struct br_learn_rules rules = {
        .port = index,
        .controlled = snapshot->controlled,
        .age_ticks = snapshot->age_ticks,
        .port_limit = port->mac_limit,
        .vlan_limit = snapshot->vlan_limit[key >> 48],
    };
    uint16_t old_port = UINT16_MAX;

    return br_learn_verdict(bridge, br_fdb_learn(&bridge->fdb, key, &rules, &old_port), key, index, old_port);
}

/* A port that does not learn still honours drop entries. */
static enum br_drop br_learn_off(const struct br_fdb *fdb, uint64_t key, uint32_t bucket)
{
    const struct br_fdb_entry *entry = br_fdb_find(fdb, key, bucket);

    return entry && br_fdb_value(entry).kind == BR_FDB_DROP ? BR_DROP_fdb_drop : BR_PASS;
}

static void br_learn(struct br_bridge *bridge, const struct br_port_config *port)
{
    struct br_thread *thread = &bridge->thread;
    struct br_fdb *fdb = &bridge->fdb;
    const uint16_t index = port->port->index;
    /* What the entry of a known source looks like, but for the VLAN's generation: one comparison decides the hot case. */
    union br_fdb_value known = {
        .port = index,
        .port_generation = fdb->port_generation[index],
        .tick = __atomic_load_n(&fdb->tick, __ATOMIC_RELAXED),
        .kind = BR_FDB_DYNAMIC,
    };
    uint32_t n_live = 0;

    for (uint32_t i = 0; i < thread->n_live; i++) {
        struct br_frame *frame = thread->live[i];
        const uint64_t key = br_fdb_key(frame->vid, br_mac_read(frame->data + BR_ETH_ALEN));
        const struct br_fdb_entry *entry = br_fdb_probe(fdb, key, frame->source_bucket);
        enum br_drop decision = BR_PASS;

        known.vlan_generation = fdb->vlan_generation[frame->vid];
        if (!port->learning)
            decision = br_learn_off(fdb, key, frame->source_bucket);
        else if (!entry || br_fdb_value(entry).word != known.word)
            decision = br_learn_slow(bridge, port, key, index);
        if (BR_LIKELY(decision == BR_PASS))
            thread->live[n_live++] = frame;
        else
            br_drop(thread, decision);
    }
    thread->n_live = n_live;
}

/* ---- lookup: R8 -------------------------------------------------------------------------------------------------- */

static inline enum br_drop br_lookup_frame(const struct br_bridge *bridge, const struct br_port_config *ingress,
                                           struct br_frame *frame)
{
    const struct br_snapshot *snapshot = bridge->snapshot;
    const uint64_t destination = br_mac_read(frame->data);

    if (destination >> 40 & 1) {
        frame->flags |= BR_FRAME_FLOOD;
        frame->flood_class = destination == 0xffffffffffff ? BR_FLOOD_BROADCAST : BR_FLOOD_MULTICAST;
        return BR_PASS;
    }
    const struct br_fdb_entry *entry =
        br_fdb_find(&bridge->fdb, br_fdb_key(frame->vid, destination), frame->destination_bucket);
    if (!entry) {
        frame->flags |= BR_FRAME_FLOOD;
        frame->flood_class = BR_FLOOD_UNKNOWN;
        return BR_PASS;
    }
    const union br_fdb_value value = br_fdb_value(entry);
    if (value.kind == BR_FDB_DROP)
        return BR_DROP_fdb_drop;
    if (value.port == frame->ingress)
        return BR_DROP_same_port;
    if (!br_set_has(&snapshot->vlan[frame->vid], value.port))
        return BR_DROP_no_egress;
    if (ingress->isolated && snapshot->port[value.port].isolated)
        return BR_DROP_isolated;
    frame->egress = value.port;
    return BR_PASS;
}

static void br_lookup(struct br_bridge *bridge, const struct br_port_config *ingress)
{
    struct br_thread *thread = &bridge->thread;
    uint32_t n_live = 0;

    for (uint32_t i = 0; i < thread->n_live; i++) {
        struct br_frame *frame = thread->live[i];
        const enum br_drop decision = br_lookup_frame(bridge, ingress, frame);

        if (BR_LIKELY(decision == BR_PASS))
            thread->live[n_live++] = frame;
        else
            br_drop(thread, decision);
    }
    thread->n_live = n_live;
}

/* ---- egress: what edit and flood share --------------------------------------------------------------------------- */

/* The forms a frame can leave in. */
enum br_form { BR_FORM_UNTAGGED, BR_FORM_8021Q, BR_FORM_8021AD, BR_FORMS };

static const uint16_t br_form_tpid[BR_FORMS] = {0, BR_TPID_8021Q, BR_TPID_8021AD};

static inline enum br_form br_egress_form(const struct br_port_config *egress, const struct br_frame *frame)
{
    if (egress->mode != BR_MODE_TRUNK || frame->vid == egress->pvid)
        return BR_FORM_UNTAGGED;
    return egress->tpid == BR_TPID_8021AD ? BR_FORM_8021AD : BR_FORM_8021Q;
}

/* R6: would the port, or the station behind it, take the payload for a tag? */
static inline bool br_egress_leaks_tag(const struct br_port_config *egress, const struct br_frame *frame)
{
    const uint16_t type = br_frame_ethertype(frame);

    if (BR_LIKELY(type != BR_TPID_8021Q && type != BR_TPID_8021AD))
        return false;
    return egress->mode != BR_MODE_TUNNEL && (type == egress->tpid || frame->flags & BR_FRAME_WAS_TAGGED);
}

/* Whether a canonical frame may leave by this port. Accounts for the offer; the caller refuses on a drop. */
static inline enum br_drop br_egress_offer(struct br_thread *thread, const struct br_port_config *egress,
                                           const struct br_frame *frame, enum br_form form)
{
    thread->ingress->forwarded++;
    egress->port->counters.offered++;
    if (!egress->up)
        return BR_DROP_port_down;
    if (br_frame_l3_len(frame) > egress->mtu)
        return BR_DROP_oversize;
    if (form == BR_FORM_UNTAGGED && br_egress_leaks_tag(egress, frame))
        return BR_DROP_inner_tag;
    if (br_frame_is_super(frame) && !egress->port->vnet)
        return BR_DROP_gso_unsupported;
    return BR_PASS;
}

/* Give a canonical frame its final form (R1, R10). */
static inline enum br_drop br_egress_shape(struct br_frame *frame, enum br_form form)
{
    if (form != BR_FORM_UNTAGGED && !br_vlan_push(frame, br_form_tpid[form], frame->tci))
        return BR_DROP_no_headroom;
    if (frame->len < BR_FRAME_MIN) {
        memset(frame->data + frame->len, 0, BR_FRAME_MIN - frame->len);
        frame->len = BR_FRAME_MIN;
    }
    return BR_PASS;
}

/* A port that cannot ask for a checksum gets it finished; a finished checksum is right for every other port too. */
static inline void br_egress_csum(const struct br_port_config *egress, struct br_frame *frame)
{
    if (frame->offload.needs_csum && !egress->port->vnet) {
        br_offload_finish_csum(frame);
        egress->port->counters.tx_checksums++;
    }
}

static inline void br_enqueue(struct br_thread *thread, uint16_t port, struct br_frame *frame)
{
    struct br_queue *queue = &thread->queue[port];

    if (queue->n == 0)
        thread->touched[thread->n_touched++] = port;
    queue->frame[queue->n++] = frame;
}

/* ---- edit: known unicast ----------------------------------------------------------------------------------------- */

static inline void br_edit_frame(struct br_bridge *bridge, struct br_frame *frame)
{
    const struct br_port_config *egress = &bridge->snapshot->port[frame->egress];
    const enum br_form form = br_egress_form(egress, frame);
    enum br_drop decision = br_egress_offer(&bridge->thread, egress, frame, form);

    if (BR_LIKELY(decision == BR_PASS)) {
        br_egress_csum(egress, frame);
        decision = br_egress_shape(frame, form);
    }
    if (BR_LIKELY(decision == BR_PASS))
        br_enqueue(&bridge->thread, frame->egress, frame);
    else
        br_port_refuse(egress->port, decision);
}

/* Frames to flood stay live for the next stage. */
static void br_edit(struct br_bridge *bridge)
{
    struct br_thread *thread = &bridge->thread;
    uint32_t n_flood = 0;

    for (uint32_t i = 0; i < thread->n_live; i++) {
        struct br_frame *frame = thread->live[i];

        if (frame->flags & BR_FRAME_FLOOD)
            thread->live[n_flood++] = frame;
        else
            br_edit_frame(bridge, frame);
    }
    thread->n_live = n_flood;
}

/* ---- flood: by reference, each form built once ------------------------------------------------------------------- */

/* Every port a frame is flooded to, and the form it gets there. */
struct br_targets {
    uint32_t n;
    uint32_t n_form[BR_FORMS];
    uint16_t port[BR_PORTS_MAX];
    uint8_t form[BR_PORTS_MAX];
};

static inline void br_flood_target(struct br_bridge *bridge, struct br_frame *frame, uint16_t port,
                                   struct br_targets *targets)
{
    const struct br_port_config *egress = &bridge->snapshot->port[port];
    const enum br_form form = br_egress_form(egress, frame);
    const enum br_drop decision = br_egress_offer(&bridge->thread, egress, frame, form);

    if (decision != BR_PASS) {
        br_port_refuse(egress->port, decision);
        return;
    }
    br_egress_csum(egress, frame);
    targets->port[targets->n] = port;
    targets->form[targets->n++] = (uint8_t)form;
    targets->n_form[form]++;
}

/* R8: the members of the VLAN that flood flags and isolation allow; returns how many there were. */
static uint32_t br_flood_targets(struct br_bridge *bridge, const struct br_port_config *ingress, struct br_frame *frame,
                                 struct br_targets *targets)
{
    const struct br_snapshot *snapshot = bridge->snapshot;
    const struct br_port_set *members = &snapshot->vlan[frame->vid];
    const struct br_port_set *willing = &snapshot->flood[frame->flood_class];
    uint32_t n = 0;

    for (int i = 0; i < BR_PORT_WORDS; i++) {
        uint64_t word = members->word[i] & willing->word[i];

        if (frame->ingress / 64 == i)
            word &= ~(1ull << frame->ingress % 64);
        if (ingress->isolated)
            word &= ~snapshot->isolated.word[i];
        for (; word; word &= word - 1, n++)
            br_flood_target(bridge, frame, (uint16_t)(i * 64 + __builtin_ctzll(word)), targets);
    }
    return n;
}

/* A second descriptor with a head of its own; the tail is shared. NULL without a buffer. */
static struct br_frame *br_flood_copy(struct br_thread *thread, const struct br_frame *frame)
{
    uint8_t *head = br_stack_get(&thread->pool.heads);

    if (!head)
        return NULL;
    struct br_frame *copy = &thread->copy[thread->n_copies++];
    *copy = *frame;
    copy->data = head + BR_HEADROOM;
    copy->headroom = BR_HEADROOM;
    memcpy(copy->data, frame->data, frame->len);
    return copy;
}

/* Build one form. In place if no other form needs the canonical bytes after it. */
static struct br_frame *br_flood_form(struct br_thread *thread, struct br_frame *frame, enum br_form form, bool in_place,
                                      enum br_drop *decision)
{
    struct br_frame *shaped = in_place ? frame : br_flood_copy(thread, frame);

    *decision = shaped ? br_egress_shape(shaped, form) : BR_DROP_no_buffer;
    return shaped;
}

static void br_flood_frame(struct br_bridge *bridge, const struct br_port_config *ingress, struct br_frame *frame)
{
    struct br_thread *thread = &bridge->thread;
    struct br_targets targets = {.n = 0};
    struct br_frame *shaped[BR_FORMS] = {NULL};
    enum br_drop decision[BR_FORMS];
    const uint32_t n = br_flood_targets(bridge, ingress, frame, &targets);

    if (n == 0) {
        br_drop(thread, BR_DROP_no_egress);
        return;
    }
    thread->ingress->flooded++;
    thread->ingress->copies += n - 1;
    /* From the last form down to the untagged one, which is the canonical bytes themselves. */
    uint32_t n_left = targets.n;
    for (int form = BR_FORMS - 1; form >= 0 && n_left; form--) {
        if (!targets.n_form[form])
            continue;
        n_left -= targets.n_form[form];
        shaped[form] = br_flood_form(thread, frame, (enum br_form)form, n_left == 0, &decision[form]);
    }
    for (uint32_t i = 0; i < targets.n; i++) {
        const uint8_t form = targets.form[i];

        if (BR_LIKELY(decision[form] == BR_PASS))
            br_enqueue(thread, targets.port[i], shaped[form]);
        else
            br_port_refuse(bridge->snapshot->port[targets.port[i]].port, decision[form]);
    }
}

static void br_flood(struct br_bridge *bridge, const struct br_port_config *ingress)
{
    struct br_thread *thread = &bridge->thread;

    for (uint32_t i = 0; i < thread->n_live; i++)
        br_flood_frame(bridge, ingress, thread->live[i]);
}

/* ---- tx, and the end of the batch -------------------------------------------------------------------------------- */

static void br_transmit(struct br_bridge *bridge)
{
    struct br_thread *thread = &bridge->thread;

    for (uint32_t i = 0; i < thread->n_touched; i++) {
        struct br_queue *queue = &thread->queue[thread->touched[i]];
        struct br_port *port = bridge->snapshot->port[thread->touched[i]].port;

        port->ops->tx(port, queue->frame, queue->n);
        queue->n = 0;
    }
    thread->n_touched = 0;
}

static void br_release(struct br_thread *thread, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (thread->frame[i].tail)
            br_stack_put(&thread->pool.tails, thread->frame[i].tail);
    for (; thread->n_copies; thread->n_copies--) {
        const struct br_frame *copy = &thread->copy[thread->n_copies - 1];

        br_stack_put(&thread->pool.heads, copy->data - copy->headroom);
    }
}

/* Process the n frames that rx of `ingress` left in thread->frame. */
void br_pipeline_run(struct br_bridge *bridge, const struct br_port_config *ingress, uint32_t n)
{
    struct br_thread *thread = &bridge->thread;

    thread->ingress = &ingress->port->counters;
    thread->counters.batches++;
    thread->counters.frames += n;
    br_admit(bridge, ingress, n);
    br_stage_end(thread, BR_STAGE_admit);
    br_learn(bridge, ingress);
    br_stage_end(thread, BR_STAGE_learn);
    br_lookup(bridge, ingress);
    br_stage_end(thread, BR_STAGE_lookup);
    br_edit(bridge);
    br_stage_end(thread, BR_STAGE_edit);
    br_flood(bridge, ingress);
    br_stage_end(thread, BR_STAGE_flood);
    br_transmit(bridge);
    br_release(thread, n);
    br_stage_end(thread, BR_STAGE_tx);
}
