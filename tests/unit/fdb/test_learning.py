"""Learning policy over the real data plane: memory ports, a clock moved by hand, one turn at a time."""

from __future__ import annotations

import select
from collections import Counter
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

import pytest
from helpers import frames, packets
from helpers.clock import ManualClock
from helpers.profiles import examples
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bridge.config.bridge import BridgeConfig
from bridge.config.budget import BudgetConfig
from bridge.config.port import PortConfig
from bridge.config.security import GuardRule, Security, Stations
from bridge.config.static_entry import StaticEntry
from bridge.core._core import Bridge, Event, MemoryPort, Snapshot
from bridge.core.values import PortRow
from bridge.engine.events import CoreEvents
from bridge.errors import FramebridgeError
from bridge.events import Events
from bridge.fdb.known import Change, split_key
from bridge.fdb.learning import Learning
from bridge.fdb.requests import REPORTED_MAX, REQUESTS_MAX
from bridge.fdb.store import Saved
from bridge.protect.security import secure

VID = 10


def access(name: str, vid: int = VID, **options: Any) -> PortConfig:
    return PortConfig(name, "memory", pvid=vid, **options)


def trunk(name: str, *vids: int, **options: Any) -> PortConfig:
    return PortConfig(name, "memory", mode="trunk", vids=vids, **options)


def mac(number: int) -> int:
    return frames.number(frames.host(number))


class Told(Events):
    """Keeps what is emitted; somebody listens."""

    has_audience = True

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[dict[str, Any]] = []

    def emit(self, event: str, /, **fields: Any) -> None:
        self.rows.append({"event": event, **fields})


class Follower:
    """A listener that keeps a copy of the FDB, as the kernel offload does."""

    def __init__(self, learning: Learning) -> None:
        self.learning = learning
        self.entries: dict[tuple[int, int], tuple[int, str]] = {}
        self.changes: list[Change | None] = []  # None: a reset
        learning.known.on_change(self)

    def fdb_changed(self, change: Change) -> None:
        self.changes.append(change)
        if change.what == "removed":
            assert self.entries.pop((change.vid, change.mac), None) == (change.port, change.kind)
        else:
            self.entries[change.vid, change.mac] = change.port, change.kind

    def fdb_reset(self) -> None:
        self.changes.append(None)
        self.entries = self.known()

    def known(self) -> dict[tuple[int, int], tuple[int, str]]:
        return {split_key(key): (one.port, one.kind) for key, one in self.learning.known.entries.items()}

    def heard(self) -> list[Change | None]:
        """Changes since the last call."""
        heard, self.changes = self.changes, []
        return heard


class Owners:
    """Owners of core events that are not about the FDB, and what they were handed."""

    def __init__(self) -> None:
        self.handed: list[tuple[Any, ...]] = []

    def probed(self, vid: int, nonce: int, port: int) -> None:
        self.handed.append(("probe", vid, nonce, port))

    def backup_spoke(self, event: Event) -> None:
        self.handed.append(("backup", event.vid, event.mac, event.port))

    def resync(self) -> None:
        pass

    def handle(self, event: Event) -> None:
        self.handed.append(("groups", event))

    def port_failed(self, index: int, errno: int) -> None:
        self.handed.append(("port_error", index, errno))

    def stepped(self, event: Event) -> None:
        self.handed.append(("pair", event))

    def at(self, place: int) -> BudgetConfig:
        self.handed.append(("budget", place))
        return BudgetConfig("noisy", "frames", 1.0)


class Table:
    """A data plane of memory ports under a `Learning`; ports are named a, b, c by their index."""

    def __init__(self, *ports: PortConfig, events: int = 16384, capacity: int = 4096, **bridge: Any) -> None:
        self.clock = ManualClock()
        self.core = Bridge(fdb_capacity=capacity, events=events)
        self.told = Told()
        self.events = CoreEvents(self.core, self.told.emit)
        self.learning = Learning(self.core, self.clock, self.told, self.drain)
        self.owners = Owners()
        self.events.connect(
            fdb=self.learning,
            protection=self.owners,
            snooping=self.owners,
            budgets=self.owners,
            ports=self.owners,
            member=self.owners,
        )
        self.follower = Follower(self.learning)
        self.bridge = BridgeConfig(**bridge)
        self.configs = dict(enumerate(ports or (access("a"), access("b"))))
        self.ports: dict[int, MemoryPort] = {index: self.core.open_memory(index) for index in self.configs}
        self.up = set(self.ports)
        self.vlan_limits: dict[int, int] = {}
        self.apply()

    def drain(self) -> None:
        self.events.drain()

    def apply(self) -> None:
        """What the engine does after every change."""
        self.learning.configure(self.bridge)
        snapshot = Snapshot(
            age_ticks=self.learning.age_ticks,
            controlled=self.bridge.learning == "controlled",
            static_move=self.bridge.static_move,
            full_table=self.bridge.full_table,
            mac_limit=self.bridge.mac_limit,
            local_first=self.bridge.local_first,
        )
        for vid, limit in self.vlan_limits.items():
            snapshot.set_vlan_mac_limit(vid, limit)
        for index, port in self.ports.items():
            config = self.configs[index]
            snapshot.add_port(
                port,
                PortRow(
                    mode=config.mode,
                    pvid=config.pvid,
                    vids=config.vids,
                    up=index in self.up,
                    mac_limit=config.mac_limit,
                ),
            )
            secure(snapshot, port, config.security)
        self.core.apply(snapshot)
        self.learning.set_ports({index: self.configs[index] for index in self.up}, self.configs)

    def send(self, index: int, *stations: int, vid: int = VID, drain: bool = True) -> None:
        """Let stations behind a port speak."""
        tags = [frames.tag(vid)] if self.configs[index].mode == "trunk" else []
        sent = [frames.ethernet(frames.BROADCAST, frames.host(number), *tags) for number in stations]
        assert self.ports[index].inject(sent) == len(sent)
        while self.core.turn():
            pass
        for port in self.ports.values():
            port.drain()
        if drain:
            self.drain()

    def pass_time(self, seconds: int) -> None:
        for _ in range(seconds):
            self.clock.advance(1)
            self.learning.tick()

    def stations(self) -> dict[int, str | None]:
        """Who is in the table, and where."""
        return {int(row["mac"][-2:], 16): row["port"] for row in self.rows()}

    def rows(self, **filters: int) -> list[dict[str, Any]]:
        return [*self.learning.rows.show(**filters)]

    def heard(self, event: str) -> list[dict[str, Any]]:
        """Events of a kind since the last call, without their kind."""
        told = self.told.rows
        heard = [{key: row[key] for key in row if key != "event"} for row in told if row["event"] == event]
        self.told.rows = [row for row in told if row["event"] != event]
        return heard


