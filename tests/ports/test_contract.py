"""One contract for every kind of port: memory, tap, link. A port is done when this passes.

The port under test is port 0 of a bridge, a memory port is port 1, and `Outside` is what is behind port
0: it puts frames on the wire and takes what the bridge sent, always with tags inline and offsets
counted accordingly.
"""

from __future__ import annotations

import contextlib
import os
import struct
import threading
from collections.abc import Iterator

import pytest
from helpers import frames, kernel
from helpers.bridge import SECRET, check_conservation
from helpers.kernel import VnetHeader
from helpers.net import HERE, Net, PacketSocket, Tap, one_cpu, wait_until
from model import Frame, Offload

from bridge.config.port import PortConfig
from bridge.core import _core
from bridge.core.values import PortRow
from bridge.devices.namespaces import open_namespace
from bridge.devices.netlink import Pair, ensure_pair
from bridge.ports import vlan_filter

A, B = frames.host(1), frames.host(2)
ALL = frames.BROADCAST
BURST = 8
SIZES = [0, 1, 2, BURST - 1, BURST, BURST + 1, 5 * BURST]
GSO_NUMBERS = {"none": 0, "tcp4": kernel.VNET_GSO_TCPV4, "tcp6": kernel.VNET_GSO_TCPV6, "udp": 5}
UFO = frames.udp(ALL, A, payload_len=3000)
GSO_NAMES = {number: name for name, number in GSO_NUMBERS.items()}


class Outside:
    """The world behind a port: how frames get in and out, and how its device misbehaves."""

    kind: str  # as the port names it
    devices: tuple[str, ...] = ()  # that have an MTU

    def __init__(self, net: Net) -> None:
        self.net = net

    def open(self, bridge: _core.Bridge) -> _core.Port:
        raise NotImplementedError

    def prepare(self, stage: Stage) -> None:
        """Bring the open port to where the contract is to hold."""

    def put(self, *sent: Frame) -> None:
        raise NotImplementedError

    def take(self) -> Frame:
        """The next frame the bridge sent; waits for it."""
        raise NotImplementedError

    def waiting(self) -> int:
        """How many more frames are there."""
        raise NotImplementedError

    def refuse(self) -> str:
        """Bring the port to refuse frames from now on; returns the reason they must be counted under."""
        raise NotImplementedError


class MemoryOutside(Outside):
    kind = "memory"
    port: _core.MemoryPort

    def open(self, bridge: _core.Bridge) -> _core.Port:
        self.port = bridge.open_memory(0, slots=64)
        self._taken: list[Frame] = []
        return self.port

    def put(self, *sent: Frame) -> None:
        assert self.port.inject(sent) == len(sent)

    def take(self) -> Frame:
        self._taken += self.port.drain()
        return self._taken.pop(0)

    def waiting(self) -> int:
        self._taken += self.port.drain()
        return len(self._taken)

    def refuse(self) -> str:
        return "tx_full"  # nobody takes what is sent


class KernelOutside(Outside):
    """A packet socket on the device the bridge's frames arrive at."""

    device: str  # of the port
    socket: PacketSocket | Tap

    def put(self, *sent: Frame) -> None:
        for data, _tag, offload in sent:
            flags = kernel.VNET_NEEDS_CSUM if offload.needs_csum else 0
            gso_type = GSO_NUMBERS[offload.gso] | (0x80 if offload.ecn else 0)
            header = VnetHeader(
                flags, gso_type, offload.hdr_len, offload.gso_size, offload.csum_start, offload.csum_offset
            )
            assert self.socket.send(data, header) == len(data)

    def take(self) -> Frame:
        data, tag, vnet = self.socket.wait()
        assert vnet is not None
        needs_csum = bool(vnet.flags & kernel.VNET_NEEDS_CSUM)
        gso = GSO_NAMES[vnet.gso_type & 0x7F]
        offload = Offload(
            needs_csum, vnet.csum_start, vnet.csum_offset, gso, vnet.gso_type > 0x7F, vnet.gso_size
        )
        if not needs_csum:
            offload = Offload()
        if gso != "none":  # the kernel's hdr_len is a hint: how much of the frame was linear
            header_len = 8 if gso == "udp" else (data[vnet.csum_start + 12] >> 4) * 4
            offload = offload._replace(hdr_len=vnet.csum_start + header_len)
        if tag is None:
            return Frame(data, None, offload)
        return Frame(data[:12] + struct.pack("!HH", *tag) + data[12:], None, shifted(offload, 4))

    def waiting(self) -> int:
        return len(self.socket.waiting())

    def refuse(self) -> str:
        HERE.set_link(self.device, state="down")
        return "port_down"


