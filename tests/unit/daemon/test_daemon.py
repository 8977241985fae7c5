"""The daemon as a process of its own, on a fake engine: start, signals, reload, faults, service manager."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers.control import Wire, write_config

from bridge.control.client import Client
from bridge.errors import ControlError

TESTS = Path(__file__).parents[2]

# What differs from FakeEngine, by name; the program below runs the one asked for.
PROGRAM = """
import asyncio, logging, os, sys, time
sys.path.insert(0, {tests!r})
from bridge.daemon.daemon import serve
from bridge.errors import FramebridgeError
from helpers.fake_engine import FakeEngine

class Plain(FakeEngine):
    async def start(self, **options):
        await super().start(**options)
        print("started", flush=True)
    async def stop(self):
        print("stopped", flush=True)
        await super().stop()

class SlowToStart(Plain):
    async def start(self, **options):
        print("started", flush=True)
        await asyncio.sleep(60)

class StuckAtStop(Plain):
    async def stop(self):
        print("stopped", flush=True)
        while True:  # not even the event loop turns any more, nor does an exception help
            try:
                time.sleep(60)
            except KeyboardInterrupt:
                pass

class SlowToStop(Plain):
    async def stop(self):
        await super().stop()
        while not os.path.exists(sys.argv[1] + ".go"):
            await asyncio.sleep(0.01)

class StuckThread(Plain):
    def wake(self):
        pass

class Dying(Plain):
    async def start(self, **options):
        await super().start(**options)
        asyncio.get_running_loop().call_later(0.2, self.faults.set_exception, OSError(5, "burst went wrong"))

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
try:
    sys.exit(asyncio.run(serve(sys.argv[1], {engine}, check_seconds=float(os.environ.get("CHECK", "0.05")))))
except FramebridgeError as error:
    sys.exit(str(error))
"""


class Daemon:
    def __init__(self, config: Path, engine: str = "Plain", **environ: str) -> None:
        self.socket = str(config.with_suffix(".sock"))
        self.output = ""
        program = PROGRAM.format(tests=str(TESTS), engine=engine)
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, str(config)],
            stdout=pipe,
            stderr=pipe,
            text=True,
            env=os.environ | environ,
        )

    def client(self) -> Client:
        """Wait until it is ready: the socket exists, so it must answer."""
        until(lambda: Path(self.socket).exists() or self.process.poll() is not None, "the socket")
        return Client(self.socket)

    def said(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def log_until(self, text: str) -> str:
        """Read the log up to a line with this text."""
        assert self.process.stderr is not None
        lines = []
        while not lines or text not in lines[-1]:
            lines.append(self.process.stderr.readline())
            assert lines[-1], f"the log ended without {text!r}: {lines}"
        return "".join(lines)

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal, if it still lives, and wait; give the exit status and the rest of the log."""
        if number:
            self.process.send_signal(number)
        self.output, log = self.process.communicate(timeout=30)
        return self.process.returncode, log


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_config(tmp_path)


@pytest.fixture
def start(config: Path) -> Iterator[Callable[..., Daemon]]:
    daemons: list[Daemon] = []

    def start(engine: str = "Plain", **environ: str) -> Daemon:
        daemons.append(Daemon(config, engine, **environ))
        return daemons[-1]

    yield start
    for daemon in daemons:
        daemon.process.kill()
        daemon.process.communicate()


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.005)


def vlan_of_guests(client: Client) -> int:
    return int(client.rows("PortShow", {"port": "guests"})[0]["vlan"])


Start = Callable[..., Daemon]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_and_nothing_is_left(start: Start, config: Path, number: int) -> None:
    daemon = start()
    with daemon.client() as client:
        assert client.rows("Version")[0]["pid"] == daemon.process.pid

        status, log = daemon.end(number)

    assert status == 0
    assert "ready: dmz: 2 of 2 ports up, control socket" in log
    assert log.splitlines()[-1] == "INFO stopped"
    assert [path.name for path in config.parent.iterdir()] == ["dmz.toml"]


def test_a_socket_that_somebody_removed_is_made_again(start: Start, config: Path) -> None:
    """Alone, or with its lock and the directory; a client that is connected stays so."""
    daemon = start()
    with daemon.client() as client:
        socket_path = Path(daemon.socket)
        for victims in ([socket_path], [socket_path, Path(f"{daemon.socket}.lock")]):
            for victim in victims:
                victim.unlink()
            with daemon.client() as another:
                assert another.rows("Version")[0]["pid"] == daemon.process.pid
        assert client.rows("Version")[0]["pid"] == daemon.process.pid
        status, log = start().end(0)
        assert (status, "already running" in log) == (1, True)
    status, log = daemon.end()
    assert status == 0
    assert log.count("somebody removed the control socket") == 2
    assert [path.name for path in config.parent.iterdir()] == ["dmz.toml"]


