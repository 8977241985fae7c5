/*
 * clock.h - the two clocks of the traffic tool: cycles for pacing and spinning, CLOCK_MONOTONIC for stamps.
 *
 * Job: cheap readings and their ratio. Stamps in frames are CLOCK_MONOTONIC nanoseconds, which every process on a machine
 *      shares whatever its network namespace; two machines need their clocks compared by other means.
 * Thread: any. Holds no state.
 */
#ifndef BT_CLOCK_H
#define BT_CLOCK_H

#include <stdint.h>
#include <time.h>

#include "../../csrc/count/cycles.h" /* br_cycles_now(): the counter the bridge bills by */

static inline uint64_t bt_clock_read(clockid_t id)
{
    struct timespec now;

    clock_gettime(id, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline uint64_t bt_now_ns(void)
{
    return bt_clock_read(CLOCK_MONOTONIC);
}

/* Sleep until a CLOCK_MONOTONIC time; returns early on a signal. */
static inline void bt_sleep_until(uint64_t ns)
{
    const struct timespec when = {.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)};

    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &when, NULL);
}

#endif
