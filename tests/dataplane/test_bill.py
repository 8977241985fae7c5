"""The bill: every busy cycle is charged once, to the port, VLAN, class and talker that caused it.

The random lives of test_model compare what is counted, and the sum, after every step; here are the shares.
"""

from __future__ import annotations

import threading

import pytest
from classes import classify
from helpers import frames
from helpers.bridge import Lab, access, busy, charged, check_charges, trunk
from helpers.net import wait_until
from scapy.layers.hsrp import HSRP
from scapy.layers.inet import IP, TCP, UDP, IPOption_Router_Alert
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    ICMPv6MLQuery,
    ICMPv6ND_NS,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrHopByHop,
)
from scapy.layers.ipsec import AH
from scapy.layers.l2 import ARP, Dot1AD, Ether
from scapy.layers.vrrp import VRRP
from scapy.packet import Raw

from bridge.core import _core
from bridge.core.values import PortRow

ROUNDS = 60
A, B, C = (f"02:00:00:00:00:0{n}" for n in (1, 2, 3))


def talkers(lab: Lab) -> dict[int, _core.Talker]:
    base = frames.number(frames.host(0))
    return {talker.mac - base: talker for talker in lab.core.talkers()}


def by_class(lab: Lab) -> dict[str, _core.Charge]:
    return {row.frame_class: row for row in lab.core.bill().charges if row.port == 0}


PACKETS = {
    "arp_nd": [
        Ether(src=A, dst="ff:ff:ff:ff:ff:ff") / ARP(),
        Ether(src=A, dst="33:33:ff:00:00:01") / IPv6(dst="ff02::1:ff00:1") / ICMPv6ND_NS(),
    ],
    "igmp_mld": [
        Ether(src=A, dst="01:00:5e:00:00:01") / IP(dst="224.0.0.1", proto=2) / Raw(bytes(8)),
        Ether(src=A, dst="33:33:00:00:00:01")
        / IPv6(dst="ff02::1")
        / IPv6ExtHdrHopByHop(options=[])
        / ICMPv6MLQuery(),
    ],
    "first_hop": [
        Ether(src=A, dst="01:00:5e:00:00:12") / IP(dst="224.0.0.18", ttl=255) / VRRP(),
        Ether(src=A, dst="01:00:5e:00:00:02") / IP(dst="224.0.0.2") / UDP(sport=1985, dport=1985) / HSRP(),
        Ether(src=A, dst="33:33:00:00:00:12") / IPv6(dst="ff02::12", nh=112) / Raw(bytes(8)),
        Ether(src=A, dst="01:00:5e:00:00:66")
        / IP(dst="224.0.0.102")
        / UDP(sport=3222, dport=3222)
        / Raw(bytes(40)),
        Ether(src=A, dst="01:00:5e:00:00:12") / IP(dst="224.0.0.18") / AH(nh=112) / VRRP(),
        Ether(src=A, dst="01:00:5e:00:00:12")
        / IP(dst="224.0.0.18", options=IPOption_Router_Alert())
        / VRRP(),
        Ether(src=A, dst="01:00:5e:00:00:12") / Dot1AD(vlan=7) / IP(dst="224.0.0.18") / VRRP(),
        Ether(src=A, dst=B) / IP(dst="10.0.0.2", proto=112) / Raw(bytes(8)),  # unicast peers
    ],
    "heartbeat": [
        Ether(src=A, dst="01:00:5e:01:02:03") / IP(dst="239.1.2.3") / UDP(dport=5405) / Raw(bytes(40)),
        Ether(src=A, dst=B) / IP(dst="10.0.0.2") / UDP(dport=5404) / Raw(bytes(40)),
        Ether(src=A, dst=C) / IPv6(dst="fd00::3") / UDP(dport=5405) / Raw(bytes(40)),
        Ether(src=A, dst=C) / IPv6(dst="fd00::3") / IPv6ExtHdrDestOpt() / UDP(dport=5405) / Raw(bytes(40)),
        Ether(src=A, dst=B) / IP(dst="10.0.0.2") / UDP(dport=3784) / Raw(bytes(24)),
        Ether(src=A, dst=B) / IP(dst="10.0.0.2") / UDP(dport=4784) / Raw(bytes(24)),
        Ether(src=A, dst="01:00:5e:00:00:05") / IP(dst="224.0.0.5", proto=89) / Raw(bytes(44)),
        Ether(src=A, dst="33:33:00:00:00:05") / IPv6(dst="ff02::5", nh=89) / Raw(bytes(40)),
    ],
    "broadcast": [
        Ether(src=A, dst="ff:ff:ff:ff:ff:ff") / IP(dst="10.255.255.255") / UDP(dport=137) / Raw(bytes(40)),
        Ether(src=A, dst="ff:ff:ff:ff:ff:ff")
        / IP(dst="10.0.0.255", frag=100, proto=17)
        / Raw(b"\x15\x1d" * 9),
        Ether(src=A, dst="ff:ff:ff:ff:ff:ff", type=0x88B5) / Raw(bytes(46)),
        Ether(src=A, dst="ff:ff:ff:ff:ff:ff") / IP(dst="224.0.0.18") / VRRP(),
        Ether(src=A, dst="ff:ff:ff:ff:ff:ff") / IP(dst="255.255.255.255") / UDP(dport=5405) / Raw(bytes(40)),
    ],
    "multicast": [
        Ether(src=A, dst="01:00:5e:01:02:03") / IP(dst="239.1.2.3") / UDP(dport=9999) / Raw(bytes(40)),
        Ether(src=A, dst="33:33:00:00:00:01") / IPv6(dst="ff02::1") / ICMPv6EchoRequest(),
        Ether(src=A, dst="01:00:5e:00:00:01") / IP(dst="224.0.0.1") / VRRP(),
        Ether(src=A, dst="01:00:5e:00:00:12") / IP(dst="10.0.0.2") / VRRP(),
        Ether(src=A, dst="01:00:5e:00:00:05") / IP(dst="239.0.0.5", proto=89) / Raw(bytes(44)),
        Ether(src=A, dst="01:00:5e:00:00:12") / IP(dst="224.0.0.18") / UDP(dport=3784) / Raw(bytes(24)),
        Ether(src=A, dst="01:00:5e:01:02:03") / IP(dst="255.255.255.255") / UDP(dport=5405) / Raw(bytes(24)),
        Ether(src=A, dst="01:00:5e:00:00:12") / IP(dst="224.0.0.18", frag=100, proto=112) / Raw(b"\x31" * 16),
    ],
    "known_unicast": [Ether(src=A, dst=B) / IP(dst="10.0.0.2") / TCP(dport=5405)],
    "unknown_unicast": [Ether(src=A, dst=C) / IP(dst="10.0.0.3") / TCP()],
    "reserved": [Ether(src=A, dst="01:80:c2:00:00:0e", type=0x88CC) / Raw(bytes(46))],
}


