"""Reading of configuration tables: checks of single values, tables read key by key, findings raised together.

Pure. A check takes what TOML or JSON gave and returns the value to store, or raises BadValueError saying what
was expected. A `Table` applies checks to its keys, leaves out what is wrong and tells the `Report`, which
raises one ConfigError for all. Messages quote what the user wrote shortened and escaped, hence printable.

Device names follow dev_valid_name() in Linux net/core/dev.c ('%' is refused too: it makes the kernel choose a
name), socket paths unix(7), VLAN IDs IEEE 802.1Q-2022 table 9-2, reserved addresses table 8-1.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address
from pathlib import PurePosixPath
from typing import Any

from bridge.config.lines import KeyPath, find_line, format_path
from bridge.errors import ConfigError, Problem
from bridge.mac import format_mac, is_group, parse_mac

VID_MAX = 4094
FDB_MAX = 1_048_576  # entries
TPIDS = {"802.1Q": 0x8100, "802.1ad": 0x88A8}
RESERVED_BASE = 0x0180C2000000
RESERVED_NAMES = {"stp": 0x0, "pause": 0x1, "lacp": 0x2, "eapol": 0x3, "provider-stp": 0x8, "lldp": 0xE}

PROBLEMS_MAX = 200  # told at once

Check = Callable[[object], Any]
Keys = Mapping[str, tuple[str, Check]]  # TOML key: (field it is kept in, check)


class BadValueError(ValueError):
    """A value that a check refuses; the text says what was expected."""


class Report:
    """Collects findings and raises them together, in the order of the file.

    `source` is the file, `where` begins every key path, `make_lines` gives its line map when there is something to
    report; each may be missing.
    """

    def __init__(
        self, source: str = "", where: str = "", make_lines: Callable[[], Mapping[KeyPath, int]] = dict
    ) -> None:
        self._source = source
        self._where = where
        self._make_lines = make_lines
        self._problems: list[Problem] = []

    def __len__(self) -> int:
        return len(self._problems)

    @cached_property
    def _lines(self) -> Mapping[KeyPath, int]:
        return self._make_lines()

    def add(self, path: KeyPath, message: str) -> None:
        """Note a problem with the key at `path`; ConfigError if it is one too many to go on."""
        place = ".".join(part for part in (self._where, format_path(path)) if part)
        self._problems.append(Problem(place, message, find_line(self._lines, path)))
        if len(self._problems) >= PROBLEMS_MAX:
            self.raise_problems(Problem("", f"more than {PROBLEMS_MAX} problems; mend these and check again"))

    def place(self, path: KeyPath) -> str:
        """Say where a key stands, for use inside a message."""
        line = find_line(self._lines, path)
        return f"{format_path(path)} (line {line})" if line else format_path(path)

    def raise_problems(self, *last: Problem) -> None:
        """Raise ConfigError if anything was found."""
        if self._problems:
            found = sorted(self._problems, key=lambda problem: problem.line or 0)
            raise ConfigError([*found, *last], self._source)


class Table:
    """One table being read. Values of wrong type read as empty, so that the reading always goes on."""

    def __init__(self, raw: object, path: KeyPath, report: Report) -> None:
        self.path = path
        self.report = report
        self._known: set[str] = set()
        self._raw: Mapping[str, object] = raw if isinstance(raw, Mapping) else {}
        if not isinstance(raw, Mapping):
            report.add(path, f"expected a table, got {show(raw)}")

    def __contains__(self, key: str) -> bool:
        return key in self._raw

    def fail(self, message: str, *key: str | int) -> None:
        """Note a problem with a key of the table, or with the table."""
        self.report.add((*self.path, *key), message)

    def fields(self, keys: Keys, required: Sequence[str] = ()) -> dict[str, Any]:
        """Return the fields of those keys that are present and good."""
        self._known.update(keys)
        for key in required:
            if key not in self:
                self.fail(f"the key {key!r} is missing; add it")
        found: dict[str, Any] = {}
        for key, (field, check) in keys.items():
            if key in self:
                try:
                    found[field] = check(self._raw[key])
                except BadValueError as error:
                    self.fail(str(error), key)
        return found

    def union(self, key: str, check: Callable[[object], Iterable[Any]]) -> set[Any] | None:
        """Return all that the elements of an array stand for; None if the key is absent."""
        self._known.add(key)
        if key not in self:
            return None
        found = _Union()
        for index, element in enumerate(self._array(key, f"write {key} = [...]")):
            try:
                found.add(check(element))
            except BadValueError as error:
                self.fail(str(error), key, index)
        return found.values()

    def table(self, key: str) -> Table:
        """Return the sub-table, an empty one if the key is absent."""
        self._known.add(key)
        return Table(self._raw.get(key, {}), (*self.path, key), self.report)

    def tables(self, key: str, limit: int) -> list[Table]:
        """Return the tables of an array of tables, which are no more than `limit`."""
        self._known.add(key)
        elements = self._array(key, f"write [[{key}]] above each of its tables") if key in self else []
        if len(elements) > limit:
            self.fail(too_many(len(elements), key, limit), key, limit)
        return [
            Table(raw, (*self.path, key, index), self.report) for index, raw in enumerate(elements[:limit])
        ]

    def refuse_unknown(self) -> None:
        """Report the keys that nobody has asked for."""
        for key in self._raw:
            if key not in self._known:
                hint = did_you_mean(key, self._known) or f"; known keys: {', '.join(sorted(self._known))}"
                self.fail(f"unknown key{hint}", key)

    def _array(self, key: str, remedy: str) -> list[object]:
        value = self._raw[key]
        if isinstance(value, list):
            return value
        self.fail(f"expected an array, got {show(value)}; {remedy}", key)
        return []


class _Union:
    """Values, each of them once. Of ranges of numbers a bit a number is kept: they cost no more than their text."""

    def __init__(self) -> None:
        self._values: set[Any] = set()
        self._ranges: list[range] = []  # which have nothing in common
        self._bits = 0  # of the numbers in them

    def add(self, new: Iterable[Any]) -> None:
        """Take all of them; BadValueError if one is there already."""
        if isinstance(new, range):
            bits = (1 << len(new)) - 1 << new.start
            if both := bits & self._bits:
                raise _listed_twice((both & -both).bit_length() - 1)
            self._bits |= bits
            self._ranges.append(new)
            return
        values = {*new}
        if both_have := values & self._values:
            raise _listed_twice(min(both_have))
        self._values |= values

    def values(self) -> set[Any]:
        """Give all."""
        return self._values.union(*self._ranges)


def _listed_twice(value: object) -> BadValueError:
    return BadValueError(f"{value} is listed twice; list it once")


def too_many(count: int, what: str, limit: int) -> str:
    """Say that there are more tables of a kind than a bridge can have."""
    return f"{count} {what}s, but a bridge has at most {limit}; remove some"


def plain_table(value: object, keys: Keys) -> dict[str, object]:
    """Write the table those keys were read from; empty texts stand for keys that are absent, None."""
    table = {key: getattr(value, field) for key, (field, _) in keys.items()}
    return {key: None if item == "" else item for key, item in table.items()}


def show(value: object) -> str:
    """Name any value in a message, briefly."""
    match value:
        case None | bool():
            return json.dumps(value)
        case str():
            return repr(value if len(value) <= 40 else value[:40] + "...")
        case int() if abs(value) >= 1 << 64:  # Python refuses to print numbers of thousands of digits
            return "a number beyond 64 bits"
        case int() | float():
            return str(value)
        case Mapping():
            return "a table"
        case list():
            return "an array"
        case _:
            return f"a {type(value).__name__}"


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """Return a half sentence that names the nearest known word, or nothing."""
    close = get_close_matches(word[:64], known, n=1) if isinstance(word, str) else []
    return f"; did you mean {close[0]!r}?" if close else ""


# -- checks


def integer(low: int, high: int, what: str = "a whole number") -> Check:
    """Make a check for integers; booleans and floats are none."""

    def check(value: object) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        raise BadValueError(f"expected {what} from {low} to {high}, got {show(value)}")

    return check


mac_limit = integer(0, FDB_MAX)


def choice(*words: str) -> Check:
    """Make a check for one of a few words."""

    def check(value: object) -> str:
        if isinstance(value, str) and value in words:
            return value
        expected = " or ".join(repr(word) for word in words)
        raise BadValueError(f"expected {expected}, got {show(value)}{did_you_mean(value, words)}")

    return check


def text(what: str, limit: int, forbidden: str = "") -> Check:
    """Make a check for a non-empty name or path of at most `limit` bytes that the kernel will see."""
    banned = ", ".join(["control characters", *(repr(letter) for letter in forbidden)])

    def check(value: object) -> str:
        if not isinstance(value, str) or not value:
            raise BadValueError(f"expected {what}, got {show(value)}")
        if not value.isprintable() or value in (".", "..") or any(letter in value for letter in forbidden):
            raise BadValueError(f"{show(value)} is not {what}; it cannot be '.' or '..' or contain {banned}")
        if (length := len(value.encode())) > limit:
            raise BadValueError(f"{show(value)} has {length} bytes; {what} has at most {limit}, shorten it")
        return value

    return check


def boolean(value: object) -> bool:
    """Check for true or false."""
    if isinstance(value, bool):
        return value
    raise BadValueError(f"expected true or false, got {show(value)}")


def name(value: object) -> str:
    """Check for the name of a bridge, port or VLAN."""
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_.-]{1,32}", value):
        if value.startswith("-"):
            raise BadValueError(
                f"{show(value)} would be an option of the command; begin it with another letter"
            )
        return value
    raise BadValueError(f"expected a name of 1 to 32 letters, digits, '_', '.' or '-', got {show(value)}")


def ageing_time(value: object) -> float:
    """Check for seconds, 0 meaning never."""
    if (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and (value == 0 or 1 <= value <= 1_000_000)
    ):
        return float(value)
    raise BadValueError(f"expected 0 (never) or 1 to 1000000 seconds, got {show(value)}")


def seconds(low: float, high: float) -> Check:
    """Make a check for a time."""

    def check(value: object) -> float:
        if isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high:
            return float(value)
        raise BadValueError(f"expected {low:g} to {high:.0f} seconds, got {show(value)}")

    return check


def recovery(value: object) -> float:
    """Check for the seconds after which something comes back by itself, 0 meaning never."""
    if value == 0 and not isinstance(value, bool):
        return 0.0
    try:
        return float(seconds(1, 1_000_000)(value))
    except BadValueError:
        raise BadValueError(f"expected 0 (by hand) or 1 to 1000000 seconds, got {show(value)}") from None


def price(value: object) -> float:
    """Check for what something costs."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1_000_000:
        return float(value)
    raise BadValueError(f"expected a price from 0 to 1000000, got {show(value)}")


