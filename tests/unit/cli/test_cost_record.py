"""Recordings of the bill and their pictures, with a daemon that is a function."""

from __future__ import annotations

import builtins
import io
import json
from pathlib import Path
from typing import Any

import pytest
from helpers.clock import ManualClock
from helpers.fake_bill import HZ, FakeMeter

from bridge.cli import plot as cost_plot
from bridge.cli.record import FORMAT, TALKERS, Line, read, record
from bridge.errors import ControlError, FramebridgeError


class FakeDaemon:
    """Answers like a daemon of a bridge that is busy; ends the recording by Ctrl-C after so many windows."""

    def __init__(self, windows: int = 1 << 30) -> None:
        self.clock = ManualClock()
        self.meter = FakeMeter(self.clock)
        self.left = windows

    def ask(self, method: str, parameters: dict[str, Any]) -> list[Line]:
        if method == "CostSummary":
            return self.meter.summary_rows(**parameters)
        return self.meter.show_rows(**parameters)

    def pause(self, seconds: float) -> None:
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        for number in range(30):
            self.meter.core.spend(
                0, 10, "broadcast", 0x020000000001 + number, direct=HZ // 100 * number, frames=10
            )
        self.meter.core.spend(1, 20, "known_unicast", direct=HZ // 2, frames=100)
        self.clock.advance(seconds)
        self.meter.sample()

    def record(self, path: Path, seconds: int | None, mode: str = "new", interval: int = 1) -> int:
        return record(
            path, self.ask, interval, seconds, mode,
            progress=io.StringIO(), pause=self.pause, now=self.clock.now,
        )  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bill.jsonl"


def test_a_line_is_written_each_interval(path: Path) -> None:
    daemon = FakeDaemon()
    assert daemon.record(path, 20, interval=5) == 4
    assert daemon.clock.now() == 20
    lines = [*read(path)]
    assert [line["format"] for line in lines] == [FORMAT] * 4
    for line in lines:
        assert line["seconds"] == 5.0
        busy = line["summary"]["busy_cycles"]
        for view in ("port", "class", "talker"):
            assert sum(row["cycles"] for row in line[view]) == busy
        assert sum(row["cycles"] for row in line["stage"] if row["busy"]) == busy
        assert sum(row["rest"] is None for row in line["talker"]) == TALKERS


def test_ctrl_c_ends_it_and_leaves_whole_lines(path: Path) -> None:
    assert FakeDaemon(windows=3).record(path, None) == 3
    assert [json.loads(line)["format"] for line in path.read_text().splitlines()] == [FORMAT] * 3


def test_a_daemon_that_ends_leaves_what_was_written(path: Path) -> None:
    daemon = FakeDaemon()

    def ask(method: str, parameters: dict[str, Any]) -> list[Line]:
        if daemon.clock.now() > 2:
            raise ControlError("it hung up")
        return daemon.ask(method, parameters)

    with pytest.raises(ControlError, match="hung up"):
        record(path, ask, 1, None, "new", progress=io.StringIO(), pause=daemon.pause, now=daemon.clock.now)
    assert len([*read(path)]) == 2


def test_a_file_that_exists_is_kept_unless_told_otherwise(path: Path) -> None:
    FakeDaemon().record(path, 2)
    with pytest.raises(FramebridgeError, match="exists; choose another name, or say 'append' or 'replace'"):
        FakeDaemon().record(path, 2)
    FakeDaemon().record(path, 3, "append")
    assert len([*read(path)]) == 5
    FakeDaemon().record(path, 1, "replace")
    assert len([*read(path)]) == 1
    FakeDaemon().record(path.with_name("new.jsonl"), 1, "append")


@pytest.mark.parametrize("length", [1, 4095, 4096, 4097, 10_000])
def test_a_line_that_was_cut_off_is_removed_before_appending(path: Path, length: int) -> None:
    FakeDaemon().record(path, 2)
    with path.open("a") as file:
        file.write('{"format":"' + "x" * length)
    assert len([*read(path)]) == 2
    FakeDaemon().record(path, 1, "append")
    assert len([*read(path)]) == 3


@pytest.mark.parametrize("content", ["hello\n", "no newline", '{"format": "other"}\n', "[]\n", "\xff\n"])
def test_another_file_is_left_as_it_is(path: Path, content: str) -> None:
    path.write_text(content, encoding="latin-1")
    with pytest.raises(FramebridgeError, match=r"line 1 is not of a recording|has no line of a recording"):
        FakeDaemon().record(path, 1, "append")
    assert path.read_text(encoding="latin-1") == content


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(FramebridgeError, match=r"cannot write .*: No such file or directory"):
        FakeDaemon().record(tmp_path / "nowhere" / "bill", 1)


def test_progress_is_for_terminals(path: Path) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    daemon, terminal = FakeDaemon(), Terminal()
    record(path, daemon.ask, 1, 2, "new", progress=terminal, pause=daemon.pause, now=daemon.clock.now)
    assert f"{path}: 2 lines, 400 frames/s" in terminal.getvalue()
    assert terminal.getvalue().endswith("\n")


# -- pictures


@pytest.fixture
def recording(path: Path) -> Path:
    daemon = FakeDaemon()
    daemon.record(path, 10)
    return path


@pytest.mark.parametrize(("name", "start"), [("bill.png", b"\x89PNG\r\n"), ("bill.SVG", b"<?xml")])
def test_a_recording_is_drawn(recording: Path, name: str, start: bytes) -> None:
    picture = recording.with_name(name)
    assert cost_plot.plot(recording, picture) == 10
    assert picture.read_bytes().startswith(start)


def test_a_picture_names_classes_and_talkers(recording: Path) -> None:
    picture = recording.with_name("bill.svg")
    cost_plot.plot(recording, picture)
    text = picture.read_text()
    for word in (
        "broadcast",
        "known_unicast",
        "02:00:00:00:00:1e",
        "(unlearned)",
        cost_plot.OTHERS,
        "of one core",
    ):
        assert word in text
    assert "The bill: 4,000 frames in 10 s" in text


def test_series_are_rates_and_add_up(recording: Path) -> None:
    lines = [*read(recording)]
    for view in ("class", "talker"):
        found = cost_plot.series(lines, view, 3)
        assert len(found) <= 4
        for place, line in enumerate(lines):
            assert sum(values[place] for values in found.values()) == pytest.approx(
                line["summary"]["busy_cycles"] / line["seconds"]
            )


def test_a_pause_of_the_recording_is_drawn_as_nothing() -> None:
    lines = [{"until": until, "seconds": 1.0} for until in (101.0, 102.0, 110.0)]
    times, heights = cost_plot.steps(lines, [5.0, 6.0, 7.0])
    assert heights == [5, 5, 6, 6, 0, 0, 7, 7]
    assert [time.timestamp() for time in times] == [100, 101, 101, 102, 102, 109, 109, 110]


def test_what_cannot_be_drawn_is_refused(recording: Path, tmp_path: Path) -> None:
    with pytest.raises(FramebridgeError, match=r"ends in \.png or \.svg"):
        cost_plot.plot(recording, tmp_path / "bill.jpeg")
    (tmp_path / "empty").touch()
    with pytest.raises(FramebridgeError, match="has no lines yet"):
        cost_plot.plot(tmp_path / "empty", tmp_path / "bill.png")
    with pytest.raises(FramebridgeError, match=r"cannot read .*nothing"):
        cost_plot.plot(tmp_path / "nothing", tmp_path / "bill.png")
    with pytest.raises(FramebridgeError, match="cannot write"):
        cost_plot.plot(recording, tmp_path / "nowhere" / "bill.png")


def test_without_matplotlib_the_way_out_is_told(recording: Path, no_matplotlib: None) -> None:
    with pytest.raises(FramebridgeError, match=r"pip install 'framebridge\[plot\]'"):
        cost_plot.plot(recording, recording.with_name("bill.png"))


@pytest.fixture
def no_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *arguments: Any, **keys: Any) -> Any:
        if name.partition(".")[0] == "matplotlib":
            raise ImportError(name)
        return real(name, *arguments, **keys)

    monkeypatch.setattr(builtins, "__import__", refuse)
