"""A configuration as the text of a file that parses to the same value. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bridge.config.registry import SECTIONS
from bridge.config.text import toml_value
from bridge.config.whole import Config


def to_toml(config: Config) -> str:
    """Write a file; keys and tables at their default are left out, but for the first table."""
    return "\n".join(_blocks(config))


def _blocks(config: Config) -> Iterator[str]:
    for section in SECTIONS:
        header = f"[[{section.name}]]" if section.is_many else f"[{section.name}]"
        for value in section.values(config):
            if section.is_many or section.at_start or value != section.blank:
                yield _block(header, section.write(value), section.write(section.blank))


def _block(header: str, table: Mapping[str, object], default: Mapping[str, object]) -> str:
    lines = [f"{key} = {toml_value(item)}" for key, item in table.items() if item != default[key]]
    return "\n".join([header, *lines]) + "\n"
