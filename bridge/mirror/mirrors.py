"""Mirrors: copies of frames to a port or into a pcapng file, from file to data plane.

Job: the `[[mirror]]` table as a value, reading and writing of it, and `Mirrors`, which writes the configured ones into
snapshots, runs the recorders of those that have a file, and tells their state in rows. Which frames are copied, and in
what form, is in csrc/mirror/mirror.h.
Thread: control; files are opened and closed in workers. Invariant: a mirror keeps its counters and its file as long as
its name and its file are in the configuration, also across a change that is undone.
Refuses: a mirror without a target or with two, a target that has traffic of its own or is mirrored, and what
`Recorder` refuses.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bridge.config import checks
from bridge.config.checks import BadValueError, Keys, Report, Table, did_you_mean, show
from bridge.config.lines import KeyPath
from bridge.config.port import PortConfig
from bridge.config.rates import Rate, reader
from bridge.config.vids import format_vids, vid_runs
from bridge.core._core import SNAPLEN_MIN, Bridge, MirrorState, Snapshot
from bridge.errors import MirrorError
from bridge.mirror.recorder import Recorder

log = logging.getLogger(__package__)

DIRECTIONS = ("rx", "tx", "both")
WHAT = {"frames": (True, False), "drops": (False, True), "all": (True, True)}
SIZE_MIN, SIZE_MAX = 1 << 18, 1 << 44  # bytes of a file
FILE_SIZE = 100_000_000
FILES_MAX = 1000
BURST = 0.1  # seconds: so much of a rate may come at once
_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
Row = dict[str, object]


@dataclass(frozen=True, slots=True)
class MirrorConfig:
    """One `[[mirror]]`. Exactly one of `to_port` and `file` is set."""

    name: str
    ports: tuple[str, ...] = ()  # none: all that have traffic of their own
    direction: str = "both"  # rx | tx | both
    vids: tuple[int, ...] = ()  # none: all, and frames that are in no VLAN
    what: str = "frames"  # frames (that go on) | drops | all
    to_port: str = ""
    file: str = ""  # absolute
    directory: str = ""  # that the file is beneath, and not led out of; "": it may be anywhere
    snaplen: int = 0  # bytes; 0: whole frames
    file_size: int = FILE_SIZE  # bytes
    files: int = 1  # of that size; the oldest goes when there is one more
    replace: bool = False  # a file that has something in it
    rate: Rate | None = None  # frames or bits; None: no limit


def size(value: object) -> int:
    """Check for a number of bytes, written as one or like `100 MB` or `64 MiB`."""
    match = re.fullmatch(r"([0-9]{1,15}) ?(|[kMG]|[KMG]i)B", value) if isinstance(value, str) else None
    number = int(match[1]) * _UNITS[match[2]] if match else value
    if isinstance(number, int) and not isinstance(number, bool) and SIZE_MIN <= number <= SIZE_MAX:
        return number
    raise BadValueError(
        f"expected a size like '100 MB', from {SIZE_MIN} to {SIZE_MAX} bytes, got {show(value)}"
    )


_path_text = checks.text("a path", 4095)


def path(value: object) -> str:
    """Check for the path of a file, absolute or beneath `mirror_dir`."""
    found: str = _path_text(value)
    if found.endswith("/"):
        raise BadValueError(f"expected the path of a file, got {show(value)}; take the '/' at its end away")
    if ".." in Path(found).parts:
        raise BadValueError(f"{show(value)} leads back; write the path without '..'")
    return str(Path(found))


def snaplen(value: object) -> int:
    """Check for the bytes that are kept of a frame."""
    found: int = checks.integer(0, 65535, "bytes")(value)
    if 0 < found < SNAPLEN_MIN:
        raise BadValueError(f"expected 0 (whole frames) or at least {SNAPLEN_MIN} bytes, got {found}")
    return found


_KEYS: Keys = {
    "name": ("name", checks.name),
    "direction": ("direction", checks.choice(*DIRECTIONS)),
    "what": ("what", checks.choice(*WHAT)),
    "to_port": ("to_port", checks.name),
    "file": ("file", path),
    "snaplen": ("snaplen", snaplen),
    "file_size": ("file_size", size),
    "files": ("files", checks.integer(1, FILES_MAX)),
    "replace": ("replace", checks.boolean),
    "rate": ("rate", reader("frames", "bits")),
}
_FILE_KEYS = ("file_size", "files", "replace")


def parse_mirror(table: Mapping[str, object], where: str = "mirror") -> MirrorConfig:
    """Validate one mirror given as an object shaped like a `[[mirror]]` table; `where` begins every key path."""
    report = Report(where=where)
    mirror = read_mirror(Table(table, (), report))
    report.raise_problems()
    return mirror


def read_mirror(table: Table) -> MirrorConfig:
    """Read one `[[mirror]]`; flaws are told to the report of the table and leave their field blank."""
    fields = table.fields(_KEYS, required=("name",))
    ports = table.union("ports", lambda name: (checks.name(name),))
    vids = table.union("vlans", checks.vids)
    table.refuse_unknown()
    for key, found in (("ports", ports), ("vlans", vids)):
        if found is not None and not found:
            table.fail("an empty list mirrors nothing; leave the key out for all", key)
    if ("to_port" in table) == ("file" in table):
        table.fail("write exactly one of to_port = '...' and file = '/...'")
    elif "to_port" in table:
        for key in _FILE_KEYS:
            if key in table:
                table.fail("a mirror to a port writes no file; remove this key or write file = '/...'", key)
    return MirrorConfig(
        **{"name": "", **fields},
        ports=tuple(sorted(ports or ())),
        vids=tuple(sorted(vids or ())),
    )


def place_file(mirror: MirrorConfig, directory: str) -> MirrorConfig:
    """Return the mirror with its file beneath this directory, unless it is somewhere else."""
    if not mirror.file:
        return mirror
    file = str(Path(directory) / mirror.file)
    return replace(mirror, file=file, directory=directory if checks.is_beneath(file, directory) else "")


def mirror_table(mirror: MirrorConfig) -> dict[str, object]:
    """Return the `[[mirror]]` table, absent keys None."""
    table = checks.plain_table(mirror, _KEYS)
    runs = [first if first == last else f"{first}-{last}" for first, last in vid_runs(mirror.vids)]
    return table | {
        "ports": list(mirror.ports) or None,
        "vlans": runs or None,
        "rate": str(mirror.rate) if mirror.rate else None,
        **({} if mirror.file else dict.fromkeys(_FILE_KEYS)),
    }


def check_mirrors(
    report: Report,
    ports: Sequence[tuple[KeyPath, PortConfig]],
    mirrors: Sequence[tuple[KeyPath, MirrorConfig]],
) -> None:
    """Report mirrors of ports that do not exist or cannot be a source or target."""
    by_name = {port.name: port for _, port in ports}
    for where, mirror in mirrors:
        for name in mirror.ports:
            _check_source(report, (*where, "ports"), mirror, name, by_name)
        if mirror.to_port:
            _check_target(report, (*where, "to_port"), mirror.to_port, by_name)


def _check_source(
    report: Report, where: KeyPath, mirror: MirrorConfig, name: str, by_name: Mapping[str, PortConfig]
) -> None:
    if name == mirror.to_port:
        report.add(
            where,
            f"port {name!r} is the target of this mirror; a port cannot be mirrored to itself, remove it",
        )
    elif name in by_name and by_name[name].mode == "mirror":
        report.add(
            where, f"port {name!r} only takes copies of mirrors, which are not mirrored again; remove it"
        )
    elif name not in by_name and "" not in by_name:
        report.add(
            where, f"there is no port {name!r}{did_you_mean(name, by_name) or '; add it, or remove it here'}"
        )


def _check_target(report: Report, where: KeyPath, name: str, by_name: Mapping[str, PortConfig]) -> None:
    port = by_name.get(name)
    if port is None:
        if "" not in by_name:
            report.add(where, f"there is no port {name!r}{did_you_mean(name, by_name) or '; add it'}")
    elif port.mode != "mirror":
        carried = f", VLAN {format_vids(port.members)}" if port.members else ""
        report.add(
            where,
            f"port {name!r} has traffic of its own{carried}, which copies would mix with; "
            "give it vlan = { mirror = true }, or choose another port",
        )


class Mirrors:
    """The mirrors in force, by name. `on_change` is told the name and the row of a recorder that stopped by itself."""

    def __init__(self, on_change: Callable[[str, str, str], None]) -> None:
        self._mirrors: dict[str, MirrorConfig] = {}
        self._serials: dict[str, int] = {}
        self._recorders: dict[str, Recorder] = {}
        self._retired: dict[tuple[str, str], tuple[int, Recorder | None]] = {}  # until the change is settled
        self._troubles: dict[str, str] = {}  # why a file could not be opened
        self._next = 1
        self._written: frozenset[str] = frozenset()  # in the last snapshot
        self._past: dict[int, MirrorState] = {}  # by serial: what was counted before a target went away
        self._on_change = on_change

    def __bool__(self) -> bool:
        return bool(self._mirrors)

    async def set(self, mirror: MirrorConfig, *, strict: bool) -> None:
        """Add a mirror, or change one and keep its state; raises MirrorError, but if not `strict`."""
        before = self._mirrors.get(mirror.name)
        if before and before.file != mirror.file:
            self._retire(mirror.name)
            before = None
        self._troubles.pop(mirror.name, None)
        serial, recorder = self._retired.pop((mirror.name, mirror.file), (0, None))
        recorder = self._recorders.get(mirror.name, recorder)
        if mirror.file and recorder is None:
            try:
                recorder = await self._open(mirror)
            except MirrorError as error:
                if strict:
                    raise
                log.error("mirror %s: %s", mirror.name, error)
                self._troubles[mirror.name] = str(error)
        if recorder:
            recorder.set_limits(mirror.file_size, mirror.files)
            self._recorders[mirror.name] = recorder
        if mirror.name not in self._serials:
            self._serials[mirror.name] = serial or self._next
            self._next += not serial
        self._mirrors[mirror.name] = mirror

    async def _open(self, mirror: MirrorConfig) -> Recorder:
        loop = asyncio.get_running_loop()

        def changed() -> None:
            loop.call_soon_threadsafe(self._on_change, mirror.name, recorder.state, recorder.reason)

        recorder = Recorder(mirror.file, changed, beneath=mirror.directory)
        await asyncio.to_thread(
            recorder.open, size=mirror.file_size, files=mirror.files, replace=mirror.replace
        )
        return recorder

    def _retire(self, name: str) -> None:
        recorder = self._recorders.pop(name, None)
        self._retired[name, self._mirrors[name].file] = self._serials.pop(name), recorder
        del self._mirrors[name]

    def remove(self, name: str) -> None:
        """Forget a mirror; its file is ended by `settle`."""
        self._retire(name)
        self._troubles.pop(name, None)

    async def settle(self) -> None:
        """End the files of mirrors that are gone for good; the snapshot in force names them no more."""
        retired, self._retired = self._retired, {}
        for serial, recorder in retired.values():
            self._past.pop(serial, None)
            if recorder:
                await asyncio.to_thread(recorder.close)

    async def close(self) -> None:
        """End all files; the data plane has stopped."""
        for name in [*self._mirrors]:
            self._retire(name)
        await self.settle()

    def add_to(
        self, snapshot: Snapshot, ports: Mapping[str, int], targets: Collection[str], hz: float, core: Bridge
    ) -> None:
        """Write them down; `ports` are the attached ones by name, `hz` the cycles per second.

        A mirror whose target is not attached is left out until it is; so is one whose file is in trouble.
        `targets` are the ports that take copies.
        """
        names = {index: name for name, index in ports.items()}
        sources = [index for name, index in ports.items() if name not in targets]
        before = {state.serial: state for state in core.mirrors()} if self._written else {}
        written = set()
        for name, mirror in sorted(self._mirrors.items()):
            recorder = self._recorders.get(name)
            options: dict[str, Any] = {"capture": recorder.capture} if recorder else {}
            if recorder:
                recorder.set_names(names)
            elif mirror.to_port in ports:
                options = {"target": ports[mirror.to_port]}
            else:
                continue
            frames, drops = WHAT[mirror.what]
            unit, limit = (mirror.rate.unit, mirror.rate.limit) if mirror.rate else ("bits", 0.0)
            snapshot.add_mirror(
                self._serials[name],
                ports=[ports[port] for port in mirror.ports if port in ports] if mirror.ports else sources,
                rx=mirror.direction != "tx",
                tx=mirror.direction != "rx",
                vids=mirror.vids or None,
                frames=frames,
                drops=drops,
                snaplen=mirror.snaplen,
                unit=unit,
                rate=limit / hz,
                burst=max(1.0, limit * BURST),
                **options,
            )
            written.add(name)
            before.pop(self._serials[name], None)
        self._past |= {serial: self._total(serial, state) for serial, state in before.items()}
        self._written = frozenset(written)

    def _total(self, serial: int, state: MirrorState | None) -> MirrorState:
        """Add what was counted before the target went away and came back."""
        past = self._past.get(serial, MirrorState(serial, 0, 0, 0, 0))
        if state is None:
            return past
        return MirrorState(serial, *(a + b for a, b in zip(past[1:], state[1:], strict=True)))

    def rows(self, core: Bridge) -> list[Row]:
        """One row per mirror: what it copies, where to, and what became of the copies."""
        states = {state.serial: state for state in core.mirrors()} if self._mirrors else {}
        return [self._row(mirror, states) for _, mirror in sorted(self._mirrors.items())]

    def _row(self, mirror: MirrorConfig, states: Mapping[int, MirrorState]) -> Row:
        serial = self._serials[mirror.name]
        state = self._total(serial, states.get(serial))
        recorder = self._recorders.get(mirror.name)
        if recorder:
            word, reason = recorder.state, recorder.reason
        elif mirror.file:
            word, reason = "failed", self._troubles.get(mirror.name, "")
        else:
            word, reason = (
                ("mirroring", "") if mirror.name in self._written else ("absent", "the port is not attached")
            )
        return {
            "mirror": mirror.name,
            "ports": list(mirror.ports) or None,
            "direction": mirror.direction,
            "vlans": format_vids(mirror.vids) or None,
            "what": mirror.what,
            "to": mirror.to_port or mirror.file,
            "snaplen": mirror.snaplen,
            "rate": mirror_table(mirror)["rate"],
            "state": word,
            "reason": reason or None,
            "mirrored": state.copies,
            "bytes": state.bytes,
            "lost": state.lost,
            "over_rate": state.over_rate,
            "file_bytes": recorder.file_bytes if recorder else None,
            "files": recorder.n_files if recorder else None,
        }


def without_port(mirrors: Iterable[MirrorConfig], name: str) -> tuple[MirrorConfig, ...]:
    """Return the mirrors that stay when a port leaves: not those to it, nor those of it alone."""
    kept = []
    for mirror in mirrors:
        ports = tuple(port for port in mirror.ports if port != name)
        if mirror.to_port != name and bool(ports) == bool(mirror.ports):
            kept.append(replace(mirror, ports=ports))
    return tuple(kept)
