/*
 * pipeline/flood.c - the stages edit and flood: the form a frame leaves in, its copies, and the queues they go to (pipeline/transmit.c).
 *
 * Job: edit (known unicast, in place), flood (copies by reference, each form built once), frames of the bridge itself.
 * A canonical frame leaves untagged or under the TPID of its egress port; what else a port may want is in snapshot/encap.h.
 * Known unicast has one egress port and is edited where it lies. A flooded frame is shared by all ports that want the
 * same form; only a second form costs a copy of its head, never of a tail. Heads are finite: when a flood in many
 * forms has used them up, what is queued is transmitted at once, in order, and they are free again (br_flood_relieve).
 * Refuses, at the egress port and under its name (br_port_refuse): what R2, R6 and R10 forbid.
 * Thread: the data thread.
 */
#include <errno.h>

#include "thread/bridge.h"
#include "snapshot/encap.h"
#include "frame/vnet.h"
#include "frame/vlan.h"

/* ---- what edit and flood share ----------------------------------------------------------------------------------- */

/* The TPID a frame leaves under by a plain port, 0: untagged. Access and tunnel ports are in no VLAN but their own. */
static inline uint16_t br_egress_tpid(const struct br_port_config *egress, const struct br_frame *frame)
{
    return frame->vid == egress->bare ? 0 : egress->tpid;
}

/* R6: would the port, or the station behind it, take the payload for a tag? */
static inline bool br_egress_leaks_tag(const struct br_port_config *egress, const struct br_frame *frame)
{
    const uint16_t type = br_frame_ethertype(frame);

    if (BR_LIKELY(type != BR_TPID_8021Q && type != BR_TPID_8021AD))
        return false;
    return egress->mode != BR_MODE_TUNNEL && (type == egress->tpid || frame->flags & BR_FRAME_WAS_TAGGED);
}

/* Whether a canonical frame may leave by this plain port under this TPID. */
static inline enum br_drop br_egress_check(const struct br_port_config *egress, const struct br_frame *frame, uint16_t tpid)
{
    if (br_frame_l3_len(frame) > egress->mtu)
        return BR_DROP_oversize;
    if (tpid == 0 && br_egress_leaks_tag(egress, frame))
        return BR_DROP_inner_tag;
    return BR_PASS;
}

/* The same for a port that may be down, and any form. */
static enum br_drop br_egress_check_form(const struct br_port_config *egress, const struct br_frame *frame, uint64_t form)
{
    const uint32_t second = br_form_inner(form) ? BR_TAG_LEN : 0; /* payload to R2 */

    if (!egress->up)
        return egress->blocked ? BR_DROP_blocked : BR_DROP_port_down;
    if (br_frame_l3_len(frame) + second > egress->mtu)
        return BR_DROP_oversize;
    if (br_form_is_bare(form) && br_egress_leaks_tag(egress, frame))
        return BR_DROP_inner_tag;
    return BR_PASS;
}

/* Give a canonical frame its final form (R1, R10). */
static inline enum br_drop br_egress_shape(struct br_frame *frame, uint64_t form)
{
    if (!br_form_push(frame, form))
        return BR_DROP_no_headroom;
    br_frame_pad(frame);
    return BR_PASS;
}

/* A port that cannot ask for a checksum gets it finished; a finished checksum is right for every other port too. */
static inline void br_egress_csum(const struct br_port_config *egress, struct br_frame *frame)
{
    if (frame->offload.needs_csum && !egress->port->vnet && !br_frame_is_super(frame)) {
        br_offload_finish_csum(frame);
        egress->port->counters.tx_checksums++;
    }
}

static inline void br_egress_enqueue(struct br_thread *thread, uint16_t port, struct br_frame *frame)
{
    struct br_queue *queue = &thread->queue[port];

    if (queue->n == 0)
        thread->touched[thread->n_touched++] = port;
    queue->frame[queue->n++] = frame;
    if (BR_ACCOUNTING)
        queue->weight += br_bill_weight(frame);
}

/* A copy that was offered to a port and ends there. What is queued is counted as offered when it is transmitted. */
static __attribute__((noinline, cold)) void br_egress_refuse(struct br_bridge *bridge, const struct br_port_config *egress,
                                                             struct br_frame *frame, enum br_drop reason)
{
    egress->port->counters.offered++;
    br_port_refuse(egress->port, frame, reason);
    if (__builtin_expect(bridge->snapshot->mirrors.n, 0))
        br_mirror_refuse(bridge, frame, egress->port->index, reason);
}

/* ---- edit: known unicast ----------------------------------------------------------------------------------------- */