# -- learning, ageing ------------------------------------------------------------------------------


def test_a_source_is_learned_shown_and_told_once() -> None:
    table = Table()
    table.send(0, 1, 1, 1)
    row = {"mac": "02:00:00:00:00:01", "vlan": VID, "port": "a", "state": "dynamic", "age": 0}
    assert table.rows() == [row]
    assert table.heard("fdb-learned") == [{"mac": mac(1), "vlan": VID, "port": "a"}]
    assert table.learning.counters.learned == 1


def test_rows_are_sorted_and_filters_all_have_to_fit() -> None:
    table = Table(trunk("a", 10, 20), trunk("b", 10, 20))
    table.send(0, 2, 1)
    table.send(1, 3)
    table.send(1, 2, vid=20)
    assert [(row["vlan"], row["mac"][-1], row["port"]) for row in table.rows()] == [
        (10, "1", "a"),
        (10, "2", "a"),
        (10, "3", "b"),
        (20, "2", "b"),
    ]
    assert [row["vlan"] for row in table.rows(mac=mac(2))] == [10, 20]
    assert [row["mac"][-1] for row in table.rows(port=1, vid=10)] == ["3"]
    assert [row["port"] for row in table.rows(vid=20, mac=mac(2))] == ["b"]
    assert table.rows(vid=20, mac=mac(1)) == []
    assert table.learning.rows.count_by_port() == Counter({0: 2, 1: 2})
    assert table.learning.rows.count_by_vlan() == Counter({10: 3, 20: 1})


def test_an_entry_is_gone_between_the_ageing_time_and_one_tick_later() -> None:
    table = Table(ageing_time=300)
    table.send(0, 1)
    table.pass_time(300)
    assert table.rows()[0]["age"] == 299  # it was seen within the second that ended then
    table.pass_time(1)
    assert table.rows() == []
    assert table.heard("fdb-aged") == [{"mac": mac(1), "vlan": VID, "port": "a", "held": 301}]
    assert table.learning.counters.aged == 1


def test_a_source_that_speaks_stays() -> None:
    table = Table(ageing_time=5)
    table.send(0, 1, 2)
    for _ in range(10):
        table.pass_time(3)
        table.send(0, 1)
    assert table.stations() == {1: "a"}
    assert table.heard("fdb-learned") == [{"mac": mac(n), "vlan": VID, "port": "a"} for n in (1, 2)]


def test_being_spoken_to_is_not_speaking() -> None:
    """R7: refreshed by source only."""
    table = Table(ageing_time=5)
    table.send(0, 1)
    for _ in range(6):
        table.pass_time(1)
        table.ports[1].inject([frames.ethernet(frames.host(1), frames.host(2))])
        while table.core.turn():
            pass
    assert table.stations() == {2: "b"}


def test_ageing_time_zero_keeps_everything_and_shows_no_age() -> None:
    table = Table(ageing_time=0)
    table.send(0, 1)
    table.pass_time(100)
    assert [(row["state"], row["age"]) for row in table.rows()] == [("dynamic", None)]
    assert table.core.tick == 0


def test_ageing_switched_on_counts_from_then() -> None:
    table = Table(ageing_time=0)
    table.send(0, 1)
    table.pass_time(1000)
    table.bridge = BridgeConfig(ageing_time=10)
    table.apply()
    table.pass_time(10)
    assert table.stations() == {1: "a"}
    table.pass_time(1)
    assert table.stations() == {}


@pytest.mark.parametrize(
    ("ageing", "ticks"), [(1, 1), (300, 300), (300.5, 301), (1000, 1000), (1_000_000, 1000)]
)
def test_ages_fit_a_thousand_ticks(ageing: float, ticks: int) -> None:
    table = Table(ageing_time=ageing)
    assert table.learning.age_ticks == ticks


def test_a_long_ageing_time_has_long_ticks() -> None:
    table = Table(ageing_time=1_000_000)
    table.send(0, 1)
    table.pass_time(2500)
    assert table.core.tick == 2
    assert table.rows()[0]["age"] == 1500  # seconds since the tick it was seen in ended


def test_entries_keep_their_age_when_the_ageing_time_changes() -> None:
    table = Table(ageing_time=300)
    table.send(0, 1)
    table.pass_time(100)
    table.send(0, 2)
    table.bridge = BridgeConfig(ageing_time=1_000_000)  # ticks of 1000 s from here
    table.apply()
    table.pass_time(50)
    assert [row["age"] for row in table.rows()] == [149, 0]  # 2 was seen in the tick that still lasts
    table.bridge = BridgeConfig(ageing_time=60)
    table.apply()
    table.pass_time(1)
    assert table.stations() == {2: "a"}
    table.pass_time(60)
    assert table.stations() == {}


