/*
 * count/counters.h - every name the core counts under, declared once.
 *
 * Job: the X-tables from which the C enumerations, the counter structs, the Python tables (bridge/core/_core.pyx), the
 *      command line and docs/counters.md are generated. Each entry is X(symbol, "sentence").
 * Thread: counters have one writer, the data thread. Readers go through br_bridge_counters(), which copies at a batch
 *      boundary, so what they see adds up exactly (R12).
 *
 * Ledger of one port, exact at every batch boundary:
 *      rx_frames + copies = forwarded + sum(rx drops)          what came in by this port
 *      offered            = tx_frames + sum(tx drops)          what was to go out by this port
 * and over all ports      sum(forwarded) + sum(originated) = sum(offered).
 *
 * What the kernel dropped in front of a port never came in: it stands beside the ledger, by its own reasons, and
 *      rx_missed + rx_refused = sum(misses)                    of the time the port was attached.
 */
#ifndef BR_COUNTERS_H
#define BR_COUNTERS_H

#include <stdint.h>

/* Reasons are shared by both directions: an rx drop is of a frame, a tx drop of one copy of it at its egress port. */
#define BR_DROP_REASONS(X)                                                                                            \
    X(runt, "shorter than an Ethernet header, or a tag cut short")                                                    \
    X(bad_source, "source address is a group, all zero, or equal to the destination")                                 \
    X(reserved, "destination 01-80-C2-00-00-0X, which bridges do not pass unless configured to")                      \
    X(bad_vid, "VID 4095")                                                                                            \
    X(tag_not_allowed, "tagged frame on an access port")                                                              \
    X(vlan_not_allowed, "VID not carried by the trunk, or untagged without a native VLAN")                            \
    X(bad_offload, "offload metadata that contradicts the frame, or asks for segments that no stack makes")           \
    X(oversize, "longer than the MTU of the port allows")                                                             \
    X(truncated, "came while the queue for frames longer than a slot of the receive ring was full")                    \
    X(source_guard, "speaks from an address that is not listed for the port, or in a form that cannot be judged")      \
    X(ra_guard, "a router advertisement of a port that is no router, or what may be one behind too many headers")      \
    X(dhcp_guard, "a message of a DHCP server, of a port that is none, or what may be one behind too many headers")    \
    X(fdb_drop, "source or destination has a drop entry")                                                             \
    X(locked, "source is neither allowed on the locked port nor known there")                                         \
    X(static_move, "source has a static or sticky entry on another port")                                             \
    X(handover, "the kernel was to take over a stream without gaps while userspace was still busy with its last frames")   \
    X(own_probe, "a loop probe of this bridge that came back")                                                        \
    X(multicast_guard, "a query or hello of a multicast router, of a port that is none")                              \
    X(same_port, "destination is behind the port the frame came from")                                                \
    X(no_egress, "no other port of the VLAN takes the frame")                                                         \
    X(no_member, "a report that no router is there for, or a frame to a group that no port of the VLAN wants")        \
    X(over_budget, "a budget for such frames is spent")                                                               \
    X(storm, "flooded frames of this class came to the port faster than its storm control allows")                    \
    X(isolated, "both ports are isolated")                                                                            \
    X(split_horizon, "both ports are of one split-horizon group")                                                     \
    X(ingress_only, "destination is behind a port that only receives")                                                \
    X(egress_only, "came in by a port that only sends")                                                               \
    X(inner_tag, "a second tag would face a port that takes none")                                                    \
    X(no_headroom, "no room in front of the frame for a tag")                                                         \
    X(no_buffer, "no free buffer for a copy")                                                                         \
    X(gso_unsupported, "super-frame the port cannot take whole, and whose headers do not say how to cut it")           \
    X(port_down, "port without link or disabled")                                                                     \
    X(blocked, "port taken out of forwarding for a time, because of a loop or a moving address")                      \
    X(standby, "the gate of this bridge is closed: another one forwards")                                             \
    X(beacon, "a beacon of a bridge pair, which no bridge forwards")                                                  \
    X(tx_full, "egress queue full")                                                                                   \
    X(tx_error, "the kernel refused the frame")

