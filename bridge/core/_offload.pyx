"""The maps that programs in the kernel share with the data plane, as an object.

What each name means is in _offload.pyi. Compiled into the extension file of _core (see setup.py).
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset

from bridge.core._handles cimport VID_MAX, check_range, fail, lookup
from bridge.core.count cimport BR_PORTS_MAX
from bridge.core.offload cimport *

cdef dict DELIVERIES = {"egress": BR_OFFLOAD_EGRESS, "ingress": BR_OFFLOAD_INGRESS, "peer": BR_OFFLOAD_PEER}


cdef class OffloadMaps:
    def __cinit__(self, fds, uint32_t slots):
        cdef int fd[BR_OFFLOAD_MAPS]
        cdef int i

        if len(fds) != BR_OFFLOAD_MAPS:
            raise ValueError(f"there are {BR_OFFLOAD_MAPS} maps, not {len(fds)}")
        for i in range(BR_OFFLOAD_MAPS):
            fd[i] = fds[i]
        error = br_offload_map(&self.raw, fd, slots)
        if error:
            raise fail(error)

    def __dealloc__(self):
        br_offload_unmap(&self.raw)

    def close_port(self, int index):
        check_range("port index", index, 0, BR_PORTS_MAX - 1)
        br_offload_close_port(&self.raw, index)

    def open_port(self, int index, *, bint takes, bint gives, bint trunk, bint filters, uint32_t ifindex, int mtu, int pvid,
                  int bare, int tpid, int default_pcp=0, str delivery="egress", bytes peer_mac=b"", reaches=()):
        cdef br_offload_opening opening
        cdef int i

        check_range("port index", index, 0, BR_PORTS_MAX - 1)
        memset(&opening, 0, sizeof(opening))
        opening.port.flags = (
            (BR_OFFLOAD_IN if takes else 0) | (BR_OFFLOAD_OUT if gives else 0) | (BR_OFFLOAD_TRUNK if trunk else 0)
            | (BR_OFFLOAD_FILTER if filters else 0)
        )
        opening.port.ifindex, opening.port.mtu = ifindex, mtu
        opening.port.pvid, opening.port.bare, opening.port.tpid = pvid, bare, tpid
        opening.port.untagged_tci = default_pcp << 13
        opening.port.delivery = lookup(DELIVERIES, "delivery", delivery)
        for i in range(min(len(peer_mac), 6)):
            opening.port.peer_mac[i] = peer_mac[i]
        for port in reaches:
            check_range("port index", port, 0, BR_PORTS_MAX - 1)
            opening.may_reach[<int>port >> 6] |= <uint64_t>1 << (<int>port & 63)
        br_offload_open_port(&self.raw, index, &opening)

    def set_vlan(self, int vid, ports, bint is_open):
        cdef uint64_t carried[BR_OFFLOAD_PORT_WORDS]

        check_range("VID", vid, 1, VID_MAX)
        memset(carried, 0, sizeof(carried))
        for port in ports:
            check_range("port index", port, 0, BR_PORTS_MAX - 1)
            carried[<int>port >> 6] |= <uint64_t>1 << (<int>port & 63)
        br_offload_set_vlan(&self.raw, vid, carried, is_open)

    def set_heartbeat(self, udp_ports):
        cdef uint64_t words[BR_OFFLOAD_HEARTBEAT_WORDS]
        cdef int i

        memset(words, 0, sizeof(words))
        for port in udp_ports:
            check_range("heartbeat port", port, 1, 65535)
            words[<int>port >> 6] |= <uint64_t>1 << (<int>port & 63)
        for i in range(BR_OFFLOAD_HEARTBEAT_WORDS):
            self.raw.heartbeat[i] = words[i]

    def usage(self):
        cdef br_offload_usage usage

        with nogil:
            br_offload_count(&self.raw, &usage)
        return usage.live, usage.waiting

    @property
    def handed_over(self):
        return self.raw.page.passed, self.raw.page.acked