def test_ticks_come_round_and_ages_do_not_suffer() -> None:
    table = Table(ageing_time=20, capacity=64)
    for _ in range(65536 // 16 + 10):
        table.pass_time(16)
        table.send(0, 1)
    assert table.core.tick < 65536 // 2  # came round
    table.send(1, 2)
    table.pass_time(20)
    assert table.stations() == {1: "a", 2: "b"}
    table.pass_time(1)
    assert table.stations() == {}
    assert table.learning.counters.aged == 2


def test_a_late_tick_lengthens_a_tick_and_nothing_else() -> None:
    table = Table(ageing_time=10)
    table.send(0, 1)
    table.clock.advance(100)
    table.send(0, 2)
    table.learning.tick()
    assert table.stations() == {1: "a", 2: "a"}  # one tick, 100 s long
    table.pass_time(10)
    assert table.stations() == {}


# -- moving ----------------------------------------------------------------------------------------


def test_a_move_is_told_with_both_ports_and_counted() -> None:
    """R9: A to B to A, each on the first frame."""
    table = Table()
    table.send(0, 1)
    table.send(1, 1)
    table.send(0, 1)
    assert table.stations() == {1: "a"}
    assert table.heard("fdb-moved") == [
        {"mac": mac(1), "vlan": VID, "port": "b", "old_port": "a", "moves": 1},
        {"mac": mac(1), "vlan": VID, "port": "a", "old_port": "b", "moves": 2},
    ]
    assert table.learning.counters.moved == 2


# -- ports -----------------------------------------------------------------------------------------


def test_what_a_port_learned_vanishes_with_it_and_what_was_set_by_hand_stays() -> None:
    table = Table()
    table.learning.static.add(StaticEntry(VID, mac(3), "static", "a"))
    table.learning.static.add(StaticEntry(VID, mac(4), "drop"))
    table.learning.static.add(StaticEntry(VID, mac(5), "sticky", "a"))
    table.send(0, 1, 6)
    assert table.learning.hold(VID, mac(6), 0)
    table.send(1, 2)
    for up in ({1}, {0, 1}):
        table.up = up
        table.apply()
        table.send(1, 3, 5)  # nobody else takes their addresses
        assert table.stations() == {2: "b", 3: "a", 4: None, 5: "a"}
        assert table.learning.rows.count_by_port() == Counter({0: 2, 1: 1, -1: 1})
    assert table.learning.requests.n_refused == Counter(static_move=4)
    table.send(1, 1, 6)
    assert table.stations()[1] == table.stations()[6] == "b"


def test_an_entry_set_by_hand_can_be_set_while_its_port_is_down() -> None:
    table = Table()
    table.up = {1}
    table.apply()
    table.learning.static.add(StaticEntry(VID, mac(1), "static", "a"))
    table.send(1, 1)
    assert table.stations() == {1: "a"}
    assert table.learning.static.remove(VID, mac(1))
    table.send(1, 1)
    assert table.stations() == {1: "b"}


def test_entries_of_a_port_that_is_no_more_go_with_it() -> None:
    table = Table()
    table.learning.static.add(StaticEntry(VID, mac(1), "static", "a"))
    table.learning.set_ports({1: table.configs[1]}, {1: table.configs[1]})
    assert table.stations() == {}
    table.send(1, 1)
    assert table.stations() == {1: "b"}


def test_a_port_that_loses_a_vlan_loses_its_entries_there() -> None:
    table = Table(trunk("a", 10, 20), trunk("b", 10, 20))
    table.learning.static.add(StaticEntry(20, mac(9), "static", "a"))
    for vid in (10, 20):
        table.send(0, 1, vid=vid)
        table.send(1, 2, vid=vid)
    table.configs[0] = trunk("a", 10)
    table.apply()
    assert [(row["vlan"], row["port"]) for row in table.rows()] == [(10, "a"), (10, "b"), (20, "b")]
    table.configs[0] = trunk("a", 10, 20)
    table.apply()
    assert [(row["vlan"], row["port"], row["state"]) for row in table.rows(vid=20)] == [
        (20, "b", "dynamic"),
        (20, "a", "static"),
    ]


def test_another_port_under_the_same_index_inherits_nothing() -> None:
    table = Table()
    table.send(0, 1)
    table.configs[0] = access("other")
    table.apply()
    assert table.stations() == {}


def test_an_event_under_way_when_its_port_goes_leaves_no_trace() -> None:
    table = Table()
    table.send(0, 1, drain=False)
    table.up = {1}
    table.apply()
    table.pass_time(1)
    assert table.rows() == []
    assert table.learning.rows.count_by_port() == Counter()


# -- pinned entries --------------------------------------------------------------------------------


def test_a_static_entry_neither_ages_nor_moves_nor_is_flushed() -> None:
    table = Table(ageing_time=10)
    table.learning.static.add(StaticEntry(VID, mac(1), "static", "a"))
    table.send(1, 1)
    table.pass_time(30)
    assert table.learning.flush() == 0
    assert table.rows() == [
        {"mac": "02:00:00:00:00:01", "vlan": VID, "port": "a", "state": "static", "age": None}
    ]
    assert table.learning.requests.n_refused == Counter(static_move=1)


def test_a_sticky_entry_ages_like_a_learned_one_and_returns_with_its_port() -> None:
    table = Table(ageing_time=10)
    table.learning.static.add(StaticEntry(VID, mac(1), "sticky", "a"))
    table.send(1, 1)
    assert table.stations() == {1: "a"}
    table.pass_time(11)
    assert table.stations() == {}
    table.send(1, 1)  # nobody holds the address any more
    assert table.stations() == {1: "b"}
    table.up = {1}
    table.apply()
    table.up = {0, 1}
    table.apply()
    assert table.stations() == {1: "a"}


def test_a_sticky_entry_that_was_flushed_returns_when_it_is_pinned_again() -> None:
    table = Table()
    entry = StaticEntry(VID, mac(1), "sticky", "a")
    table.learning.static.add(entry)
    assert table.learning.flush(port=0) == 1
    table.apply()
    assert table.stations() == {}
    table.learning.static.add(entry)
    assert table.stations() == {1: "a"}


def test_pinning_replaces_and_unpinning_removes() -> None:
    table = Table()
    table.send(0, 1)
    table.learning.static.add(StaticEntry(VID, mac(1), "static", "b"))
    assert [(row["port"], row["state"]) for row in table.rows()] == [("b", "static")]
    table.learning.static.add(StaticEntry(VID, mac(1), "drop"))
    assert [(row["port"], row["state"]) for row in table.rows()] == [(None, "drop")]
    assert table.learning.static.remove(VID, mac(1))
    assert not table.learning.static.remove(VID, mac(1))
    assert table.rows() == []


def test_a_pin_without_room_is_refused_and_the_one_before_it_stays() -> None:
    table = Table(capacity=1)
    table.learning.static.add(StaticEntry(VID, mac(1), "static", "a"))
    with pytest.raises(
        FramebridgeError, match=r"no room for 02:00:00:00:00:02 in the FDB: .* by hand; .*fdb_size"
    ):
        table.learning.static.add(StaticEntry(VID, mac(2), "static", "a"))
    with pytest.raises(FramebridgeError, match="full of entries set by hand"):
        table.learning.authorise(VID, mac(2), 1)
    assert table.stations() == {1: "a"}
    assert not table.learning.static.remove(VID, mac(2))


def test_a_pin_that_finds_no_room_when_its_port_comes_to_the_vlan_is_told() -> None:
    table = Table(access("a", 20), access("b"), capacity=1)
    table.learning.static.add(StaticEntry(VID, mac(1), "static", "a"))
    table.learning.static.add(StaticEntry(VID, mac(2), "drop"))
    table.configs[0] = access("a")
    table.apply()
    assert table.heard("fdb-refused") == [{"mac": mac(1), "vlan": VID, "port": "a", "reason": "refused_full"}]


@pytest.mark.parametrize("bridge", [{}, {"full_table": "refuse"}, {"learning": "controlled"}])
def test_what_is_set_by_hand_takes_the_place_of_who_was_silent_longest(bridge: dict[str, str]) -> None:
    table = Table(capacity=3, **bridge)
    for number, port in ((1, 0), (2, 0), (3, 1)):
        table.learning.authorise(VID, mac(number), port)
        table.pass_time(1)
    table.learning.static.add(StaticEntry(VID, mac(4), "static", "b"))
    assert table.stations() == {2: "a", 3: "b", 4: "b"}
    table.learning.authorise(VID, mac(5), 0)  # of ports with one each, not its own pays
    assert table.stations() == {2: "a", 4: "b", 5: "a"}
    table.learning.static.add(StaticEntry(VID, mac(6), "drop"))
    assert table.stations() == {4: "b", 5: "a", 6: None}
    assert table.heard("fdb-evicted") == [
        {"mac": mac(1), "vlan": VID, "port": "a", "by": "b"},
        {"mac": mac(3), "vlan": VID, "port": "b", "by": "a"},
        {"mac": mac(2), "vlan": VID, "port": "a", "by": None},
    ]
    assert table.learning.counters.evicted == 3
    assert table.learning.rows.count_by_port() == Counter({0: 1, 1: 1, -1: 1})


def test_a_learned_one_that_gave_way_and_is_set_in_the_same_command_is_there() -> None:
    """Its eviction is heard when it is back: pins of a port that comes into a VLAN full of their own addresses."""
    table = Table(access("a", 20), access("b"), capacity=3)
    for number in (1, 2, 3):
        table.learning.static.add(StaticEntry(VID, mac(number), "static", "a"))
    table.send(1, 2, 3, 4)
    table.configs[0] = access("a")
    table.apply()
    assert table.stations() == {1: "a", 2: "a", 3: "a"}
    assert table.learning.rows.count_by_port() == Counter({0: 3})
    table.learning.resync()
    assert table.learning.rows.count_by_port() == Counter({0: 3})


def test_letting_in_replaces_what_was_set_and_keeps_to_the_vlans_of_the_port() -> None:
    table = Table()
    table.learning.static.add(StaticEntry(VID, mac(1), "static", "a"))
    table.learning.authorise(VID, mac(1), 1)
    assert not table.learning.static.remove(VID, mac(1))
    assert [(row["port"], row["state"]) for row in table.rows()] == [("b", "dynamic")]
    with pytest.raises(FramebridgeError, match="carries no traffic of VLAN 20"):
        table.learning.authorise(20, mac(2), 1)


def test_pins_of_ports_that_are_no_more_are_let_go() -> None:
    table = Table()
    for number, port in ((1, "a"), (2, "b")):
        table.learning.static.add(StaticEntry(VID, mac(number), "static", port))
    table.learning.static.add(StaticEntry(VID, mac(3), "drop"))
    table.learning.static.keep(["b"])
    assert table.stations() == {2: "b", 3: None}


# -- limits, storms, controlled mode ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"mac_limit": 2}, "refused_port_limit"),
        ({"vlan": 2}, "refused_vlan_limit"),
        ({"capacity": 2}, "refused_full"),
    ],
)
def test_refusals_are_counted_all_and_told_once_a_tick(limits: dict[str, int], reason: str) -> None:
    table = Table(
        access("a", mac_limit=limits.get("mac_limit", 0)),
        access("b"),
        capacity=limits.get("capacity", 4096),
        full_table="refuse",
    )
    table.vlan_limits = {VID: limits.get("vlan", 0)}
    table.apply()
    table.send(0, *range(1, 8))
    told = table.heard("fdb-refused")
    assert [(event["port"], event["vlan"], event["reason"]) for event in told] == [("a", VID, reason)]
    assert table.learning.requests.n_refused == Counter({reason: 5})
    assert len(table.rows()) == 2
    table.pass_time(1)
    table.send(0, 9)
    assert len(table.heard("fdb-refused")) == 1


