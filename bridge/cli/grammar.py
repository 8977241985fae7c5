"""The words after `framebridge`: matching of abbreviations, and reading of `NAME key value key value`.

The grammar is iproute2's: words may be shortened as long as they stay unique, keys come in any order. Pure.
Numbers are read here; whether they make sense is for the daemon to say, as for a file. Refuses, with
UsageError: unknown and ambiguous words, keys without a value, keys given twice, missing words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bridge.config import words


class UsageError(Exception):
    """A command line that makes no sense; exit status 2."""


def match(word: str, known: Iterable[str], what: str) -> str:
    """Find the word that is meant: exact, or the only one that begins like this."""
    known = list(known)
    spelt = word.replace("-", "_")
    found = [spelt] if spelt in known else [candidate for candidate in known if candidate.startswith(spelt)]
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(f"{what} {word!r} is ambiguous: {', '.join(found)}")
    raise UsageError(f"unknown {what} {word!r}; there are: {', '.join(known)}")


@dataclass(frozen=True, slots=True)
class Reader:
    """How the value of a key is read, and what to call it when it is something else."""

    expected: str
    read: Callable[[str], Any]

    def __call__(self, key: str, value: str) -> Any:
        """Return the value."""
        try:
            return self.read(value)
        except (ValueError, KeyError):
            raise UsageError(f"{key!r} needs {self.expected}, not {value!r}") from None


@dataclass(frozen=True, slots=True)
class Grammar:
    """What may follow a command: values in a fixed order, then keys with values and flags in any order."""

    names: Sequence[str] = ()  # values that must come first
    option: str = ""  # a value that may come after them
    keys: Mapping[str, Reader] = field(default_factory=dict)
    flags: Mapping[str, str] = field(default_factory=dict)  # word: the key it is a value of
    required: Sequence[str] = ()  # keys

    def read(self, words: Sequence[str]) -> dict[str, Any]:
        """Return the values by key."""
        if len(words) < len(self.names):
            raise UsageError(f"{self.names[len(words)].upper()} is missing")
        found: dict[str, Any] = dict(zip(self.names, words, strict=False))
        rest = list(words[len(self.names) :])
        if self.option and rest:
            found[self.option] = rest.pop(0)
        while rest:
            key, value = self._take(rest)
            if key in found:
                raise UsageError(f"{key!r} is given twice")
            found[key] = value
        if missing := next((key for key in self.required if key not in found), None):
            raise UsageError(f"{missing!r} is missing")
        return found

    def _take(self, rest: list[str]) -> tuple[str, Any]:
        word = rest.pop(0)
        if not self.keys and not self.flags:
            raise UsageError(f"one word too many: {word!r}")
        key = match(word, (*self.keys, *self.flags), "word")
        if key in self.flags:
            return self.flags[key], key
        if not rest:
            raise UsageError(f"{key!r} needs a value")
        return key, self.keys[key](key, rest.pop(0))


TEXT = Reader("a name", str)
NUMBER = Reader("a number", words.number)
