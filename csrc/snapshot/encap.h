/*
 * snapshot/encap.h - the form a frame leaves in: no tag, one, or two.
 *
 * Job: find the form a port wants (br_form_of) and give it to a canonical frame (br_form_push). A form is a word, so
 * that ports that want the same one can be found by comparison:
 *      0                   untagged
 *      a TPID              one tag with the VID of the frame's VLAN
 *      BR_FORM_WRITTEN     the outer VID is written down in it (0: a priority tag) and, if there are two, the inner one
 * PCP and DEI are the frame's, in both tags. An inner tag has TPID 0x8100 whatever the port's.
 * Most ports are `plain` (thread/bridge.h): their frames have one of the first two forms, which the pipeline finds by itself.
 */
#ifndef BR_FORM_H
#define BR_FORM_H

#include "snapshot/port_config.h"
#include "snapshot/translation.h"
#include "frame/vlan.h"

#define BR_FORM_WRITTEN (1ull << 48)

enum { BR_FORM_OUTER = 16, BR_FORM_INNER = 32 }; /* where the VIDs are */

static inline uint64_t br_form_written(uint16_t tpid, uint32_t wire)
{
    const uint64_t outer = wire & BR_VID_MASK;
    const uint64_t inner = wire >> 12;

    return BR_FORM_WRITTEN | inner << BR_FORM_INNER | outer << BR_FORM_OUTER | tpid;
}

/* VID of the second tag, 0: there is none. */
static inline uint16_t br_form_inner(uint64_t form)
{
    return form >> BR_FORM_INNER & BR_VID_MASK;
}

static inline uint16_t br_form_outer(uint64_t form)
{
    return form >> BR_FORM_OUTER & BR_VID_MASK;
}

/* Whether the frame leaves without a VID: the receiver decides by what is behind its addresses, or its priority tag. */
static inline bool br_form_is_bare(uint64_t form)
{
    return form == 0 || (form & BR_FORM_WRITTEN && br_form_outer(form) == 0);
}

/* The form a canonical frame has on a port that is up. */
static inline uint64_t br_form_of(const struct br_port_config *egress, const struct br_frame *frame)
{
    if (frame->vid == egress->bare) {
        const bool has_priority = frame->tci & ~BR_VID_MASK;
        const bool tagged = egress->priority_tags == BR_PRIORITY_TAGS_ALWAYS ||
                            (egress->priority_tags == BR_PRIORITY_TAGS_IF_NONZERO && has_priority);

        return tagged ? br_form_written(egress->tpid, 0) : 0;
    }
    if (!egress->translation || egress->translation->wire[frame->vid] == frame->vid)
        return egress->tpid;
    return br_form_written(egress->tpid, egress->translation->wire[frame->vid]);
}

/* Put the tags of a form in front of a canonical frame; false without headroom, and the frame is as it was. */
static inline bool br_form_push(struct br_frame *frame, uint64_t form)
{
    const uint16_t tpid = (uint16_t)form;
    const uint16_t priority = frame->tci & ~BR_VID_MASK;

    if (!(form & BR_FORM_WRITTEN))
        return tpid == 0 || br_vlan_push(frame, tpid, frame->tci);
    if (!br_form_inner(form))
        return br_vlan_push(frame, tpid, priority | br_form_outer(form));
    return frame->headroom >= 2 * BR_TAG_LEN && br_vlan_push(frame, BR_TPID_8021Q, priority | br_form_inner(form)) &&
           br_vlan_push(frame, tpid, priority | br_form_outer(form));
}

#endif
