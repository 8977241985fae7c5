/*
 * gso.h - sending runs of frames as one buffer each, which the kernel cuts into frames: twice as cheap as a call per frame.
 *
 * Job: the frames of a run share all of their header; what follows it (mark and padding) lies one behind the other. A packet
 *      socket with PACKET_VNET_HDR takes header and payloads as one UDP buffer with a segment size; since the device is told
 *      not to segment and not to checksum (features.h), the stack cuts it and every frame is complete when it gets there.
 * Frames come out with a valid UDP checksum and IP identifications counting up; all frames of a buffer have one stamp.
 * Thread: the sender's. Refuses: layouts without UDP, frames of several sizes or addresses (callers check).
 *      net/packet/af_packet.c (packet_snd), net/ipv4/udp_offload.c (__udp_gso_segment), Linux 4.18 and for packet sockets 6.2.
 */
#ifndef BT_GSO_H
#define BT_GSO_H

#include <stdint.h>

enum { BT_GSO_SEGMENTS_MAX = 64 }; /* UDP_MAX_SEGMENTS of older kernels */

struct bt_gso;

/* `fd` is a packet socket made in the device's namespace; it stays the caller's. `header` are the bytes of an untagged or
 * tagged frame up to the end of UDP, `payload_len` what follows in each frame, `n_slots` how many frames are prepared.
 * Returns 0 or -errno. */
int bt_gso_open(struct bt_gso **gso, int fd, const char *device, const uint8_t *header, uint32_t header_len,
                uint32_t payload_len, uint32_t n_slots);

/* Where frame `slot` would begin if it had a header of its own: its payload is header_len behind that. */
uint8_t *bt_gso_frame(const struct bt_gso *gso, uint32_t slot);

/* Send frames first .. first + n - 1. Returns how many were refused by the device for sure, or -errno. */
int bt_gso_push(struct bt_gso *gso, uint32_t first, uint32_t n);

void bt_gso_close(struct bt_gso *gso);

#endif
