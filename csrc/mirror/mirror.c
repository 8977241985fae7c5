/* mirror/mirror.c - see mirror/mirror.h. Nothing here runs for a bridge without mirrors. */
#include "mirror/mirror.h"

#include <string.h>

#include "thread/bridge.h"
#include "frame/vnet.h"

/* A frame to copy, and why. */
struct br_shot {
    struct br_frame *frame;
    uint16_t origin; /* its place in the batch */
    bool arrived;    /* the piece list is of its arrival; else of its final form */
    struct br_offload offload;
    struct br_capture_piece piece[BR_CAPTURE_PIECES];
    struct br_capture_shot capture;
};

/* ---- life -------------------------------------------------------------------------------------------------------- */

int br_mirror_init(struct br_mirror_thread *mirror)
{
    return br_pool_init(&mirror->pool, BR_MIRROR_COPIES, 1);
}

void br_mirror_fini(struct br_mirror_thread *mirror)
{
    br_pool_fini(&mirror->pool);
}

/* Mirrors that stay keep their state, but what is left of a rate in other units. */
void br_mirror_carry(struct br_thread *thread, const struct br_mirrors *old, const struct br_mirrors *mirrors)
{
    struct br_mirror_state before[BR_MIRRORS_MAX];

    memcpy(before, thread->mirror.state, sizeof(before));
    memset(thread->mirror.state, 0, sizeof(thread->mirror.state));
    for (uint32_t i = 0; i < mirrors->n; i++)
        for (uint32_t k = 0; k < BR_MIRRORS_MAX; k++) {
            if (before[k].serial != mirrors->mirror[i].serial)
                continue;
            thread->mirror.state[i] = before[k];
            if (old->mirror[k].by_frames != mirrors->mirror[i].by_frames)
                thread->mirror.state[i].tokens = mirrors->mirror[i].burst;
        }
}

static void br_mirror_refill(const struct br_mirror *mirror, struct br_mirror_state *state, uint64_t now)
{
    if (state->serial != mirror->serial)
        *state = (struct br_mirror_state){.serial = mirror->serial, .tokens = mirror->burst, .stamp = now};
    const uint64_t passed = now - state->stamp;
    state->stamp = now;
    if (passed < INT64_MAX) /* else the clock went backwards */
        state->tokens += (double)(int64_t)passed * mirror->rate;
    if (state->tokens > mirror->burst)
        state->tokens = mirror->burst;
}

/* ---- to a port --------------------------------------------------------------------------------------------------- */

/* Send what waits in one queue, and note what that took for the bill. */
static void br_mirror_send(struct br_bridge *bridge, struct br_mirror_queue *queue, uint16_t target)
{
    struct br_thread *thread = &bridge->thread;
    struct br_port *port = bridge->snapshot->port[target].port;

    port->counters.offered += queue->n;
    br_transmit_frames(thread, port, queue->frame, queue->n);
    const uint64_t cycles = br_stage_end(thread, BR_STAGE_tx);
    const double rate = (double)(int64_t)cycles / queue->weight;
    port->counters.tx_cycles += cycles;
    for (uint32_t i = 0; i < queue->n; i++)
        thread->mirror.tx[br_frame_origin(thread, queue->frame[i])] += rate * br_bill_weight(queue->frame[i]);
    queue->n = 0;
    queue->weight = 0;
}

void br_mirror_flush(struct br_bridge *bridge)
{
    struct br_mirror_thread *mirror = &bridge->thread.mirror;
    const struct br_mirrors *mirrors = &bridge->snapshot->mirrors;

    br_stage_end(&bridge->thread, BR_STAGE_mirror);
    mirror->sending = true;
    for (uint32_t i = 0; i < mirrors->n; i++)
        if (mirror->queue[i].n)
            br_mirror_send(bridge, &mirror->queue[i], mirrors->mirror[i].target);
    mirror->sending = false;
    while (mirror->n_heads)
        br_stack_put(&mirror->pool.heads, mirror->head[--mirror->n_heads]);
    mirror->n_copies = 0;
    for (uint32_t i = 0; i < mirrors->n; i++)
        if (mirrors->mirror[i].capture)
            br_capture_notify(mirrors->mirror[i].capture);
}

/* A descriptor with a head of its own; what a head cannot hold is referenced. */
static struct br_frame *br_mirror_copy(struct br_bridge *bridge, const struct br_shot *shot, uint32_t len)
{
    struct br_mirror_thread *mirror = &bridge->thread.mirror;
    const struct br_frame *frame = shot->frame;
    const uint32_t head_len = shot->capture.wire_len - frame->tail_len;
    const uint32_t most = frame->tail_len ? head_len : BR_HEAD_LEN;
    const uint32_t in_head = len < most ? len : most;

