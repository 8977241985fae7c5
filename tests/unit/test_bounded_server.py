"""Servers that nobody can fill up: floods of connections, slow peers, descriptors that run out, who is let in then."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.aio import story, until
from helpers.clock import ManualClock

from bridge import bounded_server
from bridge.bounded_server import BoundedServer, Connection, Room, SeldomLog, raise_descriptor_limit

# Connects so many times to a port of 127.0.0.1, without waiting for an answer, then waits for the end of its input.
FLOOD = """
import resource, socket, sys
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
port, count = int(sys.argv[1]), int(sys.argv[2])
held = []
for number in range(count):
    try:
        client = socket.socket()
    except OSError:
        held = held[count // 2:]
        client = socket.socket()
    client.setblocking(False)
    client.connect_ex(("127.0.0.1", port))
    held.append(client)
print(count, flush=True)
sys.stdin.read()
"""


class Echo(Connection):
    """Says `hello`, then yields until the peer says something, and ends."""

    async def serve(self) -> None:
        self.writer.write(b"hello")
        with self.yielding():
            await self.reader.read(1)


class Busy(Connection):
    """Never yields."""

    async def serve(self) -> None:
        await asyncio.sleep(3600)


def listening() -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("\0" + os.urandom(8).hex())
    listener.listen(64)
    return listener


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@contextlib.asynccontextmanager
async def serving(
    kind: type[Connection] = Echo,
    listener: socket.socket | None = None,
    *,
    favoured: Any = False,
    **room: Any,
) -> AsyncIterator[tuple[BoundedServer, Any]]:
    """A server, and where it listens; it must leave no descriptor and no task."""
    before = descriptors() - bool(listener)
    listener = listener or listening()
    server = BoundedServer(
        "test",
        Room(**{"connections": 3, **room}),
        lambda accepted, is_favoured: kind(accepted, favoured=is_favoured),
        is_favoured=favoured if callable(favoured) else lambda _: favoured,
        refusal=b"no",
    )
    address = listener.getsockname()
    server.start(listener)
    try:
        yield server, address
    finally:
        await server.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert descriptors() <= before


def connect(address: Any) -> socket.socket:
    """Connect, without a round of the loop: the connection waits to be accepted."""
    client = socket.socket(socket.AF_UNIX if isinstance(address, str | bytes) else socket.AF_INET)
    client.connect(address)
    client.setblocking(False)
    return client


@contextlib.contextmanager
def clients(address: Any, count: int) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(connect(address)) for _ in range(count)]


async def said(client: socket.socket) -> bytes:
    """What the server said, up to 5 bytes; none: it hung up."""
    async with asyncio.timeout(10):
        try:
            return await asyncio.get_running_loop().sock_recv(client, 5)
        except ConnectionError:
            return b""


@story
async def test_a_burst_gets_as_many_places_as_there_are_and_leaves_nothing() -> None:
    async with serving(Busy) as (server, address):
        with clients(address, 50) as many:
            assert [await said(client) for client in many[3:]] == [b"no"] * 47
            assert len(server.connections) == 3


@story
async def test_the_one_that_yields_for_longest_makes_room() -> None:
    async with serving() as (server, address):
        with clients(address, 3) as first:
            for client in first:
                assert await said(client) == b"hello"
            with clients(address, 1) as later:
                assert await said(later[0]) == b"hello"
                assert await said(first[0]) == b""
                assert len(server.connections) == 3


@story
async def test_a_connection_that_is_closed_before_its_task_began_leaves_nothing() -> None:
    async with serving() as (server, address):
        with clients(address, 1) as (client,):
            while not server.connections:
                await asyncio.sleep(0)
            await server.close()
            assert await said(client) == b""


@story
async def test_some_places_are_kept_for_favoured_peers_who_displace_those_that_yield() -> None:
    favoured = False
    async with serving(favoured=lambda _: favoured, connections=4, kept=2) as (server, address):
        with contextlib.ExitStack() as stack:
            onlookers, friends = [], []
            for _ in range(3):
                onlookers += stack.enter_context(clients(address, 1))
                assert await said(onlookers[-1]) == b"hello"
            assert await said(onlookers[0]) == b""  # it made room for its like
            favoured = True
            for _ in range(3):
                friends += stack.enter_context(clients(address, 1))
                assert await said(friends[-1]) == b"hello"
            assert await said(onlookers[1]) == b""
            assert sorted(one.favoured for one in server.connections) == [False, True, True, True]


@story
async def test_the_last_descriptors_are_not_for_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    favoured = False
    async with serving(Echo, favoured=lambda _: favoured, reserve=20) as (_, address):
        with clients(address, 2) as (one, other):
            monkeypatch.setattr(bounded_server, "descriptor_limit", lambda: other.fileno() + 4)
            assert await said(one) == b"no"
            assert await said(other) == b"no"
            favoured = True
            with clients(address, 1) as (friend,):
                assert await said(friend) == b"hello"


@story
async def test_without_any_descriptor_favoured_peers_get_in_and_others_are_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The process is really out of descriptors: this one takes all that its limit leaves."""
    favoured = iter([False, True, False])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with serving(favoured=lambda _: next(favoured)) as (server, address):
        with clients(address, 2) as (stranger, friend), contextlib.ExitStack() as stack:
            resource.setrlimit(resource.RLIMIT_NOFILE, (friend.fileno() + 40, hard))
            stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
            with contextlib.suppress(OSError):
                while True:
                    stack.callback(os.close, os.dup(0))
            assert await said(stranger) == b"no"
            assert await said(friend) == b"hello"
            assert len(server.connections) == 1
        with clients(address, 1) as (later,):
            assert await said(later) == b"hello"
    assert [record.getMessage() for record in caplog.records] == [
        "test: a connection was turned away: this process has hardly any descriptors left"
    ]


@story
async def test_accepting_goes_on_after_descriptors_ran_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_server, "RETRY", 0.01)
    async with serving() as (server, address):
        failures = [OSError(24, "Too many open files"), OSError(12, "Cannot allocate memory")]
        accept = server._next_of

        def fail(listener: socket.socket) -> socket.socket:
            if failures:
                raise failures.pop(0)
            return accept(listener)

        monkeypatch.setattr(server, "_next_of", fail)
        with clients(address, 1) as (client,):
            assert await said(client) == b"hello"
        assert not failures


