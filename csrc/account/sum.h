/*
 * account/sum.h - frames that are charged together, and what they cost: the value of a row of the bill.
 *
 * Thread: the data thread writes; others may read a row at any time.
 */
#ifndef BR_SUM_H
#define BR_SUM_H

#include <stdint.h>

/* Frames that are charged together, and what they cost. */
struct br_sum {
    uint64_t direct; /* cycles */
    uint64_t induced;
    uint64_t frames;
    uint64_t segments;
    uint64_t bytes;
    uint64_t copies; /* handed to egress ports, the first included */
};

/* One writer; a row that other threads may read is torn across its values, never within one. */
static inline void br_sum_write(struct br_sum *to, struct br_sum sum)
{
    __atomic_store_n(&to->direct, sum.direct, __ATOMIC_RELAXED);
    __atomic_store_n(&to->induced, sum.induced, __ATOMIC_RELAXED);
    __atomic_store_n(&to->frames, sum.frames, __ATOMIC_RELAXED);
    __atomic_store_n(&to->segments, sum.segments, __ATOMIC_RELAXED);
    __atomic_store_n(&to->bytes, sum.bytes, __ATOMIC_RELAXED);
    __atomic_store_n(&to->copies, sum.copies, __ATOMIC_RELAXED);
}

static inline void br_sum_add(struct br_sum *to, const struct br_sum *sum)
{
    br_sum_write(to, (struct br_sum){
                         .direct = to->direct + sum->direct,
                         .induced = to->induced + sum->induced,
                         .frames = to->frames + sum->frames,
                         .segments = to->segments + sum->segments,
                         .bytes = to->bytes + sum->bytes,
                         .copies = to->copies + sum->copies,
                     });
}

static inline struct br_sum br_sum_read(const struct br_sum *sum)
{
    return (struct br_sum){
        .direct = __atomic_load_n(&sum->direct, __ATOMIC_RELAXED),
        .induced = __atomic_load_n(&sum->induced, __ATOMIC_RELAXED),
        .frames = __atomic_load_n(&sum->frames, __ATOMIC_RELAXED),
        .segments = __atomic_load_n(&sum->segments, __ATOMIC_RELAXED),
        .bytes = __atomic_load_n(&sum->bytes, __ATOMIC_RELAXED),
        .copies = __atomic_load_n(&sum->copies, __ATOMIC_RELAXED),
    };
}

#endif
