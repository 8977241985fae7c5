"""Blocks of a pcapng file that are written once: what stands around the packets. Pure.

draft-ietf-opsawg-pcapng: section header 4.1, interface description 4.2, interface statistics 4.6, options 3.5. All in
the byte order of this machine, as the packet blocks of csrc/mirror/capture.c are; the section header says which.
"""

from __future__ import annotations

import struct

from bridge.core._core import PACKET_BLOCK_LEN

SECTION_HEADER, INTERFACE, STATISTICS = 0x0A0D0D0A, 1, 5
BYTE_ORDER = 0x1A2B3C4D
ETHERNET = 1  # LINKTYPE
NANOSECONDS = b"\x09"
STATISTICS_LEN = 88  # of one statistics block
PACKET_MAX = (1 << 16) + 512 + PACKET_BLOCK_LEN  # of the block of the longest super-frame


def _block(kind: int, body: bytes) -> bytes:
    length = 12 + len(body)
    return struct.pack("=II", kind, length) + body + struct.pack("=I", length)


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("=HH", code, len(value)) + value + bytes(-len(value) % 4)


_END = _option(0, b"")


def section_header(application: str) -> bytes:
    """Begin a file."""
    body = struct.pack("=IHHq", BYTE_ORDER, 1, 0, -1) + _option(4, application.encode()) + _END
    return _block(SECTION_HEADER, body)


def interface(name: str) -> bytes:
    """Describe an interface; they are numbered from 0 in the order they appear.

    No snaplen is stated: it may change while packets of the interface are on their way.
    """
    options = _option(2, name.encode()) + _option(9, NANOSECONDS) + _END
    return _block(INTERFACE, struct.pack("=HHI", ETHERNET, 0, 0) + options)


def statistics(number: int, start_ns: int, end_ns: int, written: int, lost: int) -> bytes:
    """Tell what became of the packets of an interface: written, and lost on the way to the file."""
    times = [struct.pack("=II", ns >> 32, ns & 0xFFFFFFFF) for ns in (end_ns, start_ns, end_ns)]
    counts = [struct.pack("=Q", count) for count in (written + lost, lost, written)]
    options = _option(2, times[1]) + _option(3, times[2])
    options += b"".join(_option(code, count) for code, count in zip((4, 5, 8), counts, strict=True))
    return _block(STATISTICS, struct.pack("=I", number) + times[0] + options + _END)
