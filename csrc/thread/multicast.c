/* thread/multicast.c - see thread/multicast.h. */
#include "thread/multicast.h"

#include <errno.h>
#include <string.h>

#include "thread/call.h"

enum { BR_GROUPS_SLICE = 256 };

struct br_groups_call {
    struct br_call call;
    struct br_groups *groups;
};

static bool br_groups_step(struct br_bridge *bridge, struct br_call *call)
{
    bridge->thread.groups = ((struct br_groups_call *)call)->groups;
    return true;
}

int br_bridge_groups(struct br_bridge *bridge, uint32_t capacity)
{
    struct br_groups_call set = {.call.step = br_groups_step};

    if (bridge->thread.groups)
        return -EBUSY;
    set.groups = br_groups_new(capacity, bridge->thread.fdb.secret);
    if (!set.groups)
        return -ENOMEM;
    br_bridge_call(bridge, &set.call);
    return 0;
}

struct br_snoop_call {
    struct br_call call;
    struct br_snooping_change *change;
    uint32_t n;
    uint32_t done;
};

static bool br_snoop_step(struct br_bridge *bridge, struct br_call *call)
{
    struct br_snoop_call *snoop = (struct br_snoop_call *)call;
    struct br_groups *groups = bridge->thread.groups;

    for (int i = 0; i < BR_GROUPS_SLICE && snoop->done < snoop->n; i++) {
        struct br_snooping_change *change = &snoop->change[snoop->done++];

        change->result =
            groups ? br_groups_configure(groups, change->vid, change->family, &change->config) : -ENODEV;
    }
    return snoop->done == snoop->n;
}

void br_bridge_snoop(struct br_bridge *bridge, struct br_snooping_change *change, uint32_t n)
{
    struct br_snoop_call snoop = {.call.step = br_snoop_step, .change = change, .n = n};

    br_bridge_call(bridge, &snoop.call);
}

/* ---- changes ----------------------------------------------------------------------------------------------------- */

struct br_group_changes_call {
    struct br_call call;
    struct br_group_change *change;
    uint32_t n;
    uint32_t done;
    uint32_t at; /* the next group of a change that goes over all */
};

static bool br_group_fits(const struct br_group *group, const struct br_group_change *change)
{
    if (br_set_is_empty(&group->learned) || (change->vid && group->vid != change->vid))
        return false;
    if (change->verb == BR_GROUP_CLOSE)
        return group->family == change->family;
    return change->family == BR_GROUP_ANY_FAMILY ||
           (group->family == change->family && memcmp(group->address, change->address, BR_GROUP_LEN) == 0);
}

/* End memberships; those of CLOSE and CLOSE_ONE are told. */
static int br_group_end(struct br_bridge *bridge, struct br_group *group, const struct br_port_set *ports, bool told)
{
    const struct br_group was = *group;
    int n = 0;

    for (uint16_t i = 0; i < BR_PORT_WORDS; i++) {
        for (uint64_t word = ports->word[i] & was.learned.word[i]; word; word &= word - 1, n++) {
            const uint16_t port = (uint16_t)(i * 64 + __builtin_ctzll(word));
            struct br_event event = {
                .key = br_fdb_key(was.vid, was.reporter),
                .port = port,
                .old_port = UINT16_MAX,
                .kind = BR_EVENT_group_expired,
                .finding = was.version,
                .address_len = was.family == BR_GROUP_IPV4 ? 4 : BR_GROUP_LEN,
            };

            br_groups_leave(bridge->thread.groups, group, port);
            memcpy(event.address, was.address, BR_GROUP_LEN);
            if (told)
                br_events_put(&bridge->events, &event);
        }
    }
    return n;
}

/* One group, for a change that goes over all. */
static int br_group_visit(struct br_bridge *bridge, struct br_group *group, const struct br_group_change *change)
{
    struct br_groups *groups = bridge->thread.groups;
    struct br_port_set ports = {0};

    if (!br_group_fits(group, change))
        return 0;
    if (change->verb == BR_GROUP_CLOSE) {
        ports = br_groups_silent(group, br_groups_row(groups, group->vid, group->family), false);
        return br_group_end(bridge, group, &ports, true);
    }
    if (change->port == BR_ANY_PORT)
        ports = group->learned;
    else
        br_set_add(&ports, change->port);
    return br_group_end(bridge, group, &ports, false);
}

/* A slice of it; true: that was the last one. */
static bool br_group_sweep(struct br_bridge *bridge, struct br_group_changes_call *changes,
                           struct br_group_change *change)
{
    struct br_groups *groups = bridge->thread.groups;
    const uint32_t last = changes->at + BR_GROUPS_SLICE < groups->capacity ? changes->at + BR_GROUPS_SLICE
                                                                          : groups->capacity;

    while (changes->at < last)
        change->result += br_group_visit(bridge, &groups->group[++changes->at], change);
    if (changes->at < groups->capacity)
        return false;
    changes->at = 0;
    if (change->verb == BR_GROUP_CLOSE)
        br_groups_close(br_groups_row(groups, change->vid, change->family));
    return true;
}

