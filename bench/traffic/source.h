/*
 * source.h - where a sink's frames come from: one interface, two ways into the kernel.
 *
 * Job: hand every test frame that arrives at a device to a function, with its time of arrival, and say how many there was no
 *      room for. What a sink costs, it costs the system under test, in whose time the kernel delivers: so the cheaper way is
 *      taken where it works.
 *      bt_probe (probe.c): a tc program of ours copies the head of a test frame into a ring and ends the frame. Linux 6.6.
 *      bt_ring (ring.c): a TPACKET_V3 ring of a packet socket; a third dearer per frame. Works everywhere.
 * Thread: opened by the main thread, used by the sink's thread alone afterwards.
 * Times of arrival are CLOCK_MONOTONIC, taken by the kernel when it delivers the frame to us.
 */
#ifndef BT_SOURCE_H
#define BT_SOURCE_H

#include "net.h"

#include <stdint.h>

enum { BT_SOURCE_SNAP_LEN = 72 }; /* covers two tags and the mark behind IPv4 and UDP */

struct bt_arrival {
    const uint8_t *bytes; /* the head of the frame */
    uint32_t snap_len;    /* how much of it is there */
    uint32_t len;         /* of the whole frame, without a tag that the kernel keeps beside it */
    uint32_t tag;         /* that tag: TPID << 16 | TCI; 0 if there is none */
    uint64_t ns;
};

typedef void bt_arrival_fn(void *context, const struct bt_arrival *arrival);

struct bt_source;

struct bt_source_ops {
    const char *name;
    /* Wait until there may be something, milliseconds at most. Returns 0, or -errno when the device is gone. */
    int (*wait)(struct bt_source *source);
    /* Hand over what is there; returns how many frames that was. */
    uint64_t (*drain)(struct bt_source *source, bt_arrival_fn *take, void *context);
    /* No more will come: wait for what the kernel still holds back. */
    void (*settle)(struct bt_source *source);
    /* Frames there was no room for; to be asked once, at the end. */
    uint64_t (*drops)(struct bt_source *source);
    void (*close)(struct bt_source *source);
};

/* The first member of each kind of source. */
struct bt_source {
    const struct bt_source_ops *ops;
};

/* NULL with `problem` set if that does not work. A probe rounds `ring_mib` up to a power of two. */
struct bt_source *bt_probe_open(const char *netns, const char *device, uint32_t ring_mib, struct bt_problem *problem);
struct bt_source *bt_ring_open(const char *netns, const char *device, uint32_t ring_mib, struct bt_problem *problem);

#endif
