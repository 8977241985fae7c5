"""The socket filter of a link port: frames of VLANs that the port does not carry never reach its ring.

Job: `program` writes the rules R5 and R6 of one port as classic BPF; `attach` and `detach` give it to the
kernel. The program is pure data, and tests run it in an interpreter of their own. Thread: control.

Theory of operation. The kernel has taken the outer tag out of the bytes when a packet socket sees a frame; TCI
and TPID are in its metadata (SKF_AD_VLAN_TAG, SKF_AD_VLAN_TPID). A tag that is still inline counts too, and a tag
of another TPID than the port's is payload. The set of VIDs is a bitmap of 128 words, looked up by binary search
over runs of equal words: a classic program has no tables. So any set fits: at most seven comparisons are run, and
at most 406 of the 4096 instructions allowed are used, however ragged the set is.

Invariants: what the filter refuses the bridge would have dropped as `vlan_not_allowed` or `tag_not_allowed`, and
everything it would have dropped so is refused, but for what no VLAN explains: VID 4095 and a tag cut short pass,
to be counted, and so does a wrong tag behind the outer one
of a VLAN that has two. A refused frame is counted nowhere, not even in the socket's statistics.

Sources: include/uapi/linux/{filter,bpf_common}.h; Documentation/networking/filter.rst; offset 0 is the destination
address on a SOCK_RAW packet socket (net/packet/af_packet.c:tpacket_rcv).
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

from bridge.config.port import PortConfig

SO_ATTACH_FILTER = 26  # include/uapi/asm-generic/socket.h; the same on x86, arm64 and s390x
SO_DETACH_FILTER = 27

# Opcodes: include/uapi/linux/bpf_common.h. A and X are the registers, M[0] a scratch word, k the operand.
LOAD_WORD = 0x20  # A = word at k
LOAD_HALF = 0x28  # A = half-word at k
LOAD_LENGTH = 0x80  # A = length of the frame
LOAD_IMMEDIATE = 0x00  # A = k
LOAD_SCRATCH = 0x60  # A = M[k]
STORE_SCRATCH = 0x02  # M[k] = A
COPY_TO_X = 0x07  # X = A
AND = 0x54  # A &= k
SHIFT_RIGHT_X = 0x7C  # A >>= X
JUMP = 0x05  # always
JUMP_EQUAL = 0x15  # A == k
JUMP_NOT_BELOW = 0x35  # A >= k
JUMP_ANY_BIT = 0x45  # A & k
RETURN = 0x06  # this many bytes of the frame; 0: none of it

VLAN_TAG = 0xFFFF_F000 + 44  # SKF_AD_OFF + SKF_AD_VLAN_TAG: the TCI beside the frame
VLAN_TAG_PRESENT = 0xFFFF_F000 + 48
VLAN_TPID = 0xFFFF_F000 + 60  # in host order

ETHERTYPE_AT, TCI_AT, TAGGED_HLEN = 12, 14, 18  # of an inline tag
VID_MASK = 0xFFF
VID_RESERVED = 4095
WORD_VIDS = 32  # VIDs in a word of the bitmap
ALL_BITS = ALL_BYTES = 0xFFFF_FFFF


class Instruction(NamedTuple):
    """struct sock_filter: opcode, how far to jump if true and if false, operand."""

    code: int
    jt: int
    jf: int
    k: int


Program = tuple[Instruction, ...]


@lru_cache(maxsize=512)
def program(port: PortConfig) -> Program | None:
    """Write the filter of a port; None: it takes frames of every kind, or wants to count all that it drops."""
    carried = _carried(port)
    is_wanted = port.can.takes_filter and port.kernel_filter and port.mode != "tunnel"
    if not is_wanted or len(carried) == VID_MASK + 1:
        return None
    code = Code()
    _write_head(code, port.tpid, takes_untagged=0 in carried)
    runs = [
        (next(group)[0] * WORD_VIDS, word)
        for word, group in groupby(enumerate(_bitmap(carried)), key=lambda item: item[1])
    ]
    _write_search(code, runs)
    _write_tail(code)
    return code.assemble()


def _carried(port: PortConfig) -> frozenset[int]:
    """Which VIDs in a tag of the port's TPID pass; 0 stands for untagged frames too."""
    if port.mode == "access":
        return frozenset((0, VID_RESERVED))
    return port.outside | {VID_RESERVED} | ({0} if port.pvid else frozenset())


