"""What stories share: daemons that are ended and audited after each test, and their logs in failures.

A `conftest.py` imports these names to have them as fixtures and hooks.
"""

from __future__ import annotations

import contextlib
import itertools
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.daemon import Daemon, daemon, document
from helpers.lan import Lan
from helpers.net import Namespace, Net

DAEMONS = pytest.StashKey[list[Daemon]]()


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory with a path short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="fb-") as path:
        yield Path(path)


@pytest.fixture
def start(
    net: Net, directory: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Daemon]]:
    """`start(space, *ports, **bridge)`: a daemon that is ready, ended and audited when the story is over.

    Its mirrors write beneath `tmp_path`.
    """
    daemons = request.node.stash[DAEMONS] = []
    serial = itertools.count()
    with contextlib.ExitStack() as stack:

        def start(space: Namespace, *ports: str, socket: Path | None = None, **bridge: Any) -> Daemon:
            socket = socket or directory / f"d{next(serial)}.sock"
            always = {"mirror_dir": str(tmp_path)}
            text = document(socket, *ports, **{**always, **bridge})
            daemons.append(stack.enter_context(daemon(directory, space, text, socket, always)))
            return daemons[-1]

        yield start
        for one in daemons:
            one.finish()


@pytest.fixture
def lan(net: Net, start: Callable[..., Daemon]) -> Lan:
    """Three guests on two VLANs and a trunk."""
    return Lan(net, start)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call" and report.failed:
        for one in item.stash.get(DAEMONS, []):
            report.sections.append((f"log of daemon {one.socket.stem}", one.log))
    return report
