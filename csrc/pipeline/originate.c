/* pipeline/originate.c - see pipeline/originate.h. */
#include "pipeline/originate.h"

#include <errno.h>

#include "pipeline/egress.h"

static bool br_originates(const struct br_snapshot *snapshot, const struct br_origination *own)
{
    const struct br_port_config *egress = &snapshot->port[own->port];

    return egress->port && egress->up && egress->direction != BR_DIRECTION_INGRESS &&
           br_set_has(&snapshot->vlan[own->vid], own->port);
}

int br_originate(struct br_batch *batch, const struct br_origination *own)
{
    const struct br_port_config *egress = &batch->snapshot->port[own->port];
    uint8_t *head = br_stack_get(&batch->pool.heads); /* between two batches all are free */
    struct br_frame frame = {
        .data = head + BR_HEADROOM,
        .len = own->len,
        .headroom = BR_HEADROOM,
        .tci = own->vid,
        .segments = 1,
        .vid = own->vid,
        .rx_len = own->len,
    };
    struct br_frame *pointer = &frame;

    if (!br_originates(batch->snapshot, own)) {
        br_stack_put(&batch->pool.heads, head);
        return -ENETDOWN;
    }
    memcpy(frame.data, own->data, own->len);
    const uint64_t encap = br_encap_of(egress, &frame);
    enum br_drop decision = br_egress_check_encap(egress, &frame, encap);
    if (decision == BR_PASS)
        decision = br_egress_shape(&frame, encap);
    egress->port->counters.originated++;
    egress->port->counters.offered++;
    if (decision == BR_PASS)
        egress->port->ops->tx(egress->port, &pointer, 1);
    else
        br_port_refuse(egress->port, &frame, decision);
    br_stack_put(&batch->pool.heads, head);
    return 0;
}
