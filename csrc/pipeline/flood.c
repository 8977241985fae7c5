/*
 * pipeline/flood.c - the stage flood: copies by reference, each encapsulation built once, and the queues they go to.
 *
 * Job: a flooded frame is shared by all ports that want it under the same tags; only a second encapsulation costs a
 *      copy of its head, never of a tail. Heads are finite: when a flood under many different tags has used them up,
 *      what is queued is sent at once, in order, and they are free again (br_flood_relieve).
 * Refuses, at the egress port and under its name (br_egress_refuse): what R2, R6 and R10 forbid.
 * Thread: the data thread.
 */
#include "batch/send.h"
#include "multicast/snoop.h"
#include "pipeline/egress.h"
#include "pipeline/stages.h"

enum br_simple_encap { BR_ENCAP_UNTAGGED, BR_ENCAP_8021Q, BR_ENCAP_8021AD, BR_SIMPLE_ENCAPS };

static const uint16_t br_encap_tpid[BR_SIMPLE_ENCAPS] = {0, BR_TPID_8021Q, BR_TPID_8021AD};

/* The ports a frame is flooded to, and its tags there: a simple one, or BR_SIMPLE_ENCAPS + n for explicit[n]. */
struct br_targets {
    uint32_t n;
    uint32_t n_encap[BR_SIMPLE_ENCAPS];
    uint16_t port[BR_PORTS_MAX];
    uint16_t encap[BR_PORTS_MAX];
    uint32_t n_explicit;
    uint64_t explicit[BR_PORTS_MAX];
    uint32_t n_explicit_encap[BR_PORTS_MAX]; /* targets of each */
};

static inline void br_targets_add(struct br_targets *targets, uint16_t port, enum br_simple_encap encap)
{
    targets->port[targets->n] = port;
    targets->encap[targets->n++] = (uint16_t)encap;
    targets->n_encap[encap]++;
}

static void br_targets_add_explicit(struct br_targets *targets, uint16_t port, uint64_t encap)
{
    uint32_t at = 0;

    while (at < targets->n_explicit && targets->explicit[at] != encap)
        at++;
    if (at == targets->n_explicit) {
        targets->explicit[at] = encap;
        targets->n_explicit_encap[at] = 0;
        targets->n_explicit++;
    }
    targets->port[targets->n] = port;
    targets->encap[targets->n++] = (uint16_t)(BR_SIMPLE_ENCAPS + at);
    targets->n_explicit_encap[at]++;
}

static inline enum br_simple_encap br_simple_encap(uint64_t tpid)
{
    return tpid == 0 ? BR_ENCAP_UNTAGGED : tpid == BR_TPID_8021Q ? BR_ENCAP_8021Q : BR_ENCAP_8021AD;
}

/* A port that is not simple. */
static __attribute__((noinline)) void br_flood_special(struct br_thread *thread, const struct br_port_config *egress,
                                                       struct br_frame *frame, uint16_t port,
                                                       struct br_targets *targets)
{
    const uint64_t encap = br_encap_of(egress, frame);
    const enum br_drop decision = br_egress_check_encap(egress, frame, encap);

    if (decision != BR_PASS) {
        br_egress_refuse(thread, egress, frame, decision);
        return;
    }
    br_egress_csum(egress, frame);
    if (encap & BR_ENCAP_EXPLICIT)
        br_targets_add_explicit(targets, port, encap);
    else
        br_targets_add(targets, port, br_simple_encap(encap));
}

static inline void br_flood_target(struct br_thread *thread, struct br_frame *frame, uint16_t port,
                                   struct br_targets *targets)
{
    const struct br_port_config *egress = &thread->batch.snapshot->port[port];

    if (__builtin_expect(!egress->simple, 0)) {
        br_flood_special(thread, egress, frame, port, targets);
        return;
    }
    const uint16_t tpid = br_egress_tpid(egress, frame);
    const enum br_drop decision = br_egress_check(egress, frame, tpid);

    if (decision != BR_PASS) {
        br_egress_refuse(thread, egress, frame, decision);
        return;
    }
    br_egress_csum(egress, frame);
    br_targets_add(targets, port, br_simple_encap(tpid));
}