class TapOutside(KernelOutside):
    kind = "tap"
    device = "t"
    devices = ("t",)

    def open(self, bridge: _core.Bridge) -> _core.Port:
        port = bridge.open_tap(0, "t")
        HERE.set_link("t", state="up")
        self.socket = self.net.packet_socket("t", vnet=True)
        return port


class LinkOutside(KernelOutside):
    kind = "link"
    device = "a"
    devices = ("a", "b")

    def open(self, bridge: _core.Bridge) -> _core.Port:
        self.net.veth("a", "b")
        self.socket = self.net.packet_socket("b", vnet=True)
        return bridge.open_link(0, "a", slots=64)


class VethOutside(LinkOutside):
    """A pair made for a guest, whose end is used as any link's far end is."""

    def open(self, bridge: _core.Bridge) -> _core.Port:
        namespace = open_namespace()
        try:
            HERE.run(ensure_pair, Pair("a", "b", 0x020000000001, 1500, "framebridge test"), namespace)
        finally:
            os.close(namespace)
        self.net.callback(self._delete)
        HERE.set_link("b", state="up")
        for device in self.devices:
            HERE.wait_carrier(device)
        self.socket = self.net.packet_socket("b", vnet=True)
        return bridge.open_link(0, "a", slots=64)

    def _delete(self) -> None:
        with contextlib.suppress(OSError):  # by the test itself
            HERE.delete_link("a")


class HeldTapOutside(KernelOutside):
    """A link on a tap that another process holds, as QEMU does: what is sent has whatever header the guest likes."""

    kind = "link"
    device = "t"
    devices = ("t",)

    def open(self, bridge: _core.Bridge) -> _core.Port:
        self.socket = self.net.tap(
            "t", vnet=True, offload=kernel.TUN_F_CSUM | kernel.TUN_F_TSO4 | kernel.TUN_F_TSO6
        )
        return bridge.open_link(0, "t", slots=64)

    def put_refused(self) -> None:
        """Send a super-frame of a kind that no packet socket takes."""
        header = VnetHeader(kernel.VNET_NEEDS_CSUM, kernel.VNET_GSO_UDP, UFO.hdr_len, 1000, UFO.csum_start, 6)
        self.socket.send(UFO.data, header)


class RefusedOutside(HeldTapOutside):
    """The same once the kernel had such a frame for the port: its ring is wedged."""

    def prepare(self, stage: Stage) -> None:
        self.put_refused()
        stage.wait_refused(1)


def shifted(offload: Offload, by: int) -> Offload:
    return offload._replace(
        csum_start=offload.csum_start + by if offload.needs_csum else 0,
        hdr_len=offload.hdr_len + by if offload.hdr_len else 0,
    )


