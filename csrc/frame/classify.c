/* frame/classify.c - see frame/classify.h: what its first bytes do not tell of a frame. */
#include "frame/classify.h"

#include "frame/mac.h"

enum { BR_GROUPS = 2, BR_IPV4_TO = 16, BR_IPV6_TO = 24, BR_UDP_HLEN = 8 };

/* A protocol of routers or clusters: what it is, and where its packets go. */
struct br_beat_kind {
    uint8_t protocol;
    uint16_t port;            /* of UDP */
    uint8_t class;            /* enum br_class */
    bool to_station;          /* also to one station */
    uint8_t ipv4[BR_GROUPS];  /* n: 224.0.0.n */
    uint8_t ipv6[BR_GROUPS];  /* n: ff02::n */
};

static const struct br_beat_kind br_beat_kind[] = {
    {BR_IP_VRRP, 0, BR_CLASS_first_hop, true, {18}, {0x12}},
    {BR_IP_OSPF, 0, BR_CLASS_heartbeat, false, {5, 6}, {5, 6}},
    {BR_IP_UDP, BR_HSRP_PORT, BR_CLASS_first_hop, true, {2, 102}, {0}},
    {BR_IP_UDP, BR_HSRP6_PORT, BR_CLASS_first_hop, true, {0}, {0x66}},
    {BR_IP_UDP, BR_GLBP_PORT, BR_CLASS_first_hop, true, {102}, {0x66}},
    {BR_IP_UDP, BR_BFD_PORT, BR_CLASS_heartbeat, true, {0}, {0}},
    {BR_IP_UDP, BR_BFD_ECHO_PORT, BR_CLASS_heartbeat, true, {0}, {0}},
    {BR_IP_UDP, BR_BFD_MULTIHOP_PORT, BR_CLASS_heartbeat, true, {0}, {0}},
};

enum { BR_BEAT_KINDS = sizeof(br_beat_kind) / sizeof(br_beat_kind[0]) };

void br_beat_ports_begin(struct br_beat_ports *ports)
{
    for (int i = 0; i < BR_BEAT_KINDS; i++)
        if (br_beat_kind[i].port)
            br_udp_ports_add(&ports->watched, br_beat_kind[i].port);
}

void br_beat_ports_add(struct br_beat_ports *ports, uint16_t port, bool broadcast)
{
    br_udp_ports_add(&ports->watched, port);
    br_udp_ports_add(&ports->listed, port);
    if (broadcast)
        br_udp_ports_add(&ports->broadcast, port);
}

/* Whether a packet is for a group of IP. */
static bool br_packet_is_to_group(const uint8_t *data, const struct br_packet *packet)
{
    const uint8_t *ip = data + packet->network;

    return packet->type == BR_TYPE_IPV6 ? ip[BR_IPV6_TO] == 0xff : (ip[BR_IPV4_TO] & 0xf0) == 0xe0;
}

/* Whether it is for all stations, or for none that there is: 240.0.0.0/4. */
static bool br_packet_is_to_all(const uint8_t *data, const struct br_packet *packet)
{
    return packet->type == BR_TYPE_IPV4 && data[packet->network + BR_IPV4_TO] >= 0xf0;
}

/* Whether a packet for a group is for one of these. */
static bool br_packet_is_to(const uint8_t *data, const struct br_packet *packet, const struct br_beat_kind *kind)
{
    static const uint8_t ipv4[3] = {224, 0, 0};
    static const uint8_t ipv6[15] = {0xff, 0x02};
    const bool is_ipv6 = packet->type == BR_TYPE_IPV6;
    const uint8_t *to = data + packet->network + (is_ipv6 ? BR_IPV6_TO : BR_IPV4_TO);
    const uint32_t len = is_ipv6 ? sizeof(ipv6) : sizeof(ipv4);
    const uint8_t *last = is_ipv6 ? kind->ipv6 : kind->ipv4;

    return memcmp(to, is_ipv6 ? ipv6 : ipv4, len) == 0 && to[len] != 0 && (to[len] == last[0] || to[len] == last[1]);
}

static const struct br_beat_kind *br_beat_find(uint8_t protocol, uint16_t port)
{
    for (int i = 0; i < BR_BEAT_KINDS; i++)
        if (br_beat_kind[i].protocol == protocol && br_beat_kind[i].port == port)
            return &br_beat_kind[i];
    return NULL;
}

/* What a packet is whose headers say that it may be a heartbeat; `port` of UDP, else 0. */
static enum br_class br_classify_beat(const uint8_t *data, const struct br_packet *packet, uint16_t port,
                                      const struct br_beat_ports *ports, enum br_class other)
{
    const uint64_t destination = br_mac_read(data);
    const bool to_group = br_packet_is_to_group(data, packet);
    const struct br_beat_kind *kind = br_beat_find(packet->protocol, port);
    const bool is_listed = port && br_udp_ports_has(&ports->listed, port);

    if (destination == BR_MAC_BROADCAST)
        return port && br_udp_ports_has(&ports->broadcast, port) ? BR_CLASS_heartbeat : other;
    if (to_group != br_mac_is_group(destination) || br_packet_is_to_all(data, packet))
        return other;
    if (kind && (to_group ? br_packet_is_to(data, packet, kind) : kind->to_station))
        return (enum br_class)kind->class;
    return is_listed ? BR_CLASS_heartbeat : other;
}

static enum br_class br_classify_icmpv6(const uint8_t *data, const struct br_packet *packet, enum br_class other)
{
    const uint8_t type = packet->transport < packet->end ? data[packet->transport] : 0;

    if ((type >= BR_MLD_QUERY && type <= BR_MLD_DONE) || type == BR_MLD2_REPORT)
        return BR_CLASS_igmp_mld;
    return type >= BR_ND_RS && type <= BR_ND_REDIRECT ? BR_CLASS_arp_nd : other;
}

static enum br_class br_classify_ip(const struct br_frame *frame, uint32_t at, bool is_ipv6,
                             const struct br_beat_ports *ports, enum br_class other)
{
    const uint8_t *data = frame->data;
    struct br_packet packet;

    if (!br_packet_ip(data, frame->len, at, is_ipv6, &packet) || packet.is_later)
        return other;
    switch (packet.protocol) {
    case BR_IP_UDP:
        if (packet.transport + BR_UDP_HLEN > packet.end)
            return other;
        return br_classify_beat(data, &packet, br_be16_read(data + packet.transport + 2), ports, other);
    case BR_IP_VRRP:
    case BR_IP_OSPF:
        return br_classify_beat(data, &packet, 0, ports, other);
    case BR_IP_IGMP:
        return BR_CLASS_igmp_mld;
    case BR_IP_ICMPV6:
        return br_classify_icmpv6(data, &packet, other);
    default:
        return other;
    }
}

enum br_class br_classify(const struct br_frame *frame, bool is_flooded, const struct br_beat_ports *ports,
                          enum br_class other)
{
    uint16_t type = br_frame_ethertype(frame);
    uint32_t at = BR_ETH_HLEN;

    if (is_flooded && !br_packet_unwrap(frame->data, frame->len, &type, &at))
        return other;
    if (type == BR_TYPE_IPV4 || type == BR_TYPE_IPV6)
        return br_classify_ip(frame, at, type == BR_TYPE_IPV6, ports, other);
    return type == BR_TYPE_ARP ? BR_CLASS_arp_nd : other;
}
