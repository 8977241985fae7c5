/*
 * frame/wire.h - big-endian numbers of any length in what the bridge writes and reads itself: probes and beacons.
 */
#ifndef BR_WIRE_H
#define BR_WIRE_H

#include <stdint.h>

/* Write the low `bytes` bytes of a value; returns what is behind them. */
static inline uint8_t *br_wire_put(uint8_t *at, uint64_t value, int bytes)
{
    for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8)
        *at++ = (uint8_t)(value >> shift);
    return at;
}

static inline uint64_t br_wire_get(const uint8_t *at, int bytes)
{
    uint64_t value = 0;

    for (int i = 0; i < bytes; i++)
        value = value << 8 | at[i];
    return value;
}

#endif
