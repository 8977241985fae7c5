"""Core and model, side by side through random lives: configurations, frames, changes, flushes, ageing.

A life is a sequence of steps that hypothesis draws; after every step counters, drop reasons and FDB of
both are the same and every ledger balances, and what the ports sent is the same byte for byte
(helpers.bridge.Lab). A failing life is shrunk to its shortest form. HYPOTHESIS_PROFILE says how many lives.
"""

from __future__ import annotations

import pytest
from helpers import frames, packets, router_frames, tunnels
from helpers.bridge import Lab
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from model import FLOODS, TPIDS, Config, Frame, Mirror, Offload, PortConfig

from bridge.core import _core

PORTS_MAX = 5
SLOTS = 64
BATCH_MAX = 12

vids = st.sampled_from([10, 10, 20, 4094])
tpids = st.sampled_from([frames.TPID_Q, frames.TPID_Q, frames.TPID_AD])
mostly_true = st.sampled_from([True] * 7 + [False])
mostly_false = st.sampled_from([False] * 7 + [True])
limits = st.sampled_from([0] * 6 + [1, 2])
stations = st.integers(1, 5)
MIDDLE = ((frames.number(frames.host(2)), frames.number(frames.host(3))),)


# who may send: station 1, or stations 2 to 3, or nobody but those that are known
allow_lists = st.sampled_from([(), ((frames.number(frames.host(1)),) * 2,), MIDDLE])
guard_rules = st.sampled_from(
    [()] * 8
    + [((0, bytes([10, 0, 0, 1]), 32), (0, bytes(16), 0)), ((frames.number(frames.host(2)), bytes(4), 0),)]
)


@st.composite
def translations(draw: st.DrawFn, members: set[int], pvid: int) -> tuple[tuple[int, int, int], ...]:
    """Tags on the wire for some VLANs of a trunk: no two VLANs have the same, no outer VID is single and double."""
    mapped = [vid for vid in sorted(members - {pvid}) if draw(st.booleans())]
    single, double = {*members - {*mapped}, pvid} - {0}, set()
    found: list[tuple[int, int, int]] = []
    for vid in mapped:
        inner = draw(st.sampled_from([0, 0, 20, 30]))
        taken = single if inner else single | double
        outer = draw(
            st.sampled_from([wire for wire in (30, 40, 10, 20, 4094, *range(50, 60)) if wire not in taken])
        )
        if (outer, inner) in {wire[:2] for wire in found}:
            inner += 7
        (double if inner else single).add(outer)
        found.append((outer, inner, vid))
    return tuple(found)


@st.composite
def port_configs(draw: st.DrawFn) -> PortConfig:
    mode = draw(st.sampled_from(["access", "access", "trunk", "trunk", "trunk", "tunnel"]))
    members = tuple(draw(st.sets(vids, min_size=1))) if mode == "trunk" else ()
    pvid = draw(st.one_of(st.just(0), vids)) if mode == "trunk" else draw(vids)
    maps = mode == "trunk" and draw(mostly_false | st.booleans())
    up = draw(mostly_true)
    return PortConfig(
        mode=mode,
        pvid=pvid,
        vids=members,
        tpid=draw(tpids),
        mtu=draw(st.sampled_from([1500, 1500, 1500, 1000, 9000])),
        up=up,
        learning=draw(mostly_true),
        flood_unknown=draw(mostly_true),
        flood_multicast=draw(mostly_true),
        flood_broadcast=draw(mostly_true),
        isolated=draw(mostly_false),
        mac_limit=draw(limits),
        native_tagged=mode == "trunk" and draw(mostly_false),
        translations=draw(translations({*members}, pvid)) if maps else (),
        priority_tags=draw(st.sampled_from(["never"] * 4 + ["if_nonzero", "always"])),
        default_pcp=draw(st.sampled_from([0] * 5 + [1, 7])),
        horizon=draw(st.sampled_from([0] * 4 + [1, 2])),
        hairpin=draw(mostly_false),
        direction=draw(st.sampled_from(["both"] * 6 + ["ingress", "egress"])),
        locked=draw(mostly_false),
        allow=draw(allow_lists),
        rules=draw(guard_rules),
        ra_guard=draw(mostly_false),
        dhcp_guard=draw(mostly_false),
        blocked=not up and draw(st.booleans()),
    )


