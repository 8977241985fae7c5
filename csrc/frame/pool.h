/*
 * frame/pool.h - buffers for what no port owns: heads for copies whose form differs, tails for super-frames.
 *
 * Owner and thread: one pool per data thread; get and put only there. All memory is mapped at set-up and touched on
 *      first use, last in first out, so an idle bridge keeps few pages.
 * Invariants: a head has BR_HEAD_CAP bytes, a tail BR_TAIL_CAP. Neighbouring heads start in different cache sets.
 * Refuses: an empty pool returns NULL; the caller drops with a reason.
 */
#ifndef BR_POOL_H
#define BR_POOL_H

#include <stddef.h>
#include <stdint.h>

struct br_stack {
    uint8_t **item;
    uint32_t n;
    uint32_t cap;
    uint8_t *memory;
    size_t memory_len;
};

struct br_pool {
    struct br_stack heads;
    struct br_stack tails;
};

/* 0 or -ENOMEM. */
int br_pool_init(struct br_pool *pool, uint32_t n_heads, uint32_t n_tails);
void br_pool_fini(struct br_pool *pool);

static inline uint8_t *br_stack_get(struct br_stack *stack)
{
    return stack->n ? stack->item[--stack->n] : NULL;
}

static inline void br_stack_put(struct br_stack *stack, uint8_t *item)
{
    stack->item[stack->n++] = item;
}

#endif
