/*
 * pipeline/admit.c - the first stage: which frames may come in, and in which VLAN they are. Rules R1 to R6 on ingress.
 *
 * Job: make each frame canonical (frame/frame.h), check its addresses, its VLAN, its vnet metadata and its length,
 *      find where the FDB has its two stations and fetch that ahead. What a port asks for beside the usual is compiled
 *      apart.
 * Refuses, under its name (br_batch_drop): whatever a rule forbids; it is dropped here and nobody learns from it.
 * Thread: the data thread.
 */
#include "frame/mac.h"
#include "frame/vlan.h"
#include "frame/vnet.h"
#include "ha/beacon.h"
#include "pipeline/stages.h"
#include "snapshot/translation.h"

/* Make the frame canonical (frame/frame.h): its outer tag, if it is one of the port's TPID, goes to tci. */
static inline enum br_drop br_admit_tag(const struct br_port_config *port, struct br_frame *frame)
{
    const bool beside = frame->flags & BR_FRAME_TAG_BESIDE;

    if (beside && frame->tpid == port->tpid && port->mode != BR_MODE_TUNNEL) {
        frame->flags |= BR_FRAME_WAS_TAGGED;
        return BR_PASS;
    }
    if (beside) { /* not ours to interpret: payload again (R6) */
        if (!br_vlan_push(frame, frame->tpid, frame->tci))
            return BR_DROP_no_headroom;
        frame->flags &= (uint8_t)~BR_FRAME_TAG_BESIDE;
    }
    frame->tci = port->untagged_tci;
    if (BR_LIKELY(br_frame_ethertype(frame) != port->tpid || port->mode == BR_MODE_TUNNEL))
        return BR_PASS;
    if (frame->len < BR_ETH_HLEN + BR_TAG_LEN)
        return BR_DROP_runt;
    frame->tci = br_vlan_pop(frame);
    frame->flags |= BR_FRAME_WAS_TAGGED;
    return BR_PASS;
}

/* R4, and what only this product sends to its like. */
static inline enum br_drop br_admit_group(const struct br_snapshot *snapshot, uint64_t destination)
{
    if (br_mac_is_reserved(destination) && !(snapshot->reserved_pass >> (destination & 0xf) & 1))
        return BR_DROP_reserved;
    return destination == BR_BEACON_DESTINATION ? BR_DROP_beacon : BR_PASS;
}

/* R3, R4. */
static inline enum br_drop br_admit_addresses(const struct br_snapshot *snapshot, uint64_t destination, uint64_t source)
{
    if (source >> 40 & 1 || source == 0 || source == destination)
        return BR_DROP_bad_source;
    return destination >> 40 & 1 ? br_admit_group(snapshot, destination) : BR_PASS;
}

/* Trunk with translation: from the tags on the wire to one with the VID of the VLAN, PCP and DEI those of the outer. */
static enum br_drop br_admit_translated(const struct br_port_config *port, struct br_frame *frame)
{
    const struct br_translation *translation = port->translation;
    const uint16_t outer = frame->tci & BR_VID_MASK;
    uint16_t vid = translation->outer[outer];

    if (outer == 0 || outer == BR_VID_RESERVED)
        return BR_PASS; /* the native VLAN, or a fault: R5 */
    if (vid == BR_WIRE_DOUBLE) {
        if (br_frame_ethertype(frame) != BR_TPID_8021Q)
            return BR_DROP_vlan_not_allowed;
        if (frame->len < BR_ETH_HLEN + BR_TAG_LEN)
            return BR_DROP_runt;
        vid = br_translation_double(translation, outer, br_be16_read(frame->data + BR_ETH_HLEN) & BR_VID_MASK);
        if (vid != 0)
            br_vlan_pop(frame);
        frame->flags |= BR_FRAME_WAS_DOUBLE;
    }
    if (vid == 0)
        return BR_DROP_vlan_not_allowed;
    frame->tci = (uint16_t)((frame->tci & ~BR_VID_MASK) | vid);
    return BR_PASS;
}

/* R5: which VLAN the frame is in. Leaves PCP and DEI in tci, with the VID of that VLAN. */
static inline enum br_drop br_admit_vlan(const struct br_snapshot *snapshot, const struct br_port_config *port,
                                         struct br_frame *frame)
{
    uint16_t vid = frame->tci & BR_VID_MASK;

    if (port->mode == BR_MODE_TRUNK) {
        if (vid == BR_VID_RESERVED)
            return BR_DROP_bad_vid;
        if (vid == 0)
            vid = port->pvid;
        if (vid == 0 || !br_set_has(&snapshot->vlan[vid], frame->ingress))
            return BR_DROP_vlan_not_allowed;
    } else {
        if (vid != 0)
            return BR_DROP_tag_not_allowed;
        vid = port->pvid;
    }
    frame->vid = vid;
    frame->tci = (uint16_t)((frame->tci & ~BR_VID_MASK) | vid);
    return BR_PASS;
}

/* What a port asks of admit; the usual one is compiled without the others. */
enum br_admission { BR_ADMISSION_PLAIN, BR_ADMISSION_TRANSLATED, BR_ADMISSION_NONE };

