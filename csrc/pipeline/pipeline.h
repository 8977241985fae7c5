/*
 * pipeline/pipeline.h - what the loop does with the frames of one burst: all of the pipeline, or none of it.
 *
 * Thread: the data thread.
 */
#ifndef BR_PIPELINE_H
#define BR_PIPELINE_H

#include "pipeline/state.h"

/* Process the n frames that rx of `ingress` left in the batch. */
void br_pipeline_run(struct br_thread *thread, const struct br_port_config *ingress, uint32_t n);
/* Drop the n frames that rx of a port left in the batch, without looking at them. */
void br_pipeline_discard(struct br_thread *thread, struct br_port *port, uint32_t n, enum br_drop reason);

#endif
