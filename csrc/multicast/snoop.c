/* multicast/snoop.c - see multicast/snoop.h. */
#include "multicast/snoop.h"

#include <string.h>

#include "frame/mac.h"
#include "frame/packet.h"
#include "port/port.h"

/* A frame on its way through: where it is, and what has been found out. */
struct br_snooped {
    struct br_groups *groups;
    struct br_batch *batch;
    const struct br_frame *frame;
    struct br_snoop_row *row;
    uint8_t family;
    uint8_t address[BR_GROUP_LEN];
};

/* ---- what it teaches --------------------------------------------------------------------------------------------- */

static struct br_event br_snoop_event(const struct br_snooped *snooped, enum br_event_kind kind, uint8_t finding,
                                      uint16_t value, const uint8_t *address)
{
    const struct br_frame *frame = snooped->frame;
    struct br_event event = {
        .key = snooped->batch->stations[frame - snooped->batch->frame].source,
        .port = frame->ingress,
        .old_port = value,
        .kind = (uint16_t)kind,
        .finding = finding,
        .address_len = snooped->family == BR_GROUP_IPV4 ? 4 : BR_GROUP_LEN,
    };

    memcpy(event.address, address, BR_GROUP_LEN);
    return event;
}

static void br_snoop_join(const struct br_snooped *snooped, const struct br_membership *report)
{
    struct br_batch *batch = snooped->batch;
    const struct br_report joining = {
        .vid = snooped->frame->vid,
        .port = snooped->frame->ingress,
        .tick = br_fdb_tick(batch->fdb),
        .family = snooped->family,
        .version = report->version,
        .second = __atomic_load_n(&batch->events->round, __ATOMIC_RELAXED),
        .reporter = batch->stations[snooped->frame - batch->frame].source & BR_FDB_MAC,
        .group = report->group,
    };

    if (!br_group_is_prunable(snooped->family, report->group))
        return;
    if (report->version == 1 && snooped->family == BR_GROUP_IPV4)
        br_set_add(&snooped->row->v1[0], joining.port);
    const enum br_join join = br_groups_join(snooped->groups, snooped->row, &joining);
    if (join == BR_JOIN_KNOWN)
        return;
    const bool is_new = join == BR_JOIN_NEW;
    const struct br_event event = br_snoop_event(snooped, is_new ? BR_EVENT_group_joined : BR_EVENT_group_limit,
                                                 is_new ? report->version : (uint8_t)join, UINT16_MAX, report->group);
    if (is_new) {
        br_events_put(batch->events, &event);
    } else {
        batch->ingress->mdb_refused++;
        br_events_hint(batch->events, &event);
    }
}

static void br_snoop_leave(const struct br_snooped *snooped, const struct br_membership *report)
{
    const uint16_t port = snooped->frame->ingress;
    const struct br_snoop_row *row = snooped->row;
    const struct br_group *group =
        br_groups_find(snooped->groups, snooped->frame->vid, snooped->family, report->group);

    if (!group || !br_set_has(&group->learned, port) || br_set_has(&row->v1[0], port) || br_set_has(&row->v1[1], port))
        return;
    const struct br_event event =
        br_snoop_event(snooped, BR_EVENT_group_left, report->version, UINT16_MAX, report->group);
    br_events_hint(snooped->batch->events, &event);
}

static void br_snoop_report(const struct br_snooped *snooped, const uint8_t *data, struct br_membership *report)
{
    enum br_record_verb verb = report->kind == BR_MEMBERSHIP_LEAVE ? BR_RECORD_LEAVE : BR_RECORD_JOIN;
    bool is_more = report->kind != BR_MEMBERSHIP_RECORDS || br_membership_record(data, report, &verb);

    snooped->batch->ingress->igmp_reports++;
    while (is_more) {
        if (verb == BR_RECORD_JOIN)
            br_snoop_join(snooped, report);
        else if (verb == BR_RECORD_LEAVE)
            br_snoop_leave(snooped, report);
        is_more = report->kind == BR_MEMBERSHIP_RECORDS && br_membership_record(data, report, &verb);
    }
}

/* Queries, and hellos of routers. */
static enum br_drop br_snoop_router(const struct br_snooped *snooped, const struct br_membership *message)
{
    struct br_snoop_row *row = snooped->row;
    const bool is_query = message->kind == BR_MEMBERSHIP_QUERY;
    enum br_event_kind kind = is_query ? BR_EVENT_group_query : BR_EVENT_group_router;

