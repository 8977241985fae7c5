"""`heartbeat_ports` and `[heartbeats]`: what a file says, and what is written for it."""

from __future__ import annotations

import pytest

from bridge.config.document import parse
from bridge.config.heartbeats import BROADCAST, HeartbeatConfig, set_of_broadcast, set_of_ports
from bridge.config.rates import Rate
from bridge.config.write import to_toml
from bridge.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "ports", "broadcast"),
    [
        ("[5404, 5405]", {5404, 5405}, set()),
        ("[]", set(), set()),
        ('[694, "5404-5406"]', {694, 5404, 5405, 5406}, set()),
        ('["5405:broadcast"]', {5405}, {5405}),
        ('[5405, "5405:broadcast", 694]', {694, 5405}, {5405}),
        ('["1-3:broadcast", "3-5"]', {1, 2, 3, 4, 5}, {1, 2, 3}),
    ],
)
def test_ports_are_read_and_written_again(text: str, ports: set[int], broadcast: set[int]) -> None:
    config = parse(f"[bridge]\nheartbeat_ports = {text}\n")
    assert set_of_ports(config.bridge.heartbeat_ports) == ports
    assert set_of_broadcast(config.bridge.heartbeat_ports) == broadcast
    assert parse(to_toml(config)) == config


@pytest.mark.parametrize(
    "text",
    [
        "[0]",
        '["5405:all"]',
        '[":broadcast"]',
        '["70000:broadcast"]',
        '["5-1:broadcast"]',
        '["00000005405:broadcast"]',
        "[true]",
    ],
)
def test_what_is_no_port_is_refused_in_its_place(text: str) -> None:
    with pytest.raises(ConfigError, match=r"heartbeat_ports\[0\]"):
        parse(f"[bridge]\nheartbeat_ports = {text}\n")


def test_a_port_with_its_broadcasts_is_another_number() -> None:
    assert parse('[bridge]\nheartbeat_ports = ["7:broadcast"]\n').bridge.heartbeat_ports == (7 + BROADCAST,)


def test_the_limit_is_a_rate_of_frames() -> None:
    config = parse('[heartbeats]\nlimit = "20 frames/s"\n')
    assert config.heartbeats == HeartbeatConfig(Rate("frames", 20.0))
    assert parse(to_toml(config)) == config
    for text in ('"20 Mbit/s"', '"0 frames/s"', "20"):
        with pytest.raises(ConfigError, match=r"heartbeats.limit"):
            parse(f"[heartbeats]\nlimit = {text}\n")
