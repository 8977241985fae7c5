/* multicast/groups.c - see multicast/groups.h. */
#include "multicast/groups.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct br_groups *br_groups_new(uint32_t capacity, const uint64_t secret[2])
{
    struct br_groups *groups = calloc(1, sizeof(*groups));
    uint32_t size = 64;

    if (!groups)
        return NULL;
    while (size < capacity)
        size *= 2;
    groups->capacity = capacity;
    groups->mask = size - 1;
    groups->secret[0] = secret[0];
    groups->secret[1] = secret[1];
    groups->chain = calloc(size, sizeof(*groups->chain));
    groups->group = calloc(capacity + 1, sizeof(*groups->group));
    if (!groups->chain || !groups->group) {
        br_groups_free(groups);
        return NULL;
    }
    for (uint32_t i = capacity; i > 0; i--) {
        groups->group[i].next = groups->free;
        groups->free = i;
    }
    return groups;
}

void br_groups_free(struct br_groups *groups)
{
    if (!groups)
        return;
    for (uint32_t vid = 0; vid < BR_VLANS; vid++)
        for (int i = 0; i < BR_GROUPS_FAMILIES; i++)
            free(groups->row[vid][i]);
    free(groups->chain);
    free(groups->group);
    free(groups);
}

/* ---- the table --------------------------------------------------------------------------------------------------- */

