"""A real daemon: `framebridge run` as a process in a namespace, its configuration, its command, its books.

Job: a story says which ports there are and gets a daemon that is ready (its control socket answers), the
command as people type it (`cli`, `rows`), quick questions for waiting (`ask`), and an end that is checked:
`finish` wants the books to balance, exit status 0, no traceback, no socket left. Nothing here sleeps.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from json import loads
from pathlib import Path
from typing import Any, NamedTuple

from bridge.config.port import MEMBERSHIP
from bridge.config.text import toml_value
from bridge.control.client import Client
from bridge.errors import ControlError
from helpers import net as nets
from helpers.net import HERE, Namespace, Program

COMMAND = (sys.executable, "-m", "bridge")
RUN = (*COMMAND, "run", "--keep", "netns,offload")  # stories add such ports while it runs
# Nobody, who may read everything (a checkout under /root, too) and nothing more.
CAPABILITIES = "-all,+dac_read_search"
NOBODY = (
    *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
    *(f"--inh-caps={CAPABILITIES}", f"--ambient-caps={CAPABILITIES}"),
    *COMMAND,
)
READY_SECONDS = 120.0  # an emulated machine that reads all of Python for the first time
COMMAND_SECONDS = 60.0

Row = dict[str, Any]
Drops = dict[tuple[str, str, str], int]  # frames by port, direction, reason


# -- configuration -----------------------------------------------------------------------------------


def port(name: str, kind: str, device: str = "", space: Namespace | None = None, **keys: Any) -> str:
    """A `[[port]]` table; the keys of its `vlan` table stand among the others."""
    vlan = {key: keys.pop(key) for key in (one.name for one in MEMBERSHIP) if key in keys}
    place = {"device": device} if device else {}
    place |= {"netns": space.name} if space else {}
    table = {"name": name, "kind": kind, **place, "vlan": vlan, **keys}
    return "\n".join(["[[port]]", *(f"{key} = {toml_value(value)}" for key, value in table.items()), ""])


def tap(name: str, space: Namespace, device: str = "tap0", **keys: Any) -> str:
    """A guest: a tap whose kernel side lives in the guest's namespace."""
    return port(name, "tap", device, space, **keys)


def link(name: str, device: str, **keys: Any) -> str:
    """A port on a device of the daemon's own namespace."""
    return port(name, "link", device, **keys)


# -- the process -------------------------------------------------------------------------------------


class Result(NamedTuple):
    """What a command did."""

    status: int
    out: str
    err: str


