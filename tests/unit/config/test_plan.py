"""bridge.config.plan: what the actions do to a model of the running state, and how they read."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from config_strategies import NARROW, configs
from helpers.profiles import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.config.actions import Action
from bridge.config.bridge import BridgeConfig
from bridge.config.cost import CostConfig
from bridge.config.document import parse
from bridge.config.heartbeats import HeartbeatConfig
from bridge.config.loop_detection import LoopDetectionConfig
from bridge.config.metrics import MetricsConfig
from bridge.config.move_guard import MoveGuardConfig
from bridge.config.pair import PairConfig
from bridge.config.plan import plan
from bridge.config.port import PortConfig
from bridge.config.static_entry import StaticEntry
from bridge.config.vlan import VlanConfig
from bridge.config.whole import Config
from bridge.errors import ConfigError

GUESTS = PortConfig("guests", "tap", "tap0", pvid=10)
UPLINK = PortConfig("uplink", "link", "eth1", mode="trunk", pvid=1, vids=(10, 20, *range(100, 120)))
ENTRY = StaticEntry(10, 0x02005E000001, "static", "guests")
BASE = Config(ports=(GUESTS, UPLINK), vlans=(VlanConfig(10, "web"),), entries=(ENTRY,))


@dataclass
class Model:
    """The slow and obvious running state; refuses an action that does not fit or makes the state invalid."""

    bridge: BridgeConfig | None = None
    ports: dict[str, PortConfig] = field(default_factory=dict)
    vlans: dict[int, VlanConfig] = field(default_factory=dict)
    entries: dict[tuple[int, int], StaticEntry] = field(default_factory=dict)
    cost: CostConfig = field(default_factory=CostConfig)
    metrics: MetricsConfig = field(default_factory=MetricsConfig)
    move_guard: MoveGuardConfig = field(default_factory=MoveGuardConfig)
    loop_detection: LoopDetectionConfig = field(default_factory=LoopDetectionConfig)
    heartbeats: HeartbeatConfig = field(default_factory=HeartbeatConfig)
    pair: PairConfig = field(default_factory=PairConfig)

    def do(self, action: Action) -> None:
        before, after = action.before, action.after
        assert before != after
        match action.kind:
            case "set_bridge":
                assert self.bridge == before
                self.bridge = after
            case "set_cost":
                assert self.cost == before
                self.cost = after
            case "set_metrics":
                assert self.metrics == before
                self.metrics = after
            case "set_move_guard":
                assert self.move_guard == before
                self.move_guard = after
            case "set_loop_detection":
                assert self.loop_detection == before
                self.loop_detection = after
            case "set_heartbeats":
                assert self.heartbeats == before
                self.heartbeats = after
            case "set_pair":
                assert self.pair == before
                self.pair = after
            case "set_vlan":
                self._swap(self.vlans, (before or after).vid, before, after)
            case "open_port":
                assert before is None
                self._swap(self.ports, action.subject, before, after)
            case "close_port":
                assert after is None
                self._swap(self.ports, action.subject, before, after)
            case "set_port":
                assert before.attachment == after.attachment
                self._swap(self.ports, action.subject, before, after)
            case "add_entry" | "delete_entry":
                entry = before or after
                assert (action.kind == "add_entry") == (before is None)
                assert before is None or after is None
                self._swap(self.entries, (entry.vid, entry.mac), before, after)
            case unknown:
                pytest.fail(f"unknown kind of action {unknown}")
        self._check()

    @staticmethod
    def _swap(table: dict, key: object, before: object, after: object) -> None:
        assert table.get(key) == before
        if after is None:
            del table[key]
        else:
            table[key] = after

    def _check(self) -> None:
        places = [(port.device, port.netns) for port in self.ports.values() if port.device]
        assert len(places) == len(set(places))
        for entry in self.entries.values():
            assert entry.kind == "drop" or entry.vid in self.ports[entry.port].members

    def config(self) -> Config | None:
        if self.bridge is None:
            assert [*self.ports, *self.vlans, *self.entries] == []
            assert self.metrics == MetricsConfig()
            assert (self.move_guard, self.loop_detection) == (MoveGuardConfig(), LoopDetectionConfig())
            assert self.pair == PairConfig()
            return None
        return Config(
            self.bridge,
            tuple(self.ports[key] for key in sorted(self.ports)),
            tuple(self.vlans[key] for key in sorted(self.vlans)),
            tuple(self.entries[key] for key in sorted(self.entries)),
            self.cost,
            self.metrics,
            move_guard=self.move_guard,
            loop_detection=self.loop_detection,
            heartbeats=self.heartbeats,
            pair=self.pair,
        )


def run(state: Config | None, *actions: Action) -> Config | None:
    model = Model()
    for action in (*(plan(None, state) if state else ()), *actions):
        model.do(action)
    return model.config()


CONFIGS = configs(NARROW)


@given(CONFIGS)
def test_from_nothing(new: Config) -> None:
    assert run(None, *plan(None, new)) == new


@given(CONFIGS)
def test_nothing_to_do(config: Config) -> None:
    assert plan(config, config) == ()


@settings(max_examples=examples(150))
@given(CONFIGS, CONFIGS)
def test_there_and_back(a: Config, b: Config) -> None:
    assert run(a, *plan(a, b)) == b
    assert run(a, *plan(a, b), *plan(b, a)) == a


@settings(max_examples=examples(100))
@given(CONFIGS, CONFIGS, st.data())
def test_inverses_in_reverse_order_undo_any_prefix(a: Config, b: Config, data: st.DataObject) -> None:
    done = plan(a, b)[: data.draw(st.integers(0, len(plan(a, b))))]
    assert run(a, *done, *(action.inverse for action in reversed(done))) == a
    assert all(action.inverse.inverse == action for action in done)


@given(CONFIGS, CONFIGS)
def test_removals_then_changes_then_additions(a: Config, b: Config) -> None:
    def phase(action: Action) -> int:
        return 0 if action.after is None else 2 if action.before is None else 1

    phases = [phase(action) for action in plan(a, b)]
    assert phases == sorted(phases)


def lines(old: Config | None, new: Config) -> list[str]:
    return [str(action) for action in plan(old, new)]


def with_guests(**changes: object) -> Config:
    return replace(BASE, ports=(replace(GUESTS, **changes), UPLINK))


def test_start_reads_well() -> None:
    assert lines(None, BASE) == [
        "set bridge bridge0: ageing_time 300, fdb_size 65536, learning automatic, static_move drop, "
        "full_table evict, mac_limit 0, vrrp_aware false, local_first false, "
        "mirror_dir /var/lib/framebridge/captures, waiting balanced, offload off, "
        "pass_reserved none, heartbeat_ports 5404-5405",
        "set vlan 10: name web, mac_limit 0, learning true",
        "open port guests: tap tap0, access 10",
        "open port uplink: link eth1, trunk 10,20,100-119 native 1",
        "add entry 02:00:5e:00:00:01 vlan 10: static on guests",
    ]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"mtu": 9000}, "mtu default -> 9000"),
        ({"mode": "tunnel", "tpid": 0x88A8}, "vlan access 10 -> tunnel 10 tpid 802.1ad"),
        ({"flood_unknown": False}, "flood unknown,multicast,broadcast -> multicast,broadcast"),
        ({"admin_up": False, "isolated": True}, "isolated false -> true, enabled true -> false"),
    ],
)
def test_a_changed_port_is_one_action(changes: dict[str, object], line: str) -> None:
    assert lines(BASE, with_guests(**changes)) == [f"set port guests: {line}"]


@pytest.mark.parametrize("changes", [{"device": "tap9"}, {"kind": "link"}, {"netns": "guest1"}])
def test_another_attachment_closes_and_opens_the_port_and_takes_its_entries_along(
    changes: dict[str, str],
) -> None:
    new = with_guests(**changes)
    assert plan(BASE, new) == (
        Action(ENTRY, None),
        Action(GUESTS, None),
        Action(None, new.ports[0]),
        Action(None, ENTRY),
    )


def test_ports_that_swap_devices_are_both_closed_before_either_opens() -> None:
    a = Config(ports=(replace(GUESTS, name="a"), replace(GUESTS, name="b", device="tap1")))
    b = Config(ports=(replace(GUESTS, name="a", device="tap1"), replace(GUESTS, name="b")))
    assert lines(a, b) == [
        "close port a: tap tap0, access 10",
        "close port b: tap tap1, access 10",
        "open port a: tap tap1, access 10",
        "open port b: tap tap0, access 10",
    ]


def test_an_entry_that_changes_is_deleted_and_added() -> None:
    assert lines(BASE, replace(BASE, entries=(replace(ENTRY, kind="drop", port=""),))) == [
        "delete entry 02:00:5e:00:00:01 vlan 10: static on guests",
        "add entry 02:00:5e:00:00:01 vlan 10: drop",
    ]


def test_vlan_and_bridge_changes_read_well() -> None:
    bridge = BridgeConfig(ageing_time=1_000_000.0, reserved=1 << 14 | 1 << 5)
    assert lines(BASE, replace(BASE, bridge=bridge, vlans=(VlanConfig(20, mac_limit=7),))) == [
        "set vlan 10: settings removed",
        "set bridge bridge0: ageing_time 300 -> 1000000, pass_reserved none -> 01:80:c2:00:00:05,lldp",
        "set vlan 20: mac_limit 7, learning true",
    ]
    assert lines(BASE, replace(BASE, vlans=(VlanConfig(10, "dmz"),))) == ["set vlan 10: name web -> dmz"]


def test_metrics_are_switched_on_changed_and_switched_off() -> None:
    on, more = MetricsConfig("[::1]:9464"), MetricsConfig("[::1]:9464", talkers=5)
    assert lines(BASE, replace(BASE, metrics=on)) == ["set metrics [::1]:9464: address default -> [::1]:9464"]
    assert lines(replace(BASE, metrics=on), replace(BASE, metrics=more)) == [
        "set metrics [::1]:9464: talkers 0 -> 5"
    ]
    assert lines(replace(BASE, metrics=on), BASE) == ["set metrics off: address [::1]:9464 -> default"]


def test_a_port_says_all_that_is_unusual() -> None:
    port = PortConfig(
        "m", "memory", pvid=5, mtu=9000, flood_unknown=False, flood_multicast=False, mac_limit=3
    )
    assert lines(Config(), Config(ports=(port,))) == [
        "open port m: memory, access 5, mtu 9000, mac_limit 3, flood broadcast"
    ]
    port = replace(GUESTS, netns="guest1", flood_unknown=False, flood_multicast=False, flood_broadcast=False)
    assert lines(Config(), Config(ports=(port,))) == [
        "open port guests: tap tap0 in namespace guest1, access 10, flood none"
    ]


def test_what_needs_a_restart_is_refused_whole() -> None:
    new = parse('bridge = { name = "dmz", fdb_size = 100, control_socket = "/run/x.sock", ageing_time = 5 }')
    with pytest.raises(ConfigError) as caught:
        plan(Config(), new)
    assert [str(problem) for problem in caught.value.problems] == [
        "bridge.name: only a restart can change bridge0 to dmz; restart, or put bridge0 back",
        "bridge.fdb_size: only a restart can change 65536 to 100; restart, or put 65536 back",
        "bridge.control_socket: only a restart can change /run/framebridge/bridge0.sock to /run/x.sock; "
        "restart, or put /run/framebridge/bridge0.sock back",
    ]


def test_the_default_socket_follows_the_name_without_a_message_of_its_own() -> None:
    with pytest.raises(ConfigError) as caught:
        plan(Config(), Config(BridgeConfig(name="dmz")))
    assert [problem.path for problem in caught.value.problems] == ["bridge.name"]


def test_writing_the_default_socket_down_is_no_restart() -> None:
    new = Config(BridgeConfig(control_socket="/run/framebridge/bridge0.sock"))
    assert [action.kind for action in plan(Config(), new)] == ["set_bridge"]


def test_a_price_is_set_and_told() -> None:
    (action,) = plan(Config(), Config(cost=CostConfig(0.04, "CHF")))
    assert str(action) == "set cost prices: price_per_core_hour default -> 0.04, currency EUR -> CHF"
