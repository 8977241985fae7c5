"""What _snapshot.pyx gives to the other modules of the binding."""

from bridge.core.snapshot cimport br_port_config, br_snapshot

cdef class Snapshot:
    cdef br_snapshot *raw
    cdef list captures  # keeps them open as well
    cdef list ports  # keeps them open as long as this snapshot may be in use
    cdef bint applied  # from then on the data thread reads it

    cdef int check_open(self) except -1
    cdef int translate(self, br_port_config *config, set members, translations) except -1
    cdef int add_rule(self, object mac, bytes address, int length) except -1
