/* multicast/membership.c - see multicast/membership.h. */
#include "multicast/membership.h"

#include <string.h>

#include "frame/packet.h"
#include "frame/vnet.h"

enum {
    BR_IP_PIM = 103,
    BR_IGMP_QUERY = 0x11,
    BR_IGMP_V1_REPORT = 0x12,
    BR_IGMP_V2_REPORT = 0x16,
    BR_IGMP_LEAVE = 0x17,
    BR_IGMP_V3_REPORT = 0x22,
    BR_IGMP_ROUTER = 0x30, /* RFC 4286 section 3.2 */
    BR_IGMP_LEN = 8,
    BR_IGMP_V3_QUERY_LEN = 12,
    BR_IGMP_RECORD_LEN = 8,
    BR_MLD_ROUTER = 151,
    BR_MLD_LEN = 24,
    BR_MLD2_QUERY_LEN = 28,
    BR_MLD2_REPORT_LEN = 8,
    BR_MLD_RECORD_LEN = 20,
    BR_ROUTER_TIME = 255, /* seconds a router is believed in that only queries or advertises */
    BR_PIM_HELLO = 0x20,  /* version 2, type 0 */
    BR_PIM_HOLDTIME = 1,  /* option */
    BR_PIM_DEFAULT = 105, /* 3.5 hello periods */
    BR_QUERY_V1_TIME = 100,
};

bool br_group_is_prunable(uint8_t family, const uint8_t group[BR_GROUP_LEN])
{
    if (family == BR_GROUP_IPV4)
        return group[0] >> 4 == 0xe && (group[0] != 224 || group[1] || group[2]);
    if (family == BR_GROUP_IPV6)
        return group[0] == 0xff && group[1] != 0x02;
    return group[0] & 1;
}

static bool br_membership_is_zero(const uint8_t address[BR_GROUP_LEN])
{
    static const uint8_t zero[BR_GROUP_LEN];

    return memcmp(address, zero, BR_GROUP_LEN) == 0;
}

