/* ha/beacon.c - see ha/beacon.h. */
#include "ha/beacon.h"

#include <string.h>

#include "frame/wire.h"
#include "ha/blake2s.h"

enum {
    ETHERTYPE = 12,
    BODY = 14,
    FLAGS = BODY + 5,
    NUMBERS = BODY + 8,
    TAG = BR_BEACON_LEN - BR_BEACON_TAG_LEN,
};

static void br_beacon_sign(uint8_t tag[BR_BEACON_TAG_LEN], const uint8_t *frame, const struct br_beacon_key *key)
{
    br_blake2s(tag, BR_BEACON_TAG_LEN, key->byte, key->len, frame + BODY, TAG - BODY);
}

void br_beacon_write(uint8_t frame[BR_BEACON_LEN], uint64_t source, const struct br_beacon *beacon,
                     const struct br_beacon_key *key)
{
    const uint64_t number[] = {beacon->pair,  beacon->sender,       beacon->session,      beacon->sequence,
                               beacon->epoch, beacon->heard_sender, beacon->heard_session};

    br_wire_put(frame, BR_BEACON_DESTINATION, 6);
    br_wire_put(frame + 6, source, 6);
    br_wire_put(frame + ETHERTYPE, BR_BEACON_TYPE, 2);
    br_wire_put(frame + BODY, BR_BEACON_MAGIC, 4);
    frame[BODY + 4] = BR_BEACON_VERSION;
    frame[FLAGS] = beacon->flags;
    frame[FLAGS + 1] = beacon->priority;
    frame[FLAGS + 2] = 0;
    for (int i = 0; i < 7; i++)
        br_wire_put(frame + NUMBERS + 8 * i, number[i], 8);
    br_beacon_sign(frame + TAG, frame, key);
}

/* In a time that does not depend on where they differ. */
static bool br_beacon_same(const uint8_t *one, const uint8_t *other)
{
    uint8_t differs = 0;

    for (int i = 0; i < BR_BEACON_TAG_LEN; i++)
        differs |= one[i] ^ other[i];
    return !differs;
}

enum br_beacon_fault br_beacon_read(const uint8_t *frame, size_t len, const struct br_beacon_key *key,
                                    struct br_beacon *beacon)
{
    uint8_t tag[BR_BEACON_TAG_LEN];

    if (len < BODY + 5 || br_wire_get(frame + ETHERTYPE, 2) != BR_BEACON_TYPE ||
        br_wire_get(frame + BODY, 4) != BR_BEACON_MAGIC)
        return BR_BEACON_NONE;
    if (frame[BODY + 4] != BR_BEACON_VERSION)
        return BR_BEACON_OTHER_VERSION;
    if (len < BR_BEACON_LEN)
        return BR_BEACON_CUT;
    br_beacon_sign(tag, frame, key);
    if (!br_beacon_same(tag, frame + TAG))
        return BR_BEACON_FORGED;
    *beacon = (struct br_beacon){
        .pair = br_wire_get(frame + NUMBERS, 8),
        .sender = br_wire_get(frame + NUMBERS + 8, 8),
        .session = br_wire_get(frame + NUMBERS + 16, 8),
        .sequence = br_wire_get(frame + NUMBERS + 24, 8),
        .epoch = br_wire_get(frame + NUMBERS + 32, 8),
        .heard_sender = br_wire_get(frame + NUMBERS + 40, 8),
        .heard_session = br_wire_get(frame + NUMBERS + 48, 8),
        .flags = frame[FLAGS],
        .priority = frame[FLAGS + 1],
    };
    return BR_BEACON_FINE;
}
