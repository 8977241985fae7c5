/*
 * frame/frame.h - the frame descriptor: what every stage and every port works on.
 *
 * A frame inside the bridge is canonical: its outer tag, if it had one, is beside it in `tci`, not in the bytes. Ports
 * may deliver a tag either way (AF_PACKET takes it out, see net/packet/af_packet.c:tpacket_rcv; a tap leaves it in);
 * admit makes the frame canonical, edit gives it the form its egress port wants.
 *
 *      head                                            tail (or NULL)
 *      [ headroom | data ............ len | room ]     [ tail_len ]
 *
 * A super-frame is either one long head (a tap reads it that way) or a head of at most BR_HEAD_LEN bytes and a tail (a
 * link fetches what its slot did not hold); admit may put a tag back into that head. Both are written in one system
 * call; neither is ever copied.
 *
 * Ownership: descriptor and bytes belong to the port (or pool) that delivered them until the batch is released. Nothing
 * outlives a batch, so a flood can hand out the same descriptor many times.
 * Invariants: BR_FRAME_ROOM bytes are writable from where a port delivers `data`; all headers up to layer 4 of a super-frame are in the first
 *      BR_HEAD_LEN bytes of the head; csum_start and hdr_len count from `data`, and whoever moves `data` moves them.
 */
#ifndef BR_FRAME_H
#define BR_FRAME_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum {
    BR_ETH_HLEN = 14,         /* two addresses and the EtherType; IEEE 802.3 clause 3.1.1 */
    BR_ETH_ALEN = 6,
    BR_TAG_LEN = 4,           /* TPID and TCI; IEEE 802.1Q clause 9.3 */
    BR_FRAME_MIN = 60,        /* 64 on the wire less the FCS; IEEE 802.3 clause 4A.4.2 */
    BR_FRAME_ROOM = BR_FRAME_MIN + 2 * BR_TAG_LEN, /* padding goes behind what two tags left when they were taken out */
    BR_HEADROOM = 64,         /* what the pool leaves in front: a tag, a vnet header, and alignment */
    BR_HEAD_CAP = 2048,       /* one head buffer: headroom and every frame of a 1500-byte LAN */
    BR_HEAD_LEN = BR_HEAD_CAP - BR_HEADROOM, /* so much of a frame */
    BR_TAIL_CAP = 65536 + 64, /* what a super-frame has beyond its head buffer, at most */
    BR_BURST_MAX = 256,
};

/* Offload metadata as struct virtio_net_hdr has it (virtio 1.2, 5.1.6), in host order. gso_type 0: one wire frame. */
struct br_vnet {
    uint8_t needs_csum;
    uint8_t gso_type;
    uint16_t hdr_len;
    uint16_t gso_size;
    uint16_t csum_start;
    uint16_t csum_offset;
};

/* Set once at the port, in admit or by learning; read downstream. */
enum br_frame_flag {
    BR_FRAME_TAG_BESIDE = 1 << 0, /* tpid and tci are valid: the port took the outer tag out */
    BR_FRAME_WAS_TAGGED = 1 << 1, /* the outer tag was the port's own and is now in tci */
    BR_FRAME_FLOOD = 1 << 2,
    BR_FRAME_TRUNCATED = 1 << 3,  /* the port could not deliver all of it; admit drops it */
    BR_FRAME_WAS_DOUBLE = 1 << 4, /* a second tag was part of the VLAN's wire form, too, and is gone */
    BR_FRAME_INNER = 1 << 5,      /* a super-frame whose csum_start is not behind its own IP header: no port takes it whole */
};

/* What became of a frame. */
enum br_outcome {
    BR_OUTCOME_REFUSED,   /* by admit; the first, as ports deliver it */
    BR_OUTCOME_DROPPED,   /* after admit, without an egress port */
    BR_OUTCOME_UNSENT,    /* refused at its egress port */
    BR_OUTCOME_FORWARDED, /* one copy queued */
    BR_OUTCOME_CUT,       /* one copy queued, and segmented in software */
    BR_OUTCOME_FLOODED,
    BR_OUTCOMES,
};

struct br_frame {
    uint8_t *data;
    uint8_t *tail;
    uint32_t len;      /* bytes in the head, from data */
    uint32_t tail_len;
    uint16_t headroom; /* writable bytes in front of data */
    uint16_t tpid;     /* host order; with BR_FRAME_TAG_BESIDE as received */
    uint16_t tci;      /* PCP, DEI, VID */
    uint16_t segments; /* wire frames this one stands for, at least 1 */
    union {
        struct {
            uint16_t vid;     /* after admit: the VLAN the frame is in */
            uint16_t ingress; /* port index */
            uint16_t egress;  /* after lookup: port index, unless BR_FRAME_FLOOD */
            uint8_t class;    /* enum br_class; after lookup, or when it was dropped */
            uint8_t outcome;  /* enum br_outcome */
        };
        uint64_t account; /* frames that have this in common cost the same but for their bytes */
    };
    struct br_vnet vnet;
    uint8_t flags;
    uint8_t flood_class;
    uint16_t origin; /* of a flooded frame and its copies: its place in the batch */
    uint32_t rx_len; /* bytes as it came in, its tag included */
    uint8_t reason;  /* enum br_drop of the last to drop or refuse it */
    uint8_t spare[3];
};

static_assert(sizeof(struct br_frame) == 64, "a frame descriptor is one cache line");

#define BR_LIKELY(condition) __builtin_expect(!!(condition), 1)

/* Length of the frame as it stands, head and tail. */
static inline uint32_t br_frame_len(const struct br_frame *frame)
{
    return frame->len + frame->tail_len;
}

/* Length of a frame as it was on the wire, while a tag may still be beside it. */
static inline uint32_t br_frame_rx_len(const struct br_frame *frame)
{
    return br_frame_len(frame) + (frame->flags & BR_FRAME_TAG_BESIDE ? BR_TAG_LEN : 0);
}

static inline bool br_frame_is_super(const struct br_frame *frame)
{
    return frame->vnet.gso_type != 0;
}

/* Of enum br_flood_class, the bit of this frame's; 0: it is not flooded. After lookup. */
static inline uint8_t br_frame_floods(const struct br_frame *frame)
{
    return frame->flags & BR_FRAME_FLOOD ? (uint8_t)(1u << frame->flood_class) : 0;
}

/* Pad to what may leave (R1). Zeros behind a super-frame would become payload of its segments. */
static inline void br_frame_pad(struct br_frame *frame)
{
    if (br_frame_len(frame) >= BR_FRAME_MIN || br_frame_is_super(frame))
        return;
    if (frame->tail_len) { /* the last bytes of a segmented super-frame: the zeros belong behind them */
        memcpy(frame->data + frame->len, frame->tail, frame->tail_len);
        frame->len += frame->tail_len;
        frame->tail_len = 0;
    }
    for (uint32_t i = frame->len; i < BR_FRAME_MIN; i++)
        frame->data[i] = 0;
    frame->len = BR_FRAME_MIN;
}

#endif
