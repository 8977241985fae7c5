/* protect/guard.c - see protect/guard.h. */
#include "protect/guard.h"

#include "frame/classify.h"
#include "frame/mac.h"
#include "frame/packet.h"

enum {
    BR_ARP_LEN = 28,
    BR_ARP_REQUEST = 1,
    BR_RARP_REQUEST = 3,
    BR_DHCP_SERVER = 67,
    BR_DHCP_CLIENT = 68,
    BR_ND_LEN = 24, /* NS and NA without options */
    BR_ND_SOURCE_LINK = 1,
    BR_ND_TARGET_LINK = 2,
};

#define BR_LINK_LOCAL 0xfe80000000000000ull /* the upper half of fe80::/64 */

/* A frame being judged. */
struct br_guard_case {
    const struct br_frame *frame;
    const struct br_guard_rule *ipv4;
    const struct br_guard_rule *ipv6;
    uint32_t n_ipv4;
    uint32_t n_ipv6;
    uint64_t mac; /* its source */
};

/* Eight bytes, first on the wire most significant. */
static inline uint64_t br_be64_read(const uint8_t *bytes)
{
    return br_mac_read(bytes) << 16 | br_be16_read(bytes + BR_ETH_ALEN);
}

static inline uint64_t br_be32_read(const uint8_t *bytes)
{
    return (uint64_t)br_be16_read(bytes) << 16 | br_be16_read(bytes + 2);
}

/* ---- the tables -------------------------------------------------------------------------------------------------- */

static bool br_guard_lists(const struct br_guard_rule *rule, uint32_t n, const uint64_t address[2], uint64_t mac)
{
    for (uint32_t i = 0; i < n; i++)
        if ((((address[0] ^ rule[i].address[0]) & rule[i].mask[0]) |
             ((address[1] ^ rule[i].address[1]) & rule[i].mask[1])) == 0 &&
            (rule[i].mac == 0 || rule[i].mac == mac))
            return true;
    return false;
}

/* ---- IPv4 -------------------------------------------------------------------------------------------------------- */

static void br_guard_note(struct br_guard_claim *claim, const uint8_t *address, uint8_t len)
{
    memcpy(claim->address, address, len);
    claim->len = len;
}

static bool br_guard_lists_ipv4(const struct br_guard_case *it, const uint8_t *address)
{
    return br_guard_lists(it->ipv4, it->n_ipv4, (uint64_t[2]){br_be32_read(address) << 32, 0}, it->mac);
}

/* RFC 826; the Ethernet type of RARP (RFC 903) has the same form. */
static enum br_guard_finding br_guard_arp(const struct br_guard_case *it, struct br_guard_claim *claim)
{
    static const uint8_t ethernet_ipv4[] = {0, 1, 8, 0, 6, 4};
    const uint8_t *arp = it->frame->data + BR_ETH_HLEN;

    if (it->frame->len < BR_ETH_HLEN + BR_ARP_LEN || memcmp(arp, ethernet_ipv4, sizeof(ethernet_ipv4)) != 0)
        return BR_GUARD_malformed;
    const uint16_t operation = br_be16_read(arp + 6);
    br_guard_note(claim, arp + 14, 4);
    if (br_mac_read(arp + 8) != it->mac)
        return BR_GUARD_station;
    if (br_be32_read(arp + 14) == 0 && (operation == BR_ARP_REQUEST || operation == BR_RARP_REQUEST))
        return BR_GUARD_passed;
    return br_guard_lists_ipv4(it, arp + 14) ? BR_GUARD_passed : BR_GUARD_address;
}

/* A client that has no address yet speaks to a DHCP server; whole, as fragments but the first have no ports. */
static bool br_guard_is_dhcp(const struct br_frame *frame, uint32_t header_len)
{
    const uint8_t *ip = frame->data + BR_ETH_HLEN;
    const uint8_t *udp = ip + header_len;

    return ip[9] == BR_IP_UDP && (br_be16_read(ip + 6) & 0x3fff) == 0 &&
           frame->len >= BR_ETH_HLEN + header_len + 8 && br_be16_read(ip + 2) >= header_len + 8 &&
           br_be16_read(udp) == BR_DHCP_CLIENT && br_be16_read(udp + 2) == BR_DHCP_SERVER;
}

