"""What tomllib does not say of a TOML document: where each key stands, and whether it is too deep to be read.

Pure. A key path is a tuple of keys and array indexes: `("port", 1, "vlan", "access")` is written
`port[1].vlan.access`. Lines count from 1. The grammar is TOML 1.0.

Work and memory of tomllib and of `line_map` grow with the square of the depth of a path: 20,000 dots in a header come
to two gigabytes. So `too_deep` is asked first; it takes any text and one pass. `line_map` takes what tomllib accepts.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import NamedTuple

KeyPath = tuple[str | int, ...]

# The body of a multi-line string holds at most two quotes in a row, so the first three end it, and up to two
# quotes before the closing three belong to the string.
_TOKEN = re.compile(
    r'(?P<string>"""(?:\\.|[^\\])*?"{3,5}'
    r"|'''.*?'{3,5}"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*')"
    r"|(?P<bare>[A-Za-z0-9_-]+)"
    r"|(?P<comment>#[^\n]*)"
    r"|(?P<space>[ \t]+)"
    r"|(?P<mark>.)",
    re.DOTALL,
)
# What can open, close or separate, in any text. Possessive: a string that does not end is found out in one pass.
_STEP = re.compile(
    r'"""(?:[^"\\]++|\\.|"{1,2}(?!"))*+"{3,5}'
    r"|'''(?:[^']++|'{1,2}(?!'))*+'{3,5}"
    r'|"(?:[^"\\\n]++|\\.)*+"'
    r"|'[^'\n]*+'"
    r"|#[^\n]*+"
    r"|[\[\]{}.,=\n\"']",
    re.DOTALL,
)
KEYS_MAX = 8  # of a dotted key
DEPTH_MAX = 16  # of brackets in brackets
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_END_OF_SCALAR = frozenset({",", "]", "}", "\n", ""})


class _Token(NamedTuple):
    text: str
    line: int


def too_deep(text: str) -> tuple[int, str] | None:
    """Return line and description of the first thing in any text that is nested deeper than anything needs."""
    line, dots, depth = 1, 0, 0
    for match in _STEP.finditer(text):
        step = match[0]
        if step == ".":
            dots += 1
            if dots >= KEYS_MAX:
                return line, f"a key of more than {KEYS_MAX} parts; nothing here needs more than three"
        elif step in "[{":
            dots, depth = 0, depth + 1
            if depth > DEPTH_MAX:
                return line, "arrays or tables are nested too deeply; nothing here needs more than three"
        elif step in "]},=\n":
            dots = 0
            depth -= step in "]}" and depth > 0
            line += step == "\n"
        elif step in "\"'":
            return None  # a string that does not end, which tomllib says better
        else:
            line += step.count("\n")
    return None


def line_map(text: str) -> dict[KeyPath, int]:
    """Return the line of every table, key and array element of the document."""
    return _Scanner(text.replace("\r\n", "\n")).document()


def find_line(lines: Mapping[KeyPath, int], path: KeyPath) -> int | None:
    """Return the line of `path`, or of the nearest table around it if the file does not have that key."""
    for length in range(len(path), 0, -1):
        if (line := lines.get(path[:length])) is not None:
            return line
    return None


def format_path(path: KeyPath) -> str:
    """Write a key path as a user would: `port[1].vlan.access`, keys quoted where TOML needs it."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            key = part if _BARE.fullmatch(part) else json.dumps(part)
            text += f".{key}" if text else key
    return text


def error_line(error: ValueError, text: str) -> int | None:
    """Return the line that a TOMLDecodeError tells; before Python 3.14 it stands in the message only."""
    if match := re.search(r"\(at line (\d+), column \d+\)$", str(error)):
        return int(match[1])
    return text.count("\n") + 1 if str(error).endswith("(at end of document)") else None


def _tokens(text: str) -> Iterator[_Token]:
    """Split into tokens, without blanks and comments; the last one is empty."""
    line = 1
    for match in _TOKEN.finditer(text):
        if match.lastgroup not in ("space", "comment"):
            yield _Token(match[0], line)
        line += match[0].count("\n")
    yield _Token("", line)


class _Scanner:
    """One pass over a document, one method per production of the grammar."""

    def __init__(self, text: str) -> None:
        self.lines: dict[KeyPath, int] = {}
        self._rest = _tokens(text)
        self._next = next(self._rest)
        self._last_index: dict[KeyPath, int] = {}  # of each array of tables

    def document(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        while self._next.text:
            if self._skip("\n"):
                continue
            if self._skip("["):
                table = self._header()
            else:
                self._assignment(table)
        return self.lines

    def _header(self) -> KeyPath:
        is_array = self._skip("[")
        line = self._next.line
        *parents, last = self._dotted_key()
        path: KeyPath = ()
        for key in parents:
            path = self._newest(self._note((*path, key), line))
        path = self._note((*path, last), line)
        if is_array:
            self._last_index[path] = self._last_index.get(path, -1) + 1
            path = self._note(self._newest(path), line)
        while self._skip("]"):
            pass
        return path

    def _newest(self, path: KeyPath) -> KeyPath:
        """Step into the newest element if `path` is an array of tables."""
        return (*path, self._last_index[path]) if path in self._last_index else path

    def _assignment(self, table: KeyPath) -> None:
        line = self._next.line
        path = table
        for key in self._dotted_key():
            path = self._note((*path, key), line)
        self._skip("=")
        self._value(path)

    def _value(self, path: KeyPath) -> None:
        if self._skip("["):
            self._array(path)
        elif self._skip("{"):
            self._inline_table(path)
        else:
            while self._next.text not in _END_OF_SCALAR:
                self._advance()

    def _array(self, path: KeyPath) -> None:
        index = 0
        while self._inside("]"):
            self._value(self._note((*path, index), self._next.line))
            index += 1

    def _inline_table(self, path: KeyPath) -> None:
        while self._inside("}"):
            self._assignment(path)

    def _inside(self, closing: str) -> bool:
        """Skip what separates elements; False, with `closing` taken, at the end."""
        while self._skip("\n") or self._skip(","):
            pass
        return bool(self._next.text) and not self._skip(closing)

    def _dotted_key(self) -> list[str]:
        keys = [self._key()]
        while self._skip("."):
            keys.append(self._key())
        return keys

    def _key(self) -> str:
        text = self._advance()
        if text[:1] in ("'", '"'):
            return str(tomllib.loads(f"key = {text}")["key"])
        return text

    def _note(self, path: KeyPath, line: int) -> KeyPath:
        self.lines.setdefault(path, line)
        return path

    def _skip(self, text: str) -> bool:
        if self._next.text != text:
            return False
        self._advance()
        return True

    def _advance(self) -> str:
        text = self._next.text
        self._next = next(self._rest, self._next)
        return text
