"""The FDB in a file, so that a restart does not flood what was known: `bridge.fdb_file`.

Job: write dynamic and sticky entries at a clean end, and every SAVE_EVERY seconds if something changed; read them
once, at the start, and hand those of a port to `Learning` when it first carries traffic, also if that is later. What is
static or drop belongs to the configuration. Thread: control; the file itself is written in a worker.

Format: JSON, one line for each entry, `seen` in whole seconds of Unix time (0 where entries do not age):

    {"format": "framebridge-fdb", "version": 1, "bridge": "dmz", "learning": "automatic", "entries": [
    ["02:00:00:00:00:01", 10, "guests", "dynamic", 1763841000],
    ["02:00:00:00:00:02", 20, "uplink", "sticky", 1763840990]
    ]}

The file is replaced as a whole (rename after fsync), so a reader sees the old one or the new one, also after a crash.
Not restored: what was silent for ageing_time by the clock of the wall, the time the bridge did not run included;
entries of ports that do not exist, or that do not carry the VLAN or do not learn; what is known by then, or pinned;
dynamic entries beyond a limit (sticky ones were set by hand: no limit holds for them); dynamic entries of an automatic
bridge on one that is controlled by now, and of a locked port that does not allow them: nobody has let them in.

Refuses, with a line in the log and nothing else: a file that cannot be read or written, is damaged, or is of another
bridge.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from bridge import checks
from bridge.checks import BadValueError
from bridge.config import Config
from bridge.guards import admits
from bridge.learning import Learning, Saved
from bridge.mac import format_mac

log = logging.getLogger(__name__)

FORMAT, VERSION = "framebridge-fdb", 1
SAVE_EVERY = 60.0  # seconds
LENGTH_MAX = 128 << 20  # bytes: a full table of the largest size has half as many

_kind = checks.choice("dynamic", "sticky")
_seen = checks.integer(0, 1 << 40, "seconds")


class Record(NamedTuple):
    """One entry of the file."""

    mac: int
    vid: int
    port: str
    kind: str
    seen: int  # Unix time; 0: entries did not age


class FdbFileError(Exception):
    """A file that is not what it should be; the text says what is wrong."""


def write_text(records: list[Record], bridge: str, learning: str) -> str:
    """Write the file."""
    head = json.dumps({"format": FORMAT, "version": VERSION, "bridge": bridge, "learning": learning})
    lines = [json.dumps([format_mac(record.mac), *record[1:]]) for record in records]
    return head[:-1] + ', "entries": [\n' + ",\n".join(lines) + "\n]}\n"


def read_text(text: str, bridge: str) -> tuple[list[Record], str]:
    """Read the file of a bridge: its records and how it learned; raises FdbFileError."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FdbFileError(f"damaged: {error}") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise FdbFileError("not the FDB of a framebridge")
    if document.get("version") != VERSION:
        raise FdbFileError(f"of version {checks.show(document.get('version'))}, this one reads {VERSION}")
    if document.get("bridge") != bridge:
        raise FdbFileError(f"of the bridge {checks.show(document.get('bridge'))}, not of {bridge!r}")
    entries = document.get("entries")
    if not isinstance(entries, list):
        raise FdbFileError("damaged: it has no entries")
    return [_record(entry) for entry in entries], str(document.get("learning"))


def _record(entry: Any) -> Record:
    try:
        mac, vid, port, kind, seen = entry
        return Record(checks.station(mac), checks.vid(vid), checks.name(port), _kind(kind), _seen(seen))
    except (BadValueError, TypeError, ValueError) as error:
        raise FdbFileError(f"damaged: {checks.show(entry)}: {error}") from None


