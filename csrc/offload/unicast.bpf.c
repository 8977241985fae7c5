/*
 * unicast.bpf.c - known unicast, forwarded by the kernel; everything else is left to userspace (shared.h).
 *
 * Job: one decision on a frame, and if it is for the kernel, its final form, its count and its way out. The rules are those
 *      of the pipeline (docs/architecture.md): what leaves here is, byte for byte, what userspace would have sent.
 * Programs, each loaded once a port, with the port as a constant:
 *      link_filter   socket filter of a link's packet socket. It runs before tc ingress, on the same buffer, so it decides,
 *                    once, and leaves the decision in skb->cb: what the kernel forwards must not reach the socket as well
 *                    (net/core/dev.c:__netif_receive_skb_core). With the socket the decisions end, whatever else is left.
 *      link_in       tc ingress of a link: obeys.
 *      tap_out       tc egress of a tap of ours: what its kernel side sends, before the queue that we read.
 *      tap_gate      the way to tap_out where it is attached by clsact.
 * Refuses to judge, and so leaves to userspace: whatever is not plain. An outer tag is expected beside the frame, where
 *      the kernel puts it; tags inline are for userspace.
 * Loops: a frame that comes back has its source on the wrong port, so each lap passes userspace.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <stddef.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "count/counters.h"
#include "offload/fdb_entry.h"
#include "frame/protocols.h"
#include "offload/shared.h"

#define INLINE static __attribute__((always_inline)) inline

const volatile struct br_offload_constants constants = {0};

#define MAP(name, map_type, entries, key_type, value_type, flags)                                                     \
    struct {                                                                                                          \
        __uint(type, map_type);                                                                                       \
        __uint(max_entries, entries);                                                                                 \
        __uint(map_flags, flags);                                                                                     \
        __type(key, key_type);                                                                                        \
        __type(value, value_type);                                                                                    \
    } name SEC(".maps")

MAP(table, BPF_MAP_TYPE_ARRAY, 1, __u32, struct br_fdb_bucket, BPF_F_MMAPABLE);           /* resized before it is made */
MAP(states, BPF_MAP_TYPE_ARRAY, 1, __u32, struct br_offload_state, BPF_F_MMAPABLE);       /* the same */
MAP(ports, BPF_MAP_TYPE_ARRAY, BR_OFFLOAD_PORTS, __u32, struct br_offload_port, BPF_F_MMAPABLE);
MAP(vlans, BPF_MAP_TYPE_ARRAY, BR_OFFLOAD_VLANS, __u32, struct br_offload_vlan, BPF_F_MMAPABLE);
MAP(may_reach, BPF_MAP_TYPE_ARRAY, BR_OFFLOAD_PORTS *BR_OFFLOAD_PORT_WORDS, __u32, __u64, BPF_F_MMAPABLE);
MAP(page, BPF_MAP_TYPE_ARRAY, 1, __u32, struct br_offload_page, BPF_F_MMAPABLE);
MAP(heartbeat, BPF_MAP_TYPE_ARRAY, BR_OFFLOAD_HEARTBEAT_WORDS, __u32, __u64, BPF_F_MMAPABLE);
MAP(rows, BPF_MAP_TYPE_PERCPU_HASH, BR_OFFLOAD_ROWS, struct br_offload_key, struct br_offload_row, BPF_F_NO_PREALLOC);
MAP(passes, BPF_MAP_TYPE_PERCPU_ARRAY, BR_OFFLOAD_PORTS *BR_OFFLOAD_PASS_N, __u32, __u64, 0);
MAP(drops, BPF_MAP_TYPE_PERCPU_ARRAY, BR_OFFLOAD_PORTS *BR_OFFLOAD_DROP_N, __u32, struct br_offload_row, 0);

/* The first bytes of a frame: both addresses, EtherType, and an IPv4 header up to its protocol; and room for more. It is
 * one object, alive as long as a decision takes: a buffer that comes later would be put where a pointer was saved, and
 * whoever has no CAP_PERFMON may not write there. */
enum {
    HEAD_WORDS = 6,
    IPV4_FRAGMENT_AT = 20,
    IPV4_PROTOCOL_AT = 23,
    IPV4_TO_AT = 30,
    IPV6_PROTOCOL_AT = 20,
    IPV6_TO_AT = 38,
    IP_HLEN = 20,
    UDP_HLEN = 8,
    HEADERS_MAX = 8, /* BR_PACKET_CHAIN_MAX of frame/packet.h */
};
struct head {
    __u32 word[HEAD_WORDS];
    union {
        __u8 more[24];
        __u16 port;
    };
};

