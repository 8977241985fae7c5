"""Checks of single values: what TOML or JSON gave to the value to store, or BadValueError saying what was expected.

Pure. Device names follow dev_valid_name() in Linux net/core/dev.c ('%' is refused too: it makes the kernel choose a
name), socket paths unix(7), VLAN IDs IEEE 802.1Q-2022 table 9-2, reserved addresses table 8-1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from pathlib import PurePosixPath

from bridge.config import words as spoken
from bridge.config.key import Check, ValueType
from bridge.config.table import BadValueError, did_you_mean, show
from bridge.config.vids import format_vids, written_runs
from bridge.mac import format_mac, is_group, parse_mac

VID_MAX = 4094
FDB_MAX = 1_048_576  # entries
TPIDS = {"802.1Q": 0x8100, "802.1ad": 0x88A8}
RESERVED_BASE = 0x0180C2000000
RESERVED_NAMES = {"stp": 0x0, "pause": 0x1, "lacp": 0x2, "eapol": 0x3, "provider-stp": 0x8, "lldp": 0xE}


def integer(low: int, high: int, what: str = "a whole number") -> ValueType:
    """Make a type of integers; booleans and floats are none."""

    def check(value: object) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        raise BadValueError(f"expected {what} from {low} to {high}, got {show(value)}")

    return ValueType(check, syntax="N", expected="a number", read=spoken.number)


mac_limit = integer(0, FDB_MAX)


def choice(*words: str) -> ValueType:
    """Make a type of a few words."""

    def check(value: object) -> str:
        if isinstance(value, str) and value in words:
            return value
        expected = " or ".join(repr(word) for word in words)
        raise BadValueError(f"expected {expected}, got {show(value)}{did_you_mean(value, words)}")

    return ValueType(check, syntax="|".join(words))


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


_namespace_name = text("a network namespace", 255, "/")
_namespace_path = text("a path of a network namespace", 255)


def _network_namespace(value: object) -> str:
    """Check for a namespace: a name as of ip-netns(8), an absolute path, or the number of a process that is in it."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 22:
        return f"/proc/{value}/ns/net"
    if isinstance(value, str) and value.startswith("/"):
        path: str = _namespace_path(value)
        if ".." in PurePosixPath(path).parts or path.endswith("/"):
            raise BadValueError(
                f"expected the path of a network namespace, a file, without '..', got {show(value)}"
            )
        return str(PurePosixPath(path))
    name: str = _namespace_name(value)
    return name


network_namespace = ValueType(_network_namespace, syntax="NETNS", expected="a network namespace")


