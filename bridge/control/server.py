"""The control socket: how calls and replies travel. What the methods mean is for service.py.

Theory of operation. One asyncio task per connection reads calls, asks the Service and writes replies, one
call at a time. Nothing that a client does reaches beyond its own connection:

* a message that is garbage, too long, or half sent for longer than Limits.half_message ends in an error reply
  and a closed connection;
* so does a connection beyond Limits.connections, unless one that has been without a call for Limits.patience can make
  room; those who may only look never have all places, nor the last descriptors (bridge.bounded_server);
* a client that does not read is waited for up to Limits.send (when the daemon ends, Limits.farewell), then cut
  off. Meanwhile memory holds one message above the high water mark of its transport; events that it misses are
  counted by its bounded Subscription;
* a peer that is neither root, nor this user, nor in the group of the socket may look but not change anything
  (the socket's mode keeps it out altogether unless an administrator opens it).

Thread: control. Refuses: more than one call at a time per connection, and any call on one that monitors.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from bridge.bounded_server import READ, BoundedServer, Connection, Room
from bridge.control.protocol import (
    BUSY,
    Call,
    Decoder,
    Message,
    ProtocolError,
    Row,
    encode,
    encode_error,
    row_replies,
)
from bridge.control.service import Service
from bridge.control.socket_path import Peer, SocketPath, peer_of
from bridge.control.takeover import Upgrade
from bridge.errors import ConfigError, ControlError
from bridge.events import Subscription

logger = logging.getLogger(__package__)


LOOK_SECONDS = 1.0  # between looks whether the socket is there
SHOWN_MAX = 80  # of a parameter, in the log


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may ask of the daemon's patience and memory: seconds, connections."""

    connections: int = 64
    kept: int = 16  # of them, for those who may change things
    reserve: int = 64  # descriptors of the process that onlookers leave to others
    patience: float = 5.0  # without a call, before a client makes room for a new one
    half_message: float = 5.0
    idle: float = 300.0
    send: float = 10.0
    farewell: float = 1.0  # for all together, when the daemon ends