def currency(value: object) -> str:
    """Check for the name of a currency, as it is to be shown."""
    if (
        isinstance(value, str)
        and 1 <= len(value) <= 8
        and value.isprintable()
        and not re.search(r"\s", value)
    ):
        return value
    raise BadValueError(f"expected a currency like 'EUR', got {show(value)}")


_socket_text = text("a socket path", 107)


def socket_path(value: object) -> str:
    """Check for an absolute path of a unix socket."""
    path: str = _socket_text(value)
    if path.startswith("/"):
        return path
    raise BadValueError(f"expected an absolute path, got {show(value)}; begin it with '/'")


_path_text = text("a file path", 4095)


def file_path(value: object) -> str:
    """Check for an absolute path of a file."""
    path: str = _path_text(value)
    if path.startswith("/") and not path.endswith("/"):
        return path
    raise BadValueError(f"expected an absolute path of a file, got {show(value)}; begin it with '/'")


def directory(value: object) -> str:
    """Check for an absolute path of a directory; return it without `.` and `/` that say nothing."""
    path: str = _path_text(value)
    if path.startswith("/") and ".." not in PurePosixPath(path).parts:
        return str(PurePosixPath(path))
    raise BadValueError(f"expected an absolute path of a directory without '..', got {show(value)}")


def is_beneath(path: str, directory: str) -> bool:
    """Whether an absolute path without `..` leads into a directory, as far as its text says."""
    return path != directory and PurePosixPath(path).is_relative_to(directory)


