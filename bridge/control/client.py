"""The other end of the control socket: blocking, standard library only, no import of the data plane.

Job: find the daemon's socket, send a call, give back rows, or raise ControlError with a sentence that names
the socket and what to do about it. One call at a time. Thread: any, one at a time.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

from bridge.control.protocol import INTERFACE, Call, Decoder, Message, Row, encode, reply_parameters
from bridge.errors import ControlError

RUN_DIRECTORY = "/run/framebridge"
REPLY_SECONDS = 60.0  # a reload may open many ports
HOW_TO_START = "start it with 'framebridge run FILE', or name another socket with -s"


def find_socket(given: str | None, environ: Mapping[str, str] = os.environ) -> str:
    """Choose the socket: the one given, FRAMEBRIDGE_SOCKET, else the only one in RUN_DIRECTORY."""
    if chosen := given or environ.get("FRAMEBRIDGE_SOCKET"):
        return chosen
    found = sorted(str(path) for path in Path(RUN_DIRECTORY).glob("*.sock"))
    if len(found) > 1:  # a daemon that was killed leaves its socket behind
        found = [path for path in found if _is_answered(path)]
    if len(found) > 1:
        raise ControlError(f"several daemons here, choose one with -s: {' '.join(found)}")
    if not found:
        raise ControlError(f"no daemon found: nothing answers in {RUN_DIRECTORY}; {HOW_TO_START}")
    return found[0]


def _is_answered(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        return probe.connect_ex(path) not in (errno.ECONNREFUSED, errno.ENOENT)


class Client:
    """A connection to one daemon; a context manager."""

    def __init__(self, path: str, timeout: float = REPLY_SECONDS) -> None:
        self.path = path
        self._timeout = timeout
        self._decoder = Decoder()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # A connect with a Python timeout fails at once when the daemon is busy; the kernel's own one waits.
        self._socket.setsockopt(
            socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", int(timeout) or 1, 0)
        )
        try:
            self._socket.connect(path)
        except OSError as error:
            self._socket.close()
            raise ControlError(self._why_not(error)) from error

    def _why_not(self, error: OSError) -> str:
        if isinstance(error, FileNotFoundError | ConnectionRefusedError):
            return f"no daemon answers on {self.path}: {HOW_TO_START}"
        if isinstance(error, PermissionError):
            return f"not allowed to use {self.path}: be root or join the group of the socket"
        if isinstance(error, BlockingIOError):
            return f"the daemon on {self.path} is stuck or busy: it accepted nobody in {self._timeout:g} s"
        return f"cannot use the control socket {self.path}: {error.strerror or error}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up; what the daemon still had to say is lost."""
        self._socket.close()

    def rows(self, method: str, parameters: Message | None = None) -> list[Row]:
        """Call a method of INTERFACE and collect the rows of all its replies."""
        return [row for part in self.stream(method, parameters) for row in part]

    def stream(
        self, method: str, parameters: Message | None = None, *, forever: bool = False
    ) -> Iterator[list[Row]]:
        """Call a method and give the rows of each reply; `forever`: only the first reply is due in time."""
        self._socket.settimeout(self._timeout)
        try:
            self._socket.sendall(encode(Call(f"{INTERFACE}.{method}", parameters or {}, more=True).message()))
        except (BrokenPipeError, ConnectionResetError):
            pass  # the daemon hung up, but said why first: that is still there to be read
        except OSError as error:
            raise ControlError(self._why_not(error)) from error
        continues = True
        while continues:
            reply, continues = reply_parameters(self._receive())
            if forever:
                self._socket.settimeout(None)  # the first reply says that the stream is on
            yield reply.get("rows", [])

    def _receive(self) -> Message:
        while True:
            for message in self._decoder.messages():
                return message
            try:
                data = self._socket.recv(1 << 16)
            except TimeoutError:
                raise ControlError(
                    f"the daemon on {self.path} did not answer in {self._timeout:g} s"
                ) from None
            except ConnectionError:
                data = b""
            if not data:
                raise ControlError(f"the daemon on {self.path} hung up")
            self._decoder.feed(data)
