/*
 * count/event.h - what the data thread reports to the control thread: a ring with one writer and one reader.
 *
 * Thread: br_events_put, br_events_fault and br_events_hint in the data thread, br_events_take and br_events_renew in
 *      the control thread. A full ring loses the event and counts it; forwarding never waits. The reader is woken through an
 *      eventfd, at most once until it has taken everything.
 * Faults: a port that failed, a probe that came back, a budget that is spent. They are rare, and what an administrator
 *      waits for, so half of the ring is theirs alone: no flood of learned and moved stations keeps one out. Of each kind
 *      a port has BR_HINTS_MAX a round, for a guest can repeat the probes that it sees.
 * Hints: what nobody has to follow, since it changes nothing: stations that are refused, kept out, or stay where they
 *      are. Each frame may cause one, so whoever floods would decide what the control thread does with its time, and
 *      what finds no room in the ring. Of each kind a port has BR_HINTS_MAX a round; the control thread begins a round
 *      each second. More are left out, uncounted: the counters of ports know how many frames they were.
 */
#ifndef BR_EVENT_H
#define BR_EVENT_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "count/counters.h"
#include "count/limits.h"

enum { BR_HINTS_MAX = 512 };

struct br_event {
    uint64_t key; /* as in the FDB; 0 for port events; BR_EVENT_probe: VLAN it came in, and its nonce */
    uint16_t port;
    uint16_t old_port; /* moved, refused_port_limit: where it was; evicted: of the new one; locked: where it is known */
    uint16_t kind;
    union {
        uint16_t error; /* BR_EVENT_port_error: errno */
        struct {        /* BR_EVENT_source_guard */
            uint8_t finding; /* enum br_guard_finding */
            uint8_t address_len; /* 0, 4 or 16 */
        };
    };
    uint8_t address[16]; /* BR_EVENT_source_guard */
};

static_assert(sizeof(struct br_event) == 32, "events are copied in bursts");

/* Hints of a port in its latest round that had any. */
struct br_hints {
    uint32_t round;
    uint16_t n[BR_EVENT_N];
};

struct br_events {
    struct br_event *event;
    uint32_t mask;
    uint32_t cap; /* events that br_events_put may fill: half of the ring */
    int fd; /* eventfd the reader waits on */
    /* writer */
    uint32_t head __attribute__((aligned(64)));
    uint64_t n_lost;
    bool pending; /* put since the last notify */
    struct br_hints hints[BR_PORTS_MAX];
    /* reader */
    uint32_t tail __attribute__((aligned(64)));
    bool notified; /* the reader was woken and has not looked yet */
    uint32_t round; /* of hints */
};

/* `cap`, of events that are no faults, is rounded up to a power of two; as many faults find room. 0 or -errno. */
int br_events_init(struct br_events *events, uint32_t cap);
void br_events_fini(struct br_events *events);
void br_events_put(struct br_events *events, const struct br_event *event);
/* As br_events_put, for a fault. */
void br_events_fault(struct br_events *events, const struct br_event *event);
/*
 * As br_events_put, for a hint: it is left out when the last unread event says the same, when half of what
 * br_events_put may fill is full, and when its port has given enough of its kind in this round.
 */
void br_events_hint(struct br_events *events, const struct br_event *event);
/* Begin another round of hints. */
void br_events_renew(struct br_events *events);
/* Any thread: events lost so far. */
static inline uint64_t br_events_lost(const struct br_events *events)
{
    return __atomic_load_n(&events->n_lost, __ATOMIC_RELAXED);
}

/* Wake the reader if there is news; once per batch. */
void br_events_notify(struct br_events *events);
/* Up to `cap` events, oldest first; returns how many. The descriptor stays readable while there are more. */
uint32_t br_events_take(struct br_events *events, struct br_event *out, uint32_t cap);

/* Events that the reader has not taken by now; for the reader. */
static inline uint32_t br_events_waiting(const struct br_events *events)
{
    return __atomic_load_n(&events->head, __ATOMIC_ACQUIRE) - events->tail;
}

#endif
