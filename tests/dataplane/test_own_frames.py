"""Frames of the bridge itself: its address is never learned, its probes end where they come back, all is booked."""

from __future__ import annotations

import pytest
from helpers import frames
from helpers.bridge import Lab, access, trunk, tunnel
from model import Frame, PortConfig

from bridge.core import _core
from bridge.core.values import PortRow

OWN = frames.host(9)
INSTANCE = 0x1122334455667788


def probe(nonce: int = 5, *, instance: int = INSTANCE, source: bytes = OWN, vid: int = 10) -> bytes:
    return _core.probe_frame(
        source=frames.number(source), instance=instance, nonce=nonce, port=3, vid=vid, sequence=77
    )


def lab(*ports: PortConfig, **config: object) -> Lab:
    return Lab(
        *(ports or (access(10), access(10), trunk(10, 20))),
        own_address=frames.number(OWN),
        instance=INSTANCE,
        **config,  # type: ignore[arg-type]
    )


def test_the_bytes_of_a_probe() -> None:
    assert probe() == bytes.fromhex(
        "0346424c500002000000000988b546424c5011223344556677880000000000050003000a0000004d"
    ).ljust(60, b"\0")


@pytest.mark.parametrize("learning", [True, False])
def test_the_own_address_is_never_learned(learning: bool) -> None:
    bridge = lab(access(10, learning=learning), access(10))
    frame = frames.ethernet(frames.BROADCAST, OWN)
    assert bridge.send(0, frame, frame).data == {1: [frame, frame]}
    assert bridge.fdb() == {}
    assert bridge.values(0)["not_learned"] == 2
    assert bridge.events() == []


def test_in_controlled_mode_nobody_is_asked() -> None:
    bridge = lab(controlled=True)
    bridge.send(0, frames.ethernet(frames.BROADCAST, OWN))
    assert bridge.events() == []


@pytest.mark.parametrize("learning", [True, False])
def test_a_probe_that_comes_back_ends_and_is_told_of(learning: bool) -> None:
    bridge = lab(access(10), access(10, learning=learning))
    bridge.expect_drop(1, probe(nonce=0xABCDEF012345), "own_probe")
    assert [(e.kind, e.vid, e.mac, e.port) for e in bridge.core.events()[0]] == [
        ("probe", 10, 0xABCDEF012345, 1)
    ]
    assert bridge.fdb() == {}


def test_a_probe_that_circles_is_told_of_once_a_port() -> None:
    bridge = lab()
    for index in (0, 1, 0, 1):
        bridge.send(index, *[probe(1)] * 50)
    assert [(e.mac, e.port) for e in bridge.core.events()[0]] == [(1, 0), (1, 1)]
    bridge.send(0, probe(2))
    assert [(e.mac, e.port) for e in bridge.core.events()[0]] == [(2, 0)]


@pytest.mark.parametrize(
    "tags", [(), (frames.tag(20),), (frames.tag(20), frames.tag(7, tpid=frames.TPID_AD))]
)
def test_tags_gathered_on_the_way_hide_no_probe(tags: tuple[bytes, ...]) -> None:
    bridge = lab(access(10), tunnel(30), tunnel(30))
    found = probe()[:12] + b"".join(tags) + probe()[12:]
    bridge.expect_drop(1, found, "own_probe")


@pytest.mark.parametrize(
    "other",
    [
        probe(instance=7),
        probe(source=frames.host(1)),
        probe()[:14] + b"XXXX" + probe()[18:],
        frames.ethernet(frames.group(1), OWN, payload=10),
        probe()[:39],
        probe()[:12] + frames.tag(1) * 3 + probe()[12:],
    ],
    ids=["other bridge", "other source", "other magic", "short", "cut", "three tags"],
)
def test_what_is_not_our_probe_is_forwarded(other: bytes) -> None:
    bridge = lab(tunnel(10), tunnel(10))
    assert bridge.send(0, other).data == {1: [frames.padded(other)]}
    assert not [event for event in bridge.core.events()[0] if event.kind == "probe"]


