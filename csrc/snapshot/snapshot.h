/*
 * snapshot/snapshot.h - the whole configuration of the data plane, as one value.
 *
 * Thread: the control thread writes one and applies it (thread/changes.h); from then on nobody writes it, and the data
 *      thread reads it until the next one is applied. So a batch meets one configuration, never half of two.
 */
#ifndef BR_SNAPSHOT_H
#define BR_SNAPSHOT_H

#include <stdbool.h>
#include <stdint.h>

#include "count/limits.h"
#include "fdb/fdb.h"
#include "frame/vlan.h"
#include "port/port.h"
#include "snapshot/budget_rules.h"
#include "snapshot/guard_rules.h"
#include "snapshot/heartbeat_rules.h"
#include "snapshot/mirror_rules.h"
#include "snapshot/port_config.h"

/* The whole configuration of the data plane; never written after it is applied. */
struct br_snapshot {
    uint16_t n_ports;
    uint16_t port_index[BR_PORTS_MAX]; /* the ports in use */
    uint16_t reserved_pass;            /* bit n: pass 01-80-C2-00-00-0n */
    uint16_t age_ticks;
    bool static_forward; /* R9: forward instead of drop */
    uint8_t waiting;     /* enum br_waiting */
    bool controlled;
    bool evict;       /* a full table or VLAN takes new stations, in place of others */
    bool vrrp_aware;  /* pipeline/moves.h */
    bool local_first;
    uint32_t mac_limit; /* of dynamic and sticky entries in all, 0: none */
    struct br_port_set denied_egress[BR_PORTS_MAX]; /* by ingress port: where its frames may not leave */
    struct br_port_set flood[BR_FLOOD_CLASSES]; /* up and willing */
    struct br_port_config port[BR_PORTS_MAX] __attribute__((aligned(64)));
    struct br_port_set vlan[BR_VLANS]; /* members */
    uint32_t vlan_limit[BR_VLANS];
    uint64_t vlan_learning_off[BR_VLANS / 64]; /* a bit for each VID */
    struct br_heartbeat_rules heartbeat;
    struct br_guards guards;
    uint64_t own_address;              /* of the bridge, 0: none */
    uint64_t instance;                 /* in its loop probes */
    uint32_t n_budgets;
    uint16_t budget_first[BR_PORTS_MAX + 1]; /* of a port, last: of all; a place + 1, 0: none */
    struct br_budget budget[BR_BUDGETS_MAX];
    struct br_mirrors mirrors;
};

/* The configuration of a bridge that has none yet: no ports. */
extern const struct br_snapshot br_snapshot_none;

/* What learning in a VLAN on a port is bound to. */
static inline struct br_learn_rules br_learn_rules(const struct br_snapshot *snapshot,
                                                   const struct br_port_config *port, uint16_t vid)
{
    return (struct br_learn_rules){
        .port = port->port->index,
        .controlled = snapshot->controlled,
        .evict = snapshot->evict,
        .age_ticks = snapshot->age_ticks,
        .port_limit = port->mac_limit,
        .vlan_limit = snapshot->vlan_limit[vid],
        .total_limit = snapshot->mac_limit,
    };
}

#endif
