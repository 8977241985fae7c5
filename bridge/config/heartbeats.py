"""The `[heartbeats]` table of the configuration, and which UDP ports are heartbeats. Pure.

A UDP port is a number. One whose broadcasts are heartbeats too, `"5405:broadcast"` in a file, is that number plus
BROADCAST.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from bridge.config import checks, words
from bridge.config.key import ValueType, key, keys, write_keys
from bridge.config.rates import Rate, reader
from bridge.config.section import Section
from bridge.config.table import Table
from bridge.config.text import listing
from bridge.config.vids import written_runs

BROADCAST = 1 << 16
SUFFIX = ":broadcast"


def _check_ports(value: object) -> Iterable[int]:
    """Check for a UDP port or a range of them, perhaps with the suffix."""
    if not isinstance(value, str) or not value.endswith(SUFFIX):
        yield from checks.udp_ports(value)
        return
    text = value.removesuffix(SUFFIX)
    for port in checks.udp_ports(int(text) if text.isdecimal() and len(text) <= 5 else text):
        yield port + BROADCAST


def _collect(ports: Iterable[int]) -> tuple[int, ...]:
    """Sort them; a port that is named twice has its broadcasts, too."""
    chosen = set(ports)
    return tuple(sorted(port for port in chosen if port + BROADCAST not in chosen))


def _write(ports: Iterable[int]) -> list[int | str]:
    ports = list(ports)
    plain = [port for port in ports if port < BROADCAST]
    return written_runs(plain) + [f"{run}{SUFFIX}" for run in written_runs(set_of_broadcast(ports))]


heartbeat_ports = ValueType(
    _check_ports,
    write=_write,  # none is not the default
    syntax="LIST",
    expected="UDP ports and ranges like 5404-5405 or 5405:broadcast",
    read=words.texts,
    is_list=True,
    collect=_collect,
)


def set_of_ports(ports: Iterable[int]) -> frozenset[int]:
    """Give the UDP ports, whether or not with their broadcasts."""
    return frozenset(port % BROADCAST for port in ports)


def set_of_broadcast(ports: Iterable[int]) -> frozenset[int]:
    """Give the UDP ports whose broadcasts are heartbeats."""
    return frozenset(port % BROADCAST for port in ports if port >= BROADCAST)


@dataclass(frozen=True, slots=True)
class HeartbeatConfig:
    """The `[heartbeats]` table: what heartbeats have over other frames."""

    limit: Rate = key(
        Rate("frames", 1000.0), replace(reader("frames"), write=str)
    )  # of a port; more are ordinary
    lane: bool = key(True, checks.boolean)  # a link takes them by a socket of their own, before all else


KEYS = keys(HeartbeatConfig)


def read_heartbeats(table: Table) -> HeartbeatConfig:
    """Read `[heartbeats]`."""
    fields = table.fields(KEYS)
    table.refuse_unknown()
    return HeartbeatConfig(**fields)


def heartbeats_table(config: HeartbeatConfig) -> dict[str, object]:
    """Return the `[heartbeats]` table."""
    usual = write_keys(HeartbeatConfig(), KEYS)
    return {name: None if item == usual[name] else item for name, item in write_keys(config, KEYS).items()}


SECTION = Section(
    name="heartbeats",
    field="heartbeats",
    read=read_heartbeats,
    write=heartbeats_table,
    blank=HeartbeatConfig(),
    actions=("set_heartbeats", "set_heartbeats", "set_heartbeats"),
    subject=lambda config: f"{config.limit} a port",
    describe=lambda config: listing(heartbeats_table(config)),
)
