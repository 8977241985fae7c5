"""A control socket with a fake engine behind it, served from a thread of its own, and a bare client."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from bridge.config.document import load
from bridge.control.server import ControlServer, Limits
from bridge.control.service import Service
from bridge.control.socket_path import SocketPath
from helpers.fake_engine import FakeEngine

CONFIG = """\
[bridge]
name = "dmz"
control_socket = "{socket}"

[[port]]
name = "guests"
kind = "memory"
vlan = {{ access = 10 }}

[[port]]
name = "uplink"
kind = "memory"
vlan = {{ trunk = [10, 20, "100-119"], native = 1 }}
"""


def write_config(directory: Path, more: str = "") -> Path:
    """Write a configuration of two ports, with a socket beside it."""
    path = directory / "dmz.toml"
    path.write_text(CONFIG.format(socket=directory / "dmz.sock") + more)
    return path


class Served:
    """A running server; `do` runs a function in its thread."""

    def __init__(self, config_path: Path, limits: Limits) -> None:
        self.config_path = config_path
        self.path = load(config_path).bridge.socket_path
        self.engine: FakeEngine
        self._limits = limits
        self._loop = asyncio.new_event_loop()
        self._end = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))

    async def _serve(self) -> None:
        with SocketPath(self.path) as claim:
            self.engine = FakeEngine(load(self.config_path))
            await self.engine.start()
            self.server = ControlServer(Service(self.engine, str(self.config_path)), self._limits)
            await self.server.start(claim)
            self._ready.set()
            await self._end.wait()
            await self.server.close()

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(10)

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._end.set)
            self._thread.join(20)
        assert not self._thread.is_alive()
        assert not asyncio.all_tasks(self._loop), "the server left tasks behind"
        self._loop.close()

    def do(self, function: Callable[..., Any], *arguments: Any) -> Any:
        async def work() -> Any:
            result = function(*arguments)
            return await result if isinstance(result, Awaitable) else result

        return asyncio.run_coroutine_threadsafe(work(), self._loop).result(10)


@contextlib.contextmanager
def served(config_path: Path, **limits: Any) -> Iterator[Served]:
    server = Served(config_path, Limits(**limits))
    server.start()
    try:
        yield server
    finally:
        server.stop()


class Wire:
    """A client that can misbehave: bytes out, messages in."""

    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(path)
        self.socket.settimeout(10)
        self._buffer = b""

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *messages: object) -> None:
        with contextlib.suppress(BrokenPipeError):  # it hung up, but what it said first can still be received
            self.socket.sendall(b"".join(json.dumps(message).encode() + b"\0" for message in messages))

    def receive(self) -> dict[str, Any] | None:
        """Give the next message; None: the daemon hung up."""
        while b"\0" not in self._buffer:
            try:
                data = self.socket.recv(1 << 16)
            except ConnectionResetError:
                data = b""
            if not data:
                assert not self._buffer
                return None
            self._buffer += data
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        self.send({"method": f"org.framebridge.{method}", "parameters": parameters})
        reply = self.receive()
        assert reply is not None
        return reply
