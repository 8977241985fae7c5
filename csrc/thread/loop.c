/*
 * thread/loop.c - the data thread's loop and its waiting policy.
 *
 * One turn: do what the control thread asked, find ports with work, take one burst from each and run it through the
 * pipeline.
 * Fairness: a burst has an end (batch->burst frames, BR_PORT_BURST_BYTES), every port with work gets one burst a turn,
 *      each turn begins one port further on, and however busy some ports are, the quiet ones are asked for every
 *      BR_LOOP_LOOK. So a frame waits for one burst of each other port and BR_LOOP_LOOK at most before it is taken.
 * Looking: a port whose burst was full is taken again next turn; one that had less is left alone until epoll names it.
 *      A port that brought one frame last time is read once when it wakes the loop: that nothing follows is for epoll
 *      to say, which is asked anyway, not for a second read. Ports that can be looked at for free (`polled`: a
 *      shared-memory ring) are looked at every turn.
 * Lanes: what a port takes before all else (port/port.h) is taken before each burst, and epoll is asked for it every
 *      BR_LOOP_LOOK also within a turn, so a heartbeat waits for one burst of one port, and not for one of each.
 * Checking: what wakes the loop may be frames and, behind them, one that the kernel refused together with all that
 *      would come after it (port/link.c). So a port whose fd is edge-triggered is looked at once more BR_LOOP_CHECK
 *      after a burst, as if epoll had named it.
 * Waiting: when a whole turn brought nothing, every ring slot is back with the kernel and every fd was drained; then
 *      the loop looks on, sleeps, or sleeps on, as the setting `waiting` allows (thread/loop.h) and the last
 *      milliseconds advise. An idle bridge makes no system call at all until something happens.
 */
#include "thread/loop.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "fdb/fdb.h"
#include "pipeline/pipeline.h"
#include "thread/bridge.h"
#include "thread/ha.h"
#include "thread/call.h"

enum {
    BR_LOOP_PORTS = 64,  /* ready ports epoll reports at once */
    BR_LOOP_LOOK = 50,   /* microseconds between two looks at ports that were quiet, while others are busy */
    BR_LOOP_POLL = 2,    /* the same while all are quiet */
    BR_LOOP_CHECK = 10000, /* microseconds after which a port that brought frames is asked whether it still can */
    BR_LOOP_SHORT = 2,   /* microseconds; who slept less did not sleep */
    BR_LOOP_BACKOFF = 16,
    BR_LOOP_BACKOFF_MAX = 4096,
    BR_LOOP_DISCARD = 4096, /* frames thrown away at most when a port comes up: more than rings and queues hold */
};

static const struct br_waiting_rule br_waiting_rule[BR_WAITING_N] = {
    [BR_WAITING_latency] = {.spin = 2000, .always = true},
    [BR_WAITING_balanced] = {.spin = 10},
    [BR_WAITING_throughput] = {.coalesce = 50},
};

static uint64_t br_clock_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void br_loop_init(struct br_loop *loop)
{
    const uint64_t cycles = br_cycles_now();
    const uint64_t start = br_clock_ns();
    uint64_t passed;

    do
        passed = br_clock_ns() - start;
    while (passed < 100000);
    *loop = (struct br_loop){.backoff = BR_LOOP_BACKOFF};
    loop->microsecond = (br_cycles_now() - cycles) * 1000 / passed + 1;
}

static bool br_loop_watches(const struct br_port_config *config)
{
    return config->port && config->port->fd >= 0 && config->up && !config->port->failed;
}

/* A port comes up again, or leaves: what was queued while it was down is out of date, or too late, and is dropped. */
static void br_loop_discard_by(struct br_bridge *bridge, struct br_port *port, enum br_drop reason,
                               int (*rx)(struct br_port *, struct br_pool *, struct br_frame *, uint32_t))
{
    struct br_batch *batch = &bridge->thread.batch;
    int n;

    for (int done = 0; done < BR_LOOP_DISCARD; done += n) {
        n = rx(port, &batch->pool, batch->frame, batch->burst);
        if (n <= 0)
            return;
        br_pipeline_discard(&bridge->thread, port, (uint32_t)n, reason);
    }
}

