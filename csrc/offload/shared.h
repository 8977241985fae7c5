/*
 * shared.h - what the programs in the kernel (unicast.bpf.c) and the core have in common: the values of their maps.
 *
 * Two forwarders, one table. The FDB of the core lies in a map that both sides see, so there is nothing to copy, nothing
 *      to be late, and nothing to lose: what the data thread learns, moves, evicts, flushes or deletes holds for the
 *      kernel's next frame, and a source that the kernel sees is refreshed where ageing looks.
 * Maps, by name:
 *      table     buckets of the FDB (fdb/fdb.h)                   written by the data thread; the tick of an entry by programs
 *      states    beside each entry, may the kernel use it     written by programs; begun anew by the data thread
 *      ports     br_offload_port, by index                    written by the core
 *      vlans     br_offload_vlan, by VID                      written by the core
 *      page      br_offload_page, one                         see there
 *      heartbeat UDP ports of the class heartbeat, 64 a word  written by the core
 *      rows      br_offload_row for each CPU and key          written by programs: what they forwarded
 *      passes    a counter for each CPU, port and reason      written by programs: what they left to userspace
 *      drops     br_offload_row for each CPU, port and reason written by programs: what was dropped in the kernel
 * Hand-over (R11). A frame that is left to userspace counts `passed` up. The data thread publishes as `acked` how many of
 *      those it is done with for certain. An entry is used by the kernel in a role, as source or as destination, only
 *      when it is *live* in it: a frame that found it not live left a ticket, the count of that moment, and went to
 *      userspace; a later one finds acked past the ticket, and makes the entry live. So the first frame that the kernel
 *      forwards finds nothing of its stream in userspace. A stream that never pauses would find a ticket open for ever: after
 *      BR_OFFLOAD_PATIENCE its frames are dropped (`handover`) until userspace has caught up. Frames that come more than
 *      BR_OFFLOAD_DENSE apart are no such stream, whatever else keeps userspace busy, and never end so.
 *      A ticket counts for one opening of its port (`epoch`), and the data thread takes it away when the entry is new or
 *      moves. Frames that userspace has to see although both stations are live open the ticket of their source again.
 * Endianness: host order throughout, but for bytes of frames.
 */
#ifndef BR_OFFLOAD_SHARED_H
#define BR_OFFLOAD_SHARED_H

#include <stdint.h>

#include "count/counters.h"
#include "count/limits.h"

enum {
    BR_OFFLOAD_PORTS = BR_PORTS_MAX,
    BR_OFFLOAD_VLANS = 4096,  /* BR_VLANS */
    BR_OFFLOAD_ROWS = 65536,  /* (ingress, egress, VLAN, class) at most; memory only for those in use */
    BR_OFFLOAD_PATIENCE = 100, /* milliseconds a stream without gaps waits for userspace to catch up */
    BR_OFFLOAD_DENSE = 1,     /* milliseconds between its frames, at most */
    BR_OFFLOAD_HEARTBEAT_WORDS = 1024,
    BR_OFFLOAD_PORT_WORDS = BR_OFFLOAD_PORTS / 64,
};

/* Why a frame that the kernel was to forward was dropped: X(symbol), each a drop reason of count/counters.h. */
#define BR_OFFLOAD_DROPS(X)                                                                                           \
    X(handover)                                                                                                       \
    X(no_buffer) /* for a row, where it would have been counted */                                                    \
    X(tx_error)  /* tag or padding could not be changed */
#define BR_OFFLOAD_ENUM_DROP(symbol) BR_OFFLOAD_DROP_##symbol,
enum br_offload_drop { BR_OFFLOAD_DROPS(BR_OFFLOAD_ENUM_DROP) BR_OFFLOAD_DROP_N };

/* How a frame reaches a port. */
enum br_offload_delivery {
    BR_OFFLOAD_EGRESS,  /* sent by the device */
    BR_OFFLOAD_INGRESS, /* received by the device: a tap of ours, whose other side is the kernel */
    BR_OFFLOAD_PEER,    /* received by its peer in another namespace: a veth */
};