class ControlServer:
    """Serves the connections of one listening socket."""

    def __init__(self, service: Service, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._service = service
        self._path: SocketPath | None = None
        self._trouble = ""
        limit = self.limits.connections
        busy = ControlError(
            f"{limit} clients are connected, or too few descriptors are left; try again later", BUSY
        )
        self._server = BoundedServer(
            "control socket",
            Room(limit, kept=self.limits.kept, reserve=self.limits.reserve),
            lambda accepted, favoured: _Client(self, accepted, favoured=favoured),
            is_favoured=lambda accepted: self.may_change(peer_of(accepted)),
            refusal=encode_error(busy),
        )

    @property
    def connections(self) -> Collection[Connection]:
        """Those that have a place."""
        return self._server.connections

    async def start(self, path: SocketPath) -> None:
        """Open the claimed socket and answer on it."""
        self._path = path
        self._server.start(path.listen())

    async def give_up(self) -> None:
        """Answer nobody any more, and leave the socket where it is: another process answers on it."""
        self._server.stop()
        await self._server.close(self.limits.farewell)
        self._path = None

    async def close(self) -> None:
        """Remove the socket, end monitors, let calls in progress end, hang up on everybody. Idempotent."""
        if self._path is None:
            return
        self._path.withdraw()
        await self._server.close(self.limits.farewell)

    async def answer(self, call: Call, peer: Peer) -> Iterable[Row] | Message | Subscription | Upgrade:
        """Pass a call on to the service; ControlError if it fails."""
        answer = await self._service.call(call, may_change=self.may_change(peer), is_trusted=peer.is_trusted)
        if self._service.changes(call.method):
            words = ", ".join(f"{name}={_shown(value)}" for name, value in call.parameters.items())
            name = call.method.rpartition(".")[2]
            logger.info("%s(%s) asked by uid %d, pid %d", name, words, peer.uid, peer.pid)
        return answer

    async def keep_path(self) -> None:
        """Make the socket again when somebody removed its file."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if self._path is None or self._path.is_there():
                continue
            try:
                self._server.start_again(self._path.listen_again())
            except ConfigError as error:
                if str(error) != self._trouble:
                    logger.warning("nobody can ask this daemon anything: %s", error)
                self._trouble = str(error)
                continue
            self._trouble = ""
            logger.warning("somebody removed the control socket %s; it is there again", self._path.path)

    def may_change(self, peer: Peer) -> bool:
        """Tell whether a peer may change things, or only look."""
        return peer.may_change(self._socket_group())

    def _socket_group(self) -> int:
        # Asked each time: an administrator may chgrp the socket while the daemon runs.
        try:
            return Path(self._path.path).stat().st_gid if self._path else -1
        except OSError:
            return -1


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}..."


class _Client(Connection):
    """One client: its calls in, the replies out, in order."""

    def __init__(self, server: ControlServer, accepted: socket.socket, *, favoured: bool) -> None:
        super().__init__(accepted, favoured=favoured)
        self._server = server
        self._limits = server.limits
        self._subscription: Subscription | None = None
        self._is_idle = False  # waits for bytes: may be cancelled without harm
        self._is_finished = False

    async def serve(self) -> None:
        """Answer calls until the client, the daemon or an error ends it."""
        try:
            peer = peer_of(self.socket)
            async for call in self._calls():
                await self._answer(call, peer)
        except ProtocolError as error:
            logger.debug("control client: %s", error)
            with contextlib.suppress(OSError):
                await self._send(encode_error(error))
        except OSError as error:  # also TimeoutError: it is gone, or does not read
            logger.debug("control client: %s", error or "does not read")
            self.abort()
        finally:
            await self._hang_up()

    def finish(self) -> bool:
        """End after the call in progress; False: there is none, cancel the task."""
        self._is_finished = True
        if self._subscription:
            self._subscription.close()
        return not self._is_idle

    async def _calls(self) -> AsyncIterator[Call]:
        decoder = Decoder()
        now = asyncio.get_running_loop().time
        deadline = now() + self._limits.idle
        while data := await self._read(deadline, decoder.pending):
            is_new = decoder.pending == 0
            decoder.feed(data)
            for message in decoder.messages():
                is_new = True
                yield Call.from_message(message)
                if self._is_finished:
                    return
            if not decoder.pending:
                deadline = now() + self._limits.idle
            elif is_new:
                deadline = now() + self._limits.half_message
        if decoder.pending:
            raise ProtocolError("the connection ended in the middle of a message")

    async def _read(self, deadline: float, pending: int) -> bytes:
        """Give the next bytes, or none: at the end of the connection, or when it was idle for too long."""
        self._is_idle = True
        try:
            async with asyncio.timeout_at(deadline):
                with self.yielding(self._limits.patience):
                    return await self.reader.read(READ)
        except TimeoutError:
            if pending:
                raise ProtocolError(f"no end of the message within {self._limits.half_message:g} s") from None
            return b""
        finally:
            self._is_idle = False

    async def _answer(self, call: Call, peer: Peer) -> None:
        try:
            answer = await self._server.answer(call, peer)
            if isinstance(answer, Subscription):
                await self._monitor(answer)
            elif isinstance(answer, Upgrade):
                await self._upgrade(answer)
            elif not call.oneway:
                await self._reply(answer, more=call.more)
        except ProtocolError:
            raise
        except ControlError as error:
            if not call.oneway:
                await self._send(encode_error(error))

    async def _reply(self, answer: Iterable[Row] | Message, *, more: bool) -> None:
        if isinstance(answer, dict):
            await self._send(encode({"parameters": answer}))
            return
        for reply in row_replies(answer, more=more):
            await self._send(reply)
            await asyncio.sleep(0)  # a long table must not keep the control thread to itself

    async def _upgrade(self, answer: Upgrade) -> None:
        """Leave the connection to another protocol, in which we speak first."""
        self._is_finished = True
        self.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await self._send(encode({"parameters": {"rows": []}}))
        with self.socket.dup() as connection:
            await answer.serve(connection)

    async def _monitor(self, events: Subscription) -> None:
        """Stream events until either end is over; input other than the end is an error."""
        self._subscription = events
        hangup = asyncio.ensure_future(self.reader.read(1))
        stream = asyncio.ensure_future(self._stream(events))
        try:
            await asyncio.wait((hangup, stream), return_when=asyncio.FIRST_COMPLETED)
            if stream.done():
                stream.result()
            elif hangup.result():
                raise ProtocolError("a connection that monitors takes no further calls")
        finally:
            self._subscription = None
            events.close()
            for task in (hangup, stream):
                task.cancel()
            await asyncio.gather(hangup, stream, return_exceptions=True)

    async def _stream(self, events: Subscription) -> None:
        await self._send(encode({"parameters": {"rows": []}, "continues": True}))
        async for event in events:
            await self._send(encode({"parameters": {"rows": [event]}, "continues": True}))
        await self._send(encode({"parameters": {"rows": []}}))

    async def _send(self, data: bytes) -> None:
        """Write; wait while the client is behind. TimeoutError if it stays so: then it is to be cut off."""
        self.writer.write(data)
        async with asyncio.timeout(self._limits.send):
            await self.writer.drain()

    async def _hang_up(self) -> None:
        self.writer.close()
        try:
            async with asyncio.timeout(self._limits.send):
                await self.writer.wait_closed()
        except OSError:
            self.abort()
