/*
 * pipeline/originate.h - frames of the bridge itself: loop probes, and whatever else the control thread wants sent.
 *
 * Ledger: originated and offered at their egress port, which may refuse them as any other. What they cost is control
 *      work, charged to no frame. Mirrors do not copy them.
 * Thread: the data thread, between two batches.
 */
#ifndef BR_ORIGINATE_H
#define BR_ORIGINATE_H

#include "batch/batch.h"

/* A frame for one port; result: 0, or -ENETDOWN: the port does not send in that VLAN. */
struct br_origination {
    const uint8_t *data; /* untagged, at most BR_HEAD_LEN bytes */
    uint32_t len;
    uint16_t port;
    uint16_t vid;
    int16_t result;
};

/* Send it; returns its result. */
int br_originate(struct br_batch *batch, const struct br_origination *own);

#endif