def run_command(*words: str, space: Namespace = HERE, command: Sequence[str] = COMMAND, **env: str) -> Result:
    """Run `framebridge` to its end."""
    done = space.run(
        subprocess.run,
        [*command, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        env={**os.environ, **env},
    )
    return Result(done.returncode, done.stdout, done.stderr)


class Daemon:
    """A running daemon; `file` is its configuration, `log` what it wrote on stderr so far.

    `always`: keys of [bridge] that every configuration of it has.
    """

    def __init__(self, program: Program, file: Path, socket: Path, always: Row) -> None:
        self.program = program
        self.file = file
        self.socket = socket
        self.always = always

    @property
    def pid(self) -> int:
        return self.program.pid

    @property
    def log(self) -> str:
        return self.program.output

    def write(self, *ports: str, **bridge: Any) -> None:
        """Write another configuration of these ports into the file of the daemon; it keeps `always`."""
        self.file.write_text(document(self.socket, *ports, **{**self.always, **bridge}))

    # -- the command

    def cli(self, *words: str) -> Result:
        """`framebridge -s SOCKET WORDS`."""
        return run_command("-s", str(self.socket), *words)

    def rows(self, *words: str) -> list[Row]:
        """Rows of `framebridge -j WORDS`, which must be done."""
        status, out, err = self.cli("-j", *words)
        assert (status, err) == (0, ""), f"{words}: {err}"
        return list(loads(out))

    def refused(self, *words: str) -> str:
        """What a command says that must be refused: exit status 1, one message, nothing on stdout."""
        status, out, err = self.cli(*words)
        assert (status, out) == (1, ""), f"{words} was not refused: {out}"
        assert "Traceback" not in err
        return err

    # -- quick questions, for waiting

    def ask(self, method: str, **parameters: Any) -> list[Row]:
        with Client(str(self.socket)) as client:
            return client.rows(method, parameters)

    def port(self, name: str) -> Row:
        return self.ask("PortShow", port=name)[0]

    def stats(self, name: str) -> Row:
        return self.ask("StatsShow", port=name)[0]

    def drops(self) -> Drops:
        """Frames by (port, direction, reason), of the ports there are."""
        return of_ports(by_reason(self.ask("DropsShow")))

    def books(self) -> tuple[dict[str, Row], Drops]:
        """Counters by port, the `total` among them, and drops of the ports there are, of one moment."""
        stats, drops = self._books()
        return stats, of_ports(drops)

    def _books(self) -> tuple[dict[str, Row], Drops]:
        rows = self.ask("StatsShow", drops=True)
        stats = {row["port"]: row for row in rows if "reason" not in row}
        return stats, by_reason(row for row in rows if "reason" in row)

    def fdb(self) -> dict[tuple[int, str], tuple[str, str]]:
        """(VLAN, MAC) to (port, state)."""
        return {(row["vlan"], row["mac"]): (row["port"], row["state"]) for row in self.ask("FdbShow")}

    def wait(self, condition: Callable[[], Any], what: str) -> Any:
        """Wait for a condition while the daemon lives; its log is in the failure message."""
        return self.program.wait_ready(condition, what)

    def wait_state(self, name: str, state: str) -> None:
        self.wait(lambda: self.port(name)["state"] == state, f"port {name} {state}")

    def wait_log(self, pattern: str) -> str:
        return self.program.wait_output(pattern)[0]

    # -- the end

    def check_books(self) -> None:
        """Counters and drops add up exactly (R12), whatever is under way."""
        stats, drops = self._books()
        check_balance([*stats.values()])
        by_side: Counter[tuple[str, str]] = Counter()
        for (port, direction, _reason), frames in drops.items():
            by_side[port, direction] += frames
        sides = {"rx": ["rx_drops"], "tx": ["tx_drops"], "missed": ["rx_missed", "rx_refused"]}
        columns = {
            (row["port"], way): sum(row[column] for column in columns)
            for row in stats.values()
            for way, columns in sides.items()
        }
        assert by_side == {side: frames for side, frames in columns.items() if frames}

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait; the exit status (negative: the signal)."""
        self.program.signal(number)
        return self.program.wait_exit(20.0)

    def finish(self) -> None:
        """The end of every story: the books balance, and the daemon ends without a complaint."""
        if self.program.process.poll() is None:
            self.check_books()
            assert self.end() == 0, self.log
            assert not self.socket.exists()
        assert "Traceback" not in self.log, self.log


def by_reason(rows: Iterable[Row]) -> Drops:
    return {(row["port"], row["direction"], row["reason"]): row["frames"] for row in rows}


def of_ports(drops: Drops) -> Drops:
    return {key: frames for key, frames in drops.items() if key[0] != "total"}


def check_balance(stats: list[Row]) -> None:
    """`stats show` adds up exactly at any moment (R12), whatever is under way."""
    *ports, total = stats
    for row in ports:
        came, went = row["rx_frames"] + row["copies"], row["forwarded"] + row["rx_drops"]
        assert came == went, f"port {row['port']} took in {came} and accounts for {went}"
        offered, ended = row["offered"], row["tx_frames"] + row["tx_drops"]
        assert offered == ended, f"port {row['port']} was offered {offered} and accounts for {ended}"
    assert (total["port"], total["balance"]) == ("total", 0)
    assert total["forwarded"] + total["originated"] == total["offered"]


def document(socket: Path, *ports: str, **bridge: Any) -> str:
    """A configuration file."""
    table = {"control_socket": str(socket), **bridge}
    return "\n".join(
        ["[bridge]", *(f"{key} = {toml_value(item)}" for key, item in table.items()), "", *ports]
    )


def is_answered(socket: Path) -> bool:
    with contextlib.suppress(ControlError), Client(str(socket)) as client:
        return bool(client.rows("Version"))
    return False


@contextlib.contextmanager
def daemon(
    directory: Path,
    space: Namespace,
    text: str,
    socket: Path,
    always: Row | None = None,
    command: Sequence[str] = RUN,
) -> Iterator[Daemon]:
    """A daemon in `space` that answers; killed at the end of the block if `finish` did not end it."""
    file = directory / f"{socket.stem}.toml"
    file.write_text(text)
    with nets.program([*command, str(file)], space) as program:
        program.wait_ready(lambda: is_answered(socket), "the daemon to answer", READY_SECONDS)
        yield Daemon(program, file, socket, always or {})
