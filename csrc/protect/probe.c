/* protect/probe.c - see protect/probe.h. */
#include "protect/probe.h"

#include "frame/vlan.h"
#include "frame/wire.h"

void br_probe_write(uint8_t frame[BR_FRAME_MIN], const struct br_probe *probe)
{
    uint8_t *at = frame;

    memset(frame, 0, BR_FRAME_MIN);
    at = br_wire_put(at, BR_PROBE_DESTINATION, BR_ETH_ALEN);
    at = br_wire_put(at, probe->source, BR_ETH_ALEN);
    at = br_wire_put(at, BR_PROBE_TYPE, 2);
    at = br_wire_put(at, BR_PROBE_MAGIC, 4);
    at = br_wire_put(at, probe->instance, 8);
    at = br_wire_put(at, probe->nonce, BR_PROBE_NONCE_LEN);
    at = br_wire_put(at, probe->port, 2);
    at = br_wire_put(at, probe->vid, 2);
    br_wire_put(at, probe->sequence, 4);
}

bool br_probe_read(const struct br_frame *frame, uint64_t instance, uint64_t *nonce)
{
    uint32_t at = 2 * BR_ETH_ALEN;

    for (int tags = 0; tags <= BR_PROBE_TAGS && at + 2 + BR_PROBE_LEN <= frame->len; tags++, at += BR_TAG_LEN) {
        const uint64_t type = br_wire_get(frame->data + at, 2);

        if (type == BR_PROBE_TYPE) {
            *nonce = br_wire_get(frame->data + at + 14, BR_PROBE_NONCE_LEN);
            return br_wire_get(frame->data + at + 2, 4) == BR_PROBE_MAGIC &&
                   br_wire_get(frame->data + at + 6, 8) == instance;
        }
        if (type != BR_TPID_8021Q && type != BR_TPID_8021AD)
            return false;
    }
    return false;
}