    snooped->batch->ingress->igmp_queries += is_query;
    if (br_set_has(&row->config.guarded, snooped->frame->ingress))
        return row->config.snooping == BR_SNOOPING_ON ? BR_DROP_multicast_guard : BR_PASS;
    if (is_query && message->is_general) {
        br_groups_ask(row);
    } else if (is_query) {
        struct br_group *group =
            br_groups_find(snooped->groups, snooped->frame->vid, snooped->family, message->group);

        if (group)
            br_groups_ask_one(group, BR_ANY_PORT);
        kind = BR_EVENT_group_asked;
    }
    const struct br_event event =
        br_snoop_event(snooped, kind, message->version, message->time,
                       kind == BR_EVENT_group_asked ? message->group : message->source);
    br_events_hint(snooped->batch->events, &event);
    return BR_PASS;
}

/* The bytes of a frame in one piece, if it is short enough to be a message. */
static const uint8_t *br_snoop_bytes(struct br_groups *groups, const struct br_frame *frame, uint32_t *len)
{
    *len = frame->len;
    if (BR_LIKELY(!frame->tail_len) || br_frame_len(frame) > sizeof(groups->message))
        return frame->data;
    memcpy(groups->message, frame->data, frame->len);
    memcpy(groups->message + frame->len, frame->tail, frame->tail_len);
    *len = br_frame_len(frame);
    return groups->message;
}

/* ---- which ports it goes to -------------------------------------------------------------------------------------- */

/* Whether a frame goes by an IP group, and by which. */
static bool br_snoop_group(const struct br_frame *frame, uint8_t family, uint8_t address[BR_GROUP_LEN])
{
    const bool is_ipv4 = family == BR_GROUP_IPV4;
    const uint8_t *ip = frame->data + BR_ETH_HLEN;
    const uint32_t address_len = is_ipv4 ? 4 : BR_GROUP_LEN;

    if (family == BR_GROUP_MAC || frame->len < BR_ETH_HLEN + (is_ipv4 ? BR_IPV4_HLEN : BR_IPV6_HLEN) ||
        ip[0] >> 4 != (is_ipv4 ? 4 : 6))
        return false;
    memset(address, 0, BR_GROUP_LEN);
    memcpy(address, ip + (is_ipv4 ? 16 : 24), address_len);
    /* RFC 1112 section 6.4, RFC 2464 section 7. */
    const uint64_t expected = is_ipv4 ? 0x01005e000000ull | (uint64_t)(address[1] & 0x7f) << 16 |
                                            (uint64_t)address[2] << 8 | address[3]
                                      : 0x333300000000ull | (uint64_t)address[12] << 24 |
                                            (uint64_t)address[13] << 16 | (uint64_t)address[14] << 8 | address[15];
    return br_mac_read(frame->data) == expected && br_group_is_prunable(family, address);
}

/* The entry by address of Ethernet, which only the configuration makes. */
static const struct br_group *br_snoop_mac(const struct br_snooped *snooped, uint16_t vid)
{
    uint8_t address[BR_GROUP_LEN] = {0};

    memcpy(address, snooped->frame->data, BR_ETH_ALEN);
    return br_groups_find(snooped->groups, vid, BR_GROUP_MAC, address);
}

static bool br_snoop_is_flooded(const struct br_snooped *snooped, bool is_group)
{
    const struct br_groups *groups = snooped->groups;

    if (BR_LIKELY(!groups->n_flood))
        return false;
    return br_snoop_mac(snooped, 0) || (is_group && br_groups_find(groups, 0, snooped->family, snooped->address));
}

/* Tell of a group with traffic and no report, once in 64 s. */
static void br_snoop_note_unregistered(const struct br_snooped *snooped)
{
    struct br_groups *groups = snooped->groups;
    const uint64_t hash = br_groups_hash(groups, snooped->frame->vid, snooped->family, snooped->address);
    const uint64_t mark = (hash & ~0x3ffull) | (br_fdb_tick(snooped->batch->fdb) >> 6 & 0x3ff);
    uint64_t *reported = &groups->reported[(hash >> 32) % BR_GROUPS_REPORTED];

    if (*reported == mark)
        return;
    *reported = mark;
    const struct br_event event =
        br_snoop_event(snooped, BR_EVENT_group_unregistered, 0, UINT16_MAX, snooped->address);
    br_events_hint(snooped->batch->events, &event);
}

static void br_snoop_wanted_by_all(const struct br_snoop_row *row, struct br_port_set *wanted)
{
    br_set_merge(wanted, &row->config.always);
    br_set_merge(wanted, &row->over[0]);
    br_set_merge(wanted, &row->over[1]);
}

