/*
 * multicast/snoop.h - frames to groups in VLANs that snoop: what they teach, and which ports they go to.
 *
 * Job: asked by the stage flood alone, so known unicast and VLANs that do not snoop pay nothing. Source guard, locks,
 *      storm control and budgets have judged before; flood flags, reach, MTU and forms of tags hold after.
 * Never pruned: what does not go by an IP group whose address its destination is (224.0.0.0/24 and ff02::/16, other
 *      protocols, load balancers that share an address), what is behind another tag, SNAP or a tunnel port, and groups
 *      that the configuration floods.
 * `watch` learns and counts what `on` would spare, and changes no frame.
 * Refuses: queries and hellos of ports where no router may be, as `multicast_guard`; frames that nobody is left for, as
 *      `no_member`.
 * Thread: the data thread.
 */
#ifndef BR_SNOOP_H
#define BR_SNOOP_H

#include "batch/batch.h"
#include "multicast/groups.h"

/*
 * `ports` are those that a flood of the frame, whose destination is a group, would go to; they become those that it goes
 * to. BR_PASS, or the reason to drop it.
 */
enum br_drop br_snoop(struct br_groups *groups, struct br_batch *batch, const struct br_frame *frame,
                      struct br_port_set *ports);

#endif
