"""Locked ports, allow lists, source guard: who may send, what they may learn and move, what is told."""

from __future__ import annotations

import pytest
from helpers import frames, packets
from helpers.bridge import Lab, access, trunk
from model import Frame, Offload

from bridge.core import _core
from bridge.core.values import PortRow

GATEWAY, GUEST, OTHER = 1, 2, 3  # stations
EVERYBODY = ((0, 0x020000FFFFFF),)
VIRTUAL_ROUTERS = ((0x00005E000100, 0x00005E0001FF),)


def mac(station: int) -> int:
    return frames.number(frames.host(station))


def only(*stations: int) -> tuple[tuple[int, int], ...]:
    """An allow list of single addresses."""
    return tuple((mac(station), mac(station)) for station in sorted(stations))


def broadcast(station: int, *tags: bytes) -> bytes:
    return frames.ethernet(frames.BROADCAST, frames.host(station), *tags)


def speaks_from(*addresses: str, station: int = 0) -> tuple[tuple[int, bytes, int], ...]:
    """Rules of source guard for single addresses, of one station or of any."""
    binary = [packets.address(address) for address in addresses]
    return tuple((mac(station) if station else 0, one, 8 * len(one)) for one in binary)


# -- locked ports


def test_a_stranger_is_kept_out_and_moves_nothing() -> None:
    lab = Lab(access(10, locked=True), access(10))
    lab.learn(1, GATEWAY)
    lab.events()
    lab.expect_drop(0, broadcast(OTHER), "locked")
    lab.expect_drop(0, broadcast(GATEWAY), "locked")
    assert lab.fdb() == {(10, GATEWAY): (1, "dynamic")}
    assert lab.events() == [("locked", 10, OTHER, 0, -1), ("locked", 10, GATEWAY, 0, 1)]


@pytest.mark.parametrize("kind", ["dynamic", "sticky", "static"])
def test_an_entry_on_the_port_lets_its_station_in(kind: str) -> None:
    lab = Lab(trunk(10, 20, locked=True), trunk(10, 20))
    lab.fdb_set(10, GUEST, 0, kind)
    assert set(lab.send(0, broadcast(GUEST, frames.tag(10))).sent) == {1}
    lab.expect_drop(0, broadcast(GUEST, frames.tag(20)), "locked")


def test_what_is_on_an_open_port_is_not_let_in_anywhere_else() -> None:
    lab = Lab(access(10, locked=True), access(10))
    lab.fdb_set(10, GUEST, 0, "dynamic")
    assert set(lab.send(0, broadcast(GUEST)).sent) == {1}
    lab.learn(1, GUEST)
    assert lab.fdb() == {(10, GUEST): (1, "dynamic")}
    lab.expect_drop(0, broadcast(GUEST), "locked")


def test_a_drop_entry_keeps_its_own_reason() -> None:
    lab = Lab(access(10), access(10, locked=True))
    lab.fdb_set(10, GUEST, -1, "drop")
    lab.expect_drop(1, broadcast(GUEST), "fdb_drop")


def test_an_entry_that_was_flushed_or_aged_lets_nobody_in() -> None:
    lab = Lab(access(10, locked=True), access(10), age_ticks=2)
    lab.fdb_set(10, GUEST, 0, "dynamic")
    lab.fdb_set(10, OTHER, 0, "sticky")
    lab.fdb_flush(port=0)
    lab.expect_drop(0, broadcast(GUEST), "locked")
    lab.expect_drop(0, broadcast(OTHER), "locked")


def test_unlocking_and_locking_are_live() -> None:
    lab = Lab(access(10, locked=True), access(10))
    lab.expect_drop(0, broadcast(GUEST), "locked")
    lab.change(0, locked=False)
    assert set(lab.send(0, broadcast(GUEST)).sent) == {1}
    lab.change(0, locked=True)
    assert set(lab.send(0, broadcast(GUEST)).sent) == {1}, "who was known when it was locked stays"
    lab.expect_drop(0, broadcast(OTHER), "locked")


@pytest.mark.parametrize("learning", [True, False])
def test_the_lock_holds_whether_or_not_the_port_learns(learning: bool) -> None:
    lab = Lab(access(10, locked=True, learning=learning, allow=only(GUEST)), access(10))
    lab.fdb_set(10, GATEWAY, 0)
    assert set(lab.send(0, broadcast(GATEWAY), broadcast(GUEST)).sent) == {1}
    lab.expect_drop(0, broadcast(OTHER), "locked")
    assert ((10, GUEST) in lab.fdb()) is learning


# -- allow lists