def _bitmap(vids: frozenset[int]) -> list[int]:
    words = [0] * ((VID_MASK + 1) // WORD_VIDS)
    for vid in vids:
        words[vid // WORD_VIDS] |= 1 << vid % WORD_VIDS
    return words


# -- writing: jumps name labels, which lie further down


class Code:
    """Instructions so far; "" as a label is the next instruction."""

    def __init__(self) -> None:
        self._lines: list[tuple[int, str, str, int]] = []
        self._labels: dict[str, int] = {}

    def put(self, code: int, k: int = 0, true: str = "", false: str = "") -> None:
        """Append an instruction; `true`, `false`: where a jump goes."""
        self._lines.append((code, true, false, k))

    def label(self, name: str) -> None:
        """Name the next instruction."""
        self._labels[name] = len(self._lines)

    def assemble(self) -> Program:
        """Give what was written."""
        return tuple(self._resolve(at, *line) for at, line in enumerate(self._lines))

    def _resolve(self, at: int, code: int, true: str, false: str, k: int) -> Instruction:
        jt, jf = (self._labels[label] - at - 1 if label else 0 for label in (true, false))
        if code == JUMP:  # the only one that reaches further than a byte
            return Instruction(code, 0, 0, jt)
        return Instruction(code, jt, jf, k)


def _write_head(code: Code, tpid: int, *, takes_untagged: bool) -> None:
    """Find the VID of a frame with a tag of the port; decide for the others."""
    code.put(LOAD_WORD, VLAN_TAG_PRESENT)
    code.put(JUMP_EQUAL, 0, true="inline")
    code.put(LOAD_WORD, VLAN_TPID)
    code.put(JUMP_EQUAL, tpid, false="untagged")
    code.put(LOAD_WORD, VLAN_TAG)
    code.put(JUMP, true="tagged")
    code.label("inline")
    code.put(LOAD_HALF, ETHERTYPE_AT)
    code.put(JUMP_EQUAL, tpid, false="untagged")
    code.put(LOAD_LENGTH)
    code.put(JUMP_NOT_BELOW, TAGGED_HLEN, false="cut short")
    code.put(LOAD_HALF, TCI_AT)
    code.put(JUMP, true="tagged")
    code.label("untagged")
    code.put(RETURN, ALL_BYTES if takes_untagged else 0)
    code.label("cut short")
    code.put(RETURN, ALL_BYTES)
    code.label("tagged")
    code.put(AND, VID_MASK)
    code.put(STORE_SCRATCH)
    code.put(AND, WORD_VIDS - 1)
    code.put(COPY_TO_X)
    code.put(LOAD_SCRATCH)


def _write_search(code: Code, runs: list[tuple[int, int]]) -> None:
    """Find the run (first VID, word) that the VID in A belongs to."""
    if len(runs) == 1:
        word = runs[0][1]
        if word in (0, ALL_BITS):
            code.put(RETURN, ALL_BYTES if word else 0)
        else:
            code.put(LOAD_IMMEDIATE, word)
            code.put(JUMP, true="test")
        return
    middle = len(runs) // 2
    first = runs[middle][0]
    code.put(JUMP_NOT_BELOW, first, true=f"from {first}")
    _write_search(code, runs[:middle])
    code.label(f"from {first}")
    _write_search(code, runs[middle:])


def _write_tail(code: Code) -> None:
    """Test the bit of the VID (X) in its word (A)."""
    code.label("test")
    code.put(SHIFT_RIGHT_X)
    code.put(JUMP_ANY_BIT, 1, false="refuse")
    code.put(RETURN, ALL_BYTES)
    code.label("refuse")
    code.put(RETURN, 0)


# -- the kernel


def attach(fd: int, instructions: Program) -> None:
    """Put the filter on a socket in place of the one before, from one frame to the next; raises OSError."""
    packed = b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions)
    buffer = ctypes.create_string_buffer(packed, len(packed))
    _set_option(fd, SO_ATTACH_FILTER, struct.pack("@HP", len(instructions), ctypes.addressof(buffer)))


def detach(fd: int) -> None:
    """Let the socket take every frame again; raises OSError if it has no filter."""
    _set_option(fd, SO_DETACH_FILTER, struct.pack("i", 0))


def _set_option(fd: int, option: int, value: bytes) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0, fileno=os.dup(fd)) as sock:
        sock.setsockopt(socket.SOL_SOCKET, option, value)
