/* count/names.c - see count/names.h. */
#include "count/names.h"

#define BR_NAME(symbol, sentence) {#symbol, sentence},

const struct br_name br_drop_names[BR_DROP_N] = {BR_DROP_REASONS(BR_NAME)};
const struct br_name br_miss_names[BR_MISS_N] = {BR_MISSES(BR_NAME)};
const struct br_name br_stage_names[BR_STAGE_N] = {BR_STAGES(BR_NAME)};
const struct br_name br_class_names[BR_CLASS_N] = {BR_CLASSES(BR_NAME)};
const struct br_name br_histogram_names[BR_HISTOGRAM_N] = {BR_HISTOGRAMS(BR_NAME)};
const struct br_name br_waiting_names[BR_WAITING_N] = {BR_WAITINGS(BR_NAME)};
const struct br_name br_event_names[BR_EVENT_N] = {BR_EVENTS(BR_NAME)};
const struct br_name br_port_counter_names[BR_PORT_COUNTER_N] = {BR_PORT_COUNTERS(BR_NAME)};
const struct br_name br_thread_counter_names[BR_THREAD_COUNTER_N] = {BR_THREAD_COUNTERS(BR_NAME)};
const struct br_name br_pair_state_names[BR_PAIR_STATE_N] = {BR_PAIR_STATES(BR_NAME)};
const struct br_name br_pair_step_names[BR_PAIR_STEP_N] = {BR_PAIR_STEPS(BR_NAME)};
const struct br_name br_member_counter_names[BR_MEMBER_COUNTER_N] = {BR_MEMBER_COUNTERS(BR_NAME)};
const struct br_name br_guard_names[BR_GUARD_N] = {BR_GUARD_FINDINGS(BR_NAME)};
const struct br_name br_offload_pass_names[BR_OFFLOAD_PASS_N] = {BR_OFFLOAD_PASSES(BR_NAME)};