def test_controlled_mode_installs_nobody_unasked() -> None:
    table = Table(learning="controlled")
    table.send(0, 1, 1)
    table.send(1, 2)
    assert table.rows() == []
    assert table.heard("fdb-request") == [
        {"mac": mac(1), "vlan": VID, "port": "a"},
        {"mac": mac(2), "vlan": VID, "port": "b"},
    ]
    table.pass_time(1)
    table.send(0, 1)
    assert len(table.heard("fdb-request")) == 1  # it still asks

    table.learning.authorise(VID, mac(1))
    table.learning.authorise(VID, mac(3), port=1)
    assert table.stations() == {1: "a", 3: "b"}
    with pytest.raises(FramebridgeError, match="02:00:00:00:00:04 in VLAN 10 has not been seen"):
        table.learning.authorise(VID, mac(4))

    table.learning.static.add(StaticEntry(VID, mac(2), "drop"))  # denied
    table.send(1, 2)
    assert table.heard("fdb-request") == []


def test_a_move_needs_permission_too() -> None:
    table = Table(learning="controlled")
    table.send(0, 1)
    table.learning.authorise(VID, mac(1))
    table.send(1, 1)
    assert table.stations() == {1: "a"}
    table.learning.authorise(VID, mac(1))
    assert table.stations() == {1: "b"}


def test_a_storm_of_strangers_does_not_eat_memory() -> None:
    table = Table(learning="controlled")
    for start in range(0, REQUESTS_MAX + 100, 500):
        table.send(0, *range(start + 1, start + 501))
        table.pass_time(1)
    with pytest.raises(FramebridgeError, match="has not been seen"):
        table.learning.authorise(VID, mac(1))
    table.learning.authorise(VID, mac(REQUESTS_MAX + 100))


# -- locked ports, source guard ----------------------------------------------------------------------


def test_who_knocks_at_a_locked_port_is_told_and_can_be_let_in() -> None:
    table = Table(access("a", security=Security(True)), access("b"))
    table.send(1, 2)
    table.send(0, 1, 1, 2)
    assert table.heard("fdb-locked") == [
        {"mac": mac(1), "vlan": VID, "port": "a", "known_on": None},
        {"mac": mac(2), "vlan": VID, "port": "a", "known_on": "b"},
    ]
    table.learning.authorise(VID, mac(1))
    table.send(0, 1)
    assert table.stations() == {1: "a", 2: "b"}
    table.pass_time(1)
    table.send(0, 2)
    assert len(table.heard("fdb-locked")) == 1  # it still knocks


def test_one_let_in_may_leave_but_not_come_back() -> None:
    table = Table(access("a", security=Security(True)), access("b"))
    table.learning.authorise(VID, mac(1), port=0)
    table.send(1, 1)
    table.send(0, 1)
    assert table.stations() == {1: "b"}


def test_a_port_tells_of_few_strangers_and_counts_all() -> None:
    table = Table(access("a", security=Security(True)), access("b"))
    table.send(0, *range(1, 101))
    assert len(table.heard("fdb-locked")) == REPORTED_MAX
    assert table.learning.requests.n_refused["locked"] == 100
    table.pass_time(1)
    table.send(0, 1)
    assert len(table.heard("fdb-locked")) == 1


def test_a_station_taken_off_the_allow_list_is_forgotten() -> None:
    allow = tuple(Stations(mac(number)) for number in (1, 2))
    table = Table(access("a", security=Security(True, allow)), access("b"))
    table.send(0, 1, 2)
    table.send(1, 3)
    table.configs[0] = access("a", security=Security(True, allow[:1]))
    table.apply()
    assert table.stations() == {1: "a", 3: "b"}
    table.send(0, 2)
    assert table.stations() == {1: "a", 3: "b"}
    table.configs[0] = access("a")
    table.apply()
    assert table.stations() == {1: "a", 3: "b"}, "an open port forgets nobody"