/* Edit a frame that may leave, or may not. */
static inline __attribute__((always_inline)) void br_edit_as(struct br_bridge *bridge,
                                                             const struct br_port_config *egress,
                                                             struct br_frame *frame, uint64_t form,
                                                             enum br_drop decision)
{
    if (BR_LIKELY(decision == BR_PASS)) {
        br_egress_csum(egress, frame);
        decision = br_egress_shape(frame, form);
    }
    if (BR_LIKELY(decision == BR_PASS)) {
        br_egress_enqueue(&bridge->thread, frame->egress, frame);
    } else {
        frame->fate = BR_FATE_UNSENT;
        br_egress_refuse(bridge, egress, frame, decision);
    }
}

static __attribute__((noinline)) void br_edit_special(struct br_bridge *bridge, const struct br_port_config *egress,
                                                      struct br_frame *frame)
{
    const uint64_t form = br_form_of(egress, frame);

    br_edit_as(bridge, egress, frame, form, br_egress_check_form(egress, frame, form));
}

static inline void br_edit_frame(struct br_bridge *bridge, struct br_frame *frame)
{
    const struct br_port_config *egress = &bridge->snapshot->port[frame->egress];

    if (__builtin_expect(!egress->plain, 0)) {
        br_edit_special(bridge, egress, frame);
        return;
    }
    const uint16_t tpid = br_egress_tpid(egress, frame);
    br_edit_as(bridge, egress, frame, tpid, br_egress_check(egress, frame, tpid));
}

void br_edit(struct br_bridge *bridge)
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
    thread->bill.n_forwarded = thread->n_live - n_flood;
    thread->ingress->forwarded += thread->n_live - n_flood;
    thread->n_live = n_flood;
}

/* ---- flood ------------------------------------------------------------------------------------------------------- */

enum br_plain_form { BR_FORM_UNTAGGED, BR_FORM_8021Q, BR_FORM_8021AD, BR_FORMS };

static const uint16_t br_form_tpid[BR_FORMS] = {0, BR_TPID_8021Q, BR_TPID_8021AD};

/* Every port a frame is flooded to, and the form it gets there: one of the plain ones, or BR_FORMS + n for
 * written[n]. */
struct br_targets {
    uint32_t n;
    uint32_t n_form[BR_FORMS];
    uint16_t port[BR_PORTS_MAX];
    uint16_t form[BR_PORTS_MAX];
    uint32_t n_written; /* forms */
    uint64_t written[BR_PORTS_MAX];
    uint32_t n_written_form[BR_PORTS_MAX]; /* targets of each */
};

static inline void br_targets_add(struct br_targets *targets, uint16_t port, enum br_plain_form form)
{
    targets->port[targets->n] = port;
    targets->form[targets->n++] = (uint16_t)form;
    targets->n_form[form]++;
}

static void br_targets_add_written(struct br_targets *targets, uint16_t port, uint64_t form)
{
    uint32_t at = 0;

    while (at < targets->n_written && targets->written[at] != form)
        at++;
    if (at == targets->n_written) {
        targets->written[at] = form;
        targets->n_written_form[at] = 0;
        targets->n_written++;
    }
    targets->port[targets->n] = port;
    targets->form[targets->n++] = (uint16_t)(BR_FORMS + at);
    targets->n_written_form[at]++;
}

static inline enum br_plain_form br_plain_form(uint64_t tpid)
{
    return tpid == 0 ? BR_FORM_UNTAGGED : tpid == BR_TPID_8021Q ? BR_FORM_8021Q : BR_FORM_8021AD;
}

/* A port that is not plain. */
static __attribute__((noinline)) void br_flood_special(struct br_bridge *bridge, const struct br_port_config *egress,
                                                       struct br_frame *frame, uint16_t port, struct br_targets *targets)
{
    const uint64_t form = br_form_of(egress, frame);
    const enum br_drop decision = br_egress_check_form(egress, frame, form);

    if (decision != BR_PASS) {
        br_egress_refuse(bridge, egress, frame, decision);
        return;
    }
    br_egress_csum(egress, frame);
    if (form & BR_FORM_WRITTEN)
        br_targets_add_written(targets, port, form);
    else
        br_targets_add(targets, port, br_plain_form(form));
}

static inline void br_flood_target(struct br_bridge *bridge, struct br_frame *frame, uint16_t port,
                                   struct br_targets *targets)
{
    const struct br_port_config *egress = &bridge->snapshot->port[port];