    if (mirror->n_copies == BR_MIRROR_COPIES)
        br_mirror_flush(bridge);
    uint8_t *head = br_stack_get(&mirror->pool.heads); /* one each */
    struct br_frame *copy = &mirror->copy[mirror->n_copies++];
    mirror->head[mirror->n_heads++] = head;
    *copy = *frame;
    copy->headroom = (uint16_t)(in_head > BR_HEAD_LEN ? BR_HEAD_CAP - in_head : BR_HEADROOM);
    copy->data = head + copy->headroom;
    copy->len = 0;
    copy->tail = NULL;
    copy->tail_len = len - in_head;
    for (uint32_t i = 0; i < shot->capture.n_pieces; i++) {
        const struct br_capture_piece *piece = &shot->piece[i];
        const uint32_t take = piece->len < in_head - copy->len ? piece->len : in_head - copy->len;

        memcpy(copy->data + copy->len, piece->data, take);
        copy->len += take;
        if (copy->tail_len && !copy->tail && take < piece->len) /* the one piece that is not in the head */
            copy->tail = (uint8_t *)piece->data + take;
    }
    copy->flags = BR_FRAME_FLOOD; /* it knows its origin */
    copy->origin = shot->origin;
    copy->offload = shot->offload;
    if (len < shot->capture.wire_len)
        copy->offload = (struct br_offload){0};
    if (!br_frame_is_super(copy))
        copy->segments = 1;
    br_frame_pad(copy);
    return copy;
}

