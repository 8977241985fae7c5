/*
 * options.h - the command line of the traffic tool as values, checked as a whole.
 *
 * Job: turn "--send dev=g0,rate=1000,..." into specifications, or say what is wrong. Strings point into argv.
 */
#ifndef BT_OPTIONS_H
#define BT_OPTIONS_H

#include "sender.h"
#include "sink.h"

enum { BT_WORKERS_MAX = 96 };

struct bt_burn_spec {
    double cycles;  /* to spin each time */
    double rate;    /* times per second */
    double seconds;
    int cpu;
};

struct bt_options {
    struct bt_sender_spec senders[BT_WORKERS_MAX];
    uint32_t n_senders;
    struct bt_sink_spec sinks[BT_WORKERS_MAX];
    uint32_t n_sinks;
    struct bt_burn_spec burn;
    uint32_t drain_ms; /* wait so long after the last frame that arrived */
    int events_fd;     /* -1: none; see main.c */
};

extern const char bt_usage[];

/* `arguments` are those behind the verb. Returns 0, or -EINVAL with `problem` set. */
int bt_options_parse_run(struct bt_options *options, char **arguments, struct bt_problem *problem);
int bt_options_parse_burn(struct bt_options *options, char **arguments, struct bt_problem *problem);

#endif