static void br_loop_discard(struct br_bridge *bridge, struct br_port *port, enum br_drop reason)
{
    br_loop_discard_by(bridge, port, reason, port->ops->rx);
    if (port->ops->rx_lane)
        br_loop_discard_by(bridge, port, reason, port->ops->rx_lane);
}

static int br_loop_name(const struct br_bridge *bridge, const struct br_port *port)
{
    struct epoll_event event = {.events = EPOLLIN | (port->edge ? EPOLLET : 0), .data.u32 = port->index};

    return epoll_ctl(bridge->epoll_fd, EPOLL_CTL_ADD, port->fd, &event) < 0 ? -errno : 0;
}

static int br_loop_name_lane(const struct br_bridge *bridge, const struct br_port *port)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = BR_LANE_TAG + port->index};

    return port->ops->rx_lane && epoll_ctl(bridge->epoll_fd, EPOLL_CTL_ADD, port->lane_fd, &event) < 0 ? -errno : 0;
}

static void br_loop_unname(const struct br_bridge *bridge, struct br_port *port)
{
    epoll_ctl(bridge->epoll_fd, EPOLL_CTL_DEL, port->fd, NULL);
    if (port->ops->rx_lane)
        epoll_ctl(bridge->epoll_fd, EPOLL_CTL_DEL, port->lane_fd, NULL);
    port->lane_ready = false;
}

static int br_loop_watch_port(struct br_bridge *bridge, const struct br_port_config *old,
                              const struct br_port_config *new)
{
    const bool had = br_loop_watches(old);
    const bool wants = br_loop_watches(new);

    if (had && (!wants || old->port->fd != new->port->fd))
        br_loop_unname(bridge, old->port);
    if (new->up && new->port == old->port && !old->up && !new->port->failed)
        br_loop_discard(bridge, new->port, old->blocked ? BR_DROP_blocked : BR_DROP_port_down);
    if (old->port && new->port != old->port)
        br_loop_discard(bridge, old->port, BR_DROP_port_down);
    if (!wants || (had && old->port->fd == new->port->fd))
        return 0;
    new->port->ready = true; /* something may have arrived before we watched */
    const int error = br_loop_name(bridge, new->port);
    return error ? error : br_loop_name_lane(bridge, new->port);
}

int br_loop_watch(struct br_bridge *bridge, const struct br_snapshot *old, const struct br_snapshot *new)
{
    for (int i = 0; i < BR_PORTS_MAX; i++) {
        const int error = br_loop_watch_port(bridge, &old->port[i], &new->port[i]);

        if (!error)
            continue;
        for (int undo = i - 1; undo >= 0; undo--)
            br_loop_watch_port(bridge, &new->port[undo], &old->port[undo]);
        if (br_loop_watches(&old->port[i])) /* its fd was taken out above */
            br_loop_watch_port(bridge, &(struct br_port_config){.up = true}, &old->port[i]);
        return error;
    }
    return 0;
}

static void br_loop_tell(struct br_bridge *bridge, const struct br_port *port, enum br_event_kind kind, int error)
{
    br_events_fault(&bridge->events, &(struct br_event){
                                         .port = port->index,
                                         .old_port = UINT16_MAX,
                                         .kind = (uint16_t)kind,
                                         .error = (uint16_t)-error,
                                     });
}

static void br_loop_fail(struct br_bridge *bridge, struct br_port *port, int error)
{
    port->failed = true;
    port->ready = false;
    br_loop_unname(bridge, port);
    br_loop_tell(bridge, port, BR_EVENT_port_error, error);
}

