/*
 * pipeline/flood.c - the stage flood: copies by reference, each form built once, and the queues they go to.
 *
 * Job: a flooded frame is shared by all ports that want the same form; only a second form costs a copy of its head, never
 *      of a tail. Heads are finite: when a flood in many forms has used them up, what is queued is sent at once, in
 *      order, and they are free again (br_flood_relieve).
 * Refuses, at the egress port and under its name (br_egress_refuse): what R2, R6 and R10 forbid.
 * Thread: the data thread.
 */
#include "batch/send.h"
#include "pipeline/egress.h"
#include "pipeline/stages.h"

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
static __attribute__((noinline)) void br_flood_special(struct br_thread *thread, const struct br_port_config *egress,
                                                       struct br_frame *frame, uint16_t port, struct br_targets *targets)
{
    const uint64_t form = br_form_of(egress, frame);
    const enum br_drop decision = br_egress_check_form(egress, frame, form);

    if (decision != BR_PASS) {
        br_egress_refuse(thread, egress, frame, decision);
        return;
    }
    br_egress_csum(egress, frame);
    if (form & BR_FORM_WRITTEN)
        br_targets_add_written(targets, port, form);
    else
        br_targets_add(targets, port, br_plain_form(form));
}

static inline void br_flood_target(struct br_thread *thread, struct br_frame *frame, uint16_t port,
                                   struct br_targets *targets)
{
    const struct br_port_config *egress = &thread->batch.snapshot->port[port];

    if (__builtin_expect(!egress->plain, 0)) {
        br_flood_special(thread, egress, frame, port, targets);
        return;
    }
    const uint16_t tpid = br_egress_tpid(egress, frame);
    const enum br_drop decision = br_egress_check(egress, frame, tpid);

    if (decision != BR_PASS) {
        br_egress_refuse(thread, egress, frame, decision);
        return;
    }
    br_egress_csum(egress, frame);
    br_targets_add(targets, port, br_plain_form(tpid));
}

/* R8: the members of the VLAN that flood flags allow and the ingress port reaches; returns how many there were. */
static uint32_t br_flood_targets(struct br_thread *thread, struct br_frame *frame, struct br_targets *targets)
{
    const struct br_snapshot *snapshot = thread->batch.snapshot;
    const struct br_port_set *members = &snapshot->vlan[frame->vid];
    const struct br_port_set *willing = &snapshot->flood[frame->flood_class];
    const struct br_port_set *barred = &snapshot->barred[frame->ingress];
    uint32_t n = 0;

    for (int i = 0; i < BR_PORT_WORDS; i++) {
        for (uint64_t word = members->word[i] & willing->word[i] & ~barred->word[i]; word; word &= word - 1, n++)
            br_flood_target(thread, frame, (uint16_t)(i * 64 + __builtin_ctzll(word)), targets);
    }
    return n;
}

/* A second descriptor with a head of its own; what is beyond a head buffer is shared. NULL without a buffer. */
static struct br_frame *br_flood_copy(struct br_batch *batch, const struct br_frame *frame)
{
    uint8_t *head = br_stack_get(&batch->pool.heads);

    if (!head)
        return NULL;
    struct br_frame *copy = &batch->copy[batch->n_copies++];
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
static struct br_frame *br_flood_form(struct br_batch *batch, struct br_frame *frame, uint64_t form, bool in_place,
                                      enum br_drop *decision)
{
    struct br_frame *shaped = in_place ? frame : br_flood_copy(batch, frame);

