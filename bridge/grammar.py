"""The words after `framebridge`: matching of abbreviations, and reading of `NAME key value key value`.

The grammar is iproute2's: words may be shortened as long as they stay unique, keys come in any order. Pure.
Numbers are read here; whether they make sense is for the daemon to say, as for a file. Refuses, with
UsageError: unknown and ambiguous words, keys without a value, keys given twice, missing words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

DEFAULT = "default"  # as a value: put the key back to what it is when nobody says anything


class UsageError(Exception):
    """A command line that makes no sense; exit status 2."""


def match(word: str, known: Iterable[str], what: str) -> str:
    """Find the word that is meant: exact, or the only one that begins like this."""
    known = list(known)
    spelt = word.replace("-", "_")
    found = [spelt] if spelt in known else [candidate for candidate in known if candidate.startswith(spelt)]
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(f"{what} {word!r} is ambiguous: {', '.join(found)}")
    raise UsageError(f"unknown {what} {word!r}; there are: {', '.join(known)}")


@dataclass(frozen=True, slots=True)
class Reader:
    """How the value of a key is read, and what to call it when it is something else."""

    expected: str
    read: Callable[[str], Any]

    def __call__(self, key: str, value: str) -> Any:
        """Return the value, None for the default."""
        if value == DEFAULT:
            return None
        try:
            return self.read(value)
        except (ValueError, KeyError):
            raise UsageError(f"{key!r} needs {self.expected}, not {value!r}") from None


@dataclass(frozen=True, slots=True)
class Grammar:
    """What may follow a verb: values in a fixed order, then keys with values and flags in any order."""

    names: Sequence[str] = ()  # values that must come first
    option: str = ""  # a value that may come after them
    keys: Mapping[str, Reader] = field(default_factory=dict)
    flags: Mapping[str, str] = field(default_factory=dict)  # word: the key it is a value of
    required: Sequence[str] = ()  # keys

    def read(self, words: Sequence[str]) -> dict[str, Any]:
        """Return the values by key."""
        if len(words) < len(self.names):
            raise UsageError(f"{self.names[len(words)].upper()} is missing")
        found: dict[str, Any] = dict(zip(self.names, words, strict=False))
        rest = list(words[len(self.names) :])
        if self.option and rest:
            found[self.option] = rest.pop(0)
        while rest:
            key, value = self._take(rest)
            if key in found:
                raise UsageError(f"{key!r} is given twice")
            found[key] = value
        if missing := next((key for key in self.required if key not in found), None):
            raise UsageError(f"{missing!r} is missing")
        return found

    def _take(self, rest: list[str]) -> tuple[str, Any]:
        word = rest.pop(0)
        if not self.keys and not self.flags:
            raise UsageError(f"one word too many: {word!r}")
        key = match(word, (*self.keys, *self.flags), "word")
        if key in self.flags:
            return self.flags[key], key
        if not rest:
            raise UsageError(f"{key!r} needs a value")
        return key, self.keys[key](key, rest.pop(0))


def _number(value: str) -> int:
    if not re.fullmatch("[0-9]{1,18}", value):
        raise ValueError
    return int(value)


def _vid_list(value: str) -> list[int | str]:
    return [item if "-" in item else _number(item) for item in value.split(",")]


def _tpid(value: str) -> int | str:
    return int(value, 16) if value.lower().startswith("0x") else value


FLOOD_CLASSES = ("unknown", "multicast", "broadcast")


def _flood(value: str) -> list[str]:
    named: dict[str, list[str]] = {"all": list(FLOOD_CLASSES), "none": []}
    if value in named:
        return named[value]
    return [match(word, FLOOD_CLASSES, "flood class") for word in value.split(",")]


def _storm_control(value: str) -> dict[str, str] | None:
    """Read `broadcast=1000frames/s,unknown=5%`; `none` for no limits."""
    if value == "none":
        return None
    pairs = [item.partition("=") for item in value.split(",")]
    if not all(name and limit for name, _, limit in pairs):
        raise ValueError
    return {match(name, FLOOD_CLASSES, "flood class"): limit for name, _, limit in pairs}


def _list(value: str) -> list[str] | None:
    items = [item.strip() for item in value.split(",")]
    if not all(items):
        raise ValueError
    return None if items == ["none"] else items


def _view(value: str) -> str:
    return match(value, COST_VIEWS, "view")


COST_HISTOGRAMS = ("batch_cycles", "batch_frames", "frame_cycles")  # tests: bridge._core.HISTOGRAMS
COST_VIEWS = ("stage", "port", "vlan", "class", "talker")  # tests compare it with bridge.cost_views.VIEWS

TEXT = Reader("a name", str)
VIEW = Reader("a view", _view)
NUMBER = Reader("a number", _number)
SWITCH = Reader("on or off", {"on": True, "off": False}.__getitem__)

# Keys of the `vlan` table.
MEMBERSHIP = ("access", "trunk", "tunnel", "mirror", "native", "native_tagged", "map", "tpid")

PORT_KEYS: dict[str, Reader] = {
    "kind": TEXT,
    "device": TEXT,
    "netns": TEXT,
    "access": NUMBER,
    "trunk": Reader("VLAN IDs and ranges like 10,20,100-119", _vid_list),
    "tunnel": NUMBER,
    "mirror": SWITCH,
    "native": NUMBER,
    "native_tagged": SWITCH,
    "map": Reader("none or a list like 100:10,200.30:20", _list),
    "tpid": Reader("802.1Q or 802.1ad", _tpid),
    "mtu": NUMBER,
    "learning": SWITCH,
    "flood": Reader("all, none or a list like unknown,multicast,broadcast", _flood),
    "priority_tags": TEXT,
    "default_pcp": NUMBER,
    "isolated": SWITCH,
    "horizon": NUMBER,
    "hairpin": SWITCH,
    "direction": TEXT,
    "mac_limit": NUMBER,
    "locked": SWITCH,
    "allow": Reader("none or a list like 02:00:00:00:00:01,00:00:5e:00:01:00/40", _list),
    "source_guard": Reader("none or a list like 10.0.0.5,2001:db8::/64,'MAC ADDRESS'", _list),
    "enabled": SWITCH,
    "kernel_filter": SWITCH,
    "storm_control": Reader("none or limits like broadcast=1000frames/s,unknown=5%", _storm_control),
}

MIRROR_KEYS: dict[str, Reader] = {
    "ports": Reader("names like a,b", lambda value: value.split(",")),
    "direction": TEXT,
    "vlans": Reader("VLAN IDs and ranges like 10,20,100-119", _vid_list),
    "what": TEXT,
    "to_port": TEXT,
    "file": TEXT,
    "snaplen": NUMBER,
    "file_size": Reader("a size like 100MB", str),
    "files": NUMBER,
    "rate": Reader("a rate like 10Mbit/s or 1000frames/s", str),
}
MIRROR_FLAGS = {"replace": "replace"}


def mirror_table(values: Mapping[str, Any]) -> dict[str, Any]:
    """Shape values read with MIRROR_KEYS like a [[mirror]] table of the file."""
    table = {key: value for key, value in values.items() if value is not None}
    if "replace" in table:
        table["replace"] = True
    return table


def port_table(values: Mapping[str, Any]) -> dict[str, Any]:
    """Shape values read with PORT_KEYS like a [[port]] table of the file."""
    table = {key: value for key, value in values.items() if key not in MEMBERSHIP}
    vlan = {key: value for key, value in values.items() if key in MEMBERSHIP}
    return {**table, "vlan": vlan} if vlan else table
