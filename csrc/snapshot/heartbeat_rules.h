/* snapshot/heartbeat_rules.h - heartbeats as a snapshot has them: which there are, and how many; see multicast/heartbeat.h. */
#ifndef BR_HEARTBEAT_RULES_H
#define BR_HEARTBEAT_RULES_H

#include "frame/classify.h"

struct br_heartbeat_rules {
    struct br_beat_ports ports;
    double rate;  /* of a port, heartbeats a second */
    double burst; /* as many at once; 0: there is no limit */
};

#endif