/*
 * Why frames that were on their way to a port never came in. ring_full is read by the data thread from the packet
 * socket, tap_full by the control thread from what the kernel counts of the device (bridge/devices/counters.py).
 */
#define BR_MISSES(X)                                                                                                  \
    X(ring_full, "the receive ring of the link had no room, or stood still after a frame that was refused")           \
    X(tap_full, "the queue of the tap had no room, because frames came faster than the bridge took them")             \
    X(lane_full, "heartbeats: the lane of the link had no room, because more came than the bridge took")              \
    X(refused, "a super-frame of a kind the kernel cannot hand over: rx_refused; the others are rx_missed")

#define BR_PORT_COUNTERS(X)                                                                                           \
    X(rx_frames, "frames received")                                                                                   \
    X(rx_bytes, "bytes received, outer tag included")                                                                 \
    X(rx_super_frames, "received frames that stand for several wire frames (GSO)")                                    \
    X(rx_segments, "wire frames the received frames stand for")                                                       \
    X(rx_batches, "receive bursts that brought at least one frame")                                                   \
    X(rx_missed, "frames the kernel dropped before the bridge could take them; outside the ledger")                   \
    X(rx_refused, "super-frames of a kind the kernel cannot hand over (UFO, SCTP); outside the ledger")               \
    X(rx_checksums, "checksums of SCTP (CRC32c) finished in software, because no port can carry them open")           \
    X(copies, "copies made beyond the first of frames received here")                                                 \
    X(flooded, "frames received here that went to every member of their VLAN")                                        \
    X(forwarded, "copies handed to egress ports, the first one included")                                             \
    X(originated, "frames of the bridge itself this port was asked to send")                                          \
    X(offered, "copies this port was asked to send, its own included")                                                \
    X(tx_frames, "frames sent")                                                                                       \
    X(tx_bytes, "bytes sent, tag and padding included")                                                               \
    X(tx_super_frames, "sent frames that stand for several wire frames (GSO)")                                        \
    X(tx_segments, "wire frames the sent frames stand for")                                                           \
    X(tx_checksums, "checksums finished in software because the port cannot carry them")                              \
    X(tx_segmented, "super-frames cut in software because the port cannot take them")                                 \
    X(learned, "FDB entries learned")                                                                                 \
    X(moved, "FDB entries moved to this port")                                                                        \
    X(not_learned, "sources not learned: a limit, a full table, controlled mode, or the bridge's own address")        \
    X(evicted, "FDB entries of this port that gave way to new stations, or to entries set by hand, at a limit")        \
    X(backup_ignored, "frames of backup routers that did not move the virtual address (vrrp_aware)")                   \
    X(local_kept, "frames whose source stays on an access or tunnel port (local_first)")                               \
    X(mcast_pruned, "frames received here that went to fewer ports than a flood, because of members of groups")       \
    X(mcast_spared, "copies that this port is spared, as it is no member; with snooping = watch: would be spared")    \
    X(igmp_reports, "reports and leaves of groups received (IGMP, MLD), in VLANs that snoop")                         \
    X(igmp_queries, "queries for members of groups received")                                                         \
    X(igmp_invalid, "such messages that are damaged: wrong checksum, cut short, fragmented; flooded, not learned")    \
    X(mdb_refused, "groups reported here and not entered, because of a limit: the port gets every group instead")     \
    X(offloaded, "frames received here that the kernel forwarded; of rx_frames and forwarded")                         \
    X(offloaded_tx, "frames that the kernel sent here; of offered and tx_frames")                                      \
    X(rx_cycles, "cycles in receive calls of this port that brought frames")                                          \
    X(tx_cycles, "cycles in transmit calls of this port")

#define BR_THREAD_COUNTERS(X)                                                                                         \
    X(turns, "turns of the loop")                                                                                     \
    X(waits, "times the loop asked the kernel for ready ports")                                                       \
    X(blocks, "times the loop slept until something happened")                                                        \
    X(batches, "batches processed")                                                                                   \
    X(frames, "frames processed")                                                                                     \
    X(events_lost, "events that found the event ring full")                                                           \
    X(clock_jumps, "stamps that went backwards or leapt; their cycles are nobody's")

