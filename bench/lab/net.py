"""Network namespaces, devices and processes of the laboratory, and their end.

Job: everything the laboratory makes in the kernel is made here and removed here. Names start with PREFIX
plus the pid of the harness, so that a later run recognises what a killed one left and clears it away
(`sweep`). Namespaces and devices are those of bridge/lab/netns.py. Needs root. Processes are started in a namespace
with `nsenter`, die with the harness (PR_SET_PDEATHSIG) and are ended by pid.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, TypeVar

from bench.errors import BenchError, SkippedError
from bridge.lab import netns
from bridge.lab.topology import in_namespace

PREFIX = "fb-bench"
DEADLINE = 10.0  # seconds to wait for a program to become ready
PR_SET_PDEATHSIG = 1

_serial = itertools.count()
_libc = ctypes.CDLL(None, use_errno=True)
T = TypeVar("T")


def require_root() -> None:
    """Refuse to go on without the rights the laboratory needs."""
    if os.geteuid() != 0:
        raise BenchError("the laboratory makes network namespaces: run it as root")
    for command, package in (
        ("ip", "iproute2"),
        ("nsenter", "util-linux"),
        ("ethtool", "ethtool"),
        ("pgrep", "procps"),
        ("sysctl", "procps"),
    ):
        require_command(command, package)


def require_command(command: str, package: str) -> str:
    """Return the path of a command, or say which package has it."""
    path = shutil.which(command, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not path:
        raise SkippedError(f"{command} is not installed (Debian package {package})")
    return path


def wait_until(condition: Callable[[], T], what: str, timeout: float = DEADLINE) -> T:
    """Call `condition` until it returns something true; return that, or raise after `timeout` seconds."""
    try:
        return netns.wait_until(condition, what, timeout)
    except netns.NotInTimeError as error:
        raise BenchError(str(error)) from error


def run(*command: str, namespace: str | None = None, data: str | None = None, timeout: float = 30.0) -> str:
    """Run a command to its end and return its output; a failure is a BenchError with what it said."""
    words = in_namespace(namespace, *command) if namespace else [*command]
    try:
        done = subprocess.run(
            words,
            capture_output=True,
            text=True,
            input=data,
            timeout=timeout,
            check=False,
            start_new_session=True,  # Ctrl-C is for the harness: it still needs its commands to clean up
        )
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"{' '.join(command)}: not done after {timeout:g} s") from error
    if done.returncode:
        raise BenchError(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def ip(namespace: str, *arguments: str) -> str:
    """Run `ip -n NAMESPACE ...`."""
    return run("ip", "-n", namespace, *arguments)


def _die_with_parent() -> None:
    """Between fork and exec: end when the harness does, and leave Ctrl-C to it."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.setpgid(0, 0)


class Process:
    """A program that runs beside the harness. Its output goes to a log file that is shown when it fails."""

    def __init__(
        self, command: Sequence[str], namespace: str, log: Path, environment: dict[str, str] | None = None
    ) -> None:
        self.command = tuple(command)
        self.log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                in_namespace(namespace, *command),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                preexec_fn=_die_with_parent,  # no threads of ours run at this time
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def stdin(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def check(self) -> None:
        """Raise if the program has ended, with the end of what it said."""
        if not self.alive:
            said = self.log.read_text(errors="replace")[-800:].strip()
            raise BenchError(f"{self.command[0]} ended with status {self._process.returncode}: {said}")

    def wait_until(self, condition: Callable[[], T], what: str, timeout: float = DEADLINE) -> T:
        """Wait for a condition that this program is to bring about."""

        def checked() -> T:
            self.check()
            return condition()

        try:
            return wait_until(checked, what, timeout)
        except BenchError as error:
            said = self.log.read_text(errors="replace")[-800:].strip()
            raise BenchError(f"{error}; {self.command[0]} said: {said}") from error

    def send_signal(self, number: int) -> None:
        """Signal the program and all it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def end(self, timeout: float = 3.0) -> None:
        """End the program: SIGTERM, and SIGKILL if that does not do. Idempotent."""
        for number in (signal.SIGCONT, signal.SIGTERM):
            self.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout)
        self.send_signal(signal.SIGKILL)
        self._process.wait()
        if self._process.stdin:
            with contextlib.suppress(OSError):
                self._process.stdin.close()


def make_prefix() -> str:
    """Return a name for a set of namespaces that nobody else uses and that names its owner."""
    return f"{PREFIX}-{os.getpid()}-{next(_serial)}"


@contextlib.contextmanager
def namespace(name: str) -> Iterator[str]:
    """Make a named namespace in which nothing speaks of its own accord; remove it with all in it afterwards."""
    try:
        with netns.namespace(name, ipv6=False):
            yield name
    finally:
        remove_namespace(name)


def remove_namespace(name: str) -> None:
    """Kill what still runs in a namespace and remove it; idempotent."""
    netns.remove(name, with_programs=True)


@contextlib.contextmanager
def scratch_directory() -> Iterator[Path]:
    """Make a directory for logs, sockets and databases; gone afterwards."""
    with tempfile.TemporaryDirectory(prefix=f"{PREFIX}-{os.getpid()}-") as path:
        yield Path(path)


def leftovers() -> list[str]:
    """Name the namespaces that this process has made and not removed."""
    return netns.named(f"{PREFIX}-{os.getpid()}-")


def orphans(place: Path) -> list[Path]:
    """List what harness processes that are no more have left in a directory."""
    found = [
        (path, re.fullmatch(rf"{PREFIX}-(\d+)-.*", path.name)) for path in sorted(place.glob(f"{PREFIX}-*"))
    ]
    return [path for path, owner in found if owner and not Path("/proc", owner[1]).exists()]


def sweep() -> list[str]:
    """Remove the namespaces and directories of harness processes that are no more; returns their names."""
    spaces, directories = orphans(netns.NETNS_DIR), orphans(Path(tempfile.gettempdir()))
    for path in spaces:
        remove_namespace(path.name)
    for path in directories:
        shutil.rmtree(path, ignore_errors=True)
    return [path.name for path in (*spaces, *directories)]


def inside(space: str, work: Callable[[], T]) -> T:
    """Call `work` in a thread that has entered a namespace; sockets it opens stay there."""
    return netns.run_in(space, work)


# -- devices


def add_veth(space: str, device: str, peer_space: str, peer: str, *, mtu: int = 1500) -> None:
    """Make a veth pair between two namespaces and bring both ends up."""
    netns.connect(space, device, peer_space, peer, mtu=mtu)


def device_exists(space: str, device: str) -> bool:
    """Say whether a namespace has a device of that name."""
    try:
        ip(space, "link", "show", "dev", device)
    except BenchError:
        return False
    return True


def device_carrier(space: str, device: str) -> bool:
    """Say whether a device is up and has a carrier."""
    return "LOWER_UP" in ip(space, "-o", "link", "show", "dev", device)


def set_offloads(space: str, device: str, on: bool) -> None:
    """Switch checksum, segmentation and receive offloads; what a driver cannot change stays."""
    value = "on" if on else "off"
    for feature in ("tx", "tso", "gso", "gro"):
        with contextlib.suppress(BenchError):
            run("ethtool", "-K", device, feature, value, namespace=space)


def device_statistics(space: str, device: str) -> dict[str, int]:
    """Read the kernel's counters of a device."""
    found: list[dict[str, Any]] = json.loads(ip(space, "-s", "-j", "link", "show", "dev", device))
    counters = found[0]["stats64"]
    return {f"{way}_{name}": value for way in ("rx", "tx") for name, value in counters[way].items()}
