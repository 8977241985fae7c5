/* thread/bridge.c - see thread/bridge.h: life cycle, and the control thread's way to the data thread. */
#include "thread/bridge.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "frame/gso.h"

static const struct br_snapshot br_snapshot_none; /* no ports */

static int br_bridge_init_waiting(struct br_bridge *bridge)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = BR_WAKE_TAG};

    bridge->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    bridge->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (bridge->epoll_fd < 0 || bridge->wake_fd < 0)
        return -errno;
    return epoll_ctl(bridge->epoll_fd, EPOLL_CTL_ADD, bridge->wake_fd, &event) < 0 ? -errno : 0;
}

int br_bridge_init(struct br_bridge *bridge, uint32_t fdb_capacity, uint32_t burst, uint32_t events,
                   const uint64_t secret[2])
{
    memset(bridge, 0, sizeof(*bridge));
    bridge->epoll_fd = bridge->wake_fd = bridge->events.fd = -1;
    bridge->snapshot = &br_snapshot_none;
    bridge->thread.burst = burst;
    br_loop_init(&bridge->thread.loop);
    bridge->thread.stamp = br_cycles_now();
    pthread_mutex_init(&bridge->call_lock, NULL);
    pthread_mutex_init(&bridge->state_lock, NULL);
    sem_init(&bridge->call_done, 0, 0);
    int error = br_bridge_init_waiting(bridge);
    if (!error)
        error = br_events_init(&bridge->events, events);
    if (!error)
        error = br_fdb_init(&bridge->fdb, fdb_capacity, secret);
    if (!error) /* a frame of a burst may need a tail and heads for copies; a port holds one tail in reserve as it reads */
        error = br_pool_init(&bridge->thread.pool, BR_COPIES * burst + BR_GSO_BURST, burst + 1);
    if (!error)
        error = br_mirror_init(&bridge->thread.mirror);
    if (!error)
        error = br_bill_init(&bridge->thread.bill, &bridge->fdb);
    if (error)
        br_bridge_fini(bridge);
    return error;
}

void br_bridge_fini(struct br_bridge *bridge)
{
    br_bill_fini(&bridge->thread.bill);
    br_mirror_fini(&bridge->thread.mirror);
    br_pool_fini(&bridge->thread.pool);
    br_fdb_fini(&bridge->fdb);
    br_events_fini(&bridge->events);
    if (bridge->wake_fd >= 0)
        close(bridge->wake_fd);
    if (bridge->epoll_fd >= 0)
        close(bridge->epoll_fd);
    sem_destroy(&bridge->call_done);
    pthread_mutex_destroy(&bridge->state_lock);
    pthread_mutex_destroy(&bridge->call_lock);
}

/* ---- the data thread --------------------------------------------------------------------------------------------- */

/* Become the one thread that touches the data plane; false if there is one. */
static bool br_bridge_enter(struct br_bridge *bridge)
{
    pthread_mutex_lock(&bridge->state_lock);
    const bool entered = !bridge->running;
    bridge->running = true;
    pthread_mutex_unlock(&bridge->state_lock);
    if (entered)
        bridge->thread.stamp = br_cycles_now();
    return entered;
}

/* Leave; a call that came too late for the loop is finished here. */
static void br_bridge_leave(struct br_bridge *bridge)
{
    pthread_mutex_lock(&bridge->state_lock);
    bridge->running = false;
    struct br_call *call = atomic_exchange(&bridge->call, NULL);
    if (call) {
        while (!call->step(bridge, call))
            ;
        sem_post(&bridge->call_done);
    }
    pthread_mutex_unlock(&bridge->state_lock);
}

int br_bridge_run(struct br_bridge *bridge)
{
    if (!br_bridge_enter(bridge))
        return -EBUSY;
    while (!atomic_load_explicit(&bridge->stop, memory_order_relaxed))
        br_loop_turn(bridge, true);
    br_bridge_leave(bridge);
    atomic_store(&bridge->stop, false);
    return 0;
}