    *decision = shaped ? br_egress_shape(shaped, form) : BR_DROP_no_buffer;
    return shaped;
}

/* For the bill. */
static void br_flood_note(struct br_batch *batch, struct br_frame *frame, uint32_t n)
{
    struct br_work *work = &batch->work;

    frame->origin = (uint16_t)(frame - batch->frame);
    frame->fate = BR_FATE_FLOODED;
    work->copies[frame->origin] = n;
    work->targets[frame->origin] = (uint16_t)n;
    work->copy_tx[frame->origin] = 0;
    work->n_flooded += n;
}

/* Transmit what is queued, so that the heads of all copies are free again. */
static void br_flood_relieve(struct br_thread *thread)
{
    br_stage_end(&thread->batch, BR_STAGE_flood);
    br_transmit(thread);
    br_release_copies(&thread->batch);
    thread->batch.relieved = true;
}

/* Hand a finished form of a frame to its ports. */
static void br_flood_enqueue(struct br_thread *thread, struct br_frame *frame, const struct br_targets *targets,
                             uint32_t form, struct br_frame *shaped, enum br_drop decision)
{
    for (uint32_t i = 0; i < targets->n; i++) {
        if (targets->form[i] != form)
            continue;
        if (decision == BR_PASS)
            br_egress_enqueue(&thread->batch, targets->port[i], shaped);
        else
            br_egress_refuse(thread, &thread->batch.snapshot->port[targets->port[i]], frame, decision);
    }
}

/*
 * A frame in any number of forms, each queued as soon as it is built. n_after frames of the batch are still to be
 * flooded: two heads are left for each of them, which is all that plain forms take.
 */
static __attribute__((noinline)) void br_flood_forms(struct br_thread *thread, struct br_frame *frame,
                                                     const struct br_targets *targets, uint32_t n_after)
{
    struct br_batch *batch = &thread->batch;
    const uint32_t most = BR_COPIES * batch->burst - 2 * n_after;
    uint32_t n_left = targets->n;

    for (uint32_t form = BR_FORMS + targets->n_written; form-- > 0 && n_left;) {
        const bool is_plain = form < BR_FORMS;
        const uint32_t n = is_plain ? targets->n_form[form] : targets->n_written_form[form - BR_FORMS];
        enum br_drop decision;

        if (n == 0)
            continue;
        n_left -= n;
        if (n_left && batch->n_copies >= most)
            br_flood_relieve(thread);
        const uint64_t tags = is_plain ? br_form_tpid[form] : targets->written[form - BR_FORMS];
        struct br_frame *shaped = br_flood_form(batch, frame, tags, n_left == 0, &decision);
        br_flood_enqueue(thread, frame, targets, form, shaped, decision);
    }
}

static void br_flood_frame(struct br_thread *thread, struct br_frame *frame, uint32_t n_after)
{
    struct br_batch *batch = &thread->batch;
    struct br_targets targets;
    struct br_frame *shaped[BR_FORMS];
    enum br_drop decision[BR_FORMS];

    targets.n = 0;
    targets.n_written = 0;
    memset(targets.n_form, 0, sizeof(targets.n_form));
    const uint32_t n = br_flood_targets(thread, frame, &targets);
    if (n == 0) {
        br_batch_drop(batch, frame, BR_FATE_ENDED, BR_DROP_no_egress);
        return;
    }
    br_flood_note(batch, frame, n);
    batch->ingress->flooded++;
    batch->ingress->copies += n - 1;
    batch->ingress->forwarded += n;
    if (__builtin_expect(targets.n_written, 0)) {
        br_flood_forms(thread, frame, &targets, n_after);
        return;
    }
    /* From the last form down to the untagged one, which is the canonical bytes themselves. */
    uint32_t n_left = targets.n;
    for (int form = BR_FORMS - 1; form >= 0 && n_left; form--) {
        if (!targets.n_form[form])
            continue;
        n_left -= targets.n_form[form];
        shaped[form] = br_flood_form(batch, frame, br_form_tpid[form], n_left == 0, &decision[form]);
    }
    for (uint32_t i = 0; i < targets.n; i++) {
        const uint16_t form = targets.form[i];

        if (BR_LIKELY(decision[form] == BR_PASS))
            br_egress_enqueue(batch, targets.port[i], shaped[form]);
        else
            br_egress_refuse(thread, &thread->batch.snapshot->port[targets.port[i]], frame, decision[form]);
    }
}

void br_flood(struct br_thread *thread)
{
    struct br_batch *batch = &thread->batch;

    for (uint32_t i = 0; i < batch->n_live; i++)
        br_flood_frame(thread, batch->live[i], batch->n_live - 1 - i);
}

