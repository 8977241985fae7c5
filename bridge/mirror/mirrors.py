"""Mirrors: copies of frames to a port or into a pcapng file, from file to data plane.

Job: write the configured mirrors into snapshots, run the recorders of those that have a file, and give rows of their
state. Which frames are copied, and in what form, is in csrc/mirror/mirror.h, the table of a mirror in config/mirror.py.
Thread: control; files are opened and closed in workers. Invariant: a mirror keeps its counters and its file as long as
its name and its file are in the configuration, also across a change that is undone.
Refuses: what `Recorder` refuses.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from bridge.config.mirror import WHAT, MirrorConfig, mirror_table
from bridge.config.vids import format_vids
from bridge.core._core import Bridge, Capture, MirrorState, Snapshot
from bridge.core.values import MirrorRow
from bridge.errors import MirrorError
from bridge.mirror.recorder import Recorder

log = logging.getLogger(__package__)

BURST = 0.1  # seconds: so much of a rate may come at once
Row = dict[str, object]


class Mirrors:
    """The mirrors in force, by name. `on_change` is given the name and the row of a recorder that stopped by itself."""

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

    @property
    def configs(self) -> tuple[MirrorConfig, ...]:
        """The mirrors in force."""
        return tuple(self._mirrors.values())

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
        before = {state.serial: state for state in core.mirrors()} if self._written else {}
        written = set()
        for name, row in self._snapshot_rows(ports, targets, hz):
            if recorder := self._recorders.get(name):
                recorder.set_names(names, [*row.ports])
            snapshot.add_mirror(row)
            written.add(name)
            before.pop(row.serial, None)
        self._past |= {serial: self._total(serial, state) for serial, state in before.items()}
        self._written = frozenset(written)

    def rehearse(
        self, snapshot: Snapshot, ports: Mapping[str, int], targets: Collection[str], hz: float
    ) -> dict[int, str]:
        """Write them down where no copy reaches a file; returns their names by serial."""
        names = {}
        for name, row in self._snapshot_rows(ports, targets, hz):
            snapshot.add_mirror(row._replace(capture=Capture()) if row.capture else row)
            names[row.serial] = name
        return names

    def _snapshot_rows(
        self, ports: Mapping[str, int], targets: Collection[str], hz: float
    ) -> Iterator[tuple[str, MirrorRow]]:
        sources = [index for name, index in ports.items() if name not in targets]
        for name, mirror in sorted(self._mirrors.items()):
            recorder = self._recorders.get(name)
            options: dict[str, Any] = {"capture": recorder.capture} if recorder else {}
            watched = [ports[port] for port in mirror.ports if port in ports] if mirror.ports else sources
            if not recorder and mirror.to_port in ports:
                options = {"target": ports[mirror.to_port]}
            if not options:
                continue
            frames, drops = WHAT[mirror.what]
            unit, limit = (mirror.rate.unit, mirror.rate.limit) if mirror.rate else ("bits", 0.0)
            yield (
                name,
                MirrorRow(
                    self._serials[name],
                    ports=watched,
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
                ),
            )

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
