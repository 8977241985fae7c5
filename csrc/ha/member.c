/* ha/member.c - see ha/member.h. */
#include "ha/member.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* The timer wakes a thread that sleeps; one that is busy looks at `next` itself. */
static void br_member_set_timer(struct br_member *member, uint64_t now)
{
    const uint64_t due = br_pair_next(&member->pair, now);
    const uint64_t round = now + BR_MEMBER_ROUND_NS;

    member->next = due < round ? due : round;
    const uint64_t at = member->next ? member->next : 1;
    const struct itimerspec when = {
        .it_value = {.tv_sec = (time_t)(at / 1000000000u), .tv_nsec = (long)(at % 1000000000u)},
    };
    timerfd_settime(member->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

static uint32_t br_member_send(struct br_member *member, uint64_t now)
{
    uint8_t frame[BR_BEACON_LEN];
    struct br_beacon beacon;
    uint32_t n = 0;

    br_pair_write(&member->pair, now, &beacon);
    br_beacon_write(frame, member->source, &beacon, &member->key);
    for (uint32_t i = 0; i < member->n_paths; i++)
        n += send(member->path[i], frame, sizeof(frame), MSG_DONTWAIT) == sizeof(frame);
    atomic_store_explicit(&member->page->sequence, beacon.sequence, memory_order_relaxed);
    member->counters.sent += n;
    member->counters.send_failed += member->n_paths - n;
    return n;
}

/* Do what a step asked for, close before send, until nothing is left; the set of all that happened. */
static uint32_t br_member_do(struct br_member *member, uint64_t now, uint32_t todo)
{
    uint32_t done = todo;

    while (todo & (BR_PAIR_DO_close | BR_PAIR_DO_send)) {
        if (todo & BR_PAIR_DO_close || member->pair.state != BR_PAIR_active)
            br_gate_close(member->page);
        if (todo & BR_PAIR_DO_send) {
            const uint32_t n = br_member_send(member, now);

            br_pair_sent(&member->pair, now, n);
            if (n && member->pair.state == BR_PAIR_active)
                br_gate_open(member->page, member->pair.epoch, member->pair.until);
        }
        todo = br_pair_tick(&member->pair, now);
        done |= todo;
    }
    br_member_set_timer(member, now);
    return done;
}

int br_member_start(struct br_member *member, const struct br_pair_config *config, const struct br_beacon_key *key,
                    uint64_t source, struct br_gate_page *page, const int *path, uint32_t n_paths)
{
    const uint64_t now = br_gate_clock();
    int timer;

    if (n_paths < 1 || n_paths > BR_MEMBER_PATHS)
        return -EINVAL;
    timer = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    if (timer < 0)
        return -errno;
    *member = (struct br_member){.running = true, .source = source, .page = page, .key = *key, .timer_fd = timer};
    member->n_paths = n_paths;
    for (uint32_t i = 0; i < n_paths; i++)
        member->path[i] = path[i];
    br_gate_close(page);
    br_pair_init(&member->pair, config, now);
    br_member_set_timer(member, now);
    return 0;
}

void br_member_abandon(struct br_member *member)
{
    close(member->timer_fd);
    member->running = false;
}

void br_member_stop(struct br_member *member)
{
    if (!member->running)
        return;
    br_member_hold(member, true);
    br_gate_close(member->page);
    br_member_set_paths(member, NULL, 0);
    br_member_abandon(member);
}

void br_member_set_paths(struct br_member *member, const int *path, uint32_t n_paths)
{
    for (uint32_t i = 0; i < member->n_paths; i++)
        close(member->path[i]);
    for (uint32_t i = 0; i < n_paths; i++)
        member->path[i] = path[i];
    member->n_paths = n_paths;
    member->ready = 0;
}

/* One frame of a path; what it says is taken, or counted. */
static uint32_t br_member_hear(struct br_member *member, uint64_t now, const uint8_t *frame, size_t len)
{
    struct br_member_counters *counters = &member->counters;
    struct br_beacon beacon;
    uint32_t todo;

    switch (br_beacon_read(frame, len, &member->key, &beacon)) {
    case BR_BEACON_FINE:
        todo = br_pair_hear(&member->pair, now, &beacon);
        counters->replayed += !!(todo & BR_PAIR_DO_replayed);
        counters->reflected += !!(todo & BR_PAIR_DO_reflected);
        counters->foreign += !!(todo & BR_PAIR_DO_foreign);
        counters->heard += !(todo & (BR_PAIR_DO_replayed | BR_PAIR_DO_reflected | BR_PAIR_DO_foreign));
        return todo;
    case BR_BEACON_OTHER_VERSION:
        counters->other_version++;
        return 0;
    case BR_BEACON_CUT:
    case BR_BEACON_FORGED:
        counters->forged++;
        return 0;
    case BR_BEACON_NONE:
        return 0;
    }
    return 0;
}

static uint32_t br_member_receive(struct br_member *member, uint32_t i)
{
    uint8_t frame[BR_BEACON_LEN + 64];
    uint32_t done = 0;

    for (int n = 0; n < BR_MEMBER_TAKEN; n++) {
        const ssize_t len = recv(member->path[i], frame, sizeof(frame), MSG_DONTWAIT);

        if (len < 0)
            break; /* EAGAIN: all taken; ENETDOWN: reported once, and the path is silent until its device is back */
        const uint64_t now = br_gate_clock();

        done |= br_member_do(member, now, br_member_hear(member, now, frame, (size_t)len));
    }
    return done;
}

uint32_t br_member_turn(struct br_member *member)
{
    uint32_t done = 0;
    uint64_t expired;

    for (uint32_t i = 0; member->ready; i++, member->ready >>= 1)
        if (member->ready & 1)
            done |= br_member_receive(member, i);
    const uint64_t now = br_gate_clock();

    atomic_store_explicit(&member->page->progress, now, memory_order_relaxed);
    if (now < member->next)
        return done;
    if (read(member->timer_fd, &expired, sizeof(expired)) < 0) {
        /* EAGAIN: the thread was awake before the timer was */
    }
    return done | br_member_do(member, now, br_pair_tick(&member->pair, now));
}

uint32_t br_member_set_health(struct br_member *member, bool healthy)
{
    const uint64_t now = br_gate_clock();

    return br_member_do(member, now, br_pair_set_health(&member->pair, now, healthy));
}

uint32_t br_member_hold(struct br_member *member, bool held)
{
    const uint64_t now = br_gate_clock();

    return br_member_do(member, now, br_pair_hold(&member->pair, now, held));
}

int br_member_release(struct br_member *member, uint32_t *done)
{
    const uint64_t now = br_gate_clock();
    const int error = br_pair_release(&member->pair, now, done);

    *done = br_member_do(member, now, *done);
    return error;
}
