"""The data thread of a bridge: begun, ended, and missed when it dies.

Job: run `bridge.core._core.Bridge.run` in a thread of its own, on its CPUs, have the loop called when the data
plane has events, and report a death nobody asked for. Thread: control; `_forward` is the data thread itself. Invariant:
`faults` gets an exception only if the data thread ends without having been told to.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import Callable, Collection
from typing import Any

from bridge import privileges
from bridge.config.vids import format_vids
from bridge.core._core import Bridge
from bridge.errors import ConfigError, FramebridgeError, Problem

log = logging.getLogger(__package__)

JOIN_TIMEOUT = 10.0  # seconds the data thread has to end


def check_cpus(cpus: Collection[int]) -> None:
    """Refuse, as ConfigError, CPUs that this process may not use: taskset(1), cpuset(7), or that there are not."""
    usable = os.sched_getaffinity(0)
    if missing := {*cpus} - usable:
        message = (
            f"this process may use CPUs {format_vids(usable)}, not {format_vids(missing)}; leave those out"
        )
        raise ConfigError([Problem("bridge.cpu", message)])


class DataThread:
    """One thread, started once at most; `on_events` is called in the loop when there are events to be taken."""

    def __init__(self, core: Bridge, on_events: Callable[[], None]) -> None:
        self._core = core
        self._on_events = on_events
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._cpus: Collection[int] = ()

    @property
    def number(self) -> int | None:
        """Number of the thread, as in /proc/PID/task; None: it does not run."""
        return self._thread.native_id if self._thread is not None else None

    @property
    def is_running(self) -> bool:
        """Whether it was started and not yet stopped."""
        return self._thread is not None

    def start(self, faults: asyncio.Future[Any]) -> None:
        """Forward from now on; `faults` gets the exception if the thread dies."""
        loop = asyncio.get_running_loop()
        self._faults = faults
        self._thread = threading.Thread(
            target=self._forward, args=(loop,), name="framebridge-data", daemon=True
        )
        self._thread.start()
        loop.add_reader(self._core.event_fd, self._on_events)

    def allow_cpus(self, cpus: Collection[int]) -> None:
        """Have the thread use these CPUs and no other from now on; none: those of the process. See `check_cpus`."""
        if self._thread is not None and self._cpus != cpus:
            os.sched_setaffinity(self._thread.native_id or 0, cpus or os.sched_getaffinity(0))
        self._cpus = cpus

    def freeze(self) -> None:
        """End the thread at once, without the loop taking a turn; `thaw` begins another. OSError: it does not end."""
        if self._thread is None:
            return
        self._stopping = True
        self._core.stop()
        self._thread.join(JOIN_TIMEOUT)
        if self._thread.is_alive():
            raise TimeoutError("the data thread does not end")

    def thaw(self) -> None:
        """Forward again after `freeze`."""
        self._stopping = False
        loop = asyncio.get_running_loop()
        self._thread = threading.Thread(
            target=self._forward, args=(loop,), name="framebridge-data", daemon=True
        )
        self._thread.start()

    async def stop(self) -> None:
        """End it and wait for that; idempotent."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        asyncio.get_running_loop().remove_reader(self._core.event_fd)
        self._stopping = True
        self._core.stop()
        await asyncio.to_thread(thread.join, JOIN_TIMEOUT)
        if thread.is_alive():
            log.critical("the data thread does not end")
        if self._faults.done():
            self._faults.exception()  # taken note of, by whoever waits for it or here

    def _forward(self, loop: asyncio.AbstractEventLoop) -> None:
        """Be the data thread."""
        try:
            if self._cpus:
                os.sched_setaffinity(0, self._cpus)
            privileges.drop_all()  # all it does is done with descriptors that it was given
            self._core.run()
            failure: BaseException = FramebridgeError("it ended without being told to")
        except BaseException as error:
            failure = error
        if not self._stopping:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
                loop.call_soon_threadsafe(self._fault, failure)

    def _fault(self, failure: BaseException) -> None:
        log.critical("the data thread died: %s", failure)
        if not self._faults.done():
            self._faults.set_exception(failure)
