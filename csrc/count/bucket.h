/*
 * count/bucket.h - the token bucket of budgets, of storm control and of the rates of mirrors.
 *
 * Job: tokens come with the clock, `rate` a cycle, until there are `burst`; whoever spends may overdraw, and the debt is
 *      kept, so that the long-run rate holds whatever the size of what is spent at once.
 * Thread: the data thread's own.
 */
#ifndef BR_BUCKET_H
#define BR_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

struct br_bucket {
    double tokens;
    uint64_t stamp; /* of the last refill */
};

static inline struct br_bucket br_bucket_full(double burst, uint64_t now)
{
    return (struct br_bucket){.tokens = burst, .stamp = now};
}

/* What time gave back; a clock that went backwards gives nothing. */
static inline void br_bucket_refill(struct br_bucket *bucket, double rate, double burst, uint64_t now)
{
    const uint64_t passed = now - bucket->stamp;

    bucket->stamp = now;
    if (passed < INT64_MAX)
        bucket->tokens += (double)(int64_t)passed * rate;
    if (bucket->tokens > burst)
        bucket->tokens = burst;
}

/* Not enough is left for the smallest thing that is spent. */
static inline bool br_bucket_is_empty(const struct br_bucket *bucket)
{
    return bucket->tokens < 1;
}

#endif
