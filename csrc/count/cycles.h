/*
 * count/cycles.h - the cycle counter.
 *
 * Job: one monotonic reading of the cheapest counter the machine has. On x86 the TSC (22-30 cycles, not serialising:
 *      a stamp covers a batch, so a few cycles of reordering are noise), on arm64 the virtual counter, on s390x the
 *      fast TOD clock, elsewhere the monotonic clock in nanoseconds. All of them tick at a constant rate; none counts
 *      core cycles under frequency scaling.
 */
#ifndef BR_CYCLES_H
#define BR_CYCLES_H

#include <stdint.h>
#if defined(__x86_64__) || defined(__i386__)
#include <x86intrin.h>
#else
#include <time.h>
#endif

static inline uint64_t br_cycles_now(void)
{
#if defined(__x86_64__) || defined(__i386__)
    return __rdtsc();
#elif defined(__aarch64__)
    uint64_t now;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(now));
    return now;
#elif defined(__s390x__)
    uint64_t now;
    __asm__ volatile("stckf %0" : "=Q"(now) : : "cc");
    return now;
#else
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
#endif
}

#endif