def test_an_allowed_station_is_learned_in_every_vlan_it_speaks_in() -> None:
    every = range(1, 4095)
    lab = Lab(trunk(*every, locked=True, allow=only(GUEST)), trunk(*every))
    for vid in (1, 77, 4094):
        assert set(lab.send(0, broadcast(GUEST, frames.tag(vid))).sent) == {1}
        lab.expect_drop(0, broadcast(OTHER, frames.tag(vid)), "locked")
    assert set(lab.fdb()) == {(1, GUEST), (77, GUEST), (4094, GUEST)}


def test_an_allowed_station_moves_on_its_first_frame() -> None:
    """Failover between two locked ports that both allow a virtual router's address."""
    router = b"\0\0\x5e\0\1\x0a"
    lab = Lab(*(access(10, locked=True, allow=VIRTUAL_ROUTERS) for _ in range(2)), access(10))
    to_router = frames.ethernet(router, frames.host(GATEWAY))
    for master in (0, 1, 0):
        lab.send(master, frames.ethernet(frames.group(1), router))
        assert set(lab.send(2, to_router).sent) == {master}
    beside = frames.ethernet(frames.group(1), b"\0\0\x5e\0\2\x0a")
    lab.expect_drop(0, beside, "locked")


def test_a_static_entry_elsewhere_binds_allowed_stations_too() -> None:
    lab = Lab(access(10, locked=True, allow=only(GUEST)), access(10))
    lab.fdb_set(10, GUEST, 1)
    lab.expect_drop(0, broadcast(GUEST), "static_move")


def test_limits_and_controlled_mode_hold_for_allowed_stations() -> None:
    lab = Lab(access(10, locked=True, allow=EVERYBODY, mac_limit=1), access(10))
    lab.learn(0, GUEST, OTHER)
    assert lab.fdb() == {(10, GUEST): (0, "dynamic")}
    lab.change_bridge(controlled=True)
    lab.fdb_flush()
    lab.events()
    lab.learn(0, GUEST)
    assert lab.events() == [("request", 10, GUEST, 0, -1)]


def test_every_place_of_a_long_list_is_found() -> None:
    stations = range(2, 2002, 2)
    lab = Lab(access(10, locked=True, allow=only(*stations)), access(10), burst=256, slots=4096)
    verdict = lab.send(0, *(broadcast(station) for station in range(1, 2003)))
    assert (len(verdict.sent[1]), verdict.drops) == (1000, {("rx", 0, "locked"): 1002})


@pytest.mark.parametrize("batch", [0, 1, 2, 7, 8, 9])
def test_of_a_batch_only_the_right_ones_remain(batch: int) -> None:
    guard = speaks_from("10.0.0.5")
    lab = Lab(access(10, locked=True, allow=only(GUEST), rules=guard), access(10), burst=8)
    sent = [
        packets.ipv4(frames.host(GUEST if n % 2 else OTHER), "10.0.0.5" if n % 3 else "10.0.0.1")
        for n in range(batch)
    ]
    right = [frame for n, frame in enumerate(sent) if n % 2 and n % 3]
    assert [frame.data for frame in lab.send(0, *sent).sent.get(1, [])] == [frames.padded(f) for f in right]


# -- source guard


def test_a_spoofed_frame_teaches_nothing_and_moves_nothing() -> None:
    lab = Lab(access(10, rules=speaks_from("10.0.0.5")), access(10))
    lab.learn(1, GATEWAY)
    lab.events()
    lab.expect_drop(0, packets.arp(frames.host(GATEWAY), "10.0.0.1"), "source_guard")
    lab.expect_drop(0, packets.ipv4(frames.host(GUEST), "10.0.0.1"), "source_guard")
    assert lab.fdb() == {(10, GATEWAY): (1, "dynamic")}
    wrong = ("address", bytes([10, 0, 0, 1]))
    assert lab.events() == [
        ("source_guard", 10, GATEWAY, 0, -1, *wrong),
        ("source_guard", 10, GUEST, 0, -1, *wrong),
    ]


