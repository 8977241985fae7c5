"""Rows to text: alignment, JSON shape, and nothing that could drive a terminal."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.render import table as render
from bridge.render.columns import LAYOUTS

ROWS: list[dict[str, Any]] = [
    {"port": "guests", "frames": 7, "share": 0.25, "netns": None},
    {"port": "up", "frames": 12345, "share": 0.5, "netns": "a"},
]


def written(rows: list[dict[str, Any]], layout: str, style: str = "text") -> str:
    stream = io.StringIO()
    render.write(rows, layout, stream, style=style)
    return stream.getvalue()


def test_tables_align_text_left_and_numbers_right() -> None:
    assert render.table(ROWS) == (
        "port    frames  share  netns\nguests       7  25.0%  -\nup       12345  50.0%  a"
    )


def test_tables_show_the_columns_asked_for_in_their_order() -> None:
    assert render.table(ROWS, ("frames", "port")) == "frames  port\n     7  guests\n 12345  up"


def test_rows_may_differ_in_their_keys() -> None:
    assert render.table([{"a": 1}, {"b": 2}]) == "a  b\n1  -\n-  2"


def test_known_layouts_leave_out_what_does_not_fit_a_terminal() -> None:
    row = {"port": "guests", "index": 0, "tpid": "0x8100", "vlan": 10}

    heading = written([row], "port").splitlines()[0].split()

    assert heading == list(LAYOUTS["port"].columns)
    assert not {"index", "tpid"} & set(heading)


@given(
    st.lists(
        st.fixed_dictionaries({"a": st.text(max_size=9), "b": st.integers() | st.none(), "c": st.booleans()}),
        min_size=1,
        max_size=5,
    )
)
def test_every_column_begins_or_ends_at_the_same_place_in_all_lines(rows: list[dict[str, Any]]) -> None:
    lines = render.table(rows, ("b", "c", "a")).split("\n")

    ends = {len(line) - len(line.lstrip()) + len(line.split()[0]) for line in lines}
    assert len(lines) == len(rows) + 1
    assert len(ends) == 1
    assert all(line == line.rstrip() for line in lines)


@pytest.mark.parametrize(
    ("value", "key", "text"),
    [
        (None, "", "-"),
        ("", "", "-"),
        ([], "", "-"),
        (0, "", "0"),
        (True, "", "yes"),
        (False, "", "no"),
        (["a", "b"], "", "a,b"),
        (0.123, "share", "12.3%"),
        (0.123, "age", "0.1"),
        ("tap0", "", "tap0"),
        ("bücher", "", "bücher"),
        ("a\x1b[2Jb\n\x07", "", r"a\x1b[2Jb\n\x07"),
        (["\x1b"], "", r"\x1b"),
    ],
)
def test_cells(value: object, key: str, text: str) -> None:
    assert render.cell(value, key) == text


@given(st.text() | st.lists(st.text()))
def test_no_cell_holds_a_control_character(value: object) -> None:
    assert render.cell(value).isprintable()


def test_blocks_show_one_value_a_line_under_the_name() -> None:
    rows = [{"port": "a", "rx_frames": 1, "drops": 22}, {"port": "b", "rx_frames": 3}]

    assert written(rows, "blocks") == "a\n  rx_frames  1\n  drops      22\n\nb\n  rx_frames  3\n"


def test_lines_show_the_sentences() -> None:
    assert (
        written([{"text": "open port a"}, {"text": "close port b"}], "lines") == "open port a\nclose port b\n"
    )


def test_events_are_one_line_with_time_kind_and_fields() -> None:
    line = render.event({"event": "fdb-moved", "time": 0.0, "mac": "02:00:00:00:00:01", "port": None})

    assert line == f"{render.moment(0.0)} fdb-moved mac=02:00:00:00:00:01 port=-"
    assert render.moment(0.0)[:4] in ("1969", "1970")


@pytest.mark.parametrize("layout", ["port", "blocks", "lines", "unknown"])
def test_no_rows_are_no_text_but_an_empty_list_in_json(layout: str) -> None:
    assert written([], layout) == ""
    assert written([], layout, "json") == "[]\n"


def test_json_is_one_line_with_every_key() -> None:
    text = written(ROWS, "port", "json")

    assert text.count("\n") == 1
    assert json.loads(text) == ROWS


def test_pretty_json_is_the_same_indented() -> None:
    text = written(ROWS, "port", "pretty")

    assert text.startswith('[\n    {\n        "port": "guests"')
    assert json.loads(text) == ROWS


def test_ports_name_their_unusual_settings_in_one_column() -> None:
    usual = {"port": "a", **render.port_options()}
    unusual = {
        **usual,
        "port": "b",
        "native_tagged": True,
        "map": "100:10",
        "default_pcp": 5,
        "hairpin": True,
        "learning": False,
        "flood": None,
    }
    first, second = written([usual, unusual], "port").splitlines()[1:]

    assert first.endswith("  -")
    assert second.endswith("  native_tagged map=100:10 learning=no default_pcp=5 hairpin flood=-")