/* Whether the checksum of the message is right: over its own bytes and, of IPv6, the pseudo-header. */
static bool br_membership_sums_up(const uint8_t *data, const struct br_packet *packet, bool has_pseudo)
{
    const uint32_t len = packet->end - packet->transport;
    uint64_t sum = br_csum_add(0, data + packet->transport, len);

    if (has_pseudo) {
        const uint8_t *ip = data + packet->network;
        const uint8_t pseudo[8] = {(uint8_t)(len >> 24), (uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len,
                                   0, 0, 0, packet->protocol};

        sum = br_csum_add(br_csum_add(sum, ip + 8, 2 * BR_GROUP_LEN), pseudo, sizeof(pseudo));
    }
    return br_csum_fold(sum) == 0xffff;
}

/* RFC 3376 section 4.1.1, RFC 3810 section 5.1.3: `bits` of mantissa below three of exponent. */
static uint32_t br_membership_float(uint32_t code, uint32_t bits)
{
    const uint32_t mantissa = code & ((1u << bits) - 1);

    if (code < 1u << (bits + 3))
        return code;
    return (mantissa | 1u << bits) << ((code >> bits & 7) + 3);
}

static enum br_membership_kind br_membership_query(struct br_membership *out)
{
    const bool is_group = out->family == BR_GROUP_IPV4 ? out->group[0] >> 4 == 0xe : out->group[0] == 0xff;

    out->is_general = br_membership_is_zero(out->group);
    return out->is_general || is_group ? BR_MEMBERSHIP_QUERY : BR_MEMBERSHIP_INVALID;
}

static enum br_membership_kind br_membership_igmp(const uint8_t *igmp, uint32_t len, struct br_membership *out)
{
    if (len < BR_IGMP_LEN)
        return BR_MEMBERSHIP_INVALID;
    memcpy(out->group, igmp + 4, 4);
    switch (igmp[0]) {
    case BR_IGMP_QUERY:
        if (len > BR_IGMP_LEN && len < BR_IGMP_V3_QUERY_LEN)
            return BR_MEMBERSHIP_INVALID;
        out->version = len > BR_IGMP_LEN ? 3 : igmp[1] ? 2 : 1;
        out->time = out->version == 1 ? BR_QUERY_V1_TIME : igmp[1];
        if (out->version == 3)
            out->time = (uint16_t)br_membership_float(igmp[1], 4);
        return br_membership_query(out);
    case BR_IGMP_V1_REPORT:
    case BR_IGMP_V2_REPORT:
        out->version = igmp[0] == BR_IGMP_V1_REPORT ? 1 : 2;
        return BR_MEMBERSHIP_JOIN;
    case BR_IGMP_LEAVE:
        out->version = 2;
        return BR_MEMBERSHIP_LEAVE;
    case BR_IGMP_V3_REPORT:
        out->version = 3;
        out->n_records = br_be16_read(igmp + 6);
        return BR_MEMBERSHIP_RECORDS;
    default:
        return BR_MEMBERSHIP_NONE;
    }
}

static enum br_membership_kind br_membership_mld(const uint8_t *mld, uint32_t len, struct br_membership *out)
{
    const bool is_link_local = out->source[0] == 0xfe && (out->source[1] & 0xc0) == 0x80;

    if (!is_link_local && !br_membership_is_zero(out->source))
        return BR_MEMBERSHIP_INVALID;
    if (mld[0] == BR_MLD2_REPORT) {
        if (len < BR_MLD2_REPORT_LEN)
            return BR_MEMBERSHIP_INVALID;
        out->version = 2;
        out->n_records = br_be16_read(mld + 6);
        return BR_MEMBERSHIP_RECORDS;
    }
    if (len < BR_MLD_LEN || (mld[0] == BR_MLD_QUERY && len > BR_MLD_LEN && len < BR_MLD2_QUERY_LEN))
        return BR_MEMBERSHIP_INVALID;
    memcpy(out->group, mld + 8, BR_GROUP_LEN);
    out->version = 1;
    if (mld[0] != BR_MLD_QUERY)
        return mld[0] == BR_MLD_REPORT ? BR_MEMBERSHIP_JOIN : BR_MEMBERSHIP_LEAVE;
    const uint32_t code = br_be16_read(mld + 4);
    out->version = len > BR_MLD_LEN ? 2 : 1;
    const uint32_t tenths = ((out->version == 2 ? br_membership_float(code, 12) : code) + 99) / 100;
    out->time = (uint16_t)(tenths < UINT16_MAX ? tenths : UINT16_MAX);
    return br_membership_query(out);
}

/* How long a PIM router says that it is there. */
static enum br_membership_kind br_membership_hello(const uint8_t *pim, uint32_t len, struct br_membership *out)
{
    uint32_t at = 4;

    out->version = 2;
    out->time = BR_PIM_DEFAULT;
    while (at + 4 <= len) {
        const uint32_t option_len = br_be16_read(pim + at + 2);

        if (at + 4 + option_len > len)
            return BR_MEMBERSHIP_INVALID;
        if (br_be16_read(pim + at) == BR_PIM_HOLDTIME && option_len == 2)
            out->time = br_be16_read(pim + at + 4);
        at += 4 + option_len;
    }
    return BR_MEMBERSHIP_ROUTER;
}

/* Whether a packet is addressed to `last` in 224.0.0.0/24, or to that group of ff02::. */
static bool br_membership_is_to(const uint8_t *ip, bool is_ipv6, uint8_t last)
{
    static const uint8_t ipv4[3] = {224, 0, 0};
    static const uint8_t ipv6[15] = {0xff, 0x02};

    return is_ipv6 ? memcmp(ip + 24, ipv6, 15) == 0 && ip[39] == last : memcmp(ip + 16, ipv4, 3) == 0 && ip[19] == last;
}

/* Which of the protocols a packet is of, by its first byte behind IP; MRD is a type of IGMP and ICMPv6. */
enum br_membership_protocol { BR_NO_PROTOCOL, BR_IGMP, BR_MLD, BR_PIM, BR_MRD };

static enum br_membership_protocol br_membership_protocol(const uint8_t *data, const struct br_packet *packet,
                                                          bool is_ipv6)
{
    const uint8_t *ip = data + packet->network;
    const bool has_type = packet->transport < packet->end && !packet->is_later;
    const uint8_t type = has_type ? data[packet->transport] : 0;

    if (packet->protocol == BR_IP_PIM)
        return type == BR_PIM_HELLO && br_membership_is_to(ip, is_ipv6, 13) ? BR_PIM : BR_NO_PROTOCOL;
    if (!is_ipv6 && packet->protocol == BR_IP_IGMP)
        return type == BR_IGMP_ROUTER && br_membership_is_to(ip, false, 106) ? BR_MRD : BR_IGMP;
    if (!is_ipv6 || packet->protocol != BR_IP_ICMPV6)
        return BR_NO_PROTOCOL;
    if (type == BR_MLD_ROUTER && br_membership_is_to(ip, true, 106))
        return BR_MRD;
    return (type >= BR_MLD_QUERY && type <= BR_MLD_DONE) || type == BR_MLD2_REPORT ? BR_MLD : BR_NO_PROTOCOL;
}

/* Whether all of the packet is there: what its header says is no more than what lies in the frame. */
static bool br_membership_is_whole(const uint8_t *data, uint32_t len, const struct br_packet *packet, bool is_ipv6)
{
    const uint8_t *ip = data + packet->network;
    const uint32_t said = is_ipv6 ? BR_IPV6_HLEN + br_be16_read(ip + 4) : br_be16_read(ip + 2);

    return !packet->is_fragment && packet->end - packet->network == said && packet->end <= len;
}

static enum br_membership_kind br_membership_of(const uint8_t *data, uint32_t len, bool is_open,
                                                struct br_membership *out)
{
    const bool is_ipv6 = out->family == BR_GROUP_IPV6;
    struct br_packet packet;

    if (!br_packet_ip(data, len, BR_ETH_HLEN, is_ipv6, &packet)) {
        const bool is_igmp = !is_ipv6 && len >= BR_ETH_HLEN + BR_IPV4_HLEN && data[BR_ETH_HLEN + 9] == BR_IP_IGMP;
        return is_igmp ? BR_MEMBERSHIP_INVALID : BR_MEMBERSHIP_NONE;
    }
    const enum br_membership_protocol protocol = br_membership_protocol(data, &packet, is_ipv6);
    const uint8_t *message = data + packet.transport;

    if (protocol == BR_NO_PROTOCOL)
        return BR_MEMBERSHIP_NONE;
    if (!br_membership_is_whole(data, len, &packet, is_ipv6) ||
        (!is_open && !br_membership_sums_up(data, &packet, is_ipv6)) ||
        (protocol == BR_MLD && data[BR_ETH_HLEN + 6] != BR_IP_HOP_BY_HOP))
        return BR_MEMBERSHIP_INVALID;
    memcpy(out->source, data + BR_ETH_HLEN + (is_ipv6 ? 8 : 12), is_ipv6 ? BR_GROUP_LEN : 4);
    out->at = packet.transport + (is_ipv6 ? BR_MLD2_REPORT_LEN : BR_IGMP_LEN);
    out->end = packet.end;
    switch (protocol) {
    case BR_IGMP:
        return br_membership_igmp(message, packet.end - packet.transport, out);
    case BR_MLD:
        return br_membership_mld(message, packet.end - packet.transport, out);
    case BR_PIM:
        return br_membership_hello(message, packet.end - packet.transport, out);
    default:
        out->time = BR_ROUTER_TIME;
        return packet.end - packet.transport < 8 ? BR_MEMBERSHIP_INVALID : BR_MEMBERSHIP_ROUTER;
    }
}

void br_membership_read(const uint8_t *data, uint32_t len, bool is_open, struct br_membership *out)
{
    const uint16_t type = br_be16_read(data + 2 * BR_ETH_ALEN);

    memset(out, 0, sizeof(*out));
    if (type != BR_TYPE_IPV4 && type != BR_TYPE_IPV6)
        return;
    out->family = type == BR_TYPE_IPV6 ? BR_GROUP_IPV6 : BR_GROUP_IPV4;
    out->kind = (uint8_t)br_membership_of(data, len, is_open, out);
}

/* RFC 3376 section 4.2.12: what a record comes to where sources are not kept. */
static enum br_record_verb br_record_verb(uint8_t type, uint16_t n_sources)
{
    switch (type) {
    case 1: /* MODE_IS_INCLUDE */
    case 3: /* CHANGE_TO_INCLUDE_MODE */
        return n_sources ? BR_RECORD_JOIN : BR_RECORD_LEAVE;
    case 2: /* MODE_IS_EXCLUDE */
    case 4: /* CHANGE_TO_EXCLUDE_MODE */
        return BR_RECORD_JOIN;
    case 5: /* ALLOW_NEW_SOURCES */
        return n_sources ? BR_RECORD_JOIN : BR_RECORD_NOTHING;
    default: /* BLOCK_OLD_SOURCES, and what nobody knows */
        return BR_RECORD_NOTHING;
    }
}

bool br_membership_record(const uint8_t *data, struct br_membership *report, enum br_record_verb *verb)
{
    const uint32_t address_len = report->family == BR_GROUP_IPV6 ? BR_GROUP_LEN : 4;
    const uint32_t header_len = 4 + address_len;
    const uint8_t *record = data + report->at;

    if (report->n_records == 0 || report->at + header_len > report->end)
        return false;
    const uint16_t n_sources = br_be16_read(record + 2);
    const uint32_t len = header_len + n_sources * address_len + 4u * record[1]; /* auxiliary data: words of 4 bytes */
    if (len > report->end - report->at)
        return false;
    report->n_records--;
    report->at += len;
    memcpy(report->group, record + 4, address_len);
    *verb = br_record_verb(record[0], n_sources);
    return true;
}
