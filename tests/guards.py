"""Source guard in slow, obvious Python: the oracle's half of csrc/protect/guard.h, written from the RFCs.

Independence: imports nothing of the product and shares no way of doing it: every header is cut off the front of what is
left, and a header that is not all there ends it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_network

Rule = tuple[int, bytes, int]  # MAC or 0, address, prefix length
Address = IPv4Address | IPv6Address

TAGS = {0x8100, 0x88A8, 0x9100, 0x9200, 0x9300}
SUBJECTS = {0x0800, 0x0806, 0x8035, 0x86DD} | TAGS
EXTENSIONS = {0, 43, 44, 51, 60}  # RFC 8200, RFC 4302
CHAIN_MAX = 8  # extension headers
JOINING = {131, 132, 143, 133, 135}  # MLD reports and done, RS, NS: what :: may say


class Refusal(Exception):  # noqa: N818 a verdict, not an error
    def __init__(self, finding: str, address: Address | None) -> None:
        self.finding, self.address = finding, address


def is_allowed(mac: int, ranges: Iterable[tuple[int, int]]) -> bool:
    return any(first <= mac <= last for first, last in ranges)


def judge(frame: bytes, rules: Sequence[Rule]) -> tuple[str, bytes]:
    """The finding on an untagged frame, and the address it spoke from as far as it could be read."""
    try:
        check(frame, rules)
    except Refusal as refusal:
        return refusal.finding, refusal.address.packed if refusal.address else b""
    return "passed", b""


def check(frame: bytes, rules: Sequence[Rule]) -> None:
    source, ethertype, payload = frame[6:12], int.from_bytes(frame[12:14], "big"), frame[14:]
    if ethertype in TAGS:
        raise Refusal("encapsulated", None)
    if ethertype in (0x0806, 0x8035):
        check_arp(payload, source, rules)
    elif ethertype == 0x0800:
        check_ipv4(payload, source, rules)
    elif ethertype == 0x86DD:
        check_ipv6(payload, source, rules)
    elif ethertype < 0x600 and hides_ip(payload):
        raise Refusal("encapsulated", None)


def hides_ip(llc: bytes) -> bool:
    """RFC 1042, IEEE 802.1H: a SNAP header in front of what would be judged."""
    is_snap = llc[:6] in (b"\xaa\xaa\x03\0\0\0", b"\xaa\xaa\x03\0\0\xf8")
    return is_snap and len(llc) >= 8 and int.from_bytes(llc[6:8], "big") in SUBJECTS


def is_listed(address: Address, source: bytes, rules: Sequence[Rule]) -> bool:
    mine = [rule for rule in rules if rule[0] in (0, int.from_bytes(source, "big"))]
    networks = [ip_network((network, length), strict=False) for _, network, length in mine]
    return any(address in network for network in networks if network.version == address.version)


def check_arp(packet: bytes, source: bytes, rules: Sequence[Rule]) -> None:
    if len(packet) < 28 or packet[:6] != b"\0\1\x08\0\6\4":
        raise Refusal("malformed", None)
    operation, station, address = packet[6:8], packet[8:14], IPv4Address(packet[14:18])
    if station != source:
        raise Refusal("station", address)
    is_probe = operation in (b"\0\1", b"\0\3") and address == IPv4Address("0.0.0.0")
    if not is_probe and not is_listed(address, source, rules):
        raise Refusal("address", address)


def check_ipv4(packet: bytes, source: bytes, rules: Sequence[Rule]) -> None:
    if len(packet) < 20 or packet[0] >> 4 != 4:
        raise Refusal("malformed", None)
    header_len = packet[0] % 16 * 4
    if header_len < 20 or len(packet) < header_len:
        raise Refusal("malformed", None)
    address = IPv4Address(packet[12:16])
    if is_listed(address, source, rules):
        return
    total_len, fragment = int.from_bytes(packet[2:4], "big"), int.from_bytes(packet[6:8], "big")
    is_whole = not fragment & 0x2000 and not fragment & 0x1FFF
    is_dhcp = packet[9] == 17 and packet[header_len : header_len + 4] == b"\0\x44\0\x43"
    has_udp = min(total_len, len(packet)) >= header_len + 8
    if not (address == IPv4Address("0.0.0.0") and is_whole and is_dhcp and has_udp):
        raise Refusal("address", address)


def take(data: bytes, length: int, address: Address) -> tuple[bytes, bytes]:
    if len(data) < length:
        raise Refusal("malformed", address)
    return data[:length], data[length:]


def walk(protocol: int, rest: bytes, address: Address) -> tuple[int | None, bytes, bool]:
    """The protocol behind the extension headers (None: in a later fragment), its bytes, and whether in a fragment."""
    in_fragment = False
    for _ in range(CHAIN_MAX + 1):
        if protocol not in EXTENSIONS:
            return protocol, rest, in_fragment
        following, units, *offset = take(rest, 8, address)[0]
        length = 8 if protocol == 44 else 8 + units * (4 if protocol == 51 else 8)
        _, rest = take(rest, length, address)
        if protocol == 44:
            in_fragment = True
            if offset[0] * 256 + offset[1] >= 8:
                return None, rest, True
        protocol = following
    raise Refusal("malformed", address)


def check_ipv6(packet: bytes, source: bytes, rules: Sequence[Rule]) -> None:
    if len(packet) < 40 or packet[0] >> 4 != 6:
        raise Refusal("malformed", None)
    address = IPv6Address(packet[8:24])
    payload_len = int.from_bytes(packet[4:6], "big")
    payload = packet[40 : 40 + payload_len] if payload_len else packet[40:]
    protocol, body, in_fragment = walk(packet[6], payload, address)
    has_source = address != IPv6Address("::")
    if has_source and not may_speak(address, source, rules):
        raise Refusal("address", address)
    if protocol == 58 and not body:
        raise Refusal("malformed", address)
    message = body[0] if protocol == 58 else None
    if not has_source and (in_fragment or message not in JOINING):
        raise Refusal("address", address)
    if message in (135, 136):
        check_neighbour(body, address, source, rules, in_fragment=in_fragment)


def may_speak(address: IPv6Address, source: bytes, rules: Sequence[Rule]) -> bool:
    derived = b"\xfe\x80" + bytes(6) + bytes([source[0] ^ 2]) + source[1:3] + b"\xff\xfe" + source[3:]
    return address.packed == derived or is_listed(address, source, rules)


def check_neighbour(
    body: bytes, address: IPv6Address, source: bytes, rules: Sequence[Rule], *, in_fragment: bool
) -> None:
    """NS and NA."""
    if in_fragment:
        raise Refusal("malformed", address)
    message, options = take(body, 24, address)
    if message[0] == 136 or address == IPv6Address("::"):
        address = IPv6Address(message[8:24])
        if not may_speak(address, source, rules):
            raise Refusal("address", address)
    link = 1 if message[0] == 135 else 2
    while options:
        units = options[1] if len(options) >= 8 else 0
        if not units:
            raise Refusal("malformed", address)
        option, options = take(options, 8 * units, address)
        if option[0] == link and option[2:] != source:
            raise Refusal("station", address)


# -- who is no router and no DHCP server -------------------------------------------------------------


def judge_server(frame: bytes, *, ra_guard: bool, dhcp_guard: bool) -> str:
    """The reason why a frame of a port that is neither ends, or nothing."""
    unwrapped = unwrap(int.from_bytes(frame[12:14], "big"), frame[14:])
    if unwrapped is None:
        return "ra_guard" if ra_guard else "dhcp_guard" if dhcp_guard else ""
    ethertype, packet = unwrapped
    if ra_guard and ethertype == 0x86DD and may_advertise(packet):
        return "ra_guard"
    if dhcp_guard and (may_serve_ipv4(packet) if ethertype == 0x0800 else False):
        return "dhcp_guard"
    return "dhcp_guard" if dhcp_guard and ethertype == 0x86DD and may_serve_ipv6(packet) else ""


def unwrap(ethertype: int, rest: bytes) -> tuple[int, bytes] | None:
    """Cut tags and SNAP headers off the front; None: more than four."""
    for _ in range(5):
        if ethertype in TAGS and len(rest) >= 4:
            ethertype, rest = int.from_bytes(rest[2:4], "big"), rest[4:]
        elif (
            ethertype < 0x600
            and len(rest) >= 8
            and rest[:6] in (b"\xaa\xaa\x03\0\0\0", b"\xaa\xaa\x03\0\0\xf8")
        ):
            ethertype, rest = int.from_bytes(rest[6:8], "big"), rest[8:]
        else:
            return ethertype, rest
    return None


def upper_ipv6(packet: bytes) -> tuple[int | None, bytes, bool] | None:
    """Protocol (None: a later fragment), bytes and whether in a fragment, of an IPv6 packet; None: it does not show."""
    payload_len = int.from_bytes(packet[4:6], "big")
    payload = packet[40 : 40 + payload_len] if payload_len else packet[40:]
    try:
        return walk(packet[6], payload, IPv6Address("::"))
    except Refusal:
        return None


def may_advertise(packet: bytes) -> bool:
    """RFC 7113 section 3."""
    if len(packet) < 40 or packet[0] >> 4 != 6:
        return False
    if IPv6Address(packet[8:24]) not in ip_network("fe80::/10") or packet[7] != 255:
        return False
    upper = upper_ipv6(packet)
    if upper is None:
        return True
    protocol, body, _ = upper
    return protocol == 58 and body[:1] in (b"", b"\x86")


def may_serve_ipv6(packet: bytes) -> bool:
    """RFC 7610 section 5, and RFC 8415 about relays."""
    if len(packet) < 40 or packet[0] >> 4 != 6:
        return False
    upper = upper_ipv6(packet)
    if upper is None:
        return True
    protocol, body, in_fragment = upper
    return protocol == 17 and is_servers(
        body, client=546, server=547, reply=13, hidden=in_fragment and len(body) == 8
    )


def may_serve_ipv4(packet: bytes) -> bool:
    """RFC 2131."""
    header_len = packet[0] % 16 * 4 if packet else 0
    if len(packet) < 20 or packet[0] >> 4 != 4 or header_len < 20 or len(packet) < header_len:
        return False
    total_len = int.from_bytes(packet[2:4], "big")
    fragment = int.from_bytes(packet[6:8], "big")
    if fragment & 0x1FFF or 0 < total_len < header_len:
        return False
    protocol, body = packet[9], packet[header_len:total_len] if total_len else packet[header_len:]
    for _ in range(9):
        if protocol != 51:
            break
        if len(body) < 8 or len(body) < 8 + 4 * body[1]:
            return True
        protocol, body = body[0], body[8 + 4 * body[1] :]
    else:
        return True
    in_fragment = bool(fragment & 0x2000)
    return protocol == 17 and is_servers(body, client=68, server=67, reply=2, hidden=in_fragment)


def is_servers(udp: bytes, *, client: int, server: int, reply: int, hidden: bool) -> bool:
    if len(udp) < 8:
        return True
    source, to = (int.from_bytes(udp[at : at + 2], "big") for at in (0, 2))
    if to == client:
        return True
    if to != server:
        return False
    return source != client if hidden else udp[8:9] == bytes([reply])
