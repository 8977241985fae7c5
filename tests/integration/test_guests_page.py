"""docs/guests.md does what it says: its blocks are executed word for word, one after the other, as a reader would.

In network, mount and process namespaces of their own, with an empty /run: names of the page meet nobody else's, and
whatever they start ends with the test.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.daemon import COMMAND

pytestmark = pytest.mark.root

PAGE = Path(__file__).parents[2] / "docs" / "guests.md"
SECONDS = 300
WORLD = """\
set -e
mount -t tmpfs none /run
mkdir -p /run/netns bin
mount -t sysfs none /sys
printf '#!/bin/sh\\nexec %s -m bridge "$@"\\n' {python} > bin/framebridge
chmod +x bin/framebridge
PATH=$PWD/bin:$PATH PYTHONPATH={root}
export PATH PYTHONPATH
ip link set lo up
"""


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE.read_text(), re.S | re.M)


def execute(directory: Path, *scripts: str) -> subprocess.CompletedProcess[str]:
    (file,) = blocks("toml")
    (directory / "guests.toml").write_text(file)
    world = WORLD.format(python=sys.executable, root=PAGE.parents[1])
    return subprocess.run(
        [
            "unshare",
            "--net",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "sh",
            "-c",
            "\n".join([world, *scripts]),
        ],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def test_namespaces_and_containers(tmp_path: Path) -> None:
    assert COMMAND[0] == sys.executable
    first, *others = blocks("sh")
    done = execute(tmp_path, "mount -t proc none /proc", first, *others)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("3 received") == 2


def test_qemu(tmp_path: Path) -> None:
    if not shutil.which("qemu-system-x86_64"):
        pytest.skip("qemu-system-x86_64 is not here")
    start, *_ = blocks("sh")
    done = execute(tmp_path, "mount -t proc none /proc", start, *blocks("sh qemu"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "52:54:00:00:00:10" in done.stdout
