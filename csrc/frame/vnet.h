/*
 * frame/vnet.h - checksums and segmentation that travel with the frame.
 *
 * Job: judge vnet metadata once at ingress (br_vnet_admit), say what it means for lengths, and finish a checksum
 *      in software for a port that cannot carry the request. Values as in virtio 1.2, 5.1.6.2; the kernel side is
 *      include/linux/virtio_net.h (virtio_net_hdr_to_skb, virtio_net_hdr_from_skb).
 * Refuses: metadata that contradicts the frame, and a super-frame that would make more work than its bytes justify: for
 *      each wire frame it stands for it must have BR_SEGMENT_MIN bytes, and a BR_SEGMENT_HEADERS-th of the headers that
 *      are repeated, and it stands for BR_SEGMENTS_MAX at most. So gso_size has a floor; with a gso_size of 1 64 KB
 *      would be 65,000 wire frames, cut by us or, inside our send call, by the kernel. What passes is safe to hand to
 *      any port with `vnet`, but for a super-frame marked BR_FRAME_INNER.
 * Inner: a packet socket reports a super-frame in a tunnel (VXLAN, GRE, ...) as plain TCP with csum_start at the inner
 *      header, which the kernel does not take back: EINVAL from a packet socket, a silent drop behind a tap. So
 *      csum_start must be where the frame's own headers lead to, or the frame is cut for every port (frame/gso.h).
 * The floor is what stacks make: RFC 9293 (3.7.1) assumes an MSS of 536; an IPv6 link with the least MTU gives 1220;
 *      FreeBSD takes no MSS below 216 (net.inet.tcp.minmss); Linux none below 48 (net.ipv4.tcp_min_snd_mss), of which
 *      timestamps leave 36. Only with selective acknowledgements beside data on such a path can Linux make less. 64 KB
 *      in more than 512 segments needs an MSS below 128 and a peer with a window for them; of datagrams Linux sends 128
 *      at once (UDP_MAX_SEGMENTS). And no queue takes thousands at once: netdev_max_backlog and a qdisc have 1000.
 */
#ifndef BR_VNET_H
#define BR_VNET_H

#include <string.h>

#include "frame/frame.h"
#include "frame/vlan.h"

/* struct virtio_net_hdr as tap and packet sockets use it on a machine of either endianness: host order. */
struct br_vnet_hdr {
    uint8_t flags;
    uint8_t gso_type;
    uint16_t hdr_len;
    uint16_t gso_size;
    uint16_t csum_start;
    uint16_t csum_offset;
};

enum {
    BR_VNET_HLEN = 10,
    BR_VNET_NEEDS_CSUM = 1,
    BR_GSO_NONE = 0,
    BR_GSO_TCP4 = 1,
    BR_GSO_TCP6 = 4,
    BR_GSO_UDP = 5, /* VIRTIO_NET_HDR_GSO_UDP_L4: datagrams cut to gso_size, not IP fragments */
    BR_GSO_ECN = 0x80,
    BR_TCP_HLEN = 20,
    BR_TCP_CSUM = 16,
    BR_UDP_HLEN = 8,
    BR_UDP_CSUM = 6,
    BR_SCTP_CSUM = 8, /* RFC 9260 section 3.1; no Internet checksum is there */
    BR_SEGMENTS_MAX = 512,
    BR_SEGMENT_MIN = 36,
    BR_SEGMENT_HEADERS = 4,
};

static_assert(sizeof(struct br_vnet_hdr) == BR_VNET_HLEN, "the header has no padding");

static inline struct br_vnet br_vnet_read(const uint8_t *bytes)
{
    struct br_vnet_hdr hdr;

    memcpy(&hdr, bytes, sizeof(hdr));
    if (!(hdr.flags & BR_VNET_NEEDS_CSUM) && hdr.gso_type == BR_GSO_NONE)
        return (struct br_vnet){0};
    return (struct br_vnet){
        .needs_csum = hdr.flags & BR_VNET_NEEDS_CSUM,
        .gso_type = hdr.gso_type,
        .hdr_len = hdr.hdr_len,
        .gso_size = hdr.gso_size,
        .csum_start = hdr.csum_start,
        .csum_offset = hdr.csum_offset,
    };
}

static inline void br_vnet_write(uint8_t *bytes, const struct br_vnet *vnet)
{
    const struct br_vnet_hdr hdr = {
        .flags = vnet->needs_csum ? BR_VNET_NEEDS_CSUM : 0,
        .gso_type = vnet->gso_type,
        .hdr_len = vnet->hdr_len,
        .gso_size = vnet->gso_size,
        .csum_start = vnet->csum_start,
        .csum_offset = vnet->csum_offset,
    };

    memcpy(bytes, &hdr, sizeof(hdr));
}

/* True for the common frame: nothing asked, nothing to check. */
static inline bool br_vnet_none(const struct br_vnet *vnet)
{
    return !(vnet->needs_csum | vnet->gso_type);
}

/*
 * Check the metadata of a canonical frame, if it has any, against its bytes; sets `segments` of a super-frame, and
 * hdr_len to the true end of its layer-4 header, and marks an inner one. False: contradiction.
 */
bool br_vnet_admit(struct br_frame *frame);

/*
 * Finish a checksum that is no Internet checksum: the CRC32c of SCTP, of which the metadata says nothing but its place.
 * Whoever finishes it as if it were one breaks the packet, which is what the kernel does with what a packet socket
 * sends. So it is done at ingress, once for all ports. True: it was one, and nothing is asked any more.
 */
bool br_vnet_finish_crc(struct br_frame *frame);

/* One's-complement sum, RFC 1071, of bytes that start at an even offset of the whole; folded, it is stored as it is. */
uint64_t br_csum_add(uint64_t sum, const uint8_t *bytes, uint32_t len);
uint16_t br_csum_fold(uint64_t sum);

/* Write the checksum into the frame and clear the request; the frame is no super-frame. */
void br_vnet_finish_csum(struct br_frame *frame);

/* Layer-3 length of a canonical frame, of its longest segment if it is a super-frame. Only after br_vnet_admit. */
static inline uint32_t br_frame_l3_len(const struct br_frame *frame)
{
    const uint32_t len = br_frame_len(frame) - BR_ETH_HLEN;

    if (!br_frame_is_super(frame))
        return len;
    const uint32_t segment = frame->vnet.hdr_len - BR_ETH_HLEN + (uint32_t)frame->vnet.gso_size;
    return segment < len ? segment : len;
}

#endif
