/*
 * frame/packet.h - where the headers of a frame are: one bounded walk over VLAN tags, IPv4 with its options, IPv6 with
 * its extension headers, AH and fragments, to the header of layer 4.
 *
 * Job: br_packet_walk from the first byte of a frame, br_packet_ip from an IP header anywhere in it (the inner one of a
 *      tunnel). Nothing is copied, nothing beyond the bytes given is read, and a chain has an end.
 * Bytes: those of the head (frame/frame.h), which has all headers of what stacks send; a frame that goes on in its tail
 *      is longer than `end` says.
 * Refuses (false): an IP header that is cut short, contradicts itself, or has more than BR_PACKET_CHAIN_MAX headers
 *      behind it. A frame that is not IP is no fault: it has no transport.
 * Sources: IEEE 802.1Q-2022 clause 9; RFC 791 3.1; RFC 8200 4; RFC 4302 2.2 (AH).
 */
#ifndef BR_PACKET_H
#define BR_PACKET_H

#include <stdbool.h>
#include <stdint.h>

#include "frame/frame.h"
#include "frame/protocols.h"
#include "frame/vlan.h"

enum {
    BR_PACKET_TAGS_MAX = 4,
    BR_PACKET_CHAIN_MAX = 8,
};

struct br_packet {
    uint32_t network;   /* offset of what the EtherType announces */
    uint32_t transport; /* offset behind the headers of IP; 0: not IP */
    uint32_t end;       /* of the packet, as far as it lies in the bytes given; what follows is padding */
    uint16_t type;      /* EtherType behind the tags */
    uint8_t protocol;   /* of what is at `transport` */
    uint8_t n_tags;
    bool is_fragment;
    bool is_later; /* a fragment but the first: what is at `transport` is no header */
};

static inline bool br_type_is_tag(uint16_t type)
{
    return type == BR_TPID_8021Q || type == BR_TPID_8021AD || type == 0x9100 || type == 0x9200 || type == 0x9300;
}

/* Whether LLC with a SNAP header lies at `llc`, of which there are `len` bytes: RFC 1042, or the form for tunnels of
 * IEEE 802.1H. */
static inline bool br_llc_is_snap(const uint8_t *llc, uint32_t len)
{
    return len >= BR_SNAP_LEN && llc[0] == 0xaa && llc[1] == 0xaa && llc[2] == 3 && llc[3] == 0 && llc[4] == 0 &&
           (llc[5] == 0 || llc[5] == 0xf8);
}

/* Past tags of every TPID in use and SNAP: the innermost EtherType, and where what it announces begins. False: there
 * are more than BR_PACKET_TAGS_MAX of them. */
static inline bool br_packet_unwrap(const uint8_t *data, uint32_t len, uint16_t *type, uint32_t *at)
{
    *type = br_be16_read(data + 2 * BR_ETH_ALEN);
    *at = BR_ETH_HLEN;
    for (int i = 0; i <= BR_PACKET_TAGS_MAX; i++) {
        const bool is_tag = br_type_is_tag(*type) && len - *at >= BR_TAG_LEN;

        if (!is_tag && !(*type < BR_TYPE_LEAST && br_llc_is_snap(data + *at, len - *at)))
            return true;
        *at += is_tag ? BR_TAG_LEN : BR_SNAP_LEN;
        *type = br_be16_read(data + *at - 2);
    }
    return false;
}

/* The headers of one protocol that may stand between those of IP and layer 4; false: this is not one of them. */
static inline bool br_packet_is_extension(uint8_t protocol, bool is_ipv6)
{
    return protocol == BR_IP_AH || (is_ipv6 && (protocol == BR_IP_HOP_BY_HOP || protocol == BR_IP_ROUTING ||
                                                protocol == BR_IP_FRAGMENT || protocol == BR_IP_OPTIONS));
}

