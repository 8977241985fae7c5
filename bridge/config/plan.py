"""What has to be done to get from one configuration to another: a pure diff.

`plan(old, new)` orders actions as removals, changes, additions. After every single action no device is in two
ports, and every entry is on an open port that carries its VLAN. That is why entries leave before their port
does and come after it, also when the port is only closed and opened again. Each action has an inverse: the
inverses in reverse order undo a plan, and plan(b, a) undoes plan(a, b).

Refuses, with ConfigError, changes that only a restart can make.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bridge.config.actions import Action
from bridge.config.registry import SECTIONS
from bridge.config.section import Section
from bridge.config.whole import Config
from bridge.errors import ConfigError, Problem


def plan(old: Config | None, new: Config) -> tuple[Action, ...]:
    """Return the actions that turn `old` (None: nothing is running yet) into `new`, in order."""
    if old is not None:
        _refuse_restart(old, new)
    changes: list[list[Action]] = []  # by section
    closed: set[str] = set()  # ports
    for section in SECTIONS:
        changes.append([*_changes(section, old, new, closed)])
        closed |= {one.subject for one in changes[-1] if one.kind == "close_port"}
    return (
        *(one for actions in reversed(changes) for one in actions if one.after is None),
        *(one for actions in changes for one in actions if one.before is not None and one.after is not None),
        *(one for actions in changes for one in actions if one.before is None),
    )


def _changes(section: Section[Any], old: Config | None, new: Config, closed: set[str]) -> Iterator[Action]:
    """Yield what differs; what is not changeable in place is removed and added."""
    if old is None and section.at_start:
        yield Action(None, *section.values(new))
        return

    def identity(value: Any) -> object:
        return section.identity(value) if section.identity else None

    was = {identity(value): value for value in section.values(old or Config())}
    becomes = {identity(value): value for value in section.values(new)}
    for key in was | becomes:
        before, after = was.get(key), becomes.get(key)
        is_lost = section.follows_port and before is not None and before.port in closed
        if before is not None and after is not None and (is_lost or not section.is_changeable(before, after)):
            yield Action(before, None)
            yield Action(None, after)
        elif before != after:
            yield Action(before, after)


def _refuse_restart(old: Config, new: Config) -> None:
    problems = [
        Problem(
            f"{section.name}.{key}",
            f"only a restart can change {before} to {after}; restart, or put {before} back",
        )
        for section in SECTIONS
        if section.fixed
        for key, (before, after) in section.fixed(*section.values(old), *section.values(new)).items()
        if before != after
    ]
    if problems:
        raise ConfigError(problems)
