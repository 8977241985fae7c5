"""The conversation of two processes of which one takes the bridge of the other over; docs/take-over.md has it in full.

    new: a call TakeOver on the control socket          old: an empty reply, then on the same connection
    new: -                                              old: OFFER, and the descriptors of all ports; FDB
    new: opens its ports with them, PREPARED            old: forwards meanwhile, then stops its data thread
    new: -                                              old: STATE, and what changed of the FDB
    new: goes on where the other stopped, RUNNING       old: DONE, and ends without touching anything

Frames wait in queues and rings between "stops" and RUNNING and nowhere else. Threads: control, in both; while the data
thread of the old process stands still nothing else of it turns either, which is bounded by DECIDE_SECONDS.
Invariant: whatever goes wrong before RUNNING, the old process forwards (again) and the new one ends.
Refuses, as TakeOverError: messages that are no messages of this kind, or too long; silence.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import json
import logging
import os
import socket
import struct
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bridge.control.protocol import INTERFACE, Decoder, encode, reply_parameters
from bridge.control.socket_path import SocketPath
from bridge.engine.takeover import Message, TakeOverError, read_offer, read_state

if TYPE_CHECKING:
    from bridge.engine.engine import Engine

log = logging.getLogger(__package__)

MAGIC = b"FBTO"
HEAD = struct.Struct("!4scHI")  # magic, kind, descriptors that come with it, bytes that follow
OFFER, DESCRIPTORS, PREPARED, STATE, FDB, RUNNING, DONE = b"O", b"D", b"P", b"S", b"T", b"R", b"E"
DESCRIPTORS_MAX = 200  # in one message; the kernel takes 253 (SCM_MAX_FD)
LENGTH_MAX = 64 << 20
ANSWER_SECONDS = 10.0
PREPARE_SECONDS = 60.0  # to open ports
DECIDE_SECONDS = 5.0  # between STATE and RUNNING


class Wire:
    """One end of the connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def cut(self) -> None:
        """Hang up on both sides while another thread may be waiting here."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def send(self, kind: bytes, body: bytes = b"", descriptors: Sequence[int] = ()) -> None:
        """Send one message; raises TakeOverError."""
        head = HEAD.pack(MAGIC, kind, len(descriptors), len(body))
        try:
            self._socket.settimeout(ANSWER_SECONDS)
            if descriptors:
                socket.send_fds(self._socket, [head], [*descriptors])
            else:
                self._socket.sendall(head)
            if body:  # after the last byte of a message the other side may have gone, and nothing is wrong
                self._socket.sendall(body)
        except OSError as error:
            raise TakeOverError(f"the other process is gone: {error}") from error

    def send_offer(self, offer: Message, descriptors: Sequence[int]) -> None:
        """Send an offer with its descriptors."""
        self.send(OFFER, json.dumps({**offer, "descriptors": len(descriptors)}).encode())
        for first in range(0, len(descriptors), DESCRIPTORS_MAX):
            self.send(DESCRIPTORS, descriptors=descriptors[first : first + DESCRIPTORS_MAX])

    def receive(self, kind: bytes, seconds: float = ANSWER_SECONDS) -> tuple[bytes, list[int]]:
        """Receive the message of a kind that has to come now: its bytes and descriptors; raises TakeOverError."""
        deadline = time.monotonic() + seconds
        head, descriptors = self._receive(HEAD.size, deadline, DESCRIPTORS_MAX)
        try:
            magic, found, count, length = HEAD.unpack(head)
            if magic != MAGIC or found != kind or count != len(descriptors) or length > LENGTH_MAX:
                raise TakeOverError(f"the other process does not say {kind.decode()!r} but {head!r}")
            body, more = self._receive(length, deadline, DESCRIPTORS_MAX)
            descriptors += more
            if more:
                raise TakeOverError("the other process sends descriptors that nobody asked for")
        except BaseException:
            close_all(descriptors)
            raise
        return body, descriptors

    def receive_message(self, kind: bytes, seconds: float = ANSWER_SECONDS) -> Message:
        """Receive a JSON object; raises TakeOverError."""
        body, descriptors = self.receive(kind, seconds)
        close_all(descriptors)
        try:
            message = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise TakeOverError(f"the other process sends no JSON: {error}") from None
        if not isinstance(message, dict):
            raise TakeOverError("the other process sends no object")
        return message

    def receive_offer(self) -> tuple[Message, list[int]]:
        """Receive an offer and its descriptors."""
        offer = self.receive_message(OFFER)
        wanted, descriptors = offer.get("descriptors"), list[int]()
        if not isinstance(wanted, int):
            raise TakeOverError("its offer does not say how many descriptors come")
        try:
            while len(descriptors) < wanted:
                descriptors += self.receive(DESCRIPTORS)[1] or _none_came()
        except BaseException:
            close_all(descriptors)
            raise
        return offer, descriptors

    def _receive(self, length: int, deadline: float, most: int) -> tuple[bytes, list[int]]:
        data, descriptors = bytearray(), list[int]()
        space = socket.CMSG_SPACE(most * array.array("i").itemsize)
        try:
            while len(data) < length:
                self._socket.settimeout(max(0.001, deadline - time.monotonic()))
                part, ancillary, flags, _ = self._socket.recvmsg(
                    length - len(data), space, socket.MSG_CMSG_CLOEXEC
                )
                descriptors += _descriptors(ancillary)
                if not part or flags & socket.MSG_CTRUNC:
                    raise TakeOverError("the other process hung up")
                data += part
        except OSError as error:
            close_all(descriptors)
            raise TakeOverError(f"the other process does not answer: {error}") from error
        except BaseException:
            close_all(descriptors)
            raise
        return bytes(data), descriptors


class Giving:
    """The side that gives its bridge away. `done` is set when it has: then nothing of it is ours any more."""

    def __init__(self, engine: Engine, path: SocketPath) -> None:
        self.done = asyncio.Event()
        self._engine = engine
        self._path = path
        self._wires: set[Wire] = set()

    def refuse_all(self) -> None:
        """End every conversation that has not come to RUNNING."""
        for wire in self._wires:
            wire.cut()

    async def __call__(self, connection: socket.socket) -> None:
        """Talk to the process that wants it; the bridge goes on here unless that has it."""
        wire = Wire(connection)
        self._wires.add(wire)
        try:
            async with self._engine.giving() as (offer, descriptors, fdb):
                await asyncio.to_thread(wire.send_offer, offer, [*self._path.descriptors(), *descriptors])
                await asyncio.to_thread(wire.send, FDB, fdb)
                message = await asyncio.to_thread(wire.receive_message, PREPARED, PREPARE_SECONDS)
                took = self._decide(wire)
                self._engine.give_up()
        except TakeOverError as error:
            log.warning("the bridge was not taken over, and goes on here: %s", error)
            return
        finally:
            self._wires.discard(wire)
        self._path.give_up()
        self.done.set()
        who = message.get("pid")
        log.info("the bridge was taken over by process %s; nobody forwarded for %.1f ms", who, took * 1e3)
        with contextlib.suppress(TakeOverError):
            wire.send(DONE)

    def _decide(self, wire: Wire) -> float:
        """Stop forwarding, and hand over; whatever goes wrong, forward again. Returns seconds without forwarding."""
        stopped = time.monotonic()
        state, fdb = self._engine.freeze()
        try:
            wire.send(STATE, json.dumps(state).encode())
            wire.send(FDB, fdb)
            wire.receive(RUNNING, DECIDE_SECONDS)
            return time.monotonic() - stopped
        except BaseException:
            self._engine.thaw()
            raise


class Taking:
    """The side that takes a bridge over."""

    def __init__(self, wire: Wire, offer: Message, descriptors: list[int]) -> None:
        self._wire = wire
        self._offer = offer
        self._lock, self._listener, *self._descriptors = descriptors

    @classmethod
    def begin(cls, path: str) -> Taking | None:
        """Ask the daemon of a control socket; None: there is none. Raises TakeOverError."""
        if (wire := ask(path)) is None:
            return None
        try:
            offer, descriptors = wire.receive_offer()
            if len(descriptors) < 2:
                close_all(descriptors)
                raise TakeOverError("it offers no control socket")
        except BaseException:
            wire.close()
            raise
        return cls(wire, offer, descriptors)

    def socket_path(self, path: str) -> SocketPath:
        """Give the control socket of the other process, which is ours once the bridge is."""
        return SocketPath.taken_over(path, self._lock, self._listener)

    async def take(self, engine: Engine, path: SocketPath, *, strict: bool) -> None:
        """Prepare, and go on where the other process stops. Raises TakeOverError: then it goes on itself."""
        try:
            offer = read_offer(self._offer, self._descriptors, engine.config.bridge.name)
            known, _ = self._wire.receive(FDB)
            try:
                await engine.prepare(strict=strict, offer=offer, fdb=known)
            except ValueError as error:
                raise TakeOverError(f"its FDB makes no sense: {error}") from error
            self._wire.send(PREPARED, json.dumps({"pid": os.getpid()}).encode())
            message = self._wire.receive_message(STATE, PREPARE_SECONDS)
            stopped = time.monotonic()
            fdb, _ = self._wire.receive(FDB)
            state = read_state(message, fdb)
            restored = engine.go_on(state)
            took = time.monotonic() - stopped
            if took > DECIDE_SECONDS / 2:
                raise TakeOverError(f"going on took {took:.1f} s, and the other process may forward again")
            self._wire.send(RUNNING)
            log.info(
                "took the bridge over, with %d FDB entries of the last moment, in %.1f ms",
                restored,
                took * 1e3,
            )
        except BaseException:
            path.give_up()
            engine.give_back()
            raise
        finally:
            self._wire.close()
        await engine.take_rest(state)


def _none_came() -> list[int]:
    raise TakeOverError("its offer has fewer descriptors than it says")


def _descriptors(ancillary: Sequence[tuple[int, int, bytes]]) -> list[int]:
    found = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return found.tolist()


def close_all(descriptors: Sequence[int]) -> None:
    """Close descriptors."""
    for descriptor in descriptors:
        os.close(descriptor)


def ask(path: str) -> Wire | None:
    """Ask the daemon of a control socket to give its bridge away; None: nobody answers there. Raises TakeOverError."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(ANSWER_SECONDS)
        try:
            connection.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            connection.close()
            return None
        connection.sendall(encode({"method": f"{INTERFACE}.TakeOver"}))
        reply_parameters(_reply(connection))
    except OSError as error:
        connection.close()
        raise TakeOverError(f"the daemon on {path} does not answer: {error}") from error
    except BaseException:
        connection.close()
        raise
    return Wire(connection)


def _reply(connection: socket.socket) -> Any:
    """Read one reply, byte by byte: what follows belongs to somebody else."""
    decoder = Decoder()
    while byte := connection.recv(1):
        decoder.feed(byte)
        for message in decoder.messages():
            return message
    raise TakeOverError("the daemon hung up")
