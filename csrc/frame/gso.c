/* frame/gso.c - see frame/gso.h. */
#include "frame/gso.h"

#include <string.h>

#include "frame/packet.h"
#include "frame/vlan.h"
#include "frame/vnet.h"

enum {
    BR_TCP_FIN = 0x01,
    BR_TCP_PSH = 0x08,
    BR_TCP_CWR = 0x80,
    BR_IPV4_HLEN_MAX = 60,
    BR_GRE_HLEN = 4,      /* flags and version, protocol type; then 4 bytes each for checksum, key, sequence number */
    BR_GRE_CSUM = 0x8000,
    BR_GRE_KEY = 0x2000,
    BR_GRE_OTHERS = 0x5fff, /* routing, sequence number, recursion, version: not cut */
    BR_UDP_LEN_MAX = 65535, /* of IP, really: length fields have 16 bits */
    BR_GSO_HEADROOM = 32, /* a segment has its final form: room for a vnet header is enough */
};

static uint32_t br_be32_read(const uint8_t *bytes)
{
    return (uint32_t)br_be16_read(bytes) << 16 | br_be16_read(bytes + 2);
}

static void br_be32_write(uint8_t *bytes, uint32_t value)
{
    br_be16_write(bytes, (uint16_t)(value >> 16));
    br_be16_write(bytes + 2, (uint16_t)value);
}

static bool br_gso_add(struct br_gso *gso, enum br_gso_kind kind, uint32_t at, bool has_csum)
{
    if (gso->n_layers == BR_GSO_LAYERS || (gso->transport - at) % 2) /* sums are of 16-bit words from each layer on */
        return false;
    gso->layer[gso->n_layers++] = (struct br_gso_layer){.at = (uint16_t)at, .kind = kind, .has_csum = has_csum};
    return true;
}

static uint8_t br_gso_protocol(const struct br_gso *gso)
{
    return gso->is_udp ? BR_IP_UDP : BR_IP_TCP;
}

/* Whether the inner IP header is at `at`: its length ends where the frame does. */
static bool br_gso_is_ip(const struct br_gso *gso, uint32_t at, bool is_ipv6)
{
    const uint8_t *ip = gso->frame->data + at;
    const uint32_t rest = br_frame_len(gso->frame) - at;

    if (is_ipv6)
        return ip[0] >> 4 == 6 && ip[6] == br_gso_protocol(gso) && br_be16_read(ip + 4) == rest - BR_IPV6_HLEN;
    return ip[0] == (0x40 | (gso->transport - at) / 4) && ip[9] == br_gso_protocol(gso) && br_be16_read(ip + 2) == rest;
}

/* The IP header right in front of the segment, at `from` or behind it; 0: there is none. */
static uint32_t br_gso_inner(const struct br_gso *gso, uint32_t from, bool *is_ipv6)
{
    *is_ipv6 = from + BR_IPV6_HLEN <= gso->transport && br_gso_is_ip(gso, gso->transport - BR_IPV6_HLEN, true);
    if (*is_ipv6)
        return gso->transport - BR_IPV6_HLEN;
    for (uint32_t len = BR_IPV4_HLEN; len <= BR_IPV4_HLEN_MAX && from + len <= gso->transport; len += 4)
        if (br_gso_is_ip(gso, gso->transport - len, false))
            return gso->transport - len;
    return 0;
}

/* A GRE header at `at`; where what it carries begins, or 0. */
static uint32_t br_gso_gre(struct br_gso *gso, uint32_t at)
{
    const uint16_t flags = br_be16_read(gso->frame->data + at);
    const uint32_t end = at + BR_GRE_HLEN + (flags & BR_GRE_CSUM ? 4 : 0) + (flags & BR_GRE_KEY ? 4 : 0);

    if (flags & BR_GRE_OTHERS || end > gso->transport || !br_gso_add(gso, BR_GSO_LAYER_GRE, at, flags & BR_GRE_CSUM))
        return 0;
    return end;
}

static uint32_t br_gso_udp(struct br_gso *gso, uint32_t at)
{
    const uint32_t end = at + BR_UDP_HLEN;

    if (end > gso->transport ||
        !br_gso_add(gso, BR_GSO_LAYER_UDP, at, br_be16_read(gso->frame->data + at + BR_UDP_CSUM) != 0))
        return 0;
    return end;
}