def listen_address(value: object) -> str:
    """Check for an IP address and a TCP port to listen on; return it in its canonical form."""
    wanted = "an address like '127.0.0.1:9464' or '[::1]:9464'"
    if not isinstance(value, str):
        raise BadValueError(f"expected {wanted}, got {show(value)}")
    match = re.fullmatch(r"(?:\[([^]]+)\]|([^:]+)):([0-9]{1,5})", value)
    if not match or not 1 <= int(match[3]) <= 65535:
        raise BadValueError(f"expected {wanted}, with a port of 1 to 65535, got {show(value)}")
    try:
        host = IPv6Address(match[1]) if match[1] else IPv4Address(match[2])
    except ValueError:
        raise BadValueError(f"expected {wanted}: an IP address, not a name, got {show(value)}") from None
    return f"[{host}]:{int(match[3])}" if match[1] else f"{host}:{int(match[3])}"


def tpid(value: object) -> int:
    """Check for a tag protocol, by name or number."""
    by_name = {name.lower(): number for name, number in TPIDS.items()}
    number = by_name.get(value.lower()) if isinstance(value, str) else value
    if isinstance(number, int) and number in by_name.values():
        return number
    raise BadValueError(f"expected '802.1Q' (0x8100) or '802.1ad' (0x88a8), got {show(value)}")