def test_a_station_taken_off_the_allow_list_is_forgotten_where_it_was_held() -> None:
    """What keeps an address from moving is no permission to send."""
    allow = tuple(Stations(mac(number)) for number in (1, 2))
    table = Table(access("a", security=Security(True, allow)), access("b"))
    table.send(0, 1, 2)
    assert table.learning.hold(VID, mac(1), 0)
    table.configs[0] = access("a", security=Security(True, allow[1:]))
    table.apply()
    table.send(0, 1)
    assert table.stations() == {2: "a"}
    assert not table.learning.is_held(VID, mac(1))


def test_source_guard_tells_who_spoke_from_where() -> None:
    table = Table(
        access("a", security=Security(source_guard=(GuardRule(ip_network("10.0.0.5")),))), access("b")
    )
    spoofed = [packets.ipv4(frames.host(1), "10.0.0.1"), packets.ipv6(frames.host(1), "fd00::1")]
    table.ports[0].inject([spoofed[0], *spoofed, packets.arp(frames.host(2), "10.0.0.1")[:40]])
    table.core.turn()
    table.drain()
    common = {"mac": mac(1), "vlan": VID, "port": "a", "finding": "address"}
    assert table.heard("source-guard") == [
        {**common, "address": "10.0.0.1"},
        {**common, "address": "fd00::1"},
        {"mac": mac(2), "vlan": VID, "port": "a", "finding": "malformed", "address": None},
    ]
    assert table.rows() == []


def test_guards_tell_who_spoke_as_a_server() -> None:
    table = Table(access("a", security=Security(ra_guard=True, dhcp_guard=True)), access("b"))
    advertisement = packets.ipv6(frames.host(1), "fe80::1", protocol=packets.ICMPV6, body=packets.ra())
    offer = packets.ipv4(frames.host(2), "10.0.0.1", body=packets.dhcp(67, 68))
    table.ports[0].inject([advertisement, advertisement, offer])
    table.core.turn()
    table.drain()
    assert table.heard("ra-guard") == [{"mac": mac(1), "vlan": VID, "port": "a"}]
    assert table.heard("dhcp-guard") == [{"mac": mac(2), "vlan": VID, "port": "a"}]
    assert table.rows() == []


# -- loss, flushing --------------------------------------------------------------------------------


def test_lost_events_cost_one_resync_at_the_next_tick() -> None:
    table = Table(events=8)
    table.send(0, *range(1, 101), drain=False)
    table.drain()
    lost = table.learning.counters.lost
    assert lost > 0
    assert table.learning.rows.count_by_port() == Counter({0: 100 - lost})
    table.pass_time(1)
    assert table.learning.rows.count_by_port() == Counter({0: 100})
    assert table.heard("fdb-resync") == [{"lost": lost, "added": lost, "removed": 0}]
    table.pass_time(5)
    assert table.learning.counters.resyncs == 1


def test_a_resync_keeps_what_is_known_of_an_entry() -> None:
    table = Table(ageing_time=100)
    table.send(0, 1)
    table.send(1, 1)
    table.pass_time(50)
    table.learning.resync()
    table.send(0, 1)
    assert table.heard("fdb-moved")[-1]["moves"] == 2
    table.pass_time(101)
    assert table.heard("fdb-aged")[0]["held"] == 151


def test_flushing_counts_tells_and_respects_its_filters() -> None:
    table = Table(trunk("a", 10, 20), trunk("b", 10, 20))
    for vid in (10, 20):
        table.send(0, 1, 2, vid=vid)
        table.send(1, 3, vid=vid)
    assert table.learning.flush(port=0, vid=20) == 2
    assert table.learning.flush(port=0, vid=20) == 0
    assert table.learning.flush(vid=20) == 1
    assert table.learning.flush(port=1) == 1
    assert table.learning.flush() == 2
    assert table.rows() == []
    assert table.heard("fdb-flushed") == [
        {"port": "a", "vlan": 20, "entries": 2},
        {"port": "a", "vlan": 20, "entries": 0},
        {"port": None, "vlan": 20, "entries": 1},
        {"port": "b", "vlan": None, "entries": 1},
        {"port": None, "vlan": None, "entries": 2},
    ]
    assert table.learning.counters.flushed == 6


def test_deleting_removes_any_kind_once() -> None:
    table = Table()
    table.send(0, 1)
    table.learning.static.add(StaticEntry(VID, mac(2), "static", "a"))
    table.learning.static.add(StaticEntry(VID, mac(3), "drop"))
    assert [table.learning.delete(VID, mac(number)) for number in (1, 2, 3)] == [True] * 3
    assert [table.learning.delete(VID, mac(number)) for number in (1, 2, 3)] == [False] * 3
    assert table.rows() == []
    table.send(0, 2)
    assert table.stations() == {2: "a"}


# -- everything in any order -----------------------------------------------------------------------


@dataclass
class Entry:
    """An entry as the model has it; `tick`: when it was last seen or set."""

    port: int
    kind: str
    tick: int


@pytest.mark.parametrize("end", ["flush", "age"])
def test_a_learned_entry_that_ends_suspends_no_static_one(end: str) -> None:
    """It stood in the place of one whose port was not in the VLAN, and which returns with its port."""
    table = Table(trunk("a", 10, 20), trunk("b", 10), ageing_time=5)
    table.send(0, 1, vid=20)
    table.learning.static.add(StaticEntry(20, mac(1), "static", "b"))
    if end == "flush":
        assert table.learning.flush(None, None) == 1
    else:
        table.pass_time(7)
    assert table.rows() == []
    table.configs[1] = trunk("b", 10, 20)
    table.apply()
    assert [(row["port"], row["state"]) for row in table.rows()] == [("b", "static")]


