/* thread/call.c - see thread/call.h. */
#include "thread/call.h"

#include "thread/bridge.h"

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

