/* thread/run.c - see thread/bridge.h: the data thread runs, stops, and is woken. */
#include <errno.h>
#include <unistd.h>

#include "thread/bridge.h"
#include "thread/call.h"

/* Become the one thread that touches the data plane; false if there is one. */
static bool br_bridge_enter(struct br_bridge *bridge)
{
    pthread_mutex_lock(&bridge->state_lock);
    const bool entered = !bridge->running;
    bridge->running = true;
    pthread_mutex_unlock(&bridge->state_lock);
    if (entered)
        bridge->thread.batch.stamp = br_cycles_now();
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

