/* thread/bridge.c - see thread/bridge.h: a bridge is set up, and taken down. */
#include "thread/bridge.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "fdb/fdb.h"
#include "frame/gso.h"

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
    struct br_batch *batch = &bridge->thread.batch;

    memset(bridge, 0, sizeof(*bridge));
    bridge->epoll_fd = bridge->wake_fd = bridge->events.fd = -1;
    batch->snapshot = &br_snapshot_none;
    batch->fdb = &bridge->thread.fdb;
    batch->events = &bridge->events;
    batch->burst = burst;
    br_loop_init(&bridge->loop);
    br_heartbeat_init(&bridge->thread.heartbeats, bridge->loop.microsecond);
    batch->stamp = br_cycles_now();
    pthread_mutex_init(&bridge->call_lock, NULL);
    pthread_mutex_init(&bridge->state_lock, NULL);
    sem_init(&bridge->call_done, 0, 0);
    int error = br_bridge_init_waiting(bridge);
    if (!error)
        error = br_events_init(&bridge->events, events);
    if (!error)
        error = br_fdb_init(&bridge->thread.fdb, fdb_capacity, secret);
    if (!error) /* a frame may need a tail and heads for copies; a port that reads holds one tail in reserve */
        error = br_pool_init(&batch->pool, BR_COPIES * burst + BR_GSO_BURST, burst + 1);
    if (!error)
        error = br_mirror_init(&bridge->thread.mirror);
    if (!error)
        error = br_bill_init(&bridge->thread.bill, &bridge->thread.fdb);
    if (error)
        br_bridge_fini(bridge);
    return error;
}

void br_bridge_fini(struct br_bridge *bridge)
{
    br_groups_free(bridge->thread.groups);
    br_bill_fini(&bridge->thread.bill);
    br_mirror_fini(&bridge->thread.mirror);
    br_pool_fini(&bridge->thread.batch.pool);
    br_fdb_fini(&bridge->thread.fdb);
    br_events_fini(&bridge->events);
    br_member_stop(&bridge->member);
    br_gate_free(bridge->gate);
    if (bridge->wake_fd >= 0)
        close(bridge->wake_fd);
    if (bridge->epoll_fd >= 0)
        close(bridge->epoll_fd);
    sem_destroy(&bridge->call_done);
    pthread_mutex_destroy(&bridge->state_lock);
    pthread_mutex_destroy(&bridge->call_lock);
}
