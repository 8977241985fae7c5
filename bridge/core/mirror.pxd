"""Declarations of csrc/mirror/ for Cython: only what this package uses."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t


cdef extern from "mirror/capture.h" nogil:
    enum:
        BR_CAPTURE_BLOCK_LEN
        BR_NO_INTERFACE
        BR_CAPTURE_EMPTY

    # The type of enum br_capture_end, for a pointer to it.
    ctypedef int br_capture_end "enum br_capture_end"

    struct br_capture:
        int fd

    int br_capture_init(br_capture *capture, uint32_t len)
    void br_capture_fini(br_capture *capture)
    uint32_t br_capture_take(br_capture *capture, const uint32_t *interface, uint8_t *out, uint32_t cap,
                             br_capture_end *end, uint16_t *port)
    bint br_capture_wait(br_capture *capture, int milliseconds)
    void br_capture_wake(br_capture *capture)
    void br_capture_stop(br_capture *capture)
    void br_capture_counts(const br_capture *capture, uint16_t port, uint64_t *taken, uint64_t *lost)


cdef extern from "mirror/mirror.h" nogil:
    struct br_mirror_state:
        uint32_t serial
        uint64_t copies
        uint64_t bytes
        uint64_t lost
        uint64_t over_rate
