/*
 * multicast/groups.h - the table of groups: who is a member where, and the state of snooping in each VLAN and family.
 *
 * Job: entries (VLAN, group) with their sets of ports, found by a keyed hash; a row for each VLAN and family that
 *      snoops. The data thread joins ports on the first report (multicast/snoop.h); what takes time (queries that nobody
 *      answered, who is a router, which state a VLAN is in) the control thread decides and writes here by calls
 *      (thread/multicast.h).
 * Members are ports, never stations: virtual routers report from another address than they speak from.
 * Life: a membership does not die of time but of two queries that its port left unanswered. A round is a general query
 *      and the time to answer it: who was not heard in it is noted (`missed`), and is gone when the next one ends alike.
 *      A group that is asked for alone has a round of its own. No round begins while one is open.
 * Limits: `capacity` groups in all; of a port, so many memberships and BR_GROUPS_RATE new ones a second; of a VLAN, so
 *      many groups. A port that is refused gets every group of the VLAN instead, and so does a whole VLAN where there is
 *      no room, until one round has passed without a refusal: nobody loses a frame by a limit.
 * Thread: the data thread, except br_groups_new and br_groups_free.
 */
#ifndef BR_GROUPS_H
#define BR_GROUPS_H

#include <stdbool.h>
#include <stdint.h>

#include "count/counters.h"
#include "frame/vlan.h"
#include "multicast/membership.h"
#include "snapshot/port_config.h"

enum {
    BR_GROUPS_RATE = 100,    /* new memberships a second and port */
    BR_GROUPS_REPORTED = 256, /* unregistered groups remembered, so that each is reported once a while */
    BR_GROUPS_FAMILIES = 2,  /* rows of a VLAN */
};

enum br_snooping { BR_SNOOPING_OFF, BR_SNOOPING_WATCH, BR_SNOOPING_ON };

/* What the control thread decides about a VLAN and family. */
struct br_snoop_config {
    uint8_t snooping;        /* enum br_snooping */
    bool pruning;            /* else: everything is flooded, registered or not */
    bool to_routers;         /* unregistered groups: to `always` only */
    uint32_t group_limit;    /* 0: none */
    struct br_port_set always;  /* get every group: ports of routers, in grace, tunnels */
    struct br_port_set reports; /* get reports and leaves */
    struct br_port_set guarded; /* queries and hellos from here teach nothing */
};

/* Copies that snooping spares a VLAN, or would spare it. */
struct br_spared {
    uint64_t frames;
    uint64_t copies;
    double cycles; /* at what such a copy cost the ports that did not get it */
};

struct br_snoop_row {
    struct br_snoop_config config;
    bool is_open; /* a round */
    uint32_t round;
    uint32_t n_groups;            /* with members that were learned */
    bool full[2];                 /* there was no room for a group: in this round, in the last one */
    struct br_port_set over[2];   /* ports that were refused one */
    struct br_port_set v1[2];     /* ports with reporters that leave without a word: no leave counts there */
    struct br_spared spared;
};

enum br_group_flag {
    BR_GROUP_ONLY = 1,  /* `fixed` is the whole set */
    BR_GROUP_FLOOD = 2, /* flooded always, in every VLAN: its VID is 0 */
};

struct br_group {
    uint8_t address[BR_GROUP_LEN];
    uint16_t vid;
    uint8_t family;
    uint8_t flags;
    uint8_t version; /* of the last report */
    bool is_asked;
    uint16_t n_asked;
    uint16_t tick; /* of the last report (fdb/table.h) */
    uint32_t next; /* in its chain, or of those that are free; 0: none */
    uint32_t round; /* that `heard` is of */
    uint64_t reporter;
    struct br_port_set learned;
    struct br_port_set fixed;
    struct br_port_set heard;    /* in the round of the VLAN */
    struct br_port_set missed;   /* not heard in the round before */
    struct br_port_set asked;    /* for this group alone */
    struct br_port_set answered;
};

