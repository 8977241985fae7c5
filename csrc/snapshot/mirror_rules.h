/* snapshot/mirror_rules.h - mirrors as a snapshot has them: what each copies, and where to; see mirror/mirror.h. */
#ifndef BR_MIRROR_RULES_H
#define BR_MIRROR_RULES_H

#include <stdbool.h>
#include <stdint.h>

#include "count/limits.h"
#include "frame/vlan.h"
#include "frame/way.h"

struct br_capture;

struct br_mirror {
    uint32_t serial;  /* of the definition, not 0; another one starts from nothing */
    uint32_t snaplen; /* bytes, 0: whole */
    struct br_capture *capture; /* NULL: to a port */
    uint16_t target;  /* index of that port */
    uint8_t queue;    /* the first mirror with this target */
    bool by_frames;   /* the rate is in frames, not in bits */
    double rate;      /* units a cycle of the clock, 0: no limit */
    double burst;     /* units */
};

/* The mirrors of a snapshot. In every uint8_t below bit m is mirror m. */
struct br_mirrors {
    uint32_t n;
    uint8_t to_port;
    uint8_t frames; /* copies what goes on */
    uint8_t drops;  /* copies what is dropped */
    uint8_t at[BR_WAYS][BR_PORTS_MAX];
    uint8_t vlan[BR_VLANS]; /* 0: frames without a VLAN */
    struct br_mirror mirror[BR_MIRRORS_MAX];
};

/*
 * Control thread: write another mirror where there is room for it; returns its bit, to be set for what it copies. `queue` is
 * chosen here: mirrors to one port share that of the first, which keeps their copies in order.
 */
uint8_t br_mirror_add(struct br_mirrors *mirrors, const struct br_mirror *mirror);

#endif