@pytest.mark.parametrize("frame_class", PACKETS)
def test_classes_of_frames_that_scapy_makes(frame_class: str) -> None:
    lab = Lab(access(10), access(10), access(10))
    lab.learn(1, 2)
    for packet in PACKETS[frame_class]:
        lab.send(0, frames.padded(bytes(packet)))
        assert classify(bytes(packet), {int(B.replace(":", ""), 16)}) == frame_class
    assert set(by_class(lab)) == {frame_class}
    assert by_class(lab)[frame_class].frames == len(PACKETS[frame_class])


def test_heartbeat_ports_are_configurable() -> None:
    bridge = _core.Bridge()
    ports = [bridge.open_memory(index) for index in range(2)]
    snapshot = _core.Snapshot(heartbeat_ports=[7789], broadcast_ports=[7788])
    for port in ports:
        snapshot.add_port(port, PortRow(mode="access", pvid=10))
    bridge.apply(snapshot)
    to_all = [
        bytes(Ether(src=A, dst="ff:ff:ff:ff:ff:ff") / IP() / UDP(dport=port) / Raw(bytes(20)))
        for port in (7788, 7789, 5405)
    ]
    to_group = [
        bytes(Ether(src=A, dst="01:00:5e:01:02:03") / IP(dst="239.1.2.3") / UDP(dport=port) / Raw(bytes(20)))
        for port in (7788, 7789, 5405)
    ]
    ports[0].inject([*to_all, *to_group])
    bridge.turn()
    assert {row.frame_class: row.frames for row in bridge.bill().charges} == {
        "heartbeat": 3,
        "broadcast": 2,
        "multicast": 1,
    }
    with pytest.raises(ValueError, match="heartbeat port"):
        _core.Snapshot(heartbeat_ports=[0])


def test_a_truncated_header_decides_nothing() -> None:
    for packet in (packet for packets in PACKETS.values() for packet in packets):
        lab = Lab(access(10), access(10))
        for length in range(14, len(bytes(packet)), 7):
            lab.send(0, bytes(packet)[:length])  # the model, beside it, says which class each is


