/*
 * snapshot/translation.h - VLAN translation of a trunk: the tags of a VLAN on the wire, where they are not its own VID.
 *
 * Job: a bijection between the VLANs a trunk carries tagged and their wire tags, one (outer) or two (outer and inner).
 * Built by the control thread (br_translation_add) before its snapshot is applied, never written after; the data
 * thread reads it. An outer VID is of single-tagged or of double-tagged VLANs, never both: of a frame with two tags
 * nobody could tell whether the second one is payload.
 * Refuses: what would make it anything but a bijection (-EEXIST, and the translation is as it was).
 */
#ifndef BR_TRANSLATE_H
#define BR_TRANSLATE_H

#include <stdint.h>

#include "frame/vlan.h"

enum {
    BR_WIRE_BITS = 13, /* of a slot number: at most half of the slots are in use */
    BR_WIRE_SLOTS = 1 << BR_WIRE_BITS,
    BR_WIRE_DOUBLE = 0xffff, /* in `outer`: the inner tag decides */
};

struct br_translation {
    uint16_t outer[BR_VLANS];     /* by the VID of the outer tag: the VLAN, 0: none, or BR_WIRE_DOUBLE */
    uint32_t wire[BR_VLANS];      /* by VLAN: inner VID (0: none) << 12 | outer VID; 0: not carried tagged */
    uint16_t slot[BR_WIRE_SLOTS]; /* hash table of the double-tagged VLANs; 0: free */
};

static inline uint32_t br_wire(uint16_t outer, uint16_t inner)
{
    return (uint32_t)inner << 12 | outer;
}

static inline uint32_t br_wire_slot(uint32_t wire)
{
    return wire * 0x9e3779b1u >> (32 - BR_WIRE_BITS); /* Fibonacci hashing: Knuth, TAOCP volume 3, section 6.4 */
}

/* The VLAN of a frame with these two tags; 0: none. */
static inline uint16_t br_translation_double(const struct br_translation *translation, uint16_t outer, uint16_t inner)
{
    const uint32_t wire = br_wire(outer, inner);

    for (uint32_t slot = br_wire_slot(wire);; slot++) {
        const uint16_t vid = translation->slot[slot % BR_WIRE_SLOTS];

        if (vid == 0 || translation->wire[vid] == wire)
            return vid;
    }
}

/* VLAN `vid` has these tags, `inner` 0: only the outer one; VIDs are 1..BR_VID_MAX. 0 or -EEXIST. */
int br_translation_add(struct br_translation *translation, uint16_t outer, uint16_t inner, uint16_t vid);

#endif
