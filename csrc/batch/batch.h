/*
 * batch/batch.h - one batch of frames on its way through the pipeline, and all that its stages share.
 *
 * Job: the frames of one burst of one port, the stations they are from and to, the queues they leave by, the copies
 *      made of them, and the work they caused, which the bill charges. Whoever looks at a batch (protect/, account/,
 *      mirror/, pipeline/) takes a br_batch and its own state, and sees nothing else of the thread.
 * Thread: the data thread; nothing in it is shared.
 * Invariants: `live` has, in order, the frames that are not dropped and not queued yet. Between two batches no queue
 *      has a frame and no copy a head. A stamp is taken where one stage ends and the next begins, so the stages add up.
 */
#ifndef BR_BATCH_H
#define BR_BATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "count/counters.h"
#include "count/cycles.h"
#include "count/event.h"
#include "fdb/table.h"
#include "frame/frame.h"
#include "frame/pool.h"
#include "snapshot/snapshot.h"

#ifdef BR_NO_ACCOUNTING /* only to measure what the bill costs */
enum { BR_ACCOUNTING = 0 };
#else
enum { BR_ACCOUNTING = 1 };
#endif

enum {
    BR_COPIES = 8,        /* heads for copies, by frames of a burst: two are enough where all ports are simple */
    BR_BILL_BYTES = 8192, /* what a frame costs whatever its length, in bytes */
};

#define BR_CLOCK_LEAP (1ull << 36) /* cycles no stage takes: at least ten seconds */

/* Where the FDB has the two stations of a frame: found and prefetched by admit. */
struct br_stations {
    uint64_t source; /* FDB keys */
    uint64_t destination;
    uint32_t source_bucket;
    uint32_t destination_bucket;
    const struct br_fdb_entry *talker; /* after learn: the entry of the source, or NULL */
};

/* Frames queued for one egress port in this batch. */
struct br_queue {
    uint32_t n;
    uint32_t weight; /* br_frame_weight, together */
    struct br_frame *frame[BR_BURST_MAX];
};

/* The work of a batch, for the bill. Arrays are by a frame's place in the batch, unless said otherwise. */
struct br_work {
    uint64_t rx_bytes;
    uint64_t rx_segments;
    uint32_t n_admitted;
    uint32_t n_forwarded;           /* known unicast that reached edit */
    uint32_t n_flooded;             /* copies made by flood */
    uint32_t n_mirrored;            /* copies that mirrors wanted, whatever became of them */
    double tx_rate[BR_PORTS_MAX];   /* by port: cycles a byte of weight, the last time it sent */
    double copy_tx[BR_BURST_MAX];   /* of a flooded frame: cycles of tx of all its copies */
    uint32_t copies[BR_BURST_MAX];  /* of a flooded or cut frame: handed to egress ports */
    uint16_t targets[BR_BURST_MAX]; /* of a flooded frame: ports it went to */
    /* only while there are mirrors */
    uint32_t mirrored[BR_BURST_MAX];
    uint32_t mirror_copies[BR_BURST_MAX]; /* offered to ports */
    double mirror_tx[BR_BURST_MAX];       /* cycles of tx of those */
};

struct br_batch {
    struct br_frame frame[BR_BURST_MAX] __attribute__((aligned(64)));
    struct br_frame copy[BR_COPIES * BR_BURST_MAX]; /* flooded frames in a second and further form */
    struct br_stations stations[BR_BURST_MAX]; /* of frame[i] */
    struct br_frame *live[BR_BURST_MAX];
    uint32_t n_live;
    uint32_t n_copies;
    uint32_t burst;   /* frames it has at most */
    bool has_tails;   /* a frame has a tail */
    bool has_inner;   /* a frame is a super-frame that no port takes whole */
    bool relieved;    /* part of the batch was sent before its end (pipeline/flood.c) */
    bool evicted;     /* an FDB entry was evicted in this batch */
    bool to_mirrors;  /* what is being sent are copies for mirrors */
    uint64_t stamp;   /* end of the last stage */
    const struct br_snapshot *snapshot;
    struct br_fdb *fdb;
    struct br_events *events;
    struct br_port_counters *ingress; /* of the port the batch came in by */
    uint16_t touched[BR_PORTS_MAX];   /* ports with a queue */
    uint32_t n_touched;
    struct br_queue queue[BR_PORTS_MAX];
    struct br_pool pool;
    struct br_work work;
    struct br_thread_counters counters __attribute__((aligned(64)));
};

/* The only way to drop a frame before it has an egress port. */
static inline void br_batch_drop(struct br_batch *batch, struct br_frame *frame, enum br_outcome outcome,
                                 enum br_drop reason)
{
    frame->outcome = (uint8_t)outcome;
    frame->reason = (uint8_t)reason;
    frame->class = reason == BR_DROP_reserved ? BR_CLASS_reserved : BR_CLASS_dropped;
    batch->ingress->rx_drops[reason]++;
}

/* The place in the batch of a frame, or of what it is a copy of. */
static inline uint32_t br_frame_origin(const struct br_batch *batch, const struct br_frame *frame)
{
    const bool own = frame >= batch->frame && frame < batch->frame + BR_BURST_MAX;

    return own ? (uint32_t)(frame - batch->frame) : frame->origin;
}

/* What a frame or a copy of it weighs: its bytes, and as many as a frame costs whatever its length. */
static inline uint32_t br_frame_weight(const struct br_frame *frame)
{
    return BR_BILL_BYTES + frame->rx_len;
}

/*
 * The stage ends now: its cycles are what passed since the last stamp; returns them. A clock that went backwards
 * (another CPU, a restored machine) or leapt while there was work (a suspended one) is counted and charged to nobody.
 */
static inline uint64_t br_stage_end(struct br_batch *batch, enum br_stage stage)
{
    const uint64_t now = br_cycles_now();
    const uint64_t most = stage == BR_STAGE_blocked ? INT64_MAX : BR_CLOCK_LEAP;
    uint64_t cycles = now - batch->stamp;

    if (__builtin_expect(cycles > most, 0)) {
        batch->counters.clock_jumps++;
        cycles = 0;
    }
    batch->counters.stage_cycles[stage] += cycles;
    batch->stamp = now;
    return cycles;
}

#endif
