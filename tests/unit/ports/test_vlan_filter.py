"""The socket filter of a link: against the rule in plain Python, against the bridge itself, and its limits."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
from helpers import bpf, frames
from helpers.bridge import Lab, trunk
from hypothesis import example, given
from hypothesis import strategies as st
from model import Frame

from bridge.config.port import PortConfig
from bridge.config.translation import Translation
from bridge.ports.vlan_filter import program

A, B = frames.host(1), frames.host(2)
TPIDS = st.sampled_from([0x8100, 0x88A8])
EVERY_VID = tuple(range(1, 4095))
RAGGED = [  # the worst sets: no two neighbouring words of the bitmap are alike
    tuple(vid for vid in EVERY_VID if vid % 32 != 5 + vid // 32 % 9),
    tuple(vid for vid in EVERY_VID if vid % 2),
    tuple(vid for vid in EVERY_VID if vid.bit_count() % 2),
    tuple(vid for vid in EVERY_VID if vid % 3 == 0),
]


def link(mode: str = "trunk", **options: object) -> PortConfig:
    return PortConfig("p", "link", device="eth1", mode=mode, **options)  # type: ignore[arg-type]


vids = st.integers(1, 4094)
vid_sets = st.one_of(
    st.frozensets(vids, max_size=12),
    st.builds(lambda a, b: frozenset(range(min(a, b), max(a, b) + 1)), vids, vids),
    st.sampled_from(RAGGED).map(frozenset),
)


def translated(port: PortConfig, shift: int, doubled: bool) -> PortConfig:
    """Some of its VLANs under other tags, one of them under two."""
    chosen = sorted(port.members - {port.pvid})[:5]
    free = [vid for vid in EVERY_VID if vid not in port.members]
    outers = [free[(shift + n) % len(free)] for n in range(len(chosen))] if len(free) > len(chosen) else []
    pairs = list(enumerate(zip(outers, chosen, strict=False)))
    found = [Translation(outer, 30 if doubled and n == 0 else 0, vid) for n, (outer, vid) in pairs]
    return replace(port, translations=tuple(found))


trunks = st.builds(
    lambda vids, pvid, tpid: link(vids=tuple(sorted(vids)), pvid=pvid if vids or pvid else 1, tpid=tpid),
    vid_sets,
    st.just(0) | vids,
    TPIDS,
)
maps = st.builds(translated, trunks, st.integers(0, 4093), st.booleans())
ports = st.one_of(
    trunks, maps, st.builds(lambda pvid, tpid: link("access", pvid=pvid, tpid=tpid), vids, TPIDS)
)


@st.composite
def frames_for(draw: st.DrawFn, port: PortConfig) -> Frame:
    """A frame: no tag or up to two inline, one beside them or none, sometimes cut; VIDs near the port's."""
    near = [vid + by for vid in {*port.outside, *port.members} for by in (-1, 0, 1)][:60]
    tci = st.builds(
        lambda vid, pcp: pcp << 13 | vid, st.sampled_from([0, 1, 4094, 4095, *near]), st.integers(0, 7)
    )
    tag = st.tuples(TPIDS, tci)
    inline = b"".join(struct.pack("!HH", *one) for one in draw(st.lists(tag, max_size=2)))
    data = frames.ethernet(B, A, inline)
    return Frame(data[: draw(st.just(len(data)) | st.integers(14, 20))], draw(st.none() | tag))


def carried(port: PortConfig, frame: Frame) -> bool:
    """The rule, said plainly: R5 and R6, except for what no VLAN explains."""
    data, beside, _ = frame
    if beside is not None:
        tag = beside if beside[0] == port.tpid else None
    elif data[12:14] != struct.pack("!H", port.tpid):
        tag = None
    elif len(data) < 18:
        return True  # a runt, for the bridge to count
    else:
        tag = struct.unpack_from("!HH", data, 12)
    vid = tag[1] & 0xFFF if tag else 0
    if vid == 4095:
        return True  # no VLAN, for the bridge to count
    if port.mode == "access":
        return vid == 0
    if not vid:
        return port.pvid != 0
    wires = {one.vid: one.outer for one in port.translations}
    return vid in {wires.get(member, member) for member in port.members}


def passes(port: PortConfig, frame: Frame) -> bool:
    code = program(port)
    if code is None:
        return True
    kept = bpf.run(code, frame.data, frame.tag)
    assert kept in (0, 0xFFFFFFFF)
    return kept != 0


@given(st.data())
def test_what_passes_is_what_the_rule_says(data: st.DataObject) -> None:
    port = data.draw(ports)
    frame = data.draw(frames_for(port))
    assert passes(port, frame) == carried(port, frame)


@given(st.data())
def test_the_bridge_would_have_dropped_what_the_filter_refuses_and_nothing_else(data: st.DataObject) -> None:
    """The two are written apart, the one in C and the other here: they must agree on every frame."""
    port = data.draw(ports)
    frame = data.draw(frames_for(port))
    members = {"pvid": port.pvid, "vids": port.vids, "tpid": port.tpid, "translations": port.translations}
    lab = Lab(trunk(*port.members or (1,)))
    lab.change(0, mode=port.mode, **members)
    drops = lab.send(0, frame).drops
    by_vlan = {("rx", 0, reason) for reason in ("vlan_not_allowed", "tag_not_allowed")} & drops.keys()
    if not passes(port, frame):
        assert by_vlan
    elif by_vlan:
        data_, beside, _ = frame
        tci = beside[1] if beside and beside[0] == port.tpid else struct.unpack_from("!H", data_, 14)[0]
        needs_inner = {one.outer for one in port.translations if one.inner}
        assert (port.mode, tci & 0xFFF) == ("access", 4095) or tci & 0xFFF in needs_inner


@pytest.mark.parametrize("members", [(1,), (10, 20, *range(100, 120)), EVERY_VID, *RAGGED])
@pytest.mark.parametrize("native", [0, 7])
def test_every_vid_is_judged_and_the_kernel_takes_the_program(members: tuple[int, ...], native: int) -> None:
    port = link(vids=members, pvid=native)
    code = program(port)
    if code is None:
        assert len(port.members) == 4094
        assert native
        return
    bpf.check(code)
    assert len(code) < 410
    plain = frames.ethernet(B, A)
    for vid in range(4096):
        frame = Frame(plain, (0x8100, 0xE000 | vid))
        assert passes(port, frame) == carried(port, frame), vid


@given(vid_sets, st.just(0) | vids)
@example(frozenset(), 1)
def test_any_set_is_a_program_the_kernel_takes(members: frozenset[int], native: int) -> None:
    code = program(link(vids=tuple(sorted(members)), pvid=native or (0 if members else 1)))
    if code is not None:
        bpf.check(code)


def test_a_small_set_is_a_small_program() -> None:
    """Ten VLANs next to each other cost one or two comparisons."""
    code = program(link(vids=tuple(range(10, 20))))
    assert code is not None
    assert len(code) < 35


@pytest.mark.parametrize(
    "port",
    [
        link("tunnel", pvid=10),
        link(vids=EVERY_VID, pvid=1),
        link(vids=(10,), kernel_filter=False),
        PortConfig("p", "tap", device="tap0", pvid=10),
        PortConfig("p", "memory", mode="trunk", vids=(10,)),
    ],
    ids=["a tunnel", "all VLANs", "switched off", "a tap", "memory"],
)
def test_no_filter_where_none_is_wanted(port: PortConfig) -> None:
    assert program(port) is None
