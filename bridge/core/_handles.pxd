"""What _handles.pyx gives to the other modules of the binding."""

from libc.stdint cimport uint32_t

from bridge.core.count cimport BR_PORTS_MAX, br_name
from bridge.core.mirror cimport br_capture
from bridge.core.port cimport br_port, br_port_place

cdef enum:
    VID_MAX = 4094

cdef tuple names(const br_name *table, int n)
cdef object fail(int error, str device=*)
cdef int check_range(str what, object value, int low, int high) except -1
cdef object lookup(dict table, str what, object name)


cdef br_port_place place_to_c(object place) except *


cdef class Port:
    cdef br_port *raw
    cdef readonly int index
    cdef readonly str kind
    cdef readonly str device

    cdef br_port *open_raw(self) except NULL


cdef class MemoryPort(Port):
    pass


cdef class Capture:
    cdef br_capture *raw
    cdef uint32_t interface[BR_PORTS_MAX]
