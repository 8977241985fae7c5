"""A large bridge in namespaces: its devices, its configuration file, its daemon, and what is asked of that.

Job: `place()` makes three namespaces and the far ends of all ports; `Place.start()` runs `framebridge run FILE` there.
Trunks are veths between the bridge's and the outer namespace, guests are taps in the guests' namespace. Everything is
gone when the block ends, whatever happened.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from bench.errors import BenchError
from bench.lab import net
from bench.systems.framebridge import command
from bridge.control.client import Client
from bridge.errors import ControlError

METRICS = "127.0.0.1:9464"
START_SECONDS = 120.0
COMMAND_SECONDS = 60.0
REST_SECONDS, REST_CPU = 0.3, 0.02  # at rest: so little CPU time in so long

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Size:
    """How large the bridge is; `tables`: each VLAN has a `[[vlan]]` of its own."""

    ports: int = 64
    trunks: int = 8
    vlans: int = 4094
    tables: bool = True
    entries: int = 65_536

    @property
    def guests(self) -> int:
        """Access ports, each in a VLAN of its own."""
        return self.ports - self.trunks


@dataclass(frozen=True, slots=True)
class Variant:
    """What a configuration says that another one says otherwise."""

    isolated: int = 0  # so many guests are
    moved: int = 0  # so many guests are in the VLAN above theirs
    trunk_vlans: int | None = None  # None: all
    guests: int | None = None


class Timing(NamedTuple):
    """How long something took, and the CPU time of all who worked on it: what it takes on a machine at rest."""

    seconds: float
    cpu: float


def cpu_seconds(pid: int | str) -> float:
    """CPU time of a process so far, or of its thread "PID/task/TID"."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def guest_vlan(number: int) -> int:
    """VLAN of a guest."""
    return 100 + number


class Place:
    """Namespaces with the devices of a bridge of some size, and at most one daemon."""

    def __init__(self, size: Size, prefix: str, directory: Path) -> None:
        self.size = size
        self.bridge, self.guests, self.outer = (f"{prefix}-{what}" for what in ("bridge", "guests", "outer"))
        self.directory = directory
        self.file = directory / "scale.toml"
        self.socket = directory / "scale.sock"
        self._daemon: net.Process | None = None

    # -- configuration

    def write(self, variant: Variant = Variant()) -> None:
        """Write the configuration file."""
        size = self.size
        top = size.vlans if variant.trunk_vlans is None else variant.trunk_vlans
        parts = [
            f'[bridge]\nname = "scale"\nfdb_size = {size.entries}\ncontrol_socket = "{self.socket}"\n',
            f'[metrics]\naddress = "{METRICS}"\n',
        ]
        for number in range(size.trunks):
            parts.append(_port(f"t{number}", "link", f'vlan = {{ trunk = ["1-{top}"] }}'))
        for number in range(size.guests if variant.guests is None else variant.guests):
            vlan = f"vlan = {{ access = {guest_vlan(number) + (number < variant.moved)} }}"
            more = ["isolated = true"] if number < variant.isolated else []
            parts.append(_port(f"g{number}", "tap", f'netns = "{self.guests}"', vlan, *more))
        if size.tables:
            parts += [f'[[vlan]]\nid = {vid}\nname = "v{vid}"\n' for vid in range(1, size.vlans + 1)]
        self.file.write_text("\n".join(parts))

    def add_trunks(self) -> None:
        """Make the veths of the trunks."""
        for number in range(self.size.trunks):
            net.add_veth(self.bridge, f"t{number}", self.outer, f"x{number}")

    # -- the daemon

    def start(self) -> Timing:
        """Start the daemon; returns how long it took until it answered."""
        begin = time.monotonic()
        daemon = net.Process([*command(), "run", str(self.file)], self.bridge, self.directory / "daemon.log")
        self._daemon = daemon
        daemon.wait_until(self._answers, "an answer of the daemon", START_SECONDS)
        return Timing(time.monotonic() - begin, cpu_seconds(self.pid))

    def _answers(self) -> bool:
        if self.socket.exists():
            with contextlib.suppress(ControlError):
                return bool(self.ask("Version"))
        return False

    def stop(self) -> None:
        """End the daemon; idempotent."""
        if self._daemon is not None:
            self._daemon.end(30.0)
            self._daemon = None

    @property
    def pid(self) -> int:
        """Process of the daemon: what the control socket says, since others stand in between."""
        return int(self.ask("Version")[0]["pid"])

    def memory(self) -> dict[str, float]:
        """Resident memory of the daemon in MB: now and at its highest."""
        text = Path(f"/proc/{self.pid}/status").read_text()
        kilobytes = dict(re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB$", text, re.MULTILINE))
        return {"rss": int(kilobytes["VmRSS"]) / 1024, "peak": int(kilobytes["VmHWM"]) / 1024}

    def wait_rest(self) -> None:
        """Wait until the daemon has nothing left to do: the audit after a change takes a while."""
        pid, spent = self.pid, -1.0

        def rests() -> bool:
            nonlocal spent
            before, spent = spent, cpu_seconds(pid)
            if spent - before < REST_CPU:
                return True
            time.sleep(REST_SECONDS)
            return False

        net.wait_until(rests, "rest of the daemon", START_SECONDS)

    def ask(self, method: str, **parameters: Any) -> list[Row]:
        """Call the daemon through its control socket."""
        with Client(str(self.socket)) as client:
            return client.rows(method, parameters)

    def time_command(self, *words: str) -> tuple[Timing, str]:
        """Run `framebridge WORDS` as people do; returns how long it took, and its output."""
        pid = self.pid
        begin, spent = time.monotonic(), cpu_seconds(pid) + _cpu_of_children()
        done = subprocess.run(
            [*command(), "-s", str(self.socket), *words],
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        timing = Timing(time.monotonic() - begin, cpu_seconds(pid) + _cpu_of_children() - spent)
        if done.returncode:
            raise BenchError(f"framebridge {' '.join(words)}: {done.stderr.strip()}")
        return timing, done.stdout

    def time_rows(self, *words: str) -> tuple[Timing, list[Row]]:
        """Run `framebridge -j WORDS`; returns how long it took, and the rows."""
        timing, output = self.time_command("-j", *words)
        return timing, json.loads(output)

    def thread(self) -> dict[str, float]:
        """Counters of the data thread, from the metrics."""

        def read() -> str:
            with urllib.request.urlopen(f"http://{METRICS}/metrics", timeout=COMMAND_SECONDS) as answer:
                return str(answer.read().decode())

        text = net.inside(self.bridge, read)
        found = re.findall(r"^framebridge_thread_(\w+?)(?:_total)?(?:\{[^}]*\})? (\S+)$", text, re.MULTILINE)
        return {name: float(value) for name, value in found}

    def totals(self) -> Row:
        """Counters of the bridge."""
        return self.ask("StatsShow")[-1]


def _port(name: str, kind: str, *lines: str) -> str:
    return "\n".join(["[[port]]", f'name = "{name}"', f'kind = "{kind}"', f'device = "{name}"', *lines, ""])


@contextlib.contextmanager
def place(size: Size) -> Iterator[Place]:
    """Make the namespaces and devices of a bridge of this size, and write its configuration."""
    prefix = net.make_prefix()
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(net.scratch_directory())
        made = Place(replace(size), prefix, directory)
        for space in (made.bridge, made.guests, made.outer):
            stack.enter_context(net.namespace(space))
        stack.callback(made.stop)
        made.add_trunks()
        made.write()
        yield made
