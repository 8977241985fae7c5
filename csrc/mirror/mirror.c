/* mirror/mirror.c - see mirror/mirror.h. Nothing here runs for a bridge without mirrors. */
#include "mirror/mirror.h"

#include <string.h>

#include "mirror/copy.h"

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
void br_mirror_carry(struct br_mirror_thread *mirror, const struct br_mirrors *old, const struct br_mirrors *mirrors)
{
    struct br_mirror_state before[BR_MIRRORS_MAX];

    memcpy(before, mirror->state, sizeof(before));
    memset(mirror->state, 0, sizeof(mirror->state));
    for (uint32_t i = 0; i < mirrors->n; i++)
        for (uint32_t k = 0; k < BR_MIRRORS_MAX; k++) {
            if (before[k].serial != mirrors->mirror[i].serial)
                continue;
            mirror->state[i] = before[k];
            if (old->mirror[k].by_frames != mirrors->mirror[i].by_frames)
                mirror->state[i].bucket.tokens = mirrors->mirror[i].burst;
        }
}

static void br_mirror_refill(const struct br_mirror *mirror, struct br_mirror_state *state, uint64_t now)
{
    if (state->serial != mirror->serial)
        *state = (struct br_mirror_state){.serial = mirror->serial, .bucket = br_bucket_full(mirror->burst, now)};
    br_bucket_refill(&state->bucket, mirror->rate, mirror->burst, now);
}

/* ---- one copy for each mirror that wants it ---------------------------------------------------------------------- */

static bool br_mirror_spend(const struct br_mirror *mirror, struct br_mirror_state *state, uint32_t len)
{
    if (mirror->rate <= 0)
        return true;
    if (br_bucket_is_empty(&state->bucket))
        return false;
    state->bucket.tokens -= mirror->by_frames ? 1 : 8.0 * len;
    return true;
}

static void br_mirror_copy_one(struct br_mirror_thread *mirror, struct br_batch *batch, uint32_t m,
                               struct br_copy *what)
{
    const struct br_mirror *rule = &batch->snapshot->mirrors.mirror[m];
    struct br_mirror_state *state = &mirror->state[m];
    const uint32_t whole = what->capture.wire_len;
    const uint32_t len = rule->snaplen && rule->snaplen < whole ? rule->snaplen : whole;
    struct br_capture *capture = rule->capture;

    if (capture && br_capture_is_stopped(capture))
        return;
    if (!capture && what->capture.way == BR_TX) {
        if (mirror->sent[what->origin] >> m & 1)
            return;
        mirror->sent[what->origin] |= (uint8_t)(1 << m);
    }
    batch->work.mirrored[what->origin]++;
    batch->work.n_mirrored++;
    if (!br_mirror_spend(rule, state, len)) {
        state->over_rate++;
        if (capture)
            br_capture_lose(capture, what->capture.port);
        return;
    }
    if (!capture) {
        br_copy_to_port(mirror, batch, m, what, len);
        return;
    }
    what->capture.len = len;
    what->capture.piece = what->piece;
    if (br_capture_put(capture, &what->capture)) {
        state->copies++;
        state->bytes += len;
    } else {
        state->lost++;
    }
}

/* The mirrors that want frames of this port, direction, VLAN and outcome. */
static inline uint32_t br_mirror_wanted(const struct br_mirrors *mirrors, enum br_way way, uint16_t port,
                                        uint16_t vid, enum br_drop reason)
{
    return mirrors->at[way][port] & mirrors->vlan[vid] & (reason == BR_PASS ? mirrors->frames : mirrors->drops);
}

/* The VLAN of a frame; of one that was dropped before it had any, what its tag says. */
static uint16_t br_mirror_vid(const struct br_frame *frame, const struct br_received *received)
{
    const uint16_t tpid = br_be16_read(received->tags);
    const bool tagged = tpid == BR_TPID_8021Q || tpid == BR_TPID_8021AD;

    return frame->vid ? frame->vid : tagged ? br_be16_read(received->tags + 2) & BR_VID_MASK : 0;
}

static void br_copy_add(struct br_copy *what, const uint8_t *data, uint32_t len)
{
    if (len)
        what->piece[what->capture.n_pieces++] = (struct br_capture_piece){data, len};
    what->capture.wire_len += len;
}

/* Pieces of a frame as it was received. Edit may have moved its addresses, and nothing behind them. */
static void br_copy_as_received(struct br_copy *what, const struct br_received *received)
{
    const struct br_frame *frame = what->frame;
    const uint32_t addresses = received->len < 2 * BR_ETH_ALEN ? received->len : 2 * BR_ETH_ALEN;

    br_copy_add(what, frame->data, addresses);
    br_copy_add(what, received->tags, received->tags_len);
    br_copy_add(what, received->data + addresses, received->len - addresses);
    br_copy_add(what, frame->tail, frame->tail_len);
    what->as_received = true;
    what->vnet = received->vnet;
    if (what->vnet.needs_csum && !frame->vnet.needs_csum) /* finished meanwhile */
        what->vnet = (struct br_vnet){0};
    else
        br_vnet_shift(&what->vnet, received->tags_len);
}