/* What was decided, and what that takes. */
struct verdict {
    __u32 egress;
    __u32 vid;
    __u32 slot; /* of the source in the FDB */
    __u32 class;
};

enum { TO_USERSPACE, FORWARD, DROP };
enum { FRAME_MIN = 60, TAG_LEN = 4 };

/* ---- the FDB ------------------------------------------------------------------------------------------------------ */

/* fdb/fdb.h:br_fdb_hash in 32-bit multiplications, for there is no product of 128 bits here. */
INLINE __u64 fdb_hash(__u64 key)
{
    const __u64 a = key ^ constants.secret[0];
    const __u64 b = constants.secret[1] | 1;
    const __u64 al = (__u32)a;
    const __u64 ah = a >> 32;
    const __u64 bl = (__u32)b;
    const __u64 bh = b >> 32;
    const __u64 t = ah * bl + (al * bl >> 32);
    const __u64 u = al * bh + (__u32)t;

    return (a * b) ^ (ah * bh + (t >> 32) + (u >> 32));
}

/* Where an entry lies; the value as it was read. */
struct place {
    volatile struct br_fdb_entry *entry;
    union br_fdb_value value;
    __u32 slot;
};

/* The pointers to ways are kept apart, so that none is computed: an index into a value is for CAP_PERFMON only. */
#define WAY(n)                                                                                                        \
    if (bucket->way[n].key == key) {                                                                                  \
        place->entry = &bucket->way[n];                                                                               \
        asm volatile("" : "+r"(place->entry));                                                                        \
        place->value.word = place->entry->value;                                                                      \
        place->slot = at * BR_FDB_WAYS + n;                                                                           \
        return true;                                                                                                  \
    }

INLINE bool fdb_probe(__u64 key, __u32 at, struct place *place)
{
    volatile struct br_fdb_bucket *bucket = bpf_map_lookup_elem(&table, &at);

    if (!bucket)
        return false;
    WAY(0)
    WAY(1)
    WAY(2)
    WAY(3)
    return false;
}

INLINE bool fdb_find(__u64 key, struct place *place)
{
    const __u64 hash = fdb_hash(key);

    return fdb_probe(key, (__u32)hash & constants.bucket_mask, place) || fdb_probe(key, (__u32)(hash >> 32) & constants.bucket_mask, place);
}

INLINE bool fdb_live(const union br_fdb_value *value, const struct br_offload_port *port,
                     const struct br_offload_vlan *vlan)
{
    if (value->kind != BR_FDB_DYNAMIC)
        return value->kind != BR_FDB_DROP;
    return value->port_generation == (__u16)port->generation && value->vlan_generation == (__u8)vlan->generation;
}

/* Whether the slot still has this station at this place: the data thread may have changed it since it was read. */
INLINE bool fdb_same(const struct place *place, __u64 key)
{
    union br_fdb_value now = {.word = place->entry->value};

    return place->entry->key == key && now.port == place->value.port;
}

/* ---- passing, and handing over ------------------------------------------------------------------------------------- */

INLINE __u32 passed(struct br_offload_page *shared)
{
    return __sync_fetch_and_add(&shared->passed, 1) + 1;
}

INLINE void count_pass(enum br_offload_pass why)
{
    const __u32 at = constants.port * BR_OFFLOAD_PASS_N + why;
    __u64 *n = bpf_map_lookup_elem(&passes, &at);

    if (n)
        *n += 1;
}

/* Leave the frame to userspace. */
INLINE int pass(struct br_offload_page *shared, enum br_offload_pass why)
{
    count_pass(why);
    passed(shared);
    return TO_USERSPACE;
}

INLINE __u64 milliseconds(void)
{
    return bpf_ktime_get_ns() >> 20 & BR_OFFLOAD_TIME_MASK;
}

INLINE __u64 ticket_word(__u32 epoch, __u64 first, __u64 last, __u32 ticket)
{
    return (__u64)epoch << BR_OFFLOAD_EPOCH_SHIFT | last << BR_OFFLOAD_LAST_SHIFT | first << BR_OFFLOAD_FIRST_SHIFT | ticket;
}

INLINE __u64 live_word(__u32 epoch)
{
    return (__u64)epoch << BR_OFFLOAD_EPOCH_SHIFT | 1ull << BR_OFFLOAD_LIVE_SHIFT;
}

INLINE bool is_live(__u64 role, __u32 epoch)
{
    return role == live_word(epoch);
}

INLINE bool has_ticket(__u64 role, __u32 epoch)
{
    return role >> BR_OFFLOAD_EPOCH_SHIFT == epoch && !(role >> BR_OFFLOAD_LIVE_SHIFT & 1);
}

