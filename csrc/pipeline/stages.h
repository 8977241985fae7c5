/*
 * pipeline/stages.h - the stages of the pipeline, in the order a batch meets them; pipeline/pipeline.c calls them.
 *
 * Thread: the data thread.
 */
#ifndef BR_STAGES_H
#define BR_STAGES_H

#include "fdb/fdb.h"
#include "pipeline/state.h"

/* Which frames may come in, and in which VLAN they are. */
void br_admit(struct br_thread *thread, const struct br_port_config *port, uint32_t n);
/* Who spoke, and where. */
void br_learn(struct br_thread *thread, const struct br_port_config *port, uint32_t n);
/* The tags of known unicast, and its queues; flooded frames stay live. */
void br_edit(struct br_thread *thread);
/* Copies of what is still live, and their queues. */
void br_flood(struct br_thread *thread);
/* What is queued goes to its ports. */
void br_transmit(struct br_thread *thread);

/* A frame whose source is the bridge's own address (pipeline/own.c). */
enum br_drop br_own_verdict(struct br_thread *thread, const struct br_frame *frame);
/* Count and report who gave way to an entry of `port` (BR_PORTS_MAX and above: of none), if anybody did. */
void br_learn_evicted(struct br_batch *batch, const struct br_learned *learned, uint16_t port);

#endif
