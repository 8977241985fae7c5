"""What a bridge must offer to be put to the test.

Job: the interface between `runner` and the bridges of `targets/`. A target is made with the ports of a scenario and
lives until its `Net` is undone. `abilities` name what it can do beyond VLANs and flooding; a scenario that needs more
is not played on it. `send` returns when the target is done with the frames: everything they caused is in the result.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from conformance.scenario import Entry, FixedEntry, Port


class Target(ABC):
    """One bridge with its ports, ready for frames."""

    name: ClassVar[str]  # in scenarios
    title: ClassVar[str]  # for people
    abilities: ClassVar[frozenset[str]]
    has_streams: ClassVar[bool] = (
        False  # order is kept between two stations in a VLAN (R11), and open between others
    )

    @abstractmethod
    def send(self, port: str, frames: Sequence[bytes]) -> dict[str, list[bytes]]:
        """Send frames to a port; returns what every port sent because of them, tags inline, in order."""

    @abstractmethod
    def fdb(self) -> set[Entry]:
        """Dynamic entries."""

    def silence(self) -> None:
        """Let the ageing time pass; returns when silent stations are forgotten."""
        raise NotImplementedError

    def flush(self, filters: Mapping[str, Any]) -> None:
        raise NotImplementedError

    def add(self, entries: Iterable[FixedEntry]) -> None:
        raise NotImplementedError

    def forget(self, stations: Iterable[tuple[int, bytes]]) -> None:
        """Remove entries by VLAN and address."""
        raise NotImplementedError

    def change(self, port: str, to: Mapping[str, Any]) -> None:
        """Merge keys into the table of a port."""
        raise NotImplementedError

    def carrier(self, port: str, up: bool) -> None:
        raise NotImplementedError


Ports = Mapping[str, Port]
Vlans = Mapping[int, Mapping[str, Any]]
