/*
 * multicast/heartbeat.h - heartbeats pass where other frames end, but not without a limit.
 *
 * Job: a heartbeat (classes first_hop and heartbeat, frame/classify.h) is exempt from storm control and from budgets that
 *      do not say otherwise, because a cluster that misses three falls apart. Whoever can write such a frame can write
 *      a million of them, so each port has a token bucket: what is above it is an ordinary frame, of the class that its
 *      destination has, to the bill as well as to all limits. The first of them is a fault that is told.
 * Cost: frames that are no heartbeats never come here.
 * Thread: the data thread. The rules are part of the snapshot, the state belongs to the thread.
 */
#ifndef BR_HEARTBEAT_H
#define BR_HEARTBEAT_H

#include "batch/batch.h"

struct br_heartbeat_port {
    double tokens;
    uint64_t stamp; /* of the last refill */
    bool over;      /* told, and not full again since */
};

struct br_heartbeats {
    double cycle; /* seconds */
    struct br_heartbeat_port port[BR_PORTS_MAX]; /* by ingress */
};

/* Before the first batch; `microsecond` in cycles. */
void br_heartbeat_init(struct br_heartbeats *heartbeats, uint64_t microsecond);
/* The class of a heartbeat, `class`, or `other`, that of an ordinary frame, because its port had too many. */
enum br_class br_heartbeat_admit(struct br_heartbeats *heartbeats, const struct br_batch *batch,
                                 const struct br_frame *frame, enum br_class class, enum br_class other);
/* The clock was turned forward (thread/changes.h). */
void br_heartbeat_shift(struct br_heartbeats *heartbeats, uint64_t cycles);

#endif
