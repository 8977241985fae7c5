"""The witness of this daemon: started, given what it needs, started again when it ended, and dismissed.

Job: run `last_word` as a process that shares the gate's page and has the paths of beacons. Thread: control, but for
`start`, which waits for a process and so belongs into a worker. Invariant: it is killed before the daemon lets go of
anything it relies on; so it never takes a daemon for dead that only left its pair.
Refuses nothing: without a witness a killed daemon is replaced after three intervals of silence.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

log = logging.getLogger(__package__)

PROGRAM = Path(__file__).with_name("last_word.py")
READY_SECONDS = 20.0  # only a machine that swaps takes that long
RETRY_SECONDS = 10.0  # between two starts
SUFFIX = ".gate"  # of the control socket: where the gate is asked about
PATH_MAX = 107  # bytes of sun_path without its NUL, unix(7)


class Witness:
    """The witness of one member."""

    def __init__(self, socket_path: str) -> None:
        self.path = socket_path + SUFFIX
        self._process: subprocess.Popen[bytes] | None = None
        self._listener: socket.socket | None = None
        self._paths: list[int] = []  # its own, so that they outlast a change of paths
        self._told: dict[str, Any] = {}
        self._turn = threading.Lock()  # a start takes its time, in another thread
        self._retry_at = 0.0

    @property
    def is_there(self) -> bool:
        """Whether it would speak."""
        return self._process is not None and self._process.poll() is None

    def listen(self) -> None:
        """Make the socket where the gate is asked about, in the place of a dead daemon's."""
        if self._listener is not None:
            return
        if len(os.fsencode(self.path)) > PATH_MAX:
            log.warning("%s is too long for a socket: `health` and `gate` have no answer", self.path)
            return
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            Path(self.path).unlink(missing_ok=True)
            listener.bind(self.path)
            Path(self.path).chmod(0o660)
            listener.listen(16)
        except OSError as error:
            log.warning("%s: %s: `health` and `gate` have no answer", self.path, error.strerror)
            listener.close()
            return
        self._listener = listener

    def tell(self, page: int, paths: Sequence[int], **told: object) -> None:
        """Note what it is to know, and take these paths; it is dismissed until `start`."""
        self.dismiss()
        with self._turn:
            self._paths = [*paths]
            self._told = {"page": page, **told}
            self._retry_at = 0.0

    def start(self) -> None:
        """Have it run, if it does not."""
        with self._turn:
            if self.is_there or not self._paths or time.monotonic() < self._retry_at:
                return
            self._retry_at = time.monotonic() + RETRY_SECONDS
            self._try_to_start()

    def _try_to_start(self) -> None:
        try:
            self._start()
        except (OSError, AttributeError) as error:  # no such call, no such process, ...
            log.warning("no witness, a killed daemon is missed only by its silence: %s", error)

    def _start(self) -> None:
        pidfd = os.pidfd_open(os.getpid())
        try:
            listener = self._listener.fileno() if self._listener else -1
            told = {
                **self._told,
                "pidfd": pidfd,
                "pid": os.getpid(),
                "paths": self._paths,
                "listener": listener,
            }
            fds = {pidfd, self._told["page"], *self._paths, *({listener} - {-1})}
            self._process = process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(PROGRAM)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=tuple(fds),
                start_new_session=True,
                cwd="/",
            )
        finally:
            os.close(pidfd)
        assert process.stdin is not None
        assert process.stdout is not None
        with process.stdin, process.stdout:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(json.dumps(told).encode() + b"\n")
                process.stdin.flush()
            if not select.select([process.stdout], [], [], READY_SECONDS)[0] or not process.stdout.read(1):
                process.kill()
                process.wait()
                raise OSError("it does not begin")

    def dismiss(self) -> None:
        """End it; idempotent."""
        with self._turn:
            process, self._process = self._process, None
            if process is not None:
                process.kill()
                process.wait()
            for path in self._paths:
                os.close(path)
            self._paths = []

    def close(self) -> None:
        """End it, and take its socket away; idempotent."""
        self.dismiss()
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            with contextlib.suppress(OSError):
                Path(self.path).unlink(missing_ok=True)
