/*
 * port/port.h - the seam between the pipeline and the world: two calls on the hot side.
 *
 * rx(port, pool, frame[], cap)  fills up to cap descriptors and returns how many; 0: nothing now; -errno: the port
 *      failed and wants no more polling; -ESTALE: the kernel delivers no more by this way, and the port has another one
 *      (renew). The heads belong to the pipeline until the next rx of this port; tails come from the pool and go back
 *      to it when the batch is done. A port that has only part of a frame sets BR_FRAME_TRUNCATED. It may stop after
 *      BR_PORT_BURST_BYTES, and then sets `more`.
 * tx(port, frame[], n)  hands n frames to the outside in order and returns how many went. Before it returns, each frame
 *      is accounted by br_port_sent or br_port_refuse. The frames are not changed but for the vnet header in front.
 * rx_lane is rx for what a port takes before all else, heartbeats, from a queue of its own (`lane_fd`).
 * Both never block, log, allocate or abort. Everything else (open, close) is the cold side and may be clumsy.
 *
 * Thread: rx, tx and counters belong to the data thread while a snapshot names the port, else to the control thread.
 * A frame handed to tx has its final form. If the port has `vnet`, its checksum may be partial and it may be a
 * super-frame.
 */
#ifndef BR_PORT_H
#define BR_PORT_H

#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "count/counters.h"
#include "frame/frame.h"
#include "frame/vnet.h"
#include "frame/pool.h"

enum {
    BR_PORT_PIECES = 3,
    BR_LANE_HOLDS = 4096, /* frames that can wait in a lane, at most */
    BR_SEGMENT_WEIGHT = 512,
    BR_PORT_BURST_BYTES = 256 << 10, /* where a burst of long frames ends: others get their turn, caches stay warm */
};

/*
 * What a received frame counts of a burst: its bytes, or, if its segments are so small that there are more of them than
 * bytes account for, BR_SEGMENT_WEIGHT for each. They may be cut in the call that sends them.
 */
static inline uint32_t br_burst_weight(uint32_t len, const struct br_vnet *vnet)
{
    if (BR_LIKELY(!vnet->gso_size))
        return len;
    const uint32_t weight = len / vnet->gso_size * BR_SEGMENT_WEIGHT;
    return weight > len ? weight : len;
}

struct br_port;
struct br_port_place;

struct br_port_ops {
    int (*rx)(struct br_port *port, struct br_pool *pool, struct br_frame *frame, uint32_t cap);
    int (*rx_lane)(struct br_port *port, struct br_pool *pool, struct br_frame *frame, uint32_t cap); /* may be NULL */
    uint32_t (*tx)(struct br_port *port, struct br_frame *const *frame, uint32_t n);
    int (*renew)(struct br_port *port);       /* after -ESTALE: 0 and perhaps another fd, or -errno; may be NULL */
    int (*spare)(struct br_port *port);       /* the descriptor that `renew` may bring, for filters; may be NULL */
    void (*missed)(struct br_port *port);     /* bring counters.misses up to date; may be NULL */
    int (*failure)(struct br_port *port);     /* after EPOLLERR: 0 if it can go on, else -errno; may be NULL */
    int (*place)(struct br_port *port, struct br_port_place *place); /* see br_port_place; may be NULL */
    int (*resume)(struct br_port *port, const struct br_port_place *place);
    void (*close)(struct br_port *port);
    const char *kind;
};

struct br_port {
    const struct br_port_ops *ops;
    int fd;            /* what to wait for, or -1 */
    int lane_fd;       /* the same of a port with rx_lane */
    uint32_t serial;   /* no other attachment of a port has it */
    uint16_t index;
    bool vnet;         /* tx takes partial checksums and super-frames */
    bool uso;          /* of those, also super-frames of datagrams */
    bool polled;       /* rx costs no system call when there is nothing: look every turn */
    bool edge;         /* wants to be named by epoll at each wake-up, not as long as there is something (EPOLLET) */
    bool failed;       /* out of the poll set until it is opened again */
    bool ready;        /* the loop's note: worth an rx */
    bool unchecked;    /* the loop's note: brought frames and was not found empty, when named, since */
    bool single;       /* the loop's note: the last rx brought one frame and no more */
    bool more;         /* rx left frames behind, because those it brought are long */
    bool drained;      /* the loop's note: rx found the end of it in this round of handover.h */
    uint32_t taken;    /* the loop's note: frames received, modulo 2^32 */
    uint32_t marked;   /* and by the beginning of the round */
    uint32_t holds;    /* frames that can wait in it, at most */
    bool lane_ready;   /* the loop's notes about the lane, as those above */
    bool lane_drained;
    uint32_t lane_taken;
    uint32_t lane_marked;
    struct br_port_counters counters __attribute__((aligned(64)));
};

/* One copy each of n frames has left by this port. */
static inline void br_port_sent(struct br_port *port, struct br_frame *const *frame, uint32_t n)
{
    uint64_t bytes = 0;
    uint64_t n_segments = 0;
    uint64_t n_super = 0;

    for (uint32_t i = 0; i < n; i++) {
        bytes += br_frame_len(frame[i]);
        n_segments += frame[i]->segments;
        n_super += br_frame_is_super(frame[i]);
    }
    port->counters.tx_frames += n;
    port->counters.tx_bytes += bytes;
    port->counters.tx_segments += n_segments;
    port->counters.tx_super_frames += n_super;
}

/* One copy of a frame is dropped instead of leaving by this port: the only way to drop it at egress. */
static inline void br_port_refuse(struct br_port *port, struct br_frame *frame, enum br_drop reason)
{
    frame->reason = (uint8_t)reason;
    port->counters.tx_drops[reason]++;
}

