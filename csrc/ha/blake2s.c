/* ha/blake2s.c - see ha/blake2s.h. Section numbers are RFC 7693's. */
#include "ha/blake2s.h"

#include <string.h>

enum { BLOCK = 64, ROUNDS = 10 };

/* 2.6: the first 32 bits of the fractional parts of the square roots of the first eight primes. */
static const uint32_t br_blake2s_iv[8] = {
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

/* 2.7 */
static const uint8_t br_blake2s_sigma[ROUNDS][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
    {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4}, {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
    {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13}, {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
    {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11}, {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
    {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5}, {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0},
};

static uint32_t br_blake2s_turn(uint32_t word, int by)
{
    return word >> by | word << (32 - by);
}

static uint32_t br_blake2s_load(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

/* 3.1: the mixing function G. */
static void br_blake2s_mix(uint32_t *v, int a, int b, int c, int d, uint32_t x, uint32_t y)
{
    v[a] += v[b] + x;
    v[d] = br_blake2s_turn(v[d] ^ v[a], 16);
    v[c] += v[d];
    v[b] = br_blake2s_turn(v[b] ^ v[c], 12);
    v[a] += v[b] + y;
    v[d] = br_blake2s_turn(v[d] ^ v[a], 8);
    v[c] += v[d];
    v[b] = br_blake2s_turn(v[b] ^ v[c], 7);
}

/* 3.2: the compression function F. */
static void br_blake2s_compress(uint32_t h[8], const uint8_t block[BLOCK], uint64_t offset, int last)
{
    uint32_t v[16];
    uint32_t m[16];

    for (int i = 0; i < 16; i++)
        m[i] = br_blake2s_load(block + 4 * i);
    memcpy(v, h, 32);
    memcpy(v + 8, br_blake2s_iv, 32);
    v[12] ^= (uint32_t)offset;
    v[13] ^= (uint32_t)(offset >> 32);
    if (last)
        v[14] = ~v[14];
    for (int round = 0; round < ROUNDS; round++) {
        const uint8_t *s = br_blake2s_sigma[round];

        for (int i = 0; i < 4; i++)
            br_blake2s_mix(v, i, i + 4, i + 8, i + 12, m[s[2 * i]], m[s[2 * i + 1]]);
        for (int i = 0; i < 4; i++)
            br_blake2s_mix(v, i, (i + 1) % 4 + 4, (i + 2) % 4 + 8, (i + 3) % 4 + 12, m[s[2 * i + 8]], m[s[2 * i + 9]]);
    }
    for (int i = 0; i < 8; i++)
        h[i] ^= v[i] ^ v[i + 8];
}

/* 3.3 */
void br_blake2s(uint8_t *out, size_t out_len, const uint8_t *key, size_t key_len, const uint8_t *message, size_t len)
{
    uint8_t block[BLOCK] = {0};
    uint64_t offset = 0;
    uint32_t h[8];

    memcpy(h, br_blake2s_iv, sizeof(h));
    h[0] ^= 0x01010000 ^ (uint32_t)(key_len << 8) ^ (uint32_t)out_len;
    if (key_len) {
        memcpy(block, key, key_len);
        offset = BLOCK;
        br_blake2s_compress(h, block, offset, len == 0);
    }
    for (; len > BLOCK; len -= BLOCK, message += BLOCK)
        br_blake2s_compress(h, message, offset += BLOCK, 0);
    if (len || !key_len) {
        memset(block, 0, sizeof(block));
        if (len)
            memcpy(block, message, len);
        br_blake2s_compress(h, block, offset + len, 1);
    }
    for (size_t i = 0; i < out_len; i++)
        out[i] = (uint8_t)(h[i / 4] >> 8 * (i % 4));
}
