/*
 * ha/pair.h - may this bridge forward now? The decisions of one member of a pair.
 *
 * Job: which state a member is in, for how long its gate may stay open, and which beacons it owes the others. Time,
 *      sockets and the gate belong to the caller: each function maps (state, message, time) to a new state and a set
 *      of things to do, so simulated time can drive any number of members through any loss, delay and order.
 * Owner: one struct br_pair a bridge. Thread: the data thread, so that a bridge that does not forward cannot renew its
 *      own lease.
 * Invariants
 *      - A lease ends br_pair_lease() after the moment its beacon was sent; the others wait br_pair_patience() after
 *        they *heard* one, which is longer. So a member that falls silent for whatever reason has stopped forwarding
 *        before another begins, without agreement on anything but the length of a second.
 *      - A gate is closed before the beacon that says so is sent.
 *      - Two members that forward at once have lost beacons or never met; the first beacon that arrives ends it. The
 *        greater (epoch, priority, id) stays; a member whose peer does not hear it leaves, whatever is greater.
 * Refuses: beacons of another pair, of its own, older than one it has heard (replayed), and of more members than
 *      BR_PAIR_PEERS_MAX. Authenticity is beacon.h's.
 * Times are nanoseconds of one clock that counts while the machine sleeps (CLOCK_BOOTTIME).
 */
#ifndef BR_PAIR_H
#define BR_PAIR_H

#include <stdbool.h>
#include <stdint.h>

#include "count/counters.h"
#include "ha/beacon.h"

enum {
    BR_PAIR_PEERS_MAX = 4, /* one is right; more are reported, and never lead to two open gates */
    BR_PAIR_REPEAT = 2,    /* beacons at each change */
    BR_PAIR_LATE = 16,     /* beacons: what comes so much later by another path is no replay */
};

#define BR_PAIR_RANK_NS 30000000ull       /* how much longer a lesser member waits, and one that is eligible, or runs, only
                                           * now: more than a beacon takes */
#define BR_PAIR_RELEASE_NS 1000000000ull  /* a release is good for so long; who released yields for so long */
#define BR_PAIR_LEFT_NS 1000000000ull     /* who gave way in a contest says so for so long */

/* What a step asks the caller to do, and what happened; a set. Close comes before send; after send, br_pair_sent(). */
enum br_pair_do {
#define BR_PAIR_BIT(symbol, sentence) BR_PAIR_DO_##symbol = 1 << BR_PAIR_STEP_##symbol,
    BR_PAIR_STEPS(BR_PAIR_BIT)
#undef BR_PAIR_BIT
};

/* What somebody should hear of, beside changes of state. */
enum {
    BR_PAIR_NEWS =
        BR_PAIR_DO_announce | BR_PAIR_DO_conflict | BR_PAIR_DO_deaf | BR_PAIR_DO_lost | BR_PAIR_DO_crowd,
};

struct br_pair_config {
    uint64_t pair;
    uint64_t self;       /* id of this member, not 0 */
    uint64_t session;    /* greater than that of each run before */
    uint64_t interval;   /* between beacons, ns */
    uint64_t preempt;    /* how long a better standby waits before it asks for the gate, ns; 0: it never asks */
    uint8_t priority;
};

struct br_pair_peer {
    uint64_t id;       /* 0: unused */
    uint64_t session;  /* with sequence: the last beacon taken; older ones are replays */
    uint64_t sequence;
    uint64_t epoch;
    uint64_t heard;    /* when */
    uint64_t granted;  /* when last heard to forward; 0: not, or released since */
    uint64_t released; /* when it let go; 0: never */
    uint64_t forwarded; /* when last heard to forward, whatever it said since; 0: never */
    uint8_t priority;
    bool eligible;
    bool wants;
    bool hears;        /* it heard us, in this session of ours, lately */
    bool left;         /* it forwarded beside another lately */
    bool lost;         /* its silence was reported */
};

struct br_pair {
    struct br_pair_config config;
    enum br_pair_state state; /* BR_PAIR_active: it forwards, as long as the lease lasts */
    uint64_t epoch;    /* under which it forwards, or forwarded last */
    uint64_t highest;  /* epoch heard of */
    uint64_t until;    /* end of the lease, while active */
    uint64_t due;      /* next beacon */
    uint64_t listen;   /* no opening before */
    uint64_t yield;    /* it let go: until then its beacons say so, and it leaves the gate to an eligible peer */
    uint64_t eligible_since;
    uint64_t sequence; /* of the last beacon sent */
    uint64_t ran;      /* the last step */
    uint64_t entered;  /* the state, when */
    uint64_t gap;      /* at the last opening: how long ago a peer was last heard to forward; 0: none was */
    uint64_t left;     /* when it gave way to a peer that forwards, too; 0: never */
    uint64_t twin;     /* when last a beacon under our id was heard that is not ours; 0: never */
    uint32_t repeat;   /* beacons still owed at once */
    bool healthy;      /* what the caller last said of carriers and probes */
    bool held;         /* by an operator */
    struct br_pair_peer peer[BR_PAIR_PEERS_MAX];
};

static inline uint64_t br_pair_lease(const struct br_pair_config *config)
{
    return config->interval * 5 / 2;
}

static inline uint64_t br_pair_patience(const struct br_pair_config *config)
{
    return config->interval * 3;
}

/* Begins as ineligible, and listens before it opens. */
void br_pair_init(struct br_pair *pair, const struct br_pair_config *config, uint64_t now);
/* What was heard of a peer in an earlier run: older beacons of it are replays. No place for it: forgotten. */
void br_pair_remember(struct br_pair *pair, uint64_t id, uint64_t session, uint64_t sequence);

/* Each returns a set of enum br_pair_do. */
uint32_t br_pair_hear(struct br_pair *pair, uint64_t now, const struct br_beacon *beacon);
uint32_t br_pair_tick(struct br_pair *pair, uint64_t now);
uint32_t br_pair_set_health(struct br_pair *pair, uint64_t now, bool healthy);
uint32_t br_pair_hold(struct br_pair *pair, uint64_t now, bool held);
/* Hand the gate to a peer. 0 and `todo`, or -EPERM: not active, -ENOLINK: no eligible peer hears us. */
int br_pair_release(struct br_pair *pair, uint64_t now, uint32_t *todo);

/* The beacon to send now; each has a sequence number of its own. */
void br_pair_write(struct br_pair *pair, uint64_t now, struct br_beacon *beacon);
/* A beacon left at `now`, taken before the first send, by n paths of those there are. Renews the lease of an active. */
void br_pair_sent(struct br_pair *pair, uint64_t now, uint32_t n);
/* When tick must be called next, at the latest; `now`: at once. */
uint64_t br_pair_next(const struct br_pair *pair, uint64_t now);

#endif
