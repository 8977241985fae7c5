"""One command of the command line, and what most are made of: ask the daemon, show what came back.

Raises UsageError for words that make no sense, FramebridgeError for what was refused.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bridge.cli.grammar import Grammar, Reader
from bridge.control.client import Client, find_socket
from bridge.control.protocol import Message, Row
from bridge.render import table as render

if TYPE_CHECKING:
    from bridge.config.key import Key

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
    notes: str | Callable[[], str] = ""
    is_raw: bool = False  # has options of its own: gets everything after its word

    @property
    def explanation(self) -> str:
        """The notes as text; what they need is imported now."""
        return self.notes() if callable(self.notes) else self.notes


def settings(keys: Iterable[Key], **special: Reader) -> dict[str, Reader]:
    """Give what a Grammar takes for keys of a table, where `default` is None; `special` have readers of their own."""

    def or_default(read: Callable[[str], Any]) -> Callable[[str], Any]:
        return lambda value: None if value == DEFAULT else read(value)

    readers = {key.name: special.get(key.name) or Reader(key.type.expected, key.type.read) for key in keys}
    return {name: Reader(reader.expected, or_default(reader.read)) for name, reader in readers.items()}


def explain(keys: Iterable[Key]) -> str:
    """Give the help of keys, a line or two each."""
    lines = []
    for key in keys:
        head = f"  {key.name} {key.syntax or key.type.syntax}"
        if len(head) >= HELP_COLUMN:
            head += "\n" + " " * HELP_COLUMN
        lines.append(f"{head:<{HELP_COLUMN}}{key.help}\n")
    return "".join(lines)


def ask(options: Options, method: str, parameters: Message | None = None) -> list[Row]:
    """Call a method of the daemon that the options choose."""
    with Client(find_socket(options.socket)) as client:
        return client.rows(method, parameters)


def show(options: Options, rows: Sequence[Row], layout: str, empty: str = "") -> None:
    """Write rows in the style that the options choose; `empty` tells people that there are none."""
    width = None if options.details else shutil.get_terminal_size().columns  # 80 where it is no terminal
    view = render.View(width, options.brief, options.colour)
    render.write(rows, layout, sys.stdout, style=options.style, view=view)
    if empty and not rows and options.style == "text":
        print(empty, file=sys.stderr)


def query(
    method: str,
    layout: str,
    grammar: Grammar | Callable[[], Grammar] | None = None,
    shape: Callable[[Message], Message] = dict,
    empty: str = "",
) -> Act:
    """Make a command: one method, called with the words that follow, whose rows are shown.

    A grammar that takes keys of the configuration is a function: what it needs is imported when it is asked.
    """

    def act(options: Options, words: list[str]) -> int:
        known = grammar() if callable(grammar) else grammar or Grammar()
        parameters = shape(known.read(words))
        if options.style == "json":
            with Client(find_socket(options.socket)) as client:
                render.write_json(client.stream(method, parameters), sys.stdout)
            return 0
        nothing = empty or ("nothing to show" if layout != "lines" else "")
        show(options, ask(options, method, parameters), layout, nothing)
        return 0

    return act