/* The kernel delivers no more by the way a port received, and the port has another. */
static __attribute__((noinline, cold)) void br_loop_renew(struct br_bridge *bridge, struct br_port *port)
{
    const int old_fd = port->fd;
    int error = port->ops->renew(port);

    if (!error) {
        epoll_ctl(bridge->epoll_fd, EPOLL_CTL_DEL, old_fd, NULL);
        error = br_loop_name(bridge, port);
    }
    if (error) {
        br_loop_fail(bridge, port, error);
        return;
    }
    port->ready = true; /* something may have arrived before we watched */
    br_loop_tell(bridge, port, BR_EVENT_rx_refused, 0);
}

static void br_loop_note(struct br_bridge *bridge, const struct epoll_event *event)
{
    if (event->data.u32 == BR_WAKE_TAG) {
        uint64_t count;

        if (read(bridge->wake_fd, &count, sizeof(count)) < 0) {
            /* EAGAIN: somebody else took it; nothing is lost */
        }
        return;
    }
    if (event->data.u32 >= BR_LANE_TAG) {
        struct br_port *port = bridge->thread.batch.snapshot->port[event->data.u32 - BR_LANE_TAG].port;

        if (port) {
            port->lane_ready = true;
            bridge->loop.lanes_ready = true;
        }
        return;
    }
    if (event->data.u32 >= BR_TIMER_TAG) {
        if (event->data.u32 >= BR_PATH_TAG)
            bridge->member.ready |= 1u << (event->data.u32 - BR_PATH_TAG);
        return;
    }
    struct br_port *port = bridge->thread.batch.snapshot->port[event->data.u32].port;
    if (!port)
        return; /* it left with the last snapshot */
    const int error = event->events & (EPOLLERR | EPOLLHUP) && port->ops->failure ? port->ops->failure(port) : 0;
    if (error)
        br_loop_fail(bridge, port, error);
    else
        port->ready = true;
}

static void br_loop_wait(struct br_bridge *bridge, int timeout)
{
    struct epoll_event event[BR_LOOP_PORTS];

    bridge->thread.batch.counters.waits++;
    bridge->thread.batch.counters.blocks += timeout != 0;
    const int n = epoll_wait(bridge->epoll_fd, event, BR_LOOP_PORTS, timeout);
    for (int i = 0; i < n; i++)
        br_loop_note(bridge, &event[i]);
    bridge->loop.n_looks += n < BR_LOOP_PORTS;
    br_stage_end(&bridge->thread.batch, timeout ? BR_STAGE_blocked : BR_STAGE_polling);
    bridge->loop.looked = bridge->thread.batch.stamp;
}

/* Ask for quiet ports, but no more often than every so many microseconds. */
static void br_loop_look(struct br_bridge *bridge, uint32_t microseconds)
{
    struct br_loop *loop = &bridge->loop;

    loop->short_sleep = true;
    if (bridge->thread.batch.stamp - loop->looked >= microseconds * loop->microsecond)
        br_loop_wait(bridge, 0);
}

/* Stay asleep whatever comes, then see what it was. */
static void br_loop_coalesce(struct br_bridge *bridge, const struct br_waiting_rule *rule)
{
    clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){.tv_nsec = rule->coalesce * 1000l}, NULL);
    br_stage_end(&bridge->thread.batch, BR_STAGE_blocked);
    bridge->thread.batch.counters.blocks++;
    bridge->loop.n_taken = 0;
    br_loop_look(bridge, 0);
}

/* Whether frames come so close together that sleeping on will catch several; given up for longer each time it fails. */
static bool br_loop_coalesces(struct br_loop *loop, const struct br_waiting_rule *rule)
{
    if (loop->coalescing && loop->n_taken < 2) {
        loop->coalescing = false;
        loop->n_short = 0;
        loop->backoff = loop->backoff < BR_LOOP_BACKOFF_MAX ? 2 * loop->backoff : BR_LOOP_BACKOFF_MAX;
    } else if (!loop->coalescing && rule->coalesce && loop->n_short >= loop->backoff) {
        loop->coalescing = true;
        prctl(PR_SET_TIMERSLACK, 1); /* of this thread; the kernel's 50 us would double the delay */
    }
    return loop->coalescing && rule->coalesce;
}