/* R8: the members of the VLAN that flood flags allow and the ingress port reaches; returns how many there were. */
static uint32_t br_flood_targets(struct br_thread *thread, struct br_frame *frame, struct br_targets *targets)
{
    const struct br_snapshot *snapshot = thread->batch.snapshot;
    const struct br_port_set *members = &snapshot->vlan[frame->vid];
    const struct br_port_set *willing = &snapshot->flood[frame->flood_class];
    const struct br_port_set *denied_egress = &snapshot->denied_egress[frame->ingress];
    uint32_t n = 0;

    for (int i = 0; i < BR_PORT_WORDS; i++) {
        for (uint64_t word = members->word[i] & willing->word[i] & ~denied_egress->word[i]; word; word &= word - 1, n++)
            br_flood_target(thread, frame, (uint16_t)(i * 64 + __builtin_ctzll(word)), targets);
    }
    return n;
}

/* The same where groups have members: `reason` is why there is no target, if there is more to say than that. */
static __attribute__((noinline)) uint32_t br_flood_members(struct br_thread *thread, struct br_frame *frame,
                                                          struct br_targets *targets, enum br_drop *reason)
{
    const struct br_snapshot *snapshot = thread->batch.snapshot;
    struct br_port_set ports;
    uint32_t n = 0;

    for (int i = 0; i < BR_PORT_WORDS; i++)
        ports.word[i] = snapshot->vlan[frame->vid].word[i] & snapshot->flood[BR_FLOOD_MULTICAST].word[i] &
                        ~snapshot->denied_egress[frame->ingress].word[i];
    const enum br_drop decision = br_snoop(thread->groups, &thread->batch, frame, &ports);
    if (decision != BR_PASS) {
        *reason = decision;
        return 0;
    }
    for (int i = 0; i < BR_PORT_WORDS; i++) {
        for (uint64_t word = ports.word[i]; word; word &= word - 1, n++)
            br_flood_target(thread, frame, (uint16_t)(i * 64 + __builtin_ctzll(word)), targets);
    }
    return n;
}

/* A second descriptor with a head of its own; what is beyond a head buffer is shared. NULL without a buffer. */
static struct br_frame *br_flood_copy(struct br_batch *batch, const struct br_frame *frame)
{
    uint8_t *head = br_stack_get(&batch->pool.heads);

    if (!head)
        return NULL;
    struct br_frame *copy = &batch->copy[batch->n_copies++];
    *copy = *frame;
    if (frame->len > BR_HEAD_LEN && !frame->tail_len) { /* a long head has no tail (frame/frame.h) */
        copy->len = BR_HEAD_LEN;
        copy->tail = frame->data + BR_HEAD_LEN;
        copy->tail_len = frame->len - BR_HEAD_LEN;
    }
    /* The head before a tail may have grown by the tag that admit put back. */
    copy->headroom = (uint16_t)(copy->len > BR_HEAD_LEN ? BR_HEAD_CAP - copy->len : BR_HEADROOM);
    copy->data = head + copy->headroom;
    memcpy(copy->data, frame->data, copy->len);
    return copy;
}

/* Build one encapsulation. In place if no other needs the canonical bytes after it. */
static struct br_frame *br_flood_encap(struct br_batch *batch, struct br_frame *frame, uint64_t encap, bool in_place,
                                      enum br_drop *decision)
{
    struct br_frame *shaped = in_place ? frame : br_flood_copy(batch, frame);

    *decision = shaped ? br_egress_shape(shaped, encap) : BR_DROP_no_buffer;
    return shaped;
}

/* For the bill. */
static void br_flood_note(struct br_batch *batch, struct br_frame *frame, uint32_t n)
{
    struct br_work *work = &batch->work;

    frame->origin = (uint16_t)(frame - batch->frame);
    frame->outcome = BR_OUTCOME_FLOODED;
    work->copies[frame->origin] = n;
    work->targets[frame->origin] = (uint16_t)n;
    work->copy_tx[frame->origin] = 0;
    work->n_flooded += n;
}

/* Transmit what is queued, so that the heads of all copies are free again. */
static void br_flood_relieve(struct br_thread *thread)
{
    br_stage_end(&thread->batch, BR_STAGE_flood);
    br_transmit(thread);
    br_release_copies(&thread->batch);
    thread->batch.relieved = true;
}

/* Hand a frame under finished tags to its ports. */
static void br_flood_enqueue(struct br_thread *thread, struct br_frame *frame, const struct br_targets *targets,
                             uint32_t encap, struct br_frame *shaped, enum br_drop decision)
{
    for (uint32_t i = 0; i < targets->n; i++) {
        if (targets->encap[i] != encap)
            continue;
        if (decision == BR_PASS)
            br_egress_enqueue(&thread->batch, targets->port[i], shaped);
        else
            br_egress_refuse(thread, &thread->batch.snapshot->port[targets->port[i]], frame, decision);
    }
}

