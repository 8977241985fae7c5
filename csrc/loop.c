/*
 * loop.c - the data thread's loop and its waiting policy.
 *
 * One turn: do what the control thread asked, find ports with work, take one burst from each and run it through the
 * pipeline. A port whose burst was full is taken again next turn; one that had less is left alone until epoll names it.
 * Ports that can be looked at for free (`polled`: a shared-memory ring) are looked at every turn. The loop sleeps in
 * epoll only when a whole turn brought nothing: then every ring slot is back with the kernel and every fd was drained.
 * An idle bridge makes no system call at all until something happens.
 */
#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "bridge.h"

enum {
    BR_LOOP_PORTS = 64,  /* ready ports epoll reports at once */
    BR_LOOP_LOOK = 8,    /* busy turns between two looks at ports that were quiet */
    BR_LOOP_DISCARD = 4096, /* frames thrown away at most when a port comes up: more than rings and queues hold */
};

static bool br_loop_watches(const struct br_port_config *config)
{
    return config->port && config->port->fd >= 0 && config->up && !config->port->failed;
}

/* A port comes up again: what was queued while it was down is out of date and ends here. */
static void br_loop_discard(struct br_bridge *bridge, struct br_port *port)
{
    struct br_thread *thread = &bridge->thread;
    int n;

    for (int done = 0; done < BR_LOOP_DISCARD; done += n) {
        n = port->ops->rx(port, &thread->pool, thread->frame, thread->burst);
        if (n <= 0)
            return;
        br_pipeline_discard(bridge, port, (uint32_t)n);
    }
}

static int br_loop_watch_port(struct br_bridge *bridge, const struct br_port_config *old, const struct br_port_config *new)
{
    const bool had = br_loop_watches(old);
    const bool wants = br_loop_watches(new);

    if (had && (!wants || old->port->fd != new->port->fd))
        epoll_ctl(bridge->epoll_fd, EPOLL_CTL_DEL, old->port->fd, NULL);
    if (new->up && new->port == old->port && !old->up && !new->port->failed)
        br_loop_discard(bridge, new->port);
    if (!wants || (had && old->port->fd == new->port->fd))
        return 0;
    new->port->ready = true; /* something may have arrived before we watched */
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = new->port->index};
    return epoll_ctl(bridge->epoll_fd, EPOLL_CTL_ADD, new->port->fd, &event) < 0 ? -errno : 0;
}

/* Change the poll set from one snapshot to another; on failure it is as it was. */
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

static void br_loop_fail(struct br_bridge *bridge, struct br_port *port, int error)
{
    port->failed = true;
    port->ready = false;
    epoll_ctl(bridge->epoll_fd, EPOLL_CTL_DEL, port->fd, NULL);
    br_events_put(&bridge->events, &(struct br_event){
                                       .port = port->index,
                                       .old_port = UINT16_MAX,
                                       .kind = BR_EVENT_port_error,
                                       .error = (uint16_t)-error,
                                   });
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
    struct br_port *port = bridge->snapshot->port[event->data.u32].port;
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

    bridge->thread.counters.waits++;
    bridge->thread.counters.blocks += timeout != 0;
    const int n = epoll_wait(bridge->epoll_fd, event, BR_LOOP_PORTS, timeout);
    for (int i = 0; i < n; i++)
        br_loop_note(bridge, &event[i]);
}

/* One burst of one port, through to the end; frames received. */
static uint32_t br_loop_burst(struct br_bridge *bridge, const struct br_port_config *config)
{
    struct br_thread *thread = &bridge->thread;
    struct br_port *port = config->port;
    const int n = port->ops->rx(port, &thread->pool, thread->frame, thread->burst);

    if (n <= 0) {
        port->ready = false;
        if (n < 0)
            br_loop_fail(bridge, port, n);
        br_stage_end(thread, BR_STAGE_polling);
        return 0;
    }
    port->ready = (uint32_t)n == thread->burst;
    port->counters.rx_cycles += br_stage_end(thread, BR_STAGE_rx);
    br_pipeline_run(bridge, config, (uint32_t)n);
    return (uint32_t)n;
}

/* What the control thread asked for, and work left over from it. True: there is more. */
static bool br_loop_control(struct br_bridge *bridge)
{
    struct br_call *call = atomic_load_explicit(&bridge->call, memory_order_acquire);
    bool more = bridge->fdb.sweep_left > 0;

    if (!call && !more)
        return false;
    br_fdb_sweep(&bridge->fdb);
    if (call) {
        const bool done = call->step(bridge, call);

        if (done) {
            atomic_store_explicit(&bridge->call, NULL, memory_order_release);
            sem_post(&bridge->call_done);
        }
        more = more || !done;
    }
    br_stage_end(&bridge->thread, BR_STAGE_control);
    return more;
}

/* Frames received in this turn. */
uint32_t br_loop_turn(struct br_bridge *bridge, bool may_wait)
{
    struct br_thread *thread = &bridge->thread;
    const bool busy = br_loop_control(bridge) || thread->busy;
    uint32_t n = 0;

    __atomic_store_n(&thread->counters.turns, thread->counters.turns + 1, __ATOMIC_RELAXED);
    if (!busy || thread->counters.turns % BR_LOOP_LOOK == 0) {
        const bool block = !busy && may_wait;

        br_loop_wait(bridge, block ? -1 : 0);
        br_stage_end(thread, block ? BR_STAGE_blocked : BR_STAGE_polling);
    }
    const struct br_snapshot *snapshot = bridge->snapshot;
    bool more = false;
    for (uint32_t i = 0; i < snapshot->n_ports; i++) {
        const struct br_port_config *config = &snapshot->port[snapshot->port_index[i]];
        const struct br_port *port = config->port;

        if (config->up && !port->failed && (port->ready || port->polled)) {
            const uint32_t received = br_loop_burst(bridge, config);

            n += received;
            more = more || port->ready || (port->polled && received);
        }
    }
    thread->busy = more;
    br_events_notify(&bridge->events);
    return n;
}
