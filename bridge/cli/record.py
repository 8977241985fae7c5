"""A recording of the bill: one JSON object per line, one line per interval; written by polling, read for plots.

Job: `record` polls a daemon and writes; `read` reads. Each line is one write, so the file is valid whenever the
recording ends, also by Ctrl-C, by a kill or with the daemon. A line that a crash cut off is removed before another
recording is appended.

A line has `format` (FORMAT), `until` (Unix seconds), `seconds`, and the rows of the methods for that window:
`summary` (one row), `stage`, `port`, `class`, `talker` (the TALKERS dearest).
Refuses, with FramebridgeError: a file that exists, unless told to append or replace; to append to something else than
a recording; lines that are no recording.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

from bridge.errors import FramebridgeError
from bridge.render.bill import si

Line = dict[str, Any]
Ask = Callable[[str, dict[str, Any]], list[Line]]

FORMAT = "framebridge-cost-1"
TALKERS = 20
VIEWS = ("stage", "port", "class", "talker")


def take(ask: Ask, interval: int) -> Line:
    """Ask a daemon for a window of about `interval` seconds."""
    (summary,) = ask("CostSummary", {"last": interval})
    views = {view: ask("CostShow", {"by": view, "last": interval, "top": TALKERS}) for view in VIEWS}
    return {
        "format": FORMAT,
        "until": summary["until"],
        "seconds": summary["seconds"],
        "summary": summary,
        **views,
    }


def record(
    path: Path,
    ask: Ask,
    interval: int,
    seconds: int | None,
    mode: str,
    *,
    progress: TextIO = sys.stderr,
    pause: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.monotonic,
) -> int:
    """Write a line per interval for so many seconds, None: until Ctrl-C; returns how many lines.

    `mode`: "new" | "append" | "replace".
    """
    began, lines = now(), 0
    with open_recording(path, mode) as file:
        try:
            while seconds is None or lines * interval < seconds:
                pause(max(0.0, began + (lines + 1) * interval - now()))
                line = take(ask, interval)
                file.write(json.dumps(line, separators=(",", ":")) + "\n")
                file.flush()
                lines += 1
                _tell(progress, path, lines, line)
        except KeyboardInterrupt:
            pass  # the usual way to end it
        finally:
            if progress.isatty():
                progress.write("\n")
    return lines


def _tell(progress: TextIO, path: Path, lines: int, line: Line) -> None:
    if not progress.isatty():
        return
    summary = line["summary"]
    busy = "" if summary["busy_cores"] is None else f", {summary['busy_cores']:.3f} of a core"
    frames = f"{si(summary['frames_per_second'])} frames/s"
    progress.write(f"\r\033[K{path}: {lines} lines, {frames}{busy}")
    progress.flush()


def open_recording(path: Path, mode: str) -> TextIO:
    """Open a file to write lines to its end."""
    flags = {"new": os.O_EXCL, "append": os.O_APPEND, "replace": os.O_TRUNC}[mode]
    try:
        if mode == "append" and path.exists():
            _mend(path)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | flags, 0o644)
    except FileExistsError:
        raise FramebridgeError(f"{path} exists; choose another name, or say 'append' or 'replace'") from None
    except OSError as error:
        raise FramebridgeError(f"cannot write {path}: {error.strerror}") from None
    return os.fdopen(descriptor, "w", encoding="utf-8")


def _mend(path: Path) -> None:
    """Remove an unfinished last line; refuse a file that is no recording."""
    with path.open("rb+") as file:
        size = end = file.seek(0, os.SEEK_END)
        file.seek(0)
        first = file.readline()
        if size and first.endswith(b"\n"):
            parse(first, path, 1)
        while end:
            start = max(0, end - 4096)
            file.seek(start)
            if (newline := file.read(end - start).rfind(b"\n")) >= 0:
                end = start + newline + 1
                break
            end = start
        if size and not end:
            raise FramebridgeError(
                f"{path} has no line of a recording; choose another name, or say 'replace'"
            )
        file.truncate(end)


def read(path: Path) -> Iterator[Line]:
    """Read the lines of a recording; an unfinished last one is passed over."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.endswith(b"\n"):
                    yield parse(line, path, number)
    except OSError as error:
        raise FramebridgeError(f"cannot read {path}: {error.strerror}") from None


def parse(line: bytes, path: Path, number: int) -> Line:
    """Read one line."""
    try:
        value = json.loads(line)
    except ValueError:
        value = None
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise FramebridgeError(
            f"{path}: line {number} is not of a recording made by 'framebridge cost record'"
        )
    return value
