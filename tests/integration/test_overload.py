"""Overload: more than the bridge can forward, for a while. Nothing breaks, everything is counted, the rest goes on.

    generator ── eth0 ── veth ── eth1 (trunk) ══ framebridge ══ three guests of VLAN 10, one of VLAN 20

Unknown unicast in VLAN 10 costs a copy per guest, so the generator (bench/traffic, as fast as it can) offers two to
six times what the bridge forwards, for OVERLOAD seconds (environment FRAMEBRIDGE_OVERLOAD_SECONDS; `make
test-overload` takes 60). Frames end where the ring is full: `rx_missed`. VLAN 20 carries VRRP adverts, ten a
second: from a quiet port, which must lose none, and from the overloaded trunk, which shares the fate of
everything that arrives there; how many of those pass is printed (`-rP`).
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable

import pytest
from helpers import frames
from helpers.daemon import Daemon, link, tap
from helpers.hosts import host
from helpers.net import DEADLINE, Namespace, Net, Received, Wire, wait_until
from helpers.termination import end_vlan
from scapy.layers.inet import IP
from scapy.layers.l2 import Ether
from scapy.layers.vrrp import VRRP

from bench.lab import traffic
from bench.lab.traffic import Outcome, Sink, Stream

pytestmark = [pytest.mark.root, pytest.mark.storm, pytest.mark.timeout(300)]

Start = Callable[..., Daemon]
OVERLOAD = float(os.environ.get("FRAMEBRIDGE_OVERLOAD_SECONDS", "5"))
GUESTS = 3
ADVERT_SECONDS = 0.1
NOBODY = "02:00:00:00:0f:ff"
GENERATOR = "02:00:00:00:0e:ee"


class Adverts:
    """VRRP adverts (RFC 5798 5.2.3), numbered in their IP identification, while the block runs."""

    def __init__(self, wire: Wire, source: str, vid: int = 0) -> None:
        self.sent = 0
        self._wire, self._source, self._vid = wire, source, vid
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._send)

    def _send(self) -> None:
        while not self._end.wait(ADVERT_SECONDS):
            header = IP(src=self._source, dst="224.0.0.18", proto=112, ttl=255, id=self.sent)
            body = VRRP(vrid=51, priority=200, addrlist=["10.99.20.100"])
            data = bytes(Ether(dst="01:00:5e:00:00:12", src="00:00:5e:00:01:33") / header / body)
            tag = frames.tag(self._vid) if self._vid else b""
            self._wire.send(data[:12] + tag + data[12:].ljust(frames.MIN_LEN - 12, b"\0"))
            self.sent += 1

    def __enter__(self) -> Adverts:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._end.set()
        self._thread.join()

    def heard(self, wire: Wire) -> list[int]:
        """The numbers that arrived, in that order."""
        return [IP(frame.data[14:]).id for frame in wire.waiting() if self._is_one(frame)]

    def _is_one(self, frame: Received) -> bool:
        return IP(frame.data[14:]).src == self._source


class Site:
    """The bridge, its guests, the outside."""

    def __init__(self, net: Net, start: Start) -> None:
        self.middle, self.outside, self.quiet = (net.namespace() for _ in range(3))
        self.spaces = [net.namespace() for _ in range(GUESTS)]
        net.veth("eth1", "eth0", self.middle, self.outside)
        self.bridge = start(
            self.middle,
            *(tap(f"guest{n}", space, access=10) for n, space in enumerate(self.spaces)),
            tap("quiet", self.quiet, access=20),
            link("uplink", "eth1", trunk=[10, 20]),
        )
        self.guest = host(self.spaces[0], "tap0", 10, 1)
        self.external = host(self.outside, end_vlan(net, self.outside, "eth0", 10), 10, 9)
        self.wire_out = net.packet_socket("eth0", self.outside)
        self.wire_quiet = net.packet_socket("tap0", self.quiet)

    def sink(self, guest: int = 0) -> Sink:
        return Sink(str(self.spaces[guest].name), "tap0", (1,))

    def kernel(self, space: Namespace, device: str, counter: str) -> int:
        """What the kernel has counted at a device."""
        return int((space.link(device) or {})["counters"][counter])

    def answered(self) -> None:
        """Who speaks is answered, every time."""
        assert self.guest.ping(self.external, 20) == (20, 20)
        assert self.external.ping(self.guest, 20) == (20, 20)

    def overload(self, stream: Stream, sink: Sink, at_end: Callable[[], None] = lambda: None) -> Outcome:
        """As many frames as fit into OVERLOAD seconds; `at_end` is called the moment the last one is sent."""
        moments: list[str] = []

        def around(moment: str) -> None:
            moments.append(moment)
            if moment == "end":
                at_end()

        fast = stream.with_changes(rate=0, seconds=OVERLOAD, queue="fast", burst=32, src=GENERATOR)
        outcome = traffic.run([fast], [sink], around=around)
        assert moments == ["start", "end"]
        return outcome


@pytest.fixture
def site(net: Net, start: Start) -> Site:
    return Site(net, start)


def test_the_trunk_brings_more_than_the_bridge_can_forward(site: Site) -> None:
    site.answered()
    before, arrived = site.bridge.stats("uplink"), site.kernel(site.middle, "eth1", "rx_packets")
    from_quiet = Adverts(site.wire_quiet, "10.99.20.1")
    from_outside = Adverts(site.wire_out, "10.99.20.9", vid=20)
    with from_quiet, from_outside:
        outcome = site.overload(
            Stream(str(site.outside.name), "eth0", tag="10", dst=NOBODY),
            Sink(str(site.spaces[0].name), "tap0"),
            site.answered,  # though rings and queues are still full of the last frames
        )

    sent, got = outcome.sender(), outcome.received()
    stats, drops = site.bridge.books()
    after = stats["uplink"]
    received, missed = (after[name] - before[name] for name in ("rx_frames", "rx_missed"))
    assert missed > 0
    assert received + missed == site.kernel(site.middle, "eth1", "rx_packets") - arrived
    assert drops == {("uplink", "missed", "ring_full"): after["rx_missed"]}
    assert (got["duplicates"], got["reordered"], outcome.limits) == (0, 0, [])
    assert from_quiet.heard(site.wire_out) == [*range(from_quiet.sent)]
    heard = from_outside.heard(site.wire_quiet)
    assert heard == sorted({*heard} & {*range(from_outside.sent)})
    assert min(from_quiet.sent, from_outside.sent) > 0
    print(
        f"offered {sent['offered_pps']:.0f}/s for {sent['seconds']:.1f} s, forwarded {got['pps']:.0f}/s, "
        f"{got['unique'] / sent['sent']:.0%}; adverts of the quiet port {from_quiet.sent} of {from_quiet.sent}, "
        f"of the overloaded trunk {len(heard)} of {from_outside.sent}"
    )


def test_guests_send_more_than_the_trunk_takes(site: Site) -> None:
    """The device of the trunk is slower than the bridge: frames end at its queue, `tx_full`, at no other place."""
    shaper = "qdisc add dev eth1 root tbf rate 2mbit burst 10kb limit 30kb"
    site.middle.run(subprocess.run, ["tc", *shaper.split()], check=True, timeout=DEADLINE)
    site.outside.receive_on_one_cpu("eth0")
    site.answered()
    before, arrived = site.bridge.stats("uplink"), site.kernel(site.outside, "eth0", "rx_packets")
    incoming = Adverts(site.wire_out, "10.99.20.9", vid=20)
    with incoming:
        outcome = site.overload(
            Stream(str(site.spaces[0].name), "tap0", dst=site.external.mac),
            Sink(str(site.outside.name), "eth0"),
            site.bridge.check_books,  # while drops go on
        )

    sent, got = outcome.sender(), outcome.received()
    stats, drops = site.bridge.books()
    after = stats["uplink"]
    went = after["tx_frames"] - before["tx_frames"]
    assert {*drops} <= {("uplink", "tx", "tx_full"), ("guest0", "missed", "tap_full")}
    took = site.kernel(site.spaces[0], "tap0", "tx_packets")  # for the rest its queue had no room
    assert went + drops["uplink", "tx", "tx_full"] == after["offered"] - before["offered"]
    assert 0 < went < drops["uplink", "tx", "tx_full"]
    assert stats["guest0"]["rx_frames"] == took
    wait_until(
        lambda: site.kernel(site.outside, "eth0", "rx_packets") - arrived == went, "the shaper to be empty"
    )
    assert (got["duplicates"], got["reordered"], outcome.limits) == (0, 0, [])
    assert incoming.heard(site.wire_quiet) == [*range(incoming.sent)]  # the other way is not concerned
    site.answered()
    print(f"offered {sent['offered_pps']:.0f}/s, the tap took {took}, the trunk {went}")