int br_bridge_turn(struct br_bridge *bridge)
{
    if (!br_bridge_enter(bridge))
        return -EBUSY;
    const uint32_t n = br_loop_turn(bridge, false);
    br_bridge_leave(bridge);
    return (int)n;
}

void br_bridge_stop(struct br_bridge *bridge)
{
    atomic_store(&bridge->stop, true);
    br_bridge_wake(bridge);
}

void br_bridge_wake(struct br_bridge *bridge)
{
    const uint64_t one = 1;

    if (write(bridge->wake_fd, &one, sizeof(one)) < 0) {
        /* EAGAIN: the counter is full, so the thread is being woken already */
    }
}

/* ---- calls ------------------------------------------------------------------------------------------------------- */

void br_bridge_call(struct br_bridge *bridge, struct br_call *call)
{
    pthread_mutex_lock(&bridge->call_lock);
    pthread_mutex_lock(&bridge->state_lock);
    const bool running = bridge->running;
    if (running)
        atomic_store_explicit(&bridge->call, call, memory_order_release);
    else
        while (!call->step(bridge, call))
            ;
    pthread_mutex_unlock(&bridge->state_lock);
    if (running) {
        br_bridge_wake(bridge);
        while (sem_wait(&bridge->call_done) < 0) /* EINTR: the call is on its way and must not be abandoned */
            ;
    }
    pthread_mutex_unlock(&bridge->call_lock);
}

struct br_apply_call {
    struct br_call call;
    const struct br_snapshot *snapshot;
    int error;
};

static bool br_apply_step(struct br_bridge *bridge, struct br_call *call)
{
    struct br_apply_call *apply = (struct br_apply_call *)call;

    apply->error = br_loop_watch(bridge, bridge->snapshot, apply->snapshot);
    if (!apply->error) {
        br_budget_carry(&bridge->thread, bridge->snapshot, apply->snapshot);
        br_mirror_carry(&bridge->thread, &bridge->snapshot->mirrors, &apply->snapshot->mirrors);
        bridge->snapshot = apply->snapshot;
    }
    bridge->thread.busy = true; /* look at every port once before sleeping */
    return true;
}

int br_bridge_apply(struct br_bridge *bridge, const struct br_snapshot *snapshot)
{
    struct br_apply_call apply = {.call.step = br_apply_step, .snapshot = snapshot ? snapshot : &br_snapshot_none};

    br_bridge_call(bridge, &apply.call);
    return apply.error;
}

struct br_counters_call {
    struct br_call call;
    const uint16_t *index;
    uint32_t n;
    struct br_port_counters *out;
    struct br_thread_counters *thread;
    uint32_t n_entries;
};

static bool br_counters_step(struct br_bridge *bridge, struct br_call *call)
{
    struct br_counters_call *copy = (struct br_counters_call *)call;

    for (uint32_t i = 0; i < copy->n; i++) {
        struct br_port *port = bridge->snapshot->port[copy->index[i]].port;

        if (!port) {
            memset(&copy->out[i], 0, sizeof(copy->out[i]));
            continue;
        }
        copy->out[i] = *br_port_read(port);
    }
    *copy->thread = bridge->thread.counters;
    copy->thread->events_lost = bridge->events.n_lost;
    copy->n_entries = bridge->fdb.n_entries;
    return true;
}

uint32_t br_bridge_counters(struct br_bridge *bridge, const uint16_t *index, uint32_t n, struct br_port_counters *out,
                            struct br_thread_counters *thread)
{
    struct br_counters_call copy = {
        .call.step = br_counters_step, .index = index, .n = n, .out = out, .thread = thread};

    br_bridge_call(bridge, &copy.call);
    return copy.n_entries;
}

struct br_bill_call {
    struct br_call call;
    struct br_bill_copy *copy;
};

