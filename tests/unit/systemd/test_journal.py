"""Lines of the log: with a priority and nothing the journal says itself, or with time and level for people."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import pytest

from bridge.systemd import journal

LEVELS = {10: 7, 20: 6, journal.NOTICE: 5, 30: 4, 40: 3, 50: 2}


def written(path: Path, environ: Mapping[str, str], *records: tuple[int, str], **more: Any) -> list[str]:
    with path.open("w") as stream:
        handler = journal.handler(stream, environ)
        for level, text in records:
            handler.emit(logging.LogRecord("bridge.ports", level, "", 0, text, (), more.get("exc_info")))
    return path.read_text().splitlines()


def stream_of(path: Path) -> dict[str, str]:
    path.touch()
    status = path.stat()
    return {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}


def test_each_level_has_its_priority_and_no_time_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "log"

    lines = written(file, stream_of(file), *((level, "port a is down") for level in LEVELS))

    assert lines == [f"<{priority}>bridge.ports: port a is down" for priority in LEVELS.values()]


def test_one_event_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "log"
    try:
        raise ValueError("two\nlines")
    except ValueError as error:
        found = (type(error), error, error.__traceback__)

    lines = written(file, stream_of(file), (40, "it\nfailed"), exc_info=found)

    assert len(lines) == 1
    assert lines[0].startswith("<3>bridge.ports: it | failed | Traceback (most recent call last): | ")
    assert lines[0].endswith(" | ValueError: two | lines")


@pytest.mark.parametrize("value", ["", "1:2", "nonsense", ":"])
def test_people_get_time_and_level_where_stderr_is_not_the_journal(tmp_path: Path, value: str) -> None:
    line, *more = written(tmp_path / "log", {"JOURNAL_STREAM": value}, (journal.NOTICE, "a\nb"))

    assert more == []
    assert line.endswith(" NOTICE bridge.ports: a | b")
    assert line[:4].isdigit()


def test_another_file_than_the_journal_is_for_people(tmp_path: Path) -> None:
    environ = stream_of(tmp_path / "journal")

    assert not journal.is_journal(io.StringIO(), environ)
    with (tmp_path / "other").open("w") as other:
        assert not journal.is_journal(other, environ)
    with (tmp_path / "journal").open("w") as same:
        assert journal.is_journal(same, environ)


def test_a_closed_stream_is_no_journal(tmp_path: Path) -> None:
    stream: IO[str] = os.fdopen(os.open(tmp_path / "x", os.O_CREAT | os.O_WRONLY), "w")
    stream.close()

    assert not journal.is_journal(stream)  # type: ignore[arg-type]
