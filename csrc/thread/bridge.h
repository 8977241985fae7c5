/*
 * thread/bridge.h - one bridge: its data thread's state, its snapshot, and the calls by which the control thread reaches it.
 *
 * Threads: br_bridge_run is the data thread. Everything else is called by the control thread. Work that must happen at
 *      a batch boundary (snapshot swap, FDB changes, copying counters) travels as a br_call: the data thread runs its
 *      step once per turn until it is done, so long work is cut into slices and forwarding goes on. While no data
 *      thread runs, the caller runs it itself.
 * Invariants: between two turns nothing is in flight; every counter adds up (count/counters.h).
 * Refuses: nothing here prints, exits or raises; setup returns -errno.
 */
#ifndef BR_BRIDGE_H
#define BR_BRIDGE_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "account/bill.h"
#include "account/budget.h"
#include "frame/classify.h"
#include "count/counters.h"
#include "count/cycles.h"
#include "count/event.h"
#include "fdb/fdb.h"
#include "fdb/read.h"
#include "frame/frame.h"
#include "protect/guard.h"
#include "thread/loop.h"
#include "mirror/mirror.h"
#include "frame/mac.h"
#include "frame/pool.h"
#include "port/port.h"
#include "snapshot/snapshot.h"

enum {
    BR_WAKE_TAG = BR_PORTS_MAX,
    BR_COPIES = 8, /* heads for copies, by frames of a burst: two are enough where all ports are plain */
    BR_PROBES_TOLD = 64, /* remembered, so that a probe that circles is told of once a port */
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
    uint32_t weight; /* for the bill */
    struct br_frame *frame[BR_BURST_MAX];
};

/* State of one data thread; nothing in it is shared. */
struct br_thread {
    struct br_frame frame[BR_BURST_MAX] __attribute__((aligned(64)));
    struct br_frame copy[BR_COPIES * BR_BURST_MAX]; /* flooded frames in a second and further form */
    struct br_stations stations[BR_BURST_MAX]; /* of frame[i] */
    struct br_frame *live[BR_BURST_MAX];       /* frames of the batch that have not ended */
    uint32_t n_live;
    uint32_t n_copies;
    uint32_t burst;
    bool busy;      /* the last turn left work behind */
    bool has_tails; /* a frame of the batch has a tail */
    bool relieved;  /* part of the batch was transmitted before its end (pipeline/flood.c) */
    bool evicted;   /* an entry was evicted in this batch */
    uint64_t stamp; /* end of the last stage */
    struct br_port_counters *ingress; /* of the batch in work */
    uint16_t touched[BR_PORTS_MAX];   /* ports with a queue */
    uint32_t n_touched;
    struct br_queue queue[BR_PORTS_MAX];
    struct br_loop loop;
    struct br_pool pool;
    struct br_bill bill;
    uint32_t n_over; /* budgets for frames of the batch in work that are over */
    struct br_budget_state budget[BR_BUDGETS_MAX];
    struct br_mirror_thread mirror;
    uint64_t probe_told[BR_PROBES_TOLD];
    struct br_thread_counters counters __attribute__((aligned(64)));
};

/* One request of the control thread; step returns true when it is done. */
struct br_bridge;
struct br_call {
    bool (*step)(struct br_bridge *bridge, struct br_call *call);
};

struct br_bridge {
    struct br_thread thread;
    const struct br_snapshot *snapshot;
    struct br_fdb fdb;
    struct br_events events;

    /* waiting */
    int epoll_fd;
    int wake_fd; /* eventfd, under BR_WAKE_TAG in the epoll set; ports are there under their index */

    /* control thread to data thread */
    pthread_mutex_t call_lock;  /* one call at a time */
    pthread_mutex_t state_lock; /* running, and who runs a call */
    sem_t call_done;
    _Atomic(struct br_call *) call;
    atomic_bool stop;
    bool running;

    uint32_t last_serial; /* of a port */
};

/* `burst` 1..BR_BURST_MAX. 0 or -errno. */
int br_bridge_init(struct br_bridge *bridge, uint32_t fdb_capacity, uint32_t burst, uint32_t events,
                   const uint64_t secret[2]);
