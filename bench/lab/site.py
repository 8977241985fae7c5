"""The place where a system under test runs: a guest side, a trunk side, a namespace of its own in between.

    [guest namespace]              [bridge namespace]                 [outer namespace]
     g0 g1 ...  <- tap or veth ->   system under test   trunk <- veth -> ext

Guests are devices g0..gN-1 in the guest namespace: either the kernel side of taps that the system made
(`adopt`), or veth ends whose peers port0..portN-1 the system uses (`add_guest_veths`). The trunk is a veth;
behind it the outer namespace is the external network. Raw tests speak the tag themselves (the traffic tool
on ext); for the IP stack `addressed` gives g0 and ext addresses and, for systems that tag, terminates the
VLAN on ext (see termination.py). Nothing here knows any system. Namespaces and processes are gone when the
site is closed.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.errors import BenchError

from . import net
from .termination import terminated


@dataclass(frozen=True, slots=True)
class Wish:
    """What is wanted of a site; equal wishes can share one."""

    n_guests: int = 1
    vids: tuple[int, ...] = (10,)  # on the trunk, without gaps
    guest_tagged: bool = False  # guests speak tags too: trunk to trunk
    mtu: int = 1500


ONE_GUEST = Wish()
GUEST_ADDRESS = "10.99.0.1"
OUTER_ADDRESS = "10.99.0.2"


class Site:
    """Namespaces, devices and processes of one system under test; a context manager."""

    def __init__(self, wish: Wish = ONE_GUEST) -> None:
        self.prefix = net.make_prefix()
        self.guest_space = f"{self.prefix}-guest"
        self.bridge_space = f"{self.prefix}-bridge"
        self.outer_space = f"{self.prefix}-outer"
        self.wish = wish
        self.processes: list[net.Process] = []
        self.directory = Path()
        self._stack = contextlib.ExitStack()
        self._serial = itertools.count()

    def __enter__(self) -> Site:
        try:
            self.directory = self._stack.enter_context(net.scratch_directory())
            for space in (self.guest_space, self.bridge_space, self.outer_space):
                self._stack.enter_context(net.namespace(space))
            self._stack.callback(self._end_processes)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _end_processes(self) -> None:
        for process in reversed(self.processes):
            process.end()

    @property
    def n_guests(self) -> int:
        return self.wish.n_guests

    @property
    def vids(self) -> tuple[int, ...]:
        """The VLANs on the trunk, without gaps; guests that do not tag are in the first."""
        return self.wish.vids

    @property
    def vid(self) -> int:
        return self.wish.vids[0]

    @property
    def guest_tagged(self) -> bool:
        return self.wish.guest_tagged

    @property
    def mtu(self) -> int:
        return self.wish.mtu

    @property
    def guests(self) -> list[str]:
        """The guests' devices in the guest namespace."""
        return [f"g{i}" for i in range(self.n_guests)]

    @property
    def ports(self) -> list[str]:
        """The system's ends of guest veths in the bridge namespace."""
        return [f"port{i}" for i in range(self.n_guests)]

    # -- what a system does to become part of the site

    def add_trunk(self) -> None:
        """Make the trunk: device `trunk` for the system, `ext` outside."""
        net.add_veth(self.bridge_space, "trunk", self.outer_space, "ext", mtu=self.mtu)

    def add_guest_veths(self) -> None:
        """Make a veth for every guest: `portN` for the system, `gN` for the guest."""
        for guest, port in zip(self.guests, self.ports, strict=True):
            net.add_veth(self.bridge_space, port, self.guest_space, guest, mtu=self.mtu)

    def adopt(self, device: str, *, move: bool = True, outer: bool = False) -> None:
        """Take a tap that the system has made in the bridge namespace over to its user, and bring it up.

        Its user is the guest, or with `outer` the external network: for systems whose trunk is a tap, too.
        """
        space = self.outer_space if outer else self.guest_space
        if move:
            net.ip(self.bridge_space, "link", "set", device, "netns", space)
        net.ip(space, "link", "set", device, "mtu", str(self.mtu), "up")

    def plain_frames(self) -> None:
        """Switch offloads off, for systems that can move neither super-frames nor unfinished checksums."""
        for space, devices in (
            (self.bridge_space, ["trunk", *self.ports]),
            (self.outer_space, ["ext"]),
            (self.guest_space, self.guests),
        ):
            for device in devices:
                if net.device_exists(space, device):
                    net.set_offloads(space, device, False)

    def spawn(self, command: Sequence[str], environment: dict[str, str] | None = None) -> net.Process:
        """Start a program in the bridge namespace; it is ended with the site."""
        log = self.directory / f"{next(self._serial)}-{Path(command[0]).name}.log"
        process = net.Process(command, self.bridge_space, log, environment)
        self.processes.append(process)
        return process

    def run(self, *command: str) -> str:
        """Run a command in the bridge namespace to its end."""
        return net.run(*command, namespace=self.bridge_space)

    def ip(self, *arguments: str) -> str:
        """Run `ip` on the bridge namespace."""
        return net.ip(self.bridge_space, *arguments)

    def wait_ready(self) -> None:
        """Wait until all guests and the outer device have a carrier, so that no frame is lost to set-up."""
        for space, devices in ((self.guest_space, self.guests), (self.outer_space, ["ext"])):
            for device in devices:
                net.wait_until(partial(net.device_carrier, space, device), f"carrier on {device}")

    # -- what measurements do

    def check(self) -> None:
        """Raise if a program of the system has ended."""
        for process in self.processes:
            process.check()

    def freeze(self, frozen: bool) -> None:
        """Stop the programs of the system or let them go on: who waits for a turn shall cost nothing."""
        for process in self.processes:
            process.send_signal(signal.SIGSTOP if frozen else signal.SIGCONT)

    def pids(self) -> list[int]:
        """Return processes of the system."""
        found: list[int] = []
        for process in self.processes:
            found += map(int, net.run("pgrep", "-g", str(process.pid)).split())
        return found

    def pin(self, cpus: set[int]) -> None:
        """Let all threads of the system run on these CPUs only."""
        for pid in self.pids():
            for task in Path("/proc", str(pid), "task").iterdir():
                with contextlib.suppress(ProcessLookupError):
                    os.sched_setaffinity(int(task.name), cpus)

    @contextlib.contextmanager
    def addressed(self, *, tagged: bool) -> Iterator[None]:
        """Give g0 and ext addresses, and end the VLAN on ext if the system tags."""
        with contextlib.ExitStack() as stack:
            if tagged:
                stack.enter_context(terminated(self.outer_space, "ext", self.vid))
            for space, device, address in (
                (self.guest_space, "g0", GUEST_ADDRESS),
                (self.outer_space, "ext", OUTER_ADDRESS),
            ):
                net.ip(space, "address", "add", f"{address}/24", "dev", device)
                stack.callback(self._without_address, space, device)
            yield

    @staticmethod
    def _without_address(space: str, device: str) -> None:
        with contextlib.suppress(BenchError):
            net.ip(space, "address", "flush", "dev", device)