enum br_offload_flag {
    BR_OFFLOAD_IN = 1 << 0,     /* frames that come in here may be forwarded by the kernel */
    BR_OFFLOAD_OUT = 1 << 1,    /* frames may leave here by the kernel */
    BR_OFFLOAD_TRUNK = 1 << 2,
    BR_OFFLOAD_FILTER = 1 << 3, /* what the port does not carry does not reach userspace (vlan_filter) */
};

/* What was forwarded: from which port to which, in which VLAN, of which class (count/counters.h). */
struct br_offload_key {
    uint16_t ingress;
    uint16_t egress;
    uint16_t vid;
    uint16_t class;
};

struct br_offload_row {
    uint64_t frames;
    uint64_t segments; /* wire frames they stand for */
    uint64_t super_frames;
    uint64_t rx_bytes; /* as they came, outer tag included */
    uint64_t tx_bytes; /* as they left, tag and padding included; of what was dropped: 0 */
};

/* Constants of a program, which is loaded once a port. */
struct br_offload_constants {
    uint32_t port;
    uint32_t bucket_mask;
    uint64_t secret[2]; /* of the hash of the FDB */
    uint32_t magic;     /* of a decision in skb->cb; nobody else writes it by chance */
    uint32_t pad;
    struct br_offload_row no_row;
};

/* A port as the programs see it: one cache line. Not open: all that comes goes to userspace. */
struct br_offload_port {
    uint32_t flags;        /* stored first when it closes, last when it opens */
    uint32_t epoch;        /* of this opening, 1..BR_OFFLOAD_EPOCH_MAX; tickets of another do not count */
    uint32_t ifindex;      /* in the namespace of the ports that reach it */
    uint32_t mtu;          /* layer-3 bytes */
    uint16_t pvid;         /* VLAN of frames that come without a tag, 0: none */
    uint16_t bare;         /* VLAN whose frames leave without a tag, 0: none */
    uint16_t tpid;
    uint16_t untagged_tci; /* PCP, in its place, of frames that come without a tag */
    uint32_t generation;   /* of the FDB; written by the data thread */
    uint8_t delivery;      /* enum br_offload_delivery */
    uint8_t pad[3];
    uint8_t peer_mac[8];   /* delivery PEER: of the other end; frames to others are sent the usual way */
    uint64_t spare[2];
};

/* A VLAN as the programs see it. */
struct br_offload_vlan {
    uint64_t carried_by[BR_OFFLOAD_PORT_WORDS]; /* ports, one bit each */
    uint32_t generation;                        /* of the FDB; written by the data thread */
    uint32_t open;                              /* 0: its frames go to userspace */
};

/*
 * Beside each FDB entry. A role is one word, so that it is read and changed as a whole:
 *      bits 0..31 ticket | 32..41 first, 42..51 last time that one was left, in milliseconds | 52 live | 53..63 epoch
 */
enum br_offload_role { BR_OFFLOAD_SOURCE, BR_OFFLOAD_DESTINATION, BR_OFFLOAD_ROLES };
enum {
    BR_OFFLOAD_FIRST_SHIFT = 32,
    BR_OFFLOAD_LAST_SHIFT = 42,
    BR_OFFLOAD_TIME_MASK = 0x3ff,
    BR_OFFLOAD_LIVE_SHIFT = 52,
    BR_OFFLOAD_EPOCH_SHIFT = 53,
    BR_OFFLOAD_EPOCH_MAX = 0x7ff,
};

struct br_offload_state {
    uint64_t role[BR_OFFLOAD_ROLES];
    uint64_t frames; /* that the station sent, forwarded by the kernel */
    uint64_t bytes;
    uint64_t more_segments; /* wire frames beyond the first of super-frames */
};

/* Lines that different sides write lie apart. */
struct br_offload_page {
    uint32_t passed; /* frames left to userspace; any CPU */
    uint32_t pad0[15];
    uint32_t acked;  /* of them, the data thread is done with; data thread */
    uint32_t pad1[15];
    uint32_t waiting; /* somebody waits for acked: set by programs, cleared by the data thread */
    uint32_t pad2[15];
    uint32_t tick;   /* of the FDB; control thread */
    uint32_t pad3[15];
};

#endif
