"""Words of the command line as values of a file: what `on`, `10,20` or `none` stand for. Pure.

Numbers are read here; whether they make sense is for the check of the key to say, as for a file. Raises ValueError or
KeyError for what cannot be read.
"""

from __future__ import annotations

import re

_SWITCH = dict.fromkeys(("on", "true", "yes"), True) | dict.fromkeys(("off", "false", "no"), False)
switch = _SWITCH.__getitem__


def number(word: str) -> int:
    """Read a whole number."""
    if not re.fullmatch("[0-9]{1,18}", word):
        raise ValueError
    return int(word)


def numbers(word: str) -> list[int | str]:
    """Read numbers and ranges like 10,20,100-119."""
    return [item if "-" in item else number(item) for item in word.split(",")]


def texts(word: str) -> list[str] | None:
    """Read words like a,b; `none` for no list."""
    items = [item.strip() for item in word.split(",")]
    if not all(items):
        raise ValueError
    return None if items == ["none"] else items
