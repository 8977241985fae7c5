/* snapshot/translation.c - see snapshot/translation.h. */
#include "snapshot/translation.h"

#include <errno.h>

int br_translation_add(struct br_translation *translation, uint16_t outer, uint16_t inner, uint16_t vid)
{
    uint16_t *by_outer = &translation->outer[outer];
    const bool taken = inner ? *by_outer && *by_outer != BR_WIRE_DOUBLE : *by_outer != 0;

    if (translation->wire[vid] || taken || (inner && br_translation_double(translation, outer, inner)))
        return -EEXIST;
    translation->wire[vid] = br_wire(outer, inner);
    *by_outer = inner ? BR_WIRE_DOUBLE : vid;
    if (inner) {
        uint32_t slot = br_wire_slot(translation->wire[vid]);

        while (translation->slot[slot % BR_WIRE_SLOTS])
            slot++;
        translation->slot[slot % BR_WIRE_SLOTS] = vid;
    }
    return 0;
}
