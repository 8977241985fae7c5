/*
 * thread/loop.h - the turns of a data thread, and how it waits between them: what each setting of `waiting` means.
 *
 * Three things can be traded: how long to go on looking before sleeping (`spin`, latency for cycles), how long to stay
 *      asleep although there is work (`coalesce`, cycles for latency), and both only where they have paid lately. The
 *      figures are measured (docs/architecture.md, Waiting).
 * Thread: the data thread's own.
 */
#ifndef BR_LOOP_H
#define BR_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "count/counters.h"

/* What a setting allows. Microseconds. */
struct br_waiting_rule {
    uint32_t spin;     /* look for more this long before sleeping; 0: sleep at once */
    uint32_t coalesce; /* the longest that a frame is kept waiting so that others join it; 0: never */
    bool always;       /* spin even where it did not pay lately */
};

struct br_loop {
    uint64_t microsecond; /* in cycles */
    uint64_t looked;      /* when epoll was last asked */
    uint64_t worked;      /* end of the last turn that brought frames */
    uint64_t check_at;    /* when ports that brought frames are looked at once more; 0: there are none */
    uint64_t spin;        /* cycles that spinning is worth at the moment */
    uint32_t n_taken;     /* frames since the last sleep */
    uint32_t n_looks;     /* looks at epoll that named every port with work */
    uint32_t n_short;     /* sleeps in a row that were shorter than coalescing would be */
    uint32_t backoff;     /* as many make it worth a try */
    bool short_sleep;     /* the last sleep was none: there was something to do already */
    bool coalescing;
    bool lanes_ready;     /* epoll named one */
    bool busy;            /* the last turn left work behind */
};

struct br_bridge;
struct br_snapshot;

/* Compare the cycle counter with the clock, for a tenth of a millisecond. */
void br_loop_init(struct br_loop *loop);
/* One turn; returns the frames received in it. */
uint32_t br_loop_turn(struct br_bridge *bridge, bool may_wait);
/* Change the poll set from one snapshot to another: 0, or -errno and it is as it was. */
int br_loop_watch(struct br_bridge *bridge, const struct br_snapshot *old, const struct br_snapshot *new);

#endif
