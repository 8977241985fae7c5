"""Failover: an address moves to another guest, and traffic follows on the very next frame."""

from __future__ import annotations

import pytest
from helpers import frames
from helpers.hosts import Seen, seen_until
from helpers.lan import Lan
from scapy.layers.l2 import ARP, Ether

pytestmark = pytest.mark.root

VIRTUAL = b"\x00\x00\x5e\x00\x01\x33"
FAR = frames.host(9)


def tagged(frame: bytes) -> bytes:
    return frame[:12] + frames.tag(10) + frame[12:]


def to_virtual(text: bytes) -> bytes:
    return frames.ethernet(VIRTUAL, FAR, payload=text.ljust(46, b"."))


def announcement(step: int) -> bytes:
    return frames.ethernet(frames.BROADCAST, VIRTUAL, payload=bytes([step]) * 46)


@pytest.mark.smoke
def test_traffic_follows_a_mac_on_its_first_frame_there_and_back(lan: Lan) -> None:
    """A to B to A: one frame of the new owner moves the address, with no pause and no damping."""
    one, other, wire = lan.wire("a"), lan.wire("b"), lan.wire("outside")
    for step, (owner, bystander) in enumerate([(one, other), (other, one)] * 10):
        owner.send(announcement(step))
        assert seen_until(bystander, announcement(step)) == []
        assert wire.wait() == (announcement(step), (frames.TPID_Q, 10), None)
        sent = to_virtual(b"step %d" % step)
        wire.send(tagged(sent))
        assert seen_until(owner, sent) == []
    last = frames.ethernet(frames.BROADCAST, FAR)
    wire.send(tagged(last))
    assert (seen_until(one, last), seen_until(other, last)) == ([], [])

    assert lan.bridge.fdb() == {
        (10, "00:00:5e:00:01:33"): ("b", "dynamic"),
        (10, "02:00:00:00:00:09"): ("uplink", "dynamic"),
    }
    assert lan.bridge.stats("a")["moved"] + lan.bridge.stats("b")["moved"] == 19


def test_a_host_talks_on_with_the_guest_that_takes_over(lan: Lan) -> None:
    """The same IP and MAC, first at one guest, then at the other, after one gratuitous ARP."""
    for name in ("a", "b"):
        lan.spaces[name].set_link("tap0", address=VIRTUAL.hex(":"))
    external, master = lan.external(10), lan.guest("a", 100)
    assert external.ping(master) == (3, 3)

    lan.spaces["a"].set_link("tap0", address="02:00:00:00:00:01")
    lan.spaces["a"].netlink(lambda ipr: ipr.flush_addr(label="tap0"))
    backup = lan.guest("b", 100)
    claim = ARP(op="is-at", hwsrc=backup.mac, psrc=backup.ip, hwdst="ff:ff:ff:ff:ff:ff", pdst=backup.ip)
    wire = lan.wire("outside")
    lan.wire("b").send(bytes(Ether(dst="ff:ff:ff:ff:ff:ff", src=backup.mac) / claim))
    wire.wait_for(lambda frame: frame.data[6:12] == VIRTUAL)

    assert external.ping(backup) == (3, 3)
    assert lan.bridge.fdb()[10, backup.mac] == ("b", "dynamic")


def test_a_static_address_does_not_move(lan: Lan) -> None:
    one, other, wire = lan.wire("a"), lan.wire("b"), lan.wire("outside")
    lan.bridge.rows("fdb", "add", "00:00:5e:00:01:33", "vlan", "10", "port", "a")

    other.send(frames.ethernet(frames.BROADCAST, VIRTUAL))
    lan.bridge.wait(lambda: lan.bridge.drops() == {("b", "rx", "static_move"): 1}, "the drop")
    sent, last = to_virtual(b"still there"), frames.ethernet(frames.BROADCAST, FAR)
    for frame in (sent, last):
        wire.send(tagged(frame))

    assert (seen_until(one, last), seen_until(other, last)) == ([Seen(sent, None)], [])
