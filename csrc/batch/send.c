/* batch/send.c - see batch/send.h. */
#include "batch/send.h"

#include "frame/gso.h"

/* n segments instead of one copy. */
static void br_send_note_cut(struct br_batch *batch, struct br_port *port, const struct br_frame *cut, uint32_t n)
{
    const uint32_t origin = br_frame_origin(batch, cut);
    struct br_frame *frame = &batch->frame[origin];

    port->counters.tx_segmented++;
    port->counters.offered += n - 1;
    batch->ingress->forwarded += n - 1;
    batch->ingress->copies += n - 1;
    if (__builtin_expect(batch->to_mirrors, 0)) {
        batch->work.mirror_copies[origin] += n - 1;
        return;
    }
    if (frame->outcome == BR_OUTCOME_FORWARDED) {
        frame->outcome = BR_OUTCOME_CUT;
        batch->work.copies[origin] = 1;
    }
    batch->work.copies[origin] += n - 1;
}

static bool br_send_is_whole(const struct br_port *port, const struct br_frame *frame)
{
    return !br_frame_is_super(frame) || (port->vnet && !(frame->flags & BR_FRAME_INNER));
}

/* Super-frames of datagrams as long as they are made; returns how many. */
static uint32_t br_send_datagrams(struct br_batch *batch, struct br_port *port, struct br_gso *gso)
{
    struct br_frame super;
    struct br_frame *pointer = &super;
    uint32_t n = 0;

    for (; gso->datagram && br_gso_datagrams(gso, &batch->pool, &super); n++) {
        port->ops->tx(port, &pointer, 1);
        br_gso_release_datagrams(&batch->pool, &super);
    }
    return n;
}

static uint32_t br_send_segments(struct br_batch *batch, struct br_port *port, struct br_gso *gso)
{
    struct br_frame segment[BR_GSO_BURST];
    struct br_frame *pointer[BR_GSO_BURST];
    uint32_t n_all = 0;

    for (uint32_t n; (n = br_gso_next(gso, &batch->pool, segment, BR_GSO_BURST)) > 0; n_all += n) {
        for (uint32_t i = 0; i < n; i++)
            pointer[i] = &segment[i];
        port->ops->tx(port, pointer, n);
        br_gso_release(&batch->pool, segment, n);
    }
    return n_all;
}

static void br_send_cut(struct br_batch *batch, struct br_port *port, struct br_frame *frame)
{
    struct br_gso gso;

    if (!br_gso_begin(&gso, frame, port->vnet, port->uso)) {
        br_port_refuse(port, frame, BR_DROP_gso_unsupported);
        return;
    }
    const uint32_t n = br_send_datagrams(batch, port, &gso);
    br_send_note_cut(batch, port, frame, n + br_send_segments(batch, port, &gso));
}

void br_send_cutting(struct br_batch *batch, struct br_port *port, struct br_frame *const *frame, uint32_t n)
{
    uint32_t start = 0;

    for (uint32_t i = 0; i < n; i++) {
        if (br_send_is_whole(port, frame[i]))
            continue;
        if (i > start)
            port->ops->tx(port, &frame[start], i - start);
        br_send_cut(batch, port, frame[i]);
        start = i + 1;
    }
    if (n > start)
        port->ops->tx(port, &frame[start], n - start);
}

void br_release_copies(struct br_batch *batch)
{
    for (; batch->n_copies; batch->n_copies--) {
        const struct br_frame *copy = &batch->copy[batch->n_copies - 1];

        br_stack_put(&batch->pool.heads, copy->data - copy->headroom);
    }
}

void br_release(struct br_batch *batch, uint32_t n)
{
    for (uint32_t i = 0; i < n && batch->has_tails; i++)
        if (batch->frame[i].tail)
            br_stack_put(&batch->pool.tails, batch->frame[i].tail);
    br_release_copies(batch);
    batch->relieved = false;
}
