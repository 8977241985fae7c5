"""Under systemd: a real daemon tells a NOTIFY_SOCKET how it fares, and writes its log for the journal."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import daemon as daemons
from helpers.daemon import RUN, Daemon, document, link
from helpers.net import Namespace, Net

PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT = 17, 0x4206, 0x4207  # include/uapi/linux/ptrace.h
STANDSTILL = 2.0  # seconds, in which it would be fed ten times
ALL_CHILDREN = 0x4000_0000  # __WALL of waitpid(2): threads, too
FOR_JOURNAL = 'export JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2) && exec "$@"'

libc = ctypes.CDLL(None, use_errno=True)


@pytest.fixture
def manager(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The socket of a service manager, who wants a sign of life every 0.6 s."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(directory / "notify"))
        receiver.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", str(directory / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "600000")
        yield receiver


def wait_for(manager: socket.socket, text: str) -> str:
    while text not in (said := manager.recv(4096).decode()):
        pass
    return said


def heard_within(manager: socket.socket, seconds: float) -> list[str]:
    """What the manager hears in a stretch of time."""
    said = []
    end = time.monotonic() + seconds
    while select.select([manager], [], [], max(0.0, end - time.monotonic()))[0]:
        said.append(manager.recv(4096).decode())
    return said


@contextlib.contextmanager
def stopped(thread: int) -> Iterator[None]:
    """One thread of a process stands still, the others go on."""

    def trace(request: int) -> None:
        if libc.ptrace(request, thread, None, None) != 0:
            raise OSError(ctypes.get_errno(), "ptrace")

    trace(PTRACE_SEIZE)
    try:
        trace(PTRACE_INTERRUPT)
        os.waitpid(thread, ALL_CHILDREN)
        yield
    finally:
        trace(PTRACE_DETACH)


def data_thread(bridge: Daemon) -> int:
    """The one that has no capability."""
    for task in Path(f"/proc/{bridge.pid}/task").iterdir():
        if re.search(r"^CapEff:\s*0+$", (task / "status").read_text(), re.M):
            return int(task.name)
    raise AssertionError("no thread without capabilities")


@contextlib.contextmanager
def running(net: Net, directory: Path) -> Iterator[tuple[Daemon, Namespace]]:
    socket_path = directory / "d.sock"
    command = ("sh", "-c", FOR_JOURNAL, "sh", *RUN)
    middle = net.namespace()
    net.veth("eth1", "peer", middle, middle)
    text = document(socket_path, link("a", "eth1", access=10))
    with daemons.daemon(directory, middle, text, socket_path, command=command) as bridge:
        yield bridge, middle
        bridge.finish()


def test_the_watchdog_is_fed_by_the_data_thread_and_not_by_the_loop(
    net: Net, directory: Path, manager: socket.socket
) -> None:
    with running(net, directory) as (bridge, _):
        wait_for(manager, "READY=1")
        wait_for(manager, "WATCHDOG=1")

        with stopped(data_thread(bridge)):
            heard_within(manager, 0)
            fed = [said for said in heard_within(manager, STANDSTILL) if said == "WATCHDOG=1"]
        assert len(fed) <= 1, "for a turn of before"

        for _ in range(3):
            wait_for(manager, "WATCHDOG=1")


def test_the_log_is_for_the_journal(net: Net, directory: Path, manager: socket.socket) -> None:
    with running(net, directory) as (bridge, middle):
        bridge.wait_state("a", "up")
        for _ in range(10):
            middle.set_link("peer", state="down")
            bridge.wait_state("a", "down")
            middle.set_link("peer", state="up")
            bridge.wait_state("a", "up")
        said = bridge.wait_log(r"<4>bridge.engine: port a flaps: its state changed \d+ more times")
        assert int(said.split()[-3]) <= 20
        assert bridge.end() == 0
        lines = bridge.log.splitlines()

    assert [line for line in lines if not re.match(r"<[2-7]>bridge\.[a-z.]+: ", line)] == []
    assert sum(line.startswith("<4>bridge.engine: port a is down") for line in lines) <= 4
    assert lines[-1] == "<6>bridge.daemon: stopped"


def test_a_refused_start_says_why_at_the_priority_of_a_fault(net: Net, directory: Path) -> None:
    file = directory / "bad.toml"
    file.write_text("colour = 1\nshape = 2\n")

    program = net.program(["sh", "-c", FOR_JOURNAL, "sh", *RUN, str(file)])
    assert program.wait_exit() == 1

    assert [line[:3] for line in program.output.splitlines()] == ["<2>", "<2>"]
