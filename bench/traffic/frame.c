/*
 * frame.c - building and recognising test frames; see frame.h for the layout.
 *
 * Thread: any; works only on what it is given. Refuses nothing: callers check sizes (options.c).
 */
#include "frame.h"

#include <string.h>

static void bt_put16(uint8_t *to, uint32_t value)
{
    to[0] = (uint8_t)(value >> 8);
    to[1] = (uint8_t)value;
}

static void bt_put32(uint8_t *to, uint32_t value)
{
    bt_put16(to, value >> 16);
    bt_put16(to + 2, value);
}

static void bt_put64(uint8_t *to, uint64_t value)
{
    bt_put32(to, (uint32_t)(value >> 32));
    bt_put32(to + 4, (uint32_t)value);
}

static void bt_put_mac(uint8_t *to, uint64_t mac)
{
    bt_put16(to, (uint32_t)(mac >> 32));
    bt_put32(to + 2, (uint32_t)mac);
}

static uint32_t bt_get16(const uint8_t *from)
{
    return (uint32_t)from[0] << 8 | from[1];
}

static uint32_t bt_get32(const uint8_t *from)
{
    return bt_get16(from) << 16 | bt_get16(from + 2);
}

static uint32_t bt_l3_offset(uint16_t tpid)
{
    return BT_ETH_HLEN + (tpid ? BT_TAG_LEN : 0);
}

static uint32_t bt_mark_offset(enum bt_layout layout, uint16_t tpid)
{
    return bt_l3_offset(tpid) + (layout == BT_LAYOUT_UDP ? BT_IP_LEN + BT_UDP_LEN : 0);
}

uint32_t bt_frame_header_len(uint16_t tpid)
{
    return bt_mark_offset(BT_LAYOUT_UDP, tpid);
}

void bt_frame_prepare(uint8_t *bytes, uint32_t len, enum bt_layout layout, uint16_t tpid)
{
    uint8_t *const l3 = bytes + bt_l3_offset(tpid);
    const uint32_t l3_len = len - BT_ETH_HLEN;

    memset(bytes, 0, len + (tpid ? BT_TAG_LEN : 0));
    if (tpid)
        bt_put16(bytes + 12, tpid);
    bt_put16(l3 - 2, layout == BT_LAYOUT_UDP ? BT_TYPE_IPV4 : BT_TYPE_RAW);
    if (layout == BT_LAYOUT_UDP) {
        l3[0] = 0x45;            /* RFC 791 section 3.1: version 4, five words */
        bt_put16(l3 + 2, l3_len);
        l3[8] = 64;              /* time to live */
        l3[9] = BT_IPPROTO_UDP;  /* its checksum stays 0, "none" (RFC 768) */
        bt_put16(l3 + BT_IP_LEN, 49152);
        bt_put16(l3 + BT_IP_LEN + 2, 9);
        bt_put16(l3 + BT_IP_LEN + 4, l3_len - BT_IP_LEN);
    }
}

/* RFC 1071: the sum of the 16-bit words in bytes [from, to), on top of `sum`. */
static uint32_t bt_sum(const uint8_t *bytes, uint32_t from, uint32_t to, uint32_t sum)
{
    for (uint32_t i = from; i < to; i += 2)
        sum += bt_get16(bytes + i);
    sum = (sum & 0xffff) + (sum >> 16);
    return (sum & 0xffff) + (sum >> 16);
}

/* Over the twenty bytes of an IPv4 header whose checksum field is taken as zero. */
static uint32_t bt_ip_checksum(const uint8_t *ip)
{
    return ~bt_sum(ip, 12, BT_IP_LEN, bt_sum(ip, 0, 10, 0)) & 0xffff;
}

void bt_frame_address(uint8_t *bytes, enum bt_layout layout, uint16_t tpid, const struct bt_addresses *addresses)
{
    uint8_t *const ip = bytes + bt_l3_offset(tpid);

    bt_put_mac(bytes, addresses->dst);
    bt_put_mac(bytes + 6, addresses->src);
    if (tpid)
        bt_put16(bytes + BT_ETH_HLEN, addresses->tci);
    if (layout == BT_LAYOUT_UDP) {
        bt_put32(ip + 12, 10u << 24 | (uint32_t)(addresses->src & 0xffffff));
        bt_put32(ip + 16, 10u << 24 | (uint32_t)(addresses->dst & 0xffffff));
        bt_put16(ip + 10, bt_ip_checksum(ip));
    }
}

void bt_frame_lengthen(uint8_t *bytes, uint32_t l3, uint32_t payload_len)
{
    uint8_t *const ip = bytes + l3;
    const uint32_t udp_len = BT_UDP_LEN + payload_len;

    bt_put16(ip + 2, BT_IP_LEN + udp_len);
    bt_put16(ip + 10, bt_ip_checksum(ip));
    bt_put16(ip + BT_IP_LEN + 4, udp_len);
    bt_put16(ip + BT_IP_LEN + 6, bt_sum(ip, 12, BT_IP_LEN, BT_IPPROTO_UDP + udp_len)); /* addresses, protocol, length */
}

void bt_frame_mark(uint8_t *bytes, enum bt_layout layout, uint16_t tpid, const struct bt_mark *mark)
{
    uint8_t *const at = bytes + bt_mark_offset(layout, tpid);

    bt_put32(at, BT_FRAME_MAGIC);
    bt_put16(at + 4, mark->stream);
    bt_put32(at + 6, mark->sequence);
    bt_put64(at + 10, mark->stamp_ns);
}

bool bt_frame_find(const uint8_t *bytes, uint32_t len, struct bt_found *found)
{
    uint32_t at = BT_ETH_HLEN;

    if (len < BT_FRAME_MIN_RAW)
        return false;
    uint32_t type = bt_get16(bytes + 12);
    found->tag = 0;
    for (int tags = 0; tags < 2 && (type == BT_TYPE_8021Q || type == BT_TYPE_8021AD) && at + BT_TAG_LEN < len; tags++) {
        if (!tags)
            found->tag = type << 16 | bt_get16(bytes + at);
        type = bt_get16(bytes + at + 2);
        at += BT_TAG_LEN;
    }
    at += type == BT_TYPE_IPV4 ? BT_IP_LEN + BT_UDP_LEN : 0;
    if ((type != BT_TYPE_IPV4 && type != BT_TYPE_RAW) || at + BT_MARK_LEN > len || bt_get32(bytes + at) != BT_FRAME_MAGIC)
        return false;
    found->mark.stream = (uint16_t)bt_get16(bytes + at + 4);
    found->mark.sequence = bt_get32(bytes + at + 6);
    found->mark.stamp_ns = (uint64_t)bt_get32(bytes + at + 10) << 32 | bt_get32(bytes + at + 14);
    found->flow = (bt_get32(bytes + 2) * 0x9e3779b1u) ^ (bt_get32(bytes + 8) * 0x85ebca6bu);
    return true;
}
