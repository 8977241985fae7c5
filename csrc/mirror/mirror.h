/*
 * mirror/mirror.h - copies of frames for who looks on: to a port, or into a file by a ring (mirror/capture.h).
 *
 * What: rx copies are frames as they arrived on a mirrored port, their tag where it was on the wire; tx copies are
 *      frames as they leave one, tag and padding included. A dropped frame is copied as it arrived, with its
 *      reason: at ingress as rx of its ingress port, at egress as tx of the port that refused it (in its final form
 *      if the port's own queue or the kernel did). One copy a mirror, frame and direction; into a file one for each
 *      port it leaves by, since each is an interface there. Copies are never mirrored: they pass no other port's
 *      queue.
 * When: rx after edit and flood, which leave the canonical bytes behind the addresses as they are, so that all that
 *      are dropped at ingress are known; tx after the port's call, which marks each frame it refused (br_port_refuse).
 *      Copies to ports are sent after everything else of the batch.
 * Ledger (R12): a copy to a port is a copy more of its ingress port, forwarded there and offered to the target,
 *      which may refuse it as any other. A copy into a file is in no ledger.
 * Bill: the stage `mirror`, and tx of copies, are charged as induced to the frames that were copied.
 * Bounds: a mirror's rate is a token bucket, a tenth of a second deep; what exceeds it is counted, as is what finds
 *      a ring full. BR_MIRROR_COPIES copies wait for their port at most, then they are sent early.
 * Thread: the data thread. The definition is part of the snapshot, the state belongs to the thread. Nothing here
 *      runs for a bridge without mirrors.
 */
#ifndef BR_MIRROR_H
#define BR_MIRROR_H

#include "batch/batch.h"
#include "count/bucket.h"
#include "frame/frame.h"
#include "frame/pool.h"
#include "frame/vlan.h"
#include "mirror/capture.h"
#include "snapshot/mirror_rules.h"

enum {
    BR_MIRROR_COPIES = 256,
};

struct br_mirror_state {
    uint32_t serial;
    struct br_bucket bucket;
    uint64_t copies; /* made */
    uint64_t bytes;  /* of them */
    uint64_t lost;   /* the ring was full, or there was no buffer */
    uint64_t over_rate;
};

/* A frame of the batch as it was received, for whoever looks at it after its edit. */
struct br_received {
    const uint8_t *data; /* canonical */
    uint32_t len;        /* of the head */
    uint8_t tags[2 * BR_TAG_LEN]; /* what was behind the addresses */
    uint8_t tags_len;    /* so much of it is not in the canonical bytes */
    struct br_vnet vnet;
};

struct br_mirror_queue {
    uint32_t n;
    uint32_t weight;
    struct br_frame *frame[BR_MIRROR_COPIES];
};

struct br_mirror_refusal {
    struct br_frame *frame;
    uint16_t port;
    uint8_t reason;
};

struct br_mirror_thread {
    uint32_t n_refused;
    uint32_t n_copies;
    uint32_t n_heads;
    struct br_pool pool;
    struct br_received received[BR_BURST_MAX]; /* by place in the batch, as is the next */
    uint8_t sent[BR_BURST_MAX];                /* mirrors to ports that have a tx copy */
    struct br_mirror_refusal refused[BR_BURST_MAX]; /* at egress, not copied yet */
    struct br_frame copy[BR_MIRROR_COPIES];         /* those with bytes of their own */
    uint8_t *head[BR_MIRROR_COPIES];
    struct br_mirror_queue queue[BR_MIRRORS_MAX];
    struct br_mirror_state state[BR_MIRRORS_MAX];
};

/* Set-up: 0 or -ENOMEM. */
int br_mirror_init(struct br_mirror_thread *mirror);
void br_mirror_fini(struct br_mirror_thread *mirror);
/* Another snapshot. */
void br_mirror_carry(struct br_mirror_thread *mirror, const struct br_mirrors *old, const struct br_mirrors *mirrors);

/* In the order of a batch of n frames. Before admit: */
void br_mirror_begin(struct br_mirror_thread *mirror, struct br_batch *batch, uint32_t n);
/* After admit: frames are canonical, or refused. */
void br_mirror_note(struct br_mirror_thread *mirror, const struct br_batch *batch, uint32_t n);
/* Whenever a port refuses a frame before it is queued. */
void br_mirror_refuse(struct br_mirror_thread *mirror, struct br_batch *batch, struct br_frame *frame, uint16_t port,
                      enum br_drop reason);
/* After flood: rx copies. */
void br_mirror_rx(struct br_mirror_thread *mirror, struct br_batch *batch, uint16_t port, uint32_t n);
/* Around the call of an egress port: tx copies. */
void br_mirror_watch_tx(struct br_frame *const *frame, uint32_t n);
void br_mirror_tx(struct br_mirror_thread *mirror, struct br_batch *batch, uint16_t port, struct br_frame *const *frame,
                  uint32_t n);
/* After the last egress port: send what is to go to ports. */
void br_mirror_flush(struct br_mirror_thread *mirror, struct br_batch *batch);

#endif
