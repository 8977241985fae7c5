/*
 * mirror/capture.h - from the data thread to a pcapng file: a bounded ring of bytes with one writer and one reader.
 *
 * Job: br_capture_put copies a frame and what is known of it into the ring; br_capture_take makes enhanced packet
 *      blocks of them (draft-ietf-opsawg-pcapng, section 4.3), which is all of a file that is written often. Section
 *      header, interface and statistics blocks are bridge/mirror/pcapng.py's.
 * Thread: put and notify in the data thread, take in one reader. A full ring loses the frame and counts it under its
 *      port; forwarding never waits. The reader sleeps on an eventfd and is woken at most once until it has looked.
 * Invariants: records are whole and 8-aligned; none crosses the end of the ring.
 */
#ifndef BR_CAPTURE_H
#define BR_CAPTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "count/counters.h"
#include "count/limits.h"
#include "frame/way.h"

enum {
    BR_CAPTURE_PIECES = 4,
    BR_CAPTURE_BLOCK_LEN = 256, /* of a packet block beside the frame, at most */
    BR_NO_INTERFACE = UINT32_MAX,
};

/* A frame in pieces, in order. */
struct br_capture_piece {
    const uint8_t *data;
    uint32_t len;
};

/* What is put: the first `len` of `wire_len` bytes. */
struct br_capture_copy {
    const struct br_capture_piece *piece;
    uint32_t n_pieces;
    uint32_t len;
    uint32_t wire_len;
    uint16_t port;
    uint8_t way;    /* enum br_way */
    uint8_t reason; /* enum br_drop, BR_PASS: not dropped */
    uint64_t stamp; /* cycles */
};

struct br_capture {
    uint8_t *memory;
    uint64_t cap; /* a power of two */
    int fd;       /* eventfd the reader waits on */
    /* writer */
    uint64_t head __attribute__((aligned(64)));
    bool pending;                /* put since the last notify */
    uint64_t lost[BR_PORTS_MAX]; /* found the ring full, or were over the rate */
    /* reader */
    uint64_t tail __attribute__((aligned(64)));
    bool notified; /* the reader was woken and has not looked yet */
    bool stopped;  /* the reader wants no more */
    uint64_t taken[BR_PORTS_MAX];
    uint64_t start_cycles; /* where the clock was compared first, and last */
    uint64_t start_ns;
    uint64_t sync_cycles;
    uint64_t sync_ns;
    double ns_per_cycle;
    uint64_t last_ns; /* of the last packet: a file does not go back in time */
};

/* `len` bytes, rounded up to a power of two. 0 or -errno. */
int br_capture_init(struct br_capture *capture, uint32_t len);
void br_capture_fini(struct br_capture *capture);

/* False: the ring is full, and the frame is lost. */
bool br_capture_put(struct br_capture *capture, const struct br_capture_copy *copy);
/* Wake the reader if there is news; once per batch. */
void br_capture_notify(struct br_capture *capture);

/* A frame of this port is not in the file. */
static inline void br_capture_lose(struct br_capture *capture, uint16_t port)
{
    __atomic_store_n(&capture->lost[port], capture->lost[port] + 1, __ATOMIC_RELAXED);
}

/* Any thread: so many frames of a port are in the file, and are not. */
static inline void br_capture_counts(const struct br_capture *capture, uint16_t port, uint64_t *taken, uint64_t *lost)
{
    *taken = __atomic_load_n(&capture->taken[port], __ATOMIC_RELAXED);
    *lost = __atomic_load_n(&capture->lost[port], __ATOMIC_RELAXED);
}

/* Any thread: the reader wants no more. */
static inline void br_capture_stop(struct br_capture *capture)
{
    __atomic_store_n(&capture->stopped, true, __ATOMIC_RELAXED);
}

static inline bool br_capture_is_stopped(const struct br_capture *capture)
{
    return __atomic_load_n(&capture->stopped, __ATOMIC_RELAXED);
}

/* Why take returned. */
enum br_capture_end { BR_CAPTURE_EMPTY, BR_CAPTURE_FULL, BR_CAPTURE_UNKNOWN };

/*
 * As many packet blocks as `cap` bytes hold; returns their bytes. `interface` has the number of each port's block.
 * *end says why there are no more: the ring is empty, `out` is full, or *port, which is next, has no interface yet.
 */
uint32_t br_capture_take(struct br_capture *capture, const uint32_t interface[BR_PORTS_MAX], uint8_t *out, uint32_t cap,
                         enum br_capture_end *end, uint16_t *port);
/* Sleep until there is something to take; false: nothing within so many milliseconds. */
bool br_capture_wait(struct br_capture *capture, int milliseconds);
/* Any thread: end a wait. */
void br_capture_wake(struct br_capture *capture);

#endif
