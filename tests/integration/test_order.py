"""R11 on real devices: frames of one flow arrive in order, once and unharmed, whatever their sizes are.

    a (VLAN 10) ═╗
    c (VLAN 20) ═╩═ framebridge ═ eth1 ── veth ── eth0: trunk 10, 20

Flows mix everything that takes another path through a link: frames that fit a slot of the ring, frames that do
not (fetched by recv, one by one, while others lie in their slots), and super-frames; a tap reads the same mix.
Frames are numbered per flow and compared byte for byte. Calm: no more on the way than fits, nothing may be
missing. Storm: VLAN 20 brings more than the bridge can forward; numbers may be missing, but none comes late or
twice, and the generator's own flows are checked by its sink.
"""

from __future__ import annotations

import os
import random
import select
import signal
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import pytest
from helpers import frames
from helpers.daemon import Daemon, link, tap
from helpers.kernel import SO_RCVBUFFORCE, VNET_GSO_TCPV4, VNET_NEEDS_CSUM, VnetHeader
from helpers.net import Namespace, Net, PacketSocket, Received

from bench.lab import traffic
from bench.lab.traffic import Sink, Stream

pytestmark = [pytest.mark.root, pytest.mark.storm]

Start = Callable[..., Daemon]
MTU = 9000
FLOWS = 6
TO = frames.host(99)
SEEDS = range(3)
WINDOW = 300  # frames on the way while it is calm
STORM_SECONDS = 2.0
PLAIN = [60, 61, 300, 1514, *range(1930, 2060, 9), 4000, 9014]  # a slot of 2 KB takes about 1980 bytes
SUPER = [2000, 9000, 20_000, 64_000]


class Template(NamedTuple):
    """A frame of some form and length; its number goes where `at` says, its source says the flow."""

    data: bytes
    at: int
    vnet: VnetHeader

    def numbered(self, flow: int, number: int) -> bytes:
        end = self.at + 4
        head = TO + frames.host(flow) + self.data[12 : self.at]
        return head + struct.pack("!I", number) + self.data[end:]


def templates() -> Iterator[Template]:
    """Every form and length."""
    for size in PLAIN:
        yield Template(frames.ethernet(TO, bytes(6), payload=size - 14), 14, VnetHeader())
    for size in SUPER:
        segment = frames.tcp(TO, bytes(6), payload_len=size)
        vnet = VnetHeader(
            VNET_NEEDS_CSUM, VNET_GSO_TCPV4, segment.hdr_len, 1448, segment.csum_start, segment.csum_offset
        )
        yield Template(segment.data, segment.hdr_len, vnet)


TEMPLATES = [*templates()]
IPV4 = frames.IP_VERSIONS[0]


class Mix:
    """Flows of numbered frames from one wire to another; `got` are the numbers that arrived, by flow."""

    def __init__(self, seed: int, source: PacketSocket, sink: PacketSocket, tag: bytes = b"") -> None:
        self._random = random.Random(seed)
        self._source, self._sink, self._tag = source, sink, tag
        self._chosen: dict[int, list[Template]] = {flow: [] for flow in range(1, FLOWS + 1)}
        self.got: dict[int, list[int]] = {flow: [] for flow in self._chosen}

    def send(self, templates: Sequence[Template] = TEMPLATES) -> None:
        """One more frame, of any flow and form."""
        flow, template = self._random.randint(1, FLOWS), self._random.choice(templates)
        chosen = self._chosen[flow]
        data, vnet = template.numbered(flow, len(chosen)), template.vnet
        chosen.append(template)
        if self._tag:
            data = data[:12] + self._tag + data[12:]
            start = vnet.csum_start + len(self._tag) if vnet.flags else 0
            vnet = vnet._replace(csum_start=start, hdr_len=vnet.hdr_len + len(self._tag))
        self._source.send(data, vnet)

    def take(self, frame: Received) -> None:
        """A frame that arrived: what it says it is, it is."""
        at = 54 if frame.data[12:14] == IPV4 else 14
        flow, number = frame.data[11], int.from_bytes(frame.data[at : at + 4], "big")
        assert frame.data == self._chosen[flow][number].numbered(flow, number), (
            f"flow {flow}, number {number}"
        )
        self.got[flow].append(number)

    def receive(self, count: int) -> None:
        for _ in range(count):
            self.take(self._sink.wait())

    def arrived(self) -> Iterator[Received]:
        """What has arrived of these flows by now, or comes in the next moment."""
        if select.select([self._sink.fd], [], [], 0.05)[0]:
            yield from (frame for frame in self._sink.waiting() if frame.data.startswith(TO))

    def totals(self) -> tuple[int, int]:
        """Frames sent and frames that arrived."""
        sent, got = (sum(map(len, numbers.values())) for numbers in (self._chosen, self.got))
        return sent, got

    @property
    def sent(self) -> dict[int, list[int]]:
        return {flow: [*range(len(chosen))] for flow, chosen in self._chosen.items()}