/* Cycles to the next check; 0: it is due, also when the clock leapt. */
static uint64_t br_loop_check_in(const struct br_bridge *bridge)
{
    const uint64_t left = bridge->loop.check_at - bridge->thread.batch.stamp;

    return left > BR_LOOP_CHECK * bridge->loop.microsecond ? 0 : left;
}

/* How long to sleep at most, in milliseconds; -1: for ever. */
static int br_loop_timeout(const struct br_bridge *bridge)
{
    const uint64_t left = br_loop_check_in(bridge);

    if (!bridge->loop.check_at)
        return -1;
    return left ? (int)(left / (1000 * bridge->loop.microsecond)) + 1 : 0;
}

/* Sleep until something happens, and learn from how long that took. */
static void br_loop_sleep(struct br_bridge *bridge, const struct br_waiting_rule *rule)
{
    struct br_loop *loop = &bridge->loop;
    const uint64_t start = bridge->thread.batch.stamp;

    br_loop_wait(bridge, br_loop_timeout(bridge));
    const uint64_t slept = bridge->thread.batch.stamp - start;
    loop->n_taken = 0;
    loop->short_sleep = slept < BR_LOOP_SHORT * loop->microsecond;
    loop->spin = slept < rule->spin * loop->microsecond ? rule->spin * loop->microsecond : loop->spin / 2;
    if (slept < rule->coalesce * loop->microsecond) {
        loop->n_short++;
    } else {
        loop->n_short = 0;
        loop->backoff = BR_LOOP_BACKOFF;
    }
}

/* The last turn brought nothing. */
static void br_loop_rest(struct br_bridge *bridge)
{
    struct br_batch *batch = &bridge->thread.batch;
    struct br_loop *loop = &bridge->loop;
    const struct br_waiting_rule *rule = &br_waiting_rule[batch->snapshot->waiting];
    const uint64_t most = rule->spin * loop->microsecond;
    const uint64_t spin = rule->always || loop->spin > most ? most : loop->spin;

    if (bridge->handover.page && br_handover_pending(&bridge->handover)) {
        br_loop_wait(bridge, 0);
    } else if (batch->stamp - loop->worked < spin) {
        br_stage_end(batch, BR_STAGE_polling);
        br_loop_look(bridge, BR_LOOP_POLL);
    } else if (br_loop_coalesces(loop, rule)) {
        br_loop_coalesce(bridge, rule);
    } else {
        br_loop_sleep(bridge, rule);
    }
}

static inline void br_loop_check_later(struct br_bridge *bridge, struct br_port *port)
{
    port->unchecked = true;
    if (!bridge->loop.check_at)
        bridge->loop.check_at = bridge->thread.batch.stamp + BR_LOOP_CHECK * bridge->loop.microsecond;
}

/* Look at ports that brought frames as if epoll had named them. */
static void br_loop_check(struct br_bridge *bridge)
{
    const struct br_snapshot *snapshot = bridge->thread.batch.snapshot;

    bridge->loop.check_at = 0;
    for (uint32_t i = 0; i < snapshot->n_ports; i++) {
        struct br_port *port = snapshot->port[snapshot->port_index[i]].port;

        port->ready |= port->unchecked;
        port->unchecked = false;
    }
}

/* The clock is read after the burst was taken: what waited while the thread did not run meets a gate that has closed. */
static inline bool br_loop_may_forward(const struct br_bridge *bridge)
{
    return !bridge->gate || br_gate_is_open(bridge->gate, br_gate_clock());
}

