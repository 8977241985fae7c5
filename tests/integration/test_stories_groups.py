"""What clusters live on crosses: broadcast and multicast reach every member of the VLAN, and nobody else."""

from __future__ import annotations

import contextlib
import socket
import struct
from pathlib import Path

import pytest
from helpers import frames
from helpers.hosts import PORT, Host, Seen, seen_until
from helpers.lan import Lan
from scapy.layers.inet import IP
from scapy.layers.l2 import ARP, Ether
from scapy.layers.vrrp import VRRP

pytestmark = pytest.mark.root

VIRTUAL = "00:00:5e:00:01:33"  # VRRP group 51
CLUSTER = "239.192.51.1"  # as corosync chooses its mcastaddr


@pytest.mark.smoke
def test_a_vrrp_advert_reaches_every_router_of_its_vlan(lan: Lan) -> None:
    """RFC 5798 5.2.3: to 224.0.0.18, protocol 112, from the virtual MAC; byte for byte."""
    master, backup, stranger, wire = (lan.wire(name) for name in ("a", "b", "c", "outside"))
    header = IP(src="10.99.10.1", dst="224.0.0.18", proto=112, ttl=255)
    body = VRRP(vrid=51, priority=200, addrlist=["10.99.10.100"])
    advert = bytes(Ether(dst="01:00:5e:00:00:12", src=VIRTUAL) / header / body).ljust(60, b"\0")

    master.send(advert)

    assert backup.wait() == (advert, None, None)
    assert wire.wait() == (advert, (frames.TPID_Q, 10), None)
    assert lan.bridge.fdb() == {(10, VIRTUAL): ("a", "dynamic")}
    last = frames.ethernet(frames.BROADCAST, frames.host(1))
    wire.send(last[:12] + frames.tag(20) + last[12:])
    assert seen_until(stranger, last) == []


def test_an_advert_from_outside_reaches_every_guest_of_its_vlan_once(lan: Lan) -> None:
    one, two, wire = lan.wire("a"), lan.wire("b"), lan.wire("outside")
    header = IP(src="10.99.10.9", dst="224.0.0.18", proto=112, ttl=255)
    advert = bytes(Ether(dst="01:00:5e:00:00:12", src=VIRTUAL) / header / VRRP(vrid=51)).ljust(60, b"\0")
    last = frames.ethernet(frames.BROADCAST, frames.host(1))

    for frame in (advert, last):
        wire.send(frame[:12] + frames.tag(10, 6) + frame[12:])

    assert [seen_until(guest, last) for guest in (one, two)] == [[Seen(advert, None)]] * 2


def test_every_node_of_a_cluster_hears_every_other(lan: Lan) -> None:
    """Totem as corosync speaks it: UDP multicast that real stacks join, from and to every node."""
    nodes = [lan.guest("a", 1), lan.guest("b", 2), lan.external(10)]
    with contextlib.ExitStack() as stack:
        members = [stack.enter_context(member(node)) for node in nodes]
        heard = []
        for node, sender in zip(nodes, members, strict=True):
            sender.sendto(f"token of {node.ip}".encode(), (CLUSTER, PORT))
            heard += [sock.recvfrom(100) for sock in members if sock is not sender]

    assert heard == [(f"token of {node.ip}".encode(), (node.ip, PORT)) for node in nodes for _ in range(2)]


def member(node: Host) -> socket.socket:
    """A socket that has joined the group and does not hear itself."""
    sock = node.socket(4, socket.SOCK_DGRAM)
    index = node.space.run(socket.if_nametoindex, node.device)
    membership = struct.pack("=4s4si", socket.inet_aton(CLUSTER), socket.inet_aton(node.ip), index)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, membership)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
    sock.bind(("", PORT))
    return sock


def test_a_question_is_asked_of_all_and_answered_to_one(lan: Lan) -> None:
    """ARP: a broadcast everybody in the VLAN sees, and a reply that nobody but the asker does."""
    asked, bystander, wire = lan.guest("a", 1), lan.wire("b"), lan.wire("outside")
    asker = "02:00:00:00:00:05"
    who_has = ARP(op="who-has", hwsrc=asker, psrc="10.99.10.5", pdst=asked.ip)
    question = bytes(Ether(dst="ff:ff:ff:ff:ff:ff", src=asker) / who_has).ljust(60, b"\0")

    wire.send(question[:12] + frames.tag(10) + question[12:])

    data, tag, _ = wire.wait()
    reply = Ether(data)
    assert (reply.dst, reply.src, reply[ARP].psrc, reply[ARP].hwsrc, tag) == (
        *(asker, asked.mac, asked.ip, asked.mac),
        (frames.TPID_Q, 10),
    )
    last = frames.ethernet(frames.BROADCAST, frames.host(6))
    wire.send(last[:12] + frames.tag(10) + last[12:])
    assert seen_until(bystander, last) == [Seen(question, None)]


def test_a_gratuitous_arp_of_a_guest_renews_the_neighbours(lan: Lan) -> None:
    guest, external = lan.guest("a", 1), lan.external(10)
    locktime = Path(f"/proc/sys/net/ipv4/neigh/{external.device}/locktime")  # arp(7): it believes at once
    external.space.run(locktime.write_text, "0")
    assert external.ping(guest) == (3, 3)
    assert external.neighbours()[guest.ip] == guest.mac
    moved = "02:00:00:00:00:77"

    announcement = ARP(op="is-at", hwsrc=moved, psrc=guest.ip, hwdst="ff:ff:ff:ff:ff:ff", pdst=guest.ip)
    lan.wire("b").send(bytes(Ether(dst="ff:ff:ff:ff:ff:ff", src=moved) / announcement))

    lan.bridge.wait(lambda: external.neighbours()[guest.ip] == moved, "the neighbour to change")
