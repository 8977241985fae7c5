"""With and without the kernel the same bytes leave by the same ports, in the same order, and are counted alike.

Job: random ports, stations and frames go through two bridges of real devices in turn: one whose ports are open to the
kernel, one whose ports are closed. What each far side receives is compared frame by frame, every counter, and who is
known where. Frames of one turn are sent one by one with a turn of userspace now and then, so that streams are handed
over in the middle.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from helpers.net import Net, Received, one_cpu
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from offload.kernel_bridge import KernelBridge, kernel_bridge

from bridge.offload.counts import no_counts

pytestmark = pytest.mark.root

# Every port there is: access and trunk, native or not, links and a tap, TPIDs, a short MTU, isolation.
PORTS: dict[str, tuple[str, dict[str, Any]]] = {
    "a": ("link", {"mode": "access", "pvid": 10}),
    "b": ("link", {"mode": "access", "pvid": 10, "isolated": True}),
    "c": ("link", {"mode": "access", "pvid": 20, "isolated": True}),
    "t": ("link", {"mode": "trunk", "vids": (10, 20)}),
    "n": ("link", {"mode": "trunk", "vids": (10, 20), "pvid": 10, "isolated": True, "default_pcp": 5}),
    "q": ("link", {"mode": "trunk", "vids": (10, 20), "tpid": 0x88A8, "pvid": 20, "native_tagged": True}),
    "p": ("tap", {"mode": "access", "pvid": 10}),
}
SHORT = {"b": 900}  # MTU
STATIONS = [bytes((2, 0, 0, 0, 0, number)) for number in range(1, 6)]
GROUPS = [bytes.fromhex("ffffffffffff"), bytes.fromhex("01005e000001"), bytes.fromhex("0180c2000000")]
TYPES = {
    "other": b"\x88\xb5" + bytes(30),
    "arp": b"\x08\x06" + bytes(28),
    "tcp": b"\x08\x00" + bytes.fromhex("4500002800000000400600000a0000010a000002") + bytes(20),
    "heartbeat": b"\x08\x00"
    + bytes.fromhex("4500002000000000401100000a0000010a000002")
    + b"\x15\x1c\x15\x1c\x00\x0c\x00\x00",
    "vrrp": b"\x08\x00" + bytes.fromhex("4500001c00000000ff7000000a0000010a000002") + bytes(8),
    "bfd_with_options": b"\x08\x00"
    + bytes.fromhex("4600003800000000ff1100000a0000010a00000294040000")
    + b"\xc0\x00\x0e\xc8\x00\x20\x00\x00"
    + bytes(24),
    "vrrp_in_ah": b"\x08\x00"
    + bytes.fromhex("4500003400000000ff3300000a0000010a000002")
    + b"\x70\x04"
    + bytes(22)
    + bytes(8),
    "glbp_6": b"\x86\xdd"
    + bytes.fromhex("60000000001c00ff")
    + bytes(32)
    + b"\x3c\x00"
    + bytes(6)
    + b"\x11\x00"
    + bytes(6)
    + b"\x0c\x96\x0c\x96\x00\x0c\x00\x00"
    + bytes(4),
    "fragment_6": b"\x86\xdd"
    + bytes.fromhex("60000000001c2cff")
    + bytes(32)
    + b"\x11\x00\x00\x09"
    + bytes(4)
    + b"\x15\x1c\x15\x1c\x00\x0c\x00\x00"
    + bytes(12),
    "nd": b"\x86\xdd" + bytes.fromhex("6000000000083aff") + bytes(32) + b"\x87" + bytes(7),
    "inner": b"\x81\x00\x00\x07\x88\xb5" + bytes(40),
    "inner_s": b"\x88\xa8\x00\x07\x88\xb5" + bytes(40),
}


Step = tuple[str, bytes] | None  # where a frame is sent, tags inline; None: userspace gets its turn


def in_form(port: str, vid: int, data: bytes, pcp: int = 0) -> bytes:
    """A frame as the port takes it in a VLAN."""
    options = PORTS[port][1]
    if options["mode"] == "access" or (vid == options.get("pvid") and not options.get("native_tagged")):
        return data
    tpid = int(options.get("tpid", 0x8100)).to_bytes(2, "big")
    return data[:12] + tpid + (pcp << 13 | vid).to_bytes(2, "big") + data[12:]


@st.composite
def payloads(draw: st.DrawFn) -> bytes:
    payload = TYPES[draw(st.sampled_from(sorted(TYPES)))]
    return payload + bytes(draw(st.sampled_from([0, 0, 1, 100, 850, 900, 1400])))


@st.composite
def strays(draw: st.DrawFn) -> Step:
    """Anything from anybody, in any form, to anybody."""
    destination = draw(st.sampled_from(STATIONS * 3 + GROUPS))
    data = destination + draw(st.sampled_from(STATIONS)) + draw(payloads())
    if tpid := draw(st.sampled_from([b"", b"\x81\x00", b"\x88\xa8"])):
        tci = draw(st.sampled_from([0, 3])) << 13 | draw(st.sampled_from([10, 20, 0, 30, 4095]))
        data = data[:12] + tpid + tci.to_bytes(2, "big") + data[12:]
    return draw(st.sampled_from(sorted(PORTS))), data[:1514]


@st.composite
def conversations(draw: st.DrawFn) -> list[Step]:
    """Two stations on ports of one VLAN: one frame each way, and then some more of one of them."""
    vid = draw(st.sampled_from([10, 20]))
    able = [
        name
        for name, (_, options) in sorted(PORTS.items())
        if vid in (options.get("pvid"), *options.get("vids", ()))
    ]
    ports = draw(st.lists(st.sampled_from(able), min_size=2, max_size=2, unique=True))
    macs = draw(st.lists(st.sampled_from(STATIONS), min_size=2, max_size=2, unique=True))
    steps: list[Step] = []
    for me, other in ((0, 1), (1, 0)):
        steps += [(ports[me], in_form(ports[me], vid, macs[other] + macs[me] + TYPES["other"])), None]
    pcp = draw(st.sampled_from([0, 0, 6]))
    for _ in range(draw(st.integers(1, 8))):
        data = macs[1] + macs[0] + draw(st.sampled_from([TYPES["other"], draw(payloads())]))
        steps.append((ports[0], in_form(ports[0], vid, data[:1514], pcp)))
        if draw(st.booleans()):
            steps.append(None)
    return steps


STEPS = st.lists(
    st.one_of(conversations(), conversations(), strays().map(lambda step: [step])), min_size=1, max_size=8
).map(lambda parts: [step for part in parts for step in part])


class Twin:
    """The two bridges."""

    def __init__(self, with_kernel: KernelBridge, without: KernelBridge) -> None:
        self.bridges = (with_kernel, without)
        for bridge in self.bridges:
            for name, (kind, options) in PORTS.items():
                port = bridge.link(name, **options) if kind == "link" else bridge.tap(name, **options)
                port.mtu = SHORT.get(name, 1500)
            bridge.apply()
        for one in without.ports.values():
            without.programs.shared.close_port(one.index)
        self.forwarded = 0

    def begin(self) -> None:
        """Forget everybody."""
        for bridge in self.bridges:
            bridge.core.fdb_flush()
            bridge.turn()
            for one in bridge.ports.values():
                one.wire.waiting()

    def run(self, steps: list[Step]) -> None:
        outcomes = [self._run(bridge, steps) for bridge in self.bridges]
        for what, with_kernel in outcomes[0].items():
            assert with_kernel == outcomes[1][what], what
        self.forwarded = self.bridges[0].forwarded()

    def _run(self, bridge: KernelBridge, steps: list[Step]) -> dict[str, Any]:
        before = counters(bridge)
        got: dict[str, list[Received]] = {name: [] for name in PORTS}
        sender: tuple[str, bytes] | None = None
        for step in [*steps, None]:
            # Between ports there is no order; and a station that moves within a batch has moved for all of it.
            if step is None or sender not in (None, source_of(step)):
                bridge.turn()
                for name, one in bridge.ports.items():
                    got[name] += one.wire.waiting()
            sender = source_of(step) if step else None
            if step is not None:
                bridge.wire(step[0]).send(step[1])
        after = counters(bridge)
        return {
            "received": {name: by_flow(received) for name, received in got.items()},
            "counters": {
                key: after[key] - before.get(key, 0) for key in after if after[key] != before.get(key, 0)
            },
            "fdb": [entry._replace(tick=0) for entry in bridge.core.fdb_entries()],
        }


def source_of(step: tuple[str, bytes]) -> tuple[str, bytes]:
    """Where a frame comes from: port and station."""
    return step[0], step[1][6:12]


def by_flow(received: list[Received]) -> dict[bytes, list[bytes]]:
    """R11: order is kept between two stations in a VLAN; between others it is open."""
    flows: dict[bytes, list[bytes]] = {}
    for one in received:
        flows.setdefault(one.data[:12] + repr(one.tag).encode(), []).append(one.data)
    return flows


# How often userspace looked, and which of the two forwarded.
ONE_SIDED = {"rx_batches", "rx_cycles", "tx_cycles", "offloaded", "offloaded_tx"}


def counters(bridge: KernelBridge) -> dict[tuple[str, str], int]:
    bridge.counts.read()
    found: dict[tuple[str, str], int] = {}
    for index, port in bridge.core.counters().ports.items():
        kernel = bridge.counts.port(index) if bridge.counts else no_counts()
        for one in (port, kernel):
            for kind, values in (("", one.values), ("rx ", one.rx_drops), ("tx ", one.tx_drops)):
                for name, value in values.items():
                    if name not in ONE_SIDED:
                        found[str(index), kind + name] = found.get((str(index), kind + name), 0) + value
    return found


@pytest.fixture
def twin(net: Net) -> Iterator[Twin]:
    with one_cpu(), kernel_bridge(net) as one, kernel_bridge(net) as other:
        yield Twin(one, other)


def test_same_bytes_same_ports_same_order_same_counters(twin: Twin) -> None:
    @settings(
        max_examples=60,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    @given(STEPS)
    def check(steps: list[Step]) -> None:
        twin.begin()
        twin.run(steps)

    check()
    assert twin.forwarded, "the kernel took no part in it"
