/*
 * pipeline/transmit.c - the last stage: what is queued goes to its ports.
 *
 * Job: one call of each port with a queue (batch/send.h), its cycles noted for the bill, and tx copies for mirrors.
 * Thread: the data thread.
 */
#include "batch/send.h"
#include "pipeline/stages.h"

/* The port's call is over: what it took, spread over the copies it was for. */
static void br_transmit_bill(struct br_batch *batch, struct br_port *port, struct br_queue *queue)
{
    const uint64_t cycles = br_stage_end(batch, BR_STAGE_tx);
    const double rate = (double)(int64_t)cycles / queue->weight;

    port->counters.tx_cycles += cycles;
    if (BR_LIKELY(!batch->relieved)) /* known unicast, whose rate it is, went first */
        batch->work.tx_rate[port->index] = rate;
    for (uint32_t i = 0; i < queue->n && batch->work.n_flooded; i++)
        if (queue->frame[i]->flags & BR_FRAME_FLOOD)
            batch->work.copy_tx[queue->frame[i]->origin] += rate * br_frame_weight(queue->frame[i]);
    queue->weight = 0;
}

void br_transmit(struct br_thread *thread)
{
    struct br_batch *batch = &thread->batch;
    const bool mirrored = batch->snapshot->mirrors.n;

    for (uint32_t i = 0; i < batch->n_touched; i++) {
        struct br_queue *queue = &batch->queue[batch->touched[i]];
        struct br_port *port = batch->snapshot->port[batch->touched[i]].port;

        port->counters.offered += queue->n;
        if (__builtin_expect(mirrored, 0))
            br_mirror_watch_tx(queue->frame, queue->n);
        br_send(batch, port, queue->frame, queue->n);
        if (BR_ACCOUNTING)
            br_transmit_bill(batch, port, queue);
        if (__builtin_expect(mirrored, 0))
            br_mirror_tx(&thread->mirror, batch, port->index, queue->frame, queue->n);
        queue->n = 0;
    }
    batch->n_touched = 0;
    if (__builtin_expect(mirrored, 0))
        br_mirror_flush(&thread->mirror, batch);
}