/* From one IP header to the next one, which is inside a tunnel; 0: none that is known leads on. */
static uint32_t br_gso_into_tunnel(struct br_gso *gso, const struct br_packet *packet, bool *is_ipv6)
{
    uint32_t from = 0;

    switch (packet->protocol) {
    case BR_IP_IPV4:
    case BR_IP_IPV6:
        *is_ipv6 = packet->protocol == BR_IP_IPV6;
        return packet->transport;
    case BR_IP_UDP:
        from = br_gso_udp(gso, packet->transport);
        break;
    case BR_IP_GRE:
        from = br_gso_gre(gso, packet->transport);
        break;
    }
    return from ? br_gso_inner(gso, from, is_ipv6) : 0;
}

/* One UDP tunnel with a checksum, and nothing else around the segments. */
static uint32_t br_gso_datagram(const struct br_gso *gso)
{
    const bool is_one = gso->n_layers == 3 && gso->layer[1].kind == BR_GSO_LAYER_UDP && gso->layer[1].has_csum;

    return gso->uso && is_one ? gso->layer[1].at + BR_UDP_HLEN : 0;
}

bool br_gso_begin(struct br_gso *gso, const struct br_frame *frame, bool open, bool uso)
{
    struct br_packet packet;

    *gso = (struct br_gso){
        .frame = frame,
        .transport = frame->vnet.csum_start,
        .payload = frame->vnet.hdr_len,
        .next = frame->vnet.hdr_len,
        .is_udp = (frame->vnet.gso_type & ~BR_GSO_ECN) == BR_GSO_UDP,
        .open = open,
        .uso = uso,
    };
    br_packet_walk(frame->data, gso->transport, &packet);
    bool is_ipv6 = packet.type == BR_TYPE_IPV6;
    if (!is_ipv6 && packet.type != BR_TYPE_IPV4)
        return false;
    for (uint32_t at = packet.network; at; at = br_gso_into_tunnel(gso, &packet, &is_ipv6)) {
        if (!br_packet_ip(frame->data, gso->transport, at, is_ipv6, &packet) || packet.is_fragment ||
            !br_gso_add(gso, is_ipv6 ? BR_GSO_LAYER_IPV6 : BR_GSO_LAYER_IPV4, at, false))
            return false;
        if (packet.transport == gso->transport) {
            gso->datagram = br_gso_datagram(gso);
            return packet.protocol == br_gso_protocol(gso);
        }
    }
    return false;
}

/*
 * Add len payload bytes at offset `at` of the super-frame. Bytes from its head are copied if they fit behind the
 * headers; otherwise, and from its tail, they are referenced. Only a head with a tail behind it is crossed, and that
 * one fits.
 */
static void br_gso_payload(const struct br_gso *gso, struct br_frame *segment, uint32_t at, uint32_t len)
{
    const struct br_frame *frame = gso->frame;
    const uint32_t in_head = at >= frame->len ? 0 : len < frame->len - at ? len : frame->len - at;

    if (in_head == len && segment->len + len > BR_HEAD_CAP - BR_GSO_HEADROOM) {
        segment->tail = frame->data + at;
        segment->tail_len = len;
        return;
    }
    memcpy(segment->data + segment->len, frame->data + at, in_head);
    segment->len += in_head;
    segment->tail_len = len - in_head;
    segment->tail = segment->tail_len ? frame->tail + (at + in_head - frame->len) : NULL;
}

static void br_gso_edit_ipv4(const struct br_gso *gso, uint8_t *ip, uint32_t len)
{
    br_be16_write(ip + 2, (uint16_t)len);
    br_be16_write(ip + 4, (uint16_t)(br_be16_read(ip + 4) + gso->n_done));
    br_be16_write(ip + 10, 0);
    const uint16_t csum = (uint16_t)~br_csum_fold(br_csum_add(0, ip, (ip[0] & 0xfu) * 4));
    memcpy(ip + 10, &csum, sizeof(csum));
}

/* What each layer says of its length, and the header checksums of IPv4. */
static void br_gso_edit_layers(const struct br_gso *gso, struct br_frame *segment)
{
    for (uint32_t i = 0; i < gso->n_layers; i++) {
        uint8_t *header = segment->data + gso->layer[i].at;
        const uint32_t len = br_frame_len(segment) - gso->layer[i].at;

        switch ((enum br_gso_kind)gso->layer[i].kind) {
        case BR_GSO_LAYER_IPV4:
            br_gso_edit_ipv4(gso, header, len);
            break;
        case BR_GSO_LAYER_IPV6:
            br_be16_write(header + 4, (uint16_t)(len - BR_IPV6_HLEN));
            break;
        case BR_GSO_LAYER_UDP:
            br_be16_write(header + 4, (uint16_t)len);
            break;
        case BR_GSO_LAYER_GRE:
            break;
        }
    }
}