INLINE bool is_ripe(__u64 role, __u32 epoch, __u32 acked)
{
    return has_ticket(role, epoch) && (__s32)(acked - (__u32)role) >= 0;
}

/* A ticket that is too old, of a stream that came back at once: it will not pause by itself. */
INLINE bool never_pauses(__u64 role, __u32 epoch, __u64 now)
{
    return has_ticket(role, epoch) &&
           (now - (role >> BR_OFFLOAD_FIRST_SHIFT) & BR_OFFLOAD_TIME_MASK) > BR_OFFLOAD_PATIENCE &&
           (now - (role >> BR_OFFLOAD_LAST_SHIFT) & BR_OFFLOAD_TIME_MASK) <= BR_OFFLOAD_DENSE;
}

/* Leave a ticket, unless another CPU left a later one. The word is changed as a whole or not at all. */
INLINE void leave_ticket(uint64_t *role, __u32 epoch, __u64 now, __u32 ticket)
{
#pragma unroll
    for (int attempt = 0; attempt < 3; attempt++) {
        const __u64 was = *(volatile uint64_t *)role;
        const bool had = has_ticket(was, epoch);

        if (had && (__s32)((__u32)was - ticket) >= 0)
            return;
        const __u64 first = had ? was >> BR_OFFLOAD_FIRST_SHIFT & BR_OFFLOAD_TIME_MASK : now;
        if (__sync_val_compare_and_swap(role, was, ticket_word(epoch, first, now, ticket)) == was)
            return;
    }
    *(volatile uint64_t *)role = 0; /* contended: whoever comes next begins anew */
}

/* A frame is for userspace whatever its stations are: what follows of its source waits until that is done with it. */
INLINE int pass_in_order(struct br_offload_page *shared, struct br_offload_state *state, const struct br_offload_port *port,
                         enum br_offload_pass why)
{
    const __u64 now = milliseconds();

    count_pass(why);
    state->role[BR_OFFLOAD_SOURCE] = ticket_word(port->epoch, now, now, passed(shared));
    shared->waiting = 1;
    return TO_USERSPACE;
}

/* The station turns up elsewhere: what it sends and what is for it waits for the judgement of userspace. */
INLINE int pass_elsewhere(struct br_offload_page *shared, const struct place *source)
{
    const __u32 at = source->value.port;
    struct br_offload_state *state = bpf_map_lookup_elem(&states, &source->slot);
    const struct br_offload_port *known_at = bpf_map_lookup_elem(&ports, &at);

    count_pass(BR_OFFLOAD_PASS_elsewhere);
    const __u32 ticket = passed(shared);
    if (state && known_at) {
        const __u64 now = milliseconds();
        const __u64 word = ticket_word(known_at->epoch, now, now, ticket);

        state->role[BR_OFFLOAD_SOURCE] = word;
        state->role[BR_OFFLOAD_DESTINATION] = word;
        shared->waiting = 1;
    }
    return TO_USERSPACE;
}

/* One of the two is not live: it becomes so, or the frame has to wait. */
INLINE int hand_over(struct br_offload_page *shared, uint64_t *source, __u32 source_epoch, uint64_t *destination,
                     __u32 destination_epoch)
{
    const __u64 s = *(volatile uint64_t *)source;
    const __u64 d = *(volatile uint64_t *)destination;
    const __u32 acked = *(volatile __u32 *)&shared->acked;
    const bool s_live = is_live(s, source_epoch);
    const bool d_live = is_live(d, destination_epoch);

    if ((s_live || is_ripe(s, source_epoch, acked)) && (d_live || is_ripe(d, destination_epoch, acked))) {
        if ((s_live || __sync_val_compare_and_swap(source, s, live_word(source_epoch)) == s) &&
            (d_live || __sync_val_compare_and_swap(destination, d, live_word(destination_epoch)) == d))
            return FORWARD;
        return pass(shared, BR_OFFLOAD_PASS_handing_over); /* somebody else changed it just now */
    }
    const __u64 now = milliseconds();
    if ((!s_live && never_pauses(s, source_epoch, now)) || (!d_live && never_pauses(d, destination_epoch, now)))
        return DROP;
    count_pass(BR_OFFLOAD_PASS_handing_over);
    const __u32 ticket = passed(shared);
    if (!s_live)
        leave_ticket(source, source_epoch, now, ticket);
    if (!d_live)
        leave_ticket(destination, destination_epoch, now, ticket);
    shared->waiting = 1;
    return TO_USERSPACE;
}

/* ---- judging ------------------------------------------------------------------------------------------------------- */

INLINE __u64 mac_destination(const struct head *head)
{
    return (__u64)bpf_ntohl(head->word[0]) << 16 | bpf_ntohl(head->word[1]) >> 16;
}

