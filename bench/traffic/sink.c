/*
 * sink.c - see sink.h. Where frames come from is the business of a source (source.h).
 */
#include "sink.h"

#include "clock.h"
#include "frame.h"
#include "source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    BT_FLOWS = 1 << 16,
    BT_WORDS_FIRST = 1 << 12,
};

struct bt_sink {
    struct bt_sink_spec spec;
    struct bt_sink_result result;
    struct bt_source *source;
    struct bt_stream *last;
    _Atomic uint64_t progress;
};

/* -- set-up */

/* The cheaper source where it works, unless one is asked for. */
static struct bt_source *bt_sink_source(const struct bt_sink_spec *spec, struct bt_problem *problem)
{
    struct bt_source *source = NULL;

    if (spec->way != BT_WAY_PACKET)
        source = bt_probe_open(spec->netns, spec->device, spec->ring_mib, problem);
    if (!source && spec->way != BT_WAY_PROBE)
        source = bt_ring_open(spec->netns, spec->device, spec->ring_mib, problem);
    return source;
}

struct bt_sink *bt_sink_open(const struct bt_sink_spec *spec, struct bt_problem *problem)
{
    struct bt_sink *sink = calloc(1, sizeof(*sink));

    if (!sink) {
        bt_problem_set(problem, -ENOMEM, "out of memory");
        return NULL;
    }
    sink->spec = *spec;
    sink->source = bt_sink_source(spec, problem);
    if (!sink->source) {
        bt_sink_close(sink);
        return NULL;
    }
    if (spec->interval_ms) {
        const double n = spec->expect_seconds * 1e3 / spec->interval_ms + 1;
        sink->result.n_intervals = n < BT_INTERVALS_MAX ? (uint32_t)n : BT_INTERVALS_MAX;
        sink->result.intervals = calloc(sink->result.n_intervals, sizeof(*sink->result.intervals));
        if (!sink->result.intervals) {
            bt_problem_set(problem, -ENOMEM, "out of memory for the time line");
            bt_sink_close(sink);
            return NULL;
        }
    }
    return sink;
}

/* -- counting */

bool bt_sink_expects(const struct bt_sink_spec *spec, uint16_t id)
{
    for (uint32_t i = 0; i < spec->n_expected; i++)
        if (spec->expected[i] == id)
            return true;
    return !spec->n_expected;
}

static struct bt_stream *bt_sink_find(const struct bt_sink *sink, uint16_t id)
{
    for (uint32_t i = 0; i < sink->result.n_streams; i++)
        if (sink->result.streams[i]->id == id)
            return sink->result.streams[i];
    return NULL;
}

/* NULL: too many streams, or no memory; `error` says so. */
static struct bt_stream *bt_sink_add(struct bt_sink *sink, uint16_t id)
{
    struct bt_stream *stream = sink->result.n_streams < BT_STREAMS_MAX ? calloc(1, sizeof(*stream)) : NULL;

    if (stream)
        stream->flows = calloc(BT_FLOWS, sizeof(*stream->flows));
    if (!stream || !stream->flows) {
        free(stream);
        sink->result.error = ENOMEM;
        return NULL;
    }
    stream->id = id;
    stream->expected = bt_sink_expects(&sink->spec, id);
    sink->result.streams[sink->result.n_streams++] = stream;
    return stream;
}

/* Make room for the bit of `sequence`. */
static bool bt_stream_reach(struct bt_stream *stream, uint32_t sequence)
{
    const uint64_t word = sequence / 64;
    uint64_t words = stream->seen_words ? stream->seen_words : BT_WORDS_FIRST;

    if (word < stream->seen_words)
        return true;
    if (sequence >= BT_SEQUENCES_MAX)
        return false;
    while (words <= word)
        words *= 2;
    uint64_t *seen = realloc(stream->seen, words * sizeof(*seen));
    if (!seen)
        return false;
    memset(seen + stream->seen_words, 0, (words - stream->seen_words) * sizeof(*seen));
    stream->seen = seen;
    stream->seen_words = words;
    return true;
}

/* Returns whether the number is new. */
static bool bt_stream_number(struct bt_stream *stream, uint32_t sequence, uint32_t flow)
{
    if (!bt_stream_reach(stream, sequence)) {
        stream->n_beyond++;
        return true;
    }
    uint64_t *const word = &stream->seen[sequence / 64];
    uint32_t *const previous = &stream->flows[(flow ^ flow >> 16) & (BT_FLOWS - 1)];
    const uint64_t bit = 1ull << sequence % 64;
    if (*word & bit) {
        stream->n_duplicates++;
        return false;
    }
    *word |= bit;
    stream->n_unique++;
    stream->n_reordered_stream += sequence < stream->sequence_max;
    stream->n_reordered += sequence + 1 < *previous;
    *previous = sequence + 1 > *previous ? sequence + 1 : *previous;
    stream->sequence_max = sequence > stream->sequence_max ? sequence : stream->sequence_max;
    return true;
}

