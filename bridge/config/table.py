"""Reading of configuration tables key by key, and findings that are raised together.

Pure. A check takes what TOML or JSON gave and returns the value to store, or raises BadValueError saying what was
expected (see `checks`). A `Table` applies checks to its keys, leaves out what is wrong and reports it to its `Report`,
which raises one ConfigError for all. Messages quote what the user wrote shortened and escaped, hence printable.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import cached_property
from typing import Any, TypeVar

from bridge.config.key import Key
from bridge.config.lines import KeyPath, find_line, format_path
from bridge.errors import ConfigError, Problem

T = TypeVar("T")

PROBLEMS_MAX = 200  # reported at once


class BadValueError(ValueError):
    """A value that a check refuses; the text says what was expected."""


class Report:
    """Collects findings and raises them together, in the order of the file.

    `source` is the file, `where` begins every key path, `make_lines` gives its line map when there is something to
    report; each may be missing.
    """

    def __init__(
        self, source: str = "", where: str = "", make_lines: Callable[[], Mapping[KeyPath, int]] = dict
    ) -> None:
        self._source = source
        self._where = where
        self._make_lines = make_lines
        self._problems: list[Problem] = []

    def __len__(self) -> int:
        return len(self._problems)

    @cached_property
    def _lines(self) -> Mapping[KeyPath, int]:
        return self._make_lines()

    def add(self, path: KeyPath, message: str) -> None:
        """Note a problem with the key at `path`; ConfigError if it is one too many to go on."""
        place = ".".join(part for part in (self._where, format_path(path)) if part)
        self._problems.append(Problem(place, message, find_line(self._lines, path)))
        if len(self._problems) >= PROBLEMS_MAX:
            self.raise_problems(Problem("", f"more than {PROBLEMS_MAX} problems; mend these and check again"))

    def place(self, path: KeyPath) -> str:
        """Say where a key stands, for use inside a message."""
        line = find_line(self._lines, path)
        return f"{format_path(path)} (line {line})" if line else format_path(path)

    def raise_problems(self, *last: Problem) -> None:
        """Raise ConfigError if anything was found."""
        if self._problems:
            found = sorted(self._problems, key=lambda problem: problem.line or 0)
            raise ConfigError([*found, *last], self._source)


class Table:
    """One table being read. Values of wrong type read as empty, so that the reading always goes on."""

    def __init__(self, raw: object, path: KeyPath, report: Report, *, is_present: bool = True) -> None:
        self.path = path
        self._is_present = is_present
        self.report = report
        self._known: set[str] = set()
        self._raw: Mapping[str, object] = raw if isinstance(raw, Mapping) else {}
        if not isinstance(raw, Mapping):
            report.add(path, f"expected a table, got {show(raw)}")

    def __contains__(self, key: str) -> bool:
        return key in self._raw

    def fail(self, message: str, *key: str | int) -> None:
        """Note a problem with a key of the table, or with the table."""
        self.report.add((*self.path, *key), message)

    def fields(self, keys: Iterable[Key], required: Sequence[str] = ()) -> dict[str, Any]:
        """Return the fields of those keys that are present and good; a table that is absent lacks none."""
        wanted = [*keys]
        self._known.update(key.name for key in wanted)
        for name in required if self._is_present else ():
            if name not in self:
                self.fail(f"the key {name!r} is missing; add it")
        found: dict[str, Any] = {}
        for key in wanted:
            if key.name not in self:
                continue
            if key.type.is_list:
                found[key.field] = key.type.collect(self.union(key.name, key.type) or ())
                continue
            try:
                found[key.field] = key.type(self._raw[key.name])
            except BadValueError as error:
                self.fail(str(error), key.name)
        return found

    def union(self, key: str, check: Callable[[object], Iterable[Any]]) -> set[Any] | None:
        """Return all that the elements of an array stand for; None if the key is absent."""
        self._known.add(key)
        if key not in self:
            return None
        found = _Union()
        for index, element in enumerate(self._array(key, f"write {key} = [...]")):
            try:
                found.add(check(element))
            except BadValueError as error:
                self.fail(str(error), key, index)
        return found.values()

    def table(self, key: str) -> Table:
        """Return the sub-table, an empty one if the key is absent."""
        self._known.add(key)
        raw = self._raw.get(key, {})
        return Table(raw, (*self.path, key), self.report, is_present=key in self)

    def tables(self, key: str, limit: int) -> list[Table]:
        """Return the tables of an array of tables, which are no more than `limit`."""
        self._known.add(key)
        elements = self._array(key, f"write [[{key}]] above each of its tables") if key in self else []
        if len(elements) > limit:
            self.fail(too_many(len(elements), key, limit), key, limit)
        return [
            Table(raw, (*self.path, key, index), self.report) for index, raw in enumerate(elements[:limit])
        ]

    def refuse_unknown(self) -> None:
        """Report the keys that nobody has asked for."""
        for key in self._raw:
            if key not in self._known:
                hint = did_you_mean(key, self._known) or f"; known keys: {', '.join(sorted(self._known))}"
                self.fail(f"unknown key{hint}", key)

    def _array(self, key: str, remedy: str) -> list[object]:
        value = self._raw[key]
        if isinstance(value, list):
            return value
        self.fail(f"expected an array, got {show(value)}; {remedy}", key)
        return []


class _Union:
    """Values, each of them once. Of ranges of numbers a bit a number is kept: they cost no more than their text."""

    def __init__(self) -> None:
        self._values: set[Any] = set()
        self._ranges: list[range] = []  # which have nothing in common
        self._bits = 0  # of the numbers in them

    def add(self, new: Iterable[Any]) -> None:
        """Take all of them; BadValueError if one is there already."""
        if isinstance(new, range):
            bits = (1 << len(new)) - 1 << new.start
            if both := bits & self._bits:
                raise _listed_twice((both & -both).bit_length() - 1)
            self._bits |= bits
            self._ranges.append(new)
            return
        values = {*new}
        if both_have := values & self._values:
            raise _listed_twice(min(both_have))
        self._values |= values

    def values(self) -> set[Any]:
        """Give all."""
        return self._values.union(*self._ranges)


def _listed_twice(value: object) -> BadValueError:
    return BadValueError(f"{value} is listed twice; list it once")


def too_many(count: int, what: str, limit: int) -> str:
    """Say that there are more tables of a kind than a bridge can have."""
    return f"{count} {what}s, but a bridge has at most {limit}; remove some"


def show(value: object) -> str:
    """Name any value in a message, briefly."""
    match value:
        case None | bool():
            return json.dumps(value)
        case str():
            return repr(value if len(value) <= 40 else value[:40] + "...")
        case int() if abs(value) >= 1 << 64:  # Python refuses to print numbers of thousands of digits
            return "a number beyond 64 bits"
        case int() | float():
            return str(value)
        case Mapping():
            return "a table"
        case list():
            return "an array"
        case _:
            return f"a {type(value).__name__}"


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """Return a half sentence that names the nearest known word, or nothing."""
    close = get_close_matches(word[:64], known, n=1) if isinstance(word, str) else []
    return f"; did you mean {close[0]!r}?" if close else ""


def read_alone(read: Callable[[Table], T], table: Mapping[str, object], where: str) -> T:
    """Read one table that came by itself, not in a file; `where` begins every key path. Raises ConfigError."""
    report = Report(where=where)
    value = read(Table(table, (), report))
    report.raise_problems()
    return value
