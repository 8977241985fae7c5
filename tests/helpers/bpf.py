"""A classic BPF machine in plain Python: what a socket filter makes of a frame, and what the kernel would refuse.

Covers the instructions of Documentation/networking/filter.rst that filters here use; anything else is an error,
and so is what net/core/filter.c:bpf_check_classic refuses. A load beyond the frame ends with 0, as there.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Mapping, Sequence

from helpers.net import PacketSocket

Instruction = tuple[int, int, int, int]  # code, jt, jf, k
PROGRAM_MAX = 4096  # BPF_MAXINSNS
SO_ATTACH_FILTER = 26  # include/uapi/asm-generic/socket.h
AD_OFF = 0xFFFFF000  # SKF_AD_OFF, as an unsigned operand
AD_VLAN_TAG, AD_VLAN_TAG_PRESENT, AD_VLAN_TPID = AD_OFF + 44, AD_OFF + 48, AD_OFF + 60
WORD, HALF, BYTE = 0x00, 0x08, 0x10
FRAME = 0x20  # with a size: from the frame
LOAD, RETURN = 0x20, 0x06  # a word from the frame or beside it; how many bytes pass
SIZES = {WORD: ">I", HALF: ">H", BYTE: ">B"}


def check(program: Sequence[Instruction]) -> None:
    """Fail on a program that the kernel would not take."""
    assert 0 < len(program) <= PROGRAM_MAX
    assert program[-1][0] == RETURN
    for at, (code, jt, jf, k) in enumerate(program):
        steps = (k,) if code == 0x05 else (jt, jf) if code & 0x07 == 0x05 else ()
        assert all(at + 1 + step < len(program) for step in steps), f"a jump out of it at {at}"
        assert 0 <= jt <= 0xFF
        assert 0 <= jf <= 0xFF
        assert 0 <= k <= 0xFFFFFFFF


def run(
    program: Sequence[Instruction],
    data: bytes,
    tag: tuple[int, int] | None = None,
    beside: Mapping[int, int] | None = None,
) -> int:
    """How many bytes of a frame pass; `tag`: TPID and TCI that the kernel keeps beside it; `beside`: what else."""
    tpid, tci = tag or (0, 0)
    metadata = {AD_VLAN_TAG: tci, AD_VLAN_TAG_PRESENT: int(tag is not None), AD_VLAN_TPID: tpid}
    metadata |= beside or {}
    jumps = {0x15: lambda a, k: a == k, 0x35: lambda a, k: a >= k, 0x45: lambda a, k: a & k}
    a = x = at = 0
    memory: dict[int, int] = {}
    while True:
        code, jt, jf, k = program[at]
        at += 1
        if code == RETURN:
            return k
        if code == 0x05:
            at += k
        elif code in jumps:
            at += jt if jumps[code](a, k) else jf
        elif code & 0xE7 == LOAD and k >= AD_OFF:
            a = metadata[k]
        elif code & 0xE7 == LOAD:
            layout = struct.Struct(SIZES[code & 0x18])
            if k + layout.size > len(data):
                return 0
            (a,) = layout.unpack_from(data, k)
        elif code in (0x48, 0x50):  # at X
            layout = struct.Struct(SIZES[code & 0x18])
            if x + k + layout.size > len(data):
                return 0
            (a,) = layout.unpack_from(data, x + k)
        elif code == 0xB1:  # the length of an IPv4 header
            if k >= len(data):
                return 0
            x = (data[k] & 15) * 4
        elif code == 0x00:
            a = k
        elif code == 0x80:
            a = len(data)
        elif code == 0x60:
            a = memory[k]
        elif code == 0x02:
            memory[k] = a
        elif code == 0x07:
            x = a
        elif code == 0x54:
            a &= k
        elif code == 0x7C:
            assert x < 32, "a shift by more than the word has is not defined"
            a >>= x
        else:
            raise AssertionError(f"unknown instruction {code:#x}")


def attach(sock: PacketSocket, program: Sequence[Instruction]) -> None:
    """Give a filter to the kernel."""
    packed = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(packed, len(packed))
    header = struct.pack("@HP", len(program), ctypes.addressof(buffer))
    sock.sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, header)