/* R2: the tag of a VLAN is free, a second one is payload. */
static inline uint32_t br_admit_l3_len(const struct br_frame *frame, enum br_admission admission)
{
    const bool second = admission == BR_ADMISSION_TRANSLATED && frame->flags & BR_FRAME_WAS_DOUBLE;

    return br_frame_l3_len(frame) + (second ? BR_TAG_LEN : 0);
}

/* A frame that asks for something. */
static __attribute__((noinline)) enum br_drop br_admit_vnet(struct br_port *port, struct br_frame *frame)
{
    if (!br_vnet_admit(frame))
        return BR_DROP_bad_offload;
    port->counters.rx_checksums += br_vnet_finish_crc(frame);
    return BR_PASS;
}

static inline enum br_drop br_admit_frame(const struct br_thread *thread, const struct br_port_config *port,
                                          struct br_frame *frame, struct br_stations *stations,
                                          enum br_admission admission)
{
    const struct br_fdb *fdb = &thread->fdb;

    if (admission == BR_ADMISSION_NONE)
        return BR_DROP_egress_only;
    if (frame->len < BR_ETH_HLEN)
        return BR_DROP_runt;
    if (frame->flags & BR_FRAME_TRUNCATED)
        return BR_DROP_truncated;
    enum br_drop decision = br_admit_tag(port, frame);
    if (decision != BR_PASS)
        return decision;
    const uint64_t destination = br_mac_read(frame->data);
    const uint64_t source = br_mac_read(frame->data + BR_ETH_ALEN);
    decision = br_admit_addresses(thread->batch.snapshot, destination, source);
    if (decision != BR_PASS)
        return decision;
    if (admission == BR_ADMISSION_TRANSLATED) {
        decision = br_admit_translated(port, frame);
        if (decision != BR_PASS)
            return decision;
    }
    decision = br_admit_vlan(thread->batch.snapshot, port, frame);
    if (decision != BR_PASS)
        return decision;
    if (!br_vnet_none(&frame->vnet)) {
        decision = br_admit_vnet(port->port, frame);
        if (decision != BR_PASS)
            return decision;
    }
    if (br_admit_l3_len(frame, admission) > port->mtu)
        return BR_DROP_oversize;
    stations->source = br_fdb_key(frame->vid, source);
    stations->destination = br_fdb_key(frame->vid, destination);
    stations->source_bucket = br_fdb_first(fdb, stations->source);
    stations->destination_bucket = br_fdb_first(fdb, stations->destination);
    br_fdb_prefetch(fdb, stations->source_bucket);
    br_fdb_prefetch(fdb, stations->destination_bucket);
    return BR_PASS;
}

/* Whether super-frames of a batch of n are inside tunnels. */
static __attribute__((noinline)) bool br_admit_has_inner(const struct br_batch *batch, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (batch->frame[i].flags & BR_FRAME_INNER)
            return true;
    return false;
}

static inline __attribute__((always_inline)) void br_admit_batch(struct br_thread *thread,
                                                                 const struct br_port_config *port, uint32_t n,
                                                                 enum br_admission admission)
{
    struct br_batch *batch = &thread->batch;
    const uint16_t index = port->port->index;
    uint64_t bytes = 0;
    uint64_t n_super = 0;
    uint64_t n_segments = 0;
    uint32_t n_live = 0;
    bool has_tails = false;

    for (uint32_t i = 0; i < n; i++) {
        struct br_frame *frame = &batch->frame[i];

        frame->ingress = index;
        frame->segments = 1;
        frame->rx_len = br_frame_rx_len(frame);
        bytes += frame->rx_len;
        n_super += br_frame_is_super(frame);
        has_tails |= frame->tail != NULL;
        const enum br_drop decision = br_admit_frame(thread, port, frame, &batch->stations[i], admission);
        n_segments += frame->segments;
        if (BR_LIKELY(decision == BR_PASS)) {
            batch->live[n_live++] = frame;
        } else {
            batch->stations[i].talker = NULL;
            br_batch_drop(batch, frame, BR_OUTCOME_REFUSED, decision);
        }
    }
    batch->n_live = n_live;
    batch->has_tails = has_tails;
    batch->has_inner = n_super && br_admit_has_inner(batch, n);
    batch->work.n_admitted = n_live;
    batch->work.rx_bytes = bytes;
    batch->work.rx_segments = n_segments;
    batch->ingress->rx_batches++;
    batch->ingress->rx_frames += n;
    batch->ingress->rx_bytes += bytes;
    batch->ingress->rx_super_frames += n_super;
    batch->ingress->rx_segments += n_segments;
}

void br_admit(struct br_thread *thread, const struct br_port_config *port, uint32_t n)
{
    if (__builtin_expect(port->direction == BR_DIRECTION_EGRESS, 0))
        br_admit_batch(thread, port, n, BR_ADMISSION_NONE);
    else if (__builtin_expect(port->translation != NULL, 0))
        br_admit_batch(thread, port, n, BR_ADMISSION_TRANSLATED);
    else
        br_admit_batch(thread, port, n, BR_ADMISSION_PLAIN);
}