def test_the_socket_comes_last(start: Start) -> None:
    daemon = start("SlowToStart")

    assert daemon.said() == "started"
    assert not Path(daemon.socket).exists()
    status, _ = daemon.end()

    assert status == 0


def test_the_socket_goes_first_and_the_path_is_kept_to_the_end(start: Start, config: Path) -> None:
    daemon = start("SlowToStop")
    daemon.client().close()
    daemon.process.send_signal(signal.SIGTERM)
    assert [daemon.said(), daemon.said()] == ["started", "stopped"]

    assert not Path(daemon.socket).exists()
    assert "already running" in start().end(0)[1]
    config.with_name("dmz.toml.go").touch()

    assert daemon.end(0)[0] == 0


def test_a_second_daemon_is_refused_before_it_touches_a_port(start: Start) -> None:
    first = start()
    with first.client():
        second = start()
        status, log = second.end(0)

        assert status == 1
        assert f"already running (pid {first.process.pid})" in log
        assert second.output == ""
    with first.client() as client:
        assert client.rows("Version")[0]["pid"] == first.process.pid


def test_two_daemons_started_at_once_are_one(start: Start) -> None:
    daemons = [start() for _ in range(3)]
    until(lambda: sum(daemon.process.poll() is None for daemon in daemons) == 1, "the others to give up")

    survivor = next(daemon for daemon in daemons if daemon.process.poll() is None)
    with survivor.client() as client:
        assert client.rows("Version")[0]["pid"] == survivor.process.pid
    assert {daemon.end(0)[0] for daemon in daemons if daemon is not survivor} == {1}


def test_what_a_killed_daemon_left_does_not_keep_the_next_from_starting(start: Start) -> None:
    first = start()
    first.client().close()
    first.end(signal.SIGKILL)
    assert Path(first.socket).exists()

    second = start()
    until(lambda: second.said() == "started", "the second to start")
    second.log_until("ready")

    with second.client() as client:
        assert client.rows("Version")[0]["pid"] == second.process.pid


def test_hangup_reads_the_file_again(start: Start, config: Path) -> None:
    daemon = start()
    with daemon.client() as client:
        config.write_text(config.read_text().replace("access = 10", "access = 30"))
        daemon.process.send_signal(signal.SIGHUP)

        until(lambda: vlan_of_guests(client) == 30, "the reload")
        assert "set port guests: vlan access 10 -> access 30" in daemon.log_until("reloaded")


def test_a_failed_reload_changes_nothing_and_the_daemon_goes_on(start: Start, config: Path) -> None:
    daemon = start()
    good = config.read_text()
    with daemon.client() as client:
        config.write_text(good.replace("access = 10", "access = 0"))
        daemon.process.send_signal(signal.SIGHUP)
        assert f"{config}: line 8: port[0].vlan.access" in daemon.log_until(
            "reload refused, nothing was changed"
        )
        with pytest.raises(ControlError, match=r"line 8: port\[0\]\.vlan\.access"):
            client.rows("Reload")
        assert vlan_of_guests(client) == 10

        config.write_text(good.replace("access = 10", "access = 30"))
        client.rows("Reload")
        assert vlan_of_guests(client) == 30
    assert daemon.end()[0] == 0


def test_a_configuration_with_problems_does_not_start(start: Start, config: Path) -> None:
    config.write_text(config.read_text() + "colour = 1\n")

    status, log = start().end(0)

    assert (status, log.strip()) == (
        1,
        f"{config}: line 14: port[1].colour: " + log.strip().partition("colour: ")[2],
    )
    assert [path.name for path in config.parent.iterdir()] == ["dmz.toml"]


def test_a_port_that_cannot_be_opened_ends_the_start_with_nothing_left(start: Start, config: Path) -> None:
    text = (
        config.read_text() + '[[port]]\nname = "x"\nkind = "tap"\ndevice = "absent0"\nvlan = { access = 1 }\n'
    )
    config.write_text(text)
    daemon = start()

    status, log = daemon.end(0)

    assert status == 1
    assert "no device absent0" in log
    assert [path.name for path in config.parent.iterdir()] == ["dmz.toml"]


def test_a_second_signal_ends_it_at_once_however_stuck(start: Start) -> None:
    daemon = start("StuckAtStop")
    daemon.client().close()
    assert daemon.said() == "started"
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.said() == "stopped"

    status, log = daemon.end(signal.SIGINT)

    assert status == -signal.SIGINT
    assert "another one ends this process at once" in log


