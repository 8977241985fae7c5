"""Where files of mirrors may lie: no link leads out, nothing of the kernel or of somebody else is written."""

from __future__ import annotations

import errno
import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.errors import MirrorError
from bridge.mirror import place as module
from bridge.mirror.place import Place
from bridge.mirror.recorder import Recorder

NOBODY = 65534


@pytest.fixture(params=["openat2", "without openat2", "openat2 forbidden"], autouse=True)
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """All holds with the system call and without it."""
    if request.param != "openat2":
        number = errno.ENOSYS if request.param == "without openat2" else errno.EPERM

        def fail(base: int, way: str) -> int:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(module, "_openat2", fail)


@pytest.fixture
def captures(tmp_path: Path) -> Path:
    directory = tmp_path / "captures"
    (directory / "sub" / "deep").mkdir(parents=True)
    return directory


def record(path: Path, beneath: Path | str = "", *, files: int = 1, replace: bool = False) -> None:
    """Open a file, write what a file begins with, end it."""
    recorder = Recorder(str(path), lambda: None, beneath=str(beneath))
    recorder.open(size=1 << 20, files=files, replace=replace)
    recorder.close()


def refusal(path: Path, beneath: Path | str = "", **how: int) -> str:
    with pytest.raises(MirrorError) as caught:
        record(path, beneath, **how)
    assert str(path) in str(caught.value)
    return str(caught.value)


def descriptors() -> set[tuple[str, str]]:
    """Number and target of each that is open now; that of the directory listed here is none."""
    listed = Path("/proc/self/fd")
    return {(entry.name, str(entry.readlink())) for entry in listed.iterdir() if entry.is_symlink()}


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    gc.collect()  # what earlier tests left to the collector is not ours
    before = descriptors()
    yield
    gc.collect()  # tracebacks hold refused recorders, and these their rings
    assert descriptors() <= before


@pytest.mark.parametrize("name", ["file", "sub/file", "sub/deep/file"])
def test_files_lie_beneath(captures: Path, name: str) -> None:
    record(captures / name, captures)
    assert (captures / name).stat().st_mode & 0o7777 == 0o600
    record(captures / name, captures, files=2)
    assert (captures / f"{name}.1").stat().st_size > 0


def test_the_directory_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    record(tmp_path / "var" / "captures" / "file", tmp_path / "var" / "captures")
    assert (tmp_path / "var" / "captures").stat().st_mode & 0o7777 == 0o700


@pytest.mark.parametrize("target", ["../outside", "/", "deep", "."], ids=["out", "root", "inside", "itself"])
@pytest.mark.parametrize("name", ["link/file", "sub/link/file", "link/deep/file"])
def test_no_link_is_followed_on_the_way(captures: Path, name: str, target: str) -> None:
    (captures.parent / "outside" / "deep").mkdir(parents=True)
    link = captures / name[: name.index("link") + 4]
    link.symlink_to(target if target != "/" else captures.parent / "outside")
    assert "is a link or none" in refusal(captures / name, captures, replace=True)
    assert [path for path in captures.parent.rglob("file*") if not path.is_dir()] == []


def test_a_file_on_the_way_or_nothing_at_all(captures: Path) -> None:
    (captures / "file").write_text("dear")
    assert "is a link or none" in refusal(captures / "file" / "x", captures)
    assert "No such file or directory" in refusal(captures / "none" / "x", captures)
    assert (captures / "file").read_text() == "dear"


def test_the_directory_is_the_one_that_was_entered(captures: Path) -> None:
    """Whoever puts a link in its place afterwards, when the next file of a rotation is due, gets nothing."""
    place = Place(str(captures / "sub" / "file"), str(captures))
    place.enter()
    try:
        (captures / "sub").rename(captures / "moved")
        (captures.parent / "outside").mkdir()
        (captures / "sub").symlink_to("../outside")
        os.close(place.open())
        (captures.parent / "outside" / "file").write_text("dear")
        place.shift(3)
    finally:
        place.leave()
    assert [path.name for path in (captures / "moved").iterdir() if path.name != "deep"] == ["file.1"]
    assert [path.name for path in (captures.parent / "outside").iterdir()] == ["file"]


@pytest.mark.parametrize("how", [{"replace": True}, {"files": 2}], ids=["replace", "files"])
@pytest.mark.parametrize("path", ["/proc/self/comm", "/proc/self/framebridge", "/sys/framebridge"])
def test_what_belongs_to_the_kernel_is_no_file(path: str, how: dict[str, int]) -> None:
    before = Path("/proc/self/comm").read_text()
    assert "is no regular file but one of the kernel" in refusal(Path(path), **how)
    assert Path("/proc/self/comm").read_text() == before


def test_a_directory_of_the_kernel_is_none_for_captures() -> None:
    assert "(proc)" in refusal(Path("/proc/self/comm"), "/proc/self", replace=True)


@pytest.mark.root
@pytest.mark.parametrize("mode", [0o1777, 0o755], ids=["sticky", "plain"])
@pytest.mark.parametrize("how", [{"replace": True}, {"files": 2}], ids=["replace", "files"])
@pytest.mark.parametrize("size", [0, 4])
def test_the_file_of_another_user_is_not_taken(
    captures: Path, mode: int, how: dict[str, int], size: int
) -> None:
    captures.chmod(mode)
    file = captures / "file"
    file.write_text("dear"[:size])
    os.chown(file, NOBODY, NOBODY)
    for beneath in ("", captures):
        assert f"belongs to user {NOBODY}" in refusal(file, beneath, **how)
    assert file.read_text() == "dear"[:size]
    assert file.stat().st_uid == NOBODY


def test_a_file_with_a_second_name_is_not_emptied(captures: Path) -> None:
    (captures.parent / "dear").write_text("dear")
    (captures / "file").hardlink_to(captures.parent / "dear")
    assert "2 names" in refusal(captures / "file", captures, replace=True)
    record(captures / "file", captures, files=2)  # is moved away, not written to
    assert (captures.parent / "dear").read_text() == "dear"


@pytest.mark.parametrize("name", ["file", "file.1"])
def test_links_fifos_and_directories_are_no_files(captures: Path, name: str) -> None:
    (captures.parent / "dear").write_text("dear")
    (captures / "file").write_text("file")
    for make in (lambda path: path.symlink_to("../dear"), os.mkfifo, Path.mkdir):
        (captures / name).unlink(missing_ok=True)
        make(captures / name)
        assert f"{name}: is " in str(refusal_of_any(captures / "file", captures, files=2))
        if (captures / name).is_dir():
            (captures / name).rmdir()
    assert (captures.parent / "dear").read_text() == "dear"


def refusal_of_any(path: Path, beneath: Path, **how: int) -> MirrorError:
    with pytest.raises(MirrorError) as caught:
        record(path, beneath, **how)
    return caught.value


def test_another_place_of_the_configuration_file_may_lie_behind_links(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    record(tmp_path / "link" / "file")
    assert (tmp_path / "real" / "file").stat().st_size > 0
