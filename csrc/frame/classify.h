/*
 * frame/classify.h - the class of a frame (count/counters.h), from its headers.
 *
 * Job: one decision on a canonical frame. TCP, and UDP to a port that nobody watches, are told from the first bytes;
 *      all else is walked (frame/classify.c): options, extension headers, AH and first fragments hide nothing, and a
 *      later fragment, a header that is cut short or contradicts itself, and more headers than a stack sends decide
 *      nothing. What is flooded is also looked for behind a second tag and SNAP.
 * Heartbeats are what routers and clusters live on, and are exempt from storm control and budgets; so they are told
 *      from what only looks like one by where they go: VRRP, CARP, HSRP, GLBP and OSPF to their groups, BFD to a
 *      station, the UDP ports listed to groups and stations. A broadcast is one only to a port that is listed with
 *      broadcast. MAC and IP destination are of one sort, both a group's or both a station's.
 * Sources: RFC 9568 section 5.1 (VRRP; CARP is the same to whoever does not look further), RFC 2281 section 3 (HSRP; its
 *      version 2 has another group), RFC 5881 section 4, RFC 5883 section 5 (BFD), RFC 2328 appendix A.1 (OSPF), RFC
 *      5340 appendix A.1.
 */
#ifndef BR_CLASSIFY_H
#define BR_CLASSIFY_H

#include "count/counters.h"
#include "frame/frame.h"
#include "frame/packet.h"
#include "frame/protocols.h"
#include "frame/vlan.h"

enum { BR_UDP_PORTS = 65536 };

/* A set of UDP ports, one bit each. */
struct br_udp_ports {
    uint64_t word[BR_UDP_PORTS / 64];
};

static inline void br_udp_ports_add(struct br_udp_ports *set, uint16_t port)
{
    set->word[port / 64] |= 1ull << port % 64;
}

static inline bool br_udp_ports_has(const struct br_udp_ports *set, uint16_t port)
{
    return set->word[port / 64] >> port % 64 & 1;
}

/* Which UDP ports are heartbeats. */
struct br_beat_ports {
    struct br_udp_ports watched;   /* `listed` and the ones that protocols have of their own */
    struct br_udp_ports listed;    /* of clusters */
    struct br_udp_ports broadcast; /* of those, to all stations as well */
};

/* The ports that protocols have are watched. */
void br_beat_ports_begin(struct br_beat_ports *ports);
void br_beat_ports_add(struct br_beat_ports *ports, uint16_t port, bool broadcast);

/* Solicitations and reports of groups: what a host without an address sends, and a router that is only a backup. */
static inline bool br_icmpv6_asks_or_joins(uint8_t type)
{
    return type == BR_ND_NS || type == BR_ND_RS || type == BR_MLD_REPORT || type == BR_MLD_DONE ||
           type == BR_MLD2_REPORT;
}

static inline bool br_class_is_beat(enum br_class class)
{
    return class == BR_CLASS_first_hop || class == BR_CLASS_heartbeat;
}

/* The class of a canonical frame that goes to stations of class `other` if its protocol does not say more. */
enum br_class br_classify(const struct br_frame *frame, bool is_flooded, const struct br_beat_ports *ports,
                          enum br_class other);

/* Whether a packet is TCP, or UDP without options to a port that nobody watches. */
static inline bool br_is_plain_ip(const struct br_frame *frame, bool is_ipv6, const struct br_beat_ports *ports)
{
    const uint8_t *ip = frame->data + BR_ETH_HLEN;
    const uint32_t at = is_ipv6 ? BR_IPV6_HLEN : BR_IPV4_HLEN;
    const uint8_t protocol = ip[is_ipv6 ? 6 : 9]; /* readable, whatever the length is: frame/frame.h */
    const bool is_plain = is_ipv6 || (ip[0] == 0x45 && !(br_be16_read(ip + 6) & 0x1fff));

    if (protocol == BR_IP_TCP)
        return true;
    return protocol == BR_IP_UDP && is_plain && frame->len >= BR_ETH_HLEN + at + 4 &&
           !br_udp_ports_has(&ports->watched, br_be16_read(ip + at + 2));
}

/* Whether the first bytes of a frame tell that its protocol says no more than where it goes. */
static inline bool br_is_plain(const struct br_frame *frame, const struct br_beat_ports *ports)
{
    const uint16_t type = br_frame_ethertype(frame);

    if (type == BR_TYPE_IPV4)
        return br_is_plain_ip(frame, false, ports);
    if (type == BR_TYPE_IPV6)
        return br_is_plain_ip(frame, true, ports);
    return type != BR_TYPE_ARP;
}

/* The first bytes of EtherTypes that say more: LLC, ARP, IP, tags; that of 802.1ad is one of many others, too. */
static const uint64_t br_telling_types[4] = {
    [0] = 0x3full | 1ull << 0x08,
    [2] = 1ull << 0x01 | 1ull << 0x06 | 0xfull << 0x10,
};

/* The same of one that is flooded: neither a second tag nor LLC hides what it is. */
static inline bool br_is_plain_flood(const struct br_frame *frame, const struct br_beat_ports *ports)
{
    const uint16_t type = br_frame_ethertype(frame);

    if (BR_LIKELY(!(br_telling_types[type >> 14] >> (type >> 8 & 63) & 1)))
        return type != BR_TPID_8021AD;
    return (type == BR_TYPE_IPV4 || type == BR_TYPE_IPV6) && br_is_plain_ip(frame, type == BR_TYPE_IPV6, ports);
}

#endif
