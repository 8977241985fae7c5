"""What every test shares: import path, a network of its own, root-only tests, leak checks.

* `tests/` is on sys.path, so that tests say `from helpers.net import ...` and `from model import
  Model`. (There must be no `tests/platform/__init__.py`: it would shadow the standard library's
  `platform`.)
* Run as root, the whole test process moves into a network namespace of its own before anything else: no
  test can touch or be disturbed by the machine's real network, and a crash leaves no device behind.
* Tests marked `root` skip with a reason where namespaces cannot be had. A skip is not a pass.
* A process that is killed can undo nothing; what it leaves is removed by one that waits for that (helpers/reaper.py).
* After each test no namespace or device may be left that was not there before it.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from helpers import kernel, profiles, reaper
from helpers import net as nets

from bridge.lab import netns

pytest.register_assert_rewrite("helpers.bridge", "helpers.daemon", "helpers.hosts")
profiles.register()

why_no_network = pytest.StashKey[str]()
ended = pytest.StashKey[IO[bytes]]()


def pytest_configure(config: pytest.Config) -> None:
    # Background jobs of a shell ignore it, and so would every program that a test interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, end_session)
    config.stash[why_no_network] = enter_private_network()
    if not config.stash[why_no_network]:
        config.stash[ended] = reaper.begin(nets.PREFIX)  # closed by our end, whatever that is


def end_session(number: int, _frame: object) -> None:
    """End like Ctrl-C does, so that what the test under way has made is undone. A second one ends at once."""
    signal.signal(number, signal.SIG_DFL)
    pytest.exit(f"ended by {signal.Signals(number).name}", returncode=128 + number)


def enter_private_network() -> str:
    """Move this process into its own network; returns why that is not possible, or an empty string."""
    if os.geteuid() != 0:
        return "needs root (CAP_NET_ADMIN, CAP_SYS_ADMIN) for network namespaces"
    try:
        kernel.leave_for_new_namespace()
    except OSError as error:
        return f"no network namespaces here: {error}"
    netns.silence_ipv6()
    nets.HERE.set_link("lo", state="up")
    return ""


def pytest_runtest_setup(item: pytest.Item) -> None:
    reason = item.config.stash[why_no_network]
    if reason and item.get_closest_marker("root"):
        pytest.skip(reason)


def check_leaks(before: set[str], what: str) -> None:
    """Fail if namespaces or devices are left; a veth end goes a moment after its peer, so wait for it."""
    nets.wait_until(
        lambda: not nets.leftovers() - before, f"{what} to clean up {nets.leftovers() - before}", 5.0
    )


@pytest.fixture(scope="session", autouse=True)
def _no_leaks_of_session() -> Iterator[None]:
    before = nets.leftovers()
    yield
    check_leaks(before, "the session")


@pytest.fixture(autouse=True)
def _no_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    before = nets.leftovers()
    yield
    check_leaks(before, request.node.nodeid)


@pytest.fixture
def net() -> Iterator[nets.Net]:
    """Factories of namespaces, veth pairs, taps, packet sockets and programs, all undone after the test."""
    with nets.Net() as stack:
        yield stack