static enum br_guard_finding br_guard_ipv4(const struct br_guard_case *it, struct br_guard_claim *claim)
{
    const uint8_t *ip = it->frame->data + BR_ETH_HLEN;

    if (it->frame->len < BR_ETH_HLEN + BR_IPV4_HLEN)
        return BR_GUARD_malformed;
    const uint32_t header_len = (ip[0] & 0xfu) * 4;
    if (ip[0] >> 4 != 4 || header_len < BR_IPV4_HLEN || it->frame->len < BR_ETH_HLEN + header_len)
        return BR_GUARD_malformed;
    br_guard_note(claim, ip + 12, 4);
    if (br_be32_read(ip + 12) == 0 && br_guard_is_dhcp(it->frame, header_len))
        return BR_GUARD_passed;
    return br_guard_lists_ipv4(it, ip + 12) ? BR_GUARD_passed : BR_GUARD_address;
}

/* ---- IPv6 -------------------------------------------------------------------------------------------------------- */

/* The interface identifier that a MAC gives; RFC 4291 appendix A. */
static inline uint64_t br_guard_eui64(uint64_t mac)
{
    return (mac >> 24 ^ 0x020000) << 40 | 0xfffeull << 24 | (mac & 0xffffff);
}

static bool br_guard_lists_ipv6(const struct br_guard_case *it, const uint8_t *address)
{
    const uint64_t word[2] = {br_be64_read(address), br_be64_read(address + 8)};

    return (word[0] == BR_LINK_LOCAL && word[1] == br_guard_eui64(it->mac)) ||
           br_guard_lists(it->ipv6, it->n_ipv6, word, it->mac);
}

/* The link-layer addresses in NS and NA (RFC 4861 section 4.6.1) are those of whoever sent the frame. */
static enum br_guard_finding br_guard_nd_options(const struct br_guard_case *it, const struct br_packet *upper)
{
    const uint8_t *data = it->frame->data;
    const uint8_t link = data[upper->transport] == BR_ND_NS ? BR_ND_SOURCE_LINK : BR_ND_TARGET_LINK;
    uint32_t len;

    for (uint32_t at = upper->transport + BR_ND_LEN; at < upper->end; at += len) {
        len = at + 8 <= upper->end ? 8u * data[at + 1] : 0;
        if (len == 0 || at + len > upper->end)
            return BR_GUARD_malformed;
        if (data[at] == link && (len != 8 || (br_be64_read(data + at) & BR_FDB_MAC) != it->mac))
            return BR_GUARD_station;
    }
    return BR_GUARD_passed;
}

/* NS and NA, whose IPv6 source may be spoken from. */
static enum br_guard_finding br_guard_nd(const struct br_guard_case *it, const struct br_packet *upper,
                                         bool has_source, struct br_guard_claim *claim)
{
    const uint8_t *nd = it->frame->data + upper->transport;

    if (upper->is_fragment || upper->transport + BR_ND_LEN > upper->end)
        return BR_GUARD_malformed;
    if (nd[0] == BR_ND_NA || !has_source) {
        br_guard_note(claim, nd + 8, 16);
        if (!br_guard_lists_ipv6(it, nd + 8))
            return BR_GUARD_address;
    }
    return br_guard_nd_options(it, upper);
}

static enum br_guard_finding br_guard_ipv6(const struct br_guard_case *it, struct br_guard_claim *claim)
{
    const struct br_frame *frame = it->frame;
    const uint8_t *ip = frame->data + BR_ETH_HLEN;
    struct br_packet upper;

