/*
 * pipeline/egress.h - may a frame leave by a port, and under which tags: what edit, flood and originate share.
 *
 * Job: the checks of R2 and R6, the tags (R1, R10; snapshot/encap.h), the queue of a port. A canonical frame
 *      leaves untagged or under the TPID of its egress port, unless the port is not simple.
 * Thread: the data thread.
 */
#ifndef BR_EGRESS_H
#define BR_EGRESS_H

#include "frame/vlan.h"
#include "frame/vnet.h"
#include "pipeline/state.h"
#include "snapshot/encap.h"

/* The TPID a frame leaves under by a simple port, 0: untagged. Access and tunnel ports are in no VLAN but their own. */
static inline uint16_t br_egress_tpid(const struct br_port_config *egress, const struct br_frame *frame)
{
    return frame->vid == egress->untagged_vid ? 0 : egress->tpid;
}

/* R6: would the port, or the station behind it, take the payload for a tag? */
static inline bool br_egress_leaks_tag(const struct br_port_config *egress, const struct br_frame *frame)
{
    const uint16_t type = br_frame_ethertype(frame);

    if (BR_LIKELY(type != BR_TPID_8021Q && type != BR_TPID_8021AD))
        return false;
    return egress->mode != BR_MODE_TUNNEL && (type == egress->tpid || frame->flags & BR_FRAME_WAS_TAGGED);
}

/* Whether a canonical frame may leave by this simple port under this TPID. */
static inline enum br_drop br_egress_check(const struct br_port_config *egress, const struct br_frame *frame,
                                           uint16_t tpid)
{
    if (br_frame_l3_len(frame) > egress->mtu)
        return BR_DROP_oversize;
    if (tpid == 0 && br_egress_leaks_tag(egress, frame))
        return BR_DROP_inner_tag;
    return BR_PASS;
}

/* The same for a port that may be down, and any encapsulation. */
static inline enum br_drop br_egress_check_encap(const struct br_port_config *egress, const struct br_frame *frame,
                                                 uint64_t encap)
{
    const uint32_t second = br_encap_inner(encap) ? BR_TAG_LEN : 0; /* payload to R2 */

    if (!egress->up)
        return egress->blocked ? BR_DROP_blocked : BR_DROP_port_down;
    if (br_frame_l3_len(frame) + second > egress->mtu)
        return BR_DROP_oversize;
    if (br_encap_has_no_vid(encap) && br_egress_leaks_tag(egress, frame))
        return BR_DROP_inner_tag;
    return BR_PASS;
}

/* Give a canonical frame its final form (R1, R10). */
static inline enum br_drop br_egress_shape(struct br_frame *frame, uint64_t encap)
{
    if (!br_encap_push(frame, encap))
        return BR_DROP_no_headroom;
    br_frame_pad(frame);
    return BR_PASS;
}

/* A port that cannot ask for a checksum gets it finished; a finished checksum is right for every other port too. */
static inline void br_egress_csum(const struct br_port_config *egress, struct br_frame *frame)
{
    if (frame->vnet.needs_csum && !egress->port->vnet && !br_frame_is_super(frame)) {
        br_vnet_finish_csum(frame);
        egress->port->counters.tx_checksums++;
    }
}

static inline void br_egress_enqueue(struct br_batch *batch, uint16_t port, struct br_frame *frame)
{
    struct br_queue *queue = &batch->queue[port];

    if (queue->n == 0)
        batch->touched[batch->n_touched++] = port;
    queue->frame[queue->n++] = frame;
    if (BR_ACCOUNTING)
        queue->weight += br_frame_weight(frame);
}

/* A copy that was offered to a port is dropped there. What is queued is counted as offered when it is transmitted. */
void br_egress_refuse(struct br_thread *thread, const struct br_port_config *egress, struct br_frame *frame,
                      enum br_drop reason) __attribute__((cold));

#endif
