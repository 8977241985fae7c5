/*
 * pipeline/moves.h - two policies about who may move an FDB entry; both off by default, so that 802.1Q's rule holds:
 * the last frame wins.
 *
 * vrrp_aware: the virtual address of a router group is where its active router is. A backup router that comes up may
 *      emit frames under that address, too: membership reports of IGMP and MLD, router and neighbour solicitations
 *      (those of duplicate address detection among them). They are no sign of activity, yet on any bridge they pull
 *      the address to the backup, and traffic is lost there until the active router's next advertisement. keepalived
 *      with use_vmac is known for it. An active router announces itself by other frames: advertisements, gratuitous
 *      ARP, unsolicited neighbour advertisements (RFC 5798 and RFC 9568, sections 6.4.2 and 7), data. Those move the
 *      address on the first frame.
 * local_first: what speaks behind an access or tunnel port is one of ours. A trunk that brings frames under its address
 *      is a loop, a reflection or an impostor, and loses, for as long as the entry lives. Virtual addresses are exempt.
 *
 * Job: one decision, in the slow path of learning, about a frame whose source has a dynamic entry on another port.
 *      Its headers are walked (frame/packet.h); one that does not lie in the frame decides nothing.
 */
#ifndef BR_MOVES_H
#define BR_MOVES_H

#include "fdb/fdb.h"
#include "frame/classify.h"
#include "frame/mac.h"
#include "snapshot/snapshot.h"

enum {
    BR_IGMP_REPORT_1 = 0x12, /* RFC 1112 appendix I; the others RFC 2236 section 2.1, RFC 3376 section 4 */
    BR_IGMP_REPORT_2 = 0x16,
    BR_IGMP_LEAVE = 0x17,
    BR_IGMP_REPORT_3 = 0x22,
};

static inline bool br_igmp_is_report(uint8_t type)
{
    return type == BR_IGMP_REPORT_1 || type == BR_IGMP_REPORT_2 || type == BR_IGMP_LEAVE || type == BR_IGMP_REPORT_3;
}

/* Whether a backup router, too, emits such a frame under the virtual address. */
static inline bool br_frame_is_of_backup(const struct br_frame *frame)
{
    struct br_packet packet;
    uint16_t type;
    uint32_t at;

    if (!br_packet_unwrap(frame->data, frame->len, &type, &at) || (type != BR_TYPE_IPV4 && type != BR_TYPE_IPV6) ||
        !br_packet_ip(frame->data, frame->len, at, type == BR_TYPE_IPV6, &packet) || packet.is_later ||
        packet.transport >= packet.end)
        return false;
    const uint8_t message = frame->data[packet.transport];
    if (type == BR_TYPE_IPV4)
        return packet.protocol == BR_IP_IGMP && br_igmp_is_report(message);
    return packet.protocol == BR_IP_ICMPV6 && br_icmpv6_asks_or_joins(message);
}

/* Whether the entry that a source has elsewhere stays there: BR_LEARN_BACKUP, BR_LEARN_LOCAL, or BR_LEARN_KNOWN: it may
 * move. */
static inline enum br_learn br_move_judge(const struct br_snapshot *snapshot, const struct br_fdb *fdb,
                                          const struct br_port_config *port,
                                          const struct br_frame *frame, uint64_t key)
{
    const struct br_fdb_entry *entry = br_fdb_find(fdb, key, br_fdb_first(fdb, key));
    const union br_fdb_value value = entry ? br_fdb_value(entry) : (union br_fdb_value){0};

    if (!entry || value.kind != BR_FDB_DYNAMIC || value.port == port->port->index)
        return BR_LEARN_KNOWN;
    if (br_mac_is_virtual_router(key & BR_FDB_MAC))
        return snapshot->vrrp_aware && br_frame_is_of_backup(frame) ? BR_LEARN_BACKUP : BR_LEARN_KNOWN;
    const struct br_port_config *home = &snapshot->port[value.port];
    const uint16_t age = (uint16_t)(br_fdb_tick(fdb) - value.tick);
    const bool is_alive = !snapshot->age_ticks || age <= snapshot->age_ticks;
    const bool is_local = home->port && home->mode != BR_MODE_TRUNK && port->mode == BR_MODE_TRUNK;

    return snapshot->local_first && is_alive && is_local ? BR_LEARN_LOCAL : BR_LEARN_KNOWN;
}

#endif
