"""Keys: what a table may say, each declared once, on the field that keeps it.

`key(...)` is the default of a field of a dataclass, as dataclasses.field() is, and `keys` gives those of a class. What
is said there is all that is said of a key: how its value is checked and written in a file, what it is as a word of the
command line and in the help, whether only a restart changes it, and how rows show it. Reading, writing, words, plans
and rows go over the keys. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

REQUIRED = MISSING  # as a default: there is none
Check = Callable[[object], Any]  # gives the value to store; raises BadValueError


def _same(value: Any) -> Any:
    return value


def _or_absent(value: Any) -> Any:
    return None if value == "" else value


def _sorted(values: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(sorted(values))


@dataclass(frozen=True, slots=True)
class ValueType:
    """What keys of a type have in common. Of a list, `check` takes an element and gives all that it stands for."""

    check: Check
    write: Callable[[Any], object] = _or_absent  # as a file has it; None: the key is left out
    syntax: str = "NAME"  # of a word of the command line, in the help
    expected: str = "a name"  # of such a word, in messages
    read: Callable[[str], object] = str  # such a word, as a file would have it; raises ValueError or KeyError
    is_list: bool = False
    collect: Callable[[Iterable[Any]], Any] = _sorted  # a list, as the value keeps it

    def __call__(self, value: object) -> Any:
        """Check a value."""
        return self.check(value)


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a table."""

    name: str  # in a file and on the command line
    field: str  # that keeps it
    type: ValueType
    help: str = ""  # on the command line; "": it has no word there
    syntax: str = ""  # of the word, where that of the type says too little
    needs_restart: bool = False
    row: Callable[[Any], object] | None = _same  # what rows show of it; None: nothing


def key(
    default: Any,
    type: ValueType | Check,  # noqa: A002
    help: str = "",  # noqa: A002
    *,
    name: str = "",
    syntax: str = "",
    needs_restart: bool = False,
    row: Callable[[Any], object] | None = _same,
) -> Any:
    """Declare a field that a key of the table is kept in; `name` is the key's, where it is not that of the field."""
    whole = type if isinstance(type, ValueType) else ValueType(type)
    more = {"type": whole, "help": help, "syntax": syntax, "needs_restart": needs_restart, "row": row}
    return field(default=default, metadata={"key": {"name": name, **more}})


def keys(cls: Any) -> tuple[Key, ...]:
    """Give the keys of a class, in the order of its fields."""
    found = [(one, one.metadata["key"]) for one in fields(cls) if "key" in one.metadata]
    return tuple(Key(**{**said, "name": said["name"] or one.name}, field=one.name) for one, said in found)


def write_keys(value: object, of: Iterable[Key]) -> dict[str, object]:
    """Write the table that those keys were read from; those that are left out are None."""
    return {one.name: one.type.write(getattr(value, one.field)) for one in of}


def row_of(value: object, of: Iterable[Key]) -> dict[str, object]:
    """Give what rows show of those keys."""
    return {one.name: one.row(getattr(value, one.field)) for one in of if one.row}


def by_name(of: Iterable[Key]) -> Mapping[str, Key]:
    """Give keys by their names."""
    return {one.name: one for one in of}
