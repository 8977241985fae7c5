/*
 * mirror/copy.h - one copy of a frame for a mirror to a port: made, checked, queued, sent.
 *
 * Job: a copy with bytes of its own only where it must have them: it differs from the frame as that leaves, is cut, or
 *      its checksum has to be finished. What a head cannot hold is referenced.
 * Refuses, at the target and under its name (br_port_refuse): what R1 and R2 forbid, and what has no buffer.
 * Thread: the data thread.
 */
#ifndef BR_COPY_H
#define BR_COPY_H

#include "mirror/mirror.h"

/* A frame to copy, and why. */
struct br_copy {
    struct br_frame *frame;
    uint16_t origin;  /* its place in the batch */
    bool as_received; /* the pieces are of the frame as it was received; else of its final form */
    struct br_vnet vnet;
    struct br_capture_piece piece[BR_CAPTURE_PIECES];
    struct br_capture_copy capture;
};

/* Queue a copy of the first `len` bytes for the target of mirror m. */
void br_copy_to_port(struct br_mirror_thread *mirror, struct br_batch *batch, uint32_t m, const struct br_copy *what,
                     uint32_t len);

#endif
