/*
 * pipeline/own.c - a frame that has the bridge's own address as source: a loop probe that came back, or a stranger's.
 *
 * Thread: the data thread; off the path of every other frame.
 */
#include "pipeline/stages.h"
#include "protect/lock.h"
#include "protect/probe.h"

/* A probe of this bridge is dropped and reported; anything else from its address is forwarded, but never learned. */
enum br_drop br_own_verdict(struct br_thread *thread, const struct br_frame *frame)
{
    struct br_batch *batch = &thread->batch;
    uint64_t nonce;

    if (!br_probe_read(frame, batch->snapshot->instance, &nonce)) {
        const uint64_t source = br_fdb_key(frame->vid, batch->snapshot->own_address);

        if (batch->snapshot->port[frame->ingress].locked && br_lock_refuses(batch, frame->ingress, source))
            return BR_DROP_locked;
        batch->ingress->not_learned++;
        return BR_PASS;
    }
    const uint64_t key = br_fdb_key(frame->vid, nonce);
    const uint64_t mark = key + ((uint64_t)frame->ingress << 52) + 1; /* never 0 */
    uint64_t *reported = &thread->probe_reported[(nonce + frame->ingress) % BR_PROBES_REPORTED];

    if (*reported != mark) { /* where frames circle, this one comes a million times a second */
        *reported = mark;
        br_events_fault(batch->events, &(struct br_event){
                                             .key = key,
                                             .port = frame->ingress,
                                             .old_port = UINT16_MAX,
                                             .kind = BR_EVENT_probe,
                                         });
    }
    return BR_DROP_own_probe;
}
