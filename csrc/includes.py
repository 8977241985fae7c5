"""Check the #includes of csrc/: arrows between folders go down only, and nowhere is a circle.

    python csrc/includes.py [FOLDER]

Job: the order of the layers, declared once (LAYERS), and a line for each #include that breaks it: `file:line: what is
wrong`. Exit status 1: there is one. `make lint` runs it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

# From the top down. A file includes headers of its own folder and of those below.
LAYERS = (
    "thread",
    "pipeline",
    "mirror",
    "account",
    "protect",
    "multicast",
    "batch",
    "snapshot",
    "port",
    "fdb",
    "offload",
    "ha",
    "frame",
    "count",
)

INCLUDE = re.compile(r'\s*#\s*include\s*"([^"]*)"')


def includes(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line number and the name of each header that a file includes with quotation marks."""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if found := INCLUDE.match(line):
            yield number, found[1]


def wrong(root: Path, folder: str, header: str) -> str | None:
    """Say what is wrong with a file of `folder` that includes `header`, if anything is."""
    if not (root / header).is_file():
        return f'no "{header}" in {root.name}/ (a header is named by its folder and file)'
    target = header.split("/")[0]
    if target in LAYERS and LAYERS.index(target) < LAYERS.index(folder):
        return f'"{header}": {target}/ is above {folder}/'
    return None


def circle(graph: dict[str, list[str]]) -> list[str] | None:
    """Return the files of one circle of includes, the first one again at the end; None: there is none."""
    done: set[str] = set()

    def follow(file: str, way: list[str]) -> list[str] | None:
        if file in way:
            return [*way[way.index(file) :], file]
        if file in done:
            return None
        for header in graph.get(file, ()):
            if found := follow(header, [*way, file]):
                return found
        done.add(file)
        return None

    return next((found for file in sorted(graph) if (found := follow(file, []))), None)


def faults(root: Path) -> Iterator[str]:
    """Yield a line for everything in a tree of folders of C files that breaks the order."""
    graph: dict[str, list[str]] = {}
    for path in sorted(root.glob("**/*.[ch]")):
        name = path.relative_to(root).as_posix()
        folder, _, rest = name.partition("/")
        if folder not in LAYERS or not rest or "/" in rest:
            yield f"{root.name}/{name}: is in no layer; the layers are {', '.join(LAYERS)} (csrc/includes.py)"
            continue
        graph[name] = [header for _, header in includes(path)]
        for number, header in includes(path):
            if text := wrong(root, folder, header):
                yield f"{root.name}/{name}:{number}: {text}"
    if found := circle(graph):
        yield f"{root.name}: a circle: {' includes '.join(found)}"


def main() -> int:
    """Check the folder of the command line, or the one this file is in."""
    root = Path(sys.argv[1] if len(sys.argv) > 1 else __file__)
    lines = list(faults(root if root.is_dir() else root.resolve().parent))
    for line in lines:
        print(line, file=sys.stderr)
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
