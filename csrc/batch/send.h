/*
 * batch/send.h - hand frames in their final form to one port, and give back what a batch took from the pool.
 *
 * Job: the one call of a port's tx. A port that takes no super-frames gets them cut (frame/gso.h), and every port those
 *      inside tunnels; the segments beyond the first are copies more, in the ledger and on the bill of the frame they are of.
 * Refuses, under its name (br_port_refuse): a super-frame that cannot be cut.
 * Thread: the data thread.
 */
#ifndef BR_SEND_H
#define BR_SEND_H

#include "batch/batch.h"
#include "port/port.h"

/* Runs of frames that the port takes as they are, super-frames that it does not take cut, in order. */
void br_send_cutting(struct br_batch *batch, struct br_port *port, struct br_frame *const *frame, uint32_t n);

static inline void br_send(struct br_batch *batch, struct br_port *port, struct br_frame *const *frame, uint32_t n)
{
    if (BR_LIKELY(port->vnet && !batch->has_inner))
        port->ops->tx(port, frame, n);
    else
        br_send_cutting(batch, port, frame, n);
}

/* Give back the heads of all copies. */
void br_release_copies(struct br_batch *batch);
/* Give back all that the batch of n frames took. */
void br_release(struct br_batch *batch, uint32_t n);

#endif
