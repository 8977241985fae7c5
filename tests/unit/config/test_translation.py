"""Native tagged, priority tags, default PCP, VLAN translation, split horizon, hairpin, direction: the configuration."""

from __future__ import annotations

import pytest

from bridge.config.document import parse
from bridge.config.port import PortConfig, parse_port, update_port
from bridge.config.translation import Translation, carried_outside
from bridge.config.write import to_toml
from bridge.errors import ConfigError

BASE = {"name": "up", "kind": "link", "device": "eth1"}


def port(vlan: dict[str, object], **keys: object) -> PortConfig:
    return parse_port({**BASE, "vlan": vlan, **keys})


def problems(vlan: dict[str, object], **keys: object) -> list[str]:
    with pytest.raises(ConfigError) as refusal:
        port(vlan, **keys)
    return [str(problem) for problem in refusal.value.problems]


def test_a_whole_port() -> None:
    text = """
[[port]]
name = "up"
kind = "memory"
vlan = { trunk = [10, 20, 30], native = 1, native_tagged = true, map = ["200.30:20", "100:10"] }
default_pcp = 3
horizon = 2
hairpin = true
[[port]]
name = "sink"
kind = "memory"
vlan = { access = 10 }
priority_tags = "if_nonzero"
direction = "egress"
"""
    sink, up = parse(text).ports
    assert up == PortConfig(
        "up",
        "memory",
        mode="trunk",
        pvid=1,
        vids=(10, 20, 30),
        native_tagged=True,
        translations=(Translation(100, 0, 10), Translation(200, 30, 20)),
        default_pcp=3,
        horizon=2,
        hairpin=True,
    )
    assert sink == PortConfig("sink", "memory", pvid=10, priority_tags="if_nonzero", direction="egress")
    assert parse(to_toml(parse(text))) == parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("100", "expected WIRE:VLAN like '100:10' or '200.30:20', got '100'"),
        (100, "expected WIRE:VLAN like '100:10' or '200.30:20', got 100"),
        ("100.200.300:10", "expected WIRE:VLAN"),
        ("4095:10", "expected a VLAN ID from 1 to 4094, got 4095"),
        ("0:10", "expected a VLAN ID from 1 to 4094, got 0"),
        ("100.0:10", "expected a VLAN ID from 1 to 4094, got 0"),
        ("-1:10", "expected WIRE:VLAN"),
        ("100: 10", "expected WIRE:VLAN"),
    ],
)
def test_what_is_no_translation(text: object, message: str) -> None:
    (found,) = problems({"trunk": [10], "map": [text]})
    assert found.startswith(f"port.vlan.map[0]: {message}")


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (["100:40"], "100:40: the trunk does not carry VLAN 40; add it to trunk, or take this away"),
        (["100:1"], "100:1: VLAN 1 is the native one and has its own VID on the wire; take one of them away"),
        (["1:10"], "1 on the wire would be VLAN 1 and VLAN 10; VLAN 1 has its own VID; give one of them other tags"),
        (
            ["20:10"],
            "20 on the wire would be VLAN 10 and VLAN 20; VLAN 20 has its own VID; give one of them other tags",
        ),
        (["100:10", "100:20"], "100 on the wire would be VLAN 10 and VLAN 20; give one of them other tags"),
        (["9.8:10", "9.8:20"], "9.8 on the wire would be VLAN 10 and VLAN 20; give one of them other tags"),
        (["100:10", "101:10"], "VLAN 10 is mapped to 100 and 101; frames can only leave under one, keep that"),
        (["9:10", "9.8:20"], "outer VID 9 is VLAN 10 by itself and, with 8 behind it, VLAN 20: "
         "a frame with two tags could be of either; use another outer VID"),
        (["30.8:20"], "outer VID 30 is VLAN 30 by itself and, with 8 behind it, VLAN 20: "
         "a frame with two tags could be of either; use another outer VID"),
    ],
)  # fmt: skip
def test_maps_that_could_be_taken_in_two_ways(maps: list[str], message: str) -> None:
    assert problems({"trunk": [10, 20, 30], "native": 1, "map": maps}) == [f"port.vlan.map: {message}"]


def test_every_flaw_is_told_at_once() -> None:
    found = problems({"trunk": [10, 20], "map": ["20:10", "100:40", "101:40"]})
    assert len(found) == 4


def test_an_exchange_is_no_collision() -> None:
    assert port({"trunk": [10, 20], "map": ["10:20", "20:10"]}).outside == {10, 20}


@pytest.mark.parametrize("mode", ["access", "tunnel"])
def test_only_a_trunk_translates(mode: str) -> None:
    assert problems({mode: 10, "map": ["100:10"], "native_tagged": True}) == [
        f"port.vlan.native_tagged: only a trunk has a native VLAN; remove this key or replace {mode} by trunk",
        f"port.vlan.map: only a trunk translates VLANs; remove this key or replace {mode} by trunk",
    ]


@pytest.mark.parametrize(
    ("vlan", "keys", "message"),
    [
        (
            {"trunk": [10], "native_tagged": True},
            {},
            "vlan.native_tagged: says how frames of the native VLAN leave; add native = VID, or remove it",
        ),
        (
            {"tunnel": 10},
            {"priority_tags": "always"},
            "priority_tags: a tunnel port gives frames back as they came; remove this key",
        ),
        (
            {"trunk": [10]},
            {"priority_tags": "always"},
            "priority_tags: nothing leaves this trunk untagged; add native = VID, or remove this key",
        ),
        (
            {"trunk": [10], "native": 1, "native_tagged": True},
            {"priority_tags": "if_nonzero"},
            "priority_tags: native_tagged leaves no frame untagged; remove one of the two",
        ),
        (
            {"trunk": [10]},
            {"default_pcp": 1},
            "default_pcp: this trunk takes no untagged frames; add native = VID, or remove this key",
        ),
        ({"access": 10}, {"default_pcp": 8}, "default_pcp: expected a priority from 0 to 7, got 8"),
        (
            {"access": 10},
            {"hairpin": True, "direction": "ingress"},
            "hairpin: a port that only receives sends nothing back; remove one of the two",
        ),
        (
            {"access": 10},
            {"hairpin": True, "direction": "egress"},
            "hairpin: a port that only sends sends nothing back; remove one of the two",
        ),
        ({"access": 10}, {"horizon": -1}, "horizon: expected a split-horizon group (0: none) from 0 to 65535"),
        ({"access": 10}, {"direction": "in"}, "direction: expected 'both' or 'ingress' or 'egress', got 'in'"),
        ({"access": 10}, {"priority_tags": True}, "priority_tags: expected 'never' or 'if_nonzero' or 'always'"),
    ],
)  # fmt: skip
def test_roles_that_contradict_each_other(
    vlan: dict[str, object], keys: dict[str, object], message: str
) -> None:
    (found,) = problems(vlan, **keys)
    assert found.startswith(f"port.{message}")


def test_changes_of_a_running_port() -> None:
    up = port({"trunk": [10, 20], "native": 1})
    changed = update_port(up, {"horizon": 4, "default_pcp": 6, "direction": "ingress"})
    assert (changed.horizon, changed.default_pcp, changed.direction) == (4, 6, "ingress")
    assert update_port(changed, {"horizon": None, "default_pcp": None, "direction": None}) == up


def test_outer_vids_on_the_wire() -> None:
    translations = (Translation(100, 0, 10), Translation(200, 30, 20))
    assert carried_outside({10, 20, 30}, translations) == {100, 200, 30}
