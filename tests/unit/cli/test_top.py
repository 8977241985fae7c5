"""`framebridge top`: numbers and tables as text, the live display under a pilot, daemons that go away and return."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.aio import story
from helpers.control import served, write_config
from textual.pilot import Pilot
from textual.widgets import DataTable, Static

from bridge.cli import main as cli
from bridge.cli.top.app import HelpScreen, TopApp
from bridge.cli.top.source import Source
from bridge.errors import ControlError
from bridge.render.page import (
    COLUMNS,
    VIEWS,
    WIDTH,
    Sample,
    Sort,
    cells,
    default_sort,
    gauges,
    headline,
    page,
    short,
    sort_rows,
    sparkline,
    titles,
)

Row = dict[str, Any]


def row(cores: float | None = 0.25, **more: Any) -> Row:
    return {
        "cores": cores,
        "share": 0.5,
        "cycles": 1000,
        "induced": 250,
        "cycles_per_frame": 1234.5,
        "cycles_per_wire_frame": 617.2,
        "frames_per_second": 1_234_567.0,
        "cycles_per_second": 5.5e8,
        "bytes": 1_000_000,
        "copies": 20_000,
        "offered": 30_000,
        "cycles_per_copy": 900.0,
        "time_share": 0.01,
        "seconds": 2.0,
        "rest": None,
        **more,
    }


KEYS: dict[str, Row] = {
    "class": {"class": "known_unicast"},
    "port": {"port": "uplink"},
    "vlan": {"vlan": 10},
    "talker": {"mac": "02:00:00:00:00:01", "vlan": 4094, "port": "uplink"},
    "stage": {"stage": "lookup"},
}
SUMMARY: Row = {
    "seconds": 2.0,
    "busy_cores": 0.125,
    "cycles_per_frame": 1234.5,
    "frames_per_second": 1e6,
    "bytes": 250_000_000,
    "preempted_seconds": 0.02,
    "steal_seconds": 0.0,
    "money_per_month": 12.345,
    "currency": "EUR",
}
PORTS: list[Row] = [{"port": "a", "state": "up"}, {"port": "b", "state": "missing"}]


def sample(view: str, *rows: Row) -> Sample:
    return Sample("dmz", PORTS, SUMMARY, view, rows)


# -- text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (None, "-"),
        (0, "0"),
        (0.04, "0.0"),
        (9.94, "9.9"),
        (9.96, "10"),
        (999.6, "1000"),
        (9999.4, "9999"),
        (9999.6, "10.0k"),
        (99_949, "99.9k"),
        (99_951, "100k"),
        (999_499, "999k"),
        (999_500, "1.00M"),
        (9_994_999, "9.99M"),
        (9_995_001, "10.0M"),
        (5.5e8, "550M"),
        (1.8e19, "18.0E"),
    ],
)
def test_numbers_are_short(number: float | None, text: str) -> None:
    assert short(number) == text
    assert len(text) <= 5


def test_a_sparkline_begins_at_zero_and_leaves_gaps() -> None:
    assert sparkline([0.0, 1.0, None, 8.0], 6) == "  ▁▁ █"
    assert sparkline([0.001], 3, floor=1.0) == "  ▁"
    assert sparkline([None, None], 2) == "  "
    assert sparkline(range(100), 4) == "████"
    assert sparkline([], 2) == "  "


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_fits_80_columns(view: str) -> None:
    for texts in (titles(view, default_sort(view)), cells(view, row(**KEYS[view]))):
        assert [len(text) for text in texts] == [column.width for column in COLUMNS[view]]
        assert len(" ".join(texts)) <= WIDTH
    unknown = cells(view, {**dict.fromkeys(row()), "rest": "uncharged", **dict.fromkeys(KEYS[view])})
    assert unknown[0].strip() == "(uncharged)"
    assert {text.strip() for text in unknown[1:]} <= {"-", ""}


def test_cells() -> None:
    assert [text.strip() for text in cells("class", row(**KEYS["class"]))] == [
        *("known_unicast", "25.0", "50.0", "1234", "617", "1.23M", "4.00M", "10.0k", "25.0")
    ]
    assert cells("port", row(port="a-name-that-is-too-long"))[0] == "a-name-that-is…"


def test_idle_stages_cost_no_frame_anything() -> None:
    idle = [text.strip() for text in cells("stage", row(stage="blocked", busy=False))]
    assert idle == ["blocked", "25.0", "50.0", "1.0", "-", "-", "550M"]


def test_a_control_character_does_not_reach_the_terminal() -> None:
    assert "\x1b" not in cells("port", row(port="\x1b[2J"))[0]


def test_sorting_keeps_the_unknown_behind_and_the_rests_last() -> None:
    rows = [row(0.1, vlan=20), row(None, vlan=5), row(0.3, vlan=100), row(9.9, vlan=None, rest="other")]
    place = COLUMNS["vlan"].index(next(column for column in COLUMNS["vlan"] if column.title == "core %"))

    def vlans(sort: Sort) -> list[object]:
        return [row["vlan"] for row in sort_rows("vlan", rows, sort)]

    assert default_sort("vlan") == Sort(place, True)
    assert vlans(Sort(place, True)) == [100, 20, 5, None]
    assert vlans(Sort(place, False)) == [20, 100, 5, None]
    assert vlans(Sort(0, False)) == [5, 20, 100, None]
    assert vlans(Sort(0, True)) == [100, 20, 5, None]


def test_stages_stay_in_the_order_of_a_frames_way() -> None:
    rows = [row(0.1, stage="rx"), row(0.2, stage="admit"), row(0.0, stage="tx")]
    assert [row["stage"] for row in sort_rows("stage", rows, default_sort("stage"))] == ["rx", "admit", "tx"]


def test_the_lines_above() -> None:
    assert headline(sample("class")) == (
        "dmz: 1/2 ports up  1.00M frames/s  1.00Gbit/s  12.35 EUR/month  preempted 1.0%"
    )
    assert headline(Sample()) == "-: 0/0 ports up  - frames/s  -bit/s"
    load, cost = gauges([None, 0.5], [100.0, 200.0])
    assert load.startswith("load %         50.0 ")
    assert load.endswith("  █")
    assert cost.startswith("cycles/frame    200 ")
    assert cost.endswith(" ▄█")
    assert len(load) == len(cost) == WIDTH


def test_a_plain_page() -> None:
    text = page(sample("talker", row(0.1, **KEYS["talker"]), row(0.2, **{**KEYS["talker"], "vlan": 1})))
    first, second, blank, heading, *rows = text.splitlines()
    assert first.startswith("dmz: ")
    assert second == "load 12.5%  cycles/frame 1234  window 2 s"
    assert blank == ""
    assert heading.startswith("source            vlan port       ▼core   share")
    assert [line.split()[1] for line in rows] == ["1", "4094"]


# -- the command


def test_without_textual_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("bridge.cli.top.source.Source", Script)
    monkeypatch.setattr("bridge.cli.top.source.is_terminal", lambda: True)
    monkeypatch.setitem(sys.modules, "bridge.cli.top.app", None)
    assert cli.main(["-s", "x", "top"]) == 1
    assert "pip install 'framebridge[top]'; `framebridge top --once` works" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["wlan"], "unknown view 'wlan'; there are: class, port, vlan, talker, stage"),
        (["class", "port"], "one word too many: 'port'"),
        (["-i", "0"], "--interval needs 0.2 to 3600 seconds, not '0'"),
        (["-i", "nan"], "--interval needs 0.2 to 3600 seconds, not 'nan'"),
        (["-i", "fast"], "--interval needs 0.2 to 3600 seconds, not 'fast'"),
    ],
)
def test_wrong_words(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["top", *words]) == 2
    assert message in capsys.readouterr().err


def test_no_daemon(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["-s", "/nowhere.sock", "top"]) == 1
    assert "no daemon answers on /nowhere.sock" in capsys.readouterr().err


def test_a_source_asks_over_the_control_socket_and_again_after_a_restart(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    with contextlib.closing(Source(str(tmp_path / "dmz.sock"), 2.5)) as source:
        with served(config) as server:
            first = source.read("stage")
            assert (first.bridge, first.view) == ("dmz", "stage")
            assert [row["port"] for row in first.ports] == ["guests", "uplink"]
            assert first.rows == server.engine.cost.show_rows("stage", 3)
            assert page(first).splitlines()[3].startswith("stage▲")
        with pytest.raises(ControlError, match="hung up"):
            source.read("class")
        with pytest.raises(ControlError, match="no daemon answers"):
            source.read("class")
        with served(config):
            assert "class" in source.read("class").rows[0]


def test_a_pipe_gets_one_page(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("bridge.cli.top.source.Source", Script)
    assert cli.main(["-s", "x", "top", "ta"]) == 0
    assert capsys.readouterr().out == page(Script().read("talker")) + "\n"
    assert cli.main(["-s", "x", "-j", "top", "vlan"]) == 0
    assert capsys.readouterr().out.startswith('[{"cores":')


# -- live


class Script:
    """A source that tests drive: rows of each view, or an error, or silence until `answer`."""

    def __init__(self, path: str = "", seconds: float = 1.0) -> None:
        self.seconds = seconds
        self.asked: list[str] = []
        self.error = ""
        self.cores = {"a": 0.3, "b": 0.1}
        self.answer = threading.Event()
        self.answer.set()

    def read(self, view: str) -> Sample:
        self.asked.append(view)
        assert self.answer.wait(10)
        if self.error:
            raise ControlError(self.error)
        key = COLUMNS[view][0].key
        rows = [row(cores, **{**KEYS[view], key: name}) for name, cores in self.cores.items()]
        return sample(view, *rows, row(5.0, **{**KEYS[view], key: None}, rest="other"))

    def close(self) -> None:
        pass


def text_of(app: TopApp, selector: str) -> str:
    return str(app.query_one(selector, Static).render())


def first_column(app: TopApp) -> list[str]:
    table = app.query_one(DataTable)
    return [str(table.get_row_at(place)[0]).strip() for place in range(table.row_count)]


async def until(pilot: Pilot[None], condition: Callable[[], Any], what: str) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await pilot.pause(0.01)
    assert condition(), what


def live(test: Callable[..., Any]) -> Callable[..., None]:
    """Run a story with a display of 80x24 over a script that is asked every 60 s, or whenever the story wants."""

    @story
    async def run() -> None:
        script = Script()
        app = TopApp(script, "class", 60.0)
        async with app.run_test(size=(80, 24)) as pilot:
            await until(pilot, lambda: first_column(app), "rows")
            await test(app, script, pilot)
            script.answer.set()

    return run


@live
async def test_the_first_screen(app: TopApp, script: Script, pilot: Pilot[None]) -> None:
    assert text_of(app, "#headline").startswith("dmz: 1/2 ports up")
    assert "load %         12.5" in text_of(app, "#gauges")
    assert text_of(app, "#views").endswith("every 60 s")
    assert first_column(app) == ["a", "b", "(other)"]
    assert not app.query_one("#trouble").display


@live
async def test_keys_switch_the_view(app: TopApp, script: Script, pilot: Pilot[None]) -> None:
    for key, view in zip("pvtsc", ("port", "vlan", "talker", "stage", "class"), strict=True):
        await pilot.press(key)
        await until(pilot, lambda view=view: app.sample.view == view and first_column(app), view)  # type: ignore[misc]
        headings = [str(column.label) for column in app.query_one(DataTable).ordered_columns]
        assert headings == titles(view, default_sort(view))
    assert script.asked == ["class", "port", "vlan", "talker", "stage", "class"]


@live
async def test_keys_sort(app: TopApp, script: Script, pilot: Pilot[None]) -> None:
    await pilot.press("r")
    assert first_column(app) == ["b", "a", "(other)"]
    await pilot.press("less_than_sign")
    assert app.sort == Sort(0, False)
    assert first_column(app) == ["a", "b", "(other)"]
    await pilot.press("left")
    assert app.sort.column == len(COLUMNS["class"]) - 1
    await pilot.press("greater_than_sign", "right")
    assert app.sort.column == 1
    assert len(script.asked) == 1  # nothing of this needs the daemon


@live
async def test_a_click_on_a_heading_sorts_and_another_one_reverses(
    app: TopApp, script: Script, pilot: Pilot[None]
) -> None:
    await pilot.click(DataTable, offset=(3, 0))
    await until(pilot, lambda: app.sort == Sort(0, True), "sorted by name")
    assert first_column(app) == ["b", "a", "(other)"]
    await pilot.click(DataTable, offset=(3, 0))
    await until(pilot, lambda: app.sort == Sort(0, False), "the other way round")


@live
async def test_rows_come_and_go_and_the_cursor_stays(app: TopApp, script: Script, pilot: Pilot[None]) -> None:
    await pilot.press("down")
    script.cores = {f"n{number}": number / 10 for number in range(30)}
    app._wanted.set()
    await until(pilot, lambda: len(first_column(app)) == 31, "more rows")
    assert first_column(app)[:2] == ["n29", "n28"]
    assert app.query_one(DataTable).cursor_row == 1
    script.cores = {"a": 0.1}
    app._wanted.set()
    await until(pilot, lambda: first_column(app) == ["a", "(other)"], "fewer rows")


@live
async def test_a_daemon_that_is_away_is_told_and_waited_for(
    app: TopApp, script: Script, pilot: Pilot[None]
) -> None:
    script.error = "no daemon answers on /run/x.sock: start it"
    app._wanted.set()
    await until(pilot, lambda: app.query_one("#trouble").display, "the trouble")
    assert text_of(app, "#trouble") == f"{script.error}; trying again every 60 s"
    assert app.query_one(DataTable).has_class("stale")
    assert first_column(app) == ["a", "b", "(other)"]
    assert "load %            -" in text_of(app, "#gauges")
    script.error = ""
    app._wanted.set()
    await until(pilot, lambda: not app.query_one("#trouble").display, "the return")
    assert not app.query_one(DataTable).has_class("stale")
    assert text_of(app, "#gauges").splitlines()[0].endswith("█ █")  # the gap is to be seen


@live
async def test_pause_and_go_on(app: TopApp, script: Script, pilot: Pilot[None]) -> None:
    await pilot.press("space")
    assert text_of(app, "#views").endswith("paused")
    await pilot.press("p")  # another view is asked for, once
    await until(pilot, lambda: app.sample.view == "port", "the view")
    await pilot.press("space")
    await until(pilot, lambda: script.asked == ["class", "port", "port"], "to go on")
    assert text_of(app, "#views").endswith("every 60 s")


@live
async def test_keys_work_while_the_daemon_is_silent(app: TopApp, script: Script, pilot: Pilot[None]) -> None:
    script.answer.clear()
    app._wanted.set()
    await until(pilot, lambda: len(script.asked) == 2, "a question")
    await pilot.press("r")
    await until(pilot, lambda: first_column(app) == ["b", "a", "(other)"], "the other order")


@live
async def test_an_answer_that_comes_when_the_display_has_ended(
    app: TopApp, script: Script, pilot: Pilot[None]
) -> None:
    for error in ("", "no daemon answers"):
        script.answer.clear()
        script.error = error
        count = len(script.asked)
        app._wanted.set()
        await until(pilot, lambda count=count: len(script.asked) > count, "a question")  # type: ignore[misc]
        await app.screen.remove_children()
        script.answer.set()
        app._wanted.set()
        await until(pilot, lambda count=count: len(script.asked) > count + 1, "the next one")  # type: ignore[misc]


@live
async def test_other_intervals(app: TopApp, script: Script, pilot: Pilot[None]) -> None:
    await pilot.press("plus")
    assert app.interval == 60.0  # there is no slower one
    await pilot.press("minus")
    assert (app.interval, script.seconds) == (30.0, 30.0)
    assert text_of(app, "#views").endswith("every 30 s")
    await until(pilot, lambda: len(script.asked) >= 2, "a question at once")


@live
async def test_help_and_quit(app: TopApp, script: Script, pilot: Pilot[None]) -> None:
    await pilot.press("question_mark")
    assert isinstance(app.screen, HelpScreen)
    await pilot.press("q")
    assert not isinstance(app.screen, HelpScreen)
    assert app.is_running
    await pilot.press("q")
    await until(pilot, lambda: not app.is_running, "the end")
    assert app.return_code == 0