/* Whether the target takes the copy (R1, R2); its outer tag is no payload. */
static enum br_drop br_mirror_check(const struct br_port_config *egress, const struct br_frame *copy, uint32_t len,
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
static bool br_mirror_csum(struct br_port *port, struct br_frame *copy)
{
    if (!copy->offload.needs_csum || port->vnet || br_frame_is_super(copy))
        return true;
    if ((uint32_t)copy->offload.csum_start + copy->offload.csum_offset + 2 > copy->len)
        return false;
    br_offload_finish_csum(copy);
    port->counters.tx_checksums++;
    return true;
}

static void br_mirror_to_port(struct br_bridge *bridge, const struct br_mirror *mirror, struct br_mirror_state *state,
                              const struct br_shot *shot, uint32_t len)
{
    struct br_thread *thread = &bridge->thread;
    const struct br_port_config *egress = &bridge->snapshot->port[mirror->target];
    struct br_mirror_queue *queue = &thread->mirror.queue[mirror->queue];
    const bool whole = len == shot->capture.wire_len;
    const bool finish = shot->offload.needs_csum && !egress->port->vnet && !br_frame_is_super(shot->frame);
    const bool share = !shot->arrived && whole && !finish;

    if (queue->n == BR_MIRROR_COPIES)
        br_mirror_flush(bridge);
    struct br_frame *copy = share ? shot->frame : br_mirror_copy(bridge, shot, len);
    enum br_drop decision = br_mirror_check(egress, copy, len, shot->frame->flags & BR_FRAME_TRUNCATED);

    thread->ingress->copies++;
    thread->ingress->forwarded++;
    thread->mirror.copies[shot->origin]++;
    state->copies++;
    state->bytes += len;
    if (decision == BR_PASS && !br_mirror_csum(egress->port, copy))
        decision = BR_DROP_no_buffer;
    if (decision != BR_PASS) {
        egress->port->counters.offered++;
        br_port_refuse(egress->port, copy, decision);
        return;
    }
    queue->frame[queue->n++] = copy;
    queue->weight += br_bill_weight(copy);
}

/* ---- one copy for each mirror that wants it ---------------------------------------------------------------------- */

static bool br_mirror_spend(const struct br_mirror *mirror, struct br_mirror_state *state, uint32_t len)
{
    if (mirror->rate <= 0)
        return true;
    if (state->tokens < 1)
        return false;
    state->tokens -= mirror->by_frames ? 1 : 8.0 * len;
    return true;
}

static void br_mirror_shoot_one(struct br_bridge *bridge, uint32_t m, struct br_shot *shot)
{
    const struct br_mirror *mirror = &bridge->snapshot->mirrors.mirror[m];
    struct br_mirror_thread *thread = &bridge->thread.mirror;
    struct br_mirror_state *state = &thread->state[m];
    const uint32_t whole = shot->capture.wire_len;
    const uint32_t len = mirror->snaplen && mirror->snaplen < whole ? mirror->snaplen : whole;
    struct br_capture *capture = mirror->capture;

    if (capture && br_capture_is_stopped(capture))
        return;
    if (!capture && shot->capture.way == BR_TX) {
        if (thread->sent[shot->origin] >> m & 1)
            return;
        thread->sent[shot->origin] |= (uint8_t)(1 << m);
    }
    thread->shots[shot->origin]++;
    thread->n_shots++;
    if (!br_mirror_spend(mirror, state, len)) {
        state->over_rate++;
        if (capture)
            br_capture_lose(capture, shot->capture.port);
        return;
    }
    if (!capture) {
        br_mirror_to_port(bridge, mirror, state, shot, len);
        return;
    }
    shot->capture.len = len;
    shot->capture.piece = shot->piece;
    if (br_capture_put(capture, &shot->capture)) {
        state->copies++;
        state->bytes += len;
    } else {
        state->lost++;
    }
}

/* The mirrors that want frames of this port, direction, VLAN and fate. */
static inline uint32_t br_mirror_wanted(const struct br_mirrors *mirrors, enum br_way way, uint16_t port,
                                        uint16_t vid, enum br_drop reason)
{
    return mirrors->at[way][port] & mirrors->vlan[vid] & (reason == BR_PASS ? mirrors->frames : mirrors->drops);
}

/* The VLAN of a frame; of one that ended before it had any, what its tag says. */
static uint16_t br_mirror_vid(const struct br_frame *frame, const struct br_arrival *arrival)
{
    const uint16_t tpid = br_be16_read(arrival->tags);
    const bool tagged = tpid == BR_TPID_8021Q || tpid == BR_TPID_8021AD;

    return frame->vid ? frame->vid : tagged ? br_be16_read(arrival->tags + 2) & BR_VID_MASK : 0;
}

static void br_shot_add(struct br_shot *shot, const uint8_t *data, uint32_t len)
{
    if (len)
        shot->piece[shot->capture.n_pieces++] = (struct br_capture_piece){data, len};
    shot->capture.wire_len += len;
}

/* Pieces of a frame as it arrived. Edit may have moved its addresses, and nothing behind them. */
static void br_shot_arrival(struct br_shot *shot, const struct br_arrival *arrival)
{
    const struct br_frame *frame = shot->frame;
    const uint32_t addresses = arrival->len < 2 * BR_ETH_ALEN ? arrival->len : 2 * BR_ETH_ALEN;

    br_shot_add(shot, frame->data, addresses);
    br_shot_add(shot, arrival->tags, arrival->tags_len);
    br_shot_add(shot, arrival->data + addresses, arrival->len - addresses);
    br_shot_add(shot, frame->tail, frame->tail_len);
    shot->arrived = true;
    shot->offload = arrival->offload;
    if (shot->offload.needs_csum && !frame->offload.needs_csum) /* finished meanwhile */
        shot->offload = (struct br_offload){0};
    else
        br_offload_shift(&shot->offload, arrival->tags_len);
}

static void br_mirror_shoot(struct br_bridge *bridge, struct br_frame *frame, enum br_way way, uint16_t port,
                            enum br_drop reason, bool arrived)
{
    struct br_thread *thread = &bridge->thread;
    const uint32_t origin = br_frame_origin(thread, frame);
    const struct br_arrival *arrival = &thread->mirror.arrival[origin];
    uint32_t wanted =
        br_mirror_wanted(&bridge->snapshot->mirrors, way, port, br_mirror_vid(frame, arrival), reason);

    if (!wanted)
        return;
    struct br_shot shot = {
        .frame = frame,
        .origin = (uint16_t)origin,
        .capture = {.port = port, .way = (uint8_t)way, .reason = (uint8_t)reason, .stamp = thread->stamp},
    };
    if (arrived) {
        br_shot_arrival(&shot, arrival);
    } else {
        br_shot_add(&shot, frame->data, frame->len);
        br_shot_add(&shot, frame->tail, frame->tail_len);
        shot.offload = frame->offload;
    }
    for (; wanted; wanted &= wanted - 1)
        br_mirror_shoot_one(bridge, (uint32_t)__builtin_ctz(wanted), &shot);
}

/* ---- the batch --------------------------------------------------------------------------------------------------- */

/* Two tags at most, the outer one possibly beside the bytes. */
static void br_arrival_begin(struct br_arrival *arrival, const struct br_frame *frame)
{
    const uint32_t behind = frame->len > 2 * BR_ETH_ALEN ? frame->len - 2 * BR_ETH_ALEN : 0;
    uint32_t at = 0;

    *arrival = (struct br_arrival){0};
    if (frame->flags & BR_FRAME_TAG_BESIDE) {
        br_be16_write(arrival->tags, frame->tpid);
        br_be16_write(arrival->tags + 2, frame->tci);
        at = BR_TAG_LEN;
    }
    if (behind)
        memcpy(arrival->tags + at, frame->data + 2 * BR_ETH_ALEN,
               behind < sizeof(arrival->tags) - at ? behind : sizeof(arrival->tags) - at);
}

void br_mirror_begin(struct br_bridge *bridge, uint32_t n)
{
    struct br_thread *thread = &bridge->thread;
    struct br_mirror_thread *mirror = &thread->mirror;

    for (uint32_t m = 0; m < bridge->snapshot->mirrors.n; m++)
        br_mirror_refill(&bridge->snapshot->mirrors.mirror[m], &mirror->state[m], thread->stamp);
    for (uint32_t i = 0; i < n; i++) {
        br_arrival_begin(&mirror->arrival[i], &thread->frame[i]);
        mirror->sent[i] = 0;
        mirror->copies[i] = 0;
        mirror->shots[i] = 0;
        mirror->tx[i] = 0;
    }
    mirror->n_shots = 0;
    mirror->n_refused = 0;
}

void br_mirror_note(struct br_thread *thread, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        const struct br_frame *frame = &thread->frame[i];
        struct br_arrival *arrival = &thread->mirror.arrival[i];

        arrival->data = frame->data;
        arrival->len = frame->len;
        arrival->tags_len = (uint8_t)(frame->rx_len - br_frame_len(frame));
    }
    for (uint32_t i = 0; i < thread->n_live; i++) { /* metadata of others is not judged, or wrong: nobody goes by it */
        const struct br_frame *frame = thread->live[i];

        thread->mirror.arrival[frame - thread->frame].offload = frame->offload;
    }
}

