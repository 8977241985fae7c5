"""Reading of pcapng files, block by block: draft-ietf-opsawg-pcapng, only what the bridge writes.

Refuses, by assertion, whatever a strict reader would: wrong lengths, packets of no interface, options cut short.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

SECTION, INTERFACE, STATISTICS, PACKET = 0x0A0D0D0A, 1, 5, 6
COMMENT = 1


class Packet(NamedTuple):
    interface: int
    ns: int
    data: bytes
    length: int
    inbound: bool
    comment: str


class File(NamedTuple):
    """`interfaces`: names by number; `statistics`: options of each interface's block, by code."""

    interfaces: list[str]
    packets: list[Packet]
    statistics: dict[int, dict[int, int]]

    @property
    def names(self) -> list[str]:
        """The interface of every packet."""
        return [self.interfaces[packet.interface] for packet in self.packets]


def blocks(data: bytes) -> list[tuple[int, bytes]]:
    """Split into (type, body)."""
    found = []
    at = 0
    while at < len(data):
        kind, length = struct.unpack_from("=II", data, at)
        assert length >= 12, f"block at {at}"
        assert length % 4 == 0, f"block at {at}"
        assert at + length <= len(data), f"block at {at}"
        assert struct.unpack_from("=I", data, at + length - 4)[0] == length, f"end of the block at {at}"
        found.append((kind, data[at + 8 : at + length - 4]))
        at += length
    return found


def options(data: bytes) -> dict[int, bytes]:
    """Options by code, up to the one that ends them."""
    found = {}
    at = 0
    while at < len(data):
        code, length = struct.unpack_from("=HH", data, at)
        if code == 0:
            assert at + 4 == len(data), "bytes behind the last option"
            break
        found[code] = data[at + 4 : at + 4 + length]
        assert len(found[code]) == length
        at += 4 + (length + 3) // 4 * 4
    return found


def packet(body: bytes) -> Packet:
    interface, high, low, cap_len, length = struct.unpack_from("=5I", body)
    told = options(body[20 + (cap_len + 3) // 4 * 4 :])
    way = struct.unpack("=I", told[2])[0] & 3
    assert way in (1, 2)
    comment = told.get(COMMENT, b"").decode()
    return Packet(interface, high << 32 | low, body[20 : 20 + cap_len], length, way == 1, comment)


def packets(data: bytes) -> list[Packet]:
    """Packet blocks without a file around them."""
    found = blocks(data)
    assert {kind for kind, _ in found} <= {PACKET}
    return [packet(body) for _, body in found]


def read(data: bytes) -> File:
    """Read a whole file."""
    file = File([], [], {})
    (first, _), *rest = blocks(data)
    assert first == SECTION
    for kind, body in rest:
        if kind == INTERFACE:
            told = options(body[8:])
            assert told[9] == b"\x09", "nanoseconds"
            file.interfaces.append(told[2].decode())
        elif kind == PACKET:
            file.packets.append(packet(body))
            assert file.packets[-1].interface < len(file.interfaces)
        else:
            assert kind == STATISTICS
            number = struct.unpack_from("=I", body)[0]
            file.statistics[number] = {
                code: struct.unpack("=Q", value)[0]
                for code, value in options(body[12:]).items()
                if len(value) == 8
            }
    return file