    if (__builtin_expect(!egress->plain, 0)) {
        br_flood_special(bridge, egress, frame, port, targets);
        return;
    }
    const uint16_t tpid = br_egress_tpid(egress, frame);
    const enum br_drop decision = br_egress_check(egress, frame, tpid);

    if (decision != BR_PASS) {
        br_egress_refuse(bridge, egress, frame, decision);
        return;
    }
    br_egress_csum(egress, frame);
    br_targets_add(targets, port, br_plain_form(tpid));
}

/* R8: the members of the VLAN that flood flags allow and the ingress port reaches; returns how many there were. */
static uint32_t br_flood_targets(struct br_bridge *bridge, struct br_frame *frame, struct br_targets *targets)
{
    const struct br_snapshot *snapshot = bridge->snapshot;
    const struct br_port_set *members = &snapshot->vlan[frame->vid];
    const struct br_port_set *willing = &snapshot->flood[frame->flood_class];
    const struct br_port_set *barred = &snapshot->barred[frame->ingress];
    uint32_t n = 0;

    for (int i = 0; i < BR_PORT_WORDS; i++) {
        for (uint64_t word = members->word[i] & willing->word[i] & ~barred->word[i]; word; word &= word - 1, n++)
            br_flood_target(bridge, frame, (uint16_t)(i * 64 + __builtin_ctzll(word)), targets);
    }
    return n;
}

/* A second descriptor with a head of its own; what is beyond a head buffer is shared. NULL without a buffer. */
static struct br_frame *br_flood_copy(struct br_thread *thread, const struct br_frame *frame)
{
    uint8_t *head = br_stack_get(&thread->pool.heads);

    if (!head)
        return NULL;
    struct br_frame *copy = &thread->copy[thread->n_copies++];
    *copy = *frame;
    if (frame->len > BR_HEAD_LEN && !frame->tail_len) { /* a long head has no tail (frame/frame.h) */
        copy->len = BR_HEAD_LEN;
        copy->tail = frame->data + BR_HEAD_LEN;
        copy->tail_len = frame->len - BR_HEAD_LEN;
    }
    /* The head before a tail may have grown by the tag that admit put back. */
    copy->headroom = (uint16_t)(copy->len > BR_HEAD_LEN ? BR_HEAD_CAP - copy->len : BR_HEADROOM);
    copy->data = head + copy->headroom;
    memcpy(copy->data, frame->data, copy->len);
    return copy;
}

/* Build one form. In place if no other form needs the canonical bytes after it. */
static struct br_frame *br_flood_form(struct br_thread *thread, struct br_frame *frame, uint64_t form, bool in_place,
                                      enum br_drop *decision)
{
    struct br_frame *shaped = in_place ? frame : br_flood_copy(thread, frame);

    *decision = shaped ? br_egress_shape(shaped, form) : BR_DROP_no_buffer;
    return shaped;
}

/* For the bill. */
static void br_flood_note(struct br_thread *thread, struct br_frame *frame, uint32_t n)
{
    struct br_bill *bill = &thread->bill;

    frame->origin = (uint16_t)(frame - thread->frame);
    frame->fate = BR_FATE_FLOODED;
    bill->copies[frame->origin] = n;
    bill->targets[frame->origin] = (uint16_t)n;
    bill->copy_tx[frame->origin] = 0;
    bill->n_flooded += n;
}

/* Transmit what is queued, so that the heads of all copies are free again. */
static void br_flood_relieve(struct br_bridge *bridge)
{
    br_stage_end(&bridge->thread, BR_STAGE_flood);
    br_transmit(bridge);
    br_release_copies(&bridge->thread);
    bridge->thread.relieved = true;
}

/* Hand a finished form of a frame to its ports. */
static void br_flood_enqueue(struct br_bridge *bridge, struct br_frame *frame, const struct br_targets *targets,
                             uint32_t form, struct br_frame *shaped, enum br_drop decision)
{
    for (uint32_t i = 0; i < targets->n; i++) {
        if (targets->form[i] != form)
            continue;
        if (decision == BR_PASS)
            br_egress_enqueue(&bridge->thread, targets->port[i], shaped);
        else
            br_egress_refuse(bridge, &bridge->snapshot->port[targets->port[i]], frame, decision);
    }
}

/*
 * A frame in any number of forms, each queued as soon as it is built. n_after frames of the batch are still to be
 * flooded: two heads are left for each of them, which is all that plain forms take.
 */