def _boolean(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise BadValueError(f"expected true or false, got {show(value)}")


boolean = ValueType(
    _boolean, syntax="on|off", expected="on or off (true, false, yes, no)", read=spoken.switch
)


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


def _tpid(value: object) -> int:
    """Check for a tag protocol, by name or number."""
    by_name = {name.lower(): number for name, number in TPIDS.items()}
    number = by_name.get(value.lower()) if isinstance(value, str) else value
    if isinstance(number, int) and number in by_name.values():
        return number
    raise BadValueError(f"expected '802.1Q' (0x8100) or '802.1ad' (0x88a8), got {show(value)}")


tpid = ValueType(
    _tpid,
    syntax="|".join(TPIDS),
    expected="802.1Q or 802.1ad",
    read=lambda word: int(word, 16) if word.lower().startswith("0x") else word,
)


vid = replace(integer(1, VID_MAX, "a VLAN ID"), syntax="VID", write=lambda value: value or None)


def _numbers(one: Check, what: str, expected: str) -> ValueType:
    """Make a type of numbers and ranges of them; `what` names an example of each."""

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

    return ValueType(
        check,
        write=lambda values: written_runs(values) or None,
        syntax="LIST",
        expected=expected,
        read=spoken.numbers,
        is_list=True,
    )


vids = _numbers(vid, "a VLAN ID like 10 or a range like '100-119'", "VLAN IDs and ranges like 10,20,100-119")
udp_ports = replace(
    _numbers(
        integer(1, 65535, "a UDP port"),
        "a UDP port like 5405 or a range like '5404-5405'",
        "UDP ports and ranges like 5404-5405",
    ),
    write=written_runs,  # none is not the default
)


_cpu = integer(0, 8191, "a CPU")
_cpu_range = _numbers(_cpu, "CPUs like 2 or '0-1,3'", "")


def _cpus(value: object) -> Iterable[int]:
    """Check for CPUs as in cpuset(7), List format."""
    found: list[int] = []
    for text in value.split(",") if isinstance(value, str) else ():
        item = text.strip()
        found += _cpu_range(int(item) if re.fullmatch("[0-9]{1,5}", item) else item)
    if not isinstance(value, str):
        found += _cpu_range(value)
    if len({*found}) < len(found):
        raise BadValueError(f"{show(value)} names a CPU twice; name it once")
    return tuple(sorted(found))


cpus = ValueType(
    _cpus, write=lambda numbers: format_vids(numbers) or None, syntax="LIST", expected="CPUs like 0-1,3"
)


def address(value: object) -> int:
    """Check for a MAC address."""
    if not isinstance(value, str):
        raise BadValueError(f"expected a MAC address like '02:00:5e:00:00:01', got {show(value)}")
    try:
        return parse_mac(value)
    except ValueError as error:
        raise BadValueError(str(error)) from None


def _station(value: object) -> int:
    """Check for the MAC address of one station: neither group nor zero."""
    mac = address(value)
    if not mac or is_group(mac):
        kind = "a group address" if mac else "no address"
        raise BadValueError(f"{value!r} is {kind}; an FDB entry needs the address of one station")
    return mac


station = ValueType(
    _station, write=lambda mac: format_mac(mac) if mac else None, syntax="MAC", expected="a MAC address"
)


_SAME_ADDRESS = {  # protocols that use the address of another, and what of them does
    **dict.fromkeys(("ptp", "gptp"), ("lldp", "peer delay messages")),
    **dict.fromkeys(("rstp", "mstp"), ("stp", "frames")),
    **dict.fromkeys(("oam", "esmc"), ("lacp", "frames")),
    "mka": ("eapol", "frames"),
}


def _reserved_name(value: object) -> str:
    if isinstance(value, str) and value in RESERVED_NAMES:
        return value
    expected = " or ".join(repr(word) for word in RESERVED_NAMES)
    hint = did_you_mean(value, RESERVED_NAMES)
    if isinstance(value, str) and value.lower() in _SAME_ADDRESS:
        other, what = _SAME_ADDRESS[value.lower()]
        hint = f"; its {what} have the address of {other!r}: write that"
    raise BadValueError(
        f"expected {expected}, or an address from 01:80:c2:00:00:00 to 0f, got {show(value)}{hint}"
    )


def _reserved(value: object) -> Iterable[str]:
    """Check for a reserved group address, given by its protocol or as an address; return the address."""
    if isinstance(value, str) and re.search(r"[:.]|-.*-", value):
        number = address(value) - RESERVED_BASE
        if not 0 <= number <= 0xF:
            raise BadValueError(f"{value!r} is outside 01:80:c2:00:00:00 to 0f and not held back; remove it")
    else:
        number = RESERVED_NAMES[_reserved_name(value)]
    return (format_mac(RESERVED_BASE + number),)


def _write_reserved(passed: int) -> list[str]:
    names = {number: name for name, number in RESERVED_NAMES.items()}
    numbers = [number for number in range(16) if passed >> number & 1]
    return [names.get(number) or format_mac(RESERVED_BASE + number) for number in numbers]


reserved = ValueType(
    _reserved,
    write=_write_reserved,
    syntax="LIST",
    expected="protocols or addresses like lldp,lacp",
    read=spoken.texts,
    is_list=True,
    collect=lambda passed: sum(1 << (parse_mac(mac) & 0xF) for mac in passed),  # bit n: 01-80-C2-00-00-0n
)


def positive(what: str, high: float) -> Check:
    """Make a check for numbers above 0."""

    def check(value: object) -> float:
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= high:
            return float(value)
        raise BadValueError(f"expected {what} above 0 and at most {high:g}, got {show(value)}")

    return check