/* A burst that was taken goes through to the end. */
static inline void br_loop_forward(struct br_bridge *bridge, const struct br_port_config *config, uint32_t n)
{
    config->port->counters.rx_cycles += br_stage_end(&bridge->thread.batch, BR_STAGE_rx);
    if (BR_LIKELY(br_loop_may_forward(bridge)))
        br_pipeline_run(&bridge->thread, config, n);
    else
        br_pipeline_discard(&bridge->thread, config->port, n, BR_DROP_standby);
}

/* One burst of one port, through to the end; frames received. */
static uint32_t br_loop_burst(struct br_bridge *bridge, const struct br_port_config *config)
{
    struct br_batch *batch = &bridge->thread.batch;
    struct br_port *port = config->port;
    const bool once = port->single && !port->polled && !bridge->loop.short_sleep;
    const uint32_t cap = once ? 1 : batch->burst;
    const int n = port->ops->rx(port, &batch->pool, batch->frame, cap);

    if (n <= 0) {
        port->ready = false;
        port->drained = true;
        if (n == -ESTALE && port->ops->renew)
            br_loop_renew(bridge, port);
        else if (n < 0)
            br_loop_fail(bridge, port, n);
        br_stage_end(batch, BR_STAGE_polling);
        return 0;
    }
    port->ready = (uint32_t)n == batch->burst || port->more;
    port->drained |= (uint32_t)n < cap && !port->more;
    port->taken += (uint32_t)n;
    port->single = n == 1;
    if (port->edge)
        br_loop_check_later(bridge, port);
    br_loop_forward(bridge, config, (uint32_t)n);
    return (uint32_t)n;
}

/* One burst of each lane that epoll named; frames received. */
static __attribute__((noinline)) uint32_t br_loop_lanes(struct br_bridge *bridge)
{
    const struct br_snapshot *snapshot = bridge->thread.batch.snapshot;
    struct br_batch *batch = &bridge->thread.batch;
    uint32_t n_all = 0;

    bridge->loop.lanes_ready = false;
    for (uint32_t i = 0; i < snapshot->n_ports; i++) {
        const struct br_port_config *config = &snapshot->port[snapshot->port_index[i]];
        struct br_port *port = config->port;

        if (!port->lane_ready || !config->up || port->failed)
            continue;
        const int n = port->ops->rx_lane(port, &batch->pool, batch->frame, batch->burst);
        port->lane_ready = n == (int)batch->burst;
        port->lane_drained |= n < (int)batch->burst;
        bridge->loop.lanes_ready |= port->lane_ready;
        if (n <= 0)
            continue;
        port->lane_taken += (uint32_t)n;
        br_loop_forward(bridge, config, (uint32_t)n);
        n_all += (uint32_t)n;
    }
    return n_all;
}

/* What the pair has to do, before any frame is taken. */
static void br_loop_pair(struct br_bridge *bridge)
{
    const enum br_pair_state state = bridge->member.pair.state;
    const uint32_t done = br_member_turn(&bridge->member);

    if (state != bridge->member.pair.state || done & BR_PAIR_NEWS)
        br_bridge_tell_pair(bridge, done);
    br_stage_end(&bridge->thread.batch, BR_STAGE_control);
}

/* What the control thread asked for, and work left over from it. True: there is more. */
static bool br_loop_control(struct br_bridge *bridge)
{
    struct br_call *call = atomic_load_explicit(&bridge->call, memory_order_acquire);
    bool more = bridge->thread.fdb.sweep_left > 0;

    if (!call && !more)
        return false;
    br_fdb_sweep(&bridge->thread.fdb);
    if (call) {
        const bool done = call->step(bridge, call);

        if (done) {
            atomic_store_explicit(&bridge->call, NULL, memory_order_release);
            sem_post(&bridge->call_done);
        }
        more = more || !done;
    }
    br_stage_end(&bridge->thread.batch, BR_STAGE_control);
    return more;
}

