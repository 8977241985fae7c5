/*
 * snapshot/may_leave.h - which ports the frames of a port may leave by: hairpin, direction, isolation, split horizon.
 *
 * Job: br_may_leave decides, for a pair of ports; br_may_leave_add writes the answers down in a snapshot as sets,
 *      which is what the hot path looks at.
 * Thread: br_may_leave_add control, before the snapshot is applied; br_may_leave any.
 */
#ifndef BR_MAY_LEAVE_H
#define BR_MAY_LEAVE_H

#include "count/counters.h"
#include "snapshot/port_config.h"

struct br_snapshot;

/*
 * BR_PASS, or why frames of `ingress` may not leave by `egress`. To itself a port sends only with `hairpin`; isolation
 * and split horizon are between ports and say nothing about that.
 */
static inline enum br_drop br_may_leave(const struct br_port_config *ingress, const struct br_port_config *egress)
{
    if (ingress == egress && !egress->hairpin)
        return BR_DROP_same_port;
    if (egress->direction == BR_DIRECTION_INGRESS)
        return BR_DROP_ingress_only;
    if (ingress != egress && ingress->isolated && egress->isolated)
        return BR_DROP_isolated;
    if (ingress != egress && ingress->horizon && ingress->horizon == egress->horizon)
        return BR_DROP_split_horizon;
    return BR_PASS;
}

/* Port `index` has its configuration: note which ports in use it does not reach, and which do not reach it. */
void br_may_leave_add(struct br_snapshot *snapshot, uint16_t index);

#endif
