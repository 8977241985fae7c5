/*
 * count/names.h - the tables of count/counters.h as data, for whoever shows them; a row for each of an enumeration.
 */
#ifndef BR_NAMES_H
#define BR_NAMES_H

#include "count/counters.h"

/* A name and what it means. */
struct br_name {
    const char *symbol;
    const char *sentence;
};

extern const struct br_name br_drop_names[BR_DROP_N];
extern const struct br_name br_miss_names[BR_MISS_N];
extern const struct br_name br_stage_names[BR_STAGE_N];
extern const struct br_name br_class_names[BR_CLASS_N];
extern const struct br_name br_histogram_names[BR_HISTOGRAM_N];
extern const struct br_name br_waiting_names[BR_WAITING_N];
extern const struct br_name br_event_names[BR_EVENT_N];
extern const struct br_name br_port_counter_names[BR_PORT_COUNTER_N];
extern const struct br_name br_thread_counter_names[BR_THREAD_COUNTER_N];
extern const struct br_name br_pair_state_names[BR_PAIR_STATE_N];
extern const struct br_name br_pair_step_names[BR_PAIR_STEP_N];
extern const struct br_name br_member_counter_names[BR_MEMBER_COUNTER_N];
extern const struct br_name br_guard_names[BR_GUARD_N];
extern const struct br_name br_offload_pass_names[BR_OFFLOAD_PASS_N];

#endif
