"""Configuration files: TOML in, frozen values out; every problem at once, each with its key path, line and way out.

Pure but for `load`. `parse(to_toml(config)) == config`. Reading goes in three steps: tomllib; each table on its own
(types, ranges, spelling); the whole (uniqueness, references). A flawed key leaves its field blank, and later steps pass
over blanks, so that one mistake is reported once.

Refuses, with ConfigError and nothing else, whatever the data plane could not honour.
"""

from __future__ import annotations

import os
import stat
import tomllib
from functools import partial
from pathlib import Path
from typing import Any

from bridge.config.lines import error_line, line_map, too_deep
from bridge.config.table import Report, Table
from bridge.config.whole import Config, read_config
from bridge.errors import ConfigError, Problem
from bridge.mac import format_mac, parse_mac

FILE_MAX = 1 << 24  # bytes


def load(path: str | os.PathLike[str]) -> Config:
    """Read and validate a file."""
    return parse(read_text(path), os.fspath(path))


def read_text(path: str | os.PathLike[str]) -> str:
    """Read a file, which must be one: a FIFO would keep the daemon waiting, and a device has no end."""
    source = os.fspath(path)
    try:
        found = Path(path).stat()
        if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
            raise _refusal("is no regular file; write the configuration into one", source)
        if found.st_size > FILE_MAX:
            raise _refusal(f"has {found.st_size} bytes; a configuration has at most {FILE_MAX}", source)
        return Path(path).read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise _refusal("no such file; check the path", source) from None
    except IsADirectoryError:
        raise _refusal("is a directory; name the TOML file in it", source) from None
    except OSError as error:
        raise _refusal(f"cannot be read: {error.strerror}", source) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        message = f"byte 0x{error.object[error.start]:02x} is not UTF-8; save the file as UTF-8"
        raise _refusal(message, source, line) from None
    except ValueError as error:  # a path with a NUL in it
        raise _refusal(f"is not a path: {error}", source) from None


def parse(text: str, source: str = "") -> Config:
    """Validate the text of a file; `source` names it in messages."""
    document = read_document(text, source)
    # Where keys stand is only asked when there is something to report, for it takes longer than reading.
    report = Report(source, make_lines=partial(line_map, text))
    config = read_config(Table(document, (), report))
    report.raise_problems()
    return config


def read_document(text: str, source: str = "") -> dict[str, Any]:
    """Read TOML that is neither too long nor too deep; raises ConfigError."""
    if len(text) > FILE_MAX:
        raise _refusal(f"has {len(text)} characters; a configuration has at most {FILE_MAX}", source)
    if found := too_deep(text):
        raise _refusal(found[1], source, found[0])
    try:
        return tomllib.loads(text)
    except ValueError as error:
        raise _refusal(f"not valid TOML: {error}", source, error_line(error, text)) from None


def key_lines(text: str) -> dict[str, int]:
    """Tell the line of each key, and of the first table of a kind: `port[NAME].mtu`, `bridge.name`, `budget`.

    Raises ConfigError for what is no TOML. Of two ports of one name it is the first.
    """
    document = read_document(text)
    ports = document.get("port")
    entries = document.get("fdb")
    stations = [_station(entry) for entry in entries] if isinstance(entries, list) else []
    names = (
        [port.get("name") if isinstance(port, dict) else None for port in ports]
        if isinstance(ports, list)
        else []
    )
    found: dict[str, int] = {}
    for path, line in line_map(text).items():
        match path:
            case "port", int(number), str(key) if number < len(names):
                found.setdefault(f"port[{names[number]}].{key}", line)
            case "fdb", int(number) if stations[number]:
                found.setdefault(f"fdb[{stations[number]}]", line)
            case str(table), str(key):
                found.setdefault(f"{table}.{key}", line)
            case (str(table),):
                found.setdefault(table, line)
    return found


def _station(entry: object) -> str:
    """Name a static entry of a file as its actions do; "" for what is none."""
    try:
        return (
            f"{format_mac(parse_mac(entry['mac']))} vlan {entry['vlan']}" if isinstance(entry, dict) else ""
        )
    except (KeyError, TypeError, ValueError):
        return ""


def _refusal(message: str, source: str = "", line: int | None = None) -> ConfigError:
    return ConfigError([Problem("", message, line)], source)
