/* thread/ha.c - see thread/ha.h. */
#include "thread/ha.h"

#include <errno.h>
#include <sys/epoll.h>

#include "thread/call.h"

void br_bridge_tell_pair(struct br_bridge *bridge, uint32_t done)
{
    br_events_put(&bridge->events, &(struct br_event){
                                       .key = bridge->member.pair.epoch,
                                       .port = (uint16_t)bridge->member.pair.state,
                                       .old_port = UINT16_MAX,
                                       .kind = BR_EVENT_pair,
                                       .error = (uint16_t)done,
                                   });
}

/* ---- the gate ---------------------------------------------------------------------------------------------------- */

struct br_gate_call {
    struct br_call call;
    struct br_gate_page *page;
};

static bool br_gate_step(struct br_bridge *bridge, struct br_call *call)
{
    bridge->gate = ((struct br_gate_call *)call)->page;
    return true;
}

int br_bridge_gate(struct br_bridge *bridge, bool gated)
{
    struct br_gate_page *old = bridge->gate;
    struct br_gate_call set = {.call.step = br_gate_step};

    if (gated == (old != NULL))
        return 0;
    if (bridge->member.running || bridge->handover.page) /* programs in the kernel know of no gate */
        return -EBUSY;
    if (gated && !(set.page = br_gate_new()))
        return -ENOMEM;
    br_bridge_call(bridge, &set.call);
    br_gate_free(old);
    return 0;
}

/* ---- the pair ---------------------------------------------------------------------------------------------------- */

struct br_start_call {
    struct br_call call;
    const struct br_pair_start *start;
    int error;
};

static int br_pair_name(struct br_bridge *bridge, int fd, uint32_t tag)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = tag};

    return epoll_ctl(bridge->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

/* Closing a path would not take it out of the set: the witness has it, too. */
static void br_pair_forget(struct br_bridge *bridge, const int *path, uint32_t n_paths)
{
    for (uint32_t i = 0; i < n_paths; i++)
        epoll_ctl(bridge->epoll_fd, EPOLL_CTL_DEL, path[i], NULL);
}

/* All or none. */
static int br_pair_watch(struct br_bridge *bridge, const int *path, uint32_t n_paths)
{
    int error = 0;

    for (uint32_t i = 0; !error && i < n_paths; i++)
        if ((error = br_pair_name(bridge, path[i], BR_PATH_TAG + i)))
            br_pair_forget(bridge, path, i);
    return error;
}

static bool br_start_step(struct br_bridge *bridge, struct br_call *call)
{
    struct br_start_call *begin = (struct br_start_call *)call;
    const struct br_pair_start *start = begin->start;
    struct br_member *member = &bridge->member;

    begin->error = br_member_start(member, &start->config, &start->key, start->source, bridge->gate, start->path,
                                   start->n_paths);
    for (uint32_t i = 0; !begin->error && i < start->n_remembered; i++)
        br_pair_remember(&member->pair, start->remembered[i][0], start->remembered[i][1], start->remembered[i][2]);
    if (begin->error)
        return true;
    begin->error = br_pair_name(bridge, member->timer_fd, BR_TIMER_TAG);
    if (!begin->error)
        begin->error = br_pair_watch(bridge, member->path, member->n_paths);
    if (begin->error)
        br_member_abandon(member);
    return true;
}

int br_bridge_pair_start(struct br_bridge *bridge, const struct br_pair_start *start)
{
    struct br_start_call begin = {.call.step = br_start_step, .start = start};

    if (bridge->member.running)
        return -EBUSY;
    if (!bridge->gate)
        return -EPERM;
    br_bridge_call(bridge, &begin.call);
    return begin.error;
}

struct br_paths_call {
    struct br_call call;
    const int *path;
    uint32_t n_paths;
    int error;
};

static bool br_paths_step(struct br_bridge *bridge, struct br_call *call)
{
    struct br_paths_call *other = (struct br_paths_call *)call;
    struct br_member *member = &bridge->member;

    other->error = member->running ? br_pair_watch(bridge, other->path, other->n_paths) : -ESRCH;
    if (other->error)
        return true;
    br_pair_forget(bridge, member->path, member->n_paths);
    br_member_set_paths(member, other->path, other->n_paths);
    return true;
}

int br_bridge_pair_paths(struct br_bridge *bridge, const int *path, uint32_t n_paths)
{
    struct br_paths_call other = {.call.step = br_paths_step, .path = path, .n_paths = n_paths};

    if (n_paths < 1 || n_paths > BR_MEMBER_PATHS)
        return -EINVAL;
    br_bridge_call(bridge, &other.call);
    return other.error;
}

static bool br_stop_step(struct br_bridge *bridge, struct br_call *call)
{
    struct br_member *member = &bridge->member;

    if (member->running) {
        br_pair_forget(bridge, member->path, member->n_paths);
        br_member_stop(member);
    }
    return true;
}

void br_bridge_pair_stop(struct br_bridge *bridge)
{
    struct br_call stop = {.step = br_stop_step};

    br_bridge_call(bridge, &stop);
}

struct br_pair_call {
    struct br_call call;
    enum br_pair_verb verb;
    struct br_pair_state_copy *copy;
    int error;
};

static int br_pair_do(struct br_member *member, enum br_pair_verb verb, uint32_t *done)
{
    *done = 0;
    switch (verb) {
    case BR_PAIR_READ:
        return 0;
    case BR_PAIR_HEALTHY:
    case BR_PAIR_SICK:
        *done = br_member_set_health(member, verb == BR_PAIR_HEALTHY);
        return 0;
    case BR_PAIR_HOLD:
    case BR_PAIR_RESUME:
        *done = br_member_hold(member, verb == BR_PAIR_HOLD);
        return 0;
    case BR_PAIR_SWITCH:
        return br_member_release(member, done);
    }
    return -EINVAL;
}

static bool br_pair_step(struct br_bridge *bridge, struct br_call *call)
{
    struct br_pair_call *ask = (struct br_pair_call *)call;
    struct br_member *member = &bridge->member;
    const enum br_pair_state state = member->pair.state;
    uint32_t done;

    if (!member->running) {
        ask->error = -ESRCH;
        return true;
    }
    ask->error = br_pair_do(member, ask->verb, &done);
    if (state != member->pair.state || done & BR_PAIR_NEWS)
        br_bridge_tell_pair(bridge, done);
    *ask->copy = (struct br_pair_state_copy){.pair = member->pair, .counters = member->counters};
    return true;
}

int br_bridge_pair(struct br_bridge *bridge, enum br_pair_verb verb, struct br_pair_state_copy *copy)
{
    struct br_pair_call ask = {.call.step = br_pair_step, .verb = verb, .copy = copy};

    br_bridge_call(bridge, &ask.call);
    return ask.error;
}
