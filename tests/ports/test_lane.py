"""The lane of a link, on a real device: each frame comes once, heartbeats past what waits in a full ring."""

from __future__ import annotations

import pytest
from helpers import frames, kernel, packets
from helpers.net import HERE, Net, VnetHeader, wait_until

from bridge.core import _core
from bridge.core.values import PortRow
from bridge.ports import lane, vlan_filter

pytestmark = pytest.mark.root

A = frames.host(1)
GROUP = bytes.fromhex("01005e000012")
SLOTS = 64
PROGRAM = lane.program(frozenset((5405,)), frozenset())
UFO = frames.udp(frames.host(9), A, payload_len=3000)
UFO_HEADER = VnetHeader(
    kernel.VNET_NEEDS_CSUM, kernel.VNET_GSO_UDP, UFO.hdr_len, 1000, UFO.csum_start, UFO.csum_offset
)


def vrrp(number: int, *tags: bytes) -> bytes:
    packet = bytearray(frames.ipv4(112, number.to_bytes(4, "big") + bytes(30)))
    packet[16:20] = packets.address("224.0.0.18")
    return frames.ethernet(GROUP, A, *tags, ethertype=0x0800, payload=bytes(packet))


def plain(number: int) -> bytes:
    return frames.ethernet(frames.BROADCAST, A, payload=number.to_bytes(4, "big") + bytes(60))


class Lane:
    """A bridge with a link on the device `a` and a memory port; `send` is the other end."""

    def __init__(self, net: Net) -> None:
        self.net = net
        self.bridge = _core.Bridge(burst=16)
        self.link = self.open()
        self.inside = self.bridge.open_memory(1, slots=1 << 14)
        snapshot = _core.Snapshot()
        snapshot.add_port(self.link, PortRow(mode="trunk", pvid=10, vids=(20,)))
        snapshot.add_port(self.inside, PortRow(mode="trunk", pvid=10, vids=(20,)))
        self.bridge.apply(snapshot)
        self.begin()

    def open(self) -> _core.Port:
        self.net.veth("a", "b")
        self.socket = self.net.packet_socket("b", vnet=True)
        return self.bridge.open_link(0, "a", slots=SLOTS)

    def begin(self) -> None:
        lane.join(self.link.fd, self.link.lane_fd)
        lane.direct(self.link.lane_fd, PROGRAM)
        vlan_filter.detach(self.link.lane_fd)

    def send(self, *sent: bytes) -> None:
        for frame in sent:
            self.socket.send(frame)

    def take(self, n: int) -> list[bytes]:
        """Let the bridge work until so many frames came out, and no more do."""
        found: list[bytes] = []

        def is_all() -> bool:
            self.bridge.turn(2)
            found.extend(frame.data for frame in self.inside.drain() if frame.data[6:12] == A)
            return len(found) >= n

        wait_until(is_all, f"{n} frames")
        for _ in range(20):
            is_all()
        return found

    def misses(self) -> dict[str, int]:
        return self.bridge.counters().ports[0].misses


@pytest.fixture
def port(net: Net) -> Lane:
    return Lane(net)


def test_each_frame_comes_once(port: Lane) -> None:
    sent = [frame for i in range(10) for frame in (vrrp(i), plain(i), vrrp(i, frames.tag(20)))]
    port.send(*sent)
    found = port.take(len(sent))
    assert sorted(found) == sorted(sent)
    for make in (vrrp, plain):  # in order among themselves
        kind = [frame for frame in found if frame in [make(i) for i in range(10)]]
        assert kind == [make(i) for i in range(10)]


def test_heartbeats_pass_a_ring_that_is_full(port: Lane) -> None:
    port.send(*[plain(i) for i in range(3 * SLOTS)], *[vrrp(i) for i in range(5)])
    found = port.take(5)
    assert found[:5] == [vrrp(i) for i in range(5)]  # first, though they came last
    assert len(found) + port.misses()["ring_full"] == 3 * SLOTS + 5
    assert "lane_full" not in port.misses()


def test_what_the_lane_has_no_room_for_is_counted(port: Lane) -> None:
    n = 8000
    port.send(*[vrrp(i) for i in range(n)])
    found = port.take(500)
    missed = port.misses()["lane_full"]
    assert missed > 0
    assert len(found) + missed == n
    assert port.bridge.counters().ports[0].values["rx_missed"] == missed
    assert found == [vrrp(i) for i in range(len(found))]


def test_nothing_is_lost_or_doubled_while_the_program_changes(port: Lane) -> None:
    sent, found = [], []
    for i in range(200):
        lane.direct(port.link.lane_fd, PROGRAM if i % 2 else lane.nowhere(lane.MAIN))
        sent += [vrrp(i), plain(i)]
        port.send(vrrp(i), plain(i))
        if i % 10 == 9:
            found += port.take(20)
    assert sorted(found) == sorted(sent)


def test_the_lane_is_there_again_when_the_device_is_up_again(port: Lane) -> None:
    HERE.set_link("a", state="down")
    port.bridge.turn(5)
    HERE.set_link("a", state="up")

    def passes() -> bool:
        port.send(plain(0))
        port.bridge.turn(2)
        return any(frame.data == plain(0) for frame in port.inside.drain())

    wait_until(passes, "carrier")
    port.send(*[plain(i) for i in range(3 * SLOTS)], vrrp(1))
    assert port.take(1)[0] == vrrp(1)
    assert "lane_full" not in port.misses()


def test_until_it_is_of_a_group_the_lane_gets_nothing(net: Net) -> None:
    class Alone(Lane):
        def begin(self) -> None:
            pass

    port = Alone(net)
    assert not lane.is_joined(port.link.fd)
    port.send(vrrp(1), plain(1))
    assert port.take(2) == [vrrp(1), plain(1)]


def test_a_wedged_ring_leaves_the_lane_alone(net: Net) -> None:
    """The socket that stands by takes the ring's place in the group."""

    class Held(Lane):
        def open(self) -> _core.Port:
            self.socket = self.net.tap(
                "a", vnet=True, offload=kernel.TUN_F_CSUM | kernel.TUN_F_TSO4 | kernel.TUN_F_TSO6
            )
            return self.bridge.open_link(0, "a", slots=SLOTS)

    port = Held(net)
    main = port.link.fd
    port.socket.send(UFO.data, UFO_HEADER)
    wait_until(lambda: port.bridge.turn(2) is not None and port.link.fd != main, "another socket")
    assert lane.is_joined(port.link.fd)
    port.send(vrrp(1), plain(1))
    assert sorted(port.take(2)) == sorted([vrrp(1), plain(1)])
    lane.direct(port.link.lane_fd, lane.program(frozenset(), frozenset(), lane.SPARE))
    port.send(*[plain(i) for i in range(100)], vrrp(2))
    found = port.take(101)
    assert found[0] == vrrp(2)
    assert found[1:] == [plain(i) for i in range(100)]
