/*
 * thread/call.h - work of the control thread that must happen at a batch boundary.
 *
 * How: the data thread runs the step of a call once a turn until it is done, so long work is cut into slices and
 *      forwarding goes on. While no data thread runs, the caller runs it itself.
 */
#ifndef BR_CALL_H
#define BR_CALL_H

#include <stdbool.h>

struct br_bridge;

/* One request of the control thread; step returns true when it is done. */
struct br_call {
    bool (*step)(struct br_bridge *bridge, struct br_call *call);
};

/* Control thread: returns when the call is done. */
void br_bridge_call(struct br_bridge *bridge, struct br_call *call);

#endif