def test_a_broadcast_talker_pays_for_every_copy() -> None:
    """Into a VLAN of 16 further ports: about 16 times the tx cost of the same rate of unicast."""
    lab = Lab(*[access(10)] * 17)
    lab.learn(1, 2)
    for _ in range(ROUNDS):
        unicast = frames.ethernet(frames.host(2), frames.host(3))
        broadcast = frames.ethernet(frames.BROADCAST, frames.host(4))
        for frame in (unicast, broadcast):  # batches of their own: their tx is measured apart
            lab.ports[0].inject([frame] * 16)
            lab.core.turn()
        for port in lab.ports.values():
            port.drain()
    quiet, loud = talkers(lab)[3], talkers(lab)[4]
    assert (quiet.copies, loud.copies) == (16 * ROUNDS, 16 * 16 * ROUNDS)
    assert quiet.induced == 0
    assert loud.induced > 0
    check_charges(lab.core.bill())


def test_frames_that_fare_alike_are_charged_by_lot_and_add_up() -> None:
    """Thirty-two talkers send the same: the lot is fair, and nothing is lost by it."""
    lab = Lab(access(10), access(10))
    lab.learn(1, 99)
    sources = range(1, 33)
    batch = [frames.ethernet(frames.host(99), frames.host(n)) for n in sources]
    for _ in range(10 * ROUNDS):
        lab.ports[0].inject(batch)
        lab.core.turn()
        lab.ports[1].drain()
    row = by_class(lab)["known_unicast"]
    assert row.frames == sum(talkers(lab)[n].frames for n in sources) == 320 * ROUNDS
    counts = [talkers(lab)[n].frames for n in sources]
    assert min(counts) > 0.6 * row.frames / 32
    assert max(counts) < 1.5 * row.frames / 32
    assert abs(sum(talkers(lab)[n].direct for n in sources) - row.direct) < 0.01 * row.direct


def test_a_frame_alone_is_charged_exactly() -> None:
    lab = Lab(access(10), access(10), burst=1)
    lab.learn(1, 2)
    for n in (3, 4, 3, 3):
        lab.send(0, frames.ethernet(frames.host(2), frames.host(n)))
    assert (talkers(lab)[3].frames, talkers(lab)[4].frames) == (3, 1)
    assert talkers(lab)[3].bytes == 3 * 60


def test_longer_frames_of_a_batch_pay_more_for_rx_and_tx() -> None:
    lab = Lab(trunk(10, 20, mtu=9000), trunk(10, 20, mtu=9000))
    lab.learn(1, 2, vid=10)
    lab.learn(1, 3, vid=20)
    small = frames.ethernet(frames.host(2), frames.host(1), frames.tag(10))
    large = frames.ethernet(frames.host(3), frames.host(1), frames.tag(20), payload=8900)
    for _ in range(ROUNDS):
        lab.ports[0].inject([small, large] * 8)
        lab.core.turn()
        for port in lab.ports.values():
            port.drain()
    rows = {row.vid: row for row in lab.core.bill().charges if row.frame_class == "known_unicast"}
    assert rows[10].frames == rows[20].frames
    assert rows[20].direct > rows[10].direct


def test_dropped_frames_pay_for_what_was_done_with_them() -> None:
    lab = Lab(trunk(10), access(10))
    lab.learn(1, 2)
    refused = frames.ethernet(frames.host(2), frames.host(1), frames.tag(30))
    passed = frames.ethernet(frames.host(2), frames.host(1), frames.tag(10))
    for _ in range(ROUNDS):
        lab.send(0, *[refused, passed] * 8)
    rows = by_class(lab)
    assert 0 < rows["dropped"].direct < rows["known_unicast"].direct
    assert rows["dropped"].vid == _core.VID_NONE


def test_what_departed_talkers_cost_stays_on_the_bill() -> None:
    lab = Lab(access(10), access(10))
    lab.learn(0, 1, 2, 3)
    before = sum(talker.direct + talker.induced for talker in lab.core.talkers())
    assert lab.core.bill().departed == 0
    lab.fdb_flush()
    assert lab.core.talkers() == []
    assert lab.core.bill().departed == before > 0


