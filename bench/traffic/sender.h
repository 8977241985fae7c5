/*
 * sender.h - one stream of test frames into one device.
 *
 * Job: build frames, pace them, send them with sendmmsg(), AF_XDP or as GSO buffers, say honestly what became of them. One thread per sender.
 * Pacing: frame n is due at start + n / rate. `spin` watches the clock (latency trials; takes a whole CPU), `sleep` uses
 *      timers (cost trials: what the machine spends is then the traffic's). Frames go out in bursts of `burst`. Whoever is
 *      late catches up by at most a millisecond's worth of frames, then drops the arrears from the schedule: a stall of
 *      this machine shall not look like a burst to the system under test. What was really offered is reported.
 *      Rate 0: as fast as possible.
 * Bounds: every phase ends after its seconds; the whole after `count_max` frames or the stop flag.
 * Each frame offered ends as `sent` (the device took it) or `refused` (its queue was full: lost before the system under test).
 */
#ifndef BT_SENDER_H
#define BT_SENDER_H

#include "frame.h"
#include "net.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { BT_SIZES_MAX = 16, BT_PHASES_MAX = 16, BT_BURST_MAX = 256, BT_WEIGHT_MAX = 64 };

struct bt_size {
    uint32_t len;    /* without FCS and tag */
    uint32_t weight;
};

struct bt_phase {
    double rate;    /* frames per second, 0: as many as possible */
    double seconds;
};

/* Faults put in on purpose, to check the instrument: every n-th sequence number, 0 for never. */
struct bt_faults {
    uint32_t skip_every;   /* used up, but not sent */
    uint32_t repeat_every; /* sent twice */
    uint32_t swap_every;   /* sent after its successor */
};

/* How frames get to the device. */
enum bt_queue {
    BT_QUEUE_DIRECT, /* packet socket, past the queueing discipline */
    BT_QUEUE_QDISC,  /* packet socket, through it */
    BT_QUEUE_XDP,    /* AF_XDP: cheapest, one sender per device, frames up to BT_XDP_CHUNK_LEN */
    BT_QUEUE_GSO,    /* one call for many frames that differ in their mark alone; see gso.h */
    BT_QUEUE_FAST,   /* the cheapest of gso, xdp and direct that works and pays */
};

struct bt_sender_spec {
    const char *netns;
    const char *device;
    int cpu;                /* -1: wherever */
    uint32_t stage;         /* senders of a stage run together, stages one after the other */
    uint16_t stream;
    uint16_t tpid;          /* 0: untagged */
    uint32_t vid, n_vids;
    uint32_t pcp;
    uint64_t dst, src;
    uint32_t n_dst, n_src;
    bool random;            /* order of addresses and VLANs; else one after the other */
    bool sleep;
    enum bt_queue queue;
    enum bt_layout layout;
    uint32_t burst;
    uint64_t count_max;
    struct bt_size sizes[BT_SIZES_MAX];
    uint32_t n_sizes;
    struct bt_phase phases[BT_PHASES_MAX];
    uint32_t n_phases;
    struct bt_faults faults;
};

struct bt_phase_result {
    uint32_t first_sequence;
    uint32_t n_sequences;
    uint64_t n_offered;
    double seconds;
};

struct bt_sender_result {
    uint64_t n_offered;
    uint64_t n_sent;
    uint64_t n_refused;
    uint64_t n_bytes;     /* sent, without FCS */
    uint64_t n_forgiven;  /* frames taken off the schedule because this sender was late */
    uint64_t late_max_ns;
    uint32_t n_sequences; /* numbers used up, skipped ones included */
    uint64_t n_skipped, n_repeated, n_swapped;
    uint64_t start_ns, end_ns;
    uint64_t cpu_ns;      /* of this thread, softirq work in its context included */
    int error;            /* errno that ended it, 0 */
    struct bt_phase_result phases[BT_PHASES_MAX];
};

struct bt_sender;

/* Open the device and build the frames. NULL with `problem` set if that fails. */
struct bt_sender *bt_sender_open(const struct bt_sender_spec *spec, struct bt_problem *problem);

/* Send it all; returns when done or when `stop` becomes true. */
void bt_sender_run(struct bt_sender *sender, const atomic_bool *stop);

/* "packet", "xdp" or "gso": what the frames go through. */
const char *bt_sender_engine(const struct bt_sender *sender);

const struct bt_sender_spec *bt_sender_spec(const struct bt_sender *sender);
const struct bt_sender_result *bt_sender_result(const struct bt_sender *sender);
void bt_sender_close(struct bt_sender *sender);

#endif
