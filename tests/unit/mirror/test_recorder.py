"""Recorders and the files they find: what is there is not harmed, and no file is written by two."""

from __future__ import annotations

import shutil
import subprocess
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import pcapng
from helpers.net import wait_until

from bridge.errors import MirrorError
from bridge.mirror.recorder import Recorder


def record(path: Path | str, *, files: int = 1, replace: bool = False) -> Recorder:
    recorder = Recorder(str(path), lambda: None)
    recorder.open(size=1 << 20, files=files, replace=replace)
    return recorder


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def refusal(path: Path | str, **how: int) -> str:
    with pytest.raises(MirrorError) as caught:
        record(path, **how)
    return str(caught.value)


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    recorder = record(tmp_path / "file")
    yield recorder
    recorder.close()
    assert pcapng.read((tmp_path / "file").read_bytes()) == pcapng.File([], [], {})


def test_rotation_moves_files_and_nothing_else(tmp_path: Path) -> None:
    for name in ("file", "file.1", "file.2"):
        (tmp_path / name).write_text(name)
    record(tmp_path / "file", files=3).close()
    assert names(tmp_path) == ["file", "file.1", "file.2"]
    assert [(tmp_path / name).read_text() for name in ("file.1", "file.2")] == ["file", "file.1"]


@pytest.mark.parametrize("place", ["file", "file.1", "file.2"])
def test_rotation_does_not_move_what_is_no_file(tmp_path: Path, place: str) -> None:
    """A directory, or a link to something dear, stays where it is, and so does what would have moved before it."""
    (tmp_path / "file").write_text("file")
    (tmp_path / "dear").write_text("dear")
    for make in (Path.mkdir, lambda path: path.symlink_to("dear")):
        (tmp_path / place).unlink(missing_ok=True)
        make(tmp_path / place)
        before = names(tmp_path)
        assert f"{place}: is " in refusal(tmp_path / "file", files=3)
        assert names(tmp_path) == before
        if (tmp_path / place).is_dir():
            (tmp_path / place).rmdir()
    assert (tmp_path / "dear").read_text() == "dear"


@pytest.mark.parametrize("how", [{"replace": True}, {"files": 2}], ids=["replace", "files"])
@pytest.mark.parametrize("alias", ["file", ".//file", "hard", "sub/file"])
def test_a_file_is_written_by_one_only(
    tmp_path: Path, recorder: Recorder, how: dict[str, int], alias: str
) -> None:
    """Under whatever name: both would write over each other."""
    (tmp_path / "hard").hardlink_to(tmp_path / "file")
    (tmp_path / "sub").symlink_to(tmp_path)
    assert "a mirror is writing to it; end that one first" in refusal(f"{tmp_path}/{alias}", **how)
    assert recorder.state == "recording"


def test_when_it_is_ended_the_next_may_write(tmp_path: Path) -> None:
    record(tmp_path / "file").close()
    record(tmp_path / "file", replace=True).close()


def test_a_refused_file_is_not_held(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("dear")
    assert "has 4 bytes in it" in refusal(tmp_path / "file")
    record(tmp_path / "file", replace=True).close()


def test_a_recorder_that_never_began_is_gone_at_once(tmp_path: Path) -> None:
    """It has a ring of 4 MiB, and clients may be refused as often as they like."""
    recorder = Recorder(str(tmp_path), lambda: None)
    gone = weakref.ref(recorder)
    with pytest.raises(MirrorError, match="is no regular file"):
        recorder.open(size=1 << 20, files=1, replace=False)
    del recorder
    assert gone() is None


@pytest.mark.parametrize("files", [1, 3])
def test_a_file_without_a_packet_describes_its_ports(tmp_path: Path, files: int) -> None:
    """Readers refuse a file without any interface."""
    recorder = record(tmp_path / "file", files=files)
    recorder.set_names({0: "a", 1: "b", 2: "ids"}, [0, 1])
    wait_until(
        lambda: pcapng.read((tmp_path / "file").read_bytes()).interfaces == ["a", "b"], "the interfaces"
    )
    recorder.set_names({0: "c", 3: "d"}, [0, 1, 3])
    wait_until(lambda: pcapng.read((tmp_path / "file").read_bytes()).interfaces[2:] == ["c", "d"], "new ones")
    recorder.close()

    found = pcapng.read((tmp_path / "file").read_bytes())
    assert found.packets == []
    assert sorted(found.statistics) == [0, 1, 2, 3]
    if shutil.which("tcpdump"):
        done = subprocess.run(
            ["tcpdump", "-r", tmp_path / "file"], capture_output=True, text=True, check=False, timeout=60
        )
        assert (done.returncode, done.stdout) == (0, "")
