"""One command of the command line, and what most are made of: ask the daemon, show what came back.

Raises UsageError for words that make no sense, FramebridgeError for what was refused.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bridge.cli.grammar import Grammar, Reader
from bridge.control.client import Client, find_socket
from bridge.control.protocol import Message, Row
from bridge.render import table as render

Options = argparse.Namespace
Act = Callable[[Options, list[str]], int]

DEFAULT = "default"  # as a value: put the key back to what it is when nobody says anything
HELP_COLUMN = 24  # where the meaning of a key begins


@dataclass(frozen=True, slots=True)
class Command:
    """One thing `framebridge` does: `words` select it; `arguments`, `summary` and `notes` are its help."""

    words: str
    arguments: str
    summary: str
    act: Act
    notes: str = ""
    is_raw: bool = False  # has options of its own: gets everything after its word


@dataclass(frozen=True, slots=True)
class Key:
    """One word that takes a value: how that is written, what it means, and how it is read."""

    name: str
    value: str
    meaning: str
    reader: Reader

    def __str__(self) -> str:
        """Give the line or two of its help."""
        head = f"  {self.name} {self.value}"
        if len(head) >= HELP_COLUMN:
            head += "\n" + " " * HELP_COLUMN
        return f"{head:<{HELP_COLUMN}}{self.meaning}\n"


def readers(keys: Iterable[Key]) -> dict[str, Reader]:
    """Give what a Grammar takes."""
    return {key.name: key.reader for key in keys}


def settings(keys: Iterable[Key]) -> dict[str, Reader]:
    """Give the same for keys of a table, whose values may be `default`: None. Elsewhere that is a word like any."""

    def or_default(read: Callable[[str], Any]) -> Callable[[str], Any]:
        return lambda value: None if value == DEFAULT else read(value)

    return {key.name: Reader(key.reader.expected, or_default(key.reader.read)) for key in keys}


def ask(options: Options, method: str, parameters: Message | None = None) -> list[Row]:
    """Call a method of the daemon that the options choose."""
    with Client(find_socket(options.socket)) as client:
        return client.rows(method, parameters)


def show(options: Options, rows: Sequence[Row], layout: str, empty: str = "") -> None:
    """Write rows in the style that the options choose; `empty` tells people that there are none."""
    render.write(rows, layout, sys.stdout, style=options.style)
    if empty and not rows and options.style == "text":
        print(empty, file=sys.stderr)


def query(
    method: str,
    layout: str,
    grammar: Grammar | None = None,
    shape: Callable[[Message], Message] = dict,
    empty: str = "",
) -> Act:
    """Make a command: one method, called with the words that follow, whose rows are shown."""

    def act(options: Options, words: list[str]) -> int:
        parameters = shape((grammar or Grammar()).read(words))
        if options.style == "json":
            with Client(find_socket(options.socket)) as client:
                render.write_json(client.stream(method, parameters), sys.stdout)
            return 0
        nothing = empty or ("nothing to show" if layout != "lines" else "")
        show(options, ask(options, method, parameters), layout, nothing)
        return 0

    return act