INLINE __u64 mac_source(const struct head *head)
{
    return (__u64)(bpf_ntohl(head->word[1]) & 0xffff) << 32 | bpf_ntohl(head->word[2]);
}

INLINE bool is_tag(__u32 protocol)
{
    return protocol == bpf_htons(ETH_P_8021Q) || protocol == bpf_htons(ETH_P_8021AD);
}

enum { VLAN_NOT_HERE = -1, VLAN_INNER = -2 };

/* R5: the VLAN of a frame with its tag in the metadata or none; below 0 it is for userspace. */
INLINE int vlan_of(const struct __sk_buff *skb, const struct br_offload_port *port)
{
    if (!skb->vlan_present) {
        if (is_tag(skb->protocol))
            return VLAN_NOT_HERE;
        return port->pvid ? port->pvid : VLAN_NOT_HERE;
    }
    const __u32 vid = skb->vlan_tci & 0xfff;
    if (!(port->flags & BR_OFFLOAD_TRUNK) || skb->vlan_proto != bpf_htons(port->tpid) || vid == 0 || vid == 0xfff)
        return VLAN_NOT_HERE;
    return is_tag(skb->protocol) ? VLAN_INNER : (int)vid;
}

/* R2 of a super-frame, which is judged by its segments: their layer-3 length, 0: not known. */
INLINE __u32 segment_l3_len(struct __sk_buff *skb, struct head *head)
{
    const __u8 *ip = head->more;
    __u32 hdr_len;
    __u32 protocol;

    if (bpf_skb_load_bytes(skb, ETH_HLEN, head->more, IP_HLEN) < 0)
        return 0;
    if (skb->protocol == bpf_htons(ETH_P_IP)) {
        hdr_len = (ip[0] & 0xf) * 4;
        protocol = ip[9];
    } else if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
        hdr_len = 40;
        protocol = ip[6];
    } else {
        return 0;
    }
    if (protocol != BR_IP_TCP || bpf_skb_load_bytes(skb, ETH_HLEN + hdr_len + 12, head->more, 1) < 0)
        return 0;
    return hdr_len + (head->more[0] >> 4) * 4 + skb->gso_size;
}

/* R2 at both ends. What cannot be judged fits where it came from, and where that much fits. */
INLINE bool fits(struct __sk_buff *skb, struct head *head, const struct br_offload_port *ingress,
                 const struct br_offload_port *egress)
{
    const __u32 l3_len = skb->len - ETH_HLEN;

    if (!skb->gso_size)
        return l3_len <= ingress->mtu && l3_len <= egress->mtu;
    const __u32 segment = segment_l3_len(skb, head);
    if (!segment)
        return skb->gso_size < ingress->mtu && egress->mtu >= ingress->mtu;
    const __u32 longest = segment < l3_len ? segment : l3_len;
    return longest <= ingress->mtu && longest <= egress->mtu;
}

INLINE bool reaches(__u32 egress)
{
    const __u32 at = constants.port * BR_OFFLOAD_PORT_WORDS + (egress >> 6);
    const __u64 *word = bpf_map_lookup_elem(&may_reach, &at);

    return word && *word >> (egress & 63) & 1;
}

/* Who may send to whom, and whether the kernel may do it now. */
INLINE int judge(struct __sk_buff *skb, const struct br_offload_port *port, struct br_offload_page *shared, int vid,
                 struct head *head, struct verdict *verdict)
{
    const __u32 vlan_at = (__u32)vid;
    const __u64 source_key = (__u64)vid << 48 | mac_source(head);
    const __u64 destination_key = (__u64)vid << 48 | mac_destination(head);
    struct place source;
    struct place destination;