@story
async def test_ten_thousand_connections_at_once_leave_nothing() -> None:
    before = descriptors()
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    async with serving(Echo, listener, connections=16) as (server, (_, port)):
        command = [sys.executable, "-c", FLOOD, str(port), "10000"]
        flood = await asyncio.create_subprocess_exec(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert flood.stdin
        assert flood.stdout
        most = 0
        reading = asyncio.ensure_future(flood.stdout.readline())
        while not reading.done():
            most = max(most, descriptors())
            await asyncio.sleep(0)
        assert reading.result() == b"10000\n"
        with clients(("127.0.0.1", port), 1) as (client,):  # a newcomer is served in the midst of it
            assert await said(client) == b"hello"
        flood.stdin.close()
        await flood.wait()
        del flood, reading
        await until(lambda: not server.connections, "the connections to end")
        assert most <= before + 16 + 20  # places, what closes in this round, the subprocess
    assert descriptors() <= before + 3  # what the loop keeps for subprocesses


def test_trouble_is_logged_once_a_second(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    log = SeldomLog(logging.getLogger("bridge.test"), now=clock.now)
    for number in range(3000):
        log(logging.WARNING, "trouble %d", number)
        clock.advance(2**-10)

    assert [record.getMessage() for record in caplog.records] == [
        "trouble 0",
        "trouble 1024 (1023 more were left out before this)",
        "trouble 2048 (1023 more were left out before this)",
    ]


def test_the_limit_of_descriptors_only_rises() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        raise_descriptor_limit(128)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (256, hard)
        raise_descriptor_limit(512)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (512, hard)
        raise_descriptor_limit(1 << 40)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == min(hard, 1 << 40)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
