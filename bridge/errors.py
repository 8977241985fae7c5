"""The exception types of framebridge. Each message names the place and the way out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class FramebridgeError(Exception):
    """Base of every error a user may see as one line."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding about a configuration: where (key path and, if known, line) and what to do."""

    path: str
    message: str
    line: int | None = None

    def __str__(self) -> str:
        """Render as `line 12: port[1].vlan.access: message`."""
        place = f"line {self.line}: " if self.line else ""
        return f"{place}{self.path}: {self.message}" if self.path else f"{place}{self.message}"


class ConfigError(FramebridgeError):
    """A configuration that cannot be used; carries every problem found, not the first only."""

    def __init__(self, problems: Sequence[Problem], source: str = "") -> None:
        self.problems = tuple(problems)
        self.source = source
        prefix = f"{source}: " if source else ""
        super().__init__("\n".join(f"{prefix}{problem}" for problem in self.problems))


class PortError(FramebridgeError):
    """A port that cannot be opened or configured."""

    def __init__(self, port: str, message: str) -> None:
        self.port = port
        self.reason = message
        super().__init__(f"port {port!r}: {message}")


class MissingError(PortError):
    """A port whose device, or the namespace that holds it, is not there; it may come."""


class MirrorError(FramebridgeError):
    """A mirror that cannot write its file."""


class ApplyError(FramebridgeError):
    """A change that was refused; the configuration before it is in force again."""


class ControlError(FramebridgeError):
    """A failed exchange on the control socket: not reachable, not allowed, or an error reply."""

    def __init__(self, message: str, name: str = "", parameters: dict[str, object] | None = None) -> None:
        self.name = name
        self.parameters = parameters or {}
        super().__init__(message)