def some_of(values: st.SearchStrategy[int]) -> st.SearchStrategy[tuple[int, ...] | None]:
    """None, for all of them, or a few."""
    return st.one_of(st.none(), st.sets(values, min_size=1).map(lambda found: tuple(sorted(found))))


mirrors = st.builds(
    Mirror,
    target=st.one_of(st.none(), st.integers(0, PORTS_MAX - 1)),
    ports=some_of(st.integers(0, PORTS_MAX - 1)),
    rx=mostly_true,
    tx=mostly_true,
    vids=some_of(vids),
    frames=mostly_true,
    drops=st.booleans(),
    snaplen=st.sampled_from([0, 0, 64, 100, 1999, 2000]),
)

OWN = frames.host(9)  # the bridge's own address, which no step makes an entry of
INSTANCE = 0x0123456789ABCDEF
storms = st.dictionaries(
    st.tuples(st.integers(0, PORTS_MAX - 1), st.sampled_from(FLOODS)), st.integers(1, 9), max_size=3
)

# -- frames: mostly what the port expects, and every kind of damage


source_addresses = (
    [frames.host(n) for n in range(1, 5)] * 8
    + [router_frames.VIRTUAL] * 4
    + [bytes(6), frames.BROADCAST, OWN, OWN]
)
destination_addresses = [frames.host(n) for n in range(1, 8)] * 2 + [
    frames.BROADCAST,
    frames.BROADCAST,
    frames.group(1),
    frames.reserved(0),
    frames.reserved(14),
]
ethertypes = [frames.ETHERTYPE] * 6 + [0x0800, frames.TPID_Q, frames.TPID_AD]
lengths = [46] * 6 + [0, 1, 3, 4, 5, 41, 42, 45, 64, 996, 1000, 1001, 1496, 1500, 1501, 2100]
foreign_tags = st.builds(
    frames.tag,
    st.sampled_from([0, 10, 20, 30, 4094, 4095]),
    pcp=st.integers(0, 7),
    dei=st.integers(0, 1),
    tpid=tpids,
)


@st.composite
def stacks(draw: st.DrawFn, config: PortConfig) -> list[bytes]:
    """Tags of a frame: one the port takes, or none, or anything; now and then more behind it."""
    wires = sorted(config.wires.values()) if config.mode == "trunk" else []
    fitting = [*wires, *wires, (0,)]
    choice = draw(st.sampled_from(["fit"] * 6 + ["none"] * 3 + ["any"]))
    if choice == "fit":
        outer, *inner = draw(st.sampled_from(fitting))
        tags = [frames.tag(outer, draw(st.integers(0, 7)), 0, config.tpid)]
        tags += [frames.tag(vid, draw(st.integers(0, 7)), draw(st.integers(0, 1))) for vid in inner]
    else:
        tags = [draw(foreign_tags)] if choice == "any" else []
    return tags + draw(st.sampled_from([[]] * 5 + [[frames.tag(20)], [frames.tag(0, tpid=frames.TPID_AD)]]))


