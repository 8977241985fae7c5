/*
 * thread/changes.h - what the control thread changes in a bridge, each at a batch boundary.
 *
 * Thread: the control thread.
 */
#ifndef BR_CHANGES_H
#define BR_CHANGES_H

#include "pipeline/originate.h"
#include "thread/bridge.h"

/*
 * Use `snapshot` from the next batch on; on return the old one is no longer read. 0, or -errno if a port cannot be
 * polled.
 */
int br_bridge_apply(struct br_bridge *bridge, const struct br_snapshot *snapshot);

/* Send n frames of the bridge itself. */
void br_bridge_originate(struct br_bridge *bridge, struct br_origination *frame, uint32_t n);

/* Keep the FDB in the maps of `offload`, which outlive that, or (NULL) in memory of its own again: 0, -ENOMEM, or
 * -EBUSY: the bridge has a gate. */
int br_bridge_share(struct br_bridge *bridge, struct br_offload_maps *offload);

/* Close a port that the snapshot does not name; what it cost stays on the bill. */
void br_bridge_close(struct br_bridge *bridge, struct br_port *port);

/* For tests: the data thread sees its clock leap by so much. */
void br_bridge_shift_clock(struct br_bridge *bridge, int64_t cycles);

/* FDB changes, in order; result[i] is 0 or -errno. */
enum br_fdb_verb {
    BR_FDB_SET,
    BR_FDB_DELETE,
    BR_FDB_FORGET,
    BR_FDB_EXPIRE,
    BR_FDB_RESTORE, /* -EPERM: learned, and the port is not up in that VLAN */
    BR_FDB_FLUSH_PORT,
    BR_FDB_FLUSH_VLAN,
    BR_FDB_FLUSH_ALL,
};
struct br_fdb_change {
    uint64_t key;  /* FLUSH_VLAN: the VID in its place */
    uint16_t port;
    uint16_t tick; /* EXPIRE, RESTORE */
    uint8_t verb;
    uint8_t kind;  /* SET, RESTORE */
    int16_t result;
};
void br_bridge_fdb(struct br_bridge *bridge, struct br_fdb_change *change, uint32_t n);

#endif
