"""A test session that is told to end (SIGTERM, as init systems and `timeout` do it) leaves nothing behind."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest
from helpers.net import NETNS_DIR, Net, wait_until

TESTS = Path(__file__).parents[1]
STORY = """\
from pathlib import Path
from threading import Event

def test_that_never_ends(net):
    space = net.namespace()
    program = net.program(["sleep", "600"], space)
    Path({mark!r}).write_text(f"{{space.name}} {{program.pid}}\\n")
    Event().wait()
"""


@pytest.mark.root
@pytest.mark.parametrize("options", [[], ["-n", "1"]], ids=["in one process", "with a worker"])
def test_nothing_is_left(net: Net, tmp_path: Path, options: list[str]) -> None:
    mark, story = tmp_path / "mark", tmp_path / "test_story.py"
    story.write_text(STORY.format(mark=str(mark)))
    command = [sys.executable, "-m", "pytest", "-p", "conftest", "-p", "no:cacheprovider", *options]
    session = net.program([*command, str(story)], env={"PYTHONPATH": str(TESTS)}, cwd=str(tmp_path))
    session.wait_ready(lambda: mark.exists() and mark.read_text().endswith("\n"), "the story to begin")
    space, pid = mark.read_text().split()
    assert (NETNS_DIR / space).exists()

    assert session.stop() == 128 + signal.SIGTERM

    assert "ended by SIGTERM" in session.output
    wait_until(lambda: not (NETNS_DIR / space).exists(), "the namespace to go")
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the program to go")
