"""Mirrors: which frames are copied, in what form, once; what that does to the ledger and the bill."""

from __future__ import annotations

from typing import Any

import pytest
from helpers import frames
from helpers.bridge import Lab, access, make_snapshot, trunk
from model import Captured, Frame, Mirror, Offload

from bridge.core import _core
from bridge.core.values import MirrorRow

WATCH = trunk(direction="egress")  # a port of no VLAN that takes nothing
A, B, T, W = range(4)


def make_lab(*mirrors: Mirror, **options) -> Lab:
    """Two access ports and a trunk of VLAN 10, and a port that watches; stations 1 and 2 are known on A and B."""
    lab = Lab(access(10), access(10), trunk(10, 20), WATCH, **options)
    lab.learn(A, 1)
    lab.learn(B, 2)
    lab.change_bridge(mirrors=mirrors)
    return lab


UNICAST = frames.ethernet(frames.host(2), frames.host(1), payload=100)
BROADCAST = frames.ethernet(frames.BROADCAST, frames.host(1), payload=100)


def tagged(frame: bytes, vid: int = 10, **options: int) -> bytes:
    return frame[:12] + frames.tag(vid, **options) + frame[12:]


@pytest.mark.parametrize(
    ("mirror", "copies"),
    [
        (Mirror(W), 2),
        (Mirror(W, rx=False), 1),
        (Mirror(W, tx=False), 1),
        (Mirror(W, ports=(A,)), 1),
        (Mirror(W, ports=(B,)), 1),
        (Mirror(W, ports=(A,), rx=False), 0),
        (Mirror(W, ports=(T,)), 0),
        (Mirror(W, vids=(10,)), 2),
        (Mirror(W, vids=(20,)), 0),
        (Mirror(W, frames=False, drops=True), 0),
    ],
    ids=str,
)
def test_known_unicast_is_copied_once_a_direction(mirror: Mirror, copies: int) -> None:
    assert make_lab(mirror).send(A, UNICAST).data.get(W, []) == [UNICAST] * copies


def test_a_flood_leaves_by_many_ports_and_is_one_copy_a_direction() -> None:
    sent = make_lab(Mirror(W)).send(A, BROADCAST).data
    assert sent == {B: [BROADCAST], T: [tagged(BROADCAST)], W: [BROADCAST, BROADCAST]}


def test_into_a_file_a_flood_is_a_packet_of_each_port() -> None:
    lab = make_lab(Mirror())
    lab.inject(A, BROADCAST)
    lab.turn()
    assert lab.captured() == {
        0: [
            Captured(A, "rx", "", BROADCAST, 114),
            Captured(B, "tx", "", BROADCAST, 114),
            Captured(T, "tx", "", tagged(BROADCAST), 118),
        ]
    }


@pytest.mark.parametrize("beside", [False, True], ids=["inline", "beside"])
def test_arrivals_have_the_tag_of_the_wire(beside: bool) -> None:
    """PCP and DEI, also a VID of 0, wherever the port keeps the tag."""
    lab = Lab(access(10), trunk(10, native=10), WATCH, mirrors=(Mirror(2, tx=False),))
    priority = tagged(BROADCAST, 0, pcp=5, dei=1)
    frame = Frame(priority[:12] + priority[16:], (0x8100, 5 << 13 | 1 << 12)) if beside else priority
    assert lab.send(1, frame).data == {0: [BROADCAST], 2: [priority]}


def test_departures_have_the_tag_and_the_padding_they_leave_with() -> None:
    short = frames.ethernet(frames.BROADCAST, frames.host(1), payload=1)
    lab = Lab(access(10), trunk(10), WATCH, mirrors=(Mirror(2, rx=False), Mirror(tx=False)))
    lab.inject(0, short)
    lab.turn()
    assert lab.captured()[1] == [Captured(0, "rx", "", short, 15)]
    assert lab.drain() == {
        1: [Frame(tagged(short).ljust(60, b"\0"))],
        2: [Frame(tagged(short).ljust(60, b"\0"))],
    }


def test_a_snaplen_cuts_and_the_file_knows_the_length() -> None:
    lab = make_lab(Mirror(W, tx=False, snaplen=64), Mirror(tx=False, snaplen=70))
    lab.inject(A, UNICAST)
    lab.turn()
    assert lab.captured() == {1: [Captured(A, "rx", "", UNICAST[:70], 114)]}
    assert lab.drain()[W] == [Frame(UNICAST[:64])]


def test_several_mirrors_are_a_copy_each_and_mirror_no_copies() -> None:
    lab = make_lab(Mirror(W), Mirror(W, ports=(A,)), Mirror(W, vids=(10,), tx=False))
    assert lab.send(A, UNICAST).data == {B: [UNICAST], W: [UNICAST] * 4}


def test_what_a_watching_port_receives_ends_there() -> None:
    lab = make_lab(Mirror(W, drops=True))
    lab.expect_drop(W, BROADCAST, "egress_only")


