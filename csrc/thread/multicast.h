/*
 * thread/multicast.h - what the control thread decides about groups (multicast/groups.h), and reads of them.
 *
 * Thread: the control thread. Long work is cut into slices of BR_GROUPS_SLICE groups.
 */
#ifndef BR_THREAD_MULTICAST_H
#define BR_THREAD_MULTICAST_H

#include "multicast/groups.h"
#include "thread/bridge.h"

/* Have a table of groups from now on, for `capacity` of them. 0, -EBUSY: there is one, -ENOMEM. */
int br_bridge_groups(struct br_bridge *bridge, uint32_t capacity);

/* What is decided about a VLAN and family; result: as br_groups_configure, or -ENODEV: there is no table. */
struct br_snooping_change {
    uint16_t vid;
    uint8_t family;
    int result;
    struct br_snoop_config config;
};
void br_bridge_snoop(struct br_bridge *bridge, struct br_snooping_change *change, uint32_t n);

enum br_group_verb {
    BR_GROUP_FIX,        /* ports and flags set by hand */
    BR_GROUP_DROP,       /* the learned membership of a port */
    BR_GROUP_FORGET,     /* all learned ones of a port (or BR_ANY_PORT), in a VLAN (or 0), of a group (family 0xff: any) */
    BR_GROUP_ASK,        /* a general query is being sent in a VLAN and family */
    BR_GROUP_CLOSE,      /* its round is over: those that did not answer again leave */
    BR_GROUP_ASK_ONE,    /* a group is asked for on a port */
    BR_GROUP_CLOSE_ONE,
    BR_GROUP_LIMIT,      /* memberships of a port: `n`, 0: no limit */
};

enum { BR_GROUP_ANY_FAMILY = 0xff };

struct br_group_change {
    uint8_t verb;
    uint8_t family;
    uint8_t flags;
    uint16_t vid;
    uint16_t port;
    uint32_t n;
    uint8_t address[BR_GROUP_LEN];
    struct br_port_set ports;
    int result; /* 0 or -errno; DROP, FORGET, CLOSE, CLOSE_ONE: memberships that ended */
};

/* Carry out n changes, in order; memberships that end for want of an answer are events (BR_EVENT_group_expired). */
void br_bridge_group_changes(struct br_bridge *bridge, struct br_group_change *change, uint32_t n);

/* Copy up to `cap` groups; returns how many there were room for. */
uint32_t br_bridge_read_groups(struct br_bridge *bridge, struct br_group *out, uint32_t cap);
/* Copy the row of a VLAN and family; false: there is none. */
bool br_bridge_read_row(struct br_bridge *bridge, uint16_t vid, uint8_t family, struct br_snoop_row *out);

#endif
