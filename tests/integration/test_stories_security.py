"""Port security over real devices: a guest with its own address talks; one that spoofs reaches and moves nobody."""

from __future__ import annotations

import pytest
from helpers import frames
from helpers.hosts import bulk_tcp, host, seen_until, sweep_udp
from helpers.lan import Lan
from scapy.layers.inet import ICMP, IP
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether

pytestmark = pytest.mark.root

EVERYBODY = "ff:ff:ff:ff:ff:ff"
VIRTUAL = b"\x00\x00\x5e\x00\x01\x33"
FAR = frames.host(9)
END = frames.ethernet(frames.BROADCAST, FAR, payload=b"the end".ljust(46, b"."))


def secure(lan: Lan, name: str, *words: str) -> None:
    assert lan.bridge.cli("port", "set", name, *words).status == 0


def rejected(lan: Lan) -> dict[str, int]:
    """Frames by reason that ended at ingress of guest a."""
    return {reason: n for (port, way, reason), n in lan.bridge.drops().items() if (port, way) == ("a", "rx")}


@pytest.mark.smoke
def test_a_spoofing_guest_reaches_nobody_and_moves_nothing(lan: Lan) -> None:
    guest, victim, gateway = lan.guest("a", 5), lan.guest("b", 6), lan.external(10, 1)
    secure(lan, "a", "locked", "on", "allow", guest.mac, "source_guard", f"{guest.mac} {guest.ip}")
    assert guest.ping(gateway) == (3, 3)
    assert victim.ping(gateway) == (3, 3)
    assert rejected(lan) == {}
    places = lan.bridge.fdb()
    assert places[10, victim.mac] == ("b", "dynamic")

    attack, outside, bystander = lan.wire("a"), lan.wire("outside"), lan.wire("b")
    spoofs = {
        "another's address": Ether(src=guest.mac, dst=gateway.mac)
        / IP(src=victim.ip, dst=gateway.ip)
        / ICMP(),
        "the gateway in ARP": Ether(src=guest.mac, dst=EVERYBODY)
        / ARP(op="is-at", hwsrc=guest.mac, psrc=gateway.ip, pdst=victim.ip),
        "another station in ARP": Ether(src=guest.mac, dst=EVERYBODY)
        / ARP(op="is-at", hwsrc=victim.mac, psrc=guest.ip, pdst=gateway.ip),
        "the gateway in ND": Ether(src=guest.mac, dst="33:33:00:00:00:01")
        / IPv6(src="fe80::1", dst="ff02::1")
        / ICMPv6ND_NA(tgt="fe80::1")
        / ICMPv6NDOptDstLLAddr(lladdr=guest.mac),
    }
    for frame in spoofs.values():
        attack.send(bytes(frame))
    attack.send(bytes(Ether(src=victim.mac, dst=EVERYBODY) / b"another station".ljust(46, b".")))
    lan.bridge.wait(lambda: sum(rejected(lan).values()) == len(spoofs) + 1, "the drops")

    assert rejected(lan) == {"source_guard": len(spoofs), "locked": 1}
    outside.send(END[:12] + frames.tag(10) + END[12:])
    assert seen_until(bystander, END) == []
    assert [frame for frame in outside.waiting() if frame.data[6:12] != FAR] == []
    assert {key: lan.bridge.fdb()[key] for key in places} == places
    assert gateway.neighbours()[victim.ip] == victim.mac
    (row,) = lan.bridge.rows("port", "guard")
    assert (row["port"], row["source_guard_drops"], row["locked_drops"]) == ("a", len(spoofs), 1)
    assert guest.ping(gateway) == (3, 3)


def test_a_virtual_router_fails_over_between_two_locked_guests(lan: Lan) -> None:
    """Both may speak as it; the first frame of the new master moves it."""
    one, other, wire = lan.wire("a"), lan.wire("b"), lan.wire("outside")
    for name in ("a", "b"):
        secure(lan, name, "locked", "on", "allow", "00:00:5e:00:01:00/40")
    for step, (master, backup) in enumerate([(one, other), (other, one)] * 3):
        claim = frames.ethernet(frames.BROADCAST, VIRTUAL, payload=bytes([step]) * 46)
        master.send(claim)
        assert seen_until(backup, claim) == []
        wire.wait_for(lambda frame, claim=claim: frame.data == claim)
        sent = frames.ethernet(VIRTUAL, FAR, payload=bytes([step]) * 46)
        wire.send(sent[:12] + frames.tag(10) + sent[12:])
        assert seen_until(master, sent) == []
        assert backup.waiting() == []
    assert lan.bridge.fdb()[10, VIRTUAL.hex(":")] == ("b", "dynamic")
    assert lan.bridge.drops() == {}


def test_who_knocks_is_let_in_by_hand(lan: Lan) -> None:
    """Locked, told, let in, and shut out again: what others do with MAC authentication bypass."""
    lan.bridge.write(
        *[table if name != "a" else f"{table}locked = true\n" for name, table in lan.ports.items()]
    )
    assert lan.bridge.cli("reload").status == 0
    guest, gateway = lan.guest("a", 5), lan.external(10, 1)
    assert guest.ping(gateway, 1) == (1, 0)
    assert rejected(lan).keys() == {"locked"}

    lan.bridge.rows("fdb", "add", guest.mac, "vlan", "10", "dynamic")
    assert lan.bridge.fdb()[10, guest.mac] == ("a", "dynamic")
    assert guest.ping(gateway) == (3, 3)
    lan.bridge.rows("fdb", "flush", "port", "a")
    assert guest.ping(gateway, 1) == (1, 0)
    secure(lan, "a", "locked", "off")
    assert guest.ping(gateway) == (3, 3)


def test_traffic_of_a_guarded_guest_is_whole(lan: Lan) -> None:
    """Super-frames and fragments of a guest that keeps to its addresses, of both versions of IP."""
    secure(lan, "a", "source_guard", "10.99.10.5,fd99:10::5")
    guest, other = (
        host(lan.spaces[name], "tap0", 10, number, ipv6=True) for name, number in (("a", 5), ("b", 6))
    )
    for version in (4, 6):
        bulk_tcp(guest, other, version)
        bulk_tcp(other, guest, version)
        sweep_udp(guest, other, version, [0, 1, 1472, 1473, 3000, 9000])
    assert {reason: n for reason, n in rejected(lan).items() if reason != "source_guard"} == {}
