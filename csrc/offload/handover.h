/*
 * handover.h - how the data thread tells the programs in the kernel what it is done with (shared.h: `acked`).
 *
 * Theory of operation. A round begins with a mark: how many frames had been left to userspace by then. It ends when each
 *      port was found empty since, or has given as many frames as it can hold, so everything from before the mark has
 *      been taken, and, as a burst is run through to its end, sent. A port is found empty by a receive call that brought
 *      less than it could, or by a look at all of epoll that did not name it. One round more passes before the mark is
 *      published, since a program counts a frame a moment before the port has it.
 * An idle thread would leave a round open: while a program waits (`waiting`), it takes the turns it needs before it sleeps.
 * Thread: the data thread's own. Nothing here is on the path of a frame.
 */
#ifndef BR_OFFLOAD_HANDOVER_H
#define BR_OFFLOAD_HANDOVER_H

#include <stdbool.h>
#include <stdint.h>

#include "offload/shared.h"

struct br_handover {
    struct br_offload_page *page; /* NULL: nothing is shared with the kernel */
    uint32_t mark;  /* of this round */
    uint32_t ripe;  /* of the one before */
    uint32_t looks; /* looks at epoll, by its beginning */
    uint32_t goal;  /* no sleep before acked is there */
};

static inline void br_handover_begin(struct br_handover *handover, struct br_offload_page *page)
{
    *handover = (struct br_handover){.page = page};
    if (!page)
        return;
    handover->mark = handover->ripe = handover->goal = __atomic_load_n(&page->acked, __ATOMIC_RELAXED);
}

/* A round has ended: publish, and mark the next one. */
static inline void br_handover_round(struct br_handover *handover, uint32_t looks)
{
    __atomic_store_n(&handover->page->acked, handover->ripe, __ATOMIC_RELEASE);
    handover->ripe = handover->mark;
    handover->mark = __atomic_load_n(&handover->page->passed, __ATOMIC_ACQUIRE);
    handover->looks = looks;
}

/* Whether somebody waits for what is not published yet. */
static inline bool br_handover_pending(struct br_handover *handover)
{
    if (__atomic_load_n(&handover->page->waiting, __ATOMIC_RELAXED)) {
        __atomic_store_n(&handover->page->waiting, 0, __ATOMIC_SEQ_CST);
        handover->goal = __atomic_load_n(&handover->page->passed, __ATOMIC_SEQ_CST);
    }
    return (int32_t)(__atomic_load_n(&handover->page->acked, __ATOMIC_RELAXED) - handover->goal) < 0;
}

#endif