static void br_mirror_copy(struct br_mirror_thread *mirror, struct br_batch *batch, struct br_frame *frame,
                           enum br_way way, uint16_t port, enum br_drop reason, bool as_received)
{
    const uint32_t origin = br_frame_origin(batch, frame);
    const struct br_received *received = &mirror->received[origin];
    uint32_t wanted =
        br_mirror_wanted(&batch->snapshot->mirrors, way, port, br_mirror_vid(frame, received), reason);

    if (!wanted)
        return;
    struct br_copy what = {
        .frame = frame,
        .origin = (uint16_t)origin,
        .capture = {.port = port, .way = (uint8_t)way, .reason = (uint8_t)reason, .stamp = batch->stamp},
    };
    if (as_received) {
        br_copy_as_received(&what, received);
    } else {
        br_copy_add(&what, frame->data, frame->len);
        br_copy_add(&what, frame->tail, frame->tail_len);
        what.vnet = frame->vnet;
    }
    for (; wanted; wanted &= wanted - 1)
        br_mirror_copy_one(mirror, batch, (uint32_t)__builtin_ctz(wanted), &what);
}

/* ---- the batch --------------------------------------------------------------------------------------------------- */

/* Two tags at most, the outer one possibly beside the bytes. */
static void br_received_begin(struct br_received *received, const struct br_frame *frame)
{
    const uint32_t behind = frame->len > 2 * BR_ETH_ALEN ? frame->len - 2 * BR_ETH_ALEN : 0;
    uint32_t at = 0;

    *received = (struct br_received){0};
    if (frame->flags & BR_FRAME_TAG_BESIDE) {
        br_be16_write(received->tags, frame->tpid);
        br_be16_write(received->tags + 2, frame->tci);
        at = BR_TAG_LEN;
    }
    if (behind)
        memcpy(received->tags + at, frame->data + 2 * BR_ETH_ALEN,
               behind < sizeof(received->tags) - at ? behind : sizeof(received->tags) - at);
}

void br_mirror_begin(struct br_mirror_thread *mirror, struct br_batch *batch, uint32_t n)
{
    struct br_work *work = &batch->work;

    for (uint32_t m = 0; m < batch->snapshot->mirrors.n; m++)
        br_mirror_refill(&batch->snapshot->mirrors.mirror[m], &mirror->state[m], batch->stamp);
    for (uint32_t i = 0; i < n; i++) {
        br_received_begin(&mirror->received[i], &batch->frame[i]);
        mirror->sent[i] = 0;
        work->mirror_copies[i] = 0;
        work->mirrored[i] = 0;
        work->mirror_tx[i] = 0;
    }
    work->n_mirrored = 0;
    mirror->n_refused = 0;
}

void br_mirror_note(struct br_mirror_thread *mirror, const struct br_batch *batch, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        const struct br_frame *frame = &batch->frame[i];
        struct br_received *received = &mirror->received[i];

        received->data = frame->data;
        received->len = frame->len;
        received->tags_len = (uint8_t)(frame->rx_len - br_frame_len(frame));
    }
    for (uint32_t i = 0; i < batch->n_live; i++) { /* metadata of others is not judged, or wrong: nobody goes by it */
        const struct br_frame *frame = batch->live[i];

        mirror->received[frame - batch->frame].vnet = frame->vnet;
    }
}

static void br_mirror_refusals(struct br_mirror_thread *mirror, struct br_batch *batch)
{
    for (uint32_t i = 0; i < mirror->n_refused; i++)
        br_mirror_copy(mirror, batch, mirror->refused[i].frame, BR_TX, mirror->refused[i].port,
                       (enum br_drop)mirror->refused[i].reason, true);
    mirror->n_refused = 0;
}

/* Noted, and copied behind the rx copies; of more than fit the first come earlier. */
void br_mirror_refuse(struct br_mirror_thread *mirror, struct br_batch *batch, struct br_frame *frame, uint16_t port,
                      enum br_drop reason)
{
    if (mirror->n_refused == BR_BURST_MAX)
        br_mirror_refusals(mirror, batch);
    mirror->refused[mirror->n_refused++] = (struct br_mirror_refusal){frame, port, (uint8_t)reason};
}

void br_mirror_rx(struct br_mirror_thread *mirror, struct br_batch *batch, uint16_t port, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        struct br_frame *frame = &batch->frame[i];
        const bool dropped = frame->outcome <= BR_OUTCOME_DROPPED;

        br_mirror_copy(mirror, batch, frame, BR_RX, port, dropped ? (enum br_drop)frame->reason : BR_PASS, true);
    }
    br_mirror_refusals(mirror, batch);
    br_stage_end(batch, BR_STAGE_mirror);
}

void br_mirror_watch_tx(struct br_frame *const *frame, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        frame[i]->reason = BR_PASS;
}

void br_mirror_tx(struct br_mirror_thread *mirror, struct br_batch *batch, uint16_t port, struct br_frame *const *frame,
                  uint32_t n)
{
    uint8_t reason[BR_BURST_MAX]; /* a copy that is sent early may be refused, and says so in the frame it shares */

    for (uint32_t i = 0; i < n; i++)
        reason[i] = frame[i]->reason;
    for (uint32_t i = 0; i < n; i++)
        br_mirror_copy(mirror, batch, frame[i], BR_TX, port, (enum br_drop)reason[i], false);
    br_stage_end(batch, BR_STAGE_mirror);
}