/*
 * One stamp per boundary per batch, chained: the sum over all stages is the life of the data thread in cycles. From rx
 * on to account a stage is busy: its cycles are charged to frames (account/bill.h).
 */
#define BR_STAGES(X)                                                                                                  \
    X(blocked, "asleep until something happens")                                                                      \
    X(polling, "looking for work and finding none")                                                                   \
    X(control, "work for the control thread")                                                                         \
    X(rx, "taking frames from ports")                                                                                 \
    X(admit, "checking frames and finding their VLAN")                                                                \
    X(learn, "looking up and learning sources")                                                                       \
    X(lookup, "finding the egress port and the class")                                                                \
    X(edit, "pushing tags, padding, queueing known unicast")                                                          \
    X(flood, "making and queueing copies")                                                                            \
    X(tx, "handing frames to ports")                                                                                  \
    X(mirror, "copying frames to mirrors")                                                                            \
    X(account, "giving buffers back and writing the bill")

/* What a frame is, for the bill: the first that fits; `dropped` is whatever is dropped before it has an egress port. */
#define BR_CLASSES(X)                                                                                                 \
    X(known_unicast, "to a station in the FDB")                                                                       \
    X(unknown_unicast, "to a station not in the FDB")                                                                 \
    X(broadcast, "to all, and none of the others")                                                                    \
    X(arp_nd, "ARP, and neighbour discovery of IPv6")                                                                 \
    X(igmp_mld, "group membership: IGMP, MLD")                                                                        \
    X(first_hop, "first-hop redundancy: VRRP, CARP, HSRP, GLBP")                                                      \
    X(heartbeat, "heartbeat: BFD, OSPF to its groups, and UDP to a port named as such, corosync's by default")        \
    X(multicast, "to a group, and none of the others")                                                                \
    X(reserved, "to 01-80-C2-00-00-0X, passed or dropped")                                                            \
    X(dropped, "dropped before it had an egress port")

/* One value a batch, in buckets of a quarter of a power of two (count/histogram.h). */
#define BR_HISTOGRAMS(X)                                                                                              \
    X(batch_cycles, "busy cycles of a batch")                                                                         \
    X(batch_frames, "frames of a batch")                                                                              \
    X(frame_cycles, "busy cycles of a batch by its frames")

/* How the data thread waits (thread/loop.h). */
#define BR_WAITINGS(X)                                                                                                \
    X(latency, "looks on for 2 ms after each frame before it sleeps: shortest delays, most cycles")                   \
    X(balanced, "sleeps at once, but looks on for up to 10 us where frames lately came that close")                   \
    X(throughput, "at high rates sleeps on for 50 us while frames gather: fewest cycles, longest delays")

#define BR_EVENTS(X)                                                                                                  \
    X(learned, "an unknown source was installed")                                                                     \
    X(moved, "a source was seen on another port and moved there")                                                     \
    X(refreshed, "an entry past its age was seen again before it was removed")                                        \
    X(request, "controlled mode: a source waits for a decision")                                                      \
    X(static_move, "a static or sticky source was seen on another port")                                              \
    X(locked, "a locked port kept a source out")                                                                      \
    X(source_guard, "a frame spoke from an address that is not listed for its port")                                  \
    X(ra_guard, "a port that is no router advertised one")                                                            \
    X(dhcp_guard, "a port that is no DHCP server spoke as one")                                                       \
    X(backup_ignored, "vrrp_aware: a backup router spoke under the virtual address, which stays where it is")          \
    X(local_kept, "local_first: a source of an access or tunnel port was seen on a trunk, and stays")                  \
    X(evicted, "a limit was met: the entry gave way to one of old_port")                                               \
    X(refused_port_limit, "not learned: the port is at its limit")                                                    \
    X(refused_vlan_limit, "not learned: the VLAN is at its limit")                                                    \
    X(refused_full, "not learned: the table has no room")                                                             \
    X(budget_over, "a budget is spent")                                                                               \
    X(budget_under, "a spent budget has tokens again")                                                                \
    X(heartbeat_limit, "more heartbeats came by a port than its limit: those above are ordinary frames")               \
    X(group_joined, "a port became a member of a group")                                                              \
    X(group_left, "a member of a group said on this port that it leaves")                                             \
    X(group_expired, "a port answered no query for the group any more, and is no member")                             \
    X(group_limit, "a port is not entered as a member, because of a limit: it gets every group of the VLAN")          \
    X(group_query, "a general query for members was heard")                                                           \
    X(group_asked, "a query for the members of one group was heard")                                                  \
    X(group_router, "a multicast router said that it is there")                                                       \
    X(group_unregistered, "a frame to a group that nobody reported")                                                  \
    X(probe, "a loop probe of this bridge came back")                                                                 \
    X(port_error, "a port failed and is no longer polled")                                                            \
    X(pair, "the pair: a change of state, or something a peer did (key: epoch, port: state, error: steps)")           \
    X(rx_refused, "a super-frame that the kernel cannot hand over ended a receive ring; the port goes on without one")

