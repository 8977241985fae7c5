/*
 * protect/lock.h - locked ports: which stations may send on a port.
 *
 * Job: a frame whose source is neither allowed on a locked port nor has an FDB entry there is dropped as `locked`; it
 *      learns and moves nothing. An allowed source is learned, moves and ages as on any port, so only its first frame
 *      is looked up here; nothing has to be installed for the VLANs it may speak in. A drop entry still gives its own
 *      reason.
 * Thread: the data thread; in the slow path of learning.
 */
#ifndef BR_LOCK_H
#define BR_LOCK_H

#include "batch/batch.h"

/* Whether a locked port keeps out a source that is not simply known there. */
bool br_lock_refuses(struct br_batch *batch, uint16_t port, uint64_t key);

#endif