/* Whether taps and packet sockets take super-frames of datagrams. */
bool br_port_takes_uso(void);
/* What the port kinds share that talk to the kernel. Why it did not take a frame: */
enum br_drop br_port_tx_reason(int error);
/* A frame as it takes it: vnet header in the headroom (in `vnet`, BR_VNET_HLEN bytes, if there is none), head, tail.
 * Returns how many pieces that are. */
int br_port_pieces(struct iovec piece[BR_PORT_PIECES], uint8_t *vnet, const struct br_frame *frame);

/*
 * Frames of a burst one behind the other, each with its headroom, for ports that read them one by one: a burst of small
 * frames lies in two pages, and only pages that are used become resident.
 */
struct br_read_buffer {
    uint8_t *bytes;
    size_t len;
    uint32_t burst; /* frames */
};

enum {
    BR_READ_AT = BR_HEADROOM - BR_VNET_HLEN, /* from where a frame begins: its vnet header goes here, */
    BR_READ_LEN = BR_VNET_HLEN + BR_TAIL_CAP, /* and so much is read, the longest super-frame and more */
    BR_READ_LINE = 64,
    BR_READ_SLACK = BR_FRAME_ROOM - BR_FRAME_MIN, /* bytes of the room in front of a frame that the one before may pad */
};

int br_read_buffer_open(struct br_read_buffer *buffer, uint32_t burst);
void br_read_buffer_close(struct br_read_buffer *buffer);

/* The descriptor of a frame of which `len` bytes, vnet header included, were read to at + BR_READ_AT. What is in front of
 * it begins with the slack of the frame before. */
static inline struct br_frame br_read_frame(uint8_t *at, ssize_t len)
{
    return (struct br_frame){
        .data = at + BR_HEADROOM,
        .len = len > BR_VNET_HLEN ? (uint32_t)len - BR_VNET_HLEN : 0,
        .headroom = BR_HEADROOM - BR_READ_SLACK,
        .vnet = br_vnet_read(at + BR_READ_AT),
    };
}

/* How far behind a frame the next one goes, headroom and padding included. */
static inline uint32_t br_read_room(uint32_t frame_len)
{
    const uint32_t end = BR_HEADROOM + (frame_len < BR_FRAME_MIN ? BR_FRAME_MIN : frame_len);

    return (end + BR_READ_LINE - 1) / BR_READ_LINE * BR_READ_LINE;
}

/* Opening: 0 and *port, or -errno. The port is closed with br_port_close. */
int br_port_open_memory(struct br_port **port, uint32_t slots, bool vnet);
int br_port_open_replay(struct br_port **port, uint32_t n_frames, uint32_t longest, uint32_t burst);
int br_port_open_tap(struct br_port **port, const char *device, uint32_t burst);
int br_port_open_link(struct br_port **port, const char *device, uint32_t slots);

/*
 * Taking a port over from another process, which goes on with its own descriptors of it until it is told that we run.
 * The frames that wait stay where they are, in the queue of the tap or the ring, so nothing is lost, doubled or out of
 * order if one reads when the other has ended.
 *
 * br_port_place: the descriptors of a port and, of a link, where reading has got to; -EOPNOTSUPP: it has none to give.
 * br_port_adopt_*: a port made of such descriptors, which belong to it from then on, and stay the caller's after -errno:
 *      -EBADF they are not what they are said to be.
 * br_port_resume: before the first rx: read on from there; `fd` is not looked at.
 */
enum { BR_PORT_FDS = 4 };

struct br_port_place {
    int fd[BR_PORT_FDS]; /* of a tap: its own; of a link: the ring's, the one that stands by, the sending one, the lane's */
    uint32_t n_fds;
    uint32_t slots;
    uint32_t taken;
    uint32_t released;
    uint32_t taken_seen;
    bool wedged;
    uint64_t missed_seen;
};

int br_port_place(struct br_port *port, struct br_port_place *place);
int br_port_adopt_tap(struct br_port **port, int fd, uint32_t burst);
int br_port_adopt_link(struct br_port **port, const struct br_port_place *place);
int br_port_resume(struct br_port *port, const struct br_port_place *place);

/* What it has counted until now, what the kernel dropped before it included; whoever owns the counters. */
const struct br_port_counters *br_port_read(struct br_port *port);

static inline void br_port_close(struct br_port *port)
{
    port->ops->close(port);
}

/* The outside of a memory port (tests, benchmarks): one thread puts and takes. */
struct br_memory_frame {
    const uint8_t *data;
    uint32_t len;
    uint16_t headroom; /* bytes to leave in front, at most BR_HEADROOM */
    bool tag_beside;
    bool in_one; /* however long, it lies in one piece, as a tap reads it; else in head and tail, as by a link */
    uint16_t tpid;
    uint16_t tci;
    struct br_vnet vnet;
};

/* 0, -ENOSPC when the ring is full, -EMSGSIZE when the frame fits no slot. */
int br_memory_put(struct br_port *port, const struct br_memory_frame *frame);
/* The oldest frame sent, valid until br_memory_next; false: none. */
bool br_memory_peek(struct br_port *port, struct br_memory_frame *frame);
void br_memory_next(struct br_port *port);
uint32_t br_memory_pending(const struct br_port *port);

/* Add one of the n_frames a replay port plays; 0 or -EMSGSIZE. Before the port is in use. */
int br_replay_add(struct br_port *port, const uint8_t *data, uint32_t len);

#endif
