"""`framebridge trace`: words become frames that others read the same way, and what is wrong is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import frames
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.utils import wrpcap

from bridge.cli import trace
from bridge.cli.grammar import UsageError
from bridge.render.table import to_text

ONE, ALL = "02:00:00:00:00:01", "ff:ff:ff:ff:ff:ff"


def read(text: str) -> Ether:
    name, data = trace.read(text.split())
    assert name == "guests"
    return Ether(data)


@pytest.mark.parametrize("before", ["guests", "port guests"])
@pytest.mark.parametrize("arrow", ["to", ">", "->", ""])
def test_a_frame_is_from_a_station_to_another(before: str, arrow: str) -> None:
    frame = read(f"{before} {ONE} {arrow} {ALL}")
    assert (frame.src, frame.dst, frame.type, len(frame)) == (ONE, ALL, 0x88B5, 60)


def test_a_tag_and_a_length() -> None:
    frame = read(f"guests {ONE} to {ALL} vlan 10 pcp 5 length 1500 ethertype 0x88cc")
    assert (frame[Dot1Q].vlan, frame[Dot1Q].prio, frame[Dot1Q].type, len(frame)) == (10, 5, 0x88CC, 1500)


def test_arp_asks_for_the_target() -> None:
    frame = read(f"guests {ONE} to {ALL} arp sender 10.0.0.1 target 10.0.0.2")
    assert (frame[ARP].op, frame[ARP].psrc, frame[ARP].pdst) == (1, "10.0.0.1", "10.0.0.2")
    assert frame[ARP].hwsrc == ONE


def test_ip_has_a_header_that_is_right() -> None:
    frame = read(f"guests {ONE} to {ALL} sender 10.0.0.1 target 239.0.0.1 udp 5405")
    again = frame[IP].copy()
    del again.chksum
    assert frame[IP].chksum == IP(bytes(again)).chksum
    assert (frame[IP].src, frame[IP].dst, frame[UDP].dport, frame[UDP].len) == (
        "10.0.0.1",
        "239.0.0.1",
        5405,
        8,
    )


def test_another_protocol_and_another_version() -> None:
    frame = read(f"guests {ONE} to {ALL} ip protocol 112")
    assert (frame[IP].proto, frame[IP].len) == (112, 20)
    six = read(f"guests {ONE} to {ALL} target ff02::12")
    assert (six[IPv6].dst, six[IPv6].nh, six[IPv6].plen) == ("ff02::12", 17, 8)


def test_bytes_and_captures(tmp_path: Path) -> None:
    data = frames.ethernet(frames.BROADCAST, frames.host(1))
    assert trace.read(["t", "hex", data.hex(":")]) == ("t", data)
    file = tmp_path / "some.pcap"
    wrpcap(str(file), [Ether(data), Ether(data[:-1] + b"\x77")])
    assert trace.read(["t", "file", str(file)]) == ("t", data)
    assert trace.read(["t", "file", str(file), "number", "2"])[1][-1] == 0x77


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("", "PORT is missing"),
        ("guests", "the frame is missing"),
        (f"guests {ONE}", "DESTINATION is missing"),
        (f"guests {ONE} to", "DESTINATION is missing"),
        (f"guests {ONE} to nobody", "not a MAC address"),
        (f"guests {ONE} to {ALL} vlan 4096", "4095 at most"),
        (f"guests {ONE} to {ALL} length 65536", "65535 at most"),
        (f"guests {ONE} to {ALL} arp sender ::1", "ARP is of IPv4"),
        (f"guests {ONE} to {ALL} sender 10.0.0.1 target ::1", "two versions"),
        (f"guests {ONE} to {ALL} sender ten", "needs an IP address"),
        (f"guests {ONE} to {ALL} ethertype many", "needs a number"),
        (f"guests {ONE} to {ALL} colour red", "unknown word"),
        ("guests hex", "needs a value"),
        ("guests hex 0g", "hexadecimal"),
        ("guests hex 00 11", "too many"),
        ("guests file /no/such.pcap", "cannot be read as a capture"),
    ],
)
def test_words_that_make_no_frame(words: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        trace.read(words.split())


def test_a_capture_that_is_shorter(tmp_path: Path) -> None:
    file = tmp_path / "one.pcap"
    wrpcap(str(file), [Ether(frames.ethernet(frames.BROADCAST, frames.host(1)))])
    with pytest.raises(UsageError, match="has no frame 2"):
        trace.read(["t", "file", str(file), "number", "2"])


def test_lines_name_what_decides() -> None:
    rows = [
        {"stage": "admit", "port": "a", "text": "in VLAN 10", "decided_by": "port[a].vlan", "line": 7},
        {"stage": "lookup", "port": None, "text": "to all", "decided_by": None, "line": None},
        {"stage": "tx", "port": "bb", "text": "no", "decided_by": "port[bb].flood", "line": None},
    ]
    assert to_text(rows, "trace").splitlines() == [
        "admit   a   in VLAN 10 (port[a].vlan, line 7)",
        "lookup  -   to all",
        "tx      bb  no (port[bb].flood)",
    ]