    if (bpf_ntohl(head->word[0]) >> 24 & 1)
        return pass(shared, BR_OFFLOAD_PASS_group);
    const struct br_offload_vlan *vlan = bpf_map_lookup_elem(&vlans, &vlan_at);
    if (!vlan || !vlan->open || !(port->flags & BR_OFFLOAD_IN))
        return pass(shared, BR_OFFLOAD_PASS_closed);
    if (!fdb_find(source_key, &source))
        return pass(shared, BR_OFFLOAD_PASS_source);
    if (source.value.port != constants.port)
        return pass_elsewhere(shared, &source);
    if (!fdb_live(&source.value, port, vlan))
        return pass(shared, BR_OFFLOAD_PASS_source);
    if (!fdb_find(destination_key, &destination))
        return pass(shared, BR_OFFLOAD_PASS_destination);
    const __u32 to = destination.value.port;
    const struct br_offload_port *egress = bpf_map_lookup_elem(&ports, &to);
    if (!egress || !fdb_live(&destination.value, egress, vlan))
        return pass(shared, BR_OFFLOAD_PASS_destination);
    if (to == constants.port)
        return pass(shared, BR_OFFLOAD_PASS_same_port);
    if (!(egress->flags & BR_OFFLOAD_OUT))
        return pass(shared, BR_OFFLOAD_PASS_egress_closed);
    if (!reaches(to))
        return pass(shared, BR_OFFLOAD_PASS_barred);
    struct br_offload_state *s = bpf_map_lookup_elem(&states, &source.slot);
    struct br_offload_state *d = bpf_map_lookup_elem(&states, &destination.slot);
    if (!s || !d)
        return pass(shared, BR_OFFLOAD_PASS_closed);
    if (!fits(skb, head, port, egress))
        return pass_in_order(shared, s, port, BR_OFFLOAD_PASS_long);
    if (!is_live(s->role[BR_OFFLOAD_SOURCE], port->epoch) || !is_live(d->role[BR_OFFLOAD_DESTINATION], egress->epoch)) {
        const int action = hand_over(shared, &s->role[BR_OFFLOAD_SOURCE], port->epoch, &d->role[BR_OFFLOAD_DESTINATION],
                                     egress->epoch);
        if (action != FORWARD)
            return action;
    }
    if (!fdb_same(&source, source_key) || !fdb_same(&destination, destination_key))
        return pass(shared, BR_OFFLOAD_PASS_source);
    if (source.value.tick != (__u16)shared->tick)
        ((volatile union br_fdb_value *)&source.entry->value)->tick = (__u16)shared->tick;
    *verdict = (struct verdict){.egress = to, .vid = (__u32)vid, .slot = source.slot};
    return FORWARD;
}

/* The VLAN of a frame that is for userspace because of its tags, as admit.c will find it; of some, nonsense. */
INLINE __u32 vlan_in_userspace(const struct __sk_buff *skb, const struct br_offload_port *port, const struct head *head)
{
    const __u32 inline_vid = bpf_ntohl(head->word[ETH_HLEN / 4]) & 0xfff;
    const bool is_beside = skb->vlan_present && skb->vlan_proto == bpf_htons(port->tpid);
    const bool is_inline = !skb->vlan_present && skb->protocol == bpf_htons(port->tpid);
    const __u32 vid = is_beside ? skb->vlan_tci & 0xfff : is_inline ? inline_vid : 0;

    return vid ? vid : port->pvid; /* a tag of another TPID is payload */
}

/* A frame whose tags are for userspace to judge: what its source sends next must not overtake it. */
INLINE int pass_tags(struct __sk_buff *skb, const struct br_offload_port *port, struct br_offload_page *shared,
                     const struct head *head, enum br_offload_pass why)
{
    struct place source;

    if (fdb_find((__u64)vlan_in_userspace(skb, port, head) << 48 | mac_source(head), &source) &&
        source.value.port == constants.port) {
        struct br_offload_state *state = bpf_map_lookup_elem(&states, &source.slot);

        if (state && state->role[BR_OFFLOAD_SOURCE] >> BR_OFFLOAD_EPOCH_SHIFT == port->epoch) /* live, or nearly so */
            return pass_in_order(shared, state, port, why);
    }
    return pass(shared, why);
}

/* The class of known unicast is that of its protocol (count/counters.h, frame/classify.h). TCP, the common case, says no more. */
INLINE __u32 class_by_udp(struct __sk_buff *skb, struct head *head, __u32 at)
{
    if (bpf_skb_load_bytes(skb, at + 2, &head->port, sizeof(head->port)) < 0)
        return BR_CLASS_known_unicast;
    const __u32 port = bpf_ntohs(head->port);
    if (port == BR_HSRP_PORT || port == BR_HSRP6_PORT || port == BR_GLBP_PORT)
        return BR_CLASS_first_hop;
    if (port == BR_BFD_PORT || port == BR_BFD_ECHO_PORT || port == BR_BFD_MULTIHOP_PORT)
        return BR_CLASS_heartbeat;
    const __u32 word_at = port >> 6;
    const __u64 *word = bpf_map_lookup_elem(&heartbeat, &word_at);
    return word && *word >> (port & 63) & 1 ? BR_CLASS_heartbeat : BR_CLASS_known_unicast;
}

INLINE __u32 class_by_icmpv6(struct __sk_buff *skb, struct head *head, __u32 at, __u32 end)
{
    if (at >= end || bpf_skb_load_bytes(skb, at, head->more, 1) < 0)
        return BR_CLASS_known_unicast;
    const __u8 type = head->more[0];
    if ((type >= BR_MLD_QUERY && type <= BR_MLD_DONE) || type == BR_MLD2_REPORT)
        return BR_CLASS_igmp_mld;
    return type >= BR_ND_RS && type <= BR_ND_REDIRECT ? BR_CLASS_arp_nd : BR_CLASS_known_unicast;
}

