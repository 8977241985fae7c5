"""What _offload.pyx gives to the other modules of the binding."""

from bridge.core.offload cimport br_offload_maps


cdef class OffloadMaps:
    cdef br_offload_maps raw