static bool br_bill_step(struct br_bridge *bridge, struct br_call *call)
{
    struct br_bill_copy *copy = ((struct br_bill_call *)call)->copy;
    const struct br_bill *bill = &bridge->thread.bill;

    copy->stamp = bridge->thread.stamp;
    copy->thread = bridge->thread.counters;
    copy->uncharged = bill->uncharged;
    for (int stage = BR_STAGE_BUSY; stage < BR_STAGE_N; stage++) /* account of the last batch, at least */
        copy->uncharged += (int64_t)(copy->thread.stage_cycles[stage] - bill->stage_seen[stage]);
    copy->talked = bill->talked;
    copy->n_charges = bill->n_charges;
    memcpy(copy->charge, bill->charge, bill->n_charges * sizeof(*bill->charge));
    memcpy(copy->histogram, bill->histogram, sizeof(bill->histogram));
    copy->n_slow = bill->n_slow;
    memcpy(copy->slow, bill->slow, sizeof(bill->slow));
    return true;
}

void br_bridge_bill(struct br_bridge *bridge, struct br_bill_copy *copy)
{
    struct br_bill_call call = {.call.step = br_bill_step, .copy = copy};

    br_bridge_call(bridge, &call.call);
}

static bool br_clear_slow_step(struct br_bridge *bridge, struct br_call *call)
{
    (void)call;
    br_bill_clear_slow(&bridge->thread.bill);
    return true;
}

void br_bridge_clear_slow(struct br_bridge *bridge)
{
    struct br_call call = {.step = br_clear_slow_step};

    br_bridge_call(bridge, &call);
}

/* The state of what a snapshot has, in its order. */
struct br_states_call {
    struct br_call call;
    void *out;
};

static bool br_budgets_step(struct br_bridge *bridge, struct br_call *call)
{
    const struct br_thread *thread = &bridge->thread;

    br_budget_refill_all(bridge);
    memcpy(((struct br_states_call *)call)->out, thread->budget, bridge->snapshot->n_budgets * sizeof(*thread->budget));
    return true;
}

void br_bridge_budgets(struct br_bridge *bridge, struct br_budget_state out[BR_BUDGETS_MAX])
{
    br_bridge_call(bridge, &(struct br_states_call){{br_budgets_step}, out}.call);
}

static bool br_mirrors_step(struct br_bridge *bridge, struct br_call *call)
{
    memcpy(((struct br_states_call *)call)->out, bridge->thread.mirror.state, sizeof(bridge->thread.mirror.state));
    return true;
}

void br_bridge_mirrors(struct br_bridge *bridge, struct br_mirror_state out[BR_MIRRORS_MAX])
{
    br_bridge_call(bridge, &(struct br_states_call){{br_mirrors_step}, out}.call);
}

struct br_originate_call {
    struct br_call call;
    struct br_origination *frame;
    uint32_t n;
    uint32_t done;
};

enum { BR_ORIGINATE_SLICE = 16 }; /* frames between two looks at the ports */

static bool br_originate_step(struct br_bridge *bridge, struct br_call *call)
{
    struct br_originate_call *own = (struct br_originate_call *)call;

    for (int i = 0; i < BR_ORIGINATE_SLICE && own->done < own->n; i++, own->done++)
        own->frame[own->done].result = (int16_t)br_originate(bridge, &own->frame[own->done]);
    return own->done == own->n;
}

void br_bridge_originate(struct br_bridge *bridge, struct br_origination *frame, uint32_t n)
{
    struct br_originate_call own = {.call.step = br_originate_step, .frame = frame, .n = n};

    br_bridge_call(bridge, &own.call);
}

struct br_shift_call {
    struct br_call call;
    int64_t cycles;
};