static __attribute__((noinline)) void br_flood_forms(struct br_bridge *bridge, struct br_frame *frame,
                                                     const struct br_targets *targets, uint32_t n_after)
{
    struct br_thread *thread = &bridge->thread;
    const uint32_t most = BR_COPIES * thread->burst - 2 * n_after;
    uint32_t n_left = targets->n;

    for (uint32_t form = BR_FORMS + targets->n_written; form-- > 0 && n_left;) {
        const bool is_plain = form < BR_FORMS;
        const uint32_t n = is_plain ? targets->n_form[form] : targets->n_written_form[form - BR_FORMS];
        enum br_drop decision;

        if (n == 0)
            continue;
        n_left -= n;
        if (n_left && thread->n_copies >= most)
            br_flood_relieve(bridge);
        const uint64_t tags = is_plain ? br_form_tpid[form] : targets->written[form - BR_FORMS];
        struct br_frame *shaped = br_flood_form(thread, frame, tags, n_left == 0, &decision);
        br_flood_enqueue(bridge, frame, targets, form, shaped, decision);
    }
}

static void br_flood_frame(struct br_bridge *bridge, struct br_frame *frame, uint32_t n_after)
{
    struct br_thread *thread = &bridge->thread;
    struct br_targets targets;
    struct br_frame *shaped[BR_FORMS];
    enum br_drop decision[BR_FORMS];

    targets.n = 0;
    targets.n_written = 0;
    memset(targets.n_form, 0, sizeof(targets.n_form));
    const uint32_t n = br_flood_targets(bridge, frame, &targets);
    if (n == 0) {
        br_drop(thread, frame, BR_FATE_ENDED, BR_DROP_no_egress);
        return;
    }
    br_flood_note(thread, frame, n);
    thread->ingress->flooded++;
    thread->ingress->copies += n - 1;
    thread->ingress->forwarded += n;
    if (__builtin_expect(targets.n_written, 0)) {
        br_flood_forms(bridge, frame, &targets, n_after);
        return;
    }
    /* From the last form down to the untagged one, which is the canonical bytes themselves. */
    uint32_t n_left = targets.n;
    for (int form = BR_FORMS - 1; form >= 0 && n_left; form--) {
        if (!targets.n_form[form])
            continue;
        n_left -= targets.n_form[form];
        shaped[form] = br_flood_form(thread, frame, br_form_tpid[form], n_left == 0, &decision[form]);
    }
    for (uint32_t i = 0; i < targets.n; i++) {
        const uint16_t form = targets.form[i];

        if (BR_LIKELY(decision[form] == BR_PASS))
            br_egress_enqueue(thread, targets.port[i], shaped[form]);
        else
            br_egress_refuse(bridge, &bridge->snapshot->port[targets.port[i]], frame, decision[form]);
    }
}

void br_flood(struct br_bridge *bridge)
{
    struct br_thread *thread = &bridge->thread;

    for (uint32_t i = 0; i < thread->n_live; i++)
        br_flood_frame(bridge, thread->live[i], thread->n_live - 1 - i);
}

/* ---- frames of the bridge itself --------------------------------------------------------------------------------- */

static bool br_originates(const struct br_snapshot *snapshot, const struct br_origination *own)
{
    const struct br_port_config *egress = &snapshot->port[own->port];

    return egress->port && egress->up && egress->direction != BR_DIRECTION_INGRESS &&
           br_set_has(&snapshot->vlan[own->vid], own->port);
}

/*
 * Send a frame of the bridge itself. Between two batches, so every head is free; what it costs is control work, charged
 * to no frame.
 */
int br_originate(struct br_bridge *bridge, const struct br_origination *own)
{
    const struct br_port_config *egress = &bridge->snapshot->port[own->port];
    uint8_t *head = br_stack_get(&bridge->thread.pool.heads);
    struct br_frame frame = {
        .data = head + BR_HEADROOM,
        .len = own->len,
        .headroom = BR_HEADROOM,
        .tci = own->vid,
        .segments = 1,
        .vid = own->vid,
        .rx_len = own->len,
    };
    struct br_frame *pointer = &frame;

    if (!br_originates(bridge->snapshot, own)) {
        br_stack_put(&bridge->thread.pool.heads, head);
        return -ENETDOWN;
    }
    memcpy(frame.data, own->data, own->len);
    const uint64_t form = br_form_of(egress, &frame);
    enum br_drop decision = br_egress_check_form(egress, &frame, form);
    if (decision == BR_PASS)
        decision = br_egress_shape(&frame, form);
    egress->port->counters.originated++;
    egress->port->counters.offered++;
    if (decision == BR_PASS)
        egress->port->ops->tx(egress->port, &pointer, 1);
    else
        br_port_refuse(egress->port, &frame, decision);
    br_stack_put(&bridge->thread.pool.heads, head);
    return 0;
}