static void br_gso_edit_tcp(const struct br_gso *gso, struct br_frame *segment, bool is_last)
{
    uint8_t *tcp = segment->data + gso->transport;

    br_be32_write(tcp + 4, br_be32_read(tcp + 4) + gso->next - gso->payload);
    if (!is_last)
        tcp[13] &= (uint8_t)~(BR_TCP_FIN | BR_TCP_PSH);
    if (gso->n_done)
        tcp[13] &= (uint8_t)~BR_TCP_CWR;
}

/* Sum of the pseudo-header (RFC 9293 3.1, RFC 768, RFC 8200 8.1) of what is `len` bytes behind an IP header. */
static uint16_t br_gso_pseudo(const struct br_frame *segment, const struct br_gso_layer *ip, uint8_t protocol, uint32_t len)
{
    const bool is_ipv6 = ip->kind == BR_GSO_LAYER_IPV6;
    const uint32_t addresses_len = is_ipv6 ? 32 : 8;
    uint8_t pseudo[40] = {0};

    memcpy(pseudo, segment->data + ip->at + (is_ipv6 ? 8 : 12), addresses_len);
    br_be32_write(pseudo + addresses_len, len);
    br_be32_write(pseudo + addresses_len + 4, protocol);
    return br_csum_fold(br_csum_add(0, pseudo, addresses_len + 8));
}

/*
 * A checksum of an outer layer, over all that follows. What begins at csum_start sums up to the complement of its
 * pseudo-header once its own checksum is finished, wherever that happens, so the payload need not be read for it.
 */
static void br_gso_edit_outer_csum(const struct br_gso *gso, struct br_frame *segment, uint32_t i, uint16_t inner)
{
    const struct br_gso_layer *layer = &gso->layer[i];
    const bool is_udp = layer->kind == BR_GSO_LAYER_UDP;
    uint8_t *header = segment->data + layer->at;
    uint8_t *field = header + (is_udp ? BR_UDP_CSUM : BR_GRE_HLEN);
    const uint32_t len = br_frame_len(segment) - layer->at;

    memset(field, 0, 2);
    uint64_t sum = br_csum_add((uint16_t)~inner, header, gso->transport - layer->at);
    if (is_udp) /* its IP header is the layer before */
        sum += br_gso_pseudo(segment, layer - 1, BR_IP_UDP, len);
    const uint16_t csum = (uint16_t)~br_csum_fold(sum);
    const uint16_t stored = csum || !is_udp ? csum : 0xffff;
    memcpy(field, &stored, sizeof(stored));
}

/* The pseudo-header where the checksum will be; then the outer ones, from the innermost on; then that over all. */
static void br_gso_edit_csums(const struct br_gso *gso, struct br_frame *segment)
{
    const uint16_t inner = br_gso_pseudo(segment, &gso->layer[gso->n_layers - 1], br_gso_protocol(gso),
                                         br_frame_len(segment) - gso->transport);

    segment->vnet = (struct br_vnet){
        .needs_csum = 1,
        .csum_start = (uint16_t)gso->transport,
        .csum_offset = gso->is_udp ? BR_UDP_CSUM : BR_TCP_CSUM,
    };
    memcpy(segment->data + gso->transport + segment->vnet.csum_offset, &inner, sizeof(inner));
    for (uint32_t i = gso->n_layers; i-- > 0;)
        if (gso->layer[i].has_csum)
            br_gso_edit_outer_csum(gso, segment, i, inner);
    if (!gso->open)
        br_vnet_finish_csum(segment);
}

/* A copy of the headers and len bytes of payload behind them: what differs from one segment to the next. */
static void br_gso_edit(const struct br_gso *gso, struct br_frame *segment, uint32_t len)
{
    br_gso_edit_layers(gso, segment);
    if (gso->is_udp)
        br_be16_write(segment->data + gso->transport + 4, (uint16_t)(br_frame_len(segment) - gso->transport));
    else
        br_gso_edit_tcp(gso, segment, gso->next + len == br_frame_len(gso->frame));
    br_gso_edit_csums(gso, segment);
}

static void br_gso_make(const struct br_gso *gso, struct br_frame *segment, uint8_t *head, uint32_t len)
{
    *segment = (struct br_frame){
        .data = head + BR_GSO_HEADROOM,
        .len = gso->payload,
        .headroom = BR_GSO_HEADROOM,
        .segments = 1,
    };
    memcpy(segment->data, gso->frame->data, gso->payload);
    br_gso_payload(gso, segment, gso->next, len);
    br_gso_edit(gso, segment, len);
    br_frame_pad(segment);
}

/* Payload bytes of the next segment. */
static uint32_t br_gso_next_len(const struct br_gso *gso)
{
    const uint32_t left = br_frame_len(gso->frame) - gso->next;

    return left < gso->frame->vnet.gso_size ? left : gso->frame->vnet.gso_size;
}

