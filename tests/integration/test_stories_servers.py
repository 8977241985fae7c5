"""RA guard and DHCP guard against what stacks believe: a victim's own kernel says which forms of a message work.

Without the guard each form that is called real gives the victim an address, or reaches the socket of its client. With
it none does, and the forms that only some stack believes end as well.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers import frames
from helpers.daemon import Row
from helpers.hosts import Host, host
from helpers.lan import Lan
from helpers.net import PacketSocket
from scapy.config import conf
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.dhcp6 import DUID_LL, DHCP6_Advertise, DHCP6OptServerId
from scapy.layers.inet import IP, UDP, IPOption_NOP, fragment
from scapy.layers.inet6 import (
    ICMPv6ND_RA,
    ICMPv6NDOptPrefixInfo,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    PadN,
    fragment6,
)
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Packet, Raw

pytestmark = pytest.mark.root

ATTACKER = "02:00:00:00:00:05"
LINK = "fe80::5"
ALL_NODES = "33:33:00:00:00:01"
EVERYBODY = "ff:ff:ff:ff:ff:ff"
PADDING = PadN(optdata=b"\0" * 4)
END = frames.ethernet(frames.BROADCAST, frames.host(9), payload=b"the end".ljust(46, b"."))

Form = Callable[[Packet, Packet], list[Packet]]


def chain(*headers: Packet) -> Form:
    """IPv6 with extension headers between it and its message."""

    def build(ip: Packet, message: Packet) -> list[Packet]:
        for header in headers:
            ip /= header.copy()
        return [ip / message]

    return build


def in_fragments(ip: Packet, message: Packet) -> list[Packet]:
    """Options so long that the message is in the second fragment, and its first one shows no end of the chain."""
    options = IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 200)] * 3)
    return list(fragment6(ip / IPv6ExtHdrFragment() / options / message, 400))


REAL: dict[str, Form] = {
    "plain": chain(),
    "hop by hop": chain(IPv6ExtHdrHopByHop(options=[PADDING])),
    "destination options, three times": chain(*[IPv6ExtHdrDestOpt(options=[PADDING])] * 3),
}
OTHERS: dict[str, Form] = {
    "an atomic fragment": chain(IPv6ExtHdrFragment()),
    "options, then a fragment header": chain(IPv6ExtHdrDestOpt(options=[PADDING]), IPv6ExtHdrFragment()),
    "more options than anybody sends": chain(*[IPv6ExtHdrDestOpt(options=[PADDING])] * 12),
}


def advertisement(form: Form, number: int) -> list[bytes]:
    """A router advertisement that gives addresses in prefix `number`."""
    prefix = ICMPv6NDOptPrefixInfo(prefix=f"2001:db8:{number:x}::", prefixlen=64)
    message = ICMPv6ND_RA(routerlifetime=0) / prefix
    ip = IPv6(src=LINK, dst="ff02::1", hlim=255)
    return [bytes(Ether(src=ATTACKER, dst=ALL_NODES) / packet) for packet in form(ip, message)]


def prefixes(victim: Host) -> set[int]:
    """The prefixes of advertisements that a host believed."""

    def work(ipr: object) -> Iterator[str]:
        for message in ipr.get_addr(family=socket.AF_INET6):  # type: ignore[attr-defined]
            yield message.get("address")

    addresses = victim.space.netlink(lambda ipr: list(work(ipr)))
    return {int(address.split(":")[2], 16) for address in addresses if address.startswith("2001:db8:")}


class Site:
    """A guest that attacks, a victim with IPv6, the bridge between them."""

    def __init__(self, lan: Lan) -> None:
        conf.checkIPaddr = False
        self.lan = lan
        self.victim = host(lan.spaces["b"], "tap0", 10, 6, ipv6=True)
        for key, value in (("accept_ra", "2"), ("accept_dad", "0"), ("autoconf", "1")):
            lan.spaces["b"].run(Path(f"/proc/sys/net/ipv6/conf/tap0/{key}").write_text, value)
        self.attack: PacketSocket = lan.wire("a")
        self.hears: PacketSocket = lan.wire("b")

    def guard(self, key: str) -> None:
        assert self.lan.bridge.cli("port", "set", "a", key, "on").status == 0

    def send(self, sent: list[bytes]) -> int:
        for data in sent:
            self.attack.send(data)
        return len(sent)

    def drops(self, reason: str) -> int:
        return self.lan.bridge.drops().get(("a", "rx", reason), 0)

    def heard(self) -> list[bytes]:
        """What reached the victim's wire until a last frame."""
        self.attack.send(END)
        seen = []
        while (data := self.hears.wait().data) != END:
            seen.append(data)
        return [data for data in seen if data[6:12] == bytes.fromhex(ATTACKER.replace(":", ""))]


@pytest.fixture
def site(lan: Lan) -> Site:
    return Site(lan)


