"""Declarations of csrc/port/ for Cython: only what this package uses."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from bridge.core.count cimport br_port_counters
from bridge.core.frame cimport br_vnet


cdef extern from "port/port.h" nogil:
    struct br_port

    struct br_port_ops:
        const char *kind
        int (*spare)(br_port *port)
        int (*rx_lane)(br_port *port)  # more arguments: only asked for

    struct br_port:
        const br_port_ops *ops
        int fd
        int lane_fd
        uint32_t serial
        uint16_t index
        bint failed

    struct br_memory_frame:
        const uint8_t *data
        uint32_t len
        uint16_t headroom
        bint in_one
        bint tag_beside
        uint16_t tpid
        uint16_t tci
        br_vnet vnet

    enum:
        BR_PORT_FDS

    struct br_port_place:
        int *fd
        uint32_t n_fds
        uint32_t slots
        uint32_t taken
        uint32_t released
        uint32_t taken_seen
        bint wedged
        uint64_t missed_seen

    int br_port_find_place "br_port_place" (br_port *port, br_port_place *place)
    int br_port_adopt_tap(br_port **port, int fd, uint32_t burst)
    int br_port_adopt_link(br_port **port, const br_port_place *place)
    int br_port_resume(br_port *port, const br_port_place *place)
    int br_port_open_memory(br_port **port, uint32_t slots, bint vnet)
    int br_port_open_replay(br_port **port, uint32_t n_frames, uint32_t longest, uint32_t burst)
    int br_port_open_tap(br_port **port, const char *device, uint32_t burst)
    int br_port_open_link(br_port **port, const char *device, uint32_t slots)
    const br_port_counters *br_port_read(br_port *port)
    void br_port_close(br_port *port)
    int br_replay_add(br_port *port, const uint8_t *data, uint32_t len)
    int br_memory_put(br_port *port, const br_memory_frame *frame)
    bint br_memory_peek(br_port *port, br_memory_frame *frame)
    void br_memory_next(br_port *port)
    uint32_t br_memory_pending(const br_port *port)
