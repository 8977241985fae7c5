"""A key is declared once: what follows from the line that declares it."""

from __future__ import annotations

from dataclasses import dataclass, fields

import pytest

from bridge.cli.command import explain, settings
from bridge.cli.port import port_keys
from bridge.config import checks
from bridge.config.key import key, keys, row_of, write_keys
from bridge.config.port import KEYS, WORDS, PortConfig, parse_port, port_row, port_table
from bridge.config.table import Report, Table
from bridge.core.values import PortRow
from bridge.errors import ConfigError
from bridge.render.table import port_options


@dataclass(frozen=True)
class Thing:
    """What a key of each kind of type comes to."""

    on: bool = key(False, checks.boolean, "switches it on", name="enabled")
    way: str = key("short", checks.choice("short", "long"), "how far")
    vids: tuple[int, ...] = key((), checks.vids, "where", name="vlans", row=None)
    address: int = key(0, checks.station, needs_restart=True)


def test_a_file_is_read_and_written() -> None:
    report = Report()
    table = Table({"enabled": True, "vlans": [10, "20-22"], "address": "02:00:00:00:00:01"}, (), report)
    thing = Thing(**table.fields(keys(Thing)))
    table.refuse_unknown()
    report.raise_problems()
    assert thing == Thing(True, "short", (10, 20, 21, 22), 0x020000000001)
    assert write_keys(thing, keys(Thing)) == {
        "enabled": True,
        "way": "short",
        "vlans": [10, "20-22"],
        "address": "02:00:00:00:00:01",
    }


def test_what_is_wrong_is_reported_with_its_key_and_left_out() -> None:
    report = Report()
    table = Table({"enabled": 1, "vlans": [10, 10], "way": "long"}, (), report)
    assert table.fields(keys(Thing)) == {"way": "long", "vids": (10,)}
    with pytest.raises(ConfigError) as caught:
        report.raise_problems()
    assert [problem.path for problem in caught.value.problems] == ["enabled", "vlans[1]"]


def test_words_read_what_a_file_would_have() -> None:
    words = settings(keys(Thing))
    assert words["enabled"]("enabled", "on") is True
    assert words["vlans"]("vlans", "10,20-22") == [10, "20-22"]
    assert words["way"]("way", "default") is None


def test_the_help_names_the_ways_to_write_it() -> None:
    assert explain(keys(Thing)[:2]) == (
        "  enabled on|off        switches it on\n  way short|long        how far\n"
    )


def test_rows_show_what_they_are_to_show() -> None:
    assert row_of(Thing(), keys(Thing)) == {"enabled": False, "way": "short", "address": 0}


def test_every_key_of_a_port_is_everywhere() -> None:
    blank = PortConfig("a", "memory", pvid=10)
    assert [*port_keys()] == [word.name for word in WORDS]
    assert {one.name for one in KEYS} - {"name"} <= port_keys().keys()
    assert {one.name for one in KEYS} <= port_table(blank).keys()
    assert {one.name for one in KEYS if one.row} <= port_row(blank).keys()
    assert port_options().keys() <= port_row(blank).keys() | {"reason"}
    assert parse_port({name: item for name, item in port_table(blank).items() if item is not None}) == blank


def test_what_a_snapshot_says_of_a_port_is_configured_or_its_state() -> None:
    assert {*PortRow._fields} - {one.name for one in fields(PortConfig)} == {"up", "blocked"}