PASSES = {
    "listed": packets.ipv4(frames.host(GUEST), "10.0.0.5"),
    "options": packets.ipv4(frames.host(GUEST), "10.0.0.5", options=bytes([1] * 40)),
    "fragment": packets.ipv4(frames.host(GUEST), "10.0.0.5", fragment=185),
    "dhcp": packets.ipv4(frames.host(GUEST), "0.0.0.0", body=packets.dhcp()),
    "arp": packets.arp(frames.host(GUEST), "10.0.0.5"),
    "arp probe": packets.arp(frames.host(GUEST), "0.0.0.0", "10.0.0.1"),
    "announcement by RARP": packets.arp(frames.host(GUEST), "0.0.0.0", operation=3, ethertype=packets.RARP),
    "prefix": packets.ipv6(frames.host(GUEST), "2001:db8::1:2"),
    "link-local of its address": packets.ipv6(frames.host(GUEST), "fe80::ff:fe00:2"),
    "duplicate address detection": packets.ipv6(
        frames.host(GUEST), "::", protocol=58, body=packets.neighbour(packets.NS, "2001:db8::7")
    ),
    "MLD report": packets.ipv6(
        frames.host(GUEST), "::", (0, packets.PADDING), protocol=58, body=bytes([143]) + bytes(27)
    ),
    "advertisement": packets.ipv6(
        frames.host(GUEST),
        "2001:db8::7",
        protocol=58,
        body=packets.neighbour(packets.NA, "2001:db8::7", packets.link_option(2, frames.host(GUEST))),
    ),
    "no IP at all": broadcast(GUEST),
}
ENDS = {
    "unlisted": packets.ipv4(frames.host(GUEST), "10.0.0.6"),
    "unlisted fragment": packets.ipv4(frames.host(GUEST), "10.0.0.6", fragment=185),
    "no address and no DHCP": packets.ipv4(frames.host(GUEST), "0.0.0.0"),
    "DHCP server without address": packets.ipv4(frames.host(GUEST), "0.0.0.0", body=packets.dhcp(67, 68)),
    "header cut short": packets.ipv4(frames.host(GUEST), "10.0.0.5", options=bytes(8), body=b"")[:38],
    "IPv6 in an IPv4 frame": frames.ethernet(
        frames.BROADCAST, frames.host(GUEST), ethertype=packets.IPV4, payload=b"\x60" + bytes(59)
    ),
    "ARP for the gateway": packets.arp(frames.host(GUEST), "10.0.0.1", operation=2),
    "answer from nowhere": packets.arp(frames.host(GUEST), "0.0.0.0", operation=2),
    "ARP of another station": packets.arp(frames.host(OTHER), "10.0.0.5")[:6]
    + frames.host(GUEST)
    + packets.arp(frames.host(OTHER), "10.0.0.5")[12:],
    "unlisted IPv6": packets.ipv6(frames.host(GUEST), "2001:db8:1::1"),
    "link-local of another station": packets.ipv6(frames.host(GUEST), "fe80::ff:fe00:3"),
    "advertisement of another's address": packets.ipv6(
        frames.host(GUEST), "2001:db8::7", protocol=58, body=packets.neighbour(packets.NA, "fe80::1")
    ),
    "advertisement behind a header": packets.ipv6(
        frames.host(GUEST),
        "2001:db8::7",
        (60, packets.PADDING),
        protocol=58,
        body=packets.neighbour(packets.NA, "fe80::1"),
    ),
    "advertisement in a fragment": packets.ipv6(
        frames.host(GUEST),
        "2001:db8::7",
        packets.fragment(0),
        protocol=58,
        body=packets.neighbour(packets.NA, "2001:db8::7"),
    ),
    "detection of another's address": packets.ipv6(
        frames.host(GUEST), "::", protocol=58, body=packets.neighbour(packets.NS, "2001:db8:1::1")
    ),
    "a second tag": frames.ethernet(
        frames.BROADCAST, frames.host(GUEST), frames.tag(20, tpid=frames.TPID_AD)
    ),
    "IP in SNAP": frames.ethernet(
        frames.BROADCAST, frames.host(GUEST), ethertype=60, payload=b"\xaa\xaa\x03\0\0\0\x08\0" + bytes(52)
    ),
}
GUARDED = (*speaks_from("10.0.0.5"), (0, packets.address("2001:db8::"), 64))


@pytest.mark.parametrize("what", PASSES)
def test_what_passes(what: str) -> None:
    lab = Lab(access(10, rules=GUARDED), access(10))
    assert lab.send(0, PASSES[what]).data == {1: [frames.padded(PASSES[what])]}


@pytest.mark.parametrize("what", ENDS)
def test_what_ends(what: str) -> None:
    lab = Lab(access(10, rules=GUARDED), access(10))
    lab.expect_drop(0, ENDS[what], "source_guard")


def test_an_address_bound_to_a_station_is_its_alone() -> None:
    lab = Lab(access(10, rules=speaks_from("10.0.0.5", station=GUEST)), access(10))
    assert set(lab.send(0, packets.ipv4(frames.host(GUEST), "10.0.0.5")).sent) == {1}
    lab.expect_drop(0, packets.ipv4(frames.host(OTHER), "10.0.0.5"), "source_guard")