class AnyOrder(RuleBasedStateMachine):
    """A dictionary that learns, ages and forgets by the rules, beside the real thing."""

    stations = st.integers(1, 6)
    indexes = st.integers(0, 2)
    vids = st.sampled_from([10, 20])

    def __init__(self) -> None:
        super().__init__()
        self.table = Table(trunk("a", 10, 20), trunk("b", 10, 20), trunk("c", 10, 20), ageing_time=5)
        self.entries: dict[tuple[int, int], Entry] = {}
        self.pins: dict[tuple[int, int], StaticEntry] = {}
        self.lapsed: set[tuple[int, int]] = set()
        self.tick = 0
        self.ended: dict[int, int] = {}  # when ticks ended
        self.now = 0

    @property
    def ageing(self) -> float:
        return self.table.bridge.ageing_time

    def is_member(self, index: int, vid: int) -> bool:
        return vid in self.table.configs[index].vids

    def carries(self, index: int, vid: int) -> bool:
        return index in self.table.up and self.is_member(index, vid)

    @rule(index=indexes, vid=vids, number=stations)
    def speak(self, index: int, vid: int, number: int) -> None:
        if index not in self.table.up:
            return  # its frames would wait for it to come up
        self.table.send(index, number, vid=vid)
        if not self.carries(index, vid):
            return
        entry = self.entries.get((vid, number))
        if entry is None:
            self.entries[vid, number] = Entry(index, "dynamic", self.tick)
        elif entry.kind != "drop" and entry.port == index:
            entry.tick = self.tick
        elif entry.kind == "dynamic":
            entry.port, entry.tick = index, self.tick

    @rule(seconds=st.integers(1, 4))
    def wait(self, seconds: int) -> None:
        self.table.pass_time(seconds)
        for _ in range(seconds):
            self.now += 1
            if self.ageing:
                self.ended[self.tick] = self.now
                self.tick += 1
                self.expire()

    def expire(self) -> None:
        for key, entry in [*self.entries.items()]:
            ended = self.ended.get(entry.tick, self.now)
            if entry.kind in ("dynamic", "sticky") and ended <= self.now - self.ageing:
                self.lose(key)

    def lose(self, key: tuple[int, int]) -> None:
        entry = self.entries.pop(key)
        if key in self.pins and entry.kind != "dynamic":  # a learned one was there in place of its entry
            self.lapsed.add(key)

    @rule(seconds=st.sampled_from([0, 2, 5]))
    def set_ageing(self, seconds: int) -> None:
        self.table.bridge = BridgeConfig(ageing_time=seconds)
        self.table.apply()

    @rule(vid=vids, number=stations, kind=st.sampled_from(["static", "sticky", "drop"]), index=indexes)
    def pin(self, vid: int, number: int, kind: str, index: int) -> None:
        name = "" if kind == "drop" else "abc"[index]
        entry = StaticEntry(vid, mac(number), kind, name)
        same = self.pins.get((vid, number)) == entry and (vid, number) in self.entries
        self.table.learning.static.add(entry)
        if not same:
            was_pinned = self.pins.pop((vid, number), None) is not None
            there = self.entries.get((vid, number))
            # A learned one stays until the port of the pin is in its VLAN.
            if was_pinned and there and there.kind != "dynamic":
                del self.entries[vid, number]
        self.pins[vid, number] = entry
        self.lapsed.discard((vid, number))
        if not same:
            self.install((vid, number))

    def install(self, key: tuple[int, int]) -> None:
        pin = self.pins[key]
        if pin.kind == "drop":
            self.entries[key] = Entry(-1, "drop", self.tick)
        elif key not in self.lapsed and self.is_member("abc".index(pin.port), pin.vid):
            self.entries[key] = Entry("abc".index(pin.port), pin.kind, self.tick)

    @rule(vid=vids, number=stations)
    def delete(self, vid: int, number: int) -> None:
        key = (vid, number)
        there = key in self.entries or key in self.pins
        assert self.table.learning.delete(vid, mac(number)) == there
        self.entries.pop(key, None)
        self.pins.pop(key, None)
        self.lapsed.discard(key)

    @rule(index=st.none() | indexes, vid=st.none() | vids)
    def flush(self, index: int | None, vid: int | None) -> None:
        victims = [
            key
            for key, entry in self.entries.items()
            if entry.kind in ("dynamic", "sticky") and index in (None, entry.port) and vid in (None, key[0])
        ]
        assert self.table.learning.flush(index, vid) == len(victims)
        for key in victims:
            self.lose(key)

    @rule(index=indexes)
    def switch(self, index: int) -> None:
        """A port goes down or comes up."""
        self.table.up ^= {index}
        if index in self.table.up:
            self.lapsed -= {key for key in self.lapsed if self.pins[key].port == "abc"[index]}
        self.changed()

    @precondition(lambda self: self.table.up)
    @rule(index=indexes, vids=st.sets(vids, min_size=1))
    def set_vlans(self, index: int, vids: set[int]) -> None:
        self.table.configs[index] = trunk("abc"[index], *sorted(vids))
        self.changed()

    def changed(self) -> None:
        self.table.apply()
        for key, entry in [*self.entries.items()]:
            stays = self.carries if entry.kind == "dynamic" else self.is_member
            if entry.kind != "drop" and not stays(entry.port, key[0]):
                del self.entries[key]
        for key, pin in self.pins.items():
            entry = self.entries.get(key)
            if entry is None or entry.kind != pin.kind:
                self.install(key)

    @invariant()
    def agrees(self) -> None:
        ports = {-1: None, **dict(enumerate("abc"))}
        told = {
            (row["vlan"], int(row["mac"][-2:], 16)): (row["port"], row["state"]) for row in self.table.rows()
        }
        assert told == {key: (ports[entry.port], entry.kind) for key, entry in self.entries.items()}
        by_port = Counter(entry.port for entry in self.entries.values())
        assert self.table.learning.rows.count_by_port() == by_port
        assert self.table.follower.entries == self.table.follower.known()
        assert self.table.follower.known() == {
            (vid, mac(number)): (entry.port, entry.kind) for (vid, number), entry in self.entries.items()
        }


AnyOrder.TestCase.settings = settings(max_examples=examples(150), stateful_step_count=30)
TestAnyOrder = AnyOrder.TestCase


# -- eviction --------------------------------------------------------------------------------------


def test_who_gives_way_is_told_counted_and_gone_from_the_mirror() -> None:
    table = Table(mac_limit=2)
    table.send(0, 1)
    table.pass_time(1)
    table.send(0, 2)
    table.send(1, 3)
    assert table.heard("fdb-evicted") == [{"mac": mac(1), "vlan": VID, "port": "a", "by": "b"}]
    assert table.learning.counters.evicted == 1
    assert table.learning.rows.count_by_port() == Counter({0: 1, 1: 1})
    assert table.stations() == {2: "a", 3: "b"}


def test_the_mirror_follows_a_flood_whose_events_were_lost() -> None:
    table = Table(mac_limit=8, events=64)
    for first in range(1, 241, 60):
        table.send(0, *range(first, first + 60), drain=False)
    table.drain()
    table.pass_time(1)
    assert table.learning.counters.resyncs == 1
    assert table.learning.rows.count_by_port() == Counter({0: 8})


def test_a_storm_of_moves_ends_right_with_a_mirror_of_bounded_size() -> None:
    """Twenty stations on two ports at once, twenty thousand moves, most of their events lost."""
    table = Table(events=1024)
    for turn in range(1000):
        table.send(turn % 2, *range(1, 21), drain=turn % 100 == 99)
    table.pass_time(1)
    assert table.stations() == dict.fromkeys(range(1, 21), "b")
    assert table.learning.rows.count_by_port() == Counter({1: 20})
    assert table.core.counters().ports[1].values["moved"] == 500 * 20


