/*
 * protect/guard.h - source guard: from which addresses the stations of a port may speak.
 *
 * Source guard: a frame speaks from an address that is listed for its port, or is dropped as `source_guard`:
 *      ARP, RARP  Ethernet and IPv4 alone; sender MAC is the Ethernet source, sender IP is listed, or 0.0.0.0 in a
 *                 request (RFC 5227 section 2.1.1);
 *      IPv4       source is listed, or 0.0.0.0 from a DHCP client to a server (RFC 2131 section 4.1);
 *      IPv6       source is listed, or the link-local address made of the Ethernet source (RFC 4291 appendix A), or
 *                 :: where a host without address says so (RFC 4861, RFC 3590): NS, RS, MLD reports. The target of an
 *                 NA, and of an NS from ::, is judged like a source; link-layer address options are the Ethernet
 *                 source;
 *      tags       a tag behind the port's own, or IP in SNAP, cannot be judged and is dropped;
 *      the rest   has no address of these and passes.
 *      A rule with a MAC holds for frames from that MAC only. Frames whose headers are cut short or
 *      contradict themselves are dropped. Every fragment carries its source; an ND message in a fragment is dropped
 *      (RFC 6980 section 5).
 * Not its job: who may answer as a DHCP server or router (protect/server_guard.h), and what is inside a tunnel (GRE,
 *      MPLS, PPPoE).
 * Thread: the tables are part of the snapshot; the data thread reads them.
 */
#ifndef BR_GUARD_H
#define BR_GUARD_H

#include <stdbool.h>
#include <stdint.h>

#include "batch/batch.h"
#include "count/counters.h"
#include "frame/frame.h"
#include "snapshot/guard_rules.h"

/* What a dropped frame spoke from, for people: `len` is 0, 4 or 16 bytes. */
struct br_guard_claim {
    uint8_t address[16];
    uint16_t len;
};

/* Judge a canonical frame (frame/frame.h) by the rules of its ingress port. */
enum br_guard_finding br_guard_judge(const struct br_guards *guards, const struct br_frame *frame,
                                     struct br_guard_claim *claim);
/* Between admit and learn: drop what does not speak from an address of its port. */
void br_guard_police(struct br_batch *batch);

#endif
