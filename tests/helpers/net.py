"""Factories for real networks: namespaces, veth pairs, taps, packet sockets and programs.

Job: a test says what it needs in one line each; whatever happens, all of it is gone when the test ends.
Every factory is a context manager of its own; `Net` is an exit stack of them (the `net` fixture). Names
carry PREFIX, random per test process: leak checks and other processes never see each other's things.
Namespaces and links are those of bridge/lab/netns.py: work inside a namespace runs in a short-lived thread that
entered it (`Namespace.run`), the caller never moves, an asyncio loop may be running in the calling thread. Waiting is
always for a condition, with a deadline (`wait_until`); nothing here sleeps for a guessed time.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import os
import re
import secrets
import select
import signal
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar

import pytest
from pyroute2 import IPRoute
from pyroute2 import netns as kernel_netns

from bridge.lab import netns
from bridge.lab.netns import NETNS_DIR
from helpers import kernel
from helpers.kernel import VnetHeader

PREFIX = f"fb-{secrets.token_hex(3)}"
DEADLINE = 30.0  # seconds; generous: an emulated machine is slow, and only a failing test waits that long
FRAME_MAX = 65536 + 64

KEPT: set[str] = set()  # names of namespaces that outlive a test; whoever adds one takes it out again

_serial = itertools.count()
T = TypeVar("T")


# -- waiting and probing ---------------------------------------------------------------------------


def wait_until(condition: Callable[[], T], what: str, timeout: float = DEADLINE) -> T:
    """Call `condition` until it returns something true; return that, or fail after `timeout` seconds."""
    try:
        return netns.wait_until(condition, what, timeout)
    except netns.NotInTimeError as error:
        raise AssertionError(str(error)) from None


@contextlib.contextmanager
def one_cpu() -> Iterator[None]:
    """Keep the calling thread on one CPU: frames on a veth wait with the CPU that sent them, and others could pass."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def capability(what: str) -> Iterator[None]:
    """Skip the test with the kernel's own message when this machine lacks what the body asks for."""
    lacking = {"EPERM", "EACCES", "ENOENT", "ENODEV", "ENOPROTOOPT", "EOPNOTSUPP", "ENOTTY"}
    try:
        yield
    except OSError as error:
        if errno.errorcode.get(error.errno or 0) not in lacking:
            raise
        pytest.skip(f"{what}: {error}")


def make_name() -> str:
    """A name no other test uses, short enough for a device."""
    return f"{PREFIX}-{next(_serial)}"


# -- namespaces and links --------------------------------------------------------------------------