struct br_groups {
    uint32_t capacity;
    uint32_t n;
    uint32_t free;
    uint32_t n_fixed_mac; /* entries of BR_GROUP_MAC: looked for only if there are any */
    uint32_t n_flood;
    uint32_t mask;
    uint64_t secret[2];
    uint32_t *chain;
    struct br_group *group; /* from 1 on */
    struct br_snoop_row *row[BR_VLANS][BR_GROUPS_FAMILIES]; /* NULL: does not snoop */
    uint32_t n_rows;
    uint32_t limit[BR_PORTS_MAX];  /* memberships of a port, 0: none */
    uint32_t n_of_port[BR_PORTS_MAX];
    uint32_t rate_round[BR_PORTS_MAX];
    uint16_t rate[BR_PORTS_MAX];
    uint64_t reported[BR_GROUPS_REPORTED];
    uint8_t message[BR_MEMBERSHIP_MESSAGE_MAX]; /* one that is not in one piece */
};

/* NULL: no memory. */
struct br_groups *br_groups_new(uint32_t capacity, const uint64_t secret[2]);
void br_groups_free(struct br_groups *groups);

/* The row of IPv4 or IPv6 in a VLAN, or NULL. */
static inline struct br_snoop_row *br_groups_row(const struct br_groups *groups, uint16_t vid, uint8_t family)
{
    return groups->row[vid][family == BR_GROUP_IPV6];
}

static inline bool br_set_is_empty(const struct br_port_set *set)
{
    uint64_t any = 0;

    for (int i = 0; i < BR_PORT_WORDS; i++)
        any |= set->word[i];
    return !any;
}

static inline void br_set_merge(struct br_port_set *set, const struct br_port_set *other)
{
    for (int i = 0; i < BR_PORT_WORDS; i++)
        set->word[i] |= other->word[i];
}

static inline void br_set_clear(struct br_port_set *set, uint16_t port)
{
    set->word[port / 64] &= ~(1ull << port % 64);
}

uint64_t br_groups_hash(const struct br_groups *groups, uint16_t vid, uint8_t family,
                        const uint8_t address[BR_GROUP_LEN]);
struct br_group *br_groups_find(const struct br_groups *groups, uint16_t vid, uint8_t family,
                                const uint8_t address[BR_GROUP_LEN]);

/* What became of a report of one group. */
enum br_join {
    BR_JOIN_KNOWN,
    BR_JOIN_NEW,
    BR_JOIN_PORT_LIMIT, /* or too many new ones within a second */
    BR_JOIN_VLAN_LIMIT,
    BR_JOIN_FULL,
};
/* One report: `second` grows each second, `tick` is the FDB's. */
struct br_report {
    uint16_t vid;
    uint16_t port;
    uint16_t tick;
    uint8_t family;
    uint8_t version;
    uint32_t second;
    uint64_t reporter;
    const uint8_t *group;
};
enum br_join br_groups_join(struct br_groups *groups, struct br_snoop_row *row, const struct br_report *report);

/* Set the ports by hand of a group; none and no flags: it has none any more. 0 or -ENOSPC. */
int br_groups_fix(struct br_groups *groups, uint16_t vid, uint8_t family, const uint8_t address[BR_GROUP_LEN],
                  uint8_t flags, const struct br_port_set *ports);
/* End the learned membership of a port; false: there was none. `group` may be gone afterwards. */
bool br_groups_leave(struct br_groups *groups, struct br_group *group, uint16_t port);
/* Replace what is decided about a VLAN and family. Off: its learned members are for br_groups_forget. 0 or -ENOMEM. */
int br_groups_configure(struct br_groups *groups, uint16_t vid, uint8_t family, const struct br_snoop_config *config);

/* A general query was heard or is being sent: a round begins, unless one is open. */
static inline void br_groups_ask(struct br_snoop_row *row)
{
    row->round += !row->is_open;
    row->is_open = true;
}

/* The round is over. */
void br_groups_close(struct br_snoop_row *row);
/* A group is asked for alone, on a port or (BR_ANY_PORT) on all. */
void br_groups_ask_one(struct br_group *group, uint16_t port);
/* A round is over: the members of a group that leave with it, who are noted if they do not. `alone`: its own round. */
struct br_port_set br_groups_silent(struct br_group *group, const struct br_snoop_row *row, bool alone);

#endif
