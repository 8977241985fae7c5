/* frame/gso.c - see frame/gso.h. */
#include "frame/gso.h"

#include <string.h>

#include "frame/vnet.h"
#include "frame/vlan.h"

enum {
    BR_IPV4_HLEN = 20, /* RFC 791 3.1: total length at 2, identification at 4, checksum at 10, addresses at 12 */
    BR_IPV6_HLEN = 40, /* RFC 8200 3: payload length at 4, addresses at 8 */
    BR_ETHERTYPE_IPV4 = 0x0800,
    BR_ETHERTYPE_IPV6 = 0x86dd,
    BR_PROTOCOL_TCP = 6,
    BR_PROTOCOL_UDP = 17,
    BR_TCP_FIN = 0x01,
    BR_TCP_PSH = 0x08,
    BR_TCP_CWR = 0x80,
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

/* Offset of the IP header behind any tags, or 0. */
static uint32_t br_gso_network(const struct br_frame *frame, uint16_t *type)
{
    uint32_t at = 2 * BR_ETH_ALEN;

    for (; at + 2 <= frame->offload.csum_start; at += BR_TAG_LEN) {
        *type = br_be16_read(frame->data + at);
        if (*type != BR_TPID_8021Q && *type != BR_TPID_8021AD)
            return at + 2;
    }
    return 0;
}

bool br_gso_begin(struct br_gso *gso, const struct br_frame *frame)
{
    uint16_t type = 0;

    *gso = (struct br_gso){
        .frame = frame,
        .network = br_gso_network(frame, &type),
        .transport = frame->offload.csum_start,
        .payload = frame->offload.hdr_len,
        .next = frame->offload.hdr_len,
        .is_ipv6 = type == BR_ETHERTYPE_IPV6,
        .is_udp = (frame->offload.gso_type & ~BR_GSO_ECN) == BR_GSO_UDP,
    };
    const uint32_t least = gso->is_ipv6 ? BR_IPV6_HLEN : BR_IPV4_HLEN;
    return gso->network && (type == BR_ETHERTYPE_IPV4 || gso->is_ipv6) && gso->network + least <= gso->transport;
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

static void br_gso_edit_ip(const struct br_gso *gso, struct br_frame *segment)
{
    uint8_t *ip = segment->data + gso->network;
    const uint32_t ip_len = br_frame_len(segment) - gso->network;

    if (gso->is_ipv6) {
        br_be16_write(ip + 4, (uint16_t)(ip_len - BR_IPV6_HLEN));
        return;
    }
    br_be16_write(ip + 2, (uint16_t)ip_len);
    br_be16_write(ip + 4, (uint16_t)(br_be16_read(ip + 4) + gso->n_done));
    br_be16_write(ip + 10, 0);
    const uint16_t csum = (uint16_t)~br_csum_fold(br_csum_add(0, ip, gso->transport - gso->network));
    memcpy(ip + 10, &csum, sizeof(csum));
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

/* The pseudo-header (RFC 9293 3.1, RFC 768, RFC 8200 8.1) where the checksum will be, then the checksum over all. */
static void br_gso_edit_csum(const struct br_gso *gso, struct br_frame *segment)
{
    const uint32_t addresses = gso->network + (gso->is_ipv6 ? 8 : 12);
    uint8_t pseudo[40] = {0};
    const uint32_t addresses_len = gso->is_ipv6 ? 32 : 8;

    memcpy(pseudo, segment->data + addresses, addresses_len);
    br_be32_write(pseudo + addresses_len, br_frame_len(segment) - gso->transport);
    br_be32_write(pseudo + addresses_len + 4, gso->is_udp ? BR_PROTOCOL_UDP : BR_PROTOCOL_TCP);
    segment->offload = (struct br_offload){
        .needs_csum = 1,
        .csum_start = (uint16_t)gso->transport,
        .csum_offset = gso->is_udp ? BR_UDP_CSUM : BR_TCP_CSUM,
    };
    const uint16_t sum = br_csum_fold(br_csum_add(0, pseudo, addresses_len + 8));
    memcpy(segment->data + gso->transport + segment->offload.csum_offset, &sum, sizeof(sum));
    br_offload_finish_csum(segment);
}

static void br_gso_make(const struct br_gso *gso, struct br_frame *segment, uint8_t *head, uint32_t len)
{
    const bool is_last = gso->next + len == br_frame_len(gso->frame);

    *segment = (struct br_frame){
        .data = head + BR_GSO_HEADROOM,
        .len = gso->payload,
        .headroom = BR_GSO_HEADROOM,
        .segments = 1,
    };
    memcpy(segment->data, gso->frame->data, gso->payload);
    br_gso_payload(gso, segment, gso->next, len);
    br_gso_edit_ip(gso, segment);
    if (gso->is_udp)
        br_be16_write(segment->data + gso->transport + 4, (uint16_t)(br_frame_len(segment) - gso->transport));
    else
        br_gso_edit_tcp(gso, segment, is_last);
    br_gso_edit_csum(gso, segment);
    br_frame_pad(segment);
}

uint32_t br_gso_next(struct br_gso *gso, struct br_pool *pool, struct br_frame *segment, uint32_t cap)
{
    const uint32_t total = br_frame_len(gso->frame);
    uint32_t n = 0;

    for (; n < cap && gso->next < total; n++, gso->n_done++) {
        const uint32_t left = total - gso->next;
        const uint32_t len = left < gso->frame->offload.gso_size ? left : gso->frame->offload.gso_size;
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