def test_a_guest_is_no_router(site: Site) -> None:
    for number, form in enumerate(REAL.values(), 1):
        site.send(advertisement(form, number))
    site.lan.bridge.wait(
        lambda: prefixes(site.victim) == {*range(1, len(REAL) + 1)}, "the victim to believe all"
    )
    before = prefixes(site.victim)

    site.guard("ra_guard")
    site.heard()
    forms = {**REAL, **OTHERS}
    sent = sum(site.send(advertisement(form, 0x100 + at)) for at, form in enumerate(forms.values()))
    first, *later = advertisement(in_fragments, 0x200)
    site.send([first, *later])
    assert site.heard() == later, "later fragments pass, and are nothing"
    assert site.drops("ra_guard") == sent + 1
    assert prefixes(site.victim) == before

    # What a host sends, and what nobody believes, passes.
    solicitation = bytes(
        Ether(src=ATTACKER, dst="33:33:00:00:00:02") / IPv6(src=LINK, dst="ff02::2") / Raw(b"\x85" + bytes(7))
    )
    far = bytes(Ether(src=ATTACKER, dst=ALL_NODES) / IPv6(src=LINK, dst="ff02::1", hlim=64) / ICMPv6ND_RA())
    site.send([solicitation, far])
    assert site.heard() == [frames.padded(solicitation), frames.padded(far)]
    assert site.drops("ra_guard") == sent + 1
    rows: list[Row] = site.lan.bridge.rows("port", "guard", "a")
    assert (rows[0]["ra_guard"], rows[0]["ra_guard_drops"], rows[0]["dhcp_guard_drops"]) == (
        True,
        sent + 1,
        0,
    )


def offers() -> dict[str, list[Packet]]:
    """A DHCP server's answer in the forms that a client's socket gets."""
    answer = BOOTP(op=2, xid=1, yiaddr="10.99.10.77") / DHCP(options=[("message-type", "offer"), "end"])
    ip, udp = IP(src="10.99.10.5", dst="255.255.255.255"), UDP(sport=67, dport=68)
    return {
        "plain": [ip / udp / answer],
        "IPv4 options": [IP(src=ip.src, dst=ip.dst, options=[IPOption_NOP()] * 8) / udp / answer],
        "fragments": fragment(ip / udp / answer / Raw(bytes(600)), 200),
        "from another port": [ip / UDP(sport=6767, dport=68) / answer],
    }


def receiver(victim: Host, family: int, port: int) -> socket.socket:
    sock: socket.socket = victim.space.run(socket.socket, family, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"tap0")
    sock.bind(("" if family == socket.AF_INET else "::", port))
    sock.settimeout(10)
    return sock


def test_a_guest_is_no_dhcp_server(site: Site) -> None:
    forms = offers()
    with receiver(site.victim, socket.AF_INET, 68) as client:
        for form in forms.values():
            site.send([bytes(Ether(src=ATTACKER, dst=EVERYBODY) / packet) for packet in form])
            assert client.recv(2000)[0] == 2, "an answer that a client gets"
        site.guard("dhcp_guard")
        site.heard()
        sent, later = 0, []
        for form in forms.values():
            first, *rest = [bytes(Ether(src=ATTACKER, dst=EVERYBODY) / packet) for packet in form]
            site.send([first, *rest])
            sent, later = sent + 1, later + rest
        site.send(
            [bytes(Ether(src=ATTACKER, dst=EVERYBODY) / Dot1Q(vlan=10) / forms["plain"][0])]
        )  # no access tag
        assert site.heard() == later
        assert site.drops("dhcp_guard") == sent
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.recv(2000)
    request = bytes(
        Ether(src=ATTACKER, dst=EVERYBODY)
        / IP(src="0.0.0.0", dst="255.255.255.255")
        / UDP(sport=68, dport=67)
        / BOOTP(op=1)
    )
    site.send([request])
    assert site.heard() == [request]


def test_a_guest_is_no_dhcpv6_server(site: Site) -> None:
    message = UDP(sport=547, dport=546) / DHCP6_Advertise() / DHCP6OptServerId(duid=DUID_LL(lladdr=ATTACKER))
    ip = IPv6(src=LINK, dst="ff02::1")
    forms = [
        [bytes(Ether(src=ATTACKER, dst=ALL_NODES) / packet) for packet in form(ip, message)]
        for form in REAL.values()
    ]
    forms += [
        [bytes(Ether(src=ATTACKER, dst=ALL_NODES) / packet) for packet in form(ip, message)]
        for form in (OTHERS["an atomic fragment"],)
    ]
    with receiver(site.victim, socket.AF_INET6, 546) as client:
        for form in forms:
            site.send(form)
            assert client.recv(2000)[0] == 2, "an advertisement that a client gets"
        site.guard("dhcp_guard")
        site.heard()
        sent = sum(site.send(form) for form in forms)
        first, *later = [
            bytes(Ether(src=ATTACKER, dst=ALL_NODES) / packet) for packet in in_fragments(ip, message)
        ]
        site.send([first, *later])
        assert site.heard() == later
        assert site.drops("dhcp_guard") == sent + 1
