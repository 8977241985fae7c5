/* count/event.c - see count/event.h. */
#include "count/event.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

int br_events_init(struct br_events *events, uint32_t cap)
{
    uint32_t size = 64;

    while (size < cap)
        size *= 2;
    memset(events, 0, sizeof(*events));
    events->cap = size;
    events->mask = 2 * size - 1;
    events->event = calloc(2 * size, sizeof(*events->event));
    events->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (events->event && events->fd >= 0)
        return 0;
    const int error = events->event ? -errno : -ENOMEM;
    br_events_fini(events);
    return error;
}

void br_events_fini(struct br_events *events)
{
    if (events->fd >= 0)
        close(events->fd);
    events->fd = -1;
    free(events->event);
    events->event = NULL;
}

static void br_events_append(struct br_events *events, const struct br_event *event, uint32_t room)
{
    const uint32_t head = events->head;

    if (head - __atomic_load_n(&events->tail, __ATOMIC_ACQUIRE) >= room) {
        __atomic_store_n(&events->n_lost, events->n_lost + 1, __ATOMIC_RELAXED);
    } else {
        events->event[head & events->mask] = *event;
        __atomic_store_n(&events->head, head + 1, __ATOMIC_RELEASE);
    }
    events->pending = true;
}

void br_events_put(struct br_events *events, const struct br_event *event)
{
    br_events_append(events, event, events->cap);
}

/* Whether a port may give another hint or fault of a kind in this round, which it then does. */
static bool br_events_allow(struct br_events *events, const struct br_event *event)
{
    struct br_hints *hints = &events->hints[event->port];
    const uint32_t round = __atomic_load_n(&events->round, __ATOMIC_RELAXED);

    if (hints->round != round)
        *hints = (struct br_hints){.round = round};
    if (hints->n[event->kind] == BR_HINTS_MAX)
        return false;
    hints->n[event->kind]++;
    return true;
}

void br_events_renew(struct br_events *events)
{
    __atomic_store_n(&events->round, events->round + 1, __ATOMIC_RELAXED);
}

void br_events_fault(struct br_events *events, const struct br_event *event)
{
    if (br_events_allow(events, event))
        br_events_append(events, event, events->mask + 1);
}

void br_events_hint(struct br_events *events, const struct br_event *event)
{
    const uint32_t head = events->head;
    const uint32_t n_unread = head - __atomic_load_n(&events->tail, __ATOMIC_ACQUIRE);

    if (n_unread >= events->cap / 2)
        return;
    if (n_unread && memcmp(&events->event[(head - 1) & events->mask], event, sizeof(*event)) == 0)
        return;
    if (br_events_allow(events, event))
        br_events_put(events, event);
}

/* Wake the reader, unless it was woken and has not looked yet. Either thread. */
static void br_events_ring(struct br_events *events)
{
    const uint64_t one = 1;

    if (!__atomic_exchange_n(&events->notified, true, __ATOMIC_ACQ_REL) && write(events->fd, &one, sizeof(one)) < 0)
        __atomic_store_n(&events->notified, false, __ATOMIC_RELEASE); /* cannot happen: the counter is 0 or 1 */
}

void br_events_notify(struct br_events *events)
{
    if (!events->pending)
        return;
    events->pending = false;
    br_events_ring(events);
}

uint32_t br_events_take(struct br_events *events, struct br_event *out, uint32_t cap)
{
    uint64_t count;

    /* Clear before looking: an event put after this look notifies again. */
    if (read(events->fd, &count, sizeof(count)) > 0)
        (void)__atomic_exchange_n(&events->notified, false, __ATOMIC_ACQ_REL); /* who found it set was seen to put */
    const uint32_t tail = events->tail;
    const uint32_t waiting = br_events_waiting(events);
    const uint32_t n = waiting < cap ? waiting : cap;
    for (uint32_t i = 0; i < n; i++)
        out[i] = events->event[(tail + i) & events->mask];
    __atomic_store_n(&events->tail, tail + n, __ATOMIC_RELEASE);
    if (n < waiting)
        br_events_ring(events); /* what is left would wait for the next event otherwise */
    return n;
}
