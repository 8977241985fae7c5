"""sd_notify: what arrives at a real datagram socket, and that nothing can go wrong when nobody listens."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.systemd.notify import Notifier


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.settimeout(5)
        receiver.bind(str(tmp_path / "notify"))
        yield receiver


def address(manager: socket.socket) -> str:
    return str(manager.getsockname())


def test_each_verb_is_one_datagram(manager: socket.socket) -> None:
    notifier = Notifier(address(manager))

    notifier.ready("dmz: 2 of 2 ports up")
    notifier.status("a\nREADY=0")
    notifier.feed_watchdog()
    notifier.stopping()

    assert [manager.recv(1000).decode() for _ in range(4)] == [
        "READY=1\nSTATUS=dmz: 2 of 2 ports up",
        "STATUS=a READY=0",
        "WATCHDOG=1",
        "STOPPING=1",
    ]


def test_reloading_carries_the_monotonic_time(manager: socket.socket) -> None:
    before = time.monotonic_ns() // 1000

    Notifier(address(manager)).reloading()

    first, second = manager.recv(1000).decode().split("\n")
    assert first == "RELOADING=1"
    assert before <= int(second.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000


def test_an_at_sign_means_an_abstract_socket() -> None:
    name = f"framebridge-{secrets.token_hex(8)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.settimeout(5)
        receiver.bind(f"\0{name}")

        Notifier(f"@{name}").stopping()

        assert receiver.recv(1000) == b"STOPPING=1"


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1234"}])
def test_without_a_usable_address_nothing_is_sent(environ: dict[str, str]) -> None:
    notifier = Notifier.from_environment({**environ, "WATCHDOG_USEC": "1000000"})

    notifier.ready("fine")

    assert notifier.watchdog is None


def test_a_manager_that_is_gone_or_full_harms_nobody(tmp_path: Path, manager: socket.socket) -> None:
    Notifier(str(tmp_path / "nobody")).stopping()
    notifier = Notifier(address(manager))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as filler:
        filler.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            for _ in range(100_000):
                filler.sendto(b"x", address(manager))

    notifier.status("nobody reads this")  # and returns: there was no room


@pytest.mark.parametrize(
    ("usec", "pid", "seconds"),
    [
        ("20000000", None, 20.0),
        pytest.param("20000000", str(os.getpid()), 20.0, id="ours"),
        pytest.param("20000000", "1", None, id="another"),
        ("0", None, None),
        ("soon", None, None),
        (None, None, None),
    ],
)
def test_the_watchdog_is_for_this_process_only(
    usec: str | None, pid: str | None, seconds: float | None
) -> None:
    environ = {"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": usec, "WATCHDOG_PID": pid}

    notifier = Notifier.from_environment({key: value for key, value in environ.items() if value is not None})

    assert notifier.watchdog == seconds
