/*
 * input.h - the bytes of one fuzzing run as a stream of decisions: whatever they are, each read has an answer.
 *
 * An input that has ended reads as zeros, so every prefix of an input is an input, which is what a fuzzer shortens.
 */
#ifndef FUZZ_INPUT_H
#define FUZZ_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct input {
    const uint8_t *at;
    size_t left;
};

/* A finding: say which line, and end so that the fuzzer keeps the input. */
#define FUZZ_CHECK(condition)                                                                    \
    do {                                                                                         \
        if (!(condition)) {                                                                      \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);       \
            abort();                                                                             \
        }                                                                                        \
    } while (0)

static inline uint64_t in_bytes(struct input *in, int n)
{
    uint64_t value = 0;

    for (int i = 0; i < n; i++) {
        value <<= 8;
        if (in->left) {
            value |= *in->at++;
            in->left--;
        }
    }
    return value;
}

static inline uint8_t in_8(struct input *in)
{
    return (uint8_t)in_bytes(in, 1);
}

static inline uint16_t in_16(struct input *in)
{
    return (uint16_t)in_bytes(in, 2);
}

/* One of `n` things. */
static inline uint32_t in_one_of(struct input *in, uint32_t n)
{
    return (n > 256 ? in_16(in) : in_8(in)) % n;
}

static inline bool in_bit(struct input *in)
{
    return in_8(in) & 1;
}

#endif