vid = integer(1, VID_MAX, "a VLAN ID")


def _numbers(one: Check, what: str) -> Callable[[object], range]:
    """Make a check for one number or a range of them; `what` names an example of each."""

    def check(value: object) -> range:
        if not isinstance(value, str):
            return range(one(value), one(value) + 1)
        match = re.fullmatch(r"([0-9]{1,5})-([0-9]{1,5})", value)
        if not match:
            raise BadValueError(f"expected {what}, got {show(value)}")
        first, last = one(int(match[1])), one(int(match[2]))
        if first > last:
            raise BadValueError(f"the range {value!r} runs backwards; write '{last}-{first}'")
        return range(first, last + 1)

    return check


vids = _numbers(vid, "a VLAN ID like 10 or a range like '100-119'")
udp_ports = _numbers(integer(1, 65535, "a UDP port"), "a UDP port like 5405 or a range like '5404-5405'")


def address(value: object) -> int:
    """Check for a MAC address."""
    if not isinstance(value, str):
        raise BadValueError(f"expected a MAC address like '02:00:5e:00:00:01', got {show(value)}")
    try:
        return parse_mac(value)
    except ValueError as error:
        raise BadValueError(str(error)) from None


def station(value: object) -> int:
    """Check for the MAC address of one station: neither group nor zero."""
    mac = address(value)
    if not mac or is_group(mac):
        kind = "a group address" if mac else "no address"
        raise BadValueError(f"{value!r} is {kind}; an FDB entry needs the address of one station")
    return mac


_reserved_name = choice(*RESERVED_NAMES)


def reserved(value: object) -> Iterable[str]:
    """Check for a reserved group address, given by its protocol or as an address; return the address."""
    if isinstance(value, str) and re.search(r"[:.]|-.*-", value):
        number = address(value) - RESERVED_BASE
        if not 0 <= number <= 0xF:
            raise BadValueError(f"{value!r} is outside 01:80:c2:00:00:00 to 0f and not held back; remove it")
    else:
        number = RESERVED_NAMES[_reserved_name(value)]
    return (format_mac(RESERVED_BASE + number),)
