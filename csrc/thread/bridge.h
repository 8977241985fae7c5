/*
 * thread/bridge.h - one bridge: its data thread, and how it is made, run and ended.
 *
 * Threads: br_bridge_run is the data thread. Everything else is called by the control thread, which reaches the data
 *      thread through calls (thread/call.h): thread/changes.h changes something, thread/readout.h copies something.
 * Invariants: between two turns nothing is in flight; every counter adds up (count/counters.h).
 * Refuses: nothing here prints, exits or raises; setup returns -errno.
 */
#ifndef BR_BRIDGE_H
#define BR_BRIDGE_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "count/event.h"
#include "ha/member.h"
#include "offload/handover.h"
#include "pipeline/state.h"
#include "thread/loop.h"

/* What an epoll event is about: a port by its index, or one of these. */
enum {
    BR_WAKE_TAG = BR_PORTS_MAX,
    BR_TIMER_TAG, /* of the member */
    BR_PATH_TAG,  /* and the paths after it */
    BR_LANE_TAG = 1 << 16, /* and the index of the port whose lane it is */
};

struct br_call;

struct br_bridge {
    struct br_thread thread;
    struct br_loop loop;
    struct br_handover handover;
    struct br_events events;
    struct br_gate_page *gate; /* NULL: there is none, and the bridge forwards */
    struct br_member member;

    /* waiting */
    int epoll_fd;
    int wake_fd; /* eventfd */

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
/* Make a waiting data thread take a turn. */
void br_bridge_wake(struct br_bridge *bridge);
/* Any thread: turns so far. */
static inline uint64_t br_bridge_progress(const struct br_bridge *bridge)
{
    return __atomic_load_n(&bridge->thread.batch.counters.turns, __ATOMIC_RELAXED);
}

#endif
