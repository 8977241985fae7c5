/* frame/vnet.c - see frame/vnet.h. */
#include "frame/vnet.h"

#include "frame/crc32c.h"
#include "frame/packet.h"

/* End of the layer-4 header of a super-frame, `room` bytes of which lie at `data`; 0: the metadata makes no sense. */
static uint32_t br_vnet_header_end(const struct br_frame *frame, uint32_t room)
{
    const struct br_vnet *vnet = &frame->vnet;
    const uint32_t start = vnet->csum_start;

    switch (vnet->gso_type & ~BR_GSO_ECN) {
    case BR_GSO_TCP4:
    case BR_GSO_TCP6: {
        if (vnet->csum_offset != BR_TCP_CSUM || start + BR_TCP_HLEN > room)
            return 0;
        const uint32_t header_len = (uint32_t)(frame->data[start + 12] >> 4) * 4; /* RFC 9293 3.1, data offset */
        return header_len < BR_TCP_HLEN ? 0 : start + header_len;
    }
    case BR_GSO_UDP:
        return vnet->csum_offset != BR_UDP_CSUM ? 0 : start + BR_UDP_HLEN;
    default:
        return 0;
    }
}

/* Whether the segments are those of the frame's own IP header, as a device takes them, and not of one in a tunnel. */
static bool br_vnet_is_own(const struct br_frame *frame, uint32_t room)
{
    const bool is_udp = (frame->vnet.gso_type & ~BR_GSO_ECN) == BR_GSO_UDP;
    const bool is_tcp6 = (frame->vnet.gso_type & ~BR_GSO_ECN) == BR_GSO_TCP6;
    struct br_packet packet;

    return br_packet_walk(frame->data, room, &packet) && packet.transport == frame->vnet.csum_start &&
           !packet.is_fragment && packet.protocol == (is_udp ? BR_IP_UDP : BR_IP_TCP) &&
           (is_udp || packet.type == (is_tcp6 ? BR_TYPE_IPV6 : BR_TYPE_IPV4));
}

/* Bytes that a super-frame must have for each wire frame it stands for (frame/vnet.h). */
static uint32_t br_vnet_segment_min(uint32_t header_end)
{
    return header_end / BR_SEGMENT_HEADERS > BR_SEGMENT_MIN ? header_end / BR_SEGMENT_HEADERS : BR_SEGMENT_MIN;
}

bool br_vnet_admit(struct br_frame *frame)
{
    struct br_vnet *vnet = &frame->vnet;
    const uint32_t room = frame->len < BR_HEAD_LEN ? frame->len : BR_HEAD_LEN; /* headers are copied, into one head */

    if (!vnet->needs_csum || vnet->csum_start < BR_ETH_HLEN ||
        (uint32_t)vnet->csum_start + vnet->csum_offset + 2 > room)
        return false;
    if (!br_frame_is_super(frame)) {
        vnet->hdr_len = 0; /* says nothing here, and beyond the frame the kernel takes it for an error */
        return true;
    }
    const uint32_t header_end = br_vnet_header_end(frame, room);
    const uint32_t total = br_frame_len(frame);
    if (!header_end || header_end > room || header_end >= total || !vnet->gso_size)
        return false;
    const uint32_t n_segments = (total - header_end + vnet->gso_size - 1) / vnet->gso_size;
    if (n_segments > BR_SEGMENTS_MAX || n_segments * br_vnet_segment_min(header_end) > total)
        return false;
    frame->segments = (uint16_t)n_segments;
    vnet->hdr_len = (uint16_t)header_end;
    if (!br_vnet_is_own(frame, room))
        frame->flags |= BR_FRAME_INNER;
    return true;
}

/* Bytes of the packet whose end, padding aside, is `end` in the head; one that goes on in the tail has no padding. */
static uint32_t br_vnet_crc(const struct br_frame *frame, uint32_t start, uint32_t end)
{
    const uint32_t crc = br_crc32c_add(BR_CRC32C_BEGIN, frame->data + start, end - start);

    return ~br_crc32c_add(crc, frame->tail, frame->tail_len);
}

bool br_vnet_finish_crc(struct br_frame *frame)
{
    struct br_vnet *vnet = &frame->vnet;
    struct br_packet packet;

    if (BR_LIKELY(vnet->csum_offset != BR_SCTP_CSUM) || br_frame_is_super(frame) ||
        !br_packet_walk(frame->data, frame->len, &packet) || packet.transport != vnet->csum_start ||
        packet.protocol != BR_IP_SCTP || packet.is_fragment || packet.end < packet.transport + BR_SCTP_CSUM + 4)
        return false;
    uint8_t *field = frame->data + packet.transport + BR_SCTP_CSUM;
    memset(field, 0, 4);
    const uint32_t crc = br_vnet_crc(frame, packet.transport, packet.end);
    for (int i = 0; i < 4; i++)
        field[i] = (uint8_t)(crc >> 8 * i);
    *vnet = (struct br_vnet){0};
    return true;
}

uint64_t br_csum_add(uint64_t sum, const uint8_t *bytes, uint32_t len)
{
    for (; len >= 4; bytes += 4, len -= 4) {
        uint32_t word;

        memcpy(&word, bytes, sizeof(word));
        sum += word;
    }
    if (len) {
        uint8_t last[4] = {0};

        memcpy(last, bytes, len);
        uint32_t word;

        memcpy(&word, last, sizeof(word));
        sum += word;
    }
    return sum;
}

uint16_t br_csum_fold(uint64_t sum)
{
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

void br_vnet_finish_csum(struct br_frame *frame)
{
    struct br_vnet *vnet = &frame->vnet;
    uint8_t *start = frame->data + vnet->csum_start;
    const uint32_t head_len = frame->len - vnet->csum_start;
    uint64_t sum = br_csum_add(0, start, head_len);

    if (frame->tail_len) {
        uint16_t tail = br_csum_fold(br_csum_add(0, frame->tail, frame->tail_len));

        sum += head_len % 2 ? __builtin_bswap16(tail) : tail; /* RFC 1071 (2)(B): byte order independence */
    }
    const uint16_t csum = (uint16_t)~br_csum_fold(sum);
    const uint16_t stored = csum ? csum : 0xffff; /* RFC 768: zero would say "none" */
    memcpy(start + vnet->csum_offset, &stored, sizeof(stored));
    *vnet = (struct br_vnet){0};
}
