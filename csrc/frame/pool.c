/* frame/pool.c - see frame/pool.h. */
#include "frame/pool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "frame/frame.h"

static int br_stack_init(struct br_stack *stack, uint32_t n, size_t stride)
{
    stack->memory_len = n * stride;
    stack->memory = mmap(NULL, stack->memory_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                         -1, 0);
    if (stack->memory == MAP_FAILED) {
        stack->memory = NULL;
        return -ENOMEM;
    }
    stack->item = calloc(n, sizeof(*stack->item));
    if (!stack->item)
        return -ENOMEM;
    stack->cap = n;
    for (uint32_t i = n; i > 0; i--)
        br_stack_put(stack, stack->memory + (i - 1) * stride);
    return 0;
}

static void br_stack_fini(struct br_stack *stack)
{
    if (stack->memory)
        munmap(stack->memory, stack->memory_len);
    free(stack->item);
    memset(stack, 0, sizeof(*stack));
}

int br_pool_init(struct br_pool *pool, uint32_t n_heads, uint32_t n_tails)
{
    memset(pool, 0, sizeof(*pool));
    /* One cache line beyond the capacity: a power-of-two stride would put all headers into the same cache sets. */
    int error = br_stack_init(&pool->heads, n_heads, BR_HEAD_CAP + 64);
    if (!error)
        error = br_stack_init(&pool->tails, n_tails, BR_TAIL_CAP);
    if (error)
        br_pool_fini(pool);
    return error;
}

void br_pool_fini(struct br_pool *pool)
{
    br_stack_fini(&pool->heads);
    br_stack_fini(&pool->tails);
}
