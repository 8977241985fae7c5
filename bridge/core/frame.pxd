"""Declarations of csrc/frame/ for Cython: only what this package uses."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t


cdef extern from "frame/frame.h" nogil:
    enum:
        BR_BURST_MAX
        BR_HEADROOM
        BR_HEAD_LEN
        BR_FRAME_MIN
        BR_ETH_HLEN

    struct br_vnet:
        uint8_t needs_csum
        uint8_t gso_type
        uint16_t hdr_len
        uint16_t gso_size
        uint16_t csum_start
        uint16_t csum_offset


cdef extern from "frame/packet.h" nogil:
    struct br_packet:
        uint32_t network
        uint32_t transport
        uint32_t end
        uint16_t type
        uint8_t protocol
        uint8_t n_tags
        bint is_fragment
        bint is_later

    bint br_packet_walk(const uint8_t *data, uint32_t len, br_packet *packet)


cdef extern from "frame/vnet.h" nogil:
    enum:
        BR_GSO_NONE
        BR_GSO_TCP4
        BR_GSO_TCP6
        BR_GSO_UDP
        BR_GSO_ECN


cdef extern from "frame/way.h" nogil:
    enum:
        BR_RX
        BR_TX


cdef extern from "frame/classify.h" nogil:
    struct br_beat_ports:
        pass

    void br_beat_ports_begin(br_beat_ports *ports)
    void br_beat_ports_add(br_beat_ports *ports, uint16_t port, bint broadcast)


cdef extern from "frame/mac.h" nogil:
    bint br_mac_is_virtual_router(uint64_t mac)
