/*
 * frame/classify.h - the class of a frame (count/counters.h), from its first bytes.
 *
 * Job: one decision on a canonical frame; only IPv4, IPv6 and ARP are looked into, never behind a second tag. A header
 *      that does not lie in the frame decides nothing.
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

/* Solicitations and reports of groups: what a host without an address sends, and a router that is only a backup. */
static inline bool br_icmpv6_asks_or_joins(uint8_t type)
{
    return type == BR_ND_NS || type == BR_ND_RS || type == BR_MLD_REPORT || type == BR_MLD_DONE ||
           type == BR_MLD2_REPORT;
}

/* What the layer-4 header at `at` says; `other` when it says nothing. */
static inline enum br_class br_classify_transport(const struct br_frame *frame, uint32_t at, uint8_t protocol,
                                                  const struct br_udp_ports *heartbeat, enum br_class other)
{
    switch (protocol) {
    case BR_IP_UDP: {
        if (at + 4 > frame->len)
            return other;
        const uint16_t port = br_be16_read(frame->data + at + 2);
        if (port == BR_HSRP_PORT || port == BR_HSRP6_PORT)
            return BR_CLASS_first_hop;
        return heartbeat->word[port / 64] >> port % 64 & 1 ? BR_CLASS_heartbeat : other;
    }
    case BR_IP_VRRP:
        return BR_CLASS_first_hop;
    case BR_IP_IGMP:
        return BR_CLASS_igmp_mld;
    case BR_IP_ICMPV6: {
        const uint8_t type = at < frame->len ? frame->data[at] : 0;

        if ((type >= BR_MLD_QUERY && type <= BR_MLD_DONE) || type == BR_MLD2_REPORT)
            return BR_CLASS_igmp_mld;
        return type >= BR_ND_RS && type <= BR_ND_REDIRECT ? BR_CLASS_arp_nd : other;
    }
    default:
        return other;
    }
}

static inline enum br_class br_classify_ipv6(const struct br_frame *frame, const struct br_udp_ports *heartbeat,
                                             enum br_class other)
{
    uint32_t at = BR_ETH_HLEN + 40;

    if (at > frame->len)
        return other;
    uint8_t protocol = frame->data[BR_ETH_HLEN + 6];
    if (protocol == BR_IP_HOP_BY_HOP && at + 8 <= frame->len) { /* MLD has a router alert there */
        protocol = frame->data[at];
        at += 8 + 8u * frame->data[at + 1];
    }
    return br_classify_transport(frame, at, protocol, heartbeat, other);
}

/* The class of a canonical frame that goes to stations of class `other` if its protocol does not say more. */
static inline enum br_class br_classify(const struct br_frame *frame, const struct br_udp_ports *heartbeat,
                                        enum br_class other)
{
    const uint16_t type = br_frame_ethertype(frame);

    if (type == BR_TYPE_IPV4) {
        const uint8_t *ip = frame->data + BR_ETH_HLEN;

        if (frame->len < BR_ETH_HLEN + 20 || br_be16_read(ip + 6) & 0x1fff) /* a later fragment has no ports */
            return other;
        return br_classify_transport(frame, BR_ETH_HLEN + (ip[0] & 0xfu) * 4, ip[9], heartbeat, other);
    }
    if (type == BR_TYPE_IPV6)
        return br_classify_ipv6(frame, heartbeat, other);
    return type == BR_TYPE_ARP ? BR_CLASS_arp_nd : other;
}

#endif
