"""What _core.pyx gives to the other modules of the binding."""

from libc.stdint cimport uint64_t

from bridge.core._handles cimport Port
from bridge.core._offload cimport OffloadMaps
from bridge.core._snapshot cimport Snapshot
from bridge.core.port cimport br_port
from bridge.core.thread cimport br_bridge


cdef class Bridge:
    cdef br_bridge *raw
    cdef OffloadMaps shared  # whose memory the FDB is in
    cdef Snapshot snapshot
    cdef uint64_t lost_seen
    cdef readonly object thread_id

    cdef Port adopt(self, Port port, br_port *raw, int index, str device)
    cdef list change(self, list changes)
    cdef object forget_fitting(self, port, vids, int kinds)
