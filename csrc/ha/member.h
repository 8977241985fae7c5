/*
 * ha/member.h - a member of a pair at work: its sockets, its timer, and the gate it keeps open.
 *
 * Job: what ha/pair.h decides, done: beacons sent and received by every path, the lease written into the gate's page, the
 *      timer set for the next step. Nothing here decides.
 * Owner: the bridge. Thread: the data thread, between two bursts. A member that is not running costs one comparison a turn.
 * Paths: packet sockets, non-blocking, bound to a device and filtered for beacons by who opened them (the control thread);
 *      the member closes them. A path that fails to send is passed over; when all fail the lease is not renewed.
 * Refuses: more than BR_MEMBER_PATHS paths. Beacons that are forged, of another version, replayed, foreign or our own are
 *      counted and change nothing.
 */
#ifndef BR_MEMBER_H
#define BR_MEMBER_H

#include "count/limits.h"
#include "ha/gate.h"
#include "ha/pair.h"

enum {
    BR_MEMBER_TAKEN = 64, /* frames of a path at one look: a flood of beacons delays a burst by no more */
};

#define BR_MEMBER_ROUND_NS 50000000ull /* the thread comes round so often, whatever else there is */

struct br_member {
    bool running;
    uint64_t next;          /* when something is due */
    uint64_t source;        /* MAC address of beacons */
    struct br_gate_page *page;
    struct br_pair pair;
    struct br_beacon_key key;
    int timer_fd;
    uint32_t n_paths;
    int path[BR_MEMBER_PATHS];
    uint32_t ready;         /* a bit for each path that has something */
    struct br_member_counters counters;
};

/* Begin, with paths that are the member's from now on, and a timer that it makes. 0 or -errno, and then nothing was taken. */
int br_member_start(struct br_member *member, const struct br_pair_config *config, const struct br_beacon_key *key,
                    uint64_t source, struct br_gate_page *page, const int *path, uint32_t n_paths);
/* Undo a start: the paths are the caller's again. */
void br_member_abandon(struct br_member *member);
/* Other paths in the place of those there are, which are closed. */
void br_member_set_paths(struct br_member *member, const int *path, uint32_t n_paths);
/* Let go of the gate, say so, close all. */
void br_member_stop(struct br_member *member);

/* Each returns what happened, a set of enum br_pair_do, with everything it asks for done already. */
uint32_t br_member_turn(struct br_member *member); /* once a turn: take what is there, do what is due */
uint32_t br_member_set_health(struct br_member *member, bool healthy);
uint32_t br_member_hold(struct br_member *member, bool held);
int br_member_release(struct br_member *member, uint32_t *done);

#endif
