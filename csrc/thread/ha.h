/*
 * thread/ha.h - the gate and the pair, as the control thread sets and reads them.
 *
 * Thread: the control thread, but for br_bridge_tell_pair. Each call takes effect at a batch boundary; opening and closing a
 *      gate is a store into its page (ha/gate.h) and needs no call.
 */
#ifndef BR_HA_H
#define BR_HA_H

#include "thread/bridge.h"

static inline struct br_gate_page *br_bridge_gate_page(const struct br_bridge *bridge)
{
    return bridge->gate;
}

/* Put a gate, closed, before the bridge, or take it away. 0, -ENOMEM, or -EBUSY: a pair keeps it. */
int br_bridge_gate(struct br_bridge *bridge, bool gated);

struct br_pair_start {
    struct br_pair_config config;
    struct br_beacon_key key;
    uint64_t source;      /* MAC address of beacons */
    uint32_t n_paths;
    int path[BR_MEMBER_PATHS];
    uint32_t n_remembered; /* peers of an earlier run: id, session and sequence of the last beacon */
    uint64_t remembered[BR_PAIR_PEERS_MAX][3];
};
/* Join a pair behind a gate; the paths are the bridge's from now on. 0 or -errno, and then they are still the caller's. */
int br_bridge_pair_start(struct br_bridge *bridge, const struct br_pair_start *start);
/* Use other paths from now on, which are the bridge's then. 0, or -errno, -ESRCH: no pair, and they are still the caller's. */
int br_bridge_pair_paths(struct br_bridge *bridge, const int *path, uint32_t n_paths);
/* Leave it, handing the gate over if there is who takes it. The gate stays, closed. */
void br_bridge_pair_stop(struct br_bridge *bridge);

enum br_pair_verb { BR_PAIR_READ, BR_PAIR_HEALTHY, BR_PAIR_SICK, BR_PAIR_HOLD, BR_PAIR_RESUME, BR_PAIR_SWITCH };
struct br_pair_state_copy {
    struct br_pair pair;
    struct br_member_counters counters;
};
/* 0 and what is the case after it, -ESRCH: no pair, or as br_pair_release. */
int br_bridge_pair(struct br_bridge *bridge, enum br_pair_verb verb, struct br_pair_state_copy *copy);

/* Data thread: an event about what a step did. */
void br_bridge_tell_pair(struct br_bridge *bridge, uint32_t done);

#endif