# -- filters, fast ageing --------------------------------------------------------------------------


def aged_table() -> Table:
    """Stations 1 (a, VLAN 10), 2 (b, VLAN 10), 3 (a, VLAN 20), silent for 19, 9 and 0 seconds; 7 sticky, 8 static."""
    table = Table(trunk("a", 10, 20), trunk("b", 10, 20))
    table.learning.static.add(StaticEntry(10, mac(7), "sticky", "a"))
    table.learning.static.add(StaticEntry(10, mac(8), "static", "a"))
    table.send(0, 1, vid=10)
    table.pass_time(10)
    table.send(1, 2, vid=10)
    table.pass_time(10)
    table.send(0, 3, vid=20)
    return table


@pytest.mark.parametrize(
    ("filters", "gone"),
    [
        ({}, {1, 2, 3, 7}),
        ({"older": 0}, {1, 2, 3, 7}),
        ({"older": 9}, {1, 2, 7}),
        ({"older": 10}, {1, 7}),
        ({"older": 20}, set()),
        ({"state": "dynamic"}, {1, 2, 3}),
        ({"state": "sticky"}, {7}),
        ({"state": "sticky", "older": 19}, {7}),
        ({"state": "static"}, set()),
        ({"mac": mac(2)}, {2}),
        ({"mac": mac(8)}, set()),
        ({"mac": mac(2), "vid": 10}, {2}),
        ({"mac": mac(2), "vid": 20}, set()),
        ({"mac": mac(2), "port": 0}, set()),
        ({"port": 0, "vid": 10, "older": 15, "state": "dynamic"}, {1}),
        ({"port": 1, "older": 15}, set()),
    ],
)
def test_flush_and_rows_know_the_same_filters_and_all_have_to_fit(
    filters: dict[str, Any], gone: set[int]
) -> None:
    table = aged_table()
    shown = table.learning.rows.show(**filters)
    flushable = {int(row["mac"][-2:], 16) for row in shown if row["state"] != "static"}  # type: ignore[index]
    assert flushable == gone
    before = table.stations().keys()
    assert table.learning.flush(**filters) == len(gone)
    assert table.stations().keys() == before - gone
    assert sum(table.learning.rows.count_by_port().values()) == len(before) - len(gone)
    assert table.heard("fdb-flushed")[0]["entries"] == len(gone)


def test_fast_ageing_leaves_who_speaks_and_changes_no_ageing_time() -> None:
    table = Table(ageing_time=300)
    table.send(0, 1, 2)
    table.pass_time(16)
    table.send(0, 2)
    assert table.learning.flush(older=15) == 1
    assert table.stations() == {2: "a"}
    table.pass_time(299)
    assert table.stations() == {2: "a"}


def test_an_age_is_refused_where_entries_do_not_age() -> None:
    table = Table(ageing_time=0)
    table.send(0, 1)
    for ask in (table.learning.flush, table.learning.rows.show):
        with pytest.raises(FramebridgeError, match="nobody knows how old an entry is"):
            ask(older=15)
    assert table.stations() == {1: "a"}


def test_ageing_time_changes_live_in_both_directions() -> None:
    table = Table(ageing_time=300)
    table.send(0, 1)
    table.pass_time(20)
    table.bridge = BridgeConfig(ageing_time=10)
    table.apply()
    table.pass_time(2)
    assert table.stations() == {}
    table.send(0, 2)
    table.bridge = BridgeConfig(ageing_time=100)
    table.apply()
    table.pass_time(99)
    assert table.stations() == {2: "a"}


# -- over a restart --------------------------------------------------------------------------------


def test_what_is_remembered_comes_back_with_its_age_and_ages_on() -> None:
    before = Table(ageing_time=60)
    before.learning.static.add(StaticEntry(VID, mac(8), "static", "a"))
    before.learning.static.add(StaticEntry(VID, mac(7), "sticky", "b"))
    before.send(0, 1)
    before.pass_time(40)
    before.send(1, 2)
    saved = [*before.learning.store.remember()]
    assert [(one.mac, one.port, one.kind, one.silent) for one in sorted(saved)] == [
        (mac(1), "a", "dynamic", 39),
        (mac(2), "b", "dynamic", 0),
        (mac(7), "b", "sticky", 39),
    ]
    after = Table(ageing_time=60, fdb_file="/nowhere")
    assert after.learning.store.restore(saved) == 3
    assert after.stations() == {1: "a", 2: "b", 7: "b"}
    assert [row["age"] for row in after.rows()] == [39, 0, 39]
    after.send(1, 7)
    after.pass_time(25)
    assert after.stations() == {2: "b", 7: "b"}
    after.send(0, 7)
    assert after.stations() == {2: "b", 7: "b"}, "sticky stays where it was"


def test_restoring_keeps_to_ports_vlans_limits_and_what_is_there() -> None:
    table = Table(access("a", mac_limit=2), access("b"), fdb_file="/nowhere")
    table.learning.static.add(StaticEntry(VID, mac(4), "static", "b"))
    table.send(1, 3)
    wanted = [
        (1, VID, "a"),
        (2, 20, "a"),
        (2, VID, "gone"),
        (3, VID, "a"),
        (4, VID, "a"),
        (5, VID, "a"),
        (6, VID, "a"),
    ]
    saved = [Saved(vid, mac(number), port, "dynamic", 1.0) for number, vid, port in wanted]
    assert table.learning.store.restore(saved) == 2
    assert table.stations() == {1: "a", 3: "b", 4: "b", 5: "a"}
    assert table.learning.rows.count_by_port() == Counter({0: 2, 1: 2})
    table.learning.flush()
    assert table.stations() == {4: "b"}


def test_sticky_ones_come_back_first_beyond_limits_and_in_the_place_of_a_learned_one() -> None:
    table = Table(access("a", mac_limit=1), access("b"), capacity=3, fdb_file="/nowhere")
    table.send(1, 8, 9)
    wanted = [(1, "dynamic", "b"), (2, "sticky", "a"), (3, "sticky", "a")]
    saved = [Saved(VID, mac(number), port, kind, 1.0) for number, kind, port in wanted]
    assert table.learning.store.restore(saved) == 2
    assert table.stations() == {2: "a", 3: "a", 9: "b"}
    assert table.heard("fdb-evicted") == [{"mac": mac(8), "vlan": VID, "port": "b", "by": "a"}]
    assert table.learning.rows.count_by_port() == Counter({0: 2, 1: 1})


# -- storms ------------------------------------------------------------------------------------------


