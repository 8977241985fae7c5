/* mirror/copy.c - see mirror/copy.h. */
#include "mirror/copy.h"

#include <string.h>

#include "batch/send.h"
#include "frame/vlan.h"
#include "frame/vnet.h"

/* Send what waits in one queue, and note what that took for the bill. */
static void br_mirror_send(struct br_batch *batch, struct br_mirror_queue *queue, uint16_t target)
{
    struct br_port *port = batch->snapshot->port[target].port;

    port->counters.offered += queue->n;
    br_send(batch, port, queue->frame, queue->n);
    const uint64_t cycles = br_stage_end(batch, BR_STAGE_tx);
    const double rate = (double)(int64_t)cycles / queue->weight;
    port->counters.tx_cycles += cycles;
    for (uint32_t i = 0; i < queue->n; i++)
        batch->work.mirror_tx[br_frame_origin(batch, queue->frame[i])] += rate * br_frame_weight(queue->frame[i]);
    queue->n = 0;
    queue->weight = 0;
}

void br_mirror_flush(struct br_mirror_thread *mirror, struct br_batch *batch)
{
    const struct br_mirrors *mirrors = &batch->snapshot->mirrors;

    br_stage_end(batch, BR_STAGE_mirror);
    batch->to_mirrors = true;
    for (uint32_t i = 0; i < mirrors->n; i++)
        if (mirror->queue[i].n)
            br_mirror_send(batch, &mirror->queue[i], mirrors->mirror[i].target);
    batch->to_mirrors = false;
    while (mirror->n_heads)
        br_stack_put(&mirror->pool.heads, mirror->head[--mirror->n_heads]);
    mirror->n_copies = 0;
    for (uint32_t i = 0; i < mirrors->n; i++)
        if (mirrors->mirror[i].capture)
            br_capture_notify(mirrors->mirror[i].capture);
}

/* A descriptor with a head of its own; what a head cannot hold is referenced. */
static struct br_frame *br_copy_own(struct br_mirror_thread *mirror, struct br_batch *batch, const struct br_copy *what,
                                    uint32_t len)
{
    const struct br_frame *frame = what->frame;
    const uint32_t head_len = what->capture.wire_len - frame->tail_len;
    const uint32_t most = frame->tail_len ? head_len : BR_HEAD_LEN;
    const uint32_t in_head = len < most ? len : most;

    if (mirror->n_copies == BR_MIRROR_COPIES)
        br_mirror_flush(mirror, batch);
    uint8_t *head = br_stack_get(&mirror->pool.heads); /* one each */
    struct br_frame *copy = &mirror->copy[mirror->n_copies++];
    mirror->head[mirror->n_heads++] = head;
    *copy = *frame;
    copy->headroom = (uint16_t)(in_head > BR_HEAD_LEN ? BR_HEAD_CAP - in_head : BR_HEADROOM);
    copy->data = head + copy->headroom;
    copy->len = 0;
    copy->tail = NULL;
    copy->tail_len = len - in_head;
    for (uint32_t i = 0; i < what->capture.n_pieces; i++) {
        const struct br_capture_piece *piece = &what->piece[i];
        const uint32_t take = piece->len < in_head - copy->len ? piece->len : in_head - copy->len;

        memcpy(copy->data + copy->len, piece->data, take);
        copy->len += take;
        if (copy->tail_len && !copy->tail && take < piece->len) /* the one piece that is not in the head */
            copy->tail = (uint8_t *)piece->data + take;
    }
    copy->flags = BR_FRAME_FLOOD | (frame->flags & BR_FRAME_INNER); /* the first: it knows its origin */
    copy->origin = what->origin;
    copy->vnet = what->vnet;
    if (len < what->capture.wire_len)
        copy->vnet = (struct br_vnet){0};
    if (!br_frame_is_super(copy))
        copy->segments = 1;
    br_frame_pad(copy);
    return copy;
}

/* Whether the target takes the copy (R1, R2); its outer tag is no payload. */
static enum br_drop br_copy_check(const struct br_port_config *egress, const struct br_frame *copy, uint32_t len,
                                    bool truncated)
{
    if (!egress->up)
        return BR_DROP_port_down;
    if (len < BR_ETH_HLEN)
        return BR_DROP_runt;
    if (truncated)
        return BR_DROP_truncated;
    const uint16_t type = br_frame_ethertype(copy);
    const bool tagged = type == BR_TPID_8021Q || type == BR_TPID_8021AD;
    if (br_frame_l3_len(copy) > egress->mtu + (tagged ? BR_TAG_LEN : 0))
        return BR_DROP_oversize;
    return BR_PASS;
}

/* A checksum that the target cannot ask for is finished in the copy, which has bytes of its own then. */
static bool br_copy_csum(struct br_port *port, struct br_frame *copy)
{
    if (!copy->vnet.needs_csum || port->vnet || br_frame_is_super(copy))
        return true;
    if ((uint32_t)copy->vnet.csum_start + copy->vnet.csum_offset + 2 > copy->len)
        return false;
    br_vnet_finish_csum(copy);
    port->counters.tx_checksums++;
    return true;
}

void br_copy_to_port(struct br_mirror_thread *mirror, struct br_batch *batch, uint32_t m, const struct br_copy *what,
                     uint32_t len)
{
    const struct br_mirror *rule = &batch->snapshot->mirrors.mirror[m];
    const struct br_port_config *egress = &batch->snapshot->port[rule->target];
    struct br_mirror_state *state = &mirror->state[m];
    struct br_mirror_queue *queue = &mirror->queue[rule->queue];
    const bool whole = len == what->capture.wire_len;
    const bool finish = what->vnet.needs_csum && !egress->port->vnet && !br_frame_is_super(what->frame);
    const bool share = !what->as_received && whole && !finish;

    if (queue->n == BR_MIRROR_COPIES)
        br_mirror_flush(mirror, batch);
    struct br_frame *copy = share ? what->frame : br_copy_own(mirror, batch, what, len);
    enum br_drop decision = br_copy_check(egress, copy, len, what->frame->flags & BR_FRAME_TRUNCATED);

    batch->ingress->copies++;
    batch->ingress->forwarded++;
    batch->work.mirror_copies[what->origin]++;
    state->copies++;
    state->bytes += len;
    if (decision == BR_PASS && !br_copy_csum(egress->port, copy))
        decision = BR_DROP_no_buffer;
    if (decision != BR_PASS) {
        egress->port->counters.offered++;
        br_port_refuse(egress->port, copy, decision);
        return;
    }
    queue->frame[queue->n++] = copy;
    queue->weight += br_frame_weight(copy);
}

