/*
 * frame/vlan.h - the outer tag: parse, pop, push. IEEE 802.1Q-2022 clause 9.
 *
 * Job: the only code that moves the two addresses of a frame. It therefore also moves csum_start and hdr_len.
 * Refuses: a push without headroom (returns false; the caller drops, it never passes the frame on as it is).
 */
#ifndef BR_VLAN_H
#define BR_VLAN_H

#include <string.h>

#include "frame/frame.h"

enum {
    BR_TPID_8021Q = 0x8100,
    BR_TPID_8021AD = 0x88a8,
    BR_VID_MASK = 0x0fff,
    BR_VID_MAX = 4094, /* 4095 is reserved, table 9-2 */
    BR_VID_RESERVED = 4095,
    BR_VLANS = 4096,
};

static inline uint16_t br_be16_read(const uint8_t *bytes)
{
    return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static inline void br_be16_write(uint8_t *bytes, uint16_t value)
{
    bytes[0] = (uint8_t)(value >> 8);
    bytes[1] = (uint8_t)value;
}

/* EtherType or length field; the frame has BR_ETH_HLEN bytes. */
static inline uint16_t br_frame_ethertype(const struct br_frame *frame)
{
    return br_be16_read(frame->data + 2 * BR_ETH_ALEN);
}

static inline void br_vnet_shift(struct br_vnet *vnet, int shift)
{
    if (vnet->needs_csum)
        vnet->csum_start = (uint16_t)(vnet->csum_start + shift);
    if (vnet->hdr_len)
        vnet->hdr_len = (uint16_t)(vnet->hdr_len + shift);
}

/* Move the two addresses by one tag. Plain words: a call of memmove would cost more than the move. */
static inline void br_addresses_move(uint8_t *to, const uint8_t *from)
{
    uint64_t first;
    uint32_t last;

    memcpy(&first, from, sizeof(first));
    memcpy(&last, from + sizeof(first), sizeof(last));
    memcpy(to, &first, sizeof(first));
    memcpy(to + sizeof(first), &last, sizeof(last));
}

/* Take the inline outer tag out of the bytes; returns its TCI. The frame has BR_ETH_HLEN + BR_TAG_LEN bytes. */
static inline uint16_t br_vlan_pop(struct br_frame *frame)
{
    const uint16_t tci = br_be16_read(frame->data + BR_ETH_HLEN);

    br_addresses_move(frame->data + BR_TAG_LEN, frame->data);
    frame->data += BR_TAG_LEN;
    frame->len -= BR_TAG_LEN;
    frame->headroom += BR_TAG_LEN;
    br_vnet_shift(&frame->vnet, -BR_TAG_LEN);
    return tci;
}

/* Put a tag in front of the EtherType; false without headroom, and the frame is as it was. */
static inline bool br_vlan_push(struct br_frame *frame, uint16_t tpid, uint16_t tci)
{
    if (__builtin_expect(frame->headroom < BR_TAG_LEN, 0))
        return false;
    br_addresses_move(frame->data - BR_TAG_LEN, frame->data);
    frame->data -= BR_TAG_LEN;
    frame->len += BR_TAG_LEN;
    frame->headroom -= BR_TAG_LEN;
    br_be16_write(frame->data + 2 * BR_ETH_ALEN, tpid);
    br_be16_write(frame->data + BR_ETH_HLEN, tci);
    br_vnet_shift(&frame->vnet, BR_TAG_LEN);
    return true;
}

#endif