static inline bool br_packet_chain(const uint8_t *data, struct br_packet *packet, bool is_ipv6)
{
    for (int i = 0; i <= BR_PACKET_CHAIN_MAX && !packet->is_later; i++) {
        const uint8_t *header = data + packet->transport;
        const uint8_t protocol = packet->protocol;

        if (BR_LIKELY(!br_packet_is_extension(protocol, is_ipv6)))
            return true;
        if (packet->transport + 8 > packet->end)
            return false;
        uint32_t len = 8 + 8u * header[1];
        if (protocol == BR_IP_AH)
            len = 8 + 4u * header[1];
        if (protocol == BR_IP_FRAGMENT) {
            len = 8;
            packet->is_fragment = true;
            packet->is_later = br_be16_read(header + 2) & 0xfff8;
        }
        packet->protocol = header[0];
        packet->transport += len;
        if (packet->transport > packet->end)
            return false;
    }
    return packet->is_later;
}

/* The end of a packet that says how long it is; one that says nothing (a super-frame beyond 64 KB) goes to the end. */
static inline uint32_t br_packet_end(uint32_t len, uint32_t at, uint32_t said)
{
    return said && said < len - at ? at + said : len;
}

static inline bool br_packet_ipv4(const uint8_t *data, uint32_t len, uint32_t at, struct br_packet *packet)
{
    const uint8_t *ip = data + at;

    if (at + BR_IPV4_HLEN > len)
        return false;
    const uint32_t header_len = (ip[0] & 0xfu) * 4;
    const uint32_t total_len = br_be16_read(ip + 2);
    const uint16_t fragment = br_be16_read(ip + 6);
    if (ip[0] >> 4 != 4 || header_len < BR_IPV4_HLEN || at + header_len > len ||
        (total_len && total_len < header_len))
        return false;
    packet->end = br_packet_end(len, at, total_len);
    packet->transport = at + header_len;
    packet->protocol = ip[9];
    packet->is_fragment = fragment & 0x3fff;
    packet->is_later = fragment & 0x1fff;
    return br_packet_chain(data, packet, false);
}

static inline bool br_packet_ipv6(const uint8_t *data, uint32_t len, uint32_t at, struct br_packet *packet)
{
    const uint8_t *ip = data + at;

    if (at + BR_IPV6_HLEN > len || ip[0] >> 4 != 6)
        return false;
    const uint32_t payload_len = br_be16_read(ip + 4);
    packet->end = br_packet_end(len, at, payload_len ? BR_IPV6_HLEN + payload_len : 0);
    packet->transport = at + BR_IPV6_HLEN;
    packet->protocol = ip[6];
    return br_packet_chain(data, packet, true);
}

/* The IP header at `at` of `len` bytes, and what is behind it. */
static inline bool br_packet_ip(const uint8_t *data, uint32_t len, uint32_t at, bool is_ipv6, struct br_packet *packet)
{
    *packet = (struct br_packet){.network = at, .end = len, .type = is_ipv6 ? BR_TYPE_IPV6 : BR_TYPE_IPV4};
    return is_ipv6 ? br_packet_ipv6(data, len, at, packet) : br_packet_ipv4(data, len, at, packet);
}

/* A frame of which the first `len` bytes are at `data`, BR_ETH_HLEN at least. */
static inline bool br_packet_walk(const uint8_t *data, uint32_t len, struct br_packet *packet)
{
    uint32_t at = 2 * BR_ETH_ALEN;
    uint16_t type = br_be16_read(data + at);
    uint8_t n_tags = 0;

    while ((type == BR_TPID_8021Q || type == BR_TPID_8021AD) && n_tags < BR_PACKET_TAGS_MAX &&
           at + BR_TAG_LEN + 2 <= len) {
        at += BR_TAG_LEN;
        type = br_be16_read(data + at);
        n_tags++;
    }
    bool is_whole = true;
    if (type == BR_TYPE_IPV4 || type == BR_TYPE_IPV6)
        is_whole = br_packet_ip(data, len, at + 2, type == BR_TYPE_IPV6, packet);
    else
        *packet = (struct br_packet){.network = at + 2, .end = len, .type = type};
    packet->n_tags = n_tags;
    return is_whole;
}

#endif