static int br_group_of_one(struct br_bridge *bridge, const struct br_group_change *change)
{
    struct br_groups *groups = bridge->thread.groups;
    struct br_group *group = br_groups_find(groups, change->vid, change->family, change->address);
    struct br_port_set ports = {0};

    if (!group)
        return 0;
    if (change->verb == BR_GROUP_DROP)
        return br_groups_leave(groups, group, change->port);
    if (change->verb == BR_GROUP_ASK_ONE) {
        br_groups_ask_one(group, change->port);
        return 0;
    }
    if (!group->is_asked)
        return 0;
    ports = br_groups_silent(group, br_groups_row(groups, group->vid, group->family), true);
    return br_group_end(bridge, group, &ports, true);
}

/* A round that nobody began, or that was closed, is over. */
static bool br_group_is_open(const struct br_groups *groups, const struct br_group_change *change)
{
    const struct br_snoop_row *row = br_groups_row(groups, change->vid, change->family);

    return row && row->is_open;
}

/* True: it is done. */
static bool br_group_change(struct br_bridge *bridge, struct br_group_changes_call *changes,
                            struct br_group_change *change)
{
    struct br_groups *groups = bridge->thread.groups;

    switch ((enum br_group_verb)change->verb) {
    case BR_GROUP_FIX:
        change->result =
            br_groups_fix(groups, change->vid, change->family, change->address, change->flags, &change->ports);
        return true;
    case BR_GROUP_LIMIT:
        groups->limit[change->port] = change->n;
        return true;
    case BR_GROUP_ASK:
        if (br_groups_row(groups, change->vid, change->family))
            br_groups_ask(br_groups_row(groups, change->vid, change->family));
        return true;
    case BR_GROUP_CLOSE:
        return !br_group_is_open(groups, change) || br_group_sweep(bridge, changes, change);
    case BR_GROUP_FORGET:
        return br_group_sweep(bridge, changes, change);
    default:
        change->result = br_group_of_one(bridge, change);
        return true;
    }
}

static bool br_group_changes_step(struct br_bridge *bridge, struct br_call *call)
{
    struct br_group_changes_call *changes = (struct br_group_changes_call *)call;

    for (int i = 0; i < BR_GROUPS_SLICE && changes->done < changes->n; i++) {
        struct br_group_change *change = &changes->change[changes->done];

        if (!bridge->thread.groups) {
            change->result = -ENODEV;
            changes->done++;
        } else if (br_group_change(bridge, changes, change)) {
            changes->done++;
        } else {
            break;
        }
    }
    br_events_notify(&bridge->events);
    return changes->done == changes->n;
}

void br_bridge_group_changes(struct br_bridge *bridge, struct br_group_change *change, uint32_t n)
{
    struct br_group_changes_call changes = {.call.step = br_group_changes_step, .change = change, .n = n};

    for (uint32_t i = 0; i < n; i++)
        change[i].result = 0;
    br_bridge_call(bridge, &changes.call);
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

struct br_read_groups_call {
    struct br_call call;
    struct br_group *out;
    uint32_t cap;
    uint32_t n;
    uint32_t at;
};

static bool br_read_groups_step(struct br_bridge *bridge, struct br_call *call)
{
    struct br_read_groups_call *read = (struct br_read_groups_call *)call;
    const struct br_groups *groups = bridge->thread.groups;

    if (!groups)
        return true;
    for (int i = 0; i < BR_GROUPS_SLICE && read->at < groups->capacity; i++) {
        const struct br_group *group = &groups->group[++read->at];

        if ((group->flags || !br_set_is_empty(&group->learned) || !br_set_is_empty(&group->fixed)) &&
            read->n < read->cap)
            read->out[read->n++] = *group;
    }
    return read->at == groups->capacity;
}

uint32_t br_bridge_read_groups(struct br_bridge *bridge, struct br_group *out, uint32_t cap)
{
    struct br_read_groups_call read = {.call.step = br_read_groups_step, .out = out, .cap = cap};

    br_bridge_call(bridge, &read.call);
    return read.n;
}

struct br_read_row_call {
    struct br_call call;
    uint16_t vid;
    uint8_t family;
    struct br_snoop_row *out;
    bool is_there;
};

static bool br_read_row_step(struct br_bridge *bridge, struct br_call *call)
{
    struct br_read_row_call *read = (struct br_read_row_call *)call;
    const struct br_groups *groups = bridge->thread.groups;
    const struct br_snoop_row *row = groups ? br_groups_row(groups, read->vid, read->family) : NULL;

    read->is_there = row != NULL;
    if (row)
        *read->out = *row;
    return true;
}

bool br_bridge_read_row(struct br_bridge *bridge, uint16_t vid, uint8_t family, struct br_snoop_row *out)
{
    struct br_read_row_call read = {.call.step = br_read_row_step, .vid = vid, .family = family, .out = out};

    br_bridge_call(bridge, &read.call);
    return read.is_there;
}
