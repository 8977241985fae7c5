/*
 * snapshot/port_config.h - what the pipeline must know of a port, and sets of ports.
 *
 * Job: one cache line a port, written by the control thread before its snapshot is applied and only read after.
 */
#ifndef BR_PORT_CONFIG_H
#define BR_PORT_CONFIG_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "count/limits.h"

enum { BR_PORT_WORDS = BR_PORTS_MAX / 64 };

/* A set of ports, one bit each. */
struct br_port_set {
    uint64_t word[BR_PORT_WORDS];
};

static inline void br_set_add(struct br_port_set *set, uint16_t port)
{
    set->word[port / 64] |= 1ull << port % 64;
}

static inline bool br_set_has(const struct br_port_set *set, uint16_t port)
{
    return set->word[port / 64] >> port % 64 & 1;
}

enum br_mode { BR_MODE_ACCESS, BR_MODE_TRUNK, BR_MODE_TUNNEL };
enum br_priority_tags { BR_PRIORITY_TAGS_NEVER, BR_PRIORITY_TAGS_IF_NONZERO, BR_PRIORITY_TAGS_ALWAYS };
enum br_direction { BR_DIRECTION_BOTH, BR_DIRECTION_INGRESS, BR_DIRECTION_EGRESS };
/* What a port is guarded against: speaking from others' addresses (protect/guard.h), and as a server (server_guard.h). */
enum br_guard_bit { BR_GUARD_BIT_SOURCE = 1, BR_GUARD_BIT_RA = 2, BR_GUARD_BIT_DHCP = 4 };
enum br_flood_class { BR_FLOOD_UNKNOWN, BR_FLOOD_MULTICAST, BR_FLOOD_BROADCAST, BR_FLOOD_CLASSES };

struct br_port;
struct br_translation;

/* What the pipeline must know of a port: one cache line. */
struct br_port_config {
    struct br_port *port;
    uint32_t mtu;       /* layer-3 bytes */
    uint32_t mac_limit; /* 0: none */
    uint16_t pvid;      /* access or tunnel VLAN, native VLAN of a trunk, 0: none */
    uint16_t tpid;
    uint8_t mode;
    bool up;
    bool learning;
    bool isolated;
    struct br_translation *translation; /* of the snapshot; NULL: on the wire a VLAN has its own VID */
    uint16_t untagged_vid; /* the VLAN whose frames leave without its VID, 0: none; pvid, unless that leaves tagged */
    uint16_t untagged_tci; /* PCP, in its place, of frames that come untagged */
    uint16_t horizon;      /* split-horizon group, 0: none */
    uint8_t priority_tags; /* enum br_priority_tags, for frames of `untagged_vid` */
    uint8_t direction;     /* enum br_direction */
    bool hairpin;
    bool simple;           /* up, and frames leave untagged or under one tag with the VID of their VLAN */
    bool locked;           /* protect/lock.h */
    uint8_t guards;        /* of enum br_guard_bit */
    bool blocked;          /* why it is not up */
    uint8_t reserved[19];
};

static_assert(sizeof(struct br_port_config) == 64, "a port's configuration is one cache line");

#endif
