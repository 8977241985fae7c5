/*
 * multicast/membership.h - what a frame says about membership of groups: IGMPv1-3, MLDv1-2, and the hellos that make a
 * port a router's (PIM, multicast router discovery).
 *
 * Job: br_membership_read on a canonical frame whose destination is a group; br_membership_record, one record of a
 *      version 3 (MLD: version 2) report after the other. Pure: no state, nothing is copied.
 * Sources: RFC 1112 appendix I, RFC 2236, RFC 3376 4 (IGMP); RFC 2710 3, RFC 3810 5 (MLD); RFC 3590 (reports from ::);
 *      RFC 7761 4.9.2 (PIM hello); RFC 4286 3 (router discovery).
 * Lenient where hosts are careless: TTL and router alert of IGMP are not looked at, nor is the destination of a report.
 * Refuses (BR_MEMBERSHIP_INVALID): a wrong checksum, cut short, fragmented, MLD without its hop-by-hop header or from an
 *      address that is neither link-local nor, for reports and queries, unspecified.
 */
#ifndef BR_MEMBERSHIP_H
#define BR_MEMBERSHIP_H

#include <stdbool.h>
#include <stdint.h>

enum br_membership_kind {
    BR_MEMBERSHIP_NONE,    /* about something else */
    BR_MEMBERSHIP_INVALID, /* meant to be one of these, and wrong */
    BR_MEMBERSHIP_QUERY,
    BR_MEMBERSHIP_JOIN,    /* a report of one group */
    BR_MEMBERSHIP_LEAVE,
    BR_MEMBERSHIP_RECORDS, /* a report of any number of groups: br_membership_record */
    BR_MEMBERSHIP_ROUTER,  /* `time` seconds a router is here; 0: it leaves */
};

/* What a group is known by (multicast/groups.h). */
enum br_group_family { BR_GROUP_MAC, BR_GROUP_IPV4, BR_GROUP_IPV6 };

enum {
    BR_GROUP_LEN = 16,                /* bytes of an address; shorter ones come first, zeros after */
    BR_MEMBERSHIP_MESSAGE_MAX = 9216, /* bytes of a frame that is looked at */
};

struct br_membership {
    uint8_t kind;
    uint8_t family;
    uint8_t version;
    bool is_general;        /* query: for every group */
    uint16_t time;          /* query: tenths of a second to answer in; router: seconds */
    uint16_t n_records;
    uint32_t at;            /* of the next record */
    uint32_t end;
    uint8_t group[BR_GROUP_LEN];
    uint8_t source[BR_GROUP_LEN]; /* IP */
};

enum br_record_verb { BR_RECORD_NOTHING, BR_RECORD_JOIN, BR_RECORD_LEAVE };

/* The first `len` bytes of a frame are at `data`, BR_ETH_HLEN at least. `is_open`: its checksum is yet to be made. */
void br_membership_read(const uint8_t *data, uint32_t len, bool is_open, struct br_membership *out);
/* The verb of the next record, its group in `group`; false: there are no more, or one goes beyond the end. */
bool br_membership_record(const uint8_t *data, struct br_membership *report, enum br_record_verb *verb);

/* Whether frames to a group may be pruned: 224.0.0.0/24 and ff02::/16 may not, and what is no group is none. */
bool br_group_is_prunable(uint8_t family, const uint8_t group[BR_GROUP_LEN]);

#endif
