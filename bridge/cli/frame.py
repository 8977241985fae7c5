"""Frames written in words: `02:00:00:00:00:01 to ff:ff:ff:ff:ff:ff vlan 10 arp`. Pure, but for reading a capture.

A frame is as long as what it carries, 60 bytes at least (64 with the FCS), or `length` bytes. Payloads that are asked
for have the headers that a bridge looks at, with right lengths and checksums of IPv4, and nothing behind them.
Refuses, as UsageError: words that make no frame.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any

from bridge.cli.grammar import NUMBER, TEXT, UsageError
from bridge.mac import parse_mac

LEAST, MOST = 60, 65535  # bytes
ETH_ARP, ETH_IPV4, ETH_IPV6, ETH_TAG = 0x0806, 0x0800, 0x86DD, 0x8100
EXPERIMENT = 0x88B5  # IEEE 802, local experimental: of a frame that is nothing else
UDP = 17
TTL = 64
Address = IPv4Address | IPv6Address

KEYS = {
    "vlan": NUMBER,
    "pcp": NUMBER,
    "length": NUMBER,
    "sender": TEXT,
    "target": TEXT,
    "udp": NUMBER,
    "protocol": NUMBER,
    "ethertype": TEXT,
}
FLAGS = {"arp": "payload", "ip": "payload"}


def build(source: str, destination: str, words: Mapping[str, Any]) -> bytes:
    """Make the frame that the words of KEYS and FLAGS describe."""
    head = _mac(destination) + _mac(source)
    if (vlan := words.get("vlan")) is not None or "pcp" in words:
        head += struct.pack(
            ">HH", ETH_TAG, _number("pcp", words.get("pcp", 0), 7) << 13 | _number("vlan", vlan or 0, 4095)
        )
    ethertype, payload = _payload(head[6:12], words)
    data = head + struct.pack(">H", ethertype) + payload
    length = _number("length", words.get("length", LEAST), MOST)
    return data.ljust(max(length, LEAST), b"\0")


def from_hex(text: str) -> bytes:
    """Read the bytes of a frame, with or without blanks and colons in between."""
    try:
        return bytes.fromhex(text.replace(":", ""))
    except ValueError:
        raise UsageError(f"'hex' needs the bytes of a frame in hexadecimal, not {text[:40]!r}") from None


def from_capture(path: str, number: int) -> bytes:
    """Read a frame of a capture file, counted from 1."""
    try:
        from scapy.utils import RawPcapReader
    except ImportError:
        raise UsageError("reading a capture needs scapy: pip install scapy") from None
    try:
        with RawPcapReader(str(Path(path))) as packets:
            for at, (data, _) in enumerate(packets, 1):
                if at == number:
                    return bytes(data)
    except Exception as error:  # scapy's, of many kinds
        raise UsageError(f"{path} cannot be read as a capture: {error}") from None
    raise UsageError(f"{path} has no frame {number}")


def _payload(station: bytes, words: Mapping[str, Any]) -> tuple[int, bytes]:
    sender, target = (_address(key, words[key]) if key in words else None for key in ("sender", "target"))
    if words.get("payload") == "arp":
        return ETH_ARP, _arp(station, sender, target)
    if "payload" in words or "udp" in words or "protocol" in words or sender or target:
        return _ip(sender, target, words)
    try:
        return int(words.get("ethertype", hex(EXPERIMENT)), 0) & 0xFFFF, b""
    except ValueError:
        raise UsageError(f"'ethertype' needs a number like 0x88cc, not {words['ethertype']!r}") from None


def _arp(station: bytes, sender: Address | None, target: Address | None) -> bytes:
    """Make a request: who has `target`? Without addresses it asks for nobody."""
    for address in (sender, target):
        if isinstance(address, IPv6Address):
            raise UsageError(f"{address} is an IPv6 address, and ARP is of IPv4")
    head = struct.pack(">HHBBH", 1, ETH_IPV4, 6, 4, 1)
    nobody = IPv4Address(0)
    return head + station + (sender or nobody).packed + bytes(6) + (target or nobody).packed


def _ip(sender: Address | None, target: Address | None, words: Mapping[str, Any]) -> tuple[int, bytes]:
    if sender and target and sender.version != target.version:
        raise UsageError(f"{sender} and {target} are of two versions of IP")
    is_6 = (sender or target or IPv4Address(0)).version == 6
    kind = IPv6Address if is_6 else IPv4Address
    protocol = _number("protocol", words.get("protocol", UDP), 255)
    body = (
        struct.pack(">HHHH", 1024, _number("udp", words.get("udp", 9), 65535), 8, 0)
        if protocol == UDP
        else b""
    )
    ends = (sender or kind(0)).packed + (target or kind(0)).packed
    if is_6:
        return ETH_IPV6, struct.pack(">IHBB", 6 << 28, len(body), protocol, TTL) + ends + body
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, TTL, protocol, 0) + ends
    folded = sum(struct.unpack(">10H", head))
    while folded >> 16:
        folded = (folded & 0xFFFF) + (folded >> 16)
    return ETH_IPV4, head[:10] + struct.pack(">H", ~folded & 0xFFFF) + head[12:] + body


def _mac(text: str) -> bytes:
    try:
        return parse_mac(text).to_bytes(6, "big")
    except ValueError as error:
        raise UsageError(str(error)) from None


def _number(key: str, value: int, most: int) -> int:
    if value > most:
        raise UsageError(f"{key!r} is {most} at most, not {value}")
    return value


def _address(key: str, text: str) -> Address:
    try:
        return ip_address(text)
    except ValueError:
        raise UsageError(f"{key!r} needs an IP address, not {text!r}") from None