INLINE __u32 class_by_transport(struct __sk_buff *skb, struct head *head, __u32 at, __u32 end, __u32 protocol,
                                bool is_ipv6)
{
    if (protocol == BR_IP_IGMP)
        return BR_CLASS_igmp_mld;
    if (protocol == BR_IP_ICMPV6)
        return class_by_icmpv6(skb, head, at, end);
    if (protocol != BR_IP_UDP && protocol != BR_IP_VRRP)
        return BR_CLASS_known_unicast;
    /* A heartbeat to a station has the address of a station. */
    if (bpf_skb_load_bytes(skb, is_ipv6 ? IPV6_TO_AT : IPV4_TO_AT, head->more, 1) < 0 ||
        head->more[0] >= (is_ipv6 ? 0xff : 0xe0))
        return BR_CLASS_known_unicast;
    if (protocol == BR_IP_VRRP)
        return BR_CLASS_first_hop;
    return at + UDP_HLEN > end ? BR_CLASS_known_unicast : class_by_udp(skb, head, at);
}

INLINE bool is_extension(__u32 protocol, bool is_ipv6)
{
    return protocol == BR_IP_AH || (is_ipv6 && (protocol == BR_IP_HOP_BY_HOP || protocol == BR_IP_ROUTING ||
                                                protocol == BR_IP_FRAGMENT || protocol == BR_IP_OPTIONS));
}

/* The walk of frame/packet.h. */
INLINE __u32 class_of_ip(struct __sk_buff *skb, struct head *head, bool is_ipv6)
{
    const __u8 *bytes = (const __u8 *)head->word;
    const __u32 said = bpf_ntohl(head->word[4]);
    const __u32 len = is_ipv6 ? said & 0xffff : said >> 16; /* of the packet, or of what is behind the header */
    const __u32 header_len = is_ipv6 ? BR_IPV6_HLEN : (bytes[ETH_HLEN] & 0xf) * 4;
    __u32 protocol = bytes[is_ipv6 ? IPV6_PROTOCOL_AT : IPV4_PROTOCOL_AT];
    __u32 at = ETH_HLEN + header_len;
    __u32 end = skb->len;

    if (protocol == BR_IP_TCP)
        return BR_CLASS_known_unicast;
    if (at > end || bytes[ETH_HLEN] >> 4 != (is_ipv6 ? 6 : 4) || header_len < IP_HLEN || (!is_ipv6 && len && len < header_len))
        return BR_CLASS_known_unicast;
    if (!is_ipv6 && bpf_ntohl(head->word[IPV4_FRAGMENT_AT / 4]) >> 16 & 0x1fff)
        return BR_CLASS_known_unicast;
    if (len && ETH_HLEN + len + (is_ipv6 ? BR_IPV6_HLEN : 0) < end)
        end = ETH_HLEN + len + (is_ipv6 ? BR_IPV6_HLEN : 0);
    for (int i = 0; i < HEADERS_MAX && is_extension(protocol, is_ipv6); i++) {
        if (at + 8 > end || bpf_skb_load_bytes(skb, at, head->more, 4) < 0)
            return BR_CLASS_known_unicast;
        if (protocol == BR_IP_FRAGMENT && (head->more[2] || head->more[3] & 0xf8))
            return BR_CLASS_known_unicast;
        at += protocol == BR_IP_FRAGMENT ? 8 : protocol == BR_IP_AH ? 8 + 4u * head->more[1] : 8 + 8u * head->more[1];
        protocol = head->more[0];
        if (at > end)
            return BR_CLASS_known_unicast;
    }
    return class_by_transport(skb, head, at, end, protocol, is_ipv6);
}

INLINE __u32 class_of(struct __sk_buff *skb, struct head *head)
{
    if (skb->len < ETH_HLEN + IP_HLEN)
        return skb->protocol == bpf_htons(ETH_P_ARP) ? BR_CLASS_arp_nd : BR_CLASS_known_unicast;
    if (skb->protocol == bpf_htons(ETH_P_IP) || skb->protocol == bpf_htons(ETH_P_IPV6))
        return class_of_ip(skb, head, skb->protocol == bpf_htons(ETH_P_IPV6));
    return skb->protocol == bpf_htons(ETH_P_ARP) ? BR_CLASS_arp_nd : BR_CLASS_known_unicast;
}

/* ---- counting ------------------------------------------------------------------------------------------------------ */

