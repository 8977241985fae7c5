/*
 * frame/gso.h - segmentation in software, for a port that cannot take super-frames.
 *
 * Job: cut a super-frame in its final form into the wire frames it stands for, a burst at a time: TCP over IPv4 and
 *      IPv6 (RFC 9293; sequence numbers go on, FIN and PSH only on the last, CWR only on the first), and UDP over both
 *      (datagrams of gso_size). IPv4 identification counts up. All checksums are finished.
 * Buffers: each segment gets a head from the pool with copied headers; payload that does not fit there is referenced.
 *      br_gso_release gives the heads back after tx.
 * Refuses: a super-frame whose layer 3 is not what its offload metadata says (br_gso_begin is false).
 */
#ifndef BR_GSO_H
#define BR_GSO_H

#include "frame/frame.h"
#include "frame/pool.h"

enum { BR_GSO_BURST = 32 }; /* segments made at once */

struct br_gso {
    const struct br_frame *frame;
    uint32_t network;   /* offset of the IP header */
    uint32_t transport; /* offset of the TCP or UDP header */
    uint32_t payload;   /* offset of the first byte to cut */
    uint32_t next;      /* offset of the first byte not cut yet */
    uint32_t n_done;    /* segments made */
    bool is_ipv6;
    bool is_udp;
};

bool br_gso_begin(struct br_gso *gso, const struct br_frame *frame);
/* Up to cap segments; 0: all are made, or the pool has no head left. */
uint32_t br_gso_next(struct br_gso *gso, struct br_pool *pool, struct br_frame *segment, uint32_t cap);
void br_gso_release(struct br_pool *pool, const struct br_frame *segment, uint32_t n);

#endif