def test_a_frame_of_the_bridge_leaves_as_its_port_wants_it_and_is_booked() -> None:
    bridge = lab()
    assert bridge.originate(0, 10, probe())
    assert bridge.originate(2, 20, probe())
    assert bridge.drain() == {
        0: [Frame(probe())],
        2: [Frame(probe()[:12] + frames.tag(20) + probe()[12:])],
    }
    assert [bridge.values(0)[name] for name in ("originated", "offered", "tx_frames")] == [1, 1, 1]
    assert bridge.values(0)["rx_frames"] == 0


def test_a_short_frame_of_the_bridge_is_padded() -> None:
    bridge = lab()
    bridge.originate(0, 10, probe()[:20])
    assert bridge.drain() == {0: [Frame(frames.padded(probe()[:20]))]}


def test_no_frame_leaves_by_a_port_that_is_down_blocked_or_not_of_the_vlan() -> None:
    bridge = lab(access(10, up=False), access(10, up=False, blocked=True), access(20))
    for index in range(3):
        assert not bridge.originate(index, 10, probe())
        assert bridge.values(index)["originated"] == 0
    assert bridge.core.originate([(9, 10, probe())]) == [False]


def test_what_the_port_cannot_send_is_a_drop_with_a_reason() -> None:
    bridge = lab(access(10, mtu=100), access(10))
    assert bridge.originate(0, 10, frames.ethernet(frames.group(1), OWN, payload=101))
    assert bridge.core.counters().ports[0].tx_drops == {"oversize": 1}
    full = Lab(access(10), access(10), slots=1)
    for _ in range(2):
        full.originate(0, 10, probe())
    assert full.core.counters().ports[0].tx_drops == {"tx_full": 1}


def test_many_frames_at_once_go_in_slices() -> None:
    bridge = lab()
    assert bridge.core.originate([(0, 10, probe(n)) for n in range(100)]) == [True] * 100
    assert [frame.data[31] for frame in bridge.ports[0].drain()] == [n & 0xFF for n in range(100)]


def test_bad_frames_of_the_bridge_are_refused() -> None:
    bridge = lab()
    for port, vid, data in ((256, 10, probe()), (0, 4095, probe()), (0, 0, probe()), (0, 10, b"x")):
        with pytest.raises(ValueError, match="must be"):
            bridge.core.originate([(port, vid, data)])
    with pytest.raises(ValueError, match="must be"):
        bridge.core.originate([(0, 10, bytes(2000))])


# -- blocked ports


def test_what_is_for_a_blocked_port_ends_under_a_reason_of_its_own() -> None:
    bridge = Lab(access(10), access(10), access(10, up=False, blocked=True), access(10))
    bridge.fdb_set(10, 5, 2)
    bridge.expect_refusal(0, frames.ethernet(frames.host(5), frames.host(1)), 2, "blocked")
    assert set(bridge.send(0, frames.ethernet(frames.BROADCAST, frames.host(1))).sent) == {1, 3}


def test_what_waited_on_a_blocked_port_ends_when_it_comes_back() -> None:
    bridge = Lab(access(10), access(10))
    bridge.change(0, up=False, blocked=True)
    bridge.inject(0, *[frames.ethernet(frames.BROADCAST, frames.host(1))] * 3)
    assert bridge.settle() == ({}, {})
    bridge.change(0, up=True, blocked=False)
    bridge.check()
    assert bridge.core.counters().ports[0].rx_drops == {"blocked": 3}
    assert bridge.settle() == ({}, {})


def test_a_blocked_port_is_not_up() -> None:
    bridge = _core.Bridge()
    with pytest.raises(ValueError, match="not up"):
        _core.Snapshot().add_port(bridge.open_memory(0), PortRow(mode="access", pvid=10, blocked=True))
