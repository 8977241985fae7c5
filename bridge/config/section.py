"""A section of the configuration: one table of the file, or all tables of a kind, and all that is to be known of it.

Pure. Each section is declared at the end of the file that has its value, and listed in `registry`; reading, writing,
editing and planning go over the list and know no section by name.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from bridge.config.lines import KeyPath
from bridge.config.table import Report, Table

T = TypeVar("T")
Found = Mapping[
    str, Sequence[tuple[KeyPath, Any]]
]  # the values of a file by field of Config, with their places


class Unique(NamedTuple):
    """What no two tables of a kind may have in common; blanks are passed over."""

    key: str
    identity: Callable[[Any], Hashable]
    remedy: str


@dataclass(frozen=True, slots=True)
class Section(Generic[T]):
    """What is to be known of one kind of table."""

    name: str  # of the table in the file
    field: str  # of Config
    read: Callable[[Table], T]  # problems go to the report of the table and leave their field blank
    write: Callable[[T], dict[str, object]]  # shaped like the file, absent keys None
    blank: T  # all at its default
    actions: tuple[str, str, str]  # words for what adds, changes and removes one
    subject: Callable[[T], str]  # what an action is done to
    describe: Callable[[T], str]  # what is added or removed, in a line
    removed: str = ""  # a line for what is removed, if `describe` does not fit
    at_start: bool = False  # to be carried out when a bridge starts, even if all is at its default
    fixed: Callable[[T, T], Mapping[str, tuple[object, object]]] | None = (
        None  # keys only a restart can change
    )
    # Of [[tables]] only:
    identity: Callable[[T], Hashable] | None = None  # what makes it the same one in another configuration
    label: Callable[[T], str] = str  # its name in key paths, where a file would have an index
    limit: int = 1  # how many there may be
    unique: tuple[Unique, ...] = ()
    is_changeable: Callable[[T, T], bool] = lambda before, after: True  # in place: else removed and added
    follows_port: bool = False  # removed and added when its `port` is closed and opened
    complete: Callable[[T, Found], T] | None = None  # by what sections before it say
    check: Callable[[Report, Found], None] | None = None  # against sections before it

    @property
    def is_many(self) -> bool:
        """Whether the file has [[tables]] of it."""
        return self.identity is not None

    def values(self, config: object) -> Sequence[T]:
        """Give the values of a configuration: those of the tables, or the one."""
        found = getattr(config, self.field)
        return found if self.is_many else (found,)

    def collect(self, found: Iterable[T]) -> Any:
        """Give the field of Config that these values make."""
        values = list(found)
        return tuple(sorted(values, key=self.identity)) if self.identity else values[0]  # type: ignore[arg-type]