/* One burst of each port with work; frames received. */
static uint32_t br_loop_ports(struct br_bridge *bridge)
{
    struct br_loop *loop = &bridge->loop;
    const struct br_snapshot *snapshot = bridge->thread.batch.snapshot;
    uint32_t at = snapshot->n_ports ? (uint32_t)bridge->thread.batch.counters.turns % snapshot->n_ports : 0;
    bool any_polled = false;
    uint32_t n = 0;

    loop->busy = false;
    for (uint32_t i = 0; i < snapshot->n_ports; i++) {
        const struct br_port_config *config = &snapshot->port[snapshot->port_index[at]];
        const struct br_port *port = config->port;

        at = at + 1 < snapshot->n_ports ? at + 1 : 0;
        if (config->up && !port->failed && (port->ready || port->polled)) {
            if (bridge->thread.batch.stamp - loop->looked >= BR_LOOP_LOOK * loop->microsecond && n)
                br_loop_wait(bridge, 0);
            if (loop->lanes_ready)
                n += br_loop_lanes(bridge);
            const uint32_t received = br_loop_burst(bridge, config);

            n += received;
            loop->busy |= port->ready;
            any_polled |= port->polled;
        }
    }
    if (loop->lanes_ready)
        n += br_loop_lanes(bridge);
    loop->busy |= loop->lanes_ready;
    loop->busy |= n && any_polled; /* what was sent may have been answered already: another look is free */
    return n;
}

/* Whether everything that waited in a port as the round began was taken. */
static bool br_loop_is_past(const struct br_bridge *bridge, const struct br_port_config *config)
{
    const struct br_port *port = config->port;

    if (br_loop_watches(config) && port->ops->rx_lane && !port->lane_drained &&
        port->lane_taken - port->lane_marked < BR_LANE_HOLDS &&
        (port->lane_ready || bridge->loop.n_looks == bridge->handover.looks))
        return false;
    if (!br_loop_watches(config) || port->drained || port->taken - port->marked >= port->holds)
        return true;
    return !port->polled && !port->ready && bridge->loop.n_looks != bridge->handover.looks;
}

/* End the round if it is over, and begin another (offload/handover.h). */
static void br_loop_hand_over(struct br_bridge *bridge)
{
    const struct br_snapshot *snapshot = bridge->thread.batch.snapshot;

    for (uint32_t i = 0; i < snapshot->n_ports; i++)
        if (!br_loop_is_past(bridge, &snapshot->port[snapshot->port_index[i]]))
            return;
    br_handover_round(&bridge->handover, bridge->loop.n_looks);
    for (uint32_t i = 0; i < snapshot->n_ports; i++) {
        struct br_port *port = snapshot->port[snapshot->port_index[i]].port;

        port->drained = false;
        port->marked = port->taken;
        port->lane_drained = false;
        port->lane_marked = port->lane_taken;
    }
}

uint32_t br_loop_turn(struct br_bridge *bridge, bool may_wait)
{
    struct br_batch *batch = &bridge->thread.batch;
    struct br_loop *loop = &bridge->loop;
    const bool busy = br_loop_control(bridge) || loop->busy;

    __atomic_store_n(&batch->counters.turns, batch->counters.turns + 1, __ATOMIC_RELAXED);
    if (busy)
        br_loop_look(bridge, BR_LOOP_LOOK);
    else if (may_wait)
        br_loop_rest(bridge);
    else
        br_loop_look(bridge, 0);
    if (loop->check_at && br_loop_check_in(bridge) == 0)
        br_loop_check(bridge);
    if (__builtin_expect(bridge->member.running, 0))
        br_loop_pair(bridge);
    const uint32_t n = br_loop_ports(bridge);
    if (n) {
        loop->worked = batch->stamp;
        loop->n_taken += n;
    }
    if (bridge->handover.page)
        br_loop_hand_over(bridge);
    br_events_notify(&bridge->events);
    return n;
}