static void br_mirror_refusals(struct br_bridge *bridge)
{
    struct br_mirror_thread *mirror = &bridge->thread.mirror;

    for (uint32_t i = 0; i < mirror->n_refused; i++)
        br_mirror_shoot(bridge, mirror->refused[i].frame, BR_TX, mirror->refused[i].port,
                        (enum br_drop)mirror->refused[i].reason, true);
    mirror->n_refused = 0;
}

/* Noted, and copied behind the rx copies; of more than fit the first come earlier. */
void br_mirror_refuse(struct br_bridge *bridge, struct br_frame *frame, uint16_t port, enum br_drop reason)
{
    struct br_mirror_thread *mirror = &bridge->thread.mirror;

    if (mirror->n_refused == BR_BURST_MAX)
        br_mirror_refusals(bridge);
    mirror->refused[mirror->n_refused++] = (struct br_mirror_refusal){frame, port, (uint8_t)reason};
}

void br_mirror_rx(struct br_bridge *bridge, uint16_t port, uint32_t n)
{
    struct br_thread *thread = &bridge->thread;

    for (uint32_t i = 0; i < n; i++) {
        struct br_frame *frame = &thread->frame[i];
        const bool ended = frame->fate <= BR_FATE_ENDED;

        br_mirror_shoot(bridge, frame, BR_RX, port, ended ? (enum br_drop)frame->reason : BR_PASS, true);
    }
    br_mirror_refusals(bridge);
    br_stage_end(thread, BR_STAGE_mirror);
}

void br_mirror_arm(struct br_frame *const *frame, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        frame[i]->reason = BR_PASS;
}

void br_mirror_tx(struct br_bridge *bridge, uint16_t port, struct br_frame *const *frame, uint32_t n)
{
    uint8_t reason[BR_BURST_MAX]; /* a copy that is sent early may be refused, and says so in the frame it shares */

    for (uint32_t i = 0; i < n; i++)
        reason[i] = frame[i]->reason;
    for (uint32_t i = 0; i < n; i++)
        br_mirror_shoot(bridge, frame[i], BR_TX, port, (enum br_drop)reason[i], false);
    br_stage_end(&bridge->thread, BR_STAGE_mirror);
}

void br_mirror_note_cut(struct br_thread *thread, uint32_t origin, uint32_t n)
{
    thread->mirror.copies[origin] += n;
}
