/*
 * pipeline/edit.c - the stage edit: known unicast gets the tags of its egress port where it lies, and is queued there.
 *
 * Refuses, at the egress port and under its name (br_egress_refuse): what R2, R6 and R10 forbid.
 * Thread: the data thread.
 */
#include "pipeline/egress.h"
#include "pipeline/stages.h"

void br_egress_refuse(struct br_thread *thread, const struct br_port_config *egress, struct br_frame *frame,
                      enum br_drop reason)
{
    egress->port->counters.offered++;
    br_port_refuse(egress->port, frame, reason);
    if (__builtin_expect(thread->batch.snapshot->mirrors.n, 0))
        br_mirror_refuse(&thread->mirror, &thread->batch, frame, egress->port->index, reason);
}

/* Edit a frame that may leave, or may not. */
static inline __attribute__((always_inline)) void br_edit_as(struct br_thread *thread,
                                                             const struct br_port_config *egress,
                                                             struct br_frame *frame, uint64_t encap,
                                                             enum br_drop decision)
{
    if (BR_LIKELY(decision == BR_PASS)) {
        br_egress_csum(egress, frame);
        decision = br_egress_shape(frame, encap);
    }
    if (BR_LIKELY(decision == BR_PASS)) {
        br_egress_enqueue(&thread->batch, frame->egress, frame);
    } else {
        frame->outcome = BR_OUTCOME_UNSENT;
        br_egress_refuse(thread, egress, frame, decision);
    }
}

static __attribute__((noinline)) void br_edit_special(struct br_thread *thread, const struct br_port_config *egress,
                                                      struct br_frame *frame)
{
    const uint64_t encap = br_encap_of(egress, frame);

    br_edit_as(thread, egress, frame, encap, br_egress_check_encap(egress, frame, encap));
}

static inline void br_edit_frame(struct br_thread *thread, struct br_frame *frame)
{
    const struct br_port_config *egress = &thread->batch.snapshot->port[frame->egress];

    if (__builtin_expect(!egress->simple, 0)) {
        br_edit_special(thread, egress, frame);
        return;
    }
    const uint16_t tpid = br_egress_tpid(egress, frame);
    br_edit_as(thread, egress, frame, tpid, br_egress_check(egress, frame, tpid));
}

void br_edit(struct br_thread *thread)
{
    struct br_batch *batch = &thread->batch;
    uint32_t n_flood = 0;

    for (uint32_t i = 0; i < batch->n_live; i++) {
        struct br_frame *frame = batch->live[i];

        if (frame->flags & BR_FRAME_FLOOD)
            batch->live[n_flood++] = frame;
        else
            br_edit_frame(thread, frame);
    }
    batch->work.n_forwarded = batch->n_live - n_flood;
    batch->ingress->forwarded += batch->n_live - n_flood;
    batch->n_live = n_flood;
}