static bool br_shift_step(struct br_bridge *bridge, struct br_call *call)
{
    const uint64_t cycles = (uint64_t)((struct br_shift_call *)call)->cycles;

    bridge->thread.stamp -= cycles;
    for (uint32_t i = 0; i < bridge->snapshot->n_budgets; i++) {
        bridge->thread.budget[i].stamp -= cycles;
        bridge->thread.budget[i].last_over -= cycles;
    }
    return true;
}

void br_bridge_shift_clock(struct br_bridge *bridge, int64_t cycles)
{
    struct br_shift_call shift = {.call.step = br_shift_step, .cycles = cycles};

    br_bridge_call(bridge, &shift.call);
}

struct br_close_call {
    struct br_call call;
    uint32_t serial;
};

static bool br_close_step(struct br_bridge *bridge, struct br_call *call)
{
    br_bill_close(&bridge->thread.bill, ((struct br_close_call *)call)->serial);
    return true;
}

void br_bridge_close(struct br_bridge *bridge, struct br_port *port)
{
    struct br_close_call close = {.call.step = br_close_step, .serial = port->serial};

    br_bridge_call(bridge, &close.call);
    br_port_close(port);
}

enum { BR_FDB_SLICE = 64 }; /* changes between two looks at the ports */

struct br_fdb_call {
    struct br_call call;
    struct br_fdb_change *change;
    uint32_t n;
    uint32_t done;
};

static int br_fdb_restore_change(struct br_bridge *bridge, const struct br_fdb_change *change,
                                 struct br_learned *learned)
{
    const struct br_port_config *port = &bridge->snapshot->port[change->port];
    const uint16_t vid = (uint16_t)(change->key >> 48);

    if (!port->port || !port->up || !br_set_has(&bridge->snapshot->vlan[vid], change->port))
        return -EPERM;
    const struct br_learn_rules rules = br_learn_rules(bridge->snapshot, port, vid);
    return br_fdb_restore(&bridge->fdb, change->key, &rules, (enum br_fdb_kind)change->kind, change->tick,
                          learned);
}

static int br_fdb_change(struct br_bridge *bridge, const struct br_fdb_change *change, struct br_learned *learned)
{
    struct br_fdb *fdb = &bridge->fdb;

    switch ((enum br_fdb_verb)change->verb) {
    case BR_FDB_SET:
        return br_fdb_set(fdb, change->key, change->port, (enum br_fdb_kind)change->kind, learned);
    case BR_FDB_DELETE:
        return br_fdb_delete(fdb, change->key);
    case BR_FDB_FORGET:
        return br_fdb_forget(fdb, change->key, change->port);
    case BR_FDB_EXPIRE:
        return br_fdb_expire(fdb, change->key, change->tick);
    case BR_FDB_RESTORE:
        return br_fdb_restore_change(bridge, change, learned);
    case BR_FDB_FLUSH_PORT:
        br_fdb_flush_port(fdb, change->port);
        return 0;
    case BR_FDB_FLUSH_VLAN:
        br_fdb_flush_vlan(fdb, (uint16_t)change->key);
        return 0;
    case BR_FDB_FLUSH_ALL:
        br_fdb_flush_all(fdb);
        return 0;
    }
    return -EINVAL;
}

static bool br_fdb_step(struct br_bridge *bridge, struct br_call *call)
{
    struct br_fdb_call *changes = (struct br_fdb_call *)call;

    for (int i = 0; i < BR_FDB_SLICE && changes->done < changes->n; i++) {
        struct br_fdb_change *change = &changes->change[changes->done++];
        struct br_learned learned = {0};

        change->result = (int16_t)br_fdb_change(bridge, change, &learned);
        br_learn_evicted(bridge, &learned, change->kind == BR_FDB_DROP ? UINT16_MAX : change->port);
    }
    return changes->done == changes->n;
}

void br_bridge_fdb(struct br_bridge *bridge, struct br_fdb_change *change, uint32_t n)
{
    struct br_fdb_call changes = {.call.step = br_fdb_step, .change = change, .n = n};

    br_bridge_call(bridge, &changes.call);
}
