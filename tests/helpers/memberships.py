"""Messages about groups as frames, for tests: IGMP, MLD, PIM hello, router discovery; and data to groups.

Job: whole frames with right checksums and lengths, made here from the RFCs. Groups and addresses are text.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from ipaddress import ip_address

from helpers import frames

IS_IN, IS_EX, TO_IN, TO_EX, ALLOW, BLOCK = range(1, 7)
QUERY, V1, V2, LEAVE, V3 = 0x11, 0x12, 0x16, 0x17, 0x22
MLD_QUERY, MLD_REPORT, MLD_DONE, MLD2_REPORT = 130, 131, 132, 143
ROUTER_ALERT = b"\x94\x04\0\0"
HOP_BY_HOP = b"\x3a\0\x05\x02\0\0\x01\0"

Record = tuple[int, str, Sequence[str]]  # type, group, sources


def checksum(data: bytes) -> int:
    """RFC 1071."""
    total = sum(int.from_bytes(data[i : i + 2].ljust(2, b"\0"), "big") for i in range(0, len(data), 2))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def summed(data: bytes, at: int, pseudo: bytes = b"") -> bytes:
    """The data with its checksum at an offset."""
    zeroed = data[:at] + b"\0\0" + data[at + 2 :]
    return zeroed[:at] + checksum(pseudo + zeroed).to_bytes(2, "big") + zeroed[at + 2 :]


def mac(group: str) -> bytes:
    """The destination of frames to a group."""
    address = ip_address(group)
    if address.version == 4:
        return (0x01005E000000 | int(address) & 0x7FFFFF).to_bytes(6, "big")
    return (0x333300000000 | int(address) & 0xFFFFFFFF).to_bytes(6, "big")


def ipv4(
    station: bytes,
    to: str,
    body: bytes,
    *,
    source: str = "10.0.0.1",
    protocol: int = 2,
    options: bytes = ROUTER_ALERT,
    fragment: int = 0,
    destination: bytes | None = None,
) -> bytes:
    """A packet to a group."""
    words = 5 + len(options) // 4
    header = struct.pack("!BBHHHBBH", 0x40 | words, 0xC0, 4 * words + len(body), 0, fragment, 1, protocol, 0)
    header += ip_address(source).packed + ip_address(to).packed + options
    frame = frames.ethernet(
        destination or mac(to), station, ethertype=0x0800, payload=summed(header, 10) + body
    )
    return frame.ljust(frames.MIN_LEN, b"\0")


def igmp(
    station: bytes, kind: int, group: str, *, code: int = 0, to: str = "", source: str = "10.0.0.1"
) -> bytes:
    """IGMPv1 or v2."""
    usual = {QUERY: "224.0.0.1" if group == "0.0.0.0" else group, LEAVE: "224.0.0.2"}.get(kind, group)
    body = summed(bytes([kind, code, 0, 0]) + ip_address(group).packed, 2)
    return ipv4(station, to or usual, body, source=source)


def query(
    station: bytes, source: str, *, tenths: int = 100, group: str = "0.0.0.0", version: int = 2
) -> bytes:
    """A query of IGMP; general unless a group is named."""
    if version < 3:
        return igmp(station, QUERY, group, code=tenths if version == 2 else 0, source=source)
    body = summed(bytes([QUERY, tenths, 0, 0]) + ip_address(group).packed + bytes([2, 125, 0, 0]), 2)
    return ipv4(station, "224.0.0.1" if group == "0.0.0.0" else group, body, source=source)


def join(station: bytes, group: str, version: int = 2) -> bytes:
    """A report of one group, IGMPv1 to v3 or (by the address) MLDv1 to v2, where version 3 stands for MLDv2."""
    if ip_address(group).version == 6:
        return mld2(station, [(TO_EX, group, [])]) if version == 3 else mld(station, MLD_REPORT, group)
    if version == 3:
        return v3(station, [(TO_EX, group, [])])
    return igmp(station, V1 if version == 1 else V2, group)


def leave(station: bytes, group: str, version: int = 2) -> bytes:
    """The same for leaving."""
    if ip_address(group).version == 6:
        return (
            mld2(station, [(TO_IN, group, [])])
            if version == 3
            else mld(station, MLD_DONE, group, to="ff02::2")
        )
    return v3(station, [(TO_IN, group, [])]) if version == 3 else igmp(station, LEAVE, group)


def record(kind: int, group: str, sources: Sequence[str] = (), auxiliary: bytes = b"") -> bytes:
    """A group record."""
    body = b"".join(ip_address(source).packed for source in sources)
    head = struct.pack("!BBH", kind, len(auxiliary) // 4, len(sources))
    return head + ip_address(group).packed + body + auxiliary


def v3(
    station: bytes, records: Sequence[Record | bytes], *, count: int | None = None, source: str = "10.0.0.1"
) -> bytes:
    """An IGMPv3 report."""
    parts = [one if isinstance(one, bytes) else record(*one) for one in records]
    head = struct.pack("!BBHHH", V3, 0, 0, 0, len(parts) if count is None else count)
    return ipv4(station, "224.0.0.22", summed(head + b"".join(parts), 2), source=source)


def ipv6(
    station: bytes,
    to: str,
    body: bytes,
    *,
    source: str = "fe80::1",
    protocol: int = 58,
    hop_by_hop: bytes = HOP_BY_HOP,
    summed_at: int | None = 2,
) -> bytes:
    """A packet to an IPv6 group; the checksum of its body is made if `summed_at` says where it stands."""
    addresses = ip_address(source).packed + ip_address(to).packed
    if summed_at is not None:
        body = summed(body, summed_at, addresses + struct.pack("!IHBB", len(body), 0, 0, protocol))
    payload = hop_by_hop + body
    first = 0 if hop_by_hop else protocol
    header = struct.pack("!IHBB", 6 << 28, len(payload), first, 1) + addresses
    return frames.ethernet(mac(to), station, ethertype=0x86DD, payload=header + payload)


def mld(
    station: bytes,
    kind: int,
    group: str,
    *,
    to: str = "",
    milliseconds: int = 0,
    source: str = "fe80::1",
    tail: bytes = b"",
) -> bytes:
    """MLDv1, and queries of v2 with a tail."""
    body = struct.pack("!BBHHH", kind, 0, 0, milliseconds, 0) + ip_address(group).packed + tail
    return ipv6(station, to or group, body, source=source)


def mld_query(
    station: bytes,
    source: str = "fe80::9",
    *,
    milliseconds: int = 10_000,
    group: str = "::",
    version: int = 1,
) -> bytes:
    """A query of MLD; general unless a group is named."""
    tail = bytes([2, 125, 0, 0]) if version == 2 else b""
    to = "ff02::1" if group == "::" else group
    return mld(station, MLD_QUERY, group, to=to, milliseconds=milliseconds, source=source, tail=tail)


def mld2(
    station: bytes, records: Sequence[Record | bytes], *, count: int | None = None, source: str = "fe80::1"
) -> bytes:
    """An MLDv2 report."""
    parts = [one if isinstance(one, bytes) else record(*one) for one in records]
    head = struct.pack("!BBHHH", MLD2_REPORT, 0, 0, 0, len(parts) if count is None else count)
    return ipv6(station, "ff02::16", head + b"".join(parts), source=source)


def pim_hello(station: bytes, hold: int = 105, source: str = "10.0.0.9") -> bytes:
    """A hello of PIM version 2."""
    body = struct.pack("!BBHHHH", 0x20, 0, 0, 1, 2, hold)
    return ipv4(station, "224.0.0.13", summed(body, 2), source=source, protocol=103, options=b"")


def mrd(station: bytes, source: str = "10.0.0.9") -> bytes:
    """A multicast router advertisement."""
    return ipv4(station, "224.0.0.106", summed(struct.pack("!BBHHH", 0x30, 20, 0, 125, 2), 2), source=source)


def data(station: bytes, group: str, port: int = 9999, payload: bytes = b"data", **more: object) -> bytes:
    """UDP to a group."""
    body = struct.pack("!HHHH", 4000, port, 8 + len(payload), 0) + payload
    if ip_address(group).version == 6:
        return ipv6(station, group, body, protocol=17, hop_by_hop=b"", summed_at=6, source="fe80::1")
    return ipv4(station, group, body, protocol=17, options=b"", **more)  # type: ignore[arg-type]
