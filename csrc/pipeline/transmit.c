/*
 * pipeline/transmit.c - the end of the pipeline: what is queued goes to its ports, and what the batch took goes back to the
 * pool.
 *
 * Job: one tx call for each port with a queue; super-frames cut for a port that cannot take them (frame/gso.h); the cycles of
 *      each call noted for the bill.
 * Refuses, under its name (br_port_refuse): a super-frame that cannot be cut.
 * Thread: the data thread.
 */
#include "thread/bridge.h"
#include "frame/gso.h"

/* Segments beyond the first are copies more, in the ledger and on the bill of the frame they are of. */
static void br_transmit_note_cut(struct br_thread *thread, struct br_port *port, const struct br_frame *cut, uint32_t n)
{
    const uint32_t origin = br_frame_origin(thread, cut);
    struct br_frame *frame = &thread->frame[origin];

    port->counters.tx_segmented++;
    port->counters.offered += n - 1;
    thread->ingress->forwarded += n - 1;
    thread->ingress->copies += n - 1;
    if (__builtin_expect(thread->mirror.sending, 0)) {
        br_mirror_note_cut(thread, origin, n - 1);
        return;
    }
    if (frame->fate == BR_FATE_FORWARDED) {
        frame->fate = BR_FATE_CUT;
        thread->bill.copies[origin] = 1;
    }
    thread->bill.copies[origin] += n - 1;
}

/* Cut a super-frame for a port that cannot take it. */
static void br_transmit_cut(struct br_thread *thread, struct br_port *port, struct br_frame *frame)
{
    struct br_frame segment[BR_GSO_BURST];
    struct br_frame *pointer[BR_GSO_BURST];
    struct br_gso gso;

    if (!br_gso_begin(&gso, frame)) {
        br_port_refuse(port, frame, BR_DROP_gso_unsupported);
        return;
    }
    for (uint32_t n; (n = br_gso_next(&gso, &thread->pool, segment, BR_GSO_BURST)) > 0;) {
        for (uint32_t i = 0; i < n; i++)
            pointer[i] = &segment[i];
        port->ops->tx(port, pointer, n);
        br_gso_release(&thread->pool, segment, n);
    }
    br_transmit_note_cut(thread, port, frame, gso.n_done);
}

/* For a port without vnet header: runs of plain frames as they are, super-frames cut, in order. */
static void br_transmit_plain(struct br_thread *thread, struct br_port *port, struct br_frame *const *frame, uint32_t n)
{
    uint32_t start = 0;

    for (uint32_t i = 0; i < n; i++) {
        if (!br_frame_is_super(frame[i]))
            continue;
        if (i > start)
            port->ops->tx(port, &frame[start], i - start);
        br_transmit_cut(thread, port, frame[i]);
        start = i + 1;
    }
    if (n > start)
        port->ops->tx(port, &frame[start], n - start);
}

void br_transmit_frames(struct br_thread *thread, struct br_port *port, struct br_frame *const *frame, uint32_t n)
{
    if (BR_LIKELY(port->vnet))
        port->ops->tx(port, frame, n);
    else
        br_transmit_plain(thread, port, frame, n);
}

/* The port's call is over: what it took, spread over the copies it was for. */
static void br_transmit_bill(struct br_thread *thread, struct br_port *port, struct br_queue *queue)
{
    const uint64_t cycles = br_stage_end(thread, BR_STAGE_tx);
    const double rate = (double)(int64_t)cycles / queue->weight;

    port->counters.tx_cycles += cycles;
    if (BR_LIKELY(!thread->relieved)) /* known unicast, whose rate it is, went first */
        thread->bill.tx_rate[port->index] = rate;
    for (uint32_t i = 0; i < queue->n && thread->bill.n_flooded; i++)
        if (queue->frame[i]->flags & BR_FRAME_FLOOD)
            thread->bill.copy_tx[queue->frame[i]->origin] += rate * br_bill_weight(queue->frame[i]);
    queue->weight = 0;
}

void br_transmit(struct br_bridge *bridge)
{
    struct br_thread *thread = &bridge->thread;
    const bool mirrored = bridge->snapshot->mirrors.n;

    for (uint32_t i = 0; i < thread->n_touched; i++) {
        struct br_queue *queue = &thread->queue[thread->touched[i]];
        struct br_port *port = bridge->snapshot->port[thread->touched[i]].port;

        port->counters.offered += queue->n;
        if (__builtin_expect(mirrored, 0))
            br_mirror_arm(queue->frame, queue->n);
        br_transmit_frames(thread, port, queue->frame, queue->n);
        if (BR_ACCOUNTING)
            br_transmit_bill(thread, port, queue);
        if (__builtin_expect(mirrored, 0))
            br_mirror_tx(bridge, port->index, queue->frame, queue->n);
        queue->n = 0;
    }
    thread->n_touched = 0;
    if (__builtin_expect(mirrored, 0))
        br_mirror_flush(bridge);
}

void br_release_copies(struct br_thread *thread)
{
    for (; thread->n_copies; thread->n_copies--) {
        const struct br_frame *copy = &thread->copy[thread->n_copies - 1];

        br_stack_put(&thread->pool.heads, copy->data - copy->headroom);
    }
}

/* Give back what the batch of n frames took from the pool. */
void br_release(struct br_thread *thread, uint32_t n)
{
    for (uint32_t i = 0; i < n && thread->has_tails; i++)
        if (thread->frame[i].tail)
            br_stack_put(&thread->pool.tails, thread->frame[i].tail);
    br_release_copies(thread);
    thread->relieved = false;
}