/* A frame as it came. */
struct size {
    __u32 segments;
    __u32 bytes; /* outer tag included */
    bool is_super;
};

INLINE struct size size_of(const struct __sk_buff *skb)
{
    return (struct size){skb->gso_segs ? skb->gso_segs : 1, skb->len + (skb->vlan_present ? TAG_LEN : 0), skb->gso_size != 0};
}

/* Rows are of one CPU, and programs of one CPU do not interrupt each other. */
INLINE void add(struct br_offload_row *row, const struct size *size, __u32 tx_bytes)
{
    row->frames++;
    row->segments += size->segments;
    row->super_frames += size->is_super;
    row->rx_bytes += size->bytes;
    row->tx_bytes += tx_bytes;
}

INLINE int drop(const struct size *size, enum br_offload_drop why)
{
    const __u32 at = constants.port * BR_OFFLOAD_DROP_N + why;
    struct br_offload_row *row = bpf_map_lookup_elem(&drops, &at);

    if (row)
        add(row, size, 0);
    return TC_ACT_SHOT;
}

INLINE struct br_offload_row *row_of(const struct verdict *verdict)
{
    const struct br_offload_key key = {constants.port, verdict->egress, verdict->vid, verdict->class};
    struct br_offload_row *row = bpf_map_lookup_elem(&rows, &key);

    if (row)
        return row;
    bpf_map_update_elem(&rows, &key, (const void *)&constants.no_row, BPF_NOEXIST);
    return bpf_map_lookup_elem(&rows, &key);
}

/* A station may send by several CPUs. */
INLINE void charge_talker(const struct size *size, __u32 slot)
{
    struct br_offload_state *state = bpf_map_lookup_elem(&states, &slot);

    if (!state)
        return;
    __sync_fetch_and_add(&state->frames, 1);
    __sync_fetch_and_add(&state->bytes, size->bytes);
    if (size->segments > 1)
        __sync_fetch_and_add(&state->more_segments, size->segments - 1);
}

/* ---- forwarding ---------------------------------------------------------------------------------------------------- */

/* R1, R6: pad, and give it the tag its egress port wants. False: it cannot be done. */
INLINE bool edit(struct __sk_buff *skb, const struct br_offload_port *port, const struct br_offload_port *egress,
                 const struct verdict *verdict, bool tagged)
{
    const __u32 least = tagged ? FRAME_MIN - TAG_LEN : FRAME_MIN;
    const bool has_tag = skb->vlan_present;
    const __u16 tci = (has_tag ? skb->vlan_tci & 0xf000 : port->untagged_tci) | verdict->vid;

    if (skb->len < least && bpf_skb_change_tail(skb, least, 0))
        return false;
    if (has_tag && tagged && skb->vlan_proto == bpf_htons(egress->tpid))
        return true;
    if (has_tag && bpf_skb_vlan_pop(skb))
        return false;
    return !tagged || bpf_skb_vlan_push(skb, bpf_htons(egress->tpid), tci) == 0;
}

/* The other end of a veth takes a frame without its queue, and without a look at the address: only what is for it. */
INLINE int redirect(struct __sk_buff *skb, const struct br_offload_port *egress)
{
    if (egress->delivery == BR_OFFLOAD_PEER) {
        __u8 mac[8] = {0};

        if (bpf_skb_load_bytes(skb, 0, mac, ETH_ALEN) == 0 && *(__u64 *)mac == *(const __u64 *)egress->peer_mac) {
            bpf_skb_change_type(skb, 0); /* PACKET_HOST; kernels before mid-2025 do not do it */
            return bpf_redirect_peer(egress->ifindex, 0);
        }
    }
    return bpf_redirect(egress->ifindex, egress->delivery == BR_OFFLOAD_INGRESS ? BPF_F_INGRESS : 0);
}

INLINE int forward(struct __sk_buff *skb, const struct br_offload_port *port, const struct verdict *verdict)
{
    const __u32 to = verdict->egress;
    const struct br_offload_port *egress = bpf_map_lookup_elem(&ports, &to);
    struct br_offload_row *row = row_of(verdict);
    const struct size size = size_of(skb);

    if (!egress || !row)
        return drop(&size, BR_OFFLOAD_DROP_no_buffer);
    const bool tagged = verdict->vid != egress->bare;
    const __u32 tx_len = skb->len + (tagged ? TAG_LEN : 0);
    if (!edit(skb, port, egress, verdict, tagged))
        return drop(&size, BR_OFFLOAD_DROP_tx_error);
    add(row, &size, tx_len < FRAME_MIN ? FRAME_MIN : tx_len);
    charge_talker(&size, verdict->slot);
    return redirect(skb, egress);
}

/* ---- programs ------------------------------------------------------------------------------------------------------ */

