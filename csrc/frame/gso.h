/*
 * frame/gso.h - segmentation in software, for a port that cannot take super-frames, and of super-frames inside tunnels,
 * which no port takes.
 *
 * Job: cut a super-frame in its final form into the wire frames it stands for, a burst at a time: TCP over IPv4 and
 *      IPv6 (RFC 9293; sequence numbers go on, FIN and PSH only on the last, CWR only on the first), and UDP over both
 *      (datagrams of gso_size). IPv4 identification counts up. Checksums are finished, or left open for a port that
 *      can ask for them.
 * Tunnels: csum_start is that of the inner segment; in front of it may be any chain of IP in IP (RFC 2003, 4213, 2473),
 *      GRE (RFC 2784, 2890) and UDP (VXLAN, Geneve, GUE, ...). Each layer gets its lengths, its identification and, if it
 *      has one, its checksum. What a UDP or GRE tunnel has before the inner IP header (its own header, an Ethernet
 *      header) is the same in each segment; that header is found from the inner segment backwards.
 * Datagrams: the segments of a super-frame in a UDP tunnel that has a checksum are datagrams of one size, and so, for a
 *      port that takes super-frames, one super-frame of datagrams (br_gso_datagrams): the kernel sends it whole, and the
 *      host it is for takes it apart and merges the inner segments again. Costs a third of sending them one by one.
 * Buffers: each segment gets a head from the pool with copied headers; payload that does not fit there is referenced.
 *      br_gso_release gives the heads back after tx.
 * Refuses: a super-frame whose headers do not lead from its EtherType to csum_start; GRE with sequence numbers, which
 *      only its sender can count (br_gso_begin is false).
 */
#ifndef BR_GSO_H
#define BR_GSO_H

#include "frame/frame.h"
#include "frame/pool.h"

enum {
    BR_GSO_BURST = 32, /* segments made at once */
    BR_GSO_LAYERS = 8,
};

/* A header whose fields tell how long what follows is, or cover it with a checksum. */
enum br_gso_kind { BR_GSO_LAYER_IPV4, BR_GSO_LAYER_IPV6, BR_GSO_LAYER_UDP, BR_GSO_LAYER_GRE };

struct br_gso_layer {
    uint16_t at;
    uint8_t kind; /* enum br_gso_kind */
    bool has_csum;
};

struct br_gso {
    const struct br_frame *frame;
    struct br_gso_layer layer[BR_GSO_LAYERS]; /* outermost first; the last is the IP header of the segments */
    uint32_t n_layers;
    uint32_t transport; /* offset of the TCP or UDP header */
    uint32_t payload;   /* offset of the first byte to cut */
    uint32_t next;      /* offset of the first byte not cut yet */
    uint32_t n_done;    /* segments made */
    uint32_t datagram;  /* offset of what a UDP tunnel carries, if its segments may leave as datagrams; else 0 */
    bool is_udp;
    bool open; /* the port finishes checksums */
    bool uso;  /* and takes super-frames of datagrams */
};

bool br_gso_begin(struct br_gso *gso, const struct br_frame *frame, bool open, bool uso);
/*
 * As many segments as go into one super-frame of datagrams; returns how many. 0: fewer than two are left, or they are no
 * datagrams, or the port takes none such, or the pool is empty. br_gso_release_datagrams gives its buffers back.
 */
uint32_t br_gso_datagrams(struct br_gso *gso, struct br_pool *pool, struct br_frame *super);
void br_gso_release_datagrams(struct br_pool *pool, const struct br_frame *super);
/* Up to cap segments; 0: all are made, or the pool has no head left. */
uint32_t br_gso_next(struct br_gso *gso, struct br_pool *pool, struct br_frame *segment, uint32_t cap);
void br_gso_release(struct br_pool *pool, const struct br_frame *segment, uint32_t n);

#endif
