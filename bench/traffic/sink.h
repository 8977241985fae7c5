/*
 * sink.h - everything of ours that arrives at one device, counted per stream.
 *
 * Job: tell loss, duplicates, reordering, wrong tags, strays (streams that do not belong here: floods) and latency apart. One
 *      thread per sink, which gets the heads of test frames and nothing else from a source (source.h).
 * Stamps of arrival are the kernel's own, taken when the frame enters the source's ring, so the sink may read late and cost
 *      little.
 * Loss is what a sender numbered and no sink has seen: known once both have ended (see bt_stream_lost). Duplicates and loss
 *      are exact up to BT_SEQUENCES_MAX numbers per stream; numbers beyond count as `beyond`.
 * Reordering: `reordered` compares with earlier frames of the same source and destination (hashed: two flows may share a
 *      slot), `reordered_stream` with all earlier frames of the stream. Both count frames that come after a later one.
 * When the ring overflows, the sink and not the system under test was the limit: `n_ring_drops`.
 */
#ifndef BT_SINK_H
#define BT_SINK_H

#include "histogram.h"
#include "net.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { BT_STREAMS_MAX = 128, BT_INTERVALS_MAX = 100000 };
static const uint64_t BT_SEQUENCES_MAX = 1ull << 31;

enum bt_tag_rule { BT_TAG_ANY, BT_TAG_NONE, BT_TAG_RANGE };

/* How frames get here; see source.h. */
enum bt_way {
    BT_WAY_FAST,   /* a probe where that works, else a packet socket */
    BT_WAY_PROBE,
    BT_WAY_PACKET,
};

struct bt_sink_spec {
    const char *netns;
    const char *device;
    int cpu;                                /* -1: wherever */
    uint16_t expected[BT_STREAMS_MAX];      /* none: all streams belong here */
    uint32_t n_expected;
    enum bt_tag_rule tag_rule;
    uint32_t vid_min, vid_max;              /* BT_TAG_RANGE */
    uint32_t ring_mib;
    enum bt_way way;
    uint32_t interval_ms;                   /* 0: no time line */
    double expect_seconds;                  /* length of the time line */
};

struct bt_stream {
    uint16_t id;
    bool expected;
    uint32_t sequence_max;
    uint64_t n_frames;   /* everything, duplicates too */
    uint64_t n_unique;
    uint64_t n_bytes;    /* without FCS, tag included */
    uint64_t n_duplicates;
    uint64_t n_reordered;
    uint64_t n_reordered_stream;
    uint64_t n_wrong_tag;
    uint64_t n_beyond;
    uint64_t first_ns, last_ns;
    uint64_t *seen;      /* one bit per sequence number */
    uint64_t seen_words;
    uint32_t *flows;     /* last sequence number + 1 by flow */
    struct bt_histogram latency;
};

struct bt_sink_result {
    struct bt_stream *streams[BT_STREAMS_MAX];
    uint32_t n_streams;
    uint64_t n_ignored;      /* frames that passed the filter and are not ours after all */
    uint64_t n_ring_drops;
    uint64_t n_looks;        /* wake-ups of the sink */
    uint32_t *intervals;     /* frames of expected streams by time since `start_ns` */
    uint32_t n_intervals;
    uint64_t start_ns;
    uint64_t cpu_ns;         /* of this thread */
    int error;
};

struct bt_sink;

struct bt_sink *bt_sink_open(const struct bt_sink_spec *spec, struct bt_problem *problem);

/* Count until `stop`; then once more what is in the ring. */
void bt_sink_run(struct bt_sink *sink, const atomic_bool *stop);

/* Unique frames of expected streams so far; any thread may ask while the sink runs. */
uint64_t bt_sink_progress(const struct bt_sink *sink);

/* Does a stream belong here? */
bool bt_sink_expects(const struct bt_sink_spec *spec, uint16_t id);

/* "probe" or "packet": where the frames come from. */
const char *bt_sink_engine(const struct bt_sink *sink);

const struct bt_sink_spec *bt_sink_spec(const struct bt_sink *sink);
const struct bt_sink_result *bt_sink_result(const struct bt_sink *sink);

/* The stream, NULL if nothing of it came. */
const struct bt_stream *bt_sink_stream(const struct bt_sink *sink, uint16_t id);

/* How many of the numbers [first, first + n) never came; `last` is set to the highest of them if there is one. NULL: none came. */
uint64_t bt_stream_lost(const struct bt_stream *stream, uint32_t first, uint32_t n, uint32_t *last);

void bt_sink_close(struct bt_sink *sink);

#endif
