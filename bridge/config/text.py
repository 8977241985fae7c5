"""Values of tables as text: for a file, and for people. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping


def toml_value(value: object) -> str:
    """Write one value of a table inline."""
    match value:
        case dict():
            return "{ " + ", ".join(f"{key} = {toml_value(item)}" for key, item in value.items()) + " }"
        case list():
            return "[" + ", ".join(toml_value(item) for item in value) + "]"
        case float() if value.is_integer():
            return str(int(value))
        case _:  # JSON agrees with TOML on numbers, booleans and printable strings
            return json.dumps(value, ensure_ascii=False)


def listing(table: Mapping[str, object], known: Mapping[str, object] | None = None) -> str:
    """Write the keys that are set, but for those whose value is known anyway."""
    usual = known or {}
    shown = [(key, item) for key, item in table.items() if item is not None and usual.get(key) != item]
    return ", ".join(f"{key} {plain(item)}" for key, item in shown)


def difference(before: Mapping[str, object], after: Mapping[str, object]) -> str:
    """Write the keys that differ: `mtu default -> 9000`."""
    changed = [key for key in after if before[key] != after[key]]
    return ", ".join(f"{key} {plain(before[key])} -> {plain(after[key])}" for key in changed)


def plain(item: object) -> str:
    """Write a value of a table for people: `trunk 10,100-119 native 1`."""
    match item:
        case None:
            return "default"
        case bool():
            return str(item).lower()
        case float():
            return toml_value(item)
        case dict():
            return " ".join(f"{key} {plain(value)}" for key, value in item.items())
        case list():
            return ",".join(str(value) for value in item) or "none"
        case _:
            return str(item)
