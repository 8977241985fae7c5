"""A method of the control interface as the socket sees it, and the decorator that makes one of a function.

Job: name, parameters with their types, and description of each method, made from the name, signature and docstring of
its function; what is wrong with the parameters of a call; the description of all in varlink's language.
Pure. Refuses, as ControlError: unknown methods; unknown, missing or mistyped parameters.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from bridge.config.table import show
from bridge.control.protocol import (
    ERRORS,
    INTERFACE,
    INTERFACE_NOT_FOUND,
    INVALID_PARAMETER,
    METHOD_NOT_FOUND,
    SERVICE,
    Message,
)
from bridge.errors import ControlError

TYPES: dict[str, type] = {"string": str, "int": int, "bool": bool, "object": dict}  # varlink's name of each
ANNOTATIONS = {"str": "string", "int": "int", "bool": "bool", "Message": "object"}


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter in varlink's terms: string, int, bool or object, and whether it may be absent."""

    name: str
    type: str
    optional: bool

    def __str__(self) -> str:
        return f"{self.name}: {'?' if self.optional else ''}{self.type}"


@dataclass(frozen=True, slots=True)
class Method:
    """A function as the socket sees it; its first parameter is the Context.

    `changes`: not for onlookers; without it the method only looks. `is_costly`: its work grows with what the caller
    sends, so onlookers take turns.
    """

    name: str
    summary: str
    parameters: Mapping[str, Parameter]
    changes: bool
    is_costly: bool
    function: Callable[..., Awaitable[Any]]

    def checked(self, given: Message) -> Message:
        """Return the parameters that are there, all known and of their types; null counts as absent."""
        for name in given:
            if name not in self.parameters:
                known = ", ".join(self.parameters) or "no parameters"
                raise invalid(name, f"not known to {self.name}, which takes {known}")
        for name, parameter in self.parameters.items():
            value = given.get(name)
            if value is None and not parameter.optional:
                raise invalid(name, f"missing; {self.name} needs it")
            if value is not None and type(value) is not TYPES[parameter.type]:
                raise invalid(name, f"expected {parameter.type}, got {show(value)}")
        return {name: value for name, value in given.items() if value is not None}


def method(
    interface: str = INTERFACE,
    *,
    changes: bool = False,
    is_costly: bool = False,
    options: Mapping[str, str] | None = None,
) -> Callable[[Callable[..., Awaitable[Any]]], Method]:
    """Make a method of a function: `port_show` becomes the method PortShow of the interface.

    `options` are parameters that it takes as `**keywords`, all of which may be absent, with their types.
    """

    def make(function: Callable[..., Awaitable[Any]]) -> Method:
        full_name = f"{interface}.{function.__name__.title().replace('_', '')}"
        _, *signature = inspect.signature(function).parameters.values()
        parameters = {
            p.name: Parameter(
                p.name, ANNOTATIONS[p.annotation.removesuffix(" | None")], p.default is not p.empty
            )
            for p in signature
            if p.kind is not p.VAR_KEYWORD
        } | {name: Parameter(name, kind, optional=True) for name, kind in (options or {}).items()}
        summary = inspect.getdoc(function) or ""
        return Method(full_name, summary, parameters, changes, is_costly, function)

    return make


def published(*modules: ModuleType) -> dict[str, Method]:
    """Gather the methods that modules define, by name, in the order they are written."""
    return {one.name: one for module in modules for one in vars(module).values() if isinstance(one, Method)}


def invalid(parameter: str, message: str) -> ControlError:
    """Make the error for a parameter that cannot be used."""
    return ControlError(f"parameter {parameter!r}: {message}", INVALID_PARAMETER, {"parameter": parameter})


def describe(methods: Mapping[str, Method]) -> str:
    """Write the interface in varlink's interface definition language (https://varlink.org/Interface-Definition)."""
    lines = ["# Control of a framebridge daemon.", f"interface {INTERFACE}", ""]
    for known in methods.values():
        interface, _, name = known.name.rpartition(".")
        if interface == INTERFACE:
            lines += [f"# {line}" for line in known.summary.splitlines()]
            lines += [
                f"method {name}({', '.join(map(str, known.parameters.values()))}) -> (rows: []object)",
                "",
            ]
    for error, parameters in ERRORS.items():
        interface, _, name = error.rpartition(".")
        if interface == INTERFACE:
            lines += [f"error {name} ({', '.join([*parameters, 'message: string'])})"]
    return "\n".join(lines) + "\n"


def find_method(methods: Mapping[str, Method], name: str) -> Method:
    """Look a method up by its full name."""
    if name in methods:
        return methods[name]
    interface = name.rpartition(".")[0]
    if interface in (SERVICE, INTERFACE):
        raise ControlError(f"no method {name!r}", METHOD_NOT_FOUND, {"method": name})
    raise ControlError(f"no interface {interface!r}", INTERFACE_NOT_FOUND, {"interface": interface})
