/*
 * count/limits.h - how much of each thing there is at most: what a configuration is checked against, declared once.
 *
 * Job: limits that a user can meet, or that several folders size their tables by. The build writes them into
 *      bridge/declared.py for Python that does without the core (setup.py reads this file, so each is
 *      `BR_NAME = number`); what only one file needs stays in that file.
 */
#ifndef BR_LIMITS_H
#define BR_LIMITS_H

#include <stdint.h>

enum {
    BR_PORTS_MAX = 256,
    BR_ANY_PORT = UINT16_MAX,  /* whichever port */
    BR_BUDGETS_MAX = 1024,     /* storm control included */
    BR_MIRRORS_MAX = 8,        /* one bit each in a byte */
    BR_MIRROR_SNAPLEN_MIN = 64, /* a cut copy needs no padding */
    BR_ALLOWED_MAX = 4096,     /* MAC ranges of locked ports, all together */
    BR_GUARD_RULES_MAX = 4096, /* addresses of source guard, all ports together */
    BR_MEMBER_PATHS = 8,       /* by which a member of a pair sends beacons */
    BR_CAPTURE_LEAST = 1 << 18, /* bytes of a capture ring: several of the longest frames */
    BR_CAPTURE_MOST = 1 << 26,
};

#endif
