"""The unit and its companions: what systemd's own tools say of them, where they are installed."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

PLACE = Path(__file__).parents[3] / "packaging" / "systemd"
THEIRS = Path("/lib/systemd/system")
UNIT = "framebridge@.service"
EXPOSURE_MAX = 3.0
EXTRAS = ["netns.conf", "offload.conf"]


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} here: apt-get install systemd")
    return found


def installed(root: Path, *extras: str) -> Path:
    """A root directory with the unit, its drop-ins, and programs of the names that it starts."""
    system = root / "etc/systemd/system"
    system.mkdir(parents=True)
    shutil.copy(PLACE / UNIT, system)
    for extra in extras:
        (system / f"{UNIT}.d").mkdir(exist_ok=True)
        shutil.copy(PLACE / extra, system / f"{UNIT}.d")
    for program in ("usr/bin/framebridge", "bin/kill"):
        (root / program).parent.mkdir(parents=True, exist_ok=True)
        (root / program).write_text("#!/bin/sh\n")
        (root / program).chmod(0o755)
    return root


@pytest.mark.parametrize("extras", [[], ["netns.conf"], ["offload.conf"], EXTRAS], ids=str)
def test_it_is_exposed_little(tmp_path: Path, extras: list[str]) -> None:
    root = installed(tmp_path, *extras)
    words = ("security", "--offline=yes", f"--root={root}", "--no-pager", UNIT.replace("@", "@dmz"))

    done = subprocess.run([tool("systemd-analyze"), *words], capture_output=True, text=True, timeout=60)

    found = re.search(r"exposure level for .*: ([0-9.]+)", done.stdout)
    assert found, done.stderr
    assert float(found[1]) <= EXPOSURE_MAX


@pytest.mark.parametrize("extras", [[], EXTRAS], ids=str)
def test_systemd_finds_nothing_wrong(tmp_path: Path, extras: list[str]) -> None:
    root = installed(tmp_path, *extras)
    if not THEIRS.is_dir():
        pytest.skip(f"no units of systemd in {THEIRS}: apt-get install systemd")
    shutil.copytree(THEIRS, root / "usr/lib/systemd/system", symlinks=True)
    words = ("verify", "--man=no", f"--root={root}", UNIT.replace("@", "@dmz"))

    done = subprocess.run([tool("systemd-analyze"), *words], capture_output=True, text=True, timeout=60)

    ours = [line for line in done.stderr.splitlines() if "framebridge" in line]
    assert (done.returncode, ours) == (0, [])


def test_the_user_is_made(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    words = (f"--root={tmp_path}", str(PLACE / "framebridge.sysusers"))

    subprocess.run([tool("systemd-sysusers"), *words], check=True, timeout=60)

    (line,) = [
        one for one in (tmp_path / "etc/passwd").read_text().splitlines() if one.startswith("framebridge:")
    ]
    assert line.split(":")[5:] == ["/var/lib/framebridge", "/usr/sbin/nologin"]


def test_the_directories_are_those_of_the_unit(tmp_path: Path) -> None:
    unit = (PLACE / UNIT).read_text()
    made = {line.split()[1] for line in (PLACE / "framebridge.tmpfiles").read_text().splitlines()}
    state = re.findall(r"^StateDirectory=(.*)$", unit, re.M)[0].split()
    run = re.findall(r"^RuntimeDirectory=(.*)$", unit, re.M)[0].split()

    assert made == {f"/var/lib/{name}" for name in state} | {f"/run/{name}" for name in run}


def test_what_the_unit_gives_is_what_the_daemon_takes() -> None:
    from bridge import privileges

    def given(file: str, key: str) -> set[str]:
        lines = re.findall(rf"^{key}=(.*)$", (PLACE / file).read_text(), re.M)
        return {word for line in lines for word in line.split()}

    wanted = {UNIT: privileges.PORTS, "netns.conf": privileges.NAMESPACES, "offload.conf": privileges.OFFLOAD}
    for file, names in wanted.items():
        assert given(file, "AmbientCapabilities") == given(file, "CapabilityBoundingSet") == names


def test_no_key_is_newer_than_systemd_252() -> None:
    newer = {
        "RestartSteps",
        "RestartMaxDelaySec",
        "FileDescriptorStorePreserve",
        "RestartMode",
        "PrivatePIDs",
    }
    keys = {line.partition("=")[0] for file in PLACE.iterdir() for line in file.read_text().splitlines()}

    assert not keys & newer