static bool bt_sink_tag_fits(const struct bt_sink_spec *spec, uint32_t tag)
{
    const uint32_t vid = tag & 0xfff;

    return spec->tag_rule == BT_TAG_ANY || (spec->tag_rule == BT_TAG_NONE && !tag) ||
           (spec->tag_rule == BT_TAG_RANGE && tag && vid >= spec->vid_min && vid <= spec->vid_max);
}

static void bt_sink_interval(struct bt_sink *sink, uint64_t ns)
{
    const uint64_t start = sink->result.start_ns;
    const uint64_t i = ns > start ? (ns - start) / 1000000 / sink->spec.interval_ms : 0;

    if (i < sink->result.n_intervals)
        sink->result.intervals[i]++;
}

static void bt_sink_count(void *context, const struct bt_arrival *arrival)
{
    struct bt_sink *sink = context;
    const uint64_t ns = arrival->ns;
    struct bt_found found;

    if (!bt_frame_find(arrival->bytes, arrival->snap_len, &found)) {
        sink->result.n_ignored++;
        return;
    }
    found.tag = arrival->tag ? arrival->tag : found.tag;
    struct bt_stream *stream = sink->last;
    if (!stream || stream->id != found.mark.stream) {
        stream = bt_sink_find(sink, found.mark.stream);
        stream = stream ? stream : bt_sink_add(sink, found.mark.stream);
        if (!stream)
            return;
        sink->last = stream;
    }
    stream->first_ns = stream->n_frames++ ? stream->first_ns : ns;
    stream->last_ns = ns > stream->last_ns ? ns : stream->last_ns;
    stream->n_bytes += arrival->len;
    stream->n_wrong_tag += !bt_sink_tag_fits(&sink->spec, found.tag);
    if (bt_stream_number(stream, found.mark.sequence, found.flow))
        bt_histogram_add(&stream->latency, ns > found.mark.stamp_ns ? ns - found.mark.stamp_ns : 0);
    if (stream->expected && sink->spec.interval_ms)
        bt_sink_interval(sink, ns);
}

/* Take what is there; tell others how far we are. */
static void bt_sink_drain(struct bt_sink *sink)
{
    uint64_t n_unique = 0;

    if (!sink->source->ops->drain(sink->source, bt_sink_count, sink))
        return;
    for (uint32_t i = 0; i < sink->result.n_streams; i++)
        n_unique += sink->result.streams[i]->expected ? sink->result.streams[i]->n_unique : 0;
    atomic_store_explicit(&sink->progress, n_unique, memory_order_relaxed);
}

void bt_sink_run(struct bt_sink *sink, const atomic_bool *stop)
{
    const struct bt_source_ops *ops = sink->source->ops;

    sink->result.start_ns = bt_now_ns();
    while (!atomic_load_explicit(stop, memory_order_acquire) && !sink->result.error) {
        const int error = ops->wait(sink->source);
        sink->result.n_looks++;
        bt_sink_drain(sink);
        sink->result.error = sink->result.error ? sink->result.error : -error;
    }
    ops->settle(sink->source);
    bt_sink_drain(sink);
    sink->result.n_ring_drops = ops->drops(sink->source);
    sink->result.cpu_ns = bt_clock_read(CLOCK_THREAD_CPUTIME_ID);
}

/* -- answers */

uint64_t bt_sink_progress(const struct bt_sink *sink)
{
    return atomic_load_explicit(&sink->progress, memory_order_relaxed);
}

const char *bt_sink_engine(const struct bt_sink *sink)
{
    return sink->source->ops->name;
}

const struct bt_sink_spec *bt_sink_spec(const struct bt_sink *sink)
{
    return &sink->spec;
}

const struct bt_sink_result *bt_sink_result(const struct bt_sink *sink)
{
    return &sink->result;
}

const struct bt_stream *bt_sink_stream(const struct bt_sink *sink, uint16_t id)
{
    return bt_sink_find(sink, id);
}

uint64_t bt_stream_lost(const struct bt_stream *stream, uint32_t first, uint32_t n, uint32_t *last)
{
    uint64_t n_lost = 0;

    for (uint64_t i = first; i < (uint64_t)first + n; i++) {
        const bool seen = stream && i / 64 < stream->seen_words && stream->seen[i / 64] >> i % 64 & 1;
        if (!seen)
            *last = (uint32_t)i;
        n_lost += !seen;
    }
    return n_lost;
}

void bt_sink_close(struct bt_sink *sink)
{
    if (sink->source)
        sink->source->ops->close(sink->source);
    for (uint32_t i = 0; i < sink->result.n_streams; i++) {
        free(sink->result.streams[i]->seen);
        free(sink->result.streams[i]->flows);
        free(sink->result.streams[i]);
    }
    free(sink->result.intervals);
    free(sink);
}
