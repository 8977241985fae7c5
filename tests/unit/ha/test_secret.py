"""The secret of a pair: what is taken, and what is refused with a way out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bridge.errors import ConfigError
from bridge.ha.secret import LONGEST, SHORTEST, read_secret

GOOD = b"x" * SHORTEST


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.touch(mode=0o600)
    return path


def test_the_key_is_of_the_contents_and_white_space_around_them_is_not(file: Path) -> None:
    file.write_bytes(GOOD)
    key = read_secret(str(file))
    assert len(key) == 32
    file.write_bytes(b"\n " + GOOD + b"\r\n")
    assert read_secret(str(file)) == key
    file.write_bytes(GOOD + b"y")
    assert read_secret(str(file)) != key


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o620, 0o601, 0o644])
def test_others_may_not_even_look(file: Path, mode: int) -> None:
    file.write_bytes(GOOD)
    file.chmod(mode)
    with pytest.raises(ConfigError, match=f"has mode {mode:04o}.*chmod 0600"):
        read_secret(str(file))


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"", "has 0 bytes"),
        (b" " * 100, "has 0 bytes"),
        (GOOD[1:], "a secret has at least 16"),
        (b"x" * (LONGEST + 1), "more than"),
    ],
)
def test_what_is_no_secret(file: Path, contents: bytes, message: str) -> None:
    file.write_bytes(contents)
    with pytest.raises(ConfigError, match=message):
        read_secret(str(file))


def test_no_file_a_directory_a_fifo(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_secret(str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="no regular file"):
        read_secret(str(tmp_path))
    os.mkfifo(tmp_path / "fifo", 0o600)
    with pytest.raises(ConfigError, match="no regular file"):
        read_secret(str(tmp_path / "fifo"))


def test_a_file_of_somebody_else(file: Path) -> None:
    if os.geteuid():
        pytest.skip("only root can give a file away")
    file.write_bytes(GOOD)
    os.chown(file, 65534, -1)
    with pytest.raises(ConfigError, match="belongs to user 65534"):
        read_secret(str(file))