class Stage:
    """A bridge with the port under test and a memory port."""

    def __init__(self, outside: Outside) -> None:
        self.outside = outside
        self.bridge = _core.Bridge(burst=BURST, secret=SECRET)
        self.port = outside.open(self.bridge)
        self.memory = self.bridge.open_memory(1, slots=1024)
        self.received = 0
        self.configure()
        outside.prepare(self)

    def configure(self, tpid: int = frames.TPID_Q, mtu: int = 1500, up: bool = True) -> None:
        """Both ports carry VLAN 10 tagged and VLAN 1 untagged."""
        snapshot = _core.Snapshot()
        for port in (self.port, self.memory):
            port_up = up or port is self.memory
            snapshot.add_port(port, PortRow(mode="trunk", pvid=1, vids=[10], tpid=tpid, mtu=mtu, up=port_up))
        self.bridge.apply(snapshot)

    def receive(self, n: int) -> list[Frame]:
        """Turn until n frames came out at the memory port, and look whether more come."""
        got: list[Frame] = []

        def enough() -> bool:
            self.received += self.bridge.turn()
            got.extend(self.memory.drain())
            return len(got) >= n

        wait_until(enough, f"{n} frames through the bridge")
        self.turn()
        got.extend(self.memory.drain())
        check_conservation(self.bridge.counters().ports)
        return got

    def wait_refused(self, n: int) -> None:
        """Turn until n super-frames were refused by the kernel."""

        def enough() -> bool:
            self.turn()
            return self.values()["rx_refused"] == n

        wait_until(enough, f"{n} refused super-frames")

    def turn(self) -> None:
        while n := self.bridge.turn():
            self.received += n

    def send(self, *sent: Frame | bytes) -> None:
        """From the memory port out."""
        assert self.memory.inject(sent) == len(sent)
        self.turn()
        check_conservation(self.bridge.counters().ports)

    def take(self, n: int) -> list[Frame]:
        got = [self.outside.take() for _ in range(n)]
        assert self.outside.waiting() == 0
        return got

    def values(self, index: int = 0) -> dict[str, int]:
        return self.bridge.counters().ports[index].values

    def drops(self, index: int = 0) -> dict[str, int]:
        return self.bridge.counters().ports[index].tx_drops

    def close(self) -> None:
        self.bridge.apply(_core.Snapshot())
        self.bridge.close_port(self.port)
        self.bridge.close_port(self.memory)


KINDS = {
    "memory": MemoryOutside,
    "tap": TapOutside,
    "link": LinkOutside,
    "veth": VethOutside,
    "held tap": HeldTapOutside,
    "refused": RefusedOutside,
}
DEVICES = ["tap", "link", "veth"]
HELD = ["held tap", "refused"]


def make_stage(net: Net, kind: str) -> Stage:
    net.enter_context(one_cpu())  # the order of frames is part of the contract
    stage = Stage(KINDS[kind](net))
    net.callback(stage.close)
    return stage


@pytest.fixture(params=["memory", *(pytest.param(kind, marks=pytest.mark.root) for kind in DEVICES + HELD)])
def stage(request: pytest.FixtureRequest, net: Net) -> Stage:
    return make_stage(net, request.param)


@pytest.fixture(params=[pytest.param(kind, marks=pytest.mark.root) for kind in DEVICES])
def device_stage(request: pytest.FixtureRequest, net: Net) -> Stage:
    """Kinds that have a device."""
    return make_stage(net, request.param)


@pytest.fixture
def link_stage(net: Net) -> Stage:
    return make_stage(net, "link")


@pytest.fixture
def held_stage(net: Net) -> Stage:
    """A link on a tap that another process holds."""
    return make_stage(net, "held tap")


