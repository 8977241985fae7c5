/*
 * ha/beacon.h - what the members of a pair send each other, as a value and as bytes.
 *
 *      destination 03-46-42-4c-50-01 | source: the bridge's own address | 88-B5 | "FBHA" | version 1 | flags | priority |
 *      length of the rest 0 | pair | sender | session | sequence | epoch | heard sender | heard session | tag (16 bytes)
 *
 * Numbers are big-endian; BR_BEACON_LEN bytes in all, no padding needed (more than 60). The EtherType is that of loop
 * probes (protect/probe.h), told apart by the magic number.
 * Trust: the tag is keyed BLAKE2s (RFC 7693, 16 bytes) over all bytes between the EtherType and the tag, under the secret
 *      of the pair. Addresses are not covered: nothing is decided by them. A recorded beacon is refused by its session
 *      and sequence (pair.h); `heard` repeats the session of the receiver, which a recording of another day cannot have.
 */
#ifndef BR_BEACON_H
#define BR_BEACON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    BR_BEACON_TYPE = 0x88b5,
    BR_BEACON_MAGIC = 0x46424841,
    BR_BEACON_VERSION = 1,
    BR_BEACON_TAG_LEN = 16,
    BR_BEACON_LEN = 14 + 8 + 7 * 8 + BR_BEACON_TAG_LEN,
    BR_BEACON_KEY_MIN = 16, /* bytes of a secret */
    BR_BEACON_KEY_MAX = 32,
};

#define BR_BEACON_DESTINATION 0x0346424c5001ull

enum br_beacon_flag {
    BR_BEACON_GRANTED = 1 << 0,  /* the sender forwards */
    BR_BEACON_ELIGIBLE = 1 << 1, /* and could */
    BR_BEACON_RELEASED = 1 << 2, /* it closed its gate, and hands it over */
    BR_BEACON_WANTS = 1 << 3,    /* it asks for the gate */
    BR_BEACON_LEFT = 1 << 4,     /* it forwarded beside another lately, and gave way */
};

struct br_beacon {
    uint64_t pair;
    uint64_t sender;
    uint64_t session;
    uint64_t sequence;
    uint64_t epoch;
    uint64_t heard_sender;  /* whom the sender heard lately; 0: nobody */
    uint64_t heard_session;
    uint8_t flags;          /* enum br_beacon_flag */
    uint8_t priority;
};

struct br_beacon_key {
    uint8_t len; /* BR_BEACON_KEY_MIN..MAX */
    uint8_t byte[BR_BEACON_KEY_MAX];
};

enum br_beacon_fault { BR_BEACON_FINE, BR_BEACON_NONE, BR_BEACON_CUT, BR_BEACON_OTHER_VERSION, BR_BEACON_FORGED };

void br_beacon_write(uint8_t frame[BR_BEACON_LEN], uint64_t source, const struct br_beacon *beacon,
                     const struct br_beacon_key *key);
/* NONE: no beacon at all; else it is one, and why it is not taken. */
enum br_beacon_fault br_beacon_read(const uint8_t *frame, size_t len, const struct br_beacon_key *key,
                                    struct br_beacon *beacon);

#endif
