/*
 * snapshot/encap.h - the encapsulation a frame leaves in: no tag, one, or two.
 *
 * Job: find the encapsulation a port wants (br_encap_of) and give it to a canonical frame (br_encap_push). It is a
 *      word, so that ports that want the same one can be found by comparison:
 *            0                   untagged
 *            a TPID              one tag with the VID of the frame's VLAN
 *            BR_ENCAP_EXPLICIT   it has the outer VID (0: a priority tag) and, if there are two tags, the inner one
 * PCP and DEI are the frame's, in both tags. An inner tag has TPID 0x8100 whatever the port's.
 * Most ports are `simple` (snapshot/port_config.h): their frames have one of the first two, which the pipeline finds by
 * itself.
 */
#ifndef BR_ENCAP_H
#define BR_ENCAP_H

#include "snapshot/port_config.h"
#include "snapshot/translation.h"
#include "frame/vlan.h"

#define BR_ENCAP_EXPLICIT (1ull << 48)

enum { BR_ENCAP_OUTER = 16, BR_ENCAP_INNER = 32 }; /* where the VIDs are */

static inline uint64_t br_encap_explicit(uint16_t tpid, uint32_t wire)
{
    const uint64_t outer = wire & BR_VID_MASK;
    const uint64_t inner = wire >> 12;

    return BR_ENCAP_EXPLICIT | inner << BR_ENCAP_INNER | outer << BR_ENCAP_OUTER | tpid;
}

/* VID of the second tag, 0: there is none. */
static inline uint16_t br_encap_inner(uint64_t encap)
{
    return encap >> BR_ENCAP_INNER & BR_VID_MASK;
}

static inline uint16_t br_encap_outer(uint64_t encap)
{
    return encap >> BR_ENCAP_OUTER & BR_VID_MASK;
}

/* Whether the frame leaves without a VID: the receiver decides by what is behind its addresses, or its priority tag. */
static inline bool br_encap_has_no_vid(uint64_t encap)
{
    return encap == 0 || (encap & BR_ENCAP_EXPLICIT && br_encap_outer(encap) == 0);
}

/* The encapsulation of a canonical frame on a port that is up. */
static inline uint64_t br_encap_of(const struct br_port_config *egress, const struct br_frame *frame)
{
    if (frame->vid == egress->untagged_vid) {
        const bool has_priority = frame->tci & ~BR_VID_MASK;
        const bool tagged = egress->priority_tags == BR_PRIORITY_TAGS_ALWAYS ||
                            (egress->priority_tags == BR_PRIORITY_TAGS_IF_NONZERO && has_priority);

        return tagged ? br_encap_explicit(egress->tpid, 0) : 0;
    }
    if (!egress->translation || egress->translation->wire[frame->vid] == frame->vid)
        return egress->tpid;
    return br_encap_explicit(egress->tpid, egress->translation->wire[frame->vid]);
}

/* Put its tags in front of a canonical frame; false without headroom, and the frame is as it was. */
static inline bool br_encap_push(struct br_frame *frame, uint64_t encap)
{
    const uint16_t tpid = (uint16_t)encap;
    const uint16_t priority = frame->tci & ~BR_VID_MASK;

    if (!(encap & BR_ENCAP_EXPLICIT))
        return tpid == 0 || br_vlan_push(frame, tpid, frame->tci);
    if (!br_encap_inner(encap))
        return br_vlan_push(frame, tpid, priority | br_encap_outer(encap));
    return frame->headroom >= 2 * BR_TAG_LEN && br_vlan_push(frame, BR_TPID_8021Q, priority | br_encap_inner(encap)) &&
           br_vlan_push(frame, tpid, priority | br_encap_outer(encap));
}

#endif
