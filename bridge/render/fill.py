"""Help texts in the width that a terminal has. Pure.

Lines that begin at the margin and follow one another are a paragraph and are filled anew. A line that is indented stays
one, and where it is too long it goes on below its last column: what stands behind two or more blanks. Lines to be
copied into a shell (`  framebridge ...`) stay whole, and a usage hangs by four.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator

COLUMN = re.compile(r"\S {2,}(?=\S)")  # the end of a column of a line
USAGE = re.compile(r"(usage: )?framebridge \[")
WIDTH_MIN = 40


def fill(text: str, width: int) -> str:
    """Fit a text to a width, 40 at least."""
    width = max(width, WIDTH_MIN)
    return "".join(f"{line}\n" for block in _blocks(text) for line in _filled(block, width))


def _blocks(text: str) -> Iterator[str]:
    """Give paragraphs as one line each, all other lines as they are."""
    paragraph: list[str] = []
    for line in text.splitlines():
        if line and not line[0].isspace() and not COLUMN.search(line) and not USAGE.match(line):
            paragraph.append(line)
            continue
        if paragraph:
            yield " ".join(paragraph)
            paragraph = []
        yield line
    if paragraph:
        yield " ".join(paragraph)


def _filled(line: str, width: int) -> list[str]:
    if len(line) <= width or line.startswith("  framebridge "):
        return [line]
    columns = [match.end() for match in COLUMN.finditer(line)]
    indent = max((at for at in columns if at < width // 2), default=len(line) - len(line.lstrip()) + 4)
    if not columns and not line[0].isspace():
        indent = 4 if USAGE.match(line) else 0
    return textwrap.wrap(
        line,
        width,
        initial_indent="",
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
        replace_whitespace=False,
        tabsize=1,
    )
