"""A test session that is told to end (SIGTERM, as by init systems and `timeout`), or killed, leaves nothing behind."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from helpers.net import NETNS_DIR, Net, wait_until

TESTS = Path(__file__).parents[1]
STORY = """\
import os
from pathlib import Path
from threading import Event

def test_that_never_ends(net):
    space = net.namespace()
    program = net.program(["sleep", "600"], space)
    Path({mark!r}).write_text(f"{{space.name}} {{program.pid}} {{os.getpid()}}\\n")
    Event().wait()
"""


class Session:
    """A session in the middle of a test that has made a namespace, and a program in it."""

    def __init__(self, net: Net, tmp_path: Path, *options: str) -> None:
        mark, story = tmp_path / "mark", tmp_path / "test_story.py"
        story.write_text(STORY.format(mark=str(mark)))
        command = [sys.executable, "-m", "pytest", "-p", "conftest", "-p", "no:cacheprovider", *options]
        self.program = net.program([*command, str(story)], env={"PYTHONPATH": str(TESTS)}, cwd=str(tmp_path))
        self.program.wait_ready(
            lambda: mark.exists() and mark.read_text().endswith("\n"), "the story to begin"
        )
        space, sleeper, worker = mark.read_text().split()
        self.space, self.sleeper, self.worker = NETNS_DIR / space, Path(f"/proc/{sleeper}"), int(worker)
        assert self.space.exists()

    def check_nothing_is_left(self) -> None:
        wait_until(lambda: not self.space.exists(), "the namespace to go")
        wait_until(lambda: not self.sleeper.exists(), "the program to go")


@pytest.mark.root
@pytest.mark.parametrize("options", [[], ["-n", "1"]], ids=["in one process", "with a worker"])
def test_nothing_is_left(net: Net, tmp_path: Path, options: list[str]) -> None:
    session = Session(net, tmp_path, *options)
    assert session.program.stop() == 128 + signal.SIGTERM
    assert "ended by SIGTERM" in session.program.output
    session.check_nothing_is_left()


@pytest.mark.root
@pytest.mark.parametrize("options", [[], ["-n", "1"]], ids=["in one process", "with a worker"])
def test_nothing_is_left_by_a_session_that_is_killed(net: Net, tmp_path: Path, options: list[str]) -> None:
    """Both processes at once, where there are two: nobody is left to undo anything."""
    session = Session(net, tmp_path, *options)
    os.kill(session.worker, signal.SIGKILL)
    if options:
        session.program.signal(signal.SIGKILL)
    assert session.program.wait_exit() == -signal.SIGKILL
    session.check_nothing_is_left()
