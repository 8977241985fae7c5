"""What the layers of import-linter do not see: private names across packages, port kinds compared, the picture."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.config.kinds import KINDS
from bridge.ports.kinds import OPENERS

ROOT = Path(__file__).parents[2]
FILES = sorted(ROOT.glob("bridge/**/*.py"))
EXTENSION = "bridge.core._core"  # the module is private by its name, its classes are not
NAMED_TUPLE = {"_make", "_replace", "_asdict", "_fields"}  # public in spite of their names


def package(path: Path) -> str:
    """`bridge.fdb` for a file of that package; a leaf is a package of its own."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:2])


def is_foreign(module: str, path: Path) -> bool:
    return module.startswith("bridge") and not f"{module}.".startswith(f"{package(path)}.")


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in NAMED_TUPLE


def foreign_names(path: Path, tree: ast.AST) -> Iterator[str]:
    """Private names that a file takes from another package: imported, or as an attribute of what is imported."""
    foreign = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and is_foreign(module := node.module or "", path):
            foreign |= {alias.asname or alias.name for alias in node.names}
            names = [alias.name for alias in node.names if f"{module}.{alias.name}" != EXTENSION]
            yield from (f"{module}.{name}" for name in names if is_private(name))
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=name), attr=attr) if name in foreign and is_private(attr):
                yield f"{name}.{attr}"


def compared_kinds(tree: ast.AST) -> Iterator[str]:
    """Names of port kinds that something is compared with."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            if any(
                isinstance(side, ast.Attribute | ast.Name) and ast.unparse(side).endswith("kind")
                for side in sides
            ):
                constants = [one for side in sides for one in ast.walk(side) if isinstance(one, ast.Constant)]
                yield from (str(one.value) for one in constants if one.value in KINDS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_private_name_is_taken_across_packages_and_no_port_kind_compared(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert [*foreign_names(path, tree)] == []
    if package(path) != "bridge.devices":  # there `kind` is the kernel's word for a device
        assert [*compared_kinds(tree)] == []


def test_the_checks_see_what_they_are_for() -> None:
    source = """
from bridge.fdb.known import _call
from bridge.fdb import known
def f(port): return known._log, port.kind == "tap", port.config.kind in ("link", "x")
"""
    tree = ast.parse(source)
    elsewhere = ROOT / "bridge/ports/table.py"
    assert [*foreign_names(elsewhere, tree)] == ["bridge.fdb.known._call", "known._log"]
    assert [*compared_kinds(tree)] == ["tap", "link"]


def test_every_port_kind_can_be_opened() -> None:
    assert OPENERS.keys() == KINDS.keys()


def picture() -> list[str]:
    """The lines of docs/architecture.md that show the packages of bridge/, from the top down."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    return re.findall(r"```\n(.*?)```", page.split("`bridge/`, from the top down.")[1], re.S)[0].splitlines()


def layers() -> list[list[str]]:
    """The layers that import-linter holds, as far as they exist, from the top down."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    found = [re.findall(r"\w+", layer) for layer in contracts[0]["layers"]]
    return [[name for name in layer if list(ROOT.glob(f"bridge/{name}*"))] for layer in found]


def test_the_picture_shows_the_layers_that_are_checked() -> None:
    lines = picture()
    shown = {}
    for layer in layers():
        for name in layer:
            word = re.compile(rf"\b{name}\b/?")
            shown[name] = next((i for i, line in enumerate(lines) if word.search(line)), -1)
    assert [name for name, line in shown.items() if line < 0] == []
    heights = [max(shown[name] for name in layer) for layer in layers() if layer]
    assert heights == sorted(heights)


def test_the_page_has_every_folder_of_csrc() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    folders = {path.name for path in (ROOT / "csrc").iterdir() if path.is_dir()}
    assert {name for name in folders if f"| `{name}/` |" not in page} == set()