def replace_file(path: Path, text: str) -> None:
    """Put a text in the place of a file, wholly or not at all, also if the machine fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(draft, "w", encoding="utf-8", opener=_private) as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)


class FdbFile:
    """The file of one bridge; `config` gives the configuration in force."""

    def __init__(
        self, learning: Learning, config: Callable[[], Config], wall: Callable[[], float] = time.time
    ) -> None:
        self._learning = learning
        self._config = config
        self._wall = wall
        self._waiting: defaultdict[str, list[Record]] = defaultdict(list)  # by port; until it carries traffic
        self._written: tuple[str, list[Record]] | None = None
        self._is_open = False  # read, so that writing loses nothing
        self._trouble = ""

    # -- reading

    def open(self) -> None:
        """Read the file, if there is one, and restore what can be; from now on it may be written."""
        self._is_open = True
        bridge = self._config().bridge
        if not bridge.fdb_file:
            return
        try:
            records, learning = read_text(_read(Path(bridge.fdb_file)), bridge.name)
        except FileNotFoundError:
            return
        except (FdbFileError, OSError, UnicodeDecodeError) as error:
            log.warning("the FDB begins empty: %s: %s", bridge.fdb_file, _reason(error))
            return
        strangers = bridge.learning == "controlled" != learning
        for record in records:
            if not (strangers and record.kind == "dynamic"):
                self._waiting[record.port].append(record)
        restored = self.restore()
        log.info("%s: %d of %d FDB entries restored", bridge.fdb_file, restored, len(records))

    def restore(self) -> int:
        """Restore the entries of ports that carry traffic by now; returns how many. Each port has one turn."""
        if not self._waiting:
            return 0
        ready = [name for name in self._learning.port_names if name in self._waiting]
        records = [record for name in ready for record in self._waiting.pop(name)]
        return self._learning.restore(self._saved(record) for record in records if self._may_return(record))

    def _may_return(self, record: Record) -> bool:
        config = self._config()
        if record.kind == "sticky":
            is_wanted = True
        else:
            ports = [port for port in config.ports if port.name == record.port]
            is_welcome = all(port.learning and admits(port, record.mac) for port in ports)
            is_wanted = is_welcome and all(vlan.learning for vlan in config.vlans if vlan.vid == record.vid)
        return is_wanted and self._is_young(record)

    def _is_young(self, record: Record) -> bool:
        ageing = self._config().bridge.ageing_time
        return not ageing or not record.seen or self._wall() - record.seen < ageing

    def _saved(self, record: Record) -> Saved:
        silent = max(0.0, self._wall() - record.seen) if record.seen else 0.0
        return Saved(record.vid, record.mac, record.port, record.kind, silent)

    # -- writing

    def records(self) -> list[Record]:
        """Give what the file should say: the table, and what still waits for its port."""
        now = self._wall() if self._config().bridge.ageing_time else 0.0
        table = [
            Record(one.mac, one.vid, one.port, one.kind, max(0, round(now - one.silent)))
            for one in self._learning.remember()
        ]
        names = {port.name for port in self._config().ports}
        waiting = [one for name in names & self._waiting.keys() for one in self._waiting[name]]
        return sorted([*table, *filter(self._is_young, waiting)])

    async def save(self) -> None:
        """Write the file if it would say something else than before. A failure is told once."""
        bridge = self._config().bridge
        if not self._is_open or not bridge.fdb_file:
            return
        records = self.records()
        if self._written == (bridge.fdb_file, records):
            return
        text = write_text(records, bridge.name, bridge.learning)
        try:
            await asyncio.to_thread(replace_file, Path(bridge.fdb_file), text)
        except OSError as error:
            if self._trouble != (trouble := _reason(error)):
                self._trouble = trouble
                log.warning("the FDB is not saved: %s: %s", bridge.fdb_file, trouble)
            return
        self._written, self._trouble = (bridge.fdb_file, records), ""


def _read(path: Path) -> str:
    with path.open("rb") as file:
        data = file.read(LENGTH_MAX + 1)
    if len(data) > LENGTH_MAX:
        raise FdbFileError(f"longer than {LENGTH_MAX} bytes")
    return data.decode()


def _reason(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error)