@st.composite
def offload_frames(draw: st.DrawFn, destination: bytes, source: bytes, tags: list[bytes]) -> Frame:
    """Checksum-partial frames and super-frames, as a host would send them."""
    gso = draw(st.sampled_from(["none", "none", "tcp4", "tcp6", "udp"]))
    build = frames.udp if gso == "udp" else frames.tcp
    if gso == "none" and draw(mostly_false):
        build = frames.sctp
    segment = build(
        destination,
        source,
        *tags,
        payload_len=draw(st.sampled_from([1, 2, 99, 100, 1400, 2500, 5001])),
        version=6 if gso == "tcp6" else 4,
    )
    if not tags and draw(mostly_false):
        segment = draw(st.sampled_from([*tunnels.KINDS.values(), tunnels.gre(4, sequence=True)]))(segment)
        segment = segment._replace(data=destination + source + segment.data[12:])
    offload = Offload(True, segment.csum_start, segment.csum_offset)
    if gso != "none":
        sizes = [1, 20, 36, 500, 948, 960, 1400, 1440, 1460, 1461, 1472, 1473, 8000]
        fewest = len(segment.data) // 100  # a slow model cuts no more than a hundred segments
        offload = offload._replace(
            gso=gso,
            ecn=draw(mostly_false),
            gso_size=max(draw(st.sampled_from(sizes)), fewest),
            hdr_len=draw(st.sampled_from([0, segment.hdr_len, 65535])),
        )
    return Frame(segment.data, None, offload)


@st.composite
def probes(draw: st.DrawFn, tags: list[bytes]) -> Frame:
    """A loop probe that came back, now and then of another bridge, cut short, or under a foreign address."""
    probe = _core.probe_frame(
        source=frames.number(draw(st.sampled_from([OWN] * 6 + [frames.host(1)]))),
        instance=draw(st.sampled_from([INSTANCE] * 6 + [7])),
        nonce=draw(st.sampled_from([1, 2, 65])),
        port=0,
        vid=10,
        sequence=1,
    )
    return Frame(probe[:12] + b"".join(tags) + probe[12 : draw(st.sampled_from([60, 60, 40, 39]))])


@st.composite
def nonsense_offload(draw: st.DrawFn, frame: Frame) -> Frame:
    """Offload metadata that may mean anything, on a frame short enough to lie in one buffer."""
    data = frame.data[:500]
    gso = draw(st.sampled_from(["none", "tcp4", "tcp6", "udp"]))
    return Frame(
        data,
        None,
        Offload(
            needs_csum=draw(mostly_true) or gso == "none",
            csum_start=draw(
                st.sampled_from([14, 13, 0, 18, 34, 38, max(0, len(data) - 18), len(data), 65535])
            ),
            csum_offset=draw(st.sampled_from([0, 6, 16, 17, 65535])),
            gso=gso,
            gso_size=draw(st.sampled_from([0, 1, 100, 65535])) if gso != "none" else 0,
        ),
    )


# what source guard looks into, from right and wrong addresses
speakers = st.sampled_from(
    [
        lambda source: packets.arp(source, "10.0.0.1"),
        lambda source: packets.arp(source, "0.0.0.0"),
        lambda source: packets.ipv4(source, "10.0.0.2"),
        lambda source: packets.ipv4(source, "0.0.0.0", body=packets.dhcp()),
        lambda source: packets.ipv6(source, "fd00::1"),
        lambda source: packets.ipv6(
            source, "::", protocol=packets.ICMPV6, body=packets.neighbour(packets.NS, "fd00::1")
        ),
    ]
)


@st.composite
def any_frames(draw: st.DrawFn, config: PortConfig) -> Frame:
    """A frame for a port of this configuration."""
    destination = draw(st.sampled_from(destination_addresses))
    source = draw(st.sampled_from(source_addresses))
    tags = draw(stacks(config))
    kinds = ["plain"] * 6 + ["offload"] * 3 + ["speaking"] * 2 + ["cut", "nonsense", "router", "probe"]
    kind = draw(st.sampled_from(kinds))
    if kind == "router":
        frame = Frame(draw(st.sampled_from(router_frames.ALL))(destination, source, *tags))
    elif kind == "offload":
        frame = draw(offload_frames(destination, source, tags))
    elif kind == "speaking":
        data = draw(speakers)(source)
        frame = Frame(destination + source + b"".join(tags) + data[12:])
    else:
        ethertype, payload = draw(st.sampled_from(ethertypes)), draw(st.sampled_from(lengths))
        frame = Frame(frames.ethernet(destination, source, *tags, ethertype=ethertype, payload=payload))
    if kind == "probe":
        frame = draw(probes(tags))
    if kind == "cut":
        frame = Frame(frame.data[: draw(st.integers(0, 24))])
    if kind == "nonsense":
        frame = draw(nonsense_offload(frame))
    return take_out_tag(frame) if draw(st.booleans()) else frame