    if (frame->len < BR_ETH_HLEN + BR_IPV6_HLEN || ip[0] >> 4 != 6)
        return BR_GUARD_malformed;
    br_guard_note(claim, ip + 8, 16);
    if (!br_packet_ip(frame->data, frame->len, BR_ETH_HLEN, true, &upper))
        return BR_GUARD_malformed;
    const bool has_source = br_be64_read(ip + 8) | br_be64_read(ip + 16);
    if (has_source && !br_guard_lists_ipv6(it, ip + 8))
        return BR_GUARD_address;
    const bool is_icmp = upper.protocol == BR_IP_ICMPV6 && !upper.is_later;
    if (is_icmp && upper.transport >= upper.end)
        return BR_GUARD_malformed;
    const uint8_t type = is_icmp ? frame->data[upper.transport] : 0;
    if (!has_source && (upper.is_fragment || !br_icmpv6_asks_or_joins(type)))
        return BR_GUARD_address;
    return type == BR_ND_NS || type == BR_ND_NA ? br_guard_nd(it, &upper, has_source, claim) : BR_GUARD_passed;
}

/* ---- the frame --------------------------------------------------------------------------------------------------- */

/* Whether an Ethernet type is one that the guard judges, or would have to look behind. */
static bool br_guard_is_subject(uint16_t type)
{
    return type == BR_TYPE_IPV4 || type == BR_TYPE_IPV6 || type == BR_TYPE_ARP || type == BR_TYPE_RARP ||
           br_type_is_tag(type);
}

/* IP in SNAP, or whatever else would be judged. */
static bool br_guard_is_snap(const struct br_frame *frame)
{
    const uint8_t *llc = frame->data + BR_ETH_HLEN;

    return br_llc_is_snap(llc, frame->len - BR_ETH_HLEN) &&
           br_guard_is_subject(br_be16_read(llc + BR_SNAP_LEN - 2));
}

enum br_guard_finding br_guard_judge(const struct br_guards *guards, const struct br_frame *frame,
                                     struct br_guard_claim *claim)
{
    const struct br_guard_port *port = &guards->port[frame->ingress];
    const struct br_guard_case it = {
        .frame = frame,
        .ipv4 = &guards->rule[port->rule],
        .n_ipv4 = port->n_ipv4,
        .ipv6 = &guards->rule[port->rule] + port->n_ipv4,
        .n_ipv6 = port->n_ipv6,
        .mac = br_mac_read(frame->data + BR_ETH_ALEN),
    };
    const uint16_t type = br_frame_ethertype(frame);

    claim->len = 0;
    switch (type) {
    case BR_TYPE_IPV4:
        return br_guard_ipv4(&it, claim);
    case BR_TYPE_IPV6:
        return br_guard_ipv6(&it, claim);
    case BR_TYPE_ARP:
    case BR_TYPE_RARP:
        return br_guard_arp(&it, claim);
    default:
        return br_type_is_tag(type) || (type < BR_TYPE_LEAST && br_guard_is_snap(frame)) ? BR_GUARD_encapsulated
                                                                                          : BR_GUARD_passed;
    }
}

/* ---- hooks of the pipeline --------------------------------------------------------------------------------------- */

static void br_guard_refuse(struct br_batch *batch, struct br_frame *frame, struct br_stations *stations,
                            enum br_guard_finding finding, const struct br_guard_claim *claim)
{
    struct br_event event = {
        .key = stations->source,
        .port = frame->ingress,
        .old_port = UINT16_MAX,
        .kind = BR_EVENT_source_guard,
        .finding = (uint8_t)finding,
        .address_len = (uint8_t)claim->len,
    };

    memcpy(event.address, claim->address, claim->len);
    br_events_hint(batch->events, &event);
    stations->talker = NULL; /* whoever has this address did not send it */
    br_batch_drop(batch, frame, BR_OUTCOME_REFUSED, BR_DROP_source_guard);
}

void br_guard_police(struct br_batch *batch)
{
    struct br_guard_claim claim;
    uint32_t n_live = 0;

    for (uint32_t i = 0; i < batch->n_live; i++) {
        struct br_frame *frame = batch->live[i];
        const enum br_guard_finding finding = br_guard_judge(&batch->snapshot->guards, frame, &claim);

        if (BR_LIKELY(finding == BR_GUARD_passed))
            batch->live[n_live++] = frame;
        else
            br_guard_refuse(batch, frame, &batch->stations[frame - batch->frame], finding, &claim);
    }
    batch->n_live = n_live;
    batch->work.n_admitted = n_live;
}