def numbered(i: int, *tags: bytes, size: int = 60) -> Frame:
    return Frame(frames.ethernet(ALL, A, *tags, payload=i.to_bytes(2, "big") * (size // 2)))


def partial(segment: frames.Segment) -> Frame:
    return Frame(segment.data, None, Offload(True, segment.csum_start, segment.csum_offset))


def super_frame(segment: frames.Segment, gso: str = "tcp4", gso_size: int = 1400) -> Frame:
    offload = Offload(True, segment.csum_start, segment.csum_offset, gso, False, gso_size, segment.hdr_len)
    return Frame(segment.data, None, offload)


# -- what it is


def test_names_itself(stage: Stage) -> None:
    assert (stage.port.index, stage.port.kind) == (0, stage.outside.kind)
    assert stage.port.device == getattr(stage.outside, "device", "")
    assert not stage.port.closed
    assert (stage.port.fd >= 0) == (stage.outside.kind != "memory")


def test_is_not_closed_under_traffic(stage: Stage) -> None:
    with pytest.raises(ValueError, match="snapshot"):
        stage.bridge.close_port(stage.port)
    stage.outside.put(numbered(1))
    assert stage.receive(1) == [numbered(1)]


def test_closes_once_and_for_all(stage: Stage) -> None:
    stage.close()
    assert stage.port.closed
    assert stage.port.fd == -1
    stage.bridge.close_port(stage.port)
    with pytest.raises(ValueError, match="closed"):
        stage.configure()


# -- bursts, order, bytes


@pytest.mark.parametrize("n", SIZES)
def test_receives_bursts_in_order(stage: Stage, n: int) -> None:
    sent = [numbered(i) for i in range(n)]
    stage.outside.put(*sent)
    assert stage.receive(n) == sent
    values = stage.values()
    assert (values["rx_frames"], values["rx_bytes"]) == (n, sum(len(frame.data) for frame in sent))
    assert stage.received == n


@pytest.mark.parametrize("n", SIZES)
def test_sends_bursts_in_order(stage: Stage, n: int) -> None:
    sent = [numbered(i) for i in range(n)]
    stage.send(*sent)
    assert stage.take(n) == sent
    values = stage.values()
    assert (values["tx_frames"], values["tx_bytes"]) == (n, sum(len(frame.data) for frame in sent))
    assert stage.drops() == {}


@pytest.mark.parametrize("length", [14, 15, 59, 60, 61, 64, 512, 1500, 1513, 1514])
def test_every_length_byte_for_byte(stage: Stage, length: int) -> None:
    frame = Frame(frames.sized(ALL, A, length - 14))
    padded = Frame(frames.padded(frame.data))
    stage.outside.put(frame)
    assert stage.receive(1) == [padded]
    assert stage.values()["rx_bytes"] == length
    stage.send(frame)
    assert stage.take(1) == [padded]


@pytest.mark.parametrize("length", [1965, 1984, 1985, 2000, 2048, 4000, 9014])
def test_jumbo_frames_byte_for_byte(stage: Stage, length: int) -> None:
    """Around the end of a slot and of a head buffer, and beyond."""
    for device in stage.outside.devices:
        HERE.set_link(device, mtu=9000)
    stage.configure(mtu=9000)
    frame = Frame(frames.sized(ALL, A, length - 14))
    stage.outside.put(frame)
    assert stage.receive(1) == [frame]
    stage.send(frame)
    assert stage.take(1) == [frame]


def test_a_burst_of_super_frames_ends_early(device_stage: Stage) -> None:
    """256 KiB are enough at a time: others wait, and what is read shall still be in the cache when it is written."""
    frame = super_frame(frames.tcp(ALL, A, payload_len=60_000))
    device_stage.outside.put(*[frame] * BURST)
    wait_until(lambda: device_stage.bridge.turn() == 5, "a burst of 5 x 60054 bytes")
    assert device_stage.bridge.turn() == BURST - 5
    assert device_stage.memory.drain() == [frame] * BURST
    check_conservation(device_stage.bridge.counters().ports)


def test_a_burst_of_many_segments_ends_early(device_stage: Stage) -> None:
    """512 segments are enough at a time: whoever sends them cuts them in one call."""
    frame = super_frame(frames.tcp(ALL, A, payload_len=18_000), gso_size=100)  # 180 segments
    device_stage.outside.put(*[frame] * BURST)
    wait_until(lambda: device_stage.bridge.turn() == 3, "a burst of 3 x 180 segments")
    wait_until(lambda: device_stage.bridge.turn() == 3, "another")
    assert device_stage.bridge.turn() == BURST - 6
    assert device_stage.memory.drain() == [frame] * BURST


def test_many_frames(stage: Stage) -> None:
    """Rings come round."""
    for start in range(0, 1000, 40):
        sent = [numbered(i) for i in range(start, start + 40)]
        stage.outside.put(*sent)
        assert stage.receive(40) == sent
        stage.send(*sent)
        assert stage.take(40) == sent
    assert stage.values()["rx_frames"] == stage.values()["tx_frames"] == 1000


# -- tags


@pytest.mark.parametrize("tpid", [frames.TPID_Q, frames.TPID_AD], ids=["802.1Q", "802.1ad"])
def test_tags_survive(stage: Stage, tpid: int) -> None:
    stage.configure(tpid=tpid)
    sent = [
        numbered(1, frames.tag(10, pcp=5, dei=1, tpid=tpid)),
        numbered(2, frames.tag(10, tpid=tpid), frames.tag(20, pcp=3)),
        numbered(3, frames.tag(10, tpid=tpid), frames.tag(0, tpid=frames.TPID_AD)),
        numbered(4),
    ]
    stage.outside.put(*sent)
    assert stage.receive(4) == sent
    assert stage.values()["rx_bytes"] == sum(len(frame.data) for frame in sent)
    stage.send(*sent)
    assert stage.take(4) == sent
    assert stage.values()["tx_bytes"] == sum(len(frame.data) for frame in sent)


def test_priority_tag_arrives_as_such(stage: Stage) -> None:
    """VID 0 enters the native VLAN; it must not be mistaken for no tag, or for a tag of VLAN 0."""
    stage.outside.put(numbered(1, frames.tag(0, pcp=5)))
    assert stage.receive(1) == [numbered(1)]


def test_foreign_tag_is_payload(stage: Stage) -> None:
    """It comes through as it was, whether or not the kernel had taken it out."""
    frame = numbered(1, frames.tag(10, pcp=2, tpid=frames.TPID_AD))
    stage.outside.put(frame)
    assert stage.receive(1) == [frame]
    stage.send(frame)
    assert stage.take(1) == [frame]


def test_longest_tagged_frame(stage: Stage) -> None:
    frame = Frame(frames.sized(ALL, A, 1500, frames.tag(10)))
    stage.outside.put(frame)
    assert stage.receive(1) == [frame]
    stage.send(frame)
    assert stage.take(1) == [frame]


# -- offload metadata


SEGMENTS = {
    "tcp4": lambda *tags, n=200: frames.tcp(ALL, A, *tags, payload_len=n),
    "tcp6": lambda *tags, n=200: frames.tcp(ALL, A, *tags, payload_len=n, version=6),
    "udp": lambda *tags, n=200: frames.udp(ALL, A, *tags, payload_len=n),
}
every_segment = pytest.mark.parametrize("build", SEGMENTS.values(), ids=SEGMENTS.keys())
tagged_or_not = pytest.mark.parametrize("tags", [(), (frames.tag(10, pcp=1),)], ids=["untagged", "tagged"])


@every_segment
@tagged_or_not
def test_open_checksums_stay_open(stage: Stage, build, tags: tuple[bytes, ...]) -> None:
    frame = partial(build(*tags))
    stage.outside.put(frame)
    assert stage.receive(1) == [frame]
    stage.send(frame)
    assert stage.take(1) == [frame]


@pytest.mark.parametrize("gso", ["tcp4", "tcp6"])
@pytest.mark.parametrize("payload_len", [3000, 30000, 65000])
@tagged_or_not
def test_super_frames_pass_whole(stage: Stage, gso: str, payload_len: int, tags: tuple[bytes, ...]) -> None:
    frame = super_frame(SEGMENTS[gso](*tags, n=payload_len), gso)
    stage.outside.put(frame)
    assert stage.receive(1) == [frame]
    stage.send(frame)
    assert stage.take(1) == [frame]
    values = stage.values()
    n_segments = -(-payload_len // 1400)
    assert (values["rx_super_frames"], values["rx_segments"]) == (1, n_segments)
    assert (values["tx_super_frames"], values["tx_segments"]) == (1, n_segments)
    assert values["rx_bytes"] == values["tx_bytes"] == len(frame.data)


def test_super_frames_and_small_ones_keep_their_order(stage: Stage) -> None:
    sent = []
    for i in range(4):
        sent.append(super_frame(SEGMENTS["tcp4"](n=20000 + i)))
        sent.append(numbered(i))
        sent.append(super_frame(SEGMENTS["tcp4"](frames.tag(10), n=20000 + i)))
    stage.outside.put(*sent)
    assert stage.receive(len(sent)) == sent
    stage.send(*sent)
    assert stage.take(len(sent)) == sent


# -- refusals


def test_refused_frames_are_counted(stage: Stage) -> None:
    """Never lost silently: what did not go is under a reason, and the ledger balances."""
    reason = stage.outside.refuse()
    if reason == "tx_full":
        stage.send(*(numbered(i) for i in range(60)))
        stage.send(*(numbered(i) for i in range(60)))
        assert stage.drops() == {"tx_full": 120 - 64}
        assert len(stage.take(64)) == 64
    else:
        stage.send(*(numbered(i) for i in range(20)))
        assert stage.drops() == {reason: 20}
    values = stage.values()
    assert values["offered"] == values["tx_frames"] + sum(stage.drops().values())


def test_configured_down_is_silent(stage: Stage) -> None:
    """`up=False`: nothing is taken, nothing is sent; what waited is dropped when the port comes up."""
    stage.configure(up=False)
    stage.outside.put(numbered(1))
    stage.send(numbered(2))
    stage.turn()
    assert stage.memory.drain() == []
    assert stage.outside.waiting() == 0
    assert stage.values()["rx_frames"] == 0
    stage.configure(up=True)
    assert stage.bridge.counters().ports[stage.port.index].rx_drops == {"port_down": 1}
    stage.outside.put(numbered(3))
    assert stage.receive(1) == [numbered(3)]


def test_frame_longer_than_the_device_takes(link_stage: Stage) -> None:
    """The kernel says EMSGSIZE; neighbours in the same burst go out."""
    link_stage.configure(mtu=9000)
    long = Frame(frames.sized(ALL, A, 1501))
    link_stage.send(numbered(1), long, numbered(2), long, long, numbered(3))
    assert link_stage.take(3) == [numbered(1), numbered(2), numbered(3)]
    assert link_stage.drops() == {"oversize": 3}


def test_frames_the_ring_had_no_room_for(link_stage: Stage) -> None:
    """They never reached the bridge: counted as missed, outside the ledger."""
    link_stage.outside.put(*(numbered(i) for i in range(500)))
    link_stage.turn()
    values = link_stage.values()
    assert 0 < values["rx_frames"] < 500
    assert values["rx_frames"] + values["rx_missed"] == 500
    link_stage.memory.drain()
    link_stage.outside.put(numbered(1))
    assert link_stage.receive(1) == [numbered(1)]


# -- super-frames that the kernel refuses


def test_receiving_goes_on_after_a_refused_super_frame(held_stage: Stage) -> None:
    """The kernel drops a super-frame of a kind it has no number for, and the ring with it. It costs itself only."""
    stage = held_stage
    stage.outside.put(numbered(0))
    assert stage.receive(1) == [numbered(0)]
    for n in (1, 2, 3):
        stage.outside.put_refused()
        stage.wait_refused(n)
        sent = [numbered(i) for i in range(20)]
        stage.outside.put(*sent)
        assert stage.receive(20) == sent
    values = stage.values()
    assert (values["rx_frames"], values["rx_refused"], values["rx_missed"]) == (61, 3, 0)
    assert [event.kind for event in stage.bridge.events()[0] if event.kind.startswith("rx")] == ["rx_refused"]


def test_refused_super_frames_among_others_are_counted(held_stage: Stage) -> None:
    """What came in the moment before the ring was given up is counted as missed; later nothing is."""
    stage = held_stage
    for n in (1, 2):
        stage.outside.put(*(numbered(i) for i in range(10)))
        stage.outside.put_refused()
        stage.outside.put(*(numbered(i) for i in range(10)))
        stage.wait_refused(n)
        stage.turn()
    values = stage.values()
    assert (values["rx_frames"], values["rx_refused"], values["rx_missed"]) == (30, 2, 10)
    assert stage.memory.drain()[10:] == 2 * [numbered(i) for i in range(10)]


def test_a_sleeping_data_thread_hears_of_a_refused_super_frame(held_stage: Stage) -> None:
    """Nothing else happens: the drop itself must wake it."""
    bridge = held_stage.bridge
    with running(bridge):
        wait_until(lambda: at_rest(bridge), "the loop to come to rest")
        held_stage.outside.put_refused()
        wait_until(lambda: held_stage.values()["rx_refused"] == 1, "the refused frame to be counted")
        held_stage.outside.put(*(numbered(i) for i in range(20)))
        wait_until(lambda: held_stage.values()["rx_frames"] == 20, "20 frames after the refused one")
        wait_until(lambda: at_rest(bridge), "the loop to come to rest")


def test_a_ring_that_was_full_is_not_given_up(held_stage: Stage) -> None:
    """Frames are missed there, too, and the data thread is woken for nothing now and then."""
    stage = held_stage
    for _ in range(3):
        stage.outside.put(*(numbered(i) for i in range(500)))
        stage.turn()
    assert stage.values()["rx_missed"] > 3 * 400
    assert stage.values()["rx_refused"] == 0
    stage.outside.put_refused()
    stage.wait_refused(1)


def test_the_filter_in_the_kernel_stays_when_the_ring_goes(held_stage: Stage) -> None:
    stage = held_stage
    program = vlan_filter.program(PortConfig("p", "link", device="t", mode="trunk", pvid=1, vids=(10,)))
    assert program is not None
    vlan_filter.attach(stage.port.fd, program)
    stage.outside.put_refused()
    stage.wait_refused(1)
    stage.outside.put(numbered(1, frames.tag(11)), numbered(2, frames.tag(10)))
    assert stage.receive(1) == [numbered(2, frames.tag(10))]
    assert stage.values()["rx_frames"] == 1


# -- the device goes away


def test_device_goes_down_and_comes_back(device_stage: Stage) -> None:
    device = device_stage.outside.device
    HERE.set_link(device, state="down")
    device_stage.send(*(numbered(i) for i in range(3)))
    assert device_stage.drops() == {"port_down": 3}
    HERE.set_link(device, state="up")
    for end in (device, device_stage.outside.socket.device):
        HERE.wait_carrier(end)
    device_stage.outside.socket.clear_error()
    device_stage.send(numbered(4))
    assert device_stage.take(1) == [numbered(4)]
    device_stage.outside.put(numbered(5))
    assert device_stage.receive(1) == [numbered(5)]
    kinds = {event.kind for event in device_stage.bridge.events()[0]}
    assert "port_error" not in kinds


def test_device_is_removed(device_stage: Stage) -> None:
    """One event tells it, sending is counted, the other ports go on, and closing is clean."""
    device_stage.outside.put(numbered(1))
    device_stage.receive(1)
    device_stage.bridge.events()
    HERE.delete_link(device_stage.outside.device)

    def told() -> list[_core.Event]:
        device_stage.turn()
        return [event for event in device_stage.bridge.events()[0] if event.kind == "port_error"]

    (event,) = wait_until(told, "the bridge to notice")
    assert event.port == 0
    assert event.errno != 0
    device_stage.send(numbered(2), numbered(3))
    assert device_stage.drops() == {"port_down": 2}
    assert told() == []


def test_device_is_removed_under_a_running_data_thread(device_stage: Stage) -> None:
    """Sending is counted, the others go on, and the loop comes to rest: it must not spin over the lost port.

    A tap tells its loss. A link may not, to a thread quick enough to see it go down first
    (tests/platform/test_link_gone.py); who needs to know listens to netlink.
    """
    bridge, memory = device_stage.bridge, device_stage.memory
    with running(bridge):
        HERE.delete_link(device_stage.outside.device)
        if device_stage.outside.kind == "tap":
            events: list[_core.Event] = []
            wait_until(lambda: events.extend(bridge.events()[0]) or events, "the bridge to notice")
            assert [(event.kind, event.port) for event in events] == [("port_error", 0)]
        for i in range(3):
            memory.inject([numbered(i)])
            bridge.wake()
        wait_until(lambda: device_stage.drops() == {"port_down": 3}, "the frames to be counted")
        wait_until(lambda: at_rest(bridge), "the loop to come to rest")


def at_rest(bridge: _core.Bridge) -> bool:
    """Whether the data thread takes no turn while nothing happens; a spinning one takes thousands."""
    before = bridge.progress
    threading.Event().wait(0.05)
    return bridge.progress == before


def test_removed_device_is_opened_anew(device_stage: Stage) -> None:
    """The way back after a loss: close, open under the same index, apply."""
    HERE.delete_link(device_stage.outside.device)
    device_stage.turn()
    device_stage.bridge.apply(_core.Snapshot())
    device_stage.bridge.close_port(device_stage.port)
    device_stage.port = device_stage.outside.open(device_stage.bridge)
    device_stage.configure()
    device_stage.outside.put(numbered(1))
    assert device_stage.receive(1) == [numbered(1)]
    device_stage.send(numbered(2))
    assert device_stage.take(1) == [numbered(2)]


def test_super_frames_around_a_link_loss(link_stage: Stage) -> None:
    """What recv() fetches must belong to its slot: a pending ENETDOWN must not shift it to another's tag.

    All frames here have one canonical length: no length check tells them apart. VLAN 1 comes untagged.
    """

    def make(i: int, *tags: bytes) -> Frame:
        segment = frames.tcp(ALL, A, *tags, payload_len=20000)
        return super_frame(segment._replace(data=segment.data[:-1] + bytes([i])))

    before = [make(i) for i in range(4)]
    after = [make(i, frames.tag(10)) for i in range(4, 8)]
    link_stage.outside.put(*before)
    HERE.set_link("a", state="down")
    HERE.set_link("a", state="up")
    HERE.wait_carrier("a")
    link_stage.outside.socket.clear_error()
    link_stage.outside.put(*after)
    link_stage.turn()
    got = link_stage.memory.drain()
    assert [frame for frame in got if frame not in before + after] == [], "bytes of one frame, tag of another"
    assert got[-4:] == after
    counters = link_stage.bridge.counters().ports[0]
    assert len(got) + counters.rx_drops.get("truncated", 0) == 8


# -- opening what cannot be opened


@pytest.mark.root
def test_missing_device() -> None:
    bridge = _core.Bridge()
    with pytest.raises(OSError, match="none0") as failure:
        bridge.open_link(0, "none0")
    assert failure.value.errno == 19


@pytest.mark.root
def test_busy_tap(net: Net) -> None:
    net.tap("t", vnet=True)
    bridge = _core.Bridge()
    with pytest.raises(OSError, match="busy"):
        bridge.open_tap(0, "t")


@pytest.mark.root
def test_tap_of_another_kind_of_device(net: Net) -> None:
    net.veth("a", "b")
    bridge = _core.Bridge()
    with pytest.raises(OSError, match="a"):
        bridge.open_tap(0, "a")


@pytest.mark.parametrize("name", ["", "a-name-of-16-byte"])
def test_device_name_that_cannot_be(name: str) -> None:
    bridge = _core.Bridge()
    for open_port in (bridge.open_tap, bridge.open_link):
        with pytest.raises(ValueError, match="device name"):
            open_port(0, name)


@pytest.mark.parametrize("index", [-1, _core.PORTS_MAX])
def test_index_out_of_range(index: int) -> None:
    with pytest.raises(ValueError, match="index"):
        _core.Bridge().open_memory(index)


@contextlib.contextmanager
def running(bridge: _core.Bridge) -> Iterator[None]:
    """A data thread."""
    thread = threading.Thread(target=bridge.run)
    thread.start()
    try:
        wait_until(lambda: bridge.running, "the data thread to run")
        yield
    finally:
        bridge.stop()
        thread.join()
