"""Steps from one configuration to another, and how they are reported to people. Pure.

An `Action` says what a value was and what it becomes; the engine carries it out by its kind.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from bridge.config.port import PortConfig
from bridge.config.registry import BY_TYPE
from bridge.config.section import Section
from bridge.config.text import difference


@dataclass(frozen=True, slots=True)
class Action:
    """One step: `before` becomes `after`, None standing for absence; both are values of one section."""

    before: Any
    after: Any

    @property
    def section(self) -> Section[Any]:
        """What kind of table it is about."""
        return BY_TYPE[type(self.after if self.before is None else self.before)]

    @property
    def kind(self) -> str:
        """The word for it: `open_port`."""
        add, change, remove = self.section.actions
        return add if self.before is None else remove if self.after is None else change

    @property
    def subject(self) -> str:
        """What it is done to."""
        return self.section.subject(self.before if self.after is None else self.after)

    @property
    def inverse(self) -> Action:
        """The action that undoes this one."""
        return Action(self.after, self.before)

    @property
    def details(self) -> str:
        """What is added, changed or removed."""
        section = self.section
        if self.before is not None and self.after is not None:
            return difference(section.write(self.before), section.write(self.after))
        if self.after is None and section.removed:
            return section.removed
        return section.describe(self.before if self.after is None else self.after)

    def __str__(self) -> str:
        """Render as one line: `open port guests: tap tap0, access 10`."""
        return f"{self.kind.replace('_', ' ')} {self.subject}: {self.details}"


def batches(actions: Iterable[Action]) -> list[list[Action]]:
    """Split actions where their kind changes; each port that is opened stands alone, for it takes its time."""
    found: list[list[Action]] = []
    for action in actions:
        if found and found[-1][0].kind == action.kind != "open_port":
            found[-1].append(action)
        else:
            found.append([action])
    return found


def newly_attached(actions: Iterable[Action]) -> list[PortConfig]:
    """Give the ports to be opened on devices that no port leaves, which may take its device along."""
    ports = [(one.before, one.after) for one in actions if one.kind in ("close_port", "open_port")]
    left = {(before.device, before.netns) for before, _ in ports if isinstance(before, PortConfig)}
    opened = [after for _, after in ports if isinstance(after, PortConfig)]
    return [port for port in opened if (port.device, port.netns) not in left]