# -- drops


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (tagged(UNICAST), "tag_not_allowed"),
        (frames.ethernet(frames.reserved(0), frames.host(1)), "reserved"),
        (frames.ethernet(frames.host(1), frames.host(5)), "same_port"),
        (frames.ethernet(frames.host(2), frames.BROADCAST), "bad_source"),
        (UNICAST[:10], "runt"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_frames_that_end_at_ingress_are_captured_with_the_reason(frame: bytes, reason: str) -> None:
    lab = make_lab(Mirror(frames=False, drops=True), Mirror())
    lab.inject(A, frame, UNICAST)
    lab.turn()
    found = lab.captured()
    assert found[0] == [Captured(A, "rx", reason, frame, len(frame))]
    assert [packet.data for packet in found[1]] == [UNICAST, UNICAST]


def test_a_frame_that_finds_no_egress_is_one_packet_not_two() -> None:
    lab = Lab(access(10), access(20), mirrors=(Mirror(drops=True),))
    lab.inject(0, BROADCAST)
    lab.turn()
    assert lab.captured()[0] == [Captured(0, "rx", "no_egress", BROADCAST, 114)]


def test_a_foreign_vlan_is_found_by_its_tag() -> None:
    """What ended before it was in a VLAN counts as of the VLAN its tag names."""
    lab = Lab(trunk(10), access(10), mirrors=(Mirror(vids=(30,), drops=True), Mirror(vids=(10,), drops=True)))
    lab.inject(0, tagged(BROADCAST, 30))
    lab.turn()
    assert lab.captured() == {0: [Captured(0, "rx", "vlan_not_allowed", tagged(BROADCAST, 30), 118)], 1: []}


def test_frames_that_a_port_refuses_are_captured_there() -> None:
    """Refused by the bridge: as they came; by the port's own queue: as they would have left."""
    lab = Lab(
        access(10), trunk(10, mtu=1000), access(10), slots=4, mirrors=(Mirror(drops=True, frames=False),)
    )
    long = frames.ethernet(frames.BROADCAST, frames.host(1), payload=1200)
    for batch in [(long, BROADCAST), (BROADCAST, BROADCAST), (BROADCAST, BROADCAST)]:
        lab.inject(0, *batch)
        lab.turn()
    assert lab.captured()[0] == [
        Captured(1, "tx", "oversize", long, 1214),
        Captured(1, "tx", "tx_full", tagged(BROADCAST), 118),
        Captured(2, "tx", "tx_full", BROADCAST, 114),
        Captured(2, "tx", "tx_full", BROADCAST, 114),
    ]


# -- offloads


def test_metadata_of_what_source_guard_ends_was_judged_and_goes_with_the_copy() -> None:
    lab = Lab(access(10, rules=((0, bytes([10, 9, 9, 9]), 32),)), WATCH, mirrors=(Mirror(1, drops=True),))
    segment = frames.tcp(frames.host(2), frames.host(1), payload_len=5000)
    partial = Offload(True, segment.csum_start, segment.csum_offset)
    cut = partial._replace(gso="tcp4", gso_size=1400, hdr_len=segment.hdr_len)
    for offload, size in ((partial, 1000), (cut, 5000)):
        frame = Frame(segment.data[:size], None, offload)
        assert lab.send(0, frame) == ({1: [frame]}, {("rx", 0, "source_guard"): 1})


def test_super_frames_are_copied_whole_or_cut_for_a_port_that_takes_none() -> None:
    segment = frames.tcp(frames.host(2), frames.host(1), payload_len=5000)
    offload = Offload(True, segment.csum_start, segment.csum_offset, "tcp4", False, 1400, segment.hdr_len)
    whole = make_lab(Mirror(W)).send(A, Frame(segment.data, None, offload))
    assert [frame.data for frame in whole.sent[W]] == [segment.data] * 2
    cut = make_lab(Mirror(W), no_vnet={W}).send(A, Frame(segment.data, None, offload))
    assert [len(frame.data) for frame in cut.sent[W]] == [1454, 1454, 1454, 854] * 2
    assert cut.sent[B] == [Frame(segment.data, None, offload)]


def test_a_target_that_is_down_or_too_narrow_refuses_its_copies() -> None:
    lab = make_lab(Mirror(W))
    lab.change(W, mtu=90)
    assert lab.send(A, UNICAST).drops == {("tx", W, "oversize"): 2}
    lab.change(W, up=False)
    assert lab.send(A, UNICAST).drops == {("tx", W, "port_down"): 2}


# -- bounds


def snapshot_of(lab: Lab, **mirror: Any) -> _core.Snapshot:
    snapshot = make_snapshot(lab.config, lab.ports)
    others = [index for index in lab.ports if index != mirror.get("target")]
    snapshot.add_mirror(MirrorRow(77, **{"ports": others, **mirror}))
    return snapshot


def test_a_full_ring_loses_copies_and_counts_them() -> None:
    lab = Lab(access(10), access(10))
    lab.learn(1, 2)
    capture = _core.Capture(size=_core.CAPTURE_LEAST)
    lab.core.apply(snapshot_of(lab, capture=capture, tx=False))
    n = 400
    for _ in range(n):
        lab.send(0, frames.ethernet(frames.host(2), frames.host(1), payload=1400))
    (state,) = lab.core.mirrors()
    assert 0 < state.copies < n
    assert state.copies + state.lost == n
    assert capture.counts(0) == (0, state.lost)
    for index in range(2):
        capture.set_interface(index, index)
    taken = capture.take(1 << 24)
    assert taken.end == "empty"
    assert capture.counts(0) == (state.copies, state.lost)


def test_what_exceeds_the_rate_is_counted_not_copied() -> None:
    lab = Lab(access(10), access(10))
    lab.learn(1, 2)
    capture = _core.Capture()
    lab.core.apply(snapshot_of(lab, capture=capture, tx=False, unit="frames", rate=1e-15, burst=3))
    for _ in range(10):
        lab.send(0, UNICAST)
    (state,) = lab.core.mirrors()
    assert (state.copies, state.over_rate, state.lost) == (3, 7, 0)
    assert state.bytes == 3 * len(UNICAST)


def test_a_rate_in_other_units_begins_anew() -> None:
    """A debt of bits is none of frames; what was counted stays."""
    lab = Lab(access(10), access(10))
    lab.learn(1, 2)
    capture = _core.Capture()
    copied = []
    for unit, burst in (("bits", 1), ("frames", 3)):
        lab.core.apply(snapshot_of(lab, capture=capture, tx=False, unit=unit, rate=1e-15, burst=burst))
        for _ in range(5):
            lab.send(0, UNICAST)
        copied.append(lab.core.mirrors()[0].copies)
    assert copied == [1, 4]


def test_state_stays_with_the_serial() -> None:
    lab = Lab(access(10), access(10))
    capture = _core.Capture()
    lab.core.apply(snapshot_of(lab, capture=capture))
    lab.send(0, BROADCAST)
    (before,) = lab.core.mirrors()
    lab.core.apply(snapshot_of(lab, capture=capture, rx=False))
    assert lab.core.mirrors() == [before]
    lab.core.apply(snapshot_of(lab, target=1))
    assert lab.core.mirrors() == [before]


def test_packets_of_ports_without_interface_wait() -> None:
    lab = Lab(access(10), access(10))
    capture = _core.Capture()
    lab.core.apply(snapshot_of(lab, capture=capture))
    lab.send(0, BROADCAST)
    assert capture.take() == (b"", "unknown", 0)
    capture.set_interface(0, 0)
    taken = capture.take()
    assert (len(taken.blocks) > 0, taken.end, taken.port) == (True, "unknown", 1)
    capture.set_interface(1, 1)
    assert capture.take(128)[1:] == ("full", 1)
    assert capture.take().end == "empty"


def test_a_stopped_capture_is_passed_over() -> None:
    lab = Lab(access(10), access(10))
    capture = _core.Capture()
    lab.core.apply(snapshot_of(lab, capture=capture))
    capture.stop()
    lab.send(0, BROADCAST)
    assert lab.core.mirrors()[0][1:] == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({}, "either"),
        ({"target": 9}, "not in the snapshot"),
        ({"target": 0, "snaplen": 10}, "snaplen"),
        ({"target": 0, "rate": -1.0}, "rate"),
        ({"target": 0, "burst": 0.0}, "burst"),
        ({"target": 0, "unit": "pounds"}, "unit"),
        ({"target": 0, "vids": [0]}, "VID"),
        ({"target": 0, "ports": [256]}, "port index"),
    ],
    ids=str,
)
def test_what_is_no_mirror_is_refused(options: dict[str, object], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        snapshot_of(Lab(access(10)), **options)


def test_there_are_no_more_mirrors_than_there_are() -> None:
    lab = Lab(access(10), WATCH)
    lab.change_bridge(mirrors=tuple(Mirror(1, ports=(0,), vids=(n + 1,)) for n in range(_core.MIRRORS_MAX)))
    with pytest.raises(ValueError, match="number of mirrors"):
        lab.change_bridge(mirrors=(Mirror(1),) * (_core.MIRRORS_MAX + 1))


@pytest.mark.parametrize("burst", [1, 2, 63, 64, 65, 256])
def test_more_copies_than_wait_are_sent_early(burst: int) -> None:
    lab = make_lab(*(Mirror(W, ports=(A, B)),) * 8, burst=256, slots=1 << 13)
    sent = lab.send(A, *[UNICAST] * burst).data
    assert sent[W] == [UNICAST] * 16 * burst