def test_what_a_closed_port_cost_stays_on_the_bill() -> None:
    bridge = _core.Bridge()
    ports = [bridge.open_memory(index) for index in range(3)]

    def apply(*members: _core.Port) -> None:
        snapshot = _core.Snapshot()
        for port in members:
            snapshot.add_port(port, PortRow(mode="access", pvid=10))
        bridge.apply(snapshot)

    apply(*ports)
    for index in (0, 1):
        ports[index].inject([frames.ethernet(frames.BROADCAST, frames.host(index + 1))])
    bridge.turn(2)
    before = bridge.bill()
    apply(ports[1], ports[2])
    bridge.close_port(ports[0])
    again = bridge.open_memory(0)
    apply(again, ports[1], ports[2])
    again.inject([frames.ethernet(frames.BROADCAST, frames.host(1))])
    bridge.turn(2)
    after = bridge.bill()
    gone = next(row for row in after.charges if row.port == -1)
    old = next(row for row in before.charges if row.port == 0)
    assert (gone.frames, gone.direct, gone.induced, gone.vid) == (1, old.direct, old.induced, _core.VID_OTHER)
    new = next(row for row in after.charges if row.port == 0)
    assert new.frames == 1
    assert new.serial != old.serial
    assert charged(after) + after.uncharged == busy(after.stages)


def test_a_full_table_of_charges_keeps_port_and_class() -> None:
    """4094 VLANs and two classes each, from eight ports, are more rows than there are."""
    bridge = _core.Bridge(burst=256)
    ports = [bridge.open_memory(index, slots=16384) for index in range(9)]
    snapshot = _core.Snapshot()
    for port in ports:
        snapshot.add_port(port, PortRow(mode="trunk", vids=range(1, 4095)))
    bridge.apply(snapshot)
    n = 0
    for port in ports[:8]:
        for vid in range(1, 4095):
            for to in (frames.BROADCAST, frames.group(1)):
                n += port.inject([frames.ethernet(to, bytes([2, 0, 0, 0, 0, 1]), frames.tag(vid))])
        while bridge.turn():
            for other in ports:
                other.drain()
    bill = bridge.bill()
    assert sum(row.frames for row in bill.charges) == n == 8 * 4094 * 2
    assert len(bill.charges) <= 32768
    other = [row for row in bill.charges if row.vid == _core.VID_OTHER]
    assert {row.frame_class for row in other} == {"broadcast", "multicast"}
    check_charges(bill)


def test_histograms_and_slow_batches() -> None:
    lab = Lab(access(10), access(10), burst=8)
    for n in (1, 8, 8, 3):
        lab.send(0, *[frames.ethernet(frames.BROADCAST, frames.host(1))] * n)
    bill = lab.core.bill()
    bounds = _core.HISTOGRAM_BOUNDS
    sizes = {bound: n for bound, n in zip(bounds, bill.histograms["batch_frames"], strict=True) if n}
    assert sizes == {1: 1, 8: 2, 3: 1}
    assert all(sum(counts) == 4 for counts in bill.histograms.values())
    assert list(bounds) == sorted(bounds)
    assert [batch.cycles for batch in bill.slow] == sorted((b.cycles for b in bill.slow), reverse=True)
    assert sorted(batch.frames for batch in bill.slow) == [1, 3, 8, 8]
    for batch in bill.slow:
        assert batch.cycles == busy(batch.stages)
        assert batch.stamp <= bill.stamp
    lab.core.clear_slow()
    assert lab.core.bill().slow == []
    for _ in range(40):
        lab.send(0, frames.ethernet(frames.BROADCAST, frames.host(1)))
    assert len(lab.core.bill().slow) == 16


@pytest.mark.parametrize("leap", [1 << 40, -(1 << 40), 1 << 62, -(1 << 62)], ids=str)
def test_a_clock_that_leaps_is_told_and_nobody_pays(leap: int) -> None:
    """A suspended or restored machine, or a thread on a CPU whose counter is another."""
    lab = Lab(access(10), access(10))
    lab.send(0, frames.ethernet(frames.BROADCAST, frames.host(1)))
    thread = threading.Thread(target=lab.core.run)
    thread.start()
    try:
        wait_until(lambda: lab.core.running, "the data thread to run")
        for _ in range(3):
            lab.core.shift_clock(leap)
    finally:
        lab.core.stop()
        thread.join()
    bill = lab.core.bill()
    assert bill.clock_jumps == 3
    assert charged(bill) < 1 << 36
    assert all(0 <= cycles < 1 << 36 for cycles in bill.stages.values())
    assert all(0 <= row.direct < 1 << 36 for row in bill.charges)
    assert all(batch.cycles < 1 << 36 for batch in bill.slow)
    check_charges(bill)


def test_waiting_is_nobodys() -> None:
    lab = Lab(access(10), access(10))
    for _ in range(50):
        lab.core.turn()
    bill = lab.core.bill()
    assert bill.stages["polling"] > 0
    assert busy(bill.stages) == 0
    assert bill.charges == []
