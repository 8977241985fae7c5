"""What the pages print: commands are done on a bridge with the ports of the pages, tables are taken as they stand."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.control import Served, served, write_config

from bridge.cli.main import main
from bridge.config.document import parse
from bridge.errors import ConfigError

ROOT = Path(__file__).parents[3]
PAGES = [
    "README.md",
    "docs/hardening.md",
    "docs/mirrors.md",
    "docs/multicast.md",
    "docs/port-security.md",
    "docs/protection.md",
]
ENDLESS = {"run", "top", "monitor", "lab"}
OF_FILES = {"check", "reload"}  # of the reader's
SHORTENED = {"the key 'kind' is missing; add it"} | {  # a table that shows one key leaves these out
    "write exactly one of access = VID, tunnel = VID, trunk = [VID, ...] or mirror = true"
}


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), re.S)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    with served(write_config(tmp_path)) as running:
        monkeypatch.setenv("FRAMEBRIDGE_SOCKET", running.path)
        yield running


@pytest.mark.parametrize("page", PAGES)
def test_commands_of_the_pages_are_done(
    page: str, server: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    found = [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("framebridge ")]
    assert found
    for words in found:
        if words[0] not in ENDLESS | OF_FILES:
            assert main(words) == 0, f"{page}: {words}: {capsys.readouterr().err}"


HABITS = re.findall(r"^\| `.*?` \| `framebridge (.*?)` \|$", (ROOT / "docs" / "habits.md").read_text(), re.M)


@pytest.mark.parametrize("line", dict.fromkeys(HABITS))
def test_each_habit_has_a_counterpart_that_works(
    line: str, server: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    words = line.split()
    if words[:3] == ["port", "del", "guests2"]:
        assert main(["port", "add", "guests2", "kind", "memory", "access", "20"]) == 0
    if words[0] == "fdb":
        assert main(["fdb", "add", "02:00:00:00:00:01", "vlan", "10", "port", "guests", "static"]) == 0
    if words[0] not in ENDLESS:
        assert main(words) == 0, capsys.readouterr().err


def test_all_rows_of_the_habits_are_tried() -> None:
    rows = [row for row in (ROOT / "docs" / "habits.md").read_text().splitlines() if row.startswith("| `")]
    assert len(HABITS) == len(rows) > 40


@pytest.mark.parametrize("page", PAGES)
def test_tables_of_the_pages_are_taken(page: str) -> None:
    found = blocks(page, "toml")
    assert found
    for text in found:
        assert flaws(text) <= SHORTENED, f"{page}: {text}"


def flaws(text: str) -> set[str]:
    try:
        parse(text)
    except ConfigError as error:
        return {problem.message for problem in error.problems}
    return set()