class Site:
    """The bridge and the wires at both its ends."""

    def __init__(self, net: Net, start: Start) -> None:
        self.middle, self.outside, self.a, self.c = (net.namespace() for _ in range(4))
        net.veth("eth1", "eth0", self.middle, self.outside, mtu=MTU)
        self.bridge = start(
            self.middle,
            tap("a", self.a, access=10, mtu=MTU),
            tap("c", self.c, access=20, mtu=MTU),
            link("uplink", "eth1", trunk=[10, 20]),
        )
        self.inside = wire(net, self.a, "tap0")
        self.beyond = wire(net, self.outside, "eth0")

    def mix(self, way: str, seed: int) -> Mix:
        if way == "up":
            return Mix(seed, self.inside, self.beyond)
        return Mix(seed, self.beyond, self.inside, frames.tag(10))


def wire(net: Net, space: Namespace, device: str) -> PacketSocket:
    """Both ends of a flow; with room for a window of the longest."""
    sock = net.packet_socket(device, space, vnet=True)
    sock.sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
    return sock


@pytest.fixture
def site(net: Net, start: Start) -> Site:
    return Site(net, start)


@pytest.mark.parametrize("way", ["up", "down"])
def test_calm(site: Site, way: str) -> None:
    for seed in SEEDS:
        mix = site.mix(way, seed)
        for burst in (1, 2, 63, 64, 65, WINDOW):
            for _ in range(burst):
                mix.send()
            mix.receive(burst)
        assert mix.got == mix.sent, f"seed {seed}"
    assert site.bridge.drops() == {}
    port = site.bridge.stats("uplink" if way == "down" else "a")
    assert (port["rx_missed"], port["rx_super_frames"] > 0) == (0, True)


@pytest.mark.parametrize("way", ["up", "down"])
def test_storm(site: Site, way: str) -> None:
    mix = site.mix(way, 7)
    inside, outside = (str(site.c.name), "tap0"), (str(site.outside.name), "eth0")
    here, there = (inside, outside) if way == "up" else (outside, inside)
    tag = "20" if way == "down" else ""
    load = Stream(
        *here,
        0,
        STORM_SECONDS,
        stream=20,
        tag=tag,
        src="02:00:00:20:00:00*50",
        order="random",
        queue="fast",
        burst=32,
    )
    with running(mix):
        outcome = traffic.run([load], [Sink(*there, (20,))])

    received = outcome.received(20)
    assert received["unique"] > 0
    assert (received["duplicates"], received["reordered"], received["wrong_tag"]) == (0, 0, 0)
    assert outcome.limits == []
    for flow, numbers in mix.got.items():
        assert numbers == sorted({*numbers}), f"flow {flow}"
        assert len(numbers) > 0
    sent, got = mix.totals()
    print(
        f"{way}: {got} of {sent} frames of the mix, {received['unique']} of {outcome.sender(20)['sent']} others"
    )


def test_stall(site: Site) -> None:
    """The bridge stands still while more arrives than its ring and its queue of long frames hold.

    What they hold comes out in order; all the rest is counted, as `rx_missed` or, its start in a slot, `truncated`.
    """
    mix = site.mix("down", 11)
    long, plain = (
        [one for one in TEMPLATES if (len(one.data) > 60_000) == is_long] for is_long in (True, False)
    )
    os.kill(site.bridge.pid, signal.SIGSTOP)
    for templates in (long, plain):
        for _ in range(1200):
            mix.send(templates)
    os.kill(site.bridge.pid, signal.SIGCONT)

    sent, _ = mix.totals()
    site.bridge.wait(lambda: taken(site.bridge) == sent, "the bridge to take what there is")
    stats, drops = site.bridge.books()
    missed, truncated = stats["uplink"]["rx_missed"], drops["uplink", "rx", "truncated"]
    assert drops == {("uplink", "rx", "truncated"): truncated, ("uplink", "missed", "ring_full"): missed}
    assert missed > 0
    mix.receive(sent - missed - truncated)
    assert all(numbers == sorted({*numbers}) for numbers in mix.got.values())
    for _ in range(WINDOW):
        mix.send()
    mix.receive(WINDOW)
    assert [numbers[-1] + 1 for numbers in mix.got.values()] == [
        len(numbers) for numbers in mix.sent.values()
    ]


def taken(bridge: Daemon) -> int:
    """Frames of the trunk that the bridge knows of."""
    stats = bridge.stats("uplink")
    return int(stats["rx_frames"] + stats["rx_missed"])


@contextmanager
def running(mix: Mix) -> Iterator[None]:
    """Send as fast as it goes, and receive, for the length of the block; then take what is still on the way."""
    end, failed = threading.Event(), []

    def send() -> None:
        while not end.is_set():
            mix.send()

    def receive() -> None:
        try:
            while not end.is_set():
                for frame in mix.arrived():
                    mix.take(frame)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for work in (send, receive)]
    for thread in threads:
        thread.start()
    yield
    end.set()
    for thread in threads:
        thread.join()
    for frame in mix.arrived():
        mix.take(frame)
    assert failed == []
