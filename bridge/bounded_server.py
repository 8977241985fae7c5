"""A server that nobody can fill up: accepts connections, and never has more of them than it has room for.

Job: accept, run a task for each connection, close each descriptor whatever becomes of the task. What is said on a
connection is for a subclass of `Connection`. Thread: the loop's.

Theory of operation. asyncio's own servers accept a whole backlog before the first connection is looked at, leave the
descriptor open when the task of a connection is cancelled before it began, and log a traceback for each connection that
finds no descriptor. So this one accepts by itself, one connection a round of the loop, and decides before anything is
made for it:

* with all places taken, the connection that has yielded for longest makes room (it waits for its client, see
  `Connection.yielding`); if none yields, the newcomer is told so and closed;
* `kept` places are only for peers that `is_favoured` accepts, and they may displace anybody who yields;
* the kernel numbers descriptors from below, so a new one beyond limit - `reserve` says that fewer than `reserve` are
  left: that one is turned away, and ports, files and favoured peers have them;
* with none left at all, one that is kept for this purpose lets a favoured peer in, or the others be told.

Invariants: descriptors are never more than `connections` and the few that close in this round; trouble that peers can
cause at will is logged once a second (SeldomLog).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import math
import os
import resource
import socket
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial

READ = 1 << 16  # bytes that a stream reads ahead
RETRY = 1.0  # seconds without accepting when the kernel has no descriptor or memory for it
NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE)
NO_MEMORY = (errno.ENOBUFS, errno.ENOMEM)


@dataclass(frozen=True, slots=True)
class Room:
    """How many connections a server takes."""

    connections: int
    kept: int = 0  # of them, for favoured peers
    reserve: int = 0  # descriptors of the process that are left for others; favoured peers may have these too
    read_ahead: int = READ  # bytes; also the longest thing that is read up to a separator


class SeldomLog:
    """Logs what peers can cause at will: a record a `pause` at most, which says how many were left out before it."""

    def __init__(
        self, logger: logging.Logger, pause: float = 1.0, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._logger = logger
        self._pause = pause
        self._now = now
        self._next = -math.inf
        self._left_out = 0

    def __call__(self, level: int, message: str, *values: object, exc_info: bool = False) -> None:
        """Log a record like Logger.log, or leave it out."""
        now = self._now()
        if now < self._next:
            self._left_out += 1
            return
        more = f" ({self._left_out} more were left out before this)" if self._left_out else ""
        self._next, self._left_out = now + self._pause, 0
        self._logger.log(level, f"{message}%s", *values, more, exc_info=exc_info)


class Connection:
    """One accepted socket. A subclass says in `serve` what happens on it; when that ends, it is closed."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def __init__(self, accepted: socket.socket, *, favoured: bool) -> None:
        self.socket = accepted
        self.favoured = favoured
        self.yields_at = math.inf  # time of the loop
        self._is_open = False

    async def serve(self) -> None:
        """Talk to the peer; `reader` and `writer` are there."""
        raise NotImplementedError

    def finish(self) -> bool:
        """End soon, for the server closes; False: there is nothing to be ended, just hang up."""
        return False

    @contextlib.contextmanager
    def yielding(self, after: float = 0.0) -> Iterator[None]:
        """Wait for the client inside the block: after so many seconds there this connection makes room for others."""
        self.yields_at = asyncio.get_running_loop().time() + after
        try:
            yield
        finally:
            self.yields_at = math.inf

    async def open(self, read_ahead: int) -> None:
        """Make the streams."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=read_ahead)
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, self.socket)
        self.reader, self.writer = reader, asyncio.StreamWriter(transport, protocol, reader, loop)
        self._is_open = True

    def abort(self) -> None:
        """Close the descriptor, now or in the next round of the loop; idempotent."""
        if self._is_open:
            self.writer.transport.abort()
        else:
            self.socket.close()


class BoundedServer:
    """Serves the connections of one listening socket; `make` makes each, and `refusal` is sent to those turned away."""

    def __init__(
        self,
        name: str,
        room: Room,
        make: Callable[[socket.socket, bool], Connection],
        *,
        is_favoured: Callable[[socket.socket], bool] = lambda _: False,
        refusal: bytes = b"",
    ) -> None:
        self.log = SeldomLog(logging.getLogger(__package__))
        self._name = name
        self._room = room
        self._make = make
        self._is_favoured = is_favoured
        self._refusal = refusal
        self._listener: socket.socket | None = None
        self._connections: dict[Connection, asyncio.Task[None]] = {}
        self._leaving: set[asyncio.Task[None]] = set()  # they made room
        self._spare = -1  # a descriptor to let go of when there is no other

    @property
    def connections(self) -> Collection[Connection]:
        """Those that have a place."""
        return self._connections.keys()

    def start(self, listener: socket.socket) -> None:
        """Serve a socket that listens; it belongs to this server from now on."""
        listener.setblocking(False)
        self._listener = listener
        self._keep_spare()
        self._resume(listener)

    def start_again(self, listener: socket.socket) -> None:
        """Serve another socket that listens instead; who is connected stays so."""
        self.stop()
        self.start(listener)

    def stop(self) -> None:
        """Accept nobody any more. Idempotent."""
        listener, self._listener = self._listener, None
        if listener:
            asyncio.get_running_loop().remove_reader(listener)
            listener.close()
        self._drop_spare()

    async def close(self, patience: float = 0.0) -> None:
        """Stop; connections that finish have so many seconds for it, the others are hung up on. Idempotent."""
        self.stop()
        for connection, task in self._connections.items():
            if not connection.finish():
                task.cancel()
        if tasks := {*self._connections.values(), *self._leaving}:
            _, late = await asyncio.wait(tasks, timeout=patience or None)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await asyncio.sleep(0)  # transports close in the round after

    # -- accepting

    def _resume(self, listener: socket.socket) -> None:
        if listener is self._listener:
            asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    def _accept(self, listener: socket.socket) -> None:
        """Take one connection that waits and give it a place, or turn it away."""
        self._keep_spare()
        try:
            accepted = self._next_of(listener)
        except OSError as error:
            if error.errno in (*NO_DESCRIPTOR, *NO_MEMORY):
                self._pause(listener, error)
            return  # else it was gone before it was accepted
        try:
            self._place(accepted)
        except OSError:  # it is gone already
            accepted.close()
        finally:
            self._keep_spare()

    def _next_of(self, listener: socket.socket) -> socket.socket:
        try:
            return listener.accept()[0]
        except OSError as error:
            if error.errno not in NO_DESCRIPTOR or self._spare < 0:
                raise
        self._drop_spare()
        return listener.accept()[0]

    def _pause(self, listener: socket.socket, error: OSError) -> None:
        self.log(logging.WARNING, "%s: cannot accept connections: %s", self._name, error.strerror)
        loop = asyncio.get_running_loop()
        loop.remove_reader(listener)
        loop.call_later(RETRY, self._resume, listener)

    def _place(self, accepted: socket.socket) -> None:
        accepted.setblocking(False)
        favoured = self._is_favoured(accepted)
        trouble = self._why_not(accepted, favoured)
        if trouble:
            self.log(logging.WARNING, "%s: a connection was turned away: %s", self._name, trouble)
            with contextlib.suppress(OSError):
                accepted.send(self._refusal)
            accepted.close()
            return
        connection = self._make(accepted, favoured)
        task = asyncio.get_running_loop().create_task(self._run(connection))
        self._connections[connection] = task
        task.add_done_callback(partial(self._ended, connection))

    def _why_not(self, accepted: socket.socket, favoured: bool) -> str:
        """Say why a newcomer has no place; empty: it has one, perhaps that of another."""
        if not favoured and self._is_scarce(accepted):
            return "this process has hardly any descriptors left"
        places, rivals = self._room.connections, [*self._connections]
        is_full = len(rivals) >= places
        if not favoured:
            rivals = [one for one in rivals if not one.favoured]
            is_full |= len(rivals) >= places - self._room.kept
        if is_full and not self._make_room(rivals):
            return f"{len(self._connections)} are connected"
        return ""

    def _is_scarce(self, accepted: socket.socket) -> bool:
        limit = descriptor_limit()
        return self._spare < 0 or accepted.fileno() >= limit - min(self._room.reserve, limit // 4)

    def _make_room(self, rivals: Collection[Connection]) -> bool:
        """Hang up on the one that has yielded for longest; False: none does."""
        longest = min(rivals, key=lambda one: one.yields_at, default=None)
        if longest is None or longest.yields_at > asyncio.get_running_loop().time():
            return False
        task = self._connections.pop(longest)
        self._leaving.add(task)
        task.cancel()
        longest.abort()
        return True

    def _keep_spare(self) -> None:
        if self._spare < 0 and self._listener:
            with contextlib.suppress(OSError):
                self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def _drop_spare(self) -> None:
        spare, self._spare = self._spare, -1
        if spare >= 0:
            os.close(spare)

    # -- a connection

    async def _run(self, connection: Connection) -> None:
        """Serve one connection. Whatever goes wrong ends this one and nothing else."""
        try:
            await connection.open(self._room.read_ahead)
            await connection.serve()
        except (OSError, asyncio.IncompleteReadError) as error:  # also TimeoutError
            logging.getLogger(__package__).debug("%s: %s", self._name, error or "too slow")
        except Exception:
            self.log(logging.ERROR, "%s: unexpected error", self._name, exc_info=True)

    def _ended(self, connection: Connection, task: asyncio.Task[None]) -> None:
        # Not in the task: one that is cancelled before its first step never runs.
        connection.abort()
        self._connections.pop(connection, None)
        self._leaving.discard(task)


def descriptor_limit() -> int:
    """How many descriptors this process may have."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 30 if soft == resource.RLIM_INFINITY else soft


def raise_descriptor_limit(wanted: int) -> None:
    """Let this process have so many descriptors if it may; never fewer than before."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
