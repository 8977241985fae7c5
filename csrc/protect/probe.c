/* protect/probe.c - see protect/probe.h. */
#include "protect/probe.h"

#include "frame/vlan.h"

static uint8_t *br_probe_put(uint8_t *at, uint64_t value, int bytes)
{
    for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8)
        *at++ = (uint8_t)(value >> shift);
    return at;
}

static uint64_t br_probe_get(const uint8_t *at, int bytes)
{
    uint64_t value = 0;

    for (int i = 0; i < bytes; i++)
        value = value << 8 | at[i];
    return value;
}

void br_probe_write(uint8_t frame[BR_FRAME_MIN], const struct br_probe *probe)
{
    uint8_t *at = frame;

    memset(frame, 0, BR_FRAME_MIN);
    at = br_probe_put(at, BR_PROBE_DESTINATION, BR_ETH_ALEN);
    at = br_probe_put(at, probe->source, BR_ETH_ALEN);
    at = br_probe_put(at, BR_PROBE_TYPE, 2);
    at = br_probe_put(at, BR_PROBE_MAGIC, 4);
    at = br_probe_put(at, probe->instance, 8);
    at = br_probe_put(at, probe->nonce, BR_PROBE_NONCE_LEN);
    at = br_probe_put(at, probe->port, 2);
    at = br_probe_put(at, probe->vid, 2);
    br_probe_put(at, probe->sequence, 4);
}

bool br_probe_read(const struct br_frame *frame, uint64_t instance, uint64_t *nonce)
{
    uint32_t at = 2 * BR_ETH_ALEN;

    for (int tags = 0; tags <= BR_PROBE_TAGS && at + 2 + BR_PROBE_LEN <= frame->len; tags++, at += BR_TAG_LEN) {
        const uint64_t type = br_probe_get(frame->data + at, 2);

        if (type == BR_PROBE_TYPE) {
            *nonce = br_probe_get(frame->data + at + 14, BR_PROBE_NONCE_LEN);
            return br_probe_get(frame->data + at + 2, 4) == BR_PROBE_MAGIC &&
                   br_probe_get(frame->data + at + 6, 8) == instance;
        }
        if (type != BR_TPID_8021Q && type != BR_TPID_8021AD)
            return false;
    }
    return false;
}

