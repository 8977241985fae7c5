"""A recorder writes what a mirror puts into its ring to a pcapng file, in a thread of its own.

Job: open the file without harming what is there, write, begin the next file or stop at the size that was asked for,
end the file well. A disk that is full, slow or gone costs copies, which are counted, and nothing else.
Thread: `open`, `set_names`, `set_limits` and `close` are called from the control thread or a worker of it; the file
belongs to the recorder's thread from then on. `state` and `reason` may be read by anybody.
Invariant: the file ends behind a whole block at any time but during a write. Refuses, as MirrorError, what Place
refuses, and files that have something in them unless they may be replaced or rotated away.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from bridge import __version__
from bridge.core._core import Capture
from bridge.errors import MirrorError
from bridge.mirror import pcapng
from bridge.mirror.place import Place

log = logging.getLogger(__package__)

RING = 4 << 20  # bytes
CHUNK = 1 << 18  # bytes of one write
LOOK = 1000  # milliseconds between looks at a file that nothing is written to
CLOSE_TIMEOUT = 5.0  # seconds a write may take at the end


@dataclass(slots=True)
class _Interface:
    """A port under one name, as the file describes it."""

    port: int
    name: str
    start_ns: int
    had: tuple[int, int]  # taken and lost of the port before
    has: tuple[int, int] | None = None  # and when the index became another interface


class Recorder:
    """One file, or one behind the other. States: recording, full, failed (see `reason`), closed."""

    def __init__(self, path: str, on_change: Callable[[], None], *, beneath: str = "") -> None:
        self.path = path
        self._place = Place(path, beneath)
        self.capture = Capture(size=RING)
        self.state = "recording"
        self.reason = ""
        self.file_bytes = 0
        self.n_files = 0
        self._on_change = on_change
        self._size, self._files = 0, 1
        self._names: Mapping[int, str] = {}
        self._sources: frozenset[int] = frozenset()
        self._fd = -1
        self._interfaces: list[_Interface] = []
        self._numbers: dict[int, int] = {}  # of the interface of each port
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    # -- control

    def open(self, *, size: int, files: int, replace: bool) -> None:
        """Open the file and begin; raises MirrorError."""
        self.set_limits(size, files)
        try:
            self._place.enter()
            self._begin(replace=replace, rotate=files > 1)
        except OSError as error:
            self._leave()
            raise MirrorError(f"{self.path}: {error.strerror or error}") from None
        except MirrorError:
            self._leave()
            raise
        self._thread = threading.Thread(target=self._run, name="framebridge-mirror", daemon=True)
        self._thread.start()

    def set_limits(self, size: int, files: int) -> None:
        """Change what the next packets are measured by."""
        self._size, self._files = size, files

    def set_names(self, names: Mapping[int, str], sources: Collection[int] = ()) -> None:
        """Say which port has which name from now on, and which ports packets may come from.

        Frames of those that are gone may still be in the ring. The sources are described at once: readers such as
        tcpdump refuse a file without an interface, also one that has no packet yet.
        """
        self._names = {**self._names, **names}
        self._sources = frozenset(sources)
        self.capture.wake()

    def close(self) -> None:
        """End the file; a write that does not end is given up."""
        self.capture.stop()
        self._closing.set()
        self.capture.wake()
        if self._thread:
            self._thread.join(CLOSE_TIMEOUT)
            if self._thread.is_alive():
                log.error("%s: a write does not end; the file is left as it is", self.path)

    # -- the thread

    def _run(self) -> None:
        try:
            while not self._closing.is_set() and self.state == "recording":
                self.capture.wait(LOOK)
                self._drain()
            if self.state == "recording":
                self._drain()
                self._end("closed")
        except OSError as error:
            self._fail(error.strerror or str(error))
        except MirrorError as error:
            self._fail(str(error))
        except Exception as error:
            log.exception("%s", self.path)
            self._fail(f"{type(error).__name__}: {error}")

    def _drain(self) -> None:
        """Write until the ring is empty or nothing more may be written."""
        if os.fstat(self._fd).st_nlink == 0:
            raise OSError(0, "the file was removed")
        self._forget_renamed()
        self._describe_sources()
        while self.state == "recording":
            room = max(0, self._room())
            taken = self.capture.take(min(CHUNK, room))
            if taken.blocks:
                self._write(taken.blocks)
            if taken.end == "empty":
                return
            if taken.end == "unknown":
                self._add_interface(taken.port)
            elif not taken.blocks or room < CHUNK:
                self._next_file()

    def _room(self) -> int:
        """Bytes for packets: what the statistics at the end and one more interface need is kept."""
        kept = (len(self._interfaces) + 1) * pcapng.STATISTICS_LEN + 128
        return self._size - self.file_bytes - kept

    def _next_file(self) -> None:
        if self._files == 1:
            self._end("full")
            return
        self._end("recording")
        self._begin(replace=False, rotate=True)
        self._describe_sources()

    def _begin(self, *, replace: bool, rotate: bool) -> None:
        fd = self._place.open()
        try:
            if rotate and os.fstat(fd).st_size:
                self._place.shift(self._files)
                fd, older = self._place.open(), fd
                os.close(older)
            self._place.empty(fd, replace=replace)
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd
        self.file_bytes = 0
        self.n_files += 1
        self._interfaces, self._numbers = [], {}
        for port in range(256):
            self.capture.set_interface(port, -1)
        self._write(pcapng.section_header(f"framebridge {__version__}"))

    def _describe_sources(self) -> None:
        for port in sorted(self._sources - self._numbers.keys()):
            self._add_interface(port)

    def _add_interface(self, port: int) -> None:
        one = _Interface(port, self._name(port), time.time_ns(), self.capture.counts(port))
        self._write(pcapng.interface(one.name))
        self._numbers[port] = len(self._interfaces)
        self._interfaces.append(one)
        self.capture.set_interface(port, self._numbers[port])

    def _name(self, port: int) -> str:
        return self._names.get(port, f"port-{port}")

    def _forget_renamed(self) -> None:
        """Make an index that another port has now another interface."""
        for port, number in [*self._numbers.items()]:
            one = self._interfaces[number]
            if one.name != self._name(port):
                one.has = self.capture.counts(port)
                self.capture.set_interface(port, -1)
                del self._numbers[port]

    def _write(self, blocks: bytes | bytearray) -> None:
        done = 0
        try:
            while done < len(blocks):
                done += os.write(self._fd, memoryview(blocks)[done:])
        except OSError:
            os.ftruncate(self._fd, self.file_bytes)  # a block cut short would spoil the file
            raise
        self.file_bytes += len(blocks)

    def _end(self, state: str) -> None:
        """Write what was counted, and close."""
        now = time.time_ns()
        for number, one in enumerate(self._interfaces):
            taken, lost = one.has or self.capture.counts(one.port)
            self._write(pcapng.statistics(number, one.start_ns, now, taken - one.had[0], lost - one.had[1]))
        self._let_go()
        if state != "recording":
            self._leave()
            self._change(state)

    def _fail(self, reason: str) -> None:
        self._leave()
        self._change("failed", reason)

    def _let_go(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _leave(self) -> None:
        self._let_go()
        self._place.leave()

    def _change(self, state: str, reason: str = "") -> None:
        self.capture.stop()
        self.reason, self.state = reason, state
        self._on_change()
