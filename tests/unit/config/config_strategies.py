"""Hypothesis strategies for valid configurations, shared by the tests of config and plan."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

from hypothesis import strategies as st

from bridge.config.bridge import BridgeConfig
from bridge.config.cost import CostConfig
from bridge.config.heartbeats import HeartbeatConfig
from bridge.config.loop_detection import LoopDetectionConfig
from bridge.config.metrics import MetricsConfig
from bridge.config.move_guard import MoveGuardConfig
from bridge.config.pair import PairConfig
from bridge.config.port import PortConfig
from bridge.config.rates import Rate
from bridge.config.security import GuardRule, Security, Stations
from bridge.config.static_entry import StaticEntry
from bridge.config.storm_control import StormControl
from bridge.config.translation import Translation
from bridge.config.vlan import VlanConfig
from bridge.config.whole import Config

Draw = Any
NAMES = st.from_regex(r"[A-Za-z0-9_.][A-Za-z0-9_.-]{0,31}", fullmatch=True)
PRINTABLE = st.characters(exclude_categories=["C", "Z"])
STATIONS = st.integers(1, (1 << 48) - 1).map(lambda mac: mac & ~(1 << 40) or 2)
METRICS = st.just(MetricsConfig()) | st.builds(
    MetricsConfig,
    address=st.builds("{}:{}".format, st.ip_addresses(v=4), st.integers(1, 65535))
    | st.builds("[{}]:{}".format, st.ip_addresses(v=6), st.integers(1, 65535)),
    vlans=st.integers(0, 4094),
    talkers=st.integers(0, 1000),
)


def _texts(limit: int, forbidden: str = "") -> st.SearchStrategy[str]:
    """Draw a printable word of at most `limit` bytes."""
    words = st.text(PRINTABLE, min_size=1, max_size=min(limit, 40))
    return words.filter(
        lambda word: (
            word not in (".", "..") and len(word.encode()) <= limit and not set(word) & set(forbidden)
        )
    )


RECOVERIES = st.just(0.0) | st.floats(1, 1_000_000)
MOVE_GUARDS = st.just(MoveGuardConfig()) | st.builds(
    MoveGuardConfig,
    moves=st.integers(2, 1_000_000),
    window=st.floats(1, 1_000_000),
    action=st.sampled_from(["log", "hold", "block"]),
    recovery=RECOVERIES,
)
HEARTBEATS = st.builds(
    HeartbeatConfig, st.builds(Rate, st.just("frames"), st.integers(1, 10**6).map(float)), st.booleans()
)
LOOP_DETECTIONS = st.just(LoopDetectionConfig()) | st.builds(
    LoopDetectionConfig,
    interval=st.floats(0.1, 3600),
    action=st.sampled_from(["log", "block"]),
    recovery=RECOVERIES,
    moving_addresses=st.integers(0, 4096),
)
PAIRS = st.just(PairConfig()) | st.builds(
    PairConfig,
    id=st.sampled_from(["lan", "dmz"]),
    secret_file=st.sampled_from(["/etc/framebridge/secret", "/s"]),
    priority=st.integers(0, 255),
    interval=st.floats(0.02, 10),
    control=st.sampled_from([("beat0",), ("beat0", "beat1")]),
    preempt_delay=st.just(0.0) | st.floats(0, 86400),
    announce=st.sampled_from([("own",), ("own", "rarp"), ("rarp",)]),
)
RATES = st.none() | st.builds(
    Rate, st.sampled_from(["frames", "bits", "cycles"]), st.integers(1, 10**12).map(float)
)
STORM_CONTROLS = st.just(StormControl()) | st.builds(
    StormControl, broadcast=RATES, multicast=RATES, unknown=RATES, burst=st.floats(0.01, 60)
)


@dataclass(frozen=True)
class Pools:
    """Where values are drawn from: everything there is, or so little that two configurations overlap."""

    names: st.SearchStrategy[str]
    devices: st.SearchStrategy[str]
    namespaces: st.SearchStrategy[str | None]
    vids: st.SearchStrategy[int]
    stations: st.SearchStrategy[int]
    limits: st.SearchStrategy[int]
    bridges: st.SearchStrategy[BridgeConfig]
    costs: st.SearchStrategy[CostConfig]


WIDE = Pools(
    names=NAMES,
    devices=_texts(15, forbidden="/:%"),
    namespaces=st.none() | _texts(255, forbidden="/"),
    vids=st.integers(1, 4094),
    stations=STATIONS,
    limits=st.integers(0, 1 << 20),
    bridges=st.builds(
        BridgeConfig,
        name=NAMES,
        ageing_time=st.just(0.0) | st.floats(1, 1_000_000) | st.integers(1, 1_000_000).map(float),
        fdb_size=st.integers(64, 1 << 20),
        control_socket=st.just("") | _texts(106).map(lambda text: f"/{text}"),
        learning=st.sampled_from(["automatic", "controlled"]),
        static_move=st.sampled_from(["drop", "forward"]),
        waiting=st.sampled_from(["latency", "balanced", "throughput"]),
        reserved=st.integers(0, 0xFFFF),
        full_table=st.sampled_from(["evict", "refuse"]),
        mac_limit=st.integers(0, 64),
        vrrp_aware=st.booleans(),
        local_first=st.booleans(),
        fdb_file=st.just("") | _texts(200, forbidden="/").map(lambda text: f"/var/{text}.fdb"),
        cpu=st.sets(st.integers(0, 8191), max_size=4).map(lambda found: tuple(sorted(found))),
        address=st.just(0) | STATIONS,
        offload=st.sampled_from(["auto", "off", "require"]),
    ),
    costs=st.builds(
        CostConfig,
        st.none() | st.floats(0, 1_000_000),
        _texts(8).filter(lambda text: not re.search(r"\s", text)),
    ),
)
NARROW = Pools(
    names=st.sampled_from(["a", "b", "c", "d"]),
    devices=st.sampled_from(["tap0", "tap1", "eth0"]),
    namespaces=st.sampled_from([None, "guest"]),
    vids=st.sampled_from([10, 20, 30]),
    stations=st.sampled_from([0x02005E000001, 0x02005E000002]),
    limits=st.sampled_from([0, 5]),
    bridges=st.builds(
        BridgeConfig, ageing_time=st.sampled_from([0.0, 300.0]), reserved=st.sampled_from([0, 1 << 14])
    ),
    costs=st.builds(CostConfig, st.sampled_from([None, 0.04])),
)


@st.composite
def _memberships(draw: Draw, pools: Pools) -> dict[str, Any]:
    mode = draw(st.sampled_from(["access", "trunk", "tunnel"]))
    tpid = draw(st.sampled_from([0x8100, 0x88A8]))
    if mode != "trunk":
        return {"mode": mode, "pvid": draw(pools.vids), "tpid": tpid}
    vids = set(draw(st.lists(pools.vids, max_size=4)))
    for first in draw(st.lists(st.integers(1, 4000), max_size=1)) if pools is WIDE else ():
        vids |= set(range(first, first + draw(st.integers(1, 90))))
    pvid = draw(pools.vids if not vids else st.just(0) | pools.vids)
    return {
        "mode": mode,
        "pvid": pvid,
        "vids": tuple(sorted(vids)),
        "tpid": tpid,
        "native_tagged": bool(pvid) and draw(st.booleans()),
        "translations": draw(_translations(vids | {pvid} - {0}, pvid)),
    }


@st.composite
def _translations(draw: Draw, members: set[int], native: int) -> tuple[Translation, ...]:
    """Draw tags on the wire for some VLANs: single ones, which may change places, and double ones."""
    chosen = [vid for vid in sorted(members - {native})[:6] if draw(st.booleans())]
    free = [vid for vid in range(1, 4095) if vid not in members or vid in chosen]
    outers = draw(st.lists(st.sampled_from(free), unique=True, min_size=7, max_size=7)) if chosen else []
    return tuple(
        Translation(outers[6], n + 1, vid) if draw(st.booleans()) else Translation(outers[n], 0, vid)
        for n, vid in enumerate(chosen)
    )


@st.composite
def _roles(draw: Draw, membership: dict[str, Any]) -> dict[str, Any]:
    """Draw what a port does beside its VLANs, as far as it can."""
    trunk, native = membership["mode"] == "trunk", membership["pvid"]
    gives_untagged = membership["mode"] != "tunnel" and native and not membership.get("native_tagged")
    hairpin = draw(st.booleans())
    return {
        "priority_tags": draw(st.sampled_from(["never", "if_nonzero", "always"]))
        if gives_untagged
        else "never",
        "default_pcp": draw(st.integers(0, 7)) if native or not trunk else 0,
        "horizon": draw(st.just(0) | st.integers(1, 65535)),
        "hairpin": hairpin,
        "direction": "both" if hairpin else draw(st.sampled_from(["both", "ingress", "egress"])),
    }


def _prefix(mac: int, length: int) -> Stations:
    return Stations(mac >> 48 - length << 48 - length, length)


ALLOWED = st.builds(_prefix, STATIONS, st.integers(8, 48)).filter(lambda one: one.mac or one.length < 48)
RULES = st.builds(
    lambda address, length, mac: GuardRule(
        ip_network((address.packed, min(length, address.max_prefixlen)), strict=False), mac
    ),
    st.ip_addresses().filter(lambda address: not address.is_multicast and not address.is_unspecified),
    st.integers(8, 128),
    st.just(0) | STATIONS,
).filter(lambda rule: not rule.network.is_multicast and not rule.network.is_unspecified)


@st.composite
def _security(draw: Draw) -> Security:
    locked = draw(st.booleans())
    allow = draw(st.sets(ALLOWED, max_size=3)) if locked else set()
    rules = draw(st.sets(RULES, max_size=3))
    guards = draw(st.tuples(st.booleans(), st.booleans()))
    return Security(locked, tuple(sorted(allow)), tuple(sorted(rules)), *guards)


@st.composite
def _ports(draw: Draw, pools: Pools, name: str) -> PortConfig:
    kind = draw(st.sampled_from(["tap", "link", "memory"]))
    place = {} if kind == "memory" else {"device": draw(pools.devices), "netns": draw(pools.namespaces)}
    flag = st.booleans()
    flags = ("learning", "flood_unknown", "flood_multicast", "flood_broadcast", "isolated", "admin_up")
    flags += ("kernel_filter",)
    membership = draw(_memberships(pools))
    return PortConfig(
        name=name,
        kind=kind,
        mtu=draw(st.none() | st.integers(68, 65521)),
        mac_limit=draw(pools.limits),
        storm_control=draw(STORM_CONTROLS),
        security=draw(_security()),
        **place,
        **membership,
        **draw(_roles(membership)),
        **{name: draw(flag) for name in flags},
    )


@st.composite
def _entries(draw: Draw, pools: Pools, ports: list[PortConfig]) -> StaticEntry:
    mac = draw(pools.stations)
    kind = draw(st.sampled_from(["static", "sticky", "drop"] if ports else ["drop"]))
    if kind == "drop":
        return StaticEntry(draw(pools.vids), mac, kind)
    port = draw(st.sampled_from(ports))
    return StaticEntry(draw(st.sampled_from(sorted(port.members))), mac, kind, port.name)


@st.composite
def configs(draw: Draw, pools: Pools = WIDE) -> Config:
    """Draw a valid configuration."""
    names = draw(st.lists(pools.names, unique=True, max_size=4))
    drawn = [draw(_ports(pools, name)) for name in names]
    by_place = {(port.device, port.netns) if port.device else port.name: port for port in drawn}
    ports = sorted(by_place.values(), key=lambda port: port.name)
    vlans = {
        vid: VlanConfig(vid, name, draw(pools.limits), draw(st.booleans()))
        for vid, name in zip(
            draw(st.lists(pools.vids, unique=True, max_size=3)),
            draw(st.permutations(["", "web", "dmz"])),
            strict=False,
        )
    }
    bridge = draw(pools.bridges)
    drawn_entries = draw(st.lists(_entries(pools, ports), max_size=4))
    entries = {(entry.vid, entry.mac): entry for entry in drawn_entries if entry.mac != bridge.address}
    return Config(
        cost=draw(st.just(CostConfig()) | pools.costs),
        bridge=bridge,
        ports=tuple(ports),
        vlans=tuple(vlans[vid] for vid in sorted(vlans)),
        entries=tuple(entries[key] for key in sorted(entries)),
        metrics=draw(METRICS),
        move_guard=draw(MOVE_GUARDS),
        loop_detection=draw(LOOP_DETECTIONS),
        heartbeats=draw(HEARTBEATS),
        pair=draw(PAIRS) if bridge.offload != "require" else PairConfig(),
    )
