"""The daemon process: from a file to a running bridge to a clean end. `framebridge run FILE` is `main`.

Order matters, and each step undoes itself when a later one fails: read the file; claim the control socket, so
that a second daemon is refused before it touches a port; start the engine; open the socket, which is how the
world knows that the bridge is ready; wait. The end goes backwards.

What the process may is cut down to what the file asks for before there is a second thread (`privileges`).

Thread: control. Logs to stderr. Signals: SIGTERM and SIGINT end cleanly (exit status 0), a second one ends at
once; SIGHUP reads the file again. Exit status 1: it was refused, or the data thread died; the reason is logged.
A service manager hears what goes on, and its watchdog is fed only while the data thread makes progress.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Callable, Collection, Coroutine, Iterator
from typing import TYPE_CHECKING, Any

from bridge import privileges
from bridge.bounded_server import raise_descriptor_limit
from bridge.config.document import load
from bridge.config.whole import Config
from bridge.control.context import status_line
from bridge.control.protocol import INTERFACE, Call
from bridge.control.server import ControlServer
from bridge.control.service import Service
from bridge.control.socket_path import SocketPath
from bridge.daemon.takeover import Giving, Taking
from bridge.errors import ControlError, FramebridgeError
from bridge.systemd import journal
from bridge.systemd.notify import Notifier

if TYPE_CHECKING:
    from bridge.engine.engine import Engine

DESCRIPTORS = (
    8192  # of this process, if it may have so many: for the most ports, mirrors and clients there can be
)
KEEPING = {"netns": privileges.NAMESPACES, "offload": privileges.OFFLOAD}  # words of `run --keep`
CHECK_SECONDS = 10.0  # between looks at the data thread, if no watchdog asks for more

logger = logging.getLogger(__package__)


def main(
    config_path: str,
    *,
    verbose: bool = False,
    keep: Collection[str] = (),
    strict: bool = False,
    take_over: bool = False,
) -> int:
    """Run a bridge in the foreground until a signal ends it; returns the exit status. `keep`: words of KEEPING."""
    from bridge.engine.engine import Engine  # the data plane, which nothing but a daemon needs

    logging.basicConfig(handlers=[journal.handler(sys.stderr)], level=logging.WARNING)
    logging.getLogger("bridge").setLevel(logging.DEBUG if verbose else logging.INFO)
    raise_descriptor_limit(DESCRIPTORS)
    try:
        return asyncio.run(serve(config_path, Engine, keep=keep, strict=strict, take_over=take_over))
    except FramebridgeError as error:
        if not journal.is_journal(sys.stderr):
            raise
        for line in str(error).splitlines():  # each with a priority
            logger.critical("%s", line)
        return 1


async def serve(
    config_path: str,
    make_engine: Callable[[Config], Engine],
    *,
    keep: Collection[str] = (),
    strict: bool = False,
    take_over: bool = False,
    notifier: Notifier | None = None,
    check_seconds: float = CHECK_SECONDS,
) -> int:
    """Run one bridge; returns 0 after a signal, 1 after a fault. FramebridgeError: it could not start.

    `strict`: it does not start without the device of a port, which otherwise is attached when it appears.
    `take_over`: it goes on with what a daemon has that answers on the control socket of the file, which then ends.
    """
    notifier = notifier or Notifier.from_environment()
    config = load(config_path)
    privileges.restrict(_needed(config).union(*(KEEPING[word] for word in keep)))
    signals = Signals()
    path = config.bridge.socket_path
    taking = await asyncio.to_thread(Taking.begin, path) if take_over else None
    with signals.caught(), taking.socket_path(path) if taking else SocketPath(path) as socket_path:
        engine = make_engine(config)
        service = Service(engine, config_path, notifier)
        server = ControlServer(service)
        giving = Giving(engine, socket_path)
        try:
            if taking is not None:
                await taking.take(engine, socket_path, strict=strict)
            elif not await signals.finish_unless_stopped(engine.start(strict=strict)):
                return 0
            service.set_give_away(giving)
            await server.start(socket_path)
            notifier.ready(status_line(engine))
            logger.info("ready: %s, control socket %s", status_line(engine), socket_path.path)
            return await _until_end(
                engine,
                signals,
                _reload_on(signals.hangup, service),
                _watch(engine, notifier, check_seconds),
                _wait_for(giving.done),
                server.keep_path(),
            )
        finally:
            if giving.done.is_set():
                await server.give_up()
            else:
                giving.refuse_all()
                notifier.stopping()
                await server.close()
            await engine.stop()
            logger.info("stopped")


def _needed(config: Config) -> frozenset[str]:
    """Give the capabilities that a configuration takes."""
    needed = privileges.PORTS
    if any(port.netns for port in config.ports):
        needed |= privileges.NAMESPACES
    if any((port.netns or "").startswith("/proc/") for port in config.ports):
        needed |= privileges.PROCESSES
    if config.bridge.offload != "off":
        needed |= privileges.OFFLOAD
    if config.metrics.needs_low_port:
        needed |= privileges.LOW_PORTS
    return needed


class Signals:
    """What the signals ask for: `stop` (SIGTERM, SIGINT) and `hangup` (SIGHUP)."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.hangup = asyncio.Event()

    @contextlib.contextmanager
    def caught(self) -> Iterator[None]:
        """Handle the signals inside the block, leave them as they were after it."""
        loop = asyncio.get_running_loop()
        before = {
            number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        }
        loop.add_signal_handler(signal.SIGHUP, self.hangup.set)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number)
        try:
            yield
        finally:
            for number, handler in before.items():
                loop.remove_signal_handler(number)
                signal.signal(number, handler)

    def _stop(self, number: signal.Signals) -> None:
        logger.info("stopping on %s; another one ends this process at once", number.name)
        self.stop.set()
        # The kernel's own handling from here on: it works however stuck this process may be.
        for again in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().remove_signal_handler(again)
            signal.signal(again, signal.SIG_DFL)

    async def finish_unless_stopped(self, work: Coroutine[Any, Any, None]) -> bool:
        """Run something to its end; False: a signal came first, and it was cancelled."""
        task = asyncio.ensure_future(work)
        stop = asyncio.ensure_future(self.stop.wait())
        await asyncio.wait((task, stop), return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if task.done():
            task.result()
            return True
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return False


async def _until_end(engine: Engine, signals: Signals, *helpers: Coroutine[Any, Any, None]) -> int:
    """Wait for a signal (0) or a fault (1), with helpers at work meanwhile; one that fails is a fault too."""
    works: tuple[Coroutine[Any, Any, Any], ...] = (signals.stop.wait(), *helpers)
    tasks: list[asyncio.Future[Any]] = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.wait((*tasks, engine.faults), return_when=asyncio.FIRST_COMPLETED)
        if engine.faults.done():
            logger.critical("giving up: the data thread died: %s", engine.faults.exception())
            return 1
        for task in tasks:
            if task.done():
                task.result()
        return 0
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _wait_for(event: asyncio.Event) -> None:
    await event.wait()


async def _reload_on(hangup: asyncio.Event, service: Service) -> None:
    while True:
        await hangup.wait()
        hangup.clear()
        try:
            await service.call(Call(f"{INTERFACE}.Reload"), may_change=True)
            logger.info("reloaded")
        except ControlError as error:
            logger.error("reload refused, nothing was changed: %s", error)


async def _watch(engine: Engine, notifier: Notifier, seconds: float) -> None:
    """Look whether the data thread moves. An idle one is woken before each look: not moving means stuck."""
    if notifier.watchdog:
        seconds = min(seconds, notifier.watchdog / 3)
    status, is_stuck = "", False
    while True:
        seen = engine.progress
        engine.wake()
        await asyncio.sleep(seconds)
        was_stuck, is_stuck = is_stuck, engine.progress == seen
        if not is_stuck:
            notifier.feed_watchdog()
        if is_stuck and not was_stuck:
            logger.error("the data thread made no progress for %g s", seconds)
        elif was_stuck and not is_stuck:
            logger.log(journal.NOTICE, "the data thread moves again")
        if (line := status_line(engine)) != status:
            status = line
            notifier.status(line)
