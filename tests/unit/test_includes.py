"""csrc/includes.py: arrows between the folders of csrc/ go down only."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CHECK = Path(__file__).parents[2] / "csrc" / "includes.py"


def check(root: Path) -> tuple[int, list[str]]:
    """Run the check over a folder: its exit status, and what it says."""
    done = subprocess.run([sys.executable, CHECK, root], capture_output=True, text=True, check=False)
    assert not done.stdout
    return done.returncode, done.stderr.splitlines()


def tree(root: Path, files: dict[str, str]) -> Path:
    """Write a tree of C files: the headers that each includes, separated by spaces."""
    for name, headers in files.items():
        path = root / "csrc" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f'#include "{header}"\n' for header in headers.split()))
    return root / "csrc"


def test_the_core_keeps_the_order() -> None:
    """What the repository has."""
    assert check(CHECK.parent) == (0, [])


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (
            {"fdb/fdb.c": "fdb/fdb.h", "fdb/fdb.h": "count/limits.h", "count/limits.h": ""},
            [],
        ),
        (
            {"fdb/fdb.c": "fdb/fdb.h thread/bridge.h", "fdb/fdb.h": "", "thread/bridge.h": "fdb/fdb.h"},
            ['csrc/fdb/fdb.c:2: "thread/bridge.h": thread/ is above fdb/'],
        ),
        (
            {"frame/a.h": "frame/b.h", "frame/b.h": "frame/a.h"},
            ["csrc: a circle: frame/a.h includes frame/b.h includes frame/a.h"],
        ),
        (
            {"frame/a.c": "a.h", "frame/a.h": ""},
            ['csrc/frame/a.c:1: no "a.h" in csrc/ (a header is named by its folder and file)'],
        ),
    ],
    ids=["down", "up", "circle", "no folder"],
)
def test_what_breaks_it_is_named(tmp_path: Path, files: dict[str, str], said: list[str]) -> None:
    """File, line, and what is wrong there."""
    assert check(tree(tmp_path, files)) == (1 if said else 0, said)


@pytest.mark.parametrize("name", ["new/a.c", "a.c", "frame/deep/a.c"])
def test_a_file_outside_the_layers_is_named(tmp_path: Path, name: str) -> None:
    """A new folder takes its place in the list, or there is no order to keep."""
    status, said = check(tree(tmp_path, {name: ""}))
    assert status == 1
    assert said[0].startswith(f"csrc/{name}: is in no layer")
    assert len(said) == 1
