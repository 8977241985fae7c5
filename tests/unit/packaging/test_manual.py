"""Manual pages and completion: every command and every key is in them, and those who read them find nothing wrong."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from bridge.cli.commands import COMMANDS
from bridge.cli.port import port_keys

ROOT = Path(__file__).parents[3]


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"framebridge_{name}", ROOT / "packaging" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


manual, completion = load("manual"), load("completion")
PAGES: dict[str, str] = manual.pages()
SCRIPTS = {"bash": "framebridge", "zsh": "_framebridge", "fish": "framebridge.fish"}


def plain(page: str) -> str:
    return re.sub(r"\\f[BIR]|\\&", "", page).replace("\\-", "-").replace("\\e", "\\")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("made")
    completion.main(place)
    manual.main(place / "man")
    (place / "bin").mkdir()
    (place / "bin/framebridge").write_text('#!/bin/sh\nprintf \'[{"port":"guests","index":1}]\'\n')
    (place / "bin/framebridge").chmod(0o755)
    return place


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} here")
    return found


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.words)
def test_every_command_is_in_the_overview_and_in_its_page(command) -> None:
    overview, page = plain(PAGES["framebridge.8"]), plain(PAGES[f"framebridge-{command.words.split()[0]}.8"])

    assert f".TP\n{command.words}\n{command.summary}\n" in overview
    assert f"framebridge {command.words} {command.arguments}".rstrip() + "\n" in page
    for line in filter(str.strip, command.explanation.splitlines()):
        assert line in page


def test_every_key_of_the_file_is_in_its_page() -> None:
    source = (ROOT / "docs/configuration.md").read_text()  # which has a row for every key, says its own test
    rows = re.findall(r"^\| (`.*?) \|", source, re.M)
    page = plain(PAGES["framebridge.toml.5"])

    assert len(rows) > 80
    for row in rows:
        assert f".TP\n{row.replace('`', '')}\n" in page
    for heading in re.findall(r"^#{2,} (.*)$", source, re.M):
        assert f"{heading.replace('`', '')}\n" in page


@pytest.mark.parametrize("name", PAGES)
def test_a_page_renders_without_a_warning(name: str, made: Path) -> None:
    words = ("-man", "-ww", "-Kutf8", "-Tutf8", str(made / "man" / name))

    done = subprocess.run([tool("groff"), *words], capture_output=True, text=True, timeout=60)

    assert (done.returncode, done.stderr) == (0, "")
    assert "SEE ALSO" in re.sub(".\b", "", done.stdout)  # bold is struck twice


@pytest.mark.parametrize("name", PAGES)
def test_mandoc_takes_it_too(name: str, made: Path) -> None:
    words = ("-T", "lint", "-W", "warning", str(made / "man" / name))

    said = subprocess.run([tool("mandoc"), *words], capture_output=True, text=True, timeout=60).stdout

    assert [line for line in said.splitlines() if "missing date" not in line] == []


def test_what_is_code_or_a_link_on_the_page_of_origin_is_bold_or_plain() -> None:
    assert manual.inline("`a-b` of [the `x` page](y.md#z), *restart*") == (
        r"\fBa\-b\fR of the \fBx\fR page, \fIrestart\fR"
    )
    assert manual.inline(".5 `a\\b`") == r"\&.5 \fBa\eb\fR"


# -- completion


@pytest.mark.parametrize("shell", SCRIPTS)
def test_the_shell_takes_the_script(shell: str, made: Path) -> None:
    done = subprocess.run(
        [tool(shell), "-n", str(made / SCRIPTS[shell])], capture_output=True, text=True, timeout=60
    )

    assert (done.returncode, done.stderr) == (0, "")


def by_bash(made: Path, *words: str) -> set[str]:
    script = (
        'source "$0"; COMP_WORDS=(framebridge "$@"); COMP_CWORD=$#; compopt() { :; }; _framebridge; '
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    command = [tool("bash"), "-c", script, str(made / SCRIPTS["bash"]), *words]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=made,
        env={"PATH": f"{made / 'bin'}:/usr/bin:/bin"},
    )
    assert done.stderr == ""
    return {*done.stdout.split("\n")} - {""}


def by_fish(made: Path, *words: str) -> set[str]:
    line = "framebridge " + " ".join(words)
    script = f"source {made / SCRIPTS['fish']}; complete -C '{line}'"
    env = {"PATH": f"{made / 'bin'}:/usr/bin:/bin", "HOME": str(made)}
    done = subprocess.run(
        [tool("fish"), "-N", "-c", script], capture_output=True, text=True, timeout=60, cwd=made, env=env
    )
    assert done.stderr == ""
    return {word.partition("\t")[0] for word in done.stdout.splitlines()}


SHELLS = pytest.mark.parametrize("ask", [by_bash, by_fish], ids=["bash", "fish"])


@SHELLS
def test_objects_commands_keys_and_choices(ask, made: Path) -> None:
    objects = {command.words.split()[0] for command in COMMANDS}

    assert ask(made, "") == objects
    assert ask(made, "fd") == {"fdb"}
    assert ask(made, "-s", "x.sock", "fd") == {"fdb"}
    assert ask(made, "fdb", "") == {*completion.tree()["fdb"]} >= {"show", "add", "del", "flush", "age"}
    assert {"static", "sticky", "drop", "dynamic", "vlan", "port"} <= ask(
        made, "fdb", "add", "02:00:00:00:00:01", ""
    )
    assert {*port_keys()} <= ask(made, "port", "add", "guests", "")
    assert ask(made, "port", "add", "guests", "kind", "") >= {"tap", "link", "memory"}
    assert {"on", "off"} <= ask(made, "port", "set", "guests", "isolated", "")
    assert "framebridge" in ask(made, "check", "fr")  # a file
    assert ask(made, "port", "del", "") == {"guests"}  # those of the daemon
    assert ask(made, "version", "") == set()


def test_every_command_is_completed(made: Path) -> None:
    for name, verbs in completion.tree().items():
        assert ("" in verbs) == any(command.words == name for command in COMMANDS)
        if "" not in verbs:
            assert by_bash(made, name, "") == {*verbs}


def test_every_word_of_a_usage_is_offered() -> None:
    for command in COMMANDS:
        spoken = re.findall(r"(?<![A-Za-z-])[a-z][a-z_]+(?![a-z.])", command.arguments)
        assert {*spoken} <= {*completion.follows(command).words}