void br_bridge_fini(struct br_bridge *bridge);

/* Forward until br_bridge_stop: 0, or -EBUSY if a thread runs already. The caller blocks signals it does not want. */
int br_bridge_run(struct br_bridge *bridge);
void br_bridge_stop(struct br_bridge *bridge);
/* One turn without waiting; frames received, or -EBUSY. */
int br_bridge_turn(struct br_bridge *bridge);
/* Any thread: turns so far. */
static inline uint64_t br_bridge_progress(const struct br_bridge *bridge)
{
    return __atomic_load_n(&bridge->thread.counters.turns, __ATOMIC_RELAXED);
}
/* Make a waiting data thread take a turn. */
void br_bridge_wake(struct br_bridge *bridge);

/* Run a call at batch boundaries; returns when it is done. */
void br_bridge_call(struct br_bridge *bridge, struct br_call *call);

/* Use `snapshot` from the next batch on; on return the old one is no longer read. 0, or -errno if a port cannot be
 * polled. */
int br_bridge_apply(struct br_bridge *bridge, const struct br_snapshot *snapshot);

/* Copy counters of n ports (`out[i]` of `index[i]`) and of the thread at one batch boundary; returns how many entries the
 * FDB has. */
uint32_t br_bridge_counters(struct br_bridge *bridge, const uint16_t *index, uint32_t n, struct br_port_counters *out,
                            struct br_thread_counters *thread);

/* The bill at one batch boundary. */
struct br_bill_copy {
    uint64_t stamp;
    struct br_thread_counters thread;
    int64_t uncharged;
    uint64_t talked;
    uint32_t n_charges;
    uint32_t n_slow;
    struct br_histogram histogram[BR_HISTOGRAM_N];
    struct br_slow slow[BR_SLOW_MAX];
    struct br_charge charge[BR_CHARGES_MAX];
};
void br_bridge_bill(struct br_bridge *bridge, struct br_bill_copy *copy);
void br_bridge_clear_slow(struct br_bridge *bridge);
/* The state of the budgets, in the order of the snapshot. */
void br_bridge_budgets(struct br_bridge *bridge, struct br_budget_state out[BR_BUDGETS_MAX]);

/* The state of the mirrors, in the order of the snapshot. */
void br_bridge_mirrors(struct br_bridge *bridge, struct br_mirror_state out[BR_MIRRORS_MAX]);

/* For tests: the data thread sees its clock leap by so much. */
void br_bridge_shift_clock(struct br_bridge *bridge, int64_t cycles);

/* Frames of the bridge itself, each to one port; result: 0, or -ENETDOWN: the port does not send in that VLAN. */
struct br_origination {
    const uint8_t *data; /* untagged, at most BR_HEAD_LEN bytes */
    uint32_t len;
    uint16_t port;
    uint16_t vid;
    int16_t result;
};
void br_bridge_originate(struct br_bridge *bridge, struct br_origination *frame, uint32_t n);

/* Close a port that the snapshot does not name; what it cost stays on the bill. */
void br_bridge_close(struct br_bridge *bridge, struct br_port *port);

/* FDB changes, in order; result[i] is 0 or -errno. */
enum br_fdb_verb {
    BR_FDB_SET,
    BR_FDB_DELETE,
    BR_FDB_FORGET,
    BR_FDB_EXPIRE,
    BR_FDB_RESTORE, /* -EPERM: the port is not up in that VLAN */
    BR_FDB_FLUSH_PORT,
    BR_FDB_FLUSH_VLAN,
    BR_FDB_FLUSH_ALL,
};
struct br_fdb_change {
    uint64_t key;  /* FLUSH_VLAN: the VID in its place */
    uint16_t port;
    uint16_t tick; /* EXPIRE, RESTORE */
    uint8_t verb;
    uint8_t kind;  /* SET, RESTORE */
    int16_t result;
};
void br_bridge_fdb(struct br_bridge *bridge, struct br_fdb_change *change, uint32_t n);