/* Who wants a frame that is no message; false: all do. */
static bool br_snoop_data(const struct br_snooped *snooped, struct br_port_set *wanted)
{
    const struct br_snoop_row *row = snooped->row;
    const struct br_groups *groups = snooped->groups;
    const struct br_frame *frame = snooped->frame;
    uint8_t *address = ((struct br_snooped *)snooped)->address;
    const bool is_group = br_snoop_group(frame, snooped->family, address);

    if (br_snoop_is_flooded(snooped, is_group))
        return false;
    const struct br_group *group = groups->n_fixed_mac ? br_snoop_mac(snooped, frame->vid) : NULL;
    const bool by_mac = group != NULL;
    if (!group && is_group)
        group = br_groups_find(groups, frame->vid, snooped->family, address);
    if (group && group->flags & BR_GROUP_ONLY) {
        *wanted = group->fixed;
        return true;
    }
    if ((!is_group && !by_mac) || !row->config.pruning)
        return false;
    if (group) {
        *wanted = group->fixed;
        br_set_merge(wanted, &group->learned);
        br_snoop_wanted_by_all(row, wanted);
        return true;
    }
    br_snoop_note_unregistered(snooped);
    if (!row->config.to_routers || row->full[0] || row->full[1] || frame->class == BR_CLASS_first_hop ||
        frame->class == BR_CLASS_heartbeat)
        return false;
    memset(wanted, 0, sizeof(*wanted));
    br_snoop_wanted_by_all(row, wanted);
    return true;
}

/* Learn from a message and say who wants it, or who wants what is none; false: all do. */
static bool br_snoop_judge(struct br_snooped *snooped, struct br_port_set *wanted, enum br_drop *reason)
{
    const struct br_frame *frame = snooped->frame;
    const uint32_t protocol = BR_ETH_HLEN + (snooped->family == BR_GROUP_IPV6 ? 6 : 9);
    struct br_membership message;
    uint32_t len;

    if (snooped->family == BR_GROUP_MAC || frame->len <= protocol || frame->data[protocol] == BR_IP_UDP)
        return br_snoop_data(snooped, wanted);
    const uint8_t *data = br_snoop_bytes(snooped->groups, frame, &len);
    br_membership_read(data, len, frame->vnet.needs_csum, &message);
    switch ((enum br_membership_kind)message.kind) {
    case BR_MEMBERSHIP_NONE:
        return br_snoop_data(snooped, wanted);
    case BR_MEMBERSHIP_INVALID:
        snooped->batch->ingress->igmp_invalid++;
        return false;
    case BR_MEMBERSHIP_QUERY:
    case BR_MEMBERSHIP_ROUTER:
        *reason = br_snoop_router(snooped, &message);
        return false;
    default:
        br_snoop_report(snooped, data, &message);
        *wanted = snooped->row->config.reports;
        return true;
    }
}

/* Count what is spared, port by port, at what such a copy cost it the last time; returns how many are left. */
static uint32_t br_snoop_narrow(const struct br_snooped *snooped, struct br_port_set *ports,
                                const struct br_port_set *wanted)
{
    const struct br_batch *batch = snooped->batch;
    struct br_spared *spared = &snooped->row->spared;
    const uint32_t weight = br_frame_weight(snooped->frame);
    uint32_t n_left = 0;
    uint32_t n_spared = 0;

    for (uint16_t i = 0; i < BR_PORT_WORDS; i++) {
        for (uint64_t word = ports->word[i] & ~wanted->word[i]; word; word &= word - 1, n_spared++) {
            const uint32_t port = i * 64u + (uint32_t)__builtin_ctzll(word);

            batch->snapshot->port[port].port->counters.mcast_spared++;
            spared->cycles += batch->work.tx_rate[port] * weight;
        }
        if (snooped->row->config.snooping == BR_SNOOPING_ON)
            ports->word[i] &= wanted->word[i];
        n_left += (uint32_t)__builtin_popcountll(ports->word[i]);
    }
    spared->copies += n_spared;
    spared->frames += n_spared > 0;
    batch->ingress->mcast_pruned += n_spared && snooped->row->config.snooping == BR_SNOOPING_ON;
    return n_left;
}

enum br_drop br_snoop(struct br_groups *groups, struct br_batch *batch, const struct br_frame *frame,
                      struct br_port_set *ports)
{
    const uint16_t type = br_frame_ethertype(frame);
    const uint8_t family = type == BR_TYPE_IPV4   ? BR_GROUP_IPV4
                           : type == BR_TYPE_IPV6 ? BR_GROUP_IPV6
                                                  : BR_GROUP_MAC;
    struct br_snooped snooped = {
        .groups = groups,
        .batch = batch,
        .frame = frame,
        .row = br_groups_row(groups, frame->vid, family),
        .family = family,
    };
    struct br_port_set wanted;
    enum br_drop reason = BR_PASS;

    if (!snooped.row || snooped.row->config.snooping == BR_SNOOPING_OFF ||
        batch->snapshot->port[frame->ingress].mode == BR_MODE_TUNNEL)
        return BR_PASS;
    const bool is_for_anybody = !br_set_is_empty(ports);
    if (!br_snoop_judge(&snooped, &wanted, &reason))
        return reason;
    return br_snoop_narrow(&snooped, ports, &wanted) == 0 && is_for_anybody ? BR_DROP_no_member : BR_PASS;
}