def test_when_the_data_thread_dies_the_daemon_ends_with_the_reason(start: Start, config: Path) -> None:
    daemon = start("Dying")

    status, log = daemon.end(0)

    assert status == 1
    assert "CRITICAL giving up: the data thread died: [Errno 5] burst went wrong" in log
    assert [path.name for path in config.parent.iterdir()] == ["dmz.toml"]


def test_a_client_in_the_middle_of_a_message_does_not_keep_it_from_ending(start: Start) -> None:
    daemon = start()
    daemon.client().close()
    with Wire(daemon.socket) as idle, Wire(daemon.socket) as half:
        half.socket.sendall(b'{"method":')
        idle.call("Version")

        assert daemon.end()[0] == 0
        assert idle.receive() is None


def test_the_command_runs_the_real_engine(config: Path) -> None:
    command = [sys.executable, "-m", "bridge"]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [*command, "run", "-v", str(config)], stdout=pipe, stderr=pipe, text=True
    ) as process:
        try:
            path = config.with_suffix(".sock")
            until(lambda: path.exists() or process.poll() is not None, "the socket")
            shown = subprocess.run(
                [*command, "-j", "-s", str(path), "port", "show"], capture_output=True, timeout=60
            )
            process.send_signal(signal.SIGTERM)
            out, log = process.communicate(timeout=30)
        finally:
            process.kill()

    assert [(row["port"], row["state"]) for row in json.loads(shown.stdout)] == [
        ("guests", "up"),
        ("uplink", "up"),
    ]
    assert (process.returncode, out) == (0, "")
    assert log.splitlines()[-1].endswith("INFO bridge.daemon: stopped")
    assert "pyroute2" not in log  # -v is about this program


# -- the service manager


class Manager:
    """A NOTIFY_SOCKET that remembers what it was told."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.told: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        self._socket.settimeout(20)

    def wait_for(self, text: str) -> None:
        begin = len(self.told)
        while not any(text in told for told in self.told[begin:]):
            self.told.append(self._socket.recv(4096).decode())

    def count(self, text: str, seconds: float) -> int:
        """Count what comes in a stretch of time."""
        deadline = time.monotonic() + seconds
        found = 0
        while (left := deadline - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                found += text in self._socket.recv(4096).decode()
            except TimeoutError:
                break
        self._socket.settimeout(20)
        return found

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Manager]:
    manager = Manager(tmp_path_factory.mktemp("manager") / "notify")
    yield manager
    manager.close()


def test_the_manager_hears_of_ready_reload_and_stop(start: Start, manager: Manager) -> None:
    daemon = start(NOTIFY_SOCKET=manager.path)
    manager.wait_for("READY=1")
    assert Path(daemon.socket).exists()
    assert manager.told == ["READY=1\nSTATUS=dmz: 2 of 2 ports up"]

    daemon.process.send_signal(signal.SIGHUP)
    manager.wait_for("RELOADING=1")
    manager.wait_for("READY=1")
    with daemon.client() as client:
        client.rows("PortSet", {"port": "guests", "changes": {"enabled": False}})
    manager.wait_for("STATUS=dmz: 1 of 2 ports up")
    daemon.process.send_signal(signal.SIGTERM)
    manager.wait_for("STOPPING=1")

    assert daemon.end(0)[0] == 0


def test_a_failed_start_never_says_ready(start: Start, manager: Manager, config: Path) -> None:
    config.write_text("nonsense")
    daemon = start(NOTIFY_SOCKET=manager.path)

    assert daemon.end(0)[0] == 1
    assert manager.count("READY=1", 0.05) == 0


def test_the_watchdog_is_fed_as_long_as_the_data_thread_moves(start: Start, manager: Manager) -> None:
    start(NOTIFY_SOCKET=manager.path, WATCHDOG_USEC="60000000")

    for _ in range(3):
        manager.wait_for("WATCHDOG=1")


def test_the_watchdog_starves_when_the_data_thread_is_stuck(start: Start, manager: Manager) -> None:
    daemon = start("StuckThread", NOTIFY_SOCKET=manager.path, WATCHDOG_USEC="60000000")
    manager.wait_for("READY=1")

    daemon.log_until("ERROR the data thread made no progress")

    assert manager.count("WATCHDOG=1", 0.2) == 0
    with daemon.client() as client:
        assert client.rows("Version")
    assert daemon.end()[0] == 0


def test_the_watchdog_sets_how_often_the_data_thread_is_looked_at(start: Start, manager: Manager) -> None:
    start(NOTIFY_SOCKET=manager.path, WATCHDOG_USEC="300000", CHECK="3600")

    for _ in range(3):
        manager.wait_for("WATCHDOG=1")