uint32_t br_gso_next(struct br_gso *gso, struct br_pool *pool, struct br_frame *segment, uint32_t cap)
{
    const uint32_t total = br_frame_len(gso->frame);
    uint32_t n = 0;

    for (; n < cap && gso->next < total; n++, gso->n_done++) {
        const uint32_t len = br_gso_next_len(gso);
        uint8_t *head = br_stack_get(&pool->heads);

        if (!head)
            break;
        br_gso_make(gso, &segment[n], head, len);
        gso->next += len;
    }
    return n;
}

void br_gso_release(struct br_pool *pool, const struct br_frame *segment, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        br_stack_put(&pool->heads, segment[i].data - segment[i].headroom);
}

/* ---- datagrams --------------------------------------------------------------------------------------------------- */

/* Copy len bytes at offset `at` of the super-frame. */
static void br_gso_copy(const struct br_frame *frame, uint8_t *to, uint32_t at, uint32_t len)
{
    const uint32_t in_head = at >= frame->len ? 0 : len < frame->len - at ? len : frame->len - at;

    memcpy(to, frame->data + at, in_head);
    if (len > in_head)
        memcpy(to + in_head, frame->tail + (at + in_head - frame->len), len - in_head);
}

/* The payload of n datagrams, inner checksums finished, from `to` on; where it ends. Outer headers are not written. */
static uint8_t *br_gso_fill(struct br_gso *gso, uint8_t *to, uint32_t n)
{
    const uint32_t at = gso->datagram;
    struct br_gso inner = *gso;

    inner.layer[0] = gso->layer[2];
    inner.n_layers = 1;
    inner.open = false;
    for (uint32_t i = 0; i < n; i++, inner.n_done++) {
        const uint32_t len = br_gso_next_len(&inner);
        struct br_frame piece = {.data = to - at, .len = gso->payload + len};

        memcpy(to, gso->frame->data + at, gso->payload - at);
        br_gso_copy(gso->frame, piece.data + gso->payload, inner.next, len);
        br_gso_edit(&inner, &piece, len);
        inner.next += len;
        to += piece.len - at;
    }
    gso->next = inner.next;
    return to;
}

/* Lengths of the whole, and the pseudo-header where the checksum of each datagram will be. */
static void br_gso_edit_datagrams(const struct br_gso *gso, struct br_frame *super, uint32_t unit)
{
    const uint32_t at = gso->layer[1].at;
    struct br_gso outer = *gso;

    outer.n_layers = 2;
    br_gso_edit_layers(&outer, super);
    const uint16_t pseudo = br_gso_pseudo(super, &gso->layer[0], BR_IP_UDP, br_frame_len(super) - at);
    memcpy(super->data + at + BR_UDP_CSUM, &pseudo, sizeof(pseudo));
    super->vnet = (struct br_vnet){
        .needs_csum = 1,
        .gso_type = BR_GSO_UDP,
        .hdr_len = (uint16_t)(at + BR_UDP_HLEN),
        .gso_size = (uint16_t)unit,
        .csum_start = (uint16_t)at,
        .csum_offset = BR_UDP_CSUM,
    };
}

uint32_t br_gso_datagrams(struct br_gso *gso, struct br_pool *pool, struct br_frame *super)
{
    const uint32_t at = gso->datagram; /* the buffer begins so far before the payload, for headers that stay outside */
    const uint32_t gso_size = gso->frame->vnet.gso_size;
    const uint32_t unit = gso->payload - at + gso_size;
    const uint32_t most = (BR_UDP_LEN_MAX - at) / unit;
    const uint32_t left = (br_frame_len(gso->frame) - gso->next + gso_size - 1) / gso_size;
    const uint32_t n = left < most ? left : most;

    if (!at || n < 2 || !pool->heads.n || !pool->tails.n)
        return 0;
    uint8_t *head = br_stack_get(&pool->heads);
    uint8_t *tail = br_stack_get(&pool->tails);
    *super = (struct br_frame){
        .data = head + BR_GSO_HEADROOM,
        .len = at,
        .headroom = BR_GSO_HEADROOM,
        .tail = tail + at,
        .segments = (uint16_t)n,
    };
    memcpy(super->data, gso->frame->data, at);
    super->tail_len = (uint32_t)(br_gso_fill(gso, super->tail, n) - super->tail);
    br_gso_edit_datagrams(gso, super, unit);
    gso->n_done += n;
    return n;
}

void br_gso_release_datagrams(struct br_pool *pool, const struct br_frame *super)
{
    br_stack_put(&pool->tails, super->tail - super->len);
    br_stack_put(&pool->heads, super->data - super->headroom);
}
