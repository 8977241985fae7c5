/*
 * frame.h - what a test frame looks like, for the sender that builds it and the sink that recognises it.
 *
 *      | dst 6 | src 6 | tag 0 or 4 | type 2 | IPv4 20 + UDP 8 (absent in layout raw) | mark 18 | zeros |
 *      mark: magic 4, stream 2, sequence 4, stamp 8, all big-endian
 *
 * Job: layout only. IPv4 and UDP headers are there so that systems which hash or match on them behave as with real
 *      traffic; 14 + 20 + 8 + 18 = 60 bytes is the smallest frame (64 with its FCS, RFC 2544 section 9.1). Layout raw
 *      (EtherType 0x88B5, IEEE Std 802 local experimental) goes down to 32 bytes, for undersized frames.
 * Sizes count neither FCS nor the tag that the sender adds. Destination UDP port 9 is discard (RFC 863).
 * Every flow has its own addresses: host number i has MAC base + i and, in the IP header, 10.0.0.0 + low 24 bits of the MAC.
 */
#ifndef BT_FRAME_H
#define BT_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    BT_FRAME_MAGIC = 0x46421e5b,
    BT_ETH_HLEN = 14,
    BT_TAG_LEN = 4,
    BT_IP_LEN = 20,
    BT_UDP_LEN = 8,
    BT_MARK_LEN = 18,
    BT_FRAME_MIN_UDP = BT_ETH_HLEN + BT_IP_LEN + BT_UDP_LEN + BT_MARK_LEN,
    BT_FRAME_MIN_RAW = BT_ETH_HLEN + BT_MARK_LEN,
    BT_FRAME_MAX = 9216 + BT_ETH_HLEN,
    BT_IPPROTO_UDP = 17,
    BT_TYPE_IPV4 = 0x0800,
    BT_TYPE_RAW = 0x88b5,
    BT_TYPE_8021Q = 0x8100,
    BT_TYPE_8021AD = 0x88a8,
};

enum bt_layout { BT_LAYOUT_UDP, BT_LAYOUT_RAW };

/* What changes from frame to frame. */
struct bt_mark {
    uint16_t stream;
    uint32_t sequence;
    uint64_t stamp_ns;
};

struct bt_addresses {
    uint64_t dst; /* 48 bits, first byte on the wire most significant */
    uint64_t src;
    uint32_t tci; /* of the tag; ignored without one */
};

/* Bytes up to the end of UDP. */
uint32_t bt_frame_header_len(uint16_t tpid);

/* Write everything that stays the same for one size and layout into `bytes`, which holds `len` + BT_TAG_LEN. `tpid` 0: no tag. */
void bt_frame_prepare(uint8_t *bytes, uint32_t len, enum bt_layout layout, uint16_t tpid);

/* Fill in addresses, tag and IP header of a prepared frame. */
void bt_frame_address(uint8_t *bytes, enum bt_layout layout, uint16_t tpid, const struct bt_addresses *addresses);

/* Fill in the mark of a prepared frame. */
void bt_frame_mark(uint8_t *bytes, enum bt_layout layout, uint16_t tpid, const struct bt_mark *mark);

/*
 * Make the IPv4 header at `l3` and the UDP header behind it those of a buffer with `payload_len` bytes that is to be segmented
 * and checksummed further down: the UDP checksum is then that of the pseudo header (RFC 768, not complemented).
 */
void bt_frame_lengthen(uint8_t *bytes, uint32_t l3, uint32_t payload_len);

/* What the sink finds; `tag` is the outermost tag still in the bytes, 0 if none. */
struct bt_found {
    struct bt_mark mark;
    uint32_t flow; /* a hash of both addresses */
    uint32_t tag;  /* TPID << 16 | TCI */
};

/* Recognise a frame of ours in its first `len` bytes; false: it is not, or is cut too short. */
bool bt_frame_find(const uint8_t *bytes, uint32_t len, struct bt_found *found);

#endif