/*
 * A frame in any number of encapsulations, each queued as soon as it is built. n_after frames of the batch are still
 * to be flooded: two heads are left for each of them, which is all that simple ones take.
 */
static __attribute__((noinline)) void br_flood_encaps(struct br_thread *thread, struct br_frame *frame,
                                                     const struct br_targets *targets, uint32_t n_after)
{
    struct br_batch *batch = &thread->batch;
    const uint32_t most = BR_COPIES * batch->burst - 2 * n_after;
    uint32_t n_left = targets->n;

    for (uint32_t encap = BR_SIMPLE_ENCAPS + targets->n_explicit; encap-- > 0 && n_left;) {
        const bool is_simple = encap < BR_SIMPLE_ENCAPS;
        const uint32_t n = is_simple ? targets->n_encap[encap] : targets->n_explicit_encap[encap - BR_SIMPLE_ENCAPS];
        enum br_drop decision;

        if (n == 0)
            continue;
        n_left -= n;
        if (n_left && batch->n_copies >= most)
            br_flood_relieve(thread);
        const uint64_t tags = is_simple ? br_encap_tpid[encap] : targets->explicit[encap - BR_SIMPLE_ENCAPS];
        struct br_frame *shaped = br_flood_encap(batch, frame, tags, n_left == 0, &decision);
        br_flood_enqueue(thread, frame, targets, encap, shaped, decision);
    }
}

/* `has_groups`: VLANs may snoop; compiled apart, so that bridges without any pay nothing for it. */
static inline __attribute__((always_inline)) void br_flood_frame(struct br_thread *thread, struct br_frame *frame,
                                                                uint32_t n_after, bool has_groups)
{
    struct br_batch *batch = &thread->batch;
    struct br_targets targets;
    struct br_frame *shaped[BR_SIMPLE_ENCAPS];
    enum br_drop decision[BR_SIMPLE_ENCAPS];

    targets.n = 0;
    targets.n_explicit = 0;
    memset(targets.n_encap, 0, sizeof(targets.n_encap));
    enum br_drop reason = BR_DROP_no_egress;
    const uint32_t n = has_groups && frame->flood_class == BR_FLOOD_MULTICAST
                           ? br_flood_members(thread, frame, &targets, &reason)
                           : br_flood_targets(thread, frame, &targets);
    if (n == 0) {
        br_batch_drop(batch, frame, BR_OUTCOME_DROPPED, reason);
        return;
    }
    br_flood_note(batch, frame, n);
    batch->ingress->flooded++;
    batch->ingress->copies += n - 1;
    batch->ingress->forwarded += n;
    if (__builtin_expect(targets.n_explicit, 0)) {
        br_flood_encaps(thread, frame, &targets, n_after);
        return;
    }
    /* From the last one down to the untagged one, which is the canonical bytes themselves. */
    uint32_t n_left = targets.n;
    for (int encap = BR_SIMPLE_ENCAPS - 1; encap >= 0 && n_left; encap--) {
        if (!targets.n_encap[encap])
            continue;
        n_left -= targets.n_encap[encap];
        shaped[encap] = br_flood_encap(batch, frame, br_encap_tpid[encap], n_left == 0, &decision[encap]);
    }
    for (uint32_t i = 0; i < targets.n; i++) {
        const uint16_t encap = targets.encap[i];

        if (BR_LIKELY(decision[encap] == BR_PASS))
            br_egress_enqueue(batch, targets.port[i], shaped[encap]);
        else
            br_egress_refuse(thread, &thread->batch.snapshot->port[targets.port[i]], frame, decision[encap]);
    }
}

static __attribute__((noinline)) void br_flood_grouped(struct br_thread *thread)
{
    struct br_batch *batch = &thread->batch;

    for (uint32_t i = 0; i < batch->n_live; i++)
        br_flood_frame(thread, batch->live[i], batch->n_live - 1 - i, true);
}

void br_flood(struct br_thread *thread)
{
    struct br_batch *batch = &thread->batch;

    if (__builtin_expect(thread->groups != NULL, 0)) {
        br_flood_grouped(thread);
        return;
    }
    for (uint32_t i = 0; i < batch->n_live; i++)
        br_flood_frame(thread, batch->live[i], batch->n_live - 1 - i, false);
}
