/*
 * ha/blake2s.h - keyed BLAKE2s (RFC 7693), one call for a short message.
 *
 * Job: the message authentication of beacons. No allocation, no table that depends on the key, constant time.
 */
#ifndef BR_BLAKE2S_H
#define BR_BLAKE2S_H

#include <stddef.h>
#include <stdint.h>

/* `out` of 1..32 bytes, a key of 0..32 bytes. */
void br_blake2s(uint8_t *out, size_t out_len, const uint8_t *key, size_t key_len, const uint8_t *message, size_t len);

#endif