static uint64_t br_groups_fold(uint64_t a, uint64_t b)
{
    const unsigned __int128 product = (unsigned __int128)a * (b | 1);

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

uint64_t br_groups_hash(const struct br_groups *groups, uint16_t vid, uint8_t family,
                        const uint8_t address[BR_GROUP_LEN])
{
    uint64_t word[2];

    memcpy(word, address, sizeof(word));
    const uint64_t first = br_groups_fold(word[0] ^ groups->secret[0], groups->secret[1]);
    return br_groups_fold(word[1] ^ first, groups->secret[0] ^ ((uint64_t)vid << 33 | (uint64_t)family << 8));
}

static bool br_group_is(const struct br_group *group, uint16_t vid, uint8_t family, const uint8_t *address)
{
    return group->vid == vid && group->family == family && memcmp(group->address, address, BR_GROUP_LEN) == 0;
}

struct br_group *br_groups_find(const struct br_groups *groups, uint16_t vid, uint8_t family,
                                const uint8_t address[BR_GROUP_LEN])
{
    uint32_t at = groups->chain[br_groups_hash(groups, vid, family, address) & groups->mask];

    while (at && !br_group_is(&groups->group[at], vid, family, address))
        at = groups->group[at].next;
    return at ? &groups->group[at] : NULL;
}

static struct br_group *br_groups_add(struct br_groups *groups, uint16_t vid, uint8_t family, const uint8_t *address)
{
    const uint32_t at = groups->free;
    struct br_group *group = &groups->group[at];
    uint32_t *chain = &groups->chain[br_groups_hash(groups, vid, family, address) & groups->mask];

    if (!at)
        return NULL;
    groups->free = group->next;
    memset(group, 0, sizeof(*group));
    memcpy(group->address, address, BR_GROUP_LEN);
    group->vid = vid;
    group->family = family;
    group->next = *chain;
    *chain = at;
    groups->n++;
    groups->n_fixed_mac += family == BR_GROUP_MAC;
    return group;
}

static void br_groups_remove(struct br_groups *groups, struct br_group *group)
{
    const uint32_t at = (uint32_t)(group - groups->group);
    uint32_t *link = &groups->chain[br_groups_hash(groups, group->vid, group->family, group->address) & groups->mask];

    while (*link != at)
        link = &groups->group[*link].next;
    *link = group->next;
    groups->n--;
    groups->n_fixed_mac -= group->family == BR_GROUP_MAC;
    memset(group, 0, sizeof(*group));
    group->next = groups->free;
    groups->free = at;
}

/* ---- members ----------------------------------------------------------------------------------------------------- */

static bool br_groups_is_too_fast(struct br_groups *groups, const struct br_report *report)
{
    if (groups->rate_round[report->port] != report->second) {
        groups->rate_round[report->port] = report->second;
        groups->rate[report->port] = 0;
    }
    return groups->rate[report->port] >= BR_GROUPS_RATE;
}

static enum br_join br_groups_admit(struct br_groups *groups, struct br_snoop_row *row, const struct br_report *report,
                                    struct br_group **group)
{
    const uint32_t limit = groups->limit[report->port];

    if (br_groups_is_too_fast(groups, report) || (limit && groups->n_of_port[report->port] >= limit)) {
        br_set_add(&row->over[0], report->port);
        return BR_JOIN_PORT_LIMIT;
    }
    const bool is_first = !*group || br_set_is_empty(&(*group)->learned);
    const bool is_over = is_first && row->config.group_limit && row->n_groups >= row->config.group_limit;
    if (!is_over && !*group)
        *group = br_groups_add(groups, report->vid, report->family, report->group);
    if (is_over || !*group) {
        row->full[0] = true;
        return is_over ? BR_JOIN_VLAN_LIMIT : BR_JOIN_FULL;
    }
    groups->rate[report->port]++;
    groups->n_of_port[report->port]++;
    row->n_groups += is_first;
    br_set_add(&(*group)->learned, report->port);
    return BR_JOIN_NEW;
}

enum br_join br_groups_join(struct br_groups *groups, struct br_snoop_row *row, const struct br_report *report)
{
    struct br_group *group = br_groups_find(groups, report->vid, report->family, report->group);
    enum br_join join = BR_JOIN_KNOWN;

    if (!group || !br_set_has(&group->learned, report->port))
        join = br_groups_admit(groups, row, report, &group);
    if (join > BR_JOIN_NEW)
        return join;
    if (group->round != row->round) {
        group->round = row->round;
        memset(&group->heard, 0, sizeof(group->heard));
    }
    group->tick = report->tick;
    group->version = report->version;
    group->reporter = report->reporter;
    br_set_add(&group->heard, report->port);
    br_set_add(&group->answered, report->port);
    br_set_clear(&group->missed, report->port);
    /* Where reports are flooded, this one keeps other members of the group silent (RFC 2236 section 3). */
    if (row->config.snooping == BR_SNOOPING_WATCH && report->version < (report->family == BR_GROUP_IPV4 ? 3 : 2)) {
        br_set_merge(&group->heard, &group->learned);
        br_set_merge(&group->answered, &group->learned);
    }
    return join;
}

bool br_groups_leave(struct br_groups *groups, struct br_group *group, uint16_t port)
{
    if (!br_set_has(&group->learned, port))
        return false;
    br_set_clear(&group->learned, port);
    br_set_clear(&group->missed, port);
    groups->n_of_port[port]--;
    if (!br_set_is_empty(&group->learned))
        return true;
    struct br_snoop_row *row = br_groups_row(groups, group->vid, group->family);
    if (row)
        row->n_groups--;
    if (br_set_is_empty(&group->fixed) && !group->flags)
        br_groups_remove(groups, group);
    return true;
}

/* Take the room of a group that nobody set by hand; its VLAN floods what it does not know until it is learned again. */
static bool br_groups_make_room(struct br_groups *groups)
{
    for (uint32_t i = 1; i <= groups->capacity; i++) {
        struct br_group *group = &groups->group[i];

        if (br_set_is_empty(&group->learned) || !br_set_is_empty(&group->fixed) || group->flags)
            continue;
        br_groups_row(groups, group->vid, group->family)->full[0] = true;
        for (uint16_t port = 0; port < BR_PORTS_MAX && !br_set_is_empty(&group->learned); port++)
            br_groups_leave(groups, group, port);
        return true;
    }
    return false;
}

int br_groups_fix(struct br_groups *groups, uint16_t vid, uint8_t family, const uint8_t address[BR_GROUP_LEN],
                  uint8_t flags, const struct br_port_set *ports)
{
    struct br_group *group = br_groups_find(groups, vid, family, address);
    const bool is_wanted = flags || !br_set_is_empty(ports);

    if (!group && !is_wanted)
        return 0;
    if (!group) {
        if (!groups->free && !br_groups_make_room(groups))
            return -ENOSPC;
        group = br_groups_add(groups, vid, family, address);
    }
    groups->n_flood += !!(flags & BR_GROUP_FLOOD) - !!(group->flags & BR_GROUP_FLOOD);
    group->fixed = *ports;
    group->flags = flags;
    if (!is_wanted && br_set_is_empty(&group->learned))
        br_groups_remove(groups, group);
    return 0;
}

int br_groups_configure(struct br_groups *groups, uint16_t vid, uint8_t family, const struct br_snoop_config *config)
{
    struct br_snoop_row **row = &groups->row[vid][family == BR_GROUP_IPV6];

    if (!*row) {
        if (config->snooping == BR_SNOOPING_OFF)
            return 0;
        *row = calloc(1, sizeof(**row));
        if (!*row)
            return -ENOMEM;
    }
    groups->n_rows += (config->snooping != BR_SNOOPING_OFF) - ((*row)->config.snooping != BR_SNOOPING_OFF);
    (*row)->config = *config;
    return 0;
}

/* ---- rounds ------------------------------------------------------------------------------------------------------ */

void br_groups_close(struct br_snoop_row *row)
{
    row->is_open = false;
    row->full[1] = row->full[0];
    row->full[0] = false;
    row->over[1] = row->over[0];
    memset(&row->over[0], 0, sizeof(row->over[0]));
    row->v1[1] = row->v1[0];
    memset(&row->v1[0], 0, sizeof(row->v1[0]));
}

void br_groups_ask_one(struct br_group *group, uint16_t port)
{
    if (!group->is_asked) {
        group->is_asked = true;
        group->n_asked = 0;
        memset(&group->asked, 0, sizeof(group->asked));
        memset(&group->answered, 0, sizeof(group->answered));
    }
    group->n_asked++;
    if (port == BR_ANY_PORT)
        memset(&group->asked, 0xff, sizeof(group->asked));
    else
        br_set_add(&group->asked, port);
}

struct br_port_set br_groups_silent(struct br_group *group, const struct br_snoop_row *row, bool alone)
{
    struct br_port_set gone = {0};

    for (int i = 0; i < BR_PORT_WORDS; i++) {
        const uint64_t heard = group->round == row->round ? group->heard.word[i] : 0;
        const uint64_t silent = alone ? group->asked.word[i] & ~group->answered.word[i] : ~heard;
        const uint64_t now = silent & group->learned.word[i];

        gone.word[i] = now & (group->missed.word[i] | (alone && group->n_asked > 1 ? ~0ull : 0));
        group->missed.word[i] = alone ? group->missed.word[i] | now : now;
    }
    if (alone)
        group->is_asked = false;
    return gone;
}