/* The states of a member of a pair, and what a step of its decisions asks for or reports: a set (ha/pair.h). */
#define BR_PAIR_STATES(X)                                                                                             \
    X(ineligible, "a path without carrier, or held")                                                                  \
    X(standby, "could forward, and does not")                                                                         \
    X(active, "forwards")

#define BR_PAIR_STEPS(X)                                                                                              \
    X(close, "the gate was closed")                                                                                   \
    X(send, "a beacon was due")                                                                                       \
    X(announce, "switches are to be told where the stations are")                                                     \
    X(conflict, "a peer forwarded at the same time")                                                                  \
    X(deaf, "a peer that forwards does not hear us")                                                                  \
    X(lost, "a peer fell silent")                                                                                     \
    X(replayed, "a beacon older than one heard before")                                                               \
    X(reflected, "a beacon of our own")                                                                               \
    X(foreign, "a beacon of another pair")                                                                            \
    X(crowd, "a third member, or a second one under our id")

#define BR_MEMBER_COUNTERS(X)                                                                                         \
    X(sent, "beacons sent, once a path")                                                                              \
    X(send_failed, "beacons that a path refused")                                                                     \
    X(heard, "beacons of a peer received, once a path")                                                               \
    X(forged, "beacons with a wrong authentication tag, or cut short: another secret, or an attack")                  \
    X(other_version, "beacons of another version")                                                                    \
    X(replayed, "beacons older than one heard before")                                                                \
    X(reflected, "beacons of this bridge that came back: a loop outside, or a mirror")                                \
    X(foreign, "beacons of another pair under the same secret")

/* What source guard finds in a frame (protect/guard.h). */
#define BR_GUARD_FINDINGS(X)                                                                                          \
    X(passed, "nothing wrong")                                                                                        \
    X(address, "an address that is not listed, or not for this source")                                               \
    X(station, "another station in ARP or neighbour discovery than the source of the frame")                          \
    X(malformed, "a header that is cut short or contradicts itself")                                                  \
    X(encapsulated, "a second tag, or IP in SNAP")

/* Why a program in the kernel left a frame to userspace (offload/shared.h). */
#define BR_OFFLOAD_PASSES(X)                                                                                          \
    X(group, "to a group or to all")                                                                                  \
    X(source, "its source is not in the FDB")                                                                         \
    X(elsewhere, "its source is known on another port")                                                               \
    X(destination, "its destination is not in the FDB")                                                               \
    X(same_port, "its destination is behind the port it came from")                                                   \
    X(closed, "its port or VLAN is closed to the kernel")                                                             \
    X(egress_closed, "the port of its destination is closed to the kernel")                                           \
    X(barred, "it may not leave by the port of its destination, or that is in another namespace")                      \
    X(handing_over, "userspace still has the last frames of its stream, or may have")                                 \
    X(tag, "a tag the port does not take, a priority tag, or one inside the frame")                                   \
    X(inner_tag, "a second tag")                                                                                      \
    X(long, "longer than one of the two ports allows, or a super-frame that cannot be judged")                        \
    X(runt, "shorter than an Ethernet header")