def test_tagged_frames_are_judged_behind_their_tag() -> None:
    lab = Lab(trunk(10, rules=GUARDED), access(10))
    data = packets.ipv4(frames.host(GUEST), "10.0.0.6")
    tagged = data[:12] + frames.tag(10) + data[12:]
    lab.expect_drop(0, tagged, "source_guard")
    lab.expect_drop(0, Frame(data, (frames.TPID_Q, 10)), "source_guard")


@pytest.mark.parametrize(
    ("rules", "passes"), [(speaks_from("10.0.0.1"), True), (speaks_from("10.0.0.5"), False)]
)
def test_super_frames_are_judged_like_others(rules: tuple[tuple[int, bytes, int], ...], passes: bool) -> None:
    segment = frames.tcp(frames.host(GATEWAY), frames.host(GUEST), payload_len=5000)  # from 10.0.0.1
    offload = Offload(True, segment.csum_start, 16, "tcp4", False, 1400, segment.hdr_len)
    lab = Lab(access(10, rules=rules), access(10))
    verdict = lab.send(0, Frame(segment.data, None, offload))
    assert bool(verdict.sent) is passes
    assert verdict.drops == ({} if passes else {("rx", 0, "source_guard"): 1})


def test_a_change_of_the_rules_holds_from_the_next_frame_on() -> None:
    lab = Lab(access(10, rules=speaks_from("10.0.0.5")), access(10))
    frame = packets.ipv4(frames.host(GUEST), "10.0.0.6")
    lab.expect_drop(0, frame, "source_guard")
    lab.change(0, rules=speaks_from("10.0.0.6"))
    assert set(lab.send(0, frame).sent) == {1}
    lab.change(0, rules=())
    assert set(lab.send(0, packets.ipv4(frames.host(GUEST), "10.0.0.7")).sent) == {1}


def test_full_tables() -> None:
    """Every port has as many rules as it may, and the last of each is found."""
    rules = tuple((0, bytes([10, 0, 0, n]), 32) for n in range(64))
    lab = Lab(*(access(10, rules=rules) for _ in range(64)))
    assert len(lab.send(63, packets.ipv4(frames.host(GUEST), "10.0.0.63")).sent) == 63
    lab.expect_drop(63, packets.ipv4(frames.host(GUEST), "10.0.0.64"), "source_guard")


# -- what the core refuses, and how much it tells


def test_tables_have_an_end() -> None:
    bridge = _core.Bridge()
    ports = [bridge.open_memory(index) for index in range(2)]
    snapshot = _core.Snapshot()
    with pytest.raises(ValueError, match="not in the snapshot"):
        snapshot.secure_port(ports[0], locked=True)
    for port in ports:
        snapshot.add_port(port, PortRow(mode="access", pvid=10))
    full = [(2 * n, 2 * n) for n in range(1, _core.ALLOWED_MAX + 1)]
    snapshot.secure_port(ports[0], locked=True, allow=full)
    with pytest.raises(ValueError, match=r"number of allowed ranges must be 0\.\.4096"):
        snapshot.secure_port(ports[1], locked=True, allow=[(2, 2)])
    with pytest.raises(ValueError, match=r"number of guard rules must be 0\.\.4096"):
        snapshot.secure_port(ports[1], rules=[(0, bytes(4), 0)] * (_core.GUARD_RULES_MAX + 1))


@pytest.mark.parametrize("allow", [[(2, 1)], [(5, 6), (6, 7)], [(5, 6), (1, 2)], [(1, 1 << 48)]])
def test_ranges_ascend_and_are_apart(allow: list[tuple[int, int]]) -> None:
    bridge = _core.Bridge()
    snapshot = _core.Snapshot()
    port = bridge.open_memory(0)
    snapshot.add_port(port, PortRow(mode="access", pvid=10))
    with pytest.raises(ValueError, match="must ascend and be apart"):
        snapshot.secure_port(port, locked=True, allow=allow)


def test_a_flood_of_strangers_does_not_crowd_out_what_matters() -> None:
    """Half of the ring is for events that nobody can do without; the same stranger is told once."""
    core = _core.Bridge(events=128, burst=256)
    locked, port = core.open_memory(0), core.open_memory(1)
    snapshot = _core.Snapshot()
    for one in (locked, port):
        snapshot.add_port(one, PortRow(mode="access", pvid=10))
    snapshot.secure_port(locked, locked=True)
    core.apply(snapshot)
    locked.inject([broadcast(OTHER)] * 1000)
    core.turn(8)
    assert [event.kind for event in core.events()[0]] == ["locked"]
    locked.inject([broadcast(station) for station in range(1000)])
    core.turn(8)
    port.inject([broadcast(station) for station in range(2000, 2040)])
    core.turn(2)
    events, lost = core.events()
    assert lost == 0
    assert sum(event.kind == "learned" for event in events) == 40