/* The only way to end a frame before it has an egress port. */
static inline void br_drop(struct br_thread *thread, struct br_frame *frame, enum br_fate fate, enum br_drop reason)
{
    frame->fate = (uint8_t)fate;
    frame->reason = (uint8_t)reason;
    frame->class = reason == BR_DROP_reserved ? BR_CLASS_reserved : BR_CLASS_dropped;
    thread->ingress->rx_drops[reason]++;
}

/* The place in the batch of a frame, or of what it is a copy of. */
static inline uint32_t br_frame_origin(const struct br_thread *thread, const struct br_frame *frame)
{
    const bool own = frame >= thread->frame && frame < thread->frame + BR_BURST_MAX;

    return own ? (uint32_t)(frame - thread->frame) : frame->origin;
}

/* Data thread; see account/budget.c. */
void br_budget_refill(struct br_bridge *bridge, uint16_t port);
void br_budget_refill_all(struct br_bridge *bridge);
void br_budget_carry(struct br_thread *thread, const struct br_snapshot *old, const struct br_snapshot *snapshot);
void br_budget_spend(struct br_thread *thread, const struct br_snapshot *snapshot, const struct br_frame *frame,
                     uint64_t talker, const struct br_sum *sum);
void br_budget_police(struct br_bridge *bridge);
bool br_budget_stops_learning(const struct br_bridge *bridge, uint16_t port, uint64_t key);

/* Data thread; see protect/guard.c. */
void br_guard_police(struct br_bridge *bridge);
bool br_lock_refuses(struct br_bridge *bridge, uint16_t port, uint64_t key);

/* Data thread; see protect/probe.c: a frame whose source is the bridge's own address. */
enum br_drop br_own_verdict(struct br_bridge *bridge, const struct br_frame *frame);

/* Data thread: the stages; see pipeline/admit.c, pipeline/learn.c, pipeline/flood.c and pipeline/transmit.c. */
void br_admit(struct br_bridge *bridge, const struct br_port_config *port, uint32_t n);
void br_learn(struct br_bridge *bridge, const struct br_port_config *port, uint32_t n);
/* Count and tell who gave way to an entry of `port` (BR_PORTS_MAX and above: of none), if anybody did. */
void br_learn_evicted(struct br_bridge *bridge, const struct br_learned *learned, uint16_t port);
int br_originate(struct br_bridge *bridge, const struct br_origination *own);
void br_edit(struct br_bridge *bridge);
void br_flood(struct br_bridge *bridge);
void br_transmit(struct br_bridge *bridge);
/* Hand n frames in their final form to a port, super-frames cut if it takes none. */
void br_transmit_frames(struct br_thread *thread, struct br_port *port, struct br_frame *const *frame, uint32_t n);
void br_release_copies(struct br_thread *thread);
void br_release(struct br_thread *thread, uint32_t n);

/* Data thread; see pipeline/pipeline.c and thread/loop.c. */
void br_pipeline_run(struct br_bridge *bridge, const struct br_port_config *ingress, uint32_t n);
void br_pipeline_discard(struct br_bridge *bridge, struct br_port *port, uint32_t n, enum br_drop reason);
void br_loop_init(struct br_loop *loop);
uint32_t br_loop_turn(struct br_bridge *bridge, bool may_wait);
int br_loop_watch(struct br_bridge *bridge, const struct br_snapshot *old, const struct br_snapshot *new);

/*
 * The stage ends now: its cycles are what passed since the last stamp; returns them. A clock that went backwards
 * (another CPU, a restored machine) or leapt while there was work (a suspended one) is counted and charged to nobody.
 */
static inline uint64_t br_stage_end(struct br_thread *thread, enum br_stage stage)
{
    const uint64_t now = br_cycles_now();
    const uint64_t most = stage == BR_STAGE_blocked ? INT64_MAX : BR_CLOCK_LEAP;
    uint64_t cycles = now - thread->stamp;

    if (__builtin_expect(cycles > most, 0)) {
        thread->counters.clock_jumps++;
        cycles = 0;
    }
    thread->counters.stage_cycles[stage] += cycles;
    thread->stamp = now;
    return cycles;
}

#endif
