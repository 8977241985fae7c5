"""The FDB in a file, so that a restart does not flood what was known: `bridge.fdb_file`.

Job: write dynamic and sticky entries at a clean end, and every SAVE_EVERY seconds if something changed; read them
once, at the start, and hand them to `Store`: sticky ones at once, learned ones of a port when it first carries traffic,
also if that is later. What is static or drop belongs to the configuration. Thread: control; the table is written down
in a worker.

Format: JSON, one line for each entry, `seen` in whole seconds of Unix time (0 where entries do not age):

    {"format": "framebridge-fdb", "version": 1, "bridge": "dmz", "learning": "automatic", "entries": [
    ["02:00:00:00:00:01", 10, "guests", "dynamic", 1763841000],
    ["02:00:00:00:00:02", 20, "uplink", "sticky", 1763840990]
    ]}

The file is replaced as a whole (rename after fsync), so a reader sees the old one or the new one, also after a crash.
Not restored: what was silent for ageing_time by the clock of the wall, the time the bridge did not run included;
entries of ports that do not exist, or that do not carry the VLAN or do not learn; what is known by then, or was set by
hand; dynamic entries beyond a limit (sticky ones were set by hand: no limit holds for them); dynamic entries of an
automatic bridge on one that is controlled by now, and of a locked port that does not allow them: nobody has let them
in.

Refuses, with a line in the log and nothing else: a file that cannot be read or written, is damaged, or is of another
bridge. A file of something else is never overwritten: a typing error must not cost a configuration.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from bridge.config import checks
from bridge.config.bridge import BridgeConfig
from bridge.config.table import BadValueError, show
from bridge.config.whole import Config
from bridge.fdb.store import Saved, Store
from bridge.mac import format_mac

log = logging.getLogger(__package__)

FORMAT, VERSION = "framebridge-fdb", 1
BEGIN = json.dumps({"format": FORMAT})[:-1].encode()
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
        raise FdbFileError(f"of version {show(document.get('version'))}, this one reads {VERSION}")
    if document.get("bridge") != bridge:
        raise FdbFileError(f"of the bridge {show(document.get('bridge'))}, not of {bridge!r}")
    entries = document.get("entries")
    if not isinstance(entries, list):
        raise FdbFileError("damaged: it has no entries")
    return [_record(entry) for entry in entries], str(document.get("learning"))


def _record(entry: Any) -> Record:
    try:
        mac, vid, port, kind, seen = entry
        return Record(checks.station(mac), checks.vid(vid), checks.name(port), _kind(kind), _seen(seen))
    except (BadValueError, TypeError, ValueError) as error:
        raise FdbFileError(f"damaged: {show(entry)}: {error}") from None


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


def refuse_others(path: Path) -> None:
    """Raise FdbFileError if there is something that this program did not begin; what a crash leaves may be empty."""
    try:
        with path.open("rb") as file:
            found = file.read(len(BEGIN)).rstrip(b"\0")
    except FileNotFoundError:
        return
    if not BEGIN.startswith(found):
        raise FdbFileError("it is no FDB of a framebridge; move it away, or name another file")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)


class FdbFile:
    """The file of one bridge; `config` gives the configuration in force."""

    def __init__(
        self, store: Store, config: Callable[[], Config], wall: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._config = config
        self._wall = wall
        self._waiting: defaultdict[str, list[Record]] = defaultdict(list)  # by port; until it carries traffic
        self._writing = threading.Lock()
        self._written: tuple[str, int] | None = None  # the file, and the hash of what it says
        self._is_open = False  # read, so that writing loses nothing
        self._trouble = ""

    # -- reading

    def open(self, *, read: bool = True) -> None:
        """Read the file, if there is one, and restore what can be; from now on it may be written."""
        self._is_open = True
        bridge = self._config().bridge
        if not bridge.fdb_file or not read:
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
        """Restore entries: sticky ones at once, others when their port carries traffic; returns how many.

        Each port has one turn.
        """
        if not self._waiting:
            return 0
        ready = []
        for name, carries in self._store.port_names.items():
            waiting = self._waiting.pop(name, [])
            ready += [record for record in waiting if carries or record.kind == "sticky"]
            if left := [record for record in waiting if not carries and record.kind != "sticky"]:
                self._waiting[name] = left
        return self._store.restore(self._returning(ready))

    def _returning(self, records: Iterable[Record]) -> Iterator[Saved]:
        config, now = self._config(), self._wall()
        ports = {port.name: port for port in config.ports}
        mute = {vlan.vid for vlan in config.vlans if not vlan.learning}
        for record in _young(records, config.bridge.ageing_time, now):
            mac, vid, name, kind, seen = record
            port = ports.get(name)
            is_welcome = port is None or (port.learning and port.security.admits(mac))
            if kind == "sticky" or (is_welcome and vid not in mute):
                yield Saved(vid, mac, name, kind, max(0.0, now - seen) if seen else 0.0)

    # -- writing

    async def save(self) -> None:
        """Write the file if it would say something else than before. A failure is logged once."""
        config = self._config()
        if not self._is_open or not config.bridge.fdb_file:
            return
        names = {port.name for port in config.ports}
        waiting = [one for name in names & self._waiting.keys() for one in self._waiting[name]]
        try:
            await asyncio.to_thread(self._write, config.bridge, self._store.remember(), waiting, self._wall())
        except (FdbFileError, OSError) as error:
            if self._trouble != (trouble := _reason(error)):
                self._trouble = trouble
                log.warning("the FDB is not saved: %s: %s", config.bridge.fdb_file, trouble)
            return
        self._trouble = ""

    def _write(self, bridge: BridgeConfig, table: Iterable[Saved], waiting: list[Record], now: float) -> None:
        """Write the table, and what still waits for its port. In a worker: 65,536 entries take most of a second."""
        with self._writing:  # a save that was given up ends before the next one
            base = now if bridge.ageing_time else 0.0
            records = [
                Record(mac, vid, port, kind, max(0, round(base - silent)))
                for vid, mac, port, kind, silent in table
            ]
            records += _young(waiting, bridge.ageing_time, now)
            text = write_text(sorted(records), bridge.name, bridge.learning)
            if self._written == (written := (bridge.fdb_file, hash(text))):
                return
            refuse_others(Path(bridge.fdb_file))
            replace_file(Path(bridge.fdb_file), text)
            self._written = written


def _young(records: Iterable[Record], ageing: float, now: float) -> Iterator[Record]:
    """Give those that would not have aged out by now."""
    return (record for record in records if not ageing or not record.seen or now - record.seen < ageing)


def _read(path: Path) -> str:
    with path.open("rb") as file:
        data = file.read(LENGTH_MAX + 1)
    if len(data) > LENGTH_MAX:
        raise FdbFileError(f"longer than {LENGTH_MAX} bytes")
    return data.decode()


def _reason(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error)
