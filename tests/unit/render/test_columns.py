"""Tables in narrow terminals: which columns leave, what is cut, and that help texts are filled."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.profiles import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.cli.commands import COMMANDS
from bridge.cli.main import explanation, overview
from bridge.config.port import PortConfig, port_row
from bridge.render.columns import LAYOUTS, TEXT_MIN
from bridge.render.fill import fill
from bridge.render.table import View, table, to_text

ROWS: list[dict[str, Any]] = [
    {"port": "guests", "state": "up", "note": "a long explanation of something", "frames": 12, "none": None},
    {"port": "uplink", "state": "down", "note": "short", "frames": 12345, "none": None},
]
TEXT = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40)
VALUES = st.one_of(TEXT, st.integers(0, 10**12), st.none(), st.booleans(), st.lists(TEXT, max_size=5))


def widest(text: str) -> int:
    return max(map(len, text.splitlines()), default=0)


def test_a_wide_terminal_shows_all() -> None:
    assert to_text(ROWS, "", View(width=200)) == table(ROWS)


def test_columns_without_a_value_leave_first_then_the_last_ones() -> None:
    assert to_text(ROWS, "", View(width=58)).splitlines()[0].split() == ["port", "state", "note", "frames"]
    assert to_text(ROWS, "", View(width=50)).splitlines()[0].split() == ["port", "state", "note"]


def test_texts_are_cut_where_no_column_can_leave() -> None:
    row = {"port": "a-name-that-is-much-too-long-for-this"}
    assert to_text([row], "", View(width=20)).splitlines() == ["port", "a-name-that-is-muc.."]


@settings(max_examples=examples(200))
@given(
    st.sampled_from([*LAYOUTS]),
    st.lists(st.lists(VALUES, min_size=16, max_size=16), min_size=1, max_size=5),
    st.integers(40, 200),
)
def test_no_table_is_wider_than_its_terminal(layout: str, values: list[list[Any]], width: int) -> None:
    columns = LAYOUTS[layout].columns
    rows = [dict(zip(columns, row, strict=False)) for row in values]
    text = table(rows, columns, View(width=width), layout)
    kept = text.splitlines()[0].split()
    assert kept[0] == columns[0]
    assert [column for column in columns if column in kept] == kept
    room = sum(max(TEXT_MIN, len(column)) + 2 for column in kept) - 2
    assert widest(text) <= max(width, room)


def test_every_layout_names_only_columns_it_has() -> None:
    for name, layout in LAYOUTS.items():
        assert set(layout.leave or ()) <= set(layout.columns) - {layout.columns[0]}, name
        assert set(layout.brief) <= set(layout.columns), name


def test_ports_fit_eighty_columns() -> None:
    port = PortConfig(
        "guests-of-a-long-name",
        "tap",
        device="tap-of-guests-1",
        netns="a-namespace",
        mode="trunk",
        vids=(10,),
    )
    rows = [
        {**port_row(port), "state": "blocked", "fdb_entries": 65536, "rx_frames": 10**10, "tx_frames": 10**10}
        | {"drops": 10**9, "rx_missed": 10**9, "filter": "on", "reason": "a loop"}
    ]
    text = to_text(rows, "port", View(width=80))
    assert widest(text) <= 80
    assert {"port", "state", "vlan", "drops"} <= set(text.split())
    assert to_text(rows, "port", View(brief=True)).split()[:4] == ["port", "state", "vlan", "drops"]
    assert len(to_text(rows, "port").splitlines()[0].split()) == len(LAYOUTS["port"].columns)


def test_states_have_colours_and_columns_stay_aligned() -> None:
    text = to_text(ROWS, "", View(colour=True))
    assert "\x1b[32mup   \x1b[0m" in text
    assert "\x1b[31mdown \x1b[0m" in text
    plain = text.replace("\x1b[32m", "").replace("\x1b[31m", "").replace("\x1b[0m", "")
    assert plain == table(ROWS)


@pytest.mark.parametrize("width", [80, 120])
def test_help_fits_the_terminal(width: int) -> None:
    texts = [overview(), *(explanation([command]) for command in COMMANDS)]
    for text in texts:
        for line in fill(text, width).splitlines():
            is_for_a_shell = line.startswith("  framebridge ")
            assert len(line) <= width or is_for_a_shell or " " not in line.strip(), line


def test_paragraphs_are_filled_and_columns_hang() -> None:
    text = "one two\nthree\n\n  key VALUE  what it means, at some length, so that it is too long\n"
    assert fill(text, 40) == (
        "one two three\n\n"
        "  key VALUE  what it means, at some\n             length, so that it is too\n             long\n"
    )