#define BR_ENUM_DROP(symbol, sentence) BR_DROP_##symbol,
enum br_drop { BR_DROP_REASONS(BR_ENUM_DROP) BR_DROP_N, BR_PASS = BR_DROP_N /* a decision that is no drop */ };
#define BR_ENUM_MISS(symbol, sentence) BR_MISS_##symbol,
enum br_miss { BR_MISSES(BR_ENUM_MISS) BR_MISS_N };
#define BR_ENUM_STAGE(symbol, sentence) BR_STAGE_##symbol,
enum br_stage { BR_STAGES(BR_ENUM_STAGE) BR_STAGE_N };
#define BR_ENUM_CLASS(symbol, sentence) BR_CLASS_##symbol,
enum br_class { BR_CLASSES(BR_ENUM_CLASS) BR_CLASS_N };
#define BR_ENUM_HISTOGRAM(symbol, sentence) BR_HISTOGRAM_##symbol,
enum br_histogram_kind { BR_HISTOGRAMS(BR_ENUM_HISTOGRAM) BR_HISTOGRAM_N };
#define BR_ENUM_WAITING(symbol, sentence) BR_WAITING_##symbol,
enum br_waiting { BR_WAITINGS(BR_ENUM_WAITING) BR_WAITING_N };
#define BR_ENUM_EVENT(symbol, sentence) BR_EVENT_##symbol,
enum br_event_kind { BR_EVENTS(BR_ENUM_EVENT) BR_EVENT_N };
#define BR_ENUM_GUARD(symbol, sentence) BR_GUARD_##symbol,
enum br_guard_finding { BR_GUARD_FINDINGS(BR_ENUM_GUARD) BR_GUARD_N };
#define BR_ENUM_PAIR_STATE(symbol, sentence) BR_PAIR_##symbol,
enum br_pair_state { BR_PAIR_STATES(BR_ENUM_PAIR_STATE) BR_PAIR_STATE_N };
#define BR_ENUM_PAIR_STEP(symbol, sentence) BR_PAIR_STEP_##symbol,
enum br_pair_step { BR_PAIR_STEPS(BR_ENUM_PAIR_STEP) BR_PAIR_STEP_N };
#define BR_ENUM_MEMBER(symbol, sentence) BR_MEMBER_COUNTER_##symbol,
enum br_member_counter { BR_MEMBER_COUNTERS(BR_ENUM_MEMBER) BR_MEMBER_COUNTER_N };
#define BR_ENUM_OFFLOAD_PASS(symbol, sentence) BR_OFFLOAD_PASS_##symbol,
enum br_offload_pass { BR_OFFLOAD_PASSES(BR_ENUM_OFFLOAD_PASS) BR_OFFLOAD_PASS_N };
#define BR_ENUM_PORT(symbol, sentence) BR_PORT_COUNTER_##symbol,
enum br_port_counter { BR_PORT_COUNTERS(BR_ENUM_PORT) BR_PORT_COUNTER_N };
#define BR_ENUM_THREAD(symbol, sentence) BR_THREAD_COUNTER_##symbol,
enum br_thread_counter { BR_THREAD_COUNTERS(BR_ENUM_THREAD) BR_THREAD_COUNTER_N };

#define BR_FIELD(symbol, sentence) uint64_t symbol;

struct br_port_counters {
    union {
        struct {
            BR_PORT_COUNTERS(BR_FIELD)
        };
        uint64_t value[BR_PORT_COUNTER_N];
    };
    uint64_t rx_drops[BR_DROP_N];
    uint64_t tx_drops[BR_DROP_N];
    uint64_t misses[BR_MISS_N];
};

struct br_member_counters {
    union {
        struct {
            BR_MEMBER_COUNTERS(BR_FIELD)
        };
        uint64_t value[BR_MEMBER_COUNTER_N];
    };
};

struct br_thread_counters {
    union {
        struct {
            BR_THREAD_COUNTERS(BR_FIELD)
        };
        uint64_t value[BR_THREAD_COUNTER_N];
    };
    uint64_t stage_cycles[BR_STAGE_N];
};

#endif
