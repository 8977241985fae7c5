/*
 * protect/probe.h - the loop probe: a frame the bridge sends by a port to see whether it comes back by one.
 *
 *      destination 03-46-42-4c-50-00 | source: the bridge's own address | 88-B5 | "FBLP" | instance | nonce | port |
 *      VLAN | sequence | zeros up to 60 bytes
 *
 * Job: the one definition of that layout. The EtherType is one of the two that IEEE 802-2014 clause 9.2.3 keeps for
 *      local experiments; the destination is a locally administered group, which every switch floods and no protocol
 *      uses.
 * Trust: `instance` is random for each daemon, so two bridges on one LAN never take each other's probes for their own,
 *      and `nonce` for each probe: who has not been sent a probe cannot make one that is believed. Port, VLAN and
 *      sequence are for people with tcpdump; the control thread goes by the nonce alone.
 */
#ifndef BR_PROBE_H
#define BR_PROBE_H

#include <stdbool.h>
#include <stdint.h>

#include "frame/frame.h"

enum {
    BR_PROBE_TYPE = 0x88b5,
    BR_PROBE_MAGIC = 0x46424c50,
    BR_PROBE_LEN = 26,      /* behind the EtherType */
    BR_PROBE_NONCE_LEN = 6,
    BR_PROBE_TAGS = 2,      /* tags a probe may have gathered on its way */
};

#define BR_PROBE_DESTINATION 0x0346424c5000ull

struct br_probe {
    uint64_t source;
    uint64_t instance;
    uint64_t nonce; /* 48 bits */
    uint16_t port;
    uint16_t vid;
    uint32_t sequence;
};

void br_probe_write(uint8_t frame[BR_FRAME_MIN], const struct br_probe *probe);
/* Whether a frame is a probe of this instance, and its nonce. */
bool br_probe_read(const struct br_frame *frame, uint64_t instance, uint64_t *nonce);

#endif
