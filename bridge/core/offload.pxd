"""Declarations of csrc/offload/ for Cython: only what this package uses."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t


cdef extern from "offload/share.h" nogil:
    enum:
        BR_OFFLOAD_MAPS
        BR_OFFLOAD_PORT_WORDS
        BR_OFFLOAD_ROWS
        BR_OFFLOAD_PATIENCE
        BR_OFFLOAD_IN
        BR_OFFLOAD_OUT
        BR_OFFLOAD_TRUNK
        BR_OFFLOAD_FILTER
        BR_OFFLOAD_EGRESS
        BR_OFFLOAD_INGRESS
        BR_OFFLOAD_PEER
        BR_OFFLOAD_HEARTBEAT_WORDS

    struct br_offload_page:
        uint32_t passed
        uint32_t acked

    struct br_offload_state:
        uint64_t frames
        uint64_t bytes
        uint64_t more_segments

    struct br_offload_port:
        uint32_t flags
        uint32_t ifindex
        uint32_t mtu
        uint16_t pvid
        uint16_t bare
        uint16_t tpid
        uint16_t untagged_tci
        uint8_t delivery
        uint8_t *peer_mac

    struct br_offload_maps:
        br_offload_state *state
        br_offload_page *page
        uint64_t *heartbeat
        uint32_t n_slots

    struct br_offload_opening:
        br_offload_port port
        uint64_t *may_reach

    struct br_offload_usage:
        uint32_t live
        uint32_t waiting

    int br_offload_map(br_offload_maps *offload, const int *fd, uint32_t n_slots)
    void br_offload_unmap(br_offload_maps *offload)
    void br_offload_close_port(br_offload_maps *offload, uint16_t index)
    void br_offload_open_port(br_offload_maps *offload, uint16_t index, const br_offload_opening *opening)
    void br_offload_set_vlan(br_offload_maps *offload, uint16_t vid, const uint64_t *carried_by, bint open)
    void br_offload_count(const br_offload_maps *offload, br_offload_usage *usage)
