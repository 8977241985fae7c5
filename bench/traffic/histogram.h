/*
 * histogram.h - times in nanoseconds, by octave with 256 steps each: percentiles to within 0.4 % without keeping samples.
 *
 * Owner: one thread writes; others read after it has ended. 1 ns .. 2^40 ns (18 minutes); what is longer counts as longest.
 */
#ifndef BT_HISTOGRAM_H
#define BT_HISTOGRAM_H

#include <stdint.h>

enum { BT_STEPS_LOG2 = 8, BT_STEPS = 1 << BT_STEPS_LOG2, BT_OCTAVES = 40, BT_BUCKETS = (BT_OCTAVES - BT_STEPS_LOG2 + 1) * BT_STEPS };

struct bt_histogram {
    uint64_t n_samples;
    uint64_t sum_ns;
    uint64_t min_ns;
    uint64_t max_ns;
    uint64_t buckets[BT_BUCKETS];
};

static inline uint32_t bt_histogram_bucket(uint64_t ns)
{
    if (ns < BT_STEPS)
        return (uint32_t)ns;
    const uint32_t shift = 63 - (uint32_t)__builtin_clzll(ns) - BT_STEPS_LOG2;
    const uint32_t bucket = shift * BT_STEPS + (uint32_t)(ns >> shift);
    return bucket < BT_BUCKETS ? bucket : BT_BUCKETS - 1;
}

static inline void bt_histogram_add(struct bt_histogram *histogram, uint64_t ns)
{
    if (!histogram->n_samples || ns < histogram->min_ns)
        histogram->min_ns = ns;
    if (ns > histogram->max_ns)
        histogram->max_ns = ns;
    histogram->n_samples++;
    histogram->sum_ns += ns;
    histogram->buckets[bt_histogram_bucket(ns)]++;
}

/* The middle of a bucket. */
static inline uint64_t bt_histogram_value(uint32_t bucket)
{
    if (bucket < 2 * BT_STEPS)
        return bucket;
    const uint32_t shift = bucket / BT_STEPS - 1;
    return ((uint64_t)(bucket % BT_STEPS + BT_STEPS) << shift) + (1ull << shift) / 2;
}

/* The time that `per_million` of the samples do not exceed (nearest rank); 0 without samples. */
static inline uint64_t bt_histogram_percentile(const struct bt_histogram *histogram, uint64_t per_million)
{
    uint64_t rank = (histogram->n_samples * per_million + 999999) / 1000000;

    if (!histogram->n_samples)
        return 0;
    rank = rank ? rank : 1;
    for (uint32_t i = 0; i < BT_BUCKETS; i++) {
        if (rank <= histogram->buckets[i]) {
            const uint64_t value = bt_histogram_value(i);
            return value > histogram->max_ns ? histogram->max_ns : value < histogram->min_ns ? histogram->min_ns : value;
        }
        rank -= histogram->buckets[i];
    }
    return histogram->max_ns;
}

#endif
