/*
 * ha/gate.h - may the bridge forward, now? One word that the data thread compares with the clock.
 *
 * Job: a page that says until when the gate is open, under which epoch, and when the data thread last came round. It is
 *      shared memory with a descriptor, so that another process, and any thread, can read and write it without a call:
 *      the data thread that keeps a pair's lease, and the witness (bridge/ha/last_word.py), which answers for the gate
 *      while the control thread is busy and has the last word when the daemon is killed.
 * Layout: 64-bit numbers in the order declared; the witness reads them by their offsets.
 * Rule: what was received at a time not before `until` is dropped as `standby`; nothing is learned from it and nothing is
 *      sent. The clock is read after the burst was taken, so frames that waited through a SIGSTOP meet a closed gate.
 * Thread: one writer of `until` and `epoch` (whoever drives the gate), the data thread writes `progress`.
 * A bridge without a page has no gate and is always open.
 */
#ifndef BR_GATE_H
#define BR_GATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

struct br_gate_page {
    _Atomic uint64_t until;    /* CLOCK_BOOTTIME, ns; 0: closed */
    _Atomic uint64_t epoch;    /* of the last opening */
    _Atomic uint64_t progress; /* the last turn of the data thread, CLOCK_BOOTTIME, ns */
    _Atomic uint64_t sequence; /* of the last beacon sent: what a last word must be greater than */
    int32_t fd;                /* of this page's memory, in the process that made it: what another one maps */
};

/* A page, closed, or NULL: no memory. */
struct br_gate_page *br_gate_new(void);
void br_gate_free(struct br_gate_page *page);

static inline uint64_t br_gate_clock(void)
{
    struct timespec now;

    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline uint64_t br_gate_until(const struct br_gate_page *page)
{
    return atomic_load_explicit(&page->until, memory_order_acquire);
}

static inline uint64_t br_gate_epoch(const struct br_gate_page *page)
{
    return atomic_load_explicit(&page->epoch, memory_order_relaxed);
}

static inline uint64_t br_gate_progress(const struct br_gate_page *page)
{
    return atomic_load_explicit(&page->progress, memory_order_relaxed);
}

static inline bool br_gate_is_open(const struct br_gate_page *page, uint64_t now)
{
    return now < br_gate_until(page);
}

static inline void br_gate_open(struct br_gate_page *page, uint64_t epoch, uint64_t until)
{
    atomic_store_explicit(&page->epoch, epoch, memory_order_relaxed);
    atomic_store_explicit(&page->until, until, memory_order_release);
}

static inline void br_gate_close(struct br_gate_page *page)
{
    atomic_store_explicit(&page->until, 0, memory_order_release);
}

#endif
