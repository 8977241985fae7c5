/*
 * protect/server_guard.h - RA guard and DHCP guard: a guest is no router and no DHCP server.
 *
 * RA guard (RFC 6105, RFC 7113): a router advertisement of the port is dropped as `ra_guard`, whatever extension headers,
 *      tags or SNAP stand in front of it, also in a fragment (RFC 6980). As RFC 7113 section 3 says, packets that no host
 *      takes for one pass: a source that is not link-local, a hop limit other than 255. A packet whose headers do not
 *      end in what can be seen of it, first fragments above all, may be one and is dropped.
 * DHCP guard (RFC 7610): a message for a DHCP client is dropped as `dhcp_guard`: UDP to port 68 (IPv4) or 546 (IPv6); so does
 *      one for a relay, UDP to port 67 with the operation BOOTREPLY, or to 547 of the type RELAY-REPL (RFC 2131,
 *      RFC 8415). A packet whose headers do not end in what can be seen of it, and a fragment that does not show which
 *      message it is, may be one and is dropped. Clients and relays speak as before.
 * Later fragments pass: what they are part of was judged, or does not exist.
 * Thread: the data thread.
 */
#ifndef BR_SERVER_GUARD_H
#define BR_SERVER_GUARD_H

#include "batch/batch.h"
#include "count/counters.h"
#include "frame/frame.h"
#include "snapshot/port_config.h"

/* The reason to drop a canonical frame of a port with these guards (enum br_guard_bit), or BR_PASS. */
enum br_drop br_server_guard_judge(const struct br_frame *frame, uint8_t guards);
/* Between admit and learn: drop what only servers may say. */
void br_server_guard_police(struct br_batch *batch, uint8_t guards);

#endif
