/*
 * count/histogram.h - how often a value was how large, in buckets of at most a quarter: four to each power of two.
 *
 * Covers all 64-bit values in a fixed table; counting one is a shift and an increment. Writer: one thread.
 */
#ifndef BR_HISTOGRAM_H
#define BR_HISTOGRAM_H

#include <stdint.h>

enum { BR_HISTOGRAM_BUCKETS = 252 };

struct br_histogram {
    uint64_t bucket[BR_HISTOGRAM_BUCKETS];
};

/* The bucket of a value: its power of two and the two bits below its leading one. */
static inline uint32_t br_histogram_index(uint64_t value)
{
    if (value < 4)
        return (uint32_t)value;
    const uint32_t power = 63 - (uint32_t)__builtin_clzll(value);

    return (power - 1) * 4 + (uint32_t)(value >> (power - 2) & 3);
}

/* The least value of a bucket. */
static inline uint64_t br_histogram_bound(uint32_t index)
{
    return index < 4 ? index : (uint64_t)(4 + index % 4) << (index / 4 - 1);
}

static inline void br_histogram_add(struct br_histogram *histogram, uint64_t value)
{
    histogram->bucket[br_histogram_index(value)]++;
}

#endif