INLINE struct br_offload_page *the_page(void)
{
    const __u32 zero = 0;

    return bpf_map_lookup_elem(&page, &zero);
}

INLINE struct br_offload_port *this_port(void)
{
    const __u32 me = constants.port;

    return bpf_map_lookup_elem(&ports, &me);
}

/* From a frame to a verdict. */
INLINE int decide(struct __sk_buff *skb, const struct br_offload_port *port, struct verdict *verdict)
{
    struct br_offload_page *shared = the_page();
    struct head head = {0};
    const int vid = vlan_of(skb, port);

    if (!shared)
        return TO_USERSPACE;
    if (bpf_skb_load_bytes(skb, 0, head.word, sizeof(head.word)) < 0 && bpf_skb_load_bytes(skb, 0, head.word, ETH_HLEN) < 0)
        return pass(shared, BR_OFFLOAD_PASS_runt);
    if (vid < 0)
        return pass_tags(skb, port, shared, &head,
                         vid == VLAN_INNER ? BR_OFFLOAD_PASS_inner_tag : BR_OFFLOAD_PASS_tag);
    const int action = judge(skb, port, shared, vid, &head, verdict);
    if (action == FORWARD)
        verdict->class = class_of(skb, &head);
    return action;
}

/* Whether the port does not carry the frame and does not want to count it: bridge/ports/vlan_filter.py. */
INLINE bool filtered(const struct __sk_buff *skb, const struct br_offload_port *port)
{
    const bool is_trunk = port->flags & BR_OFFLOAD_TRUNK;

    if (!(port->flags & BR_OFFLOAD_FILTER))
        return false;
    if (!skb->vlan_present || skb->vlan_proto != bpf_htons(port->tpid))
        return is_trunk && !port->pvid && !is_tag(skb->protocol);
    const __u32 vid = skb->vlan_tci & 0xfff;
    if (vid == 0xfff)
        return false;
    if (!is_trunk || vid == 0)
        return vid != 0 || (is_trunk && !port->pvid);
    const struct br_offload_vlan *vlan = bpf_map_lookup_elem(&vlans, &vid);
    return vlan && !(vlan->carried_by[constants.port / 64] >> (constants.port % 64) & 1);
}

/* A decision lies in skb->cb: magic, egress (or NOWHERE), slot of the source, VID and class. */
#define NOWHERE 0xffffffffu
enum { ALL_OF_IT = -1 };

/* The two halves are functions of their own, so that the stack (512 bytes) has room for one at a time. */
#define HALF static __attribute__((noinline))

/* 0: the frame is for userspace. */
HALF int note_decision(struct __sk_buff *skb)
{
    const struct br_offload_port *port = this_port();
    struct verdict verdict = {0};
    const int action = port ? decide(skb, port, &verdict) : TO_USERSPACE;

    if (action == TO_USERSPACE)
        return 0;
    skb->cb[0] = constants.magic;
    skb->cb[1] = action == FORWARD ? verdict.egress : NOWHERE;
    skb->cb[2] = verdict.slot;
    skb->cb[3] = verdict.vid << 16 | verdict.class;
    return 1;
}

HALF int obey_decision(struct __sk_buff *skb)
{
    const struct br_offload_port *port = this_port();
    const struct verdict verdict = {skb->cb[1], skb->cb[3] >> 16, skb->cb[2], skb->cb[3] & 0xffff};
    const struct size size = size_of(skb);

    skb->cb[0] = 0;
    if (!port)
        return TC_ACT_SHOT;
    return verdict.egress == NOWHERE ? drop(&size, BR_OFFLOAD_DROP_handover) : forward(skb, port, &verdict);
}

SEC("socket") int link_filter(struct __sk_buff *skb)
{
    const struct br_offload_port *port = this_port();

    return port && (filtered(skb, port) || note_decision(skb)) ? 0 : ALL_OF_IT;
}

SEC("tc") int link_in(struct __sk_buff *skb)
{
    return skb->cb[0] == constants.magic ? obey_decision(skb) : TC_ACT_UNSPEC;
}

SEC("tc") int tap_out(struct __sk_buff *skb)
{
    return note_decision(skb) ? obey_decision(skb) : TC_ACT_UNSPEC;
}

/* What is attached by clsact, which nothing takes away when the process is killed: a map of programs is emptied then. */
struct {
    __uint(type, BPF_MAP_TYPE_PROG_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u32);
} gate SEC(".maps");

SEC("tc") int tap_gate(struct __sk_buff *skb)
{
    bpf_tail_call(skb, &gate, 0);
    return TC_ACT_UNSPEC;
}

const char br_license[] SEC("license") = "GPL";
