/* snapshot/guard_rules.h - the tables of locked ports (protect/lock.h) and of source guard (protect/guard.h). */
#ifndef BR_GUARD_RULES_H
#define BR_GUARD_RULES_H

#include <stdint.h>

#include "count/limits.h"

/* Addresses from first to last. Ranges of a port are sorted and do not overlap. */
struct br_mac_range {
    uint64_t first;
    uint64_t last;
};

/* IPv4: the upper half of the first word, the rest zero. */
struct br_guard_rule {
    uint64_t address[2];
    uint64_t mask[2];
    uint64_t mac; /* 0: whichever */
};

/* Where a port's part of the tables is. */
struct br_guard_port {
    uint16_t allowed;
    uint16_t n_allowed;
    uint16_t rule;
    uint16_t n_ipv4; /* rules for IPv4, then those for IPv6 */
    uint16_t n_ipv6;
};

struct br_guards {
    uint16_t n_allowed;
    uint16_t n_rules;
    struct br_guard_port port[BR_PORTS_MAX];
    struct br_mac_range allowed[BR_ALLOWED_MAX];
    struct br_guard_rule rule[BR_GUARD_RULES_MAX];
};

#endif