class Namespace:
    """A named network namespace; `name` None is the one the test process itself lives in."""

    def __init__(self, name: str | None) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"Namespace({self.name!r})"

    def run(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Call `function` in a thread inside the namespace and hand back what it returns or raises."""
        return netns.run_in(self.name, function, *args, **kwargs)

    def netlink(self, function: Callable[[IPRoute], T]) -> T:
        """Call `function` with a netlink socket of this namespace."""
        return netns.netlink(self.name, function)

    def remove(self) -> None:
        """Take the name away; idempotent. The namespace ends with its last process, socket and descriptor."""
        if self.name is not None:
            netns.remove(self.name)

    def devices(self) -> set[str]:
        return {name for _index, name in self.run(socket.if_nameindex)}

    def link(self, device: str) -> dict[str, Any] | None:
        """What rtnetlink says of a device (index, mtu, address, up, carrier, counters); None: there is none."""

        def work(ipr: IPRoute) -> dict[str, Any] | None:
            found = list(ipr.link_lookup(ifname=device))
            if not found:
                return None
            message = next(iter(ipr.link("get", index=found[0])))
            attributes = dict(message["attrs"])
            return {
                "index": message["index"],
                "mtu": attributes["IFLA_MTU"],
                "address": attributes["IFLA_ADDRESS"],
                "up": bool(message["flags"] & 1),
                # With carrier, but before linkwatch has set operstate, what is sent goes to a queue that drops it.
                "carrier": bool(attributes.get("IFLA_CARRIER"))
                and attributes.get("IFLA_OPERSTATE") in ("UP", "UNKNOWN"),
                "counters": attributes["IFLA_STATS64"],
            }

        return self.netlink(work)

    def set_link(self, device: str, **changes: Any) -> None:
        """Change a device (`state="up"`, `mtu=9000`, `address=...`); bringing up waits for the flag."""
        netns.set_link(self.name, device, **changes)
        if changes.get("state") == "up":
            wait_until(lambda: (self.link(device) or {}).get("up"), f"{device} up in {self}")

    def delete_link(self, device: str) -> None:
        netns.delete_link(self.name, device)

    def add_address(self, device: str, address: str, prefix: int) -> None:
        netns.add_address(self.name, device, address, prefix)

    def wait_carrier(self, device: str) -> None:
        wait_until(lambda: (self.link(device) or {}).get("carrier"), f"carrier on {device} in {self}")

    def set_offload(self, device: str, command: int, on: bool) -> None:
        """Switch an ethtool feature (`kernel.ETHTOOL_STSO`, ...)."""
        self.run(kernel.set_ethtool_value, device, command, int(on))

    def features(self, device: str) -> dict[str, bool]:
        """What `ethtool -k` says of the features that can be switched."""
        lines = self.ethtool("-k", device).splitlines()[1:]
        pairs = (line.strip().partition(": ")[::2] for line in lines if "[fixed]" not in line)
        return {name: state.startswith("on") for name, state in pairs}

    def set_features(self, device: str, features: Mapping[str, bool]) -> None:
        """Switch features by the names of `features`; those that depend on them follow."""
        words = [word for name, on in features.items() for word in (name, "on" if on else "off")]
        self.ethtool("-K", device, *words)

    def receive_on_one_cpu(self, device: str) -> None:
        """Frames that several CPUs send to `device` are received in that order (RPS).

        A veth's frame waits with the CPU that sent it, so a qdisc whose timer fires on another CPU can overtake.
        """
        queue = f"/sys/class/net/{device}/queues/rx-0/rps_cpus"  # `ip netns exec` mounts the /sys of the namespace
        command = ["ip", "netns", "exec", str(self.name), "sh", "-c", f"echo 1 > {queue}"]
        subprocess.run(command, check=True, timeout=DEADLINE)

    def ethtool(self, *words: str) -> str:
        """Run `ethtool`; what it wrote."""
        command = ["ethtool", *words]
        done = self.run(subprocess.run, command, capture_output=True, text=True, timeout=DEADLINE)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return str(done.stdout)


HERE = Namespace(None)


@contextlib.contextmanager
def namespace(*, ipv6: bool = False) -> Iterator[Namespace]:
    """A fresh named namespace with `lo` up. Without `ipv6` nothing in it sends a frame of its own accord."""
    space = Namespace(make_name())
    with contextlib.ExitStack() as stack:
        with capability("network namespaces"):
            stack.enter_context(netns.namespace(str(space.name), ipv6=ipv6))
        yield space


@contextlib.contextmanager
def veth(
    a: str, b: str, a_space: Namespace = HERE, b_space: Namespace = HERE, *, mtu: int = 1500
) -> Iterator[None]:
    """A veth pair, both ends up with carrier: `a` in one namespace, `b` in another."""
    try:
        with capability("veth"):
            netns.connect(a_space.name, a, b_space.name, b, mtu=mtu)
        for space, device in ((a_space, a), (b_space, b)):
            space.wait_carrier(device)
        yield
    finally:
        with contextlib.suppress(Exception):  # gone with its peer, its namespace or by the test itself
            a_space.delete_link(a)


@contextlib.contextmanager
def named(name: str) -> Iterator[Namespace]:
    """An empty namespace of a given name."""
    kernel_netns.create(name)
    try:
        yield Namespace(name)
    finally:
        Namespace(name).remove()


# -- wires: what a test reads and writes -----------------------------------------------------------


class Received(NamedTuple):
    """One frame as the kernel hands it over: bytes, the tag beside them, the offload header."""

    data: bytes
    tag: tuple[int, int] | None = None
    vnet: VnetHeader | None = None

    @property
    def inline(self) -> bytes:
        """The frame with its tag put back."""
        if self.tag is None:
            return self.data
        return self.data[:12] + struct.pack("!HH", *self.tag) + self.data[12:]


class Wire:
    """Common half of `Tap` and `PacketSocket`: a descriptor frames are sent to and received from."""

    fd: int
    vnet: bool

    def receive(self) -> Received:
        raise NotImplementedError

    def wait(self, timeout: float = DEADLINE) -> Received:
        """The next frame; fails the test if none comes in time."""
        poller = select.poll()
        poller.register(self.fd, select.POLLIN)
        assert poller.poll(timeout * 1000), f"no frame within {timeout} s on {self}"
        return self.receive()

    def wait_for(self, wanted: Callable[[Received], bool], timeout: float = DEADLINE) -> Received:
        """The next frame that `wanted` accepts; others are dropped."""
        end = time.monotonic() + timeout
        while not wanted(frame := self.wait(max(0.001, end - time.monotonic()))):
            pass
        return frame

    def waiting(self) -> list[Received]:
        """All frames that wait now."""
        frames = []
        with contextlib.suppress(BlockingIOError):
            while True:
                frames.append(self.receive())
        return frames


class Tap(Wire):
    """The user side of a tap: writing sends towards the kernel, reading takes what the kernel transmits."""

    def __init__(self, fd: int, device: str, space: Namespace, vnet: bool) -> None:
        self.fd, self.device, self.space, self.vnet = fd, device, space, vnet

    def send(self, data: bytes, vnet: VnetHeader | None = None) -> int:
        header = (vnet or VnetHeader()).pack() if self.vnet else b""
        return os.write(self.fd, header + data) - len(header)

    def receive(self) -> Received:
        data = os.read(self.fd, FRAME_MAX)
        size = VnetHeader.LAYOUT.size
        return Received(data[size:], None, VnetHeader.parse(data)) if self.vnet else Received(data)


def attach_tap(device: str, *, vnet: bool = False, offload: int = 0) -> int:
    """Open /dev/net/tun and attach it to `device` (created if absent); returns a non-blocking descriptor."""
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        flags = kernel.IFF_TAP | kernel.IFF_NO_PI | (kernel.IFF_VNET_HDR if vnet else 0)
        fcntl.ioctl(fd, kernel.TUNSETIFF, struct.pack("16sH22x", device.encode(), flags))
        if vnet:
            fcntl.ioctl(fd, kernel.TUNSETVNETHDRSZ, struct.pack("i", VnetHeader.LAYOUT.size))
            fcntl.ioctl(fd, kernel.TUNSETOFFLOAD, offload)
    except OSError:
        os.close(fd)
        raise
    return fd


@contextlib.contextmanager
def tap(
    device: str, space: Namespace = HERE, *, vnet: bool = False, offload: int = 0, up: bool = True
) -> Iterator[Tap]:
    """A tap that lives in `space`; its descriptor is here. Gone when the block ends."""
    with capability("tap"):
        fd = space.run(attach_tap, device, vnet=vnet, offload=offload)
    try:
        if up:
            space.set_link(device, state="up")
        yield Tap(fd, device, space, vnet)
    finally:
        with contextlib.suppress(OSError):  # a test may have closed it
            os.close(fd)


class PacketSocket(Wire):
    """A raw AF_PACKET socket bound to one device, with auxiliary data: every frame the device receives."""

    def __init__(self, sock: socket.socket, device: str, vnet: bool) -> None:
        self.sock, self.device, self.vnet = sock, device, vnet
        self.fd = sock.fileno()

    def send(self, data: bytes, vnet: VnetHeader | None = None) -> int:
        header = (vnet or VnetHeader()).pack() if self.vnet else b""
        return self.sock.send(header + data) - len(header)

    def receive(self) -> Received:
        data, ancillary, _flags, _address = self.sock.recvmsg(FRAME_MAX, 256)
        tag = kernel.parse_auxdata(ancillary)
        size = VnetHeader.LAYOUT.size
        return Received(data[size:], tag, VnetHeader.parse(data)) if self.vnet else Received(data, tag)

    def clear_error(self) -> int:
        """Take the pending error off the socket, as the next recv would; returns errno, 0: there was none."""
        return self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

    def wait_inline(self, timeout: float = DEADLINE) -> bytes:
        """The next frame with its tag put back inline."""
        return self.wait(timeout).inline


def open_packet_socket(device: str, *, vnet: bool = False, ignore_outgoing: bool = True) -> socket.socket:
    """An unbound-until-configured packet socket: options first, so that no frame arrives in another form."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    try:
        sock.setsockopt(kernel.SOL_PACKET, kernel.PACKET_AUXDATA, 1)
        sock.setsockopt(kernel.SOL_PACKET, kernel.PACKET_IGNORE_OUTGOING, int(ignore_outgoing))
        if vnet:
            sock.setsockopt(kernel.SOL_PACKET, kernel.PACKET_VNET_HDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, kernel.SO_RCVBUFFORCE, 4 << 20)  # net.core.rmem_max may be 208 KiB
        sock.bind((device, kernel.ETH_P_ALL))
        promiscuous = struct.pack("=iHH8x", socket.if_nametoindex(device), kernel.PACKET_MR_PROMISC, 0)
        sock.setsockopt(kernel.SOL_PACKET, kernel.PACKET_ADD_MEMBERSHIP, promiscuous)
    except OSError:
        sock.close()
        raise
    return sock


@contextlib.contextmanager
def packet_socket(
    device: str, space: Namespace = HERE, *, vnet: bool = False, ignore_outgoing: bool = True
) -> Iterator[PacketSocket]:
    """A packet socket on a device of `space`."""
    with capability("AF_PACKET"):
        sock = space.run(open_packet_socket, device, vnet=vnet, ignore_outgoing=ignore_outgoing)
    with sock:
        yield PacketSocket(sock, device, vnet)


# -- programs --------------------------------------------------------------------------------------


class Program:
    """A child process with its output in a file; waits have deadlines and show the output when they fail.

    The file has no name, so that not even a test process that is killed leaves it behind.
    """

    def __init__(self, process: subprocess.Popen[bytes], output: IO[bytes]) -> None:
        self.process = process
        self._output = output

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def output(self) -> str:
        """What it wrote so far, both streams together."""
        return Path(f"/proc/self/fd/{self._output.fileno()}").read_text(errors="replace")

    def wait_output(self, pattern: str, timeout: float = DEADLINE) -> re.Match[str]:
        """Wait until the output matches `pattern`."""
        return self.wait_ready(lambda: re.search(pattern, self.output), f"output {pattern!r}", timeout)

    def wait_ready(self, condition: Callable[[], T], what: str, timeout: float = DEADLINE) -> T:
        """Wait until `condition` holds; fails at once when the program ends before that."""

        def check() -> T:
            ended = self.process.poll() is not None
            result = condition()
            assert result or not ended, f"program ended with {self.process.returncode}:\n{self.output}"
            return result

        try:
            return wait_until(check, what, timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}\n--- output of {self.process.args!r}:\n{self.output}") from None

    def wait_exit(self, timeout: float = DEADLINE) -> int:
        """Wait for the end; returns the exit status (negative: the signal)."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout} s:\n{self.output}") from None

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def stop(self, timeout: float = DEADLINE) -> int:
        """Ask for the end with SIGTERM and wait for it."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        return self.wait_exit(timeout)


@contextlib.contextmanager
def program(
    argv: Sequence[str],
    space: Namespace = HERE,
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
) -> Iterator[Program]:
    """A program running in `space`; killed at the end of the block if it still runs."""
    with tempfile.TemporaryFile() as output:
        process: subprocess.Popen[bytes] = space.run(
            subprocess.Popen,
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            cwd=cwd,
        )
        try:
            yield Program(process, output)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait(DEADLINE)


# -- all of it on one stack ------------------------------------------------------------------------


class Net(contextlib.ExitStack):
    """Everything a test made, in one place, undone in reverse order. The methods are the factories above."""

    def namespace(self, **options: Any) -> Namespace:
        return self.enter_context(namespace(**options))

    def veth(
        self, a: str, b: str, a_space: Namespace = HERE, b_space: Namespace = HERE, **options: Any
    ) -> None:
        self.enter_context(veth(a, b, a_space, b_space, **options))

    def tap(self, device: str, space: Namespace = HERE, **options: Any) -> Tap:
        return self.enter_context(tap(device, space, **options))

    def packet_socket(self, device: str, space: Namespace = HERE, **options: Any) -> PacketSocket:
        return self.enter_context(packet_socket(device, space, **options))

    def program(self, argv: Sequence[str], space: Namespace = HERE, **options: Any) -> Program:
        return self.enter_context(program(argv, space, **options))


def leftovers() -> set[str]:
    """Namespaces of this test process and devices of its own namespace: what must not grow over a test."""
    spaces = {f"namespace {path.name}" for path in NETNS_DIR.glob(f"{PREFIX}*") if path.name not in KEPT}
    return spaces | {f"device {name}" for _index, name in socket.if_nameindex()}