def test_events_are_taken_in_slices_and_the_descriptor_tells_of_the_rest() -> None:
    table = Table()
    table.send(0, *range(1, 101), drain=False)
    first, lost = table.core.events(40)
    assert ([event.mac & 0xFF for event in first], lost) == ([*range(1, 41)], 0)
    assert select.select([table.core.event_fd], [], [], 0)[0]
    table.learning.handle(first, lost)
    table.events.take()
    assert not select.select([table.core.event_fd], [], [], 0)[0]
    assert table.learning.counters.learned == 100
    assert table.learning.rows.count_by_port()[0] == 100


def test_a_storm_of_moves_with_a_ring_far_too_small_ends_where_the_frames_did() -> None:
    table = Table(events=64)
    stations = range(1, 201)
    for turn in range(40):
        table.send(turn % 2, *stations, drain=turn % 4 == 0)
        assert sum(table.learning.rows.count_by_port().values()) <= len(stations)
    table.send(0, *stations[:100])
    table.send(1, *stations[100:])
    table.pass_time(1)
    counters = table.learning.counters
    assert counters.lost > 0
    assert counters.resyncs == 1
    assert counters.learned + counters.moved + counters.lost == 40 * 200 + 100
    assert {row["port"] for row in table.rows()} == {"a", "b"}
    assert table.learning.rows.count_by_port() == {0: 100, 1: 100}
    assert [row["port"] for row in table.rows()] == ["a"] * 100 + ["b"] * 100


def test_without_an_audience_nothing_is_said_and_the_same_is_known() -> None:
    table = Table()
    table.told.has_audience = False
    table.send(0, 1, 2)
    table.send(1, 2)
    assert table.told.rows == []
    assert table.learning.rows.count_by_port() == {0: 1, 1: 1}
    assert (table.learning.counters.learned, table.learning.counters.moved) == (2, 1)
    assert table.follower.entries == {(VID, mac(1)): (0, "dynamic"), (VID, mac(2)): (1, "dynamic")}


# -- the seam: others that follow the FDB --------------------------------------------------------------


def test_a_listener_hears_who_is_learned_moves_ages_and_is_deleted() -> None:
    table = Table(ageing_time=10)
    table.send(0, 1, 2)
    table.send(1, 1)
    table.learning.delete(VID, mac(2))
    table.pass_time(12)
    assert [change for change in table.follower.heard() if change is not None] == [
        Change("added", VID, mac(1), 0, "dynamic"),
        Change("added", VID, mac(2), 0, "dynamic"),
        Change("moved", VID, mac(1), 1, "dynamic", old_port=0),
        Change("removed", VID, mac(2), 0, "dynamic"),
        Change("removed", VID, mac(1), 1, "dynamic"),
    ]


def test_a_listener_hears_of_entries_set_by_hand_held_and_released() -> None:
    table = Table()
    table.learning.static.add(StaticEntry(VID, mac(7), "static", "a"))
    table.learning.static.add(StaticEntry(VID, mac(8), "drop"))
    table.learning.static.remove(VID, mac(7))
    table.send(1, 1)
    table.learning.hold(VID, mac(1), 1)
    table.learning.release(VID, mac(1))
    assert table.follower.heard() == [
        Change("added", VID, mac(7), 0, "static"),
        Change("added", VID, mac(8), -1, "drop"),
        Change("removed", VID, mac(7), 0, "static"),
        Change("added", VID, mac(1), 1, "dynamic"),
        Change("added", VID, mac(1), 1, "sticky"),
        Change("added", VID, mac(1), 1, "dynamic"),
    ]


def test_a_listener_hears_of_an_entry_that_gave_way_and_of_one_refused_where_it_went() -> None:
    table = Table(access("a", mac_limit=1), access("b"), mac_limit=3)
    table.send(0, 1)
    table.send(1, 2)
    table.send(0, 2)  # at its limit: not learned there, and no longer known where it was
    table.pass_time(1)
    table.send(1, 3, 4, 5)
    assert table.follower.heard() == [
        Change("added", VID, mac(1), 0, "dynamic"),
        Change("added", VID, mac(2), 1, "dynamic"),
        Change("removed", VID, mac(2), 1, "dynamic"),
        Change("added", VID, mac(3), 1, "dynamic"),
        Change("added", VID, mac(4), 1, "dynamic"),
        Change("removed", VID, mac(3), 1, "dynamic"),
        Change("added", VID, mac(5), 1, "dynamic"),
    ]


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.learning.flush(),
        lambda table: table.learning.flush(older=0),
        lambda table: (table.up.discard(0), table.apply()),
        lambda table: (table.configs.update({0: access("a", 20)}), table.apply()),
    ],
    ids=["flush", "flush of the silent", "a port that leaves", "a VLAN that leaves"],
)
def test_a_listener_hears_of_many_at_once_as_a_reset(change: Any) -> None:
    table = Table()
    table.send(0, 1, 2, 3)
    table.follower.heard()
    change(table)
    assert table.follower.heard() == [None]
    assert table.follower.entries == {}
    table.pass_time(2)
    assert table.follower.heard() == [], "a resync that finds nothing new reports nothing"


def test_a_listener_is_right_again_after_events_were_lost() -> None:
    table = Table(events=16)
    for turn in range(5):
        table.send(turn % 2, *range(1, 101), drain=False)
    table.drain()
    assert table.learning.counters.lost > 0
    table.pass_time(1)
    assert table.follower.entries == {(VID, mac(number)): (0, "dynamic") for number in range(1, 101)}


class Holding:
    """A listener that holds an address where it was, as the move guard does."""

    def __init__(self, learning: Learning) -> None:
        self.learning = learning

    def fdb_changed(self, change: Change) -> None:
        if change.what == "moved":
            self.learning.hold(change.vid, change.mac, change.old_port)

    def fdb_reset(self) -> None:
        pass


def test_what_a_listener_changes_is_reported_to_all_after_what_it_heard() -> None:
    table = Table()
    table.learning.known.on_change(Holding(table.learning))
    late = Follower(table.learning)
    table.send(0, 1)
    table.send(1, 1)
    expected = [
        Change("added", VID, mac(1), 0, "dynamic"),
        Change("moved", VID, mac(1), 1, "dynamic", old_port=0),
        Change("added", VID, mac(1), 0, "sticky"),
    ]
    assert table.follower.heard() == late.heard() == expected


def test_a_listener_that_fails_is_logged_and_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Holding):
        def fdb_changed(self, change: Change) -> None:
            raise RuntimeError("no netlink")

    table = Table()
    table.learning.known.on_change(Broken(table.learning))
    late = Follower(table.learning)
    table.send(0, 1)
    assert table.stations() == {1: "a"}
    assert late.heard() == [Change("added", VID, mac(1), 0, "dynamic")]
    assert "no netlink" in caplog.text
