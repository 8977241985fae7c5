"""Ports and capture rings as objects, and what all of the binding needs: errors and checks of arguments.

What each name means is in _handles.pyi. Compiled into the extension file of _core (see setup.py).
"""

import os

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memset

from bridge.core.count cimport *
from bridge.core.frame cimport *
from bridge.core.memory cimport *
from bridge.core.mirror cimport *
from bridge.core.port cimport *
from bridge.core.values import Frame, Offload, PortPlace, Taken

cdef dict GSO_TYPES = {"none": BR_GSO_NONE, "tcp4": BR_GSO_TCP4, "tcp6": BR_GSO_TCP6, "udp": BR_GSO_UDP}
cdef dict GSO_NAMES = {number: name for name, number in GSO_TYPES.items()}
cdef tuple CAPTURE_ENDS = ("empty", "full", "unknown")


cdef tuple names(const br_name *table, int n):
    return tuple((table[i].symbol.decode(), table[i].sentence.decode()) for i in range(n))


cdef object fail(int error, str device=None):
    """OSError of a negative errno."""
    return OSError(-error, os.strerror(-error), device) if device else OSError(-error, os.strerror(-error))


cdef int check_range(str what, object value, int low, int high) except -1:
    if not low <= value <= high:
        raise ValueError(f"{what} must be {low}..{high}, not {value!r}")
    return 0


cdef object lookup(dict table, str what, object name):
    try:
        return table[name]
    except KeyError:
        raise ValueError(f"{what} must be one of {', '.join(table)}, not {name!r}") from None


cdef br_vnet offload_to_c(object offload) except *:
    cdef br_vnet raw
    cdef int gso = lookup(GSO_TYPES, "gso", offload.gso)
    raw.needs_csum = offload.needs_csum
    raw.gso_type = gso | (BR_GSO_ECN if offload.ecn else 0)
    raw.hdr_len = offload.hdr_len
    raw.gso_size = offload.gso_size
    raw.csum_start = offload.csum_start
    raw.csum_offset = offload.csum_offset
    return raw


cdef object offload_from_c(br_vnet raw):
    gso = GSO_NAMES[raw.gso_type & ~BR_GSO_ECN]
    ecn = bool(raw.gso_type & BR_GSO_ECN)
    return Offload(bool(raw.needs_csum), raw.csum_start, raw.csum_offset, gso, ecn, raw.gso_size, raw.hdr_len)


cdef br_port_place place_to_c(object place) except *:
    cdef br_port_place raw
    cdef int i

    memset(&raw, 0, sizeof(raw))
    check_range("descriptors", len(place.fds), 0, BR_PORT_FDS)
    check_range("slots", place.slots, 0, 1 << 20)
    raw.n_fds = len(place.fds)
    for i in range(BR_PORT_FDS):
        raw.fd[i] = place.fds[i] if i < len(place.fds) else -1
    raw.slots, raw.taken, raw.released = place.slots, place.taken, place.released
    raw.taken_seen, raw.wedged, raw.missed_seen = place.taken_seen, place.wedged, place.missed_seen
    return raw


cdef class Port:
    @property
    def fd(self):
        return self.raw.fd if self.raw else -1

    @property
    def spare_fd(self):
        return self.raw.ops.spare(self.raw) if self.raw and self.raw.ops.spare else -1

    @property
    def lane_fd(self):
        return self.raw.lane_fd if self.raw and self.raw.ops.rx_lane else -1

    @property
    def failed(self):
        return self.raw is not NULL and self.raw.failed

    @property
    def closed(self):
        return self.raw is NULL

    def place(self):
        cdef br_port_place raw
        cdef int error = br_port_find_place(self.open_raw(), &raw)

        if error:
            raise fail(error, self.device)
        numbers = (raw.slots, raw.taken, raw.released, raw.taken_seen, raw.wedged, raw.missed_seen)
        return PortPlace(tuple(raw.fd[i] for i in range(raw.n_fds)), *numbers)

    def resume(self, place):
        cdef br_port_place raw = place_to_c(place)
        cdef int error = br_port_resume(self.open_raw(), &raw)

        if error:
            raise fail(error, self.device)

    def __repr__(self):
        return f"<{self.kind} port {self.index} {self.device or '-'}{' closed' if self.closed else ''}>"

    cdef br_port *open_raw(self) except NULL:
        if self.raw is NULL:
            raise ValueError(f"{self!r} is closed")
        return self.raw

    def __dealloc__(self):
        if self.raw:
            br_port_close(self.raw)


cdef class MemoryPort(Port):
    def inject(self, frames, int headroom=BR_HEADROOM, bint in_one=False):
        cdef br_port *raw = self.open_raw()
        cdef br_memory_frame frame
        cdef bytes data
        cdef int n = 0

        check_range("headroom", headroom, 0, BR_HEADROOM)
        for item in frames:
            if isinstance(item, bytes):
                item = Frame(item)
            data = item.data
            memset(&frame, 0, sizeof(frame))
            frame.data = data
            frame.len = len(data)
            frame.headroom = headroom
            frame.in_one = in_one
            if item.tag is not None:
                frame.tag_beside = True
                frame.tpid, frame.tci = item.tag
            frame.vnet = offload_to_c(item.offload)
            error = br_memory_put(raw, &frame)
            if error == -28:  # ENOSPC
                break
            if error:
                raise fail(error)
            n += 1
        return n

    def drain(self):
        cdef br_port *raw = self.open_raw()
        cdef br_memory_frame frame
        frames = []

        while br_memory_peek(raw, &frame):
            frames.append(Frame(frame.data[:frame.len], None, offload_from_c(frame.vnet)))
            br_memory_next(raw)
        return frames

    @property
    def pending(self):
        return br_memory_pending(self.open_raw())


cdef class Capture:
    def __cinit__(self, *, int size=1 << 21):
        cdef int i

        check_range("size", size, BR_CAPTURE_LEAST, BR_CAPTURE_MOST)
        self.raw = <br_capture *>aligned_alloc(64, sizeof(br_capture))
        if self.raw is NULL:
            raise MemoryError
        error = br_capture_init(self.raw, size)
        if error:
            free(self.raw)
            self.raw = NULL
            raise fail(error)
        for i in range(BR_PORTS_MAX):
            self.interface[i] = BR_NO_INTERFACE

    def __dealloc__(self):
        if self.raw:
            br_capture_fini(self.raw)
            free(self.raw)

    def set_interface(self, int port, int number):
        check_range("port index", port, 0, BR_PORTS_MAX - 1)
        self.interface[port] = number if number >= 0 else BR_NO_INTERFACE

    def take(self, int limit=1 << 18):
        cdef br_capture_end end = BR_CAPTURE_EMPTY
        cdef uint16_t port = 0
        cdef uint32_t n
        cdef bytearray out = bytearray(limit)
        cdef uint8_t *at = out

        with nogil:
            n = br_capture_take(self.raw, self.interface, at, limit, &end, &port)
        del out[n:]
        return Taken(out, CAPTURE_ENDS[end], port)

    def wait(self, int milliseconds):
        cdef bint found

        with nogil:
            found = br_capture_wait(self.raw, milliseconds)
        return found

    def wake(self):
        br_capture_wake(self.raw)

    def stop(self):
        br_capture_stop(self.raw)

    def counts(self, int port):
        cdef uint64_t taken, lost

        check_range("port index", port, 0, BR_PORTS_MAX - 1)
        br_capture_counts(self.raw, port, &taken, &lost)
        return taken, lost
