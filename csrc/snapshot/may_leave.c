/* snapshot/may_leave.c - see snapshot/may_leave.h. */
#include "snapshot/may_leave.h"

#include "snapshot/snapshot.h"

static void br_may_leave_note(struct br_snapshot *snapshot, uint16_t ingress, uint16_t egress)
{
    if (br_may_leave(&snapshot->port[ingress], &snapshot->port[egress]) != BR_PASS)
        br_set_add(&snapshot->denied_egress[ingress], egress);
}

void br_may_leave_add(struct br_snapshot *snapshot, uint16_t index)
{
    for (uint16_t i = 0; i < snapshot->n_ports; i++) {
        br_may_leave_note(snapshot, index, snapshot->port_index[i]);
        br_may_leave_note(snapshot, snapshot->port_index[i], index);
    }
}
