/* protect/server_guard.c - see protect/server_guard.h. */
#include "protect/server_guard.h"

#include "frame/packet.h"

enum {
    BR_ND_RA = 134,      /* RFC 4861 section 4.2 */
    BR_ND_HOP_LIMIT = 255,
    BR_UDP_LEN = 8,
    BR_DHCP_REPLY = 2,   /* RFC 2131 section 2: BOOTREPLY */
    BR_DHCP6_REPLY = 13, /* RFC 8415 section 7.3: RELAY-REPL */
};

/* Where clients and servers of a version of DHCP are, and what only a server sends to a server's port, to a relay. */
struct br_dhcp {
    uint16_t client;
    uint16_t server;
    uint8_t reply;
};

/* `is_hidden`: its headers do not end in what can be seen of it. */
static bool br_server_guard_is_ra(const uint8_t *data, const struct br_packet *packet, bool is_hidden)
{
    const uint8_t *ip = data + packet->network;

    if (packet->type != BR_TYPE_IPV6 || ip[7] != BR_ND_HOP_LIMIT || ip[8] != 0xfe || (ip[9] & 0xc0) != 0x80)
        return false;
    if (is_hidden)
        return true;
    if (packet->is_later || packet->protocol != BR_IP_ICMPV6)
        return false;
    return packet->transport >= packet->end || data[packet->transport] == BR_ND_RA;
}

static bool br_server_guard_is_dhcp(const uint8_t *data, const struct br_packet *packet, bool is_hidden)
{
    static const struct br_dhcp ipv4 = {.client = 68, .server = 67, .reply = BR_DHCP_REPLY};
    static const struct br_dhcp ipv6 = {.client = 546, .server = 547, .reply = BR_DHCP6_REPLY};
    const bool is_ipv4 = packet->type == BR_TYPE_IPV4;
    const struct br_dhcp *dhcp = is_ipv4 ? &ipv4 : &ipv6;
    const uint8_t *udp = data + packet->transport;
    const uint32_t message = packet->transport + BR_UDP_LEN;

    if (is_hidden)
        return true;
    if (packet->is_later || packet->protocol != BR_IP_UDP)
        return false;
    if (message > packet->end)
        return true;
    const uint16_t to = br_be16_read(udp + 2);
    if (to != dhcp->server)
        return to == dhcp->client;
    /* What is behind the ports of an IPv4 fragment, another one may write over: only a client may send it. */
    if (packet->is_fragment && (is_ipv4 || message == packet->end))
        return br_be16_read(udp) != dhcp->client;
    return message < packet->end && data[message] == dhcp->reply;
}

enum br_drop br_server_guard_judge(const struct br_frame *frame, uint8_t guards)
{
    const uint8_t *data = frame->data;
    struct br_packet packet;
    uint16_t type;
    uint32_t at;

    if (!br_packet_unwrap(data, frame->len, &type, &at))
        return guards & BR_GUARD_BIT_RA ? BR_DROP_ra_guard : BR_DROP_dhcp_guard;
    if (type != BR_TYPE_IPV4 && type != BR_TYPE_IPV6)
        return BR_PASS;
    const bool is_hidden = !br_packet_ip(data, frame->len, at, type == BR_TYPE_IPV6, &packet);
    if (packet.transport == 0) /* its first header is cut short or contradicts itself: no host takes it */
        return BR_PASS;
    if (guards & BR_GUARD_BIT_RA && br_server_guard_is_ra(data, &packet, is_hidden))
        return BR_DROP_ra_guard;
    if (guards & BR_GUARD_BIT_DHCP && br_server_guard_is_dhcp(data, &packet, is_hidden))
        return BR_DROP_dhcp_guard;
    return BR_PASS;
}

static void br_server_guard_refuse(struct br_batch *batch, struct br_frame *frame, enum br_drop reason)
{
    struct br_stations *stations = &batch->stations[frame - batch->frame];

    br_events_hint(batch->events, &(struct br_event){
                                      .key = stations->source,
                                      .port = frame->ingress,
                                      .old_port = UINT16_MAX,
                                      .kind = reason == BR_DROP_ra_guard ? BR_EVENT_ra_guard : BR_EVENT_dhcp_guard,
                                  });
    stations->talker = NULL; /* nobody has looked for it yet */
    br_batch_drop(batch, frame, BR_OUTCOME_REFUSED, reason);
}

void br_server_guard_police(struct br_batch *batch, uint8_t guards)
{
    uint32_t n_live = 0;

    for (uint32_t i = 0; i < batch->n_live; i++) {
        struct br_frame *frame = batch->live[i];
        const enum br_drop reason = br_server_guard_judge(frame, guards);

        if (BR_LIKELY(reason == BR_PASS))
            batch->live[n_live++] = frame;
        else
            br_server_guard_refuse(batch, frame, reason);
    }
    batch->n_live = n_live;
    batch->work.n_admitted = n_live;
}