def take_out_tag(frame: Frame) -> Frame:
    """The same frame as AF_PACKET hands it over: the outer tag beside the bytes, offsets without it."""
    data, _tag, offload = frame
    if len(data) < 18 or int.from_bytes(data[12:14], "big") not in TPIDS:
        return frame
    tag = int.from_bytes(data[12:14], "big"), int.from_bytes(data[14:16], "big")
    if offload.csum_start >= 4:
        offload = offload._replace(csum_start=offload.csum_start - 4)
    return Frame(data[:12] + data[16:], tag, offload)


policies = st.fixed_dictionaries(
    {
        "static_move": st.sampled_from(["drop", "forward"]),
        "age_ticks": st.sampled_from([0, 2, 5]),
        "full_table": st.sampled_from(["evict", "refuse"]),  # so few stations: eviction is exact
        "mac_limit": limits,
        "vlans_not_learning": st.sampled_from([frozenset()] * 7 + [frozenset({10})]),
        "vrrp_aware": st.booleans(),
        "local_first": st.booleans(),
    }
)
headrooms = st.sampled_from([64] * 5 + [0, 3, 4, 8])
DOWN = PortConfig("access", 10)


class Bridges(RuleBasedStateMachine):
    """One life of a bridge, lived twice."""

    lab: Lab

    @initialize(
        ports=st.lists(port_configs(), min_size=2, max_size=PORTS_MAX),
        no_vnet=st.sets(st.integers(0, PORTS_MAX - 1), max_size=2),
        burst=st.sampled_from([1, 2, 3, 8]),
        capacity=st.sampled_from([64, 64, 64, 6, 3]),
        vlan_limits=st.dictionaries(vids, st.integers(1, 3), max_size=1),
        policy=policies,
        storms=storms,
    )
    def begin(self, ports, no_vnet, burst, capacity, vlan_limits, policy, storms) -> None:
        self.lab = Lab(
            *ports,
            no_vnet=no_vnet,
            burst=burst,
            fdb_capacity=capacity,
            slots=SLOTS,
            vlan_limits=vlan_limits,
            **policy,
            storms=storms,
            own_address=frames.number(OWN),
            instance=INSTANCE,
        )

    def pick(self, choice: int) -> int:
        """A port that is open, in the bridge or not."""
        return choice % len(self.lab.ports)

    choices = st.integers(0, PORTS_MAX - 1)

    # -- traffic

    @rule(data=st.data(), choices=st.lists(choices, min_size=1, max_size=8), headroom=headrooms)
    def forward(self, data: st.DataObject, choices: list[int], headroom: int) -> None:
        """Frames arrive here and there, and everything that waits is forwarded."""
        for choice in choices:
            self.receive(data, choice, headroom, in_one=bool(choice % 2))
        while self.lab.turn():
            pass

    @rule(data=st.data(), choice=choices, headroom=headrooms, in_one=st.booleans())
    def receive(self, data: st.DataObject, choice: int, headroom: int, in_one: bool) -> None:
        """Frames arrive and wait."""
        index = self.pick(choice)
        config = self.lab.config.ports.get(index, DOWN)
        batch = data.draw(st.lists(any_frames(config), min_size=1, max_size=BATCH_MAX))
        if self.lab.ports[index].pending + len(batch) <= SLOTS - BATCH_MAX:
            self.lab.inject(index, *batch, headroom=headroom, in_one=in_one)

    @rule()
    def turn(self) -> None:
        self.lab.turn()

    @rule()
    def drain(self) -> None:
        """Look at what was sent; until then queues fill up."""
        self.lab.drain()

    # -- configuration

    @rule(choice=choices, config=port_configs())
    def change_port(self, choice: int, config: PortConfig) -> None:
        ports = self.lab.config.ports | {self.pick(choice): config}
        self.lab.change_bridge(ports=ports)

    @rule(choice=choices, up=st.booleans())
    def set_link(self, choice: int, up: bool) -> None:
        if self.pick(choice) in self.lab.config.ports:
            self.lab.change(self.pick(choice), up=up, blocked=False)

    @rule(choice=choices)
    def block(self, choice: int) -> None:
        if self.pick(choice) in self.lab.config.ports:
            self.lab.change(self.pick(choice), up=False, blocked=True)

    @rule(choice=choices, vid=vids, length=st.sampled_from([14, 60, 1014, 1015, 1514, 1515]))
    def originate(self, choice: int, vid: int, length: int) -> None:
        """The bridge sends a frame of its own."""
        self.lab.originate(self.pick(choice), vid, frames.ethernet(frames.group(1), OWN, payload=length - 14))

    @rule(choice=choices)
    def take_out(self, choice: int) -> None:
        """The port stays open but leaves the bridge; change_port brings it back."""
        gone = self.pick(choice)
        ports = {index: port for index, port in self.lab.config.ports.items() if index != gone}
        mirrors = tuple(mirror for mirror in self.lab.config.mirrors if mirror.target != gone)
        self.lab.change_bridge(ports=ports, mirrors=mirrors)

    @rule(mirrors=st.lists(mirrors, max_size=3))
    def mirror(self, mirrors: list[Mirror]) -> None:
        """Also to ports with traffic of their own: the core does not mind what the configuration refuses."""
        able = {None, *self.lab.config.ports}
        self.lab.change_bridge(mirrors=tuple(mirror for mirror in mirrors if mirror.target in able))

    @rule(
        reserved_pass=st.sampled_from([0, 1, 1 << 14, 0xFFFF]),
        controlled=mostly_false,
        policy=policies,
        storms=storms,
    )
    def change_bridge(self, policy, **changes) -> None:
        self.lab.change_bridge(**changes, **policy)

    # -- the FDB

    @rule(
        vid=vids,
        station=stations,
        choice=choices,
        kind=st.sampled_from(["dynamic", "sticky", "static", "drop"]),
    )
    def fdb_set(self, vid: int, station: int, choice: int, kind: str) -> None:
        self.lab.fdb_set(vid, station, self.pick(choice), kind)

    @rule(vid=vids, station=stations)
    def fdb_delete(self, vid: int, station: int) -> None:
        self.lab.fdb_delete(vid, station)

    @rule(choice=st.one_of(st.none(), choices), vid=st.one_of(st.none(), vids), sticky=st.booleans())
    def fdb_flush(self, choice: int | None, vid: int | None, sticky: bool) -> None:
        self.lab.fdb_flush(port=None if choice is None else self.pick(choice), vid=vid, sticky=sticky)

    @rule(ticks=st.sampled_from([1, 2, 6, 65535]))
    def time_passes(self, ticks: int) -> None:
        self.lab.set_tick((self.lab.core.tick + ticks) & 0xFFFF)

    @rule(max_age=st.sampled_from([0, 1, 5]))
    def fdb_expire(self, max_age: int) -> None:
        self.lab.fdb_expire(max_age)

    @rule()
    def events(self) -> None:
        self.lab.events()

    def teardown(self) -> None:
        if hasattr(self, "lab"):
            self.lab.settle()
            self.lab.events()


Bridges.TestCase.settings = settings(stateful_step_count=25)
TestBridges = pytest.mark.timeout(900)(Bridges.TestCase)


def test_a_snapshot_of_everything_is_accepted() -> None:
    """The extremes of every option, once, so that the random lives above need not find them."""
    extreme = PortConfig("trunk", 4094, tuple(range(1, 4095)), 0x88A8, 65535, mac_limit=0x7FFFFFFF)
    lab = Lab(extreme, extreme)
    lab.apply(Config({0: extreme, 1: extreme}, 0xFFFF, "forward", True, 0x7FFF, {1: 0x7FFFFFFF}))
    assert set(lab.send(0, frames.ethernet(frames.BROADCAST, frames.host(1))).sent) == {1}
