/* multicast/heartbeat.c - see multicast/heartbeat.h. */
#include "multicast/heartbeat.h"

void br_heartbeat_init(struct br_heartbeats *heartbeats, uint64_t microsecond)
{
    heartbeats->cycle = 1e-6 / (double)(int64_t)microsecond;
}

/* Whether a port has a token, which is taken then; `seconds` is a cycle. */
static bool br_heartbeat_take(struct br_heartbeat_port *port, const struct br_heartbeat_rules *rules, uint64_t now,
                              double seconds)
{
    const uint64_t passed = now - port->stamp;

    port->stamp = now;
    if (passed < INT64_MAX) /* else the clock went backwards */
        port->tokens += (double)(int64_t)passed * seconds * rules->rate;
    if (port->tokens >= rules->burst) {
        port->tokens = rules->burst;
        port->over = port->over && rules->burst < 1;
    }
    if (port->tokens < 1)
        return false;
    port->tokens--;
    return true;
}

enum br_class br_heartbeat_admit(struct br_heartbeats *heartbeats, const struct br_batch *batch,
                                 const struct br_frame *frame, enum br_class class, enum br_class other)
{
    const struct br_heartbeat_rules *rules = &batch->snapshot->heartbeat;
    struct br_heartbeat_port *port = &heartbeats->port[frame->ingress];

    if (rules->burst <= 0 || br_heartbeat_take(port, rules, batch->stamp, heartbeats->cycle))
        return class;
    if (!port->over) {
        port->over = true;
        br_events_fault(batch->events, &(struct br_event){.port = frame->ingress,
                                                          .old_port = UINT16_MAX,
                                                          .kind = BR_EVENT_heartbeat_limit});
    }
    return other;
}

void br_heartbeat_shift(struct br_heartbeats *heartbeats, uint64_t cycles)
{
    for (int i = 0; i < BR_PORTS_MAX; i++)
        heartbeats->port[i].stamp -= cycles;
}
