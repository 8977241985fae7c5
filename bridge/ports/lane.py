"""The lane of a link port: heartbeats have a socket of their own, whose queue no flood of other frames fills.

Job: `program` writes which frames go there as classic BPF; `join` makes the two sockets of a port one fanout group, and
`direct` has the kernel ask the program for each frame. The program is pure data, and tests run it in an interpreter
of their own. Thread: control.

Theory of operation. A fanout group (packet(7), PACKET_FANOUT) gives each frame to one of its sockets, the one whose
place its program returns: so a frame is delivered once, also while the program changes, which two filters could not
promise. Place 0 is the socket of the port's ring, 1 the lane, 2 the one that stands by for a wedged ring
(csrc/port/link.c). The program sees the frame from its network header on, its outer tag beside it. It knows the
heartbeats of csrc/frame/classify.c in the form in which stacks send them: without a second tag, SNAP or extension
headers of IPv6. All others go the usual way, where they have no room of their own and are heartbeats all the same.

Invariants: what the program sends to the lane is of a class of heartbeats. Before a socket joins, and where the kernel
has no such groups or the device is down, nothing comes by the lane.

Sources: net/packet/af_packet.c:fanout_demux_bpf, packet_rcv_fanout; Documentation/networking/filter.rst.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from collections.abc import Callable, Iterable
from functools import lru_cache

from bridge.config.vids import vid_runs
from bridge.ports.vlan_filter import (
    JUMP,
    JUMP_ANY_BIT,
    JUMP_EQUAL,
    JUMP_NOT_BELOW,
    LOAD_HALF,
    LOAD_WORD,
    RETURN,
    Code,
    Program,
)

MAIN, LANE, SPARE = 0, 1, 2  # places in the group
PROGRAM_MAX = 4096  # instructions

SOL_PACKET, PACKET_FANOUT, PACKET_FANOUT_DATA = 263, 18, 22  # include/uapi/linux/if_packet.h
FANOUT_CBPF = 6
FANOUT_UNIQUE_ID, FANOUT_IGNORE_OUTGOING = 0x2000, 0x4000

LOAD_BYTE = 0x30
LOAD_HALF_AT_X, LOAD_BYTE_AT_X = 0x48, 0x50  # at X + k
LOAD_IPV4_LEN = 0xB1  # X = length of the IPv4 header at k
PROTOCOL, PACKET_TYPE = 0xFFFF_F000, 0xFFFF_F000 + 4  # SKF_AD_OFF
TO_ALL, TO_GROUP = 1, 2  # PACKET_BROADCAST, PACKET_MULTICAST; include/uapi/linux/if_packet.h

IPV4, IPV6 = 0x0800, 0x86DD
UDP, AH, OSPF, VRRP = 17, 51, 89, 112
FIXED = (1985, 2029, 3222, 3784, 3785, 4784)  # HSRP, HSRP on IPv6, GLBP, BFD
GROUPS_4 = {1985: (2, 102), 3222: (102,)}  # n: 224.0.0.n
GROUPS_6 = {2029: (0x66,), 3222: (0x66,)}  # n: ff02::n


@lru_cache(maxsize=64)
def program(ports: frozenset[int], broadcast: frozenset[int], main: int = MAIN) -> Program:
    """Write the program for these UDP ports; if there are too many of them, for those of protocols alone."""
    code = _Demux(ports, broadcast).assemble(main)
    return code if len(code) <= PROGRAM_MAX else _Demux(frozenset(), frozenset()).assemble(main)


def nowhere(main: int) -> Program:
    """Give the program that sends nothing to the lane."""
    code = Code()
    code.put(RETURN, main)
    return code.assemble()


class _Demux:
    """One program; a label is used once, and lies further down."""

    def __init__(self, ports: frozenset[int], broadcast: frozenset[int]) -> None:
        self._code = Code()
        self._listed, self._broadcast = ports | broadcast, broadcast
        self._n_labels = 0

    def assemble(self, main: int) -> Program:
        code = self._code
        code.put(LOAD_WORD, PACKET_TYPE)
        code.put(JUMP_EQUAL, TO_ALL, false="not all")
        code.put(JUMP, true="all")
        code.label("not all")
        code.put(JUMP_EQUAL, TO_GROUP, false="not group")
        code.put(JUMP, true="group")
        code.label("not group")
        self._by_version("station", self._station_4, self._station_6)
        code.label("group")
        self._by_version("groups", self._group_4, self._group_6)
        code.label("all")
        self._by_version("to all", self._all_4, self._all_6)
        code.label("usual")
        code.put(RETURN, main)
        code.label("hit")
        code.put(RETURN, LANE)
        return code.assemble()

    # -- parts; each ends with a jump

    def _by_version(self, name: str, ipv4: Callable[[], None], ipv6: Callable[[], None]) -> None:
        code = self._code
        code.put(LOAD_WORD, PROTOCOL)
        code.put(JUMP_EQUAL, IPV4, false=f"{name} not 4")
        code.put(JUMP, true=f"{name} 4")
        code.label(f"{name} not 4")
        code.put(JUMP_EQUAL, IPV6, true=f"{name} 6")
        code.put(JUMP, true="usual")
        code.label(f"{name} 6")
        ipv6()
        code.put(JUMP, true="usual")
        code.label(f"{name} 4")
        ipv4()
        code.put(JUMP, true="usual")

    def _station_4(self) -> None:
        self._below(16, 0xE0)  # to a station's address
        self._first_fragment()
        self._if(LOAD_BYTE, 9, VRRP)
        self._if_in_ah()
        self._udp_port_4()
        self._if_in(FIXED)
        self._if_in(self._listed)

    def _station_6(self) -> None:
        self._below(24, 0xFF)
        self._if(LOAD_BYTE, 6, VRRP)
        self._udp_port_6()
        self._if_in(FIXED)
        self._if_in(self._listed)

    def _group_4(self) -> None:
        code = self._code
        self._only(LOAD_BYTE, 16, 0xE0, mask_to=0xF0)
        self._first_fragment()
        after = self._label()
        code.put(LOAD_WORD, 16)
        code.put(JUMP_EQUAL, 0xE0000012, false=after)
        self._if(LOAD_BYTE, 9, VRRP)
        self._if_in_ah()
        code.label(after)
        self._if_protocol_to_4(OSPF, (5, 6))
        self._udp_port_4()
        self._if_in(self._listed)
        for port, groups in GROUPS_4.items():
            other = self._label()
            code.put(JUMP_EQUAL, port, false=other)
            code.put(LOAD_WORD, 16)
            self._if_in(0xE0000000 + group for group in groups)
            code.put(JUMP, true="usual")
            code.label(other)

    def _group_6(self) -> None:
        code = self._code
        self._only(LOAD_BYTE, 24, 0xFF)
        self._if_protocol_to_6(VRRP, (0x12,))
        self._if_protocol_to_6(OSPF, (5, 6))
        self._udp_port_6()
        self._if_in(self._listed)
        for port, groups in GROUPS_6.items():
            other = self._label()
            code.put(JUMP_EQUAL, port, false=other)
            self._if_to_6(groups)
            code.put(JUMP, true="usual")
            code.label(other)

    def _all_4(self) -> None:
        self._first_fragment()
        self._udp_port_4()
        self._if_in(self._broadcast)

    def _all_6(self) -> None:
        self._udp_port_6()
        self._if_in(self._broadcast)

    # -- pieces

    def _label(self) -> str:
        self._n_labels += 1
        return f"label {self._n_labels}"

    def _usual_unless(self, load: int, at: int, jump: int, k: int, *, on: bool) -> None:
        """Go on only if a comparison is true, or false."""
        good, bad = self._label(), self._label()
        self._code.put(load, at)
        self._code.put(jump, k, true=good if on else bad, false=bad if on else good)
        self._code.label(bad)
        self._code.put(JUMP, true="usual")
        self._code.label(good)

    def _only(self, load: int, at: int, k: int, mask_to: int = 0) -> None:
        self._usual_unless(load, at, JUMP_NOT_BELOW if mask_to else JUMP_EQUAL, k, on=True)
        if mask_to:
            self._usual_unless(load, at, JUMP_NOT_BELOW, mask_to, on=False)

    def _below(self, at: int, k: int) -> None:
        self._usual_unless(LOAD_BYTE, at, JUMP_NOT_BELOW, k, on=False)

    def _if(self, load: int, at: int, k: int) -> None:
        """Be a hit if what is loaded is this."""
        after = self._label()
        self._code.put(load, at)
        self._code.put(JUMP_EQUAL, k, false=after)
        self._code.put(JUMP, true="hit")
        self._code.label(after)

    def _if_in(self, numbers: Iterable[int]) -> None:
        """Be a hit if A is one of these."""
        for first, last in vid_runs(set(numbers)):
            after = self._label()
            if first == last:
                self._code.put(JUMP_EQUAL, first, false=after)
            else:
                self._code.put(JUMP_NOT_BELOW, first, false=after)
                self._code.put(JUMP_NOT_BELOW, last + 1, true=after)
            self._code.put(JUMP, true="hit")
            self._code.label(after)

    def _first_fragment(self) -> None:
        self._usual_unless(LOAD_HALF, 6, JUMP_ANY_BIT, 0x1FFF, on=False)

    def _if_in_ah(self) -> None:
        """Be a hit if it is VRRP in AH."""
        after = self._label()
        self._code.put(LOAD_BYTE, 9)
        self._code.put(JUMP_EQUAL, AH, false=after)
        self._code.put(LOAD_IPV4_LEN, 0)
        self._code.put(LOAD_BYTE_AT_X, 0)
        self._code.put(JUMP_EQUAL, VRRP, false=after)
        self._code.put(JUMP, true="hit")
        self._code.label(after)

    def _udp_port_4(self) -> None:
        self._only(LOAD_BYTE, 9, UDP)
        self._code.put(LOAD_IPV4_LEN, 0)
        self._code.put(LOAD_HALF_AT_X, 2)

    def _udp_port_6(self) -> None:
        self._only(LOAD_BYTE, 6, UDP)
        self._code.put(LOAD_HALF, 42)

    def _if_protocol_to_4(self, protocol: int, groups: Iterable[int]) -> None:
        after = self._label()
        self._code.put(LOAD_BYTE, 9)
        self._code.put(JUMP_EQUAL, protocol, false=after)
        self._code.put(LOAD_WORD, 16)
        self._if_in(0xE0000000 + group for group in groups)
        self._code.put(JUMP, true="usual")
        self._code.label(after)

    def _if_protocol_to_6(self, protocol: int, groups: Iterable[int]) -> None:
        after = self._label()
        self._code.put(LOAD_BYTE, 6)
        self._code.put(JUMP_EQUAL, protocol, false=after)
        self._if_to_6(groups)
        self._code.put(JUMP, true="usual")
        self._code.label(after)

    def _if_to_6(self, groups: Iterable[int]) -> None:
        """Be a hit if it is for one of ff02::n; else A is something else."""
        after = self._label()
        self._code.put(LOAD_WORD, 24)
        self._code.put(JUMP_EQUAL, 0xFF020000, false=after)
        for at in (28, 32):
            self._code.put(LOAD_WORD, at)
            self._code.put(JUMP_EQUAL, 0, false=after)
        self._code.put(LOAD_WORD, 36)
        self._if_in(groups)
        self._code.label(after)


# -- the kernel


def join(main: int, lane: int) -> None:
    """Make two sockets of one device a group, in this order; raises OSError: the device is down, the kernel too old."""
    flags = FANOUT_CBPF | FANOUT_IGNORE_OUTGOING
    with _socket(main) as first, _socket(lane) as second:
        if not is_joined(main):
            first.setsockopt(SOL_PACKET, PACKET_FANOUT, struct.pack("=I", (flags | FANOUT_UNIQUE_ID) << 16))
        group = struct.unpack("=I", first.getsockopt(SOL_PACKET, PACKET_FANOUT, 4))[0] & 0xFFFF
        if not is_joined(lane):  # it may have been taken over
            second.setsockopt(SOL_PACKET, PACKET_FANOUT, struct.pack("=I", flags << 16 | group))


def is_joined(fd: int) -> bool:
    """Check whether a socket is of a group."""
    with _socket(fd) as sock:
        return sock.getsockopt(SOL_PACKET, PACKET_FANOUT, 4) != bytes(4)


def direct(lane: int, instructions: Program) -> None:
    """Have the group of a socket ask this program, from one frame to the next; raises OSError."""
    packed = b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions)
    buffer = ctypes.create_string_buffer(packed, len(packed))
    with _socket(lane) as sock:
        header = struct.pack("@HP", len(instructions), ctypes.addressof(buffer))
        sock.setsockopt(SOL_PACKET, PACKET_FANOUT_DATA, header)


def _socket(fd: int) -> socket.socket:
    return socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0, fileno=os.dup(fd))
