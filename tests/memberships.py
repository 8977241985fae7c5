"""What frames say about groups, in slow, obvious Python: the oracle's half of csrc/multicast/membership.h.

Independence: imports nothing of the product. Every header is cut off the front of what is left; whatever is wrong with
a message that is one raises Wrong.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

NONE = ("none",)
INVALID = ("invalid",)
EXTENSIONS = {0, 43, 44, 51, 60}
CHAIN_MAX = 8


class Wrong(Exception):  # noqa: N818 a verdict, not an error
    """A message that is none to be believed."""


class Other(Exception):  # noqa: N818 a verdict, not an error
    """About something else."""


def read(frame: bytes) -> tuple[object, ...]:
    """Kind; unless there is none: family, version, is_general, time, group, source, records."""
    try:
        ethertype = int.from_bytes(frame[12:14], "big")
        if ethertype == 0x0800:
            return read_ipv4(frame[14:])
        if ethertype == 0x86DD:
            return read_ipv6(frame[14:])
    except Wrong:
        return INVALID
    except Other:
        pass
    return NONE


def ones_sum(data: bytes) -> int:
    total = 0
    for i in range(0, len(data), 2):
        total += int.from_bytes(data[i : i + 2].ljust(2, b"\0"), "big")
    return total % 0xFFFF  # 0: the sum is right, as no message is all zero


def read_ipv4(packet: bytes) -> tuple[object, ...]:
    if len(packet) < 20:
        raise Other
    header_len, total_len = (packet[0] & 15) * 4, int.from_bytes(packet[2:4], "big")
    is_sound = (
        packet[0] >> 4 == 4 and 20 <= header_len <= len(packet) and (not total_len or total_len >= header_len)
    )
    if not is_sound:
        raise Wrong if packet[9] == 2 else Other
    flags = int.from_bytes(packet[6:8], "big")
    said = total_len or len(packet)
    try:
        body, protocol = skip(packet[header_len:said], packet[9], {51}, bool(flags & 0x1FFF))
    except Wrong:
        raise Wrong if packet[9] == 2 else Other from None
    is_whole = total_len and total_len <= len(packet) and not flags & 0x3FFF
    is_later = bool(flags & 0x1FFF)
    first = None if is_later or not body else body[0]
    to, source = IPv4Address(packet[16:20]), packet[12:16]
    if protocol == 103 and first == 0x20 and to == IPv4Address("224.0.0.13"):
        demand(is_whole and ones_sum(body) == 0)
        return ("router", 4, 2, False, hold_time(body), bytes(4), source, ())
    if protocol != 2:
        raise Other
    demand(is_whole and ones_sum(body) == 0)
    if first == 0x30 and to == IPv4Address("224.0.0.106"):
        demand(len(body) >= 8)
        return ("router", 4, 0, False, 255, bytes(4), source, ())
    return igmp(body, source)


def igmp(body: bytes, source: bytes) -> tuple[object, ...]:
    demand(len(body) >= 8)
    kind, code, group = body[0], body[1], body[4:8]
    if kind == 0x11:
        demand(len(body) == 8 or len(body) >= 12)
        demand(group == bytes(4) or IPv4Address(group).is_multicast)
        version = 3 if len(body) > 8 else 2 if code else 1
        time = {1: 100, 2: code, 3: floating(code, 4)}[version]
        return ("query", 4, version, group == bytes(4), time, group, source, ())
    if kind in (0x12, 0x16):
        return ("join", 4, 1 if kind == 0x12 else 2, False, 0, group, source, ())
    if kind == 0x17:
        return ("leave", 4, 2, False, 0, group, source, ())
    if kind == 0x22:
        found = records(body[8:], int.from_bytes(body[6:8], "big"), 4)
        return ("records", 4, 3, False, 0, group, source, found)
    raise Other


def read_ipv6(packet: bytes) -> tuple[object, ...]:
    if len(packet) < 40 or packet[0] >> 4 != 6:
        raise Other
    payload_len = int.from_bytes(packet[4:6], "big")
    said = 40 + payload_len if payload_len else len(packet)
    fragments: list[bool] = []
    try:
        body, protocol = skip(packet[40:said], packet[6], EXTENSIONS, False, fragments)
    except Wrong:
        raise Other from None
    is_later = any(fragments)
    first = None if is_later or not body else body[0]
    to, source = IPv6Address(packet[24:40]), packet[8:24]
    is_whole = said <= len(packet) and payload_len and not fragments
    pseudo = packet[8:40] + len(body).to_bytes(4, "big") + bytes([0, 0, 0, protocol])
    is_right = is_whole and ones_sum(pseudo + body) == 0
    if protocol == 103 and first == 0x20 and to == IPv6Address("ff02::d"):
        demand(is_right)
        return ("router", 6, 2, False, hold_time(body), bytes(16), source, ())
    if protocol != 58:
        raise Other
    if first == 151 and to == IPv6Address("ff02::6a"):
        demand(is_right and len(body) >= 8)
        return ("router", 6, 0, False, 255, bytes(16), source, ())
    if first not in (130, 131, 132, 143):
        raise Other
    demand(is_right and packet[6] == 0)
    demand(IPv6Address(source).is_link_local or not any(source))
    return mld(body, source)


def mld(body: bytes, source: bytes) -> tuple[object, ...]:
    if body[0] == 143:
        demand(len(body) >= 8)
        found = records(body[8:], int.from_bytes(body[6:8], "big"), 16)
        return ("records", 6, 2, False, 0, bytes(16), source, found)
    demand(len(body) >= 24)
    group = body[8:24]
    if body[0] != 130:
        return ("join" if body[0] == 131 else "leave", 6, 1, False, 0, group, source, ())
    demand(len(body) == 24 or len(body) >= 28)
    demand(group == bytes(16) or IPv6Address(group).is_multicast)
    code = int.from_bytes(body[4:6], "big")
    version = 2 if len(body) > 24 else 1
    milliseconds = floating(code, 12) if version == 2 else code
    time = min(-(-milliseconds // 100), 0xFFFF)
    return ("query", 6, version, group == bytes(16), time, group, source, ())


def skip(
    body: bytes, protocol: int, extensions: set[int], is_later: bool, fragments: list[bool] | None = None
) -> tuple[bytes, int]:
    """What is behind extension headers."""
    for _ in range(CHAIN_MAX + 1):
        if is_later or protocol not in extensions:
            return body, protocol
        if len(body) < 8:
            raise Wrong
        length = 8 + 4 * body[1] if protocol == 51 else 8 if protocol == 44 else 8 + 8 * body[1]
        if protocol == 44 and fragments is not None:
            is_later = bool(int.from_bytes(body[2:4], "big") & 0xFFF8)
            fragments.append(is_later)
        if len(body) < length:
            raise Wrong
        body, protocol = body[length:], body[0]
    if is_later:
        return body, protocol
    raise Wrong


def records(body: bytes, count: int, width: int) -> tuple[tuple[str, bytes], ...]:
    found = []
    for _ in range(count):
        if len(body) < 4 + width:
            break
        n_sources = int.from_bytes(body[2:4], "big")
        length = 4 + width + width * n_sources + 4 * body[1]
        if len(body) < length:
            break
        found.append((verb(body[0], n_sources), body[4 : 4 + width]))
        body = body[length:]
    return tuple(found)


def verb(kind: int, n_sources: int) -> str:
    if kind in (2, 4):
        return "join"
    if kind in (1, 3):
        return "join" if n_sources else "leave"
    return "join" if kind == 5 and n_sources else "nothing"


def floating(code: int, bits: int) -> int:
    if code < 2 ** (bits + 3):
        return code
    exponent, mantissa = code >> bits & 7, code % 2**bits
    return (mantissa + 2**bits) * 2 ** (exponent + 3)


def hold_time(body: bytes) -> int:
    time, options = 105, body[4:]
    while len(options) >= 4:
        kind, length = int.from_bytes(options[:2], "big"), int.from_bytes(options[2:4], "big")
        demand(len(options) >= 4 + length)
        if kind == 1 and length == 2:
            time = int.from_bytes(options[4:6], "big")
        options = options[4 + length :]
    return time


def demand(is_right: object) -> None:
    if not is_right:
        raise Wrong
