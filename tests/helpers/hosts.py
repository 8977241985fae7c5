"""Hosts with real IP stacks and the traffic of the stories: who can reach whom, in which sizes, unharmed.

Job: `Host` is an address on a device of a namespace; `sweep_*` send one packet of every size one way and
back and compare every byte; `stream` is a steady numbered UDP stream of which nothing may be missing.
Checksums: a receiver drops what has a wrong one, so a sweep that is complete proves them, and `csum_errors`
must stay 0; a sender's own offload (CHECKSUM_PARTIAL) is only proved where a device without it is passed.
Windows are small, so that no queue overflows however slow the machine is.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import re
import socket
import struct
import subprocess
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from bridge.lab.netns import find_index
from helpers import frames, kernel
from helpers.net import DEADLINE, Namespace, Wire, wait_until

PORT = 4321
WINDOW = 24  # packets under way
RECEIVE_BUFFER = 8 << 20
UDP_SEGMENT = 103  # include/uapi/linux/udp.h
IFA_F_NODAD = 0x02  # include/uapi/linux/if_addr.h
ICMP_HEADER = struct.Struct("!BBHHH")
ECHO = {4: (socket.IPPROTO_ICMP, 8, 0), 6: (socket.IPPROTO_ICMPV6, 128, 129)}  # protocol, request, reply


@dataclass(frozen=True)
class Host:
    """Number `number` of subnet `net`, on a device of a namespace."""

    space: Namespace
    device: str
    net: int
    number: int

    @property
    def ip(self) -> str:
        return f"10.99.{self.net}.{self.number}"

    @property
    def ip6(self) -> str:
        return f"fd99:{self.net}::{self.number}"

    @property
    def mac(self) -> str:
        return str((self.space.link(self.device) or {})["address"])

    def address(self, version: int) -> str:
        return self.ip if version == 4 else self.ip6

    def socket(self, version: int, kind: int, protocol: int = 0) -> socket.socket:
        """A socket in the namespace of the host, with room for a window of the longest packets."""
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        sock = self.space.run(socket.socket, family, kind, protocol)
        sock.setsockopt(socket.SOL_SOCKET, kernel.SO_RCVBUFFORCE, RECEIVE_BUFFER)
        sock.settimeout(DEADLINE)
        return sock

    def ping(self, other: Host, count: int = 3) -> tuple[int, int]:
        """Requests sent and replies received, by the program people use.

        Once it had a reply, it waits for the last two round trips, or the interval, at most (iputils ping_common.c).
        """
        command = ["ping", "-n", "-q", "-i", "0.05", "-W", "5", "-c", str(count), other.ip]
        output = self.space.run(subprocess.run, command, capture_output=True, text=True, timeout=60).stdout
        sent, received = re.search(r"(\d+) packets transmitted, (\d+) received", output).groups()  # type: ignore[union-attr]
        return int(sent), int(received)

    def neighbours(self) -> dict[str, str]:
        """IPv4 neighbours that have an address: IP to MAC."""

        def work(ipr: Any) -> dict[str, str]:
            table = (dict(message["attrs"]) for message in ipr.get_neighbours(socket.AF_INET))
            return {row["NDA_DST"]: row["NDA_LLADDR"] for row in table if "NDA_LLADDR" in row}

        return self.space.netlink(work)

    def csum_errors(self) -> dict[str, int]:
        """Packets that the stack of this namespace dropped for their checksum, by protocol, if any."""

        def work() -> dict[str, int]:
            found = {}
            for name in ("snmp", "snmp6"):
                found |= parse_snmp(Path(f"/proc/thread-self/net/{name}").read_text())
            return {name: n for name, n in found.items() if n and "Csum" in name}

        return self.space.run(work)


def parse_snmp(text: str) -> dict[str, int]:
    """Both forms: `Udp: NAME...` over `Udp: VALUE...`, and `Udp6NAME VALUE`."""
    found = {}
    lines = text.splitlines()
    for names, values in itertools.pairwise(lines):
        title, _, rest = names.partition(": ")
        if rest and values.startswith(f"{title}: ") and not rest[0].isdigit():
            pairs = zip(rest.split(), values.split()[1:], strict=True)
            found |= {f"{title}{name}": int(value) for name, value in pairs}
    for line in lines:
        if ":" not in line:
            name, value = line.split()
            found[name] = int(value)
    return found


def host(space: Namespace, device: str, net: int, number: int, *, ipv6: bool = False) -> Host:
    """Give a device the addresses of a host; they can be used at once. IPv6 is silent unless asked for."""
    one = Host(space, device, net, number)
    space.add_address(device, one.ip, 24)
    if ipv6:
        space.run(Path(f"/proc/sys/net/ipv6/conf/{device}/disable_ipv6").write_text, "0")
        space.netlink(
            lambda ipr: ipr.addr(
                "add", index=find_index(ipr, device), address=one.ip6, prefixlen=64, flags=IFA_F_NODAD
            )
        )
    return one


# -- every size --------------------------------------------------------------------------------------


def pattern(size: int, seed: int) -> bytes:
    """Bytes that differ from those of other sizes and places."""
    unit = bytes((i * 31 + seed) & 0xFF for i in range(256))
    return (unit * (size // 256 + 1))[:size]


def windows(sizes: Sequence[int]) -> Iterator[Sequence[int]]:
    for first in range(0, len(sizes), WINDOW):
        yield sizes[first : first + WINDOW]


def sweep_udp(one: Host, other: Host, version: int, sizes: Sequence[int]) -> None:
    """A datagram of every payload size, each way; all arrive, in order, unharmed."""
    with one.socket(version, socket.SOCK_DGRAM) as a, other.socket(version, socket.SOCK_DGRAM) as b:
        a.bind((one.address(version), PORT))
        b.bind((other.address(version), PORT))
        for source, sink, to in ((a, b, other), (b, a, one)):
            for window in windows(sizes):
                sent = [pattern(size, size) for size in window]
                for payload in sent:
                    source.sendto(payload, (to.address(version), PORT))
                assert [sink.recv(1 << 16) for _ in sent] == sent, f"UDP over IPv{version}, sizes {window}"


def sweep_ping(one: Host, other: Host, version: int, sizes: Sequence[int]) -> None:
    """An echo request of every payload size; every reply carries what was sent."""
    protocol, request, reply = ECHO[version]
    with one.socket(version, socket.SOCK_RAW, protocol) as sock:
        sock.connect((other.address(version), 0))
        for window in windows(sizes):
            wanted = {size: pattern(size, size) for size in window}
            for size, payload in wanted.items():
                sock.send(icmp(request, size & 0xFFFF, payload))
            got: dict[int, bytes] = {}
            while len(got) < len(wanted):
                data = sock.recv(1 << 16)
                message = data[(data[0] & 0xF) * 4 :] if version == 4 else data
                kind, _code, _checksum, ident, sequence = ICMP_HEADER.unpack_from(message)
                if (kind, ident) == (reply, PORT):
                    got[sequence] = message[ICMP_HEADER.size :]
            assert got == wanted, f"ping over IPv{version}, sizes {window}"


def icmp(kind: int, sequence: int, payload: bytes) -> bytes:
    """An echo message; the kernel fills in the checksum for IPv6."""
    checksum = 0xFFFF ^ frames.sum16(ICMP_HEADER.pack(kind, 0, 0, PORT, sequence) + payload)
    return ICMP_HEADER.pack(kind, 0, checksum, PORT, sequence) + payload


@contextlib.contextmanager
def connection(one: Host, other: Host, version: int) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a TCP connection."""
    with other.socket(version, socket.SOCK_STREAM) as listener, one.socket(version, socket.SOCK_STREAM) as a:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((other.address(version), PORT))
        listener.listen()
        a.connect((other.address(version), PORT))
        b, _ = listener.accept()
        with b:
            for sock in (a, b):
                sock.settimeout(DEADLINE)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            yield a, b


def sweep_tcp(one: Host, other: Host, version: int, sizes: Iterable[int]) -> None:
    """A segment of every size there and back."""
    with connection(one, other, version) as (a, b):
        for size in sizes:
            payload = pattern(size, size)
            for source, sink in ((a, b), (b, a)):
                source.sendall(payload)
                got = sink.recv(size, socket.MSG_WAITALL)
                assert got == payload, f"TCP over IPv{version}, segment of {size}"


def bulk_tcp(one: Host, other: Host, version: int, size: int = 4 << 20) -> None:
    """A stream each way, in super-frames where the hosts offload: the same digest at both ends."""
    payload = pattern(size, 7)
    wanted = hashlib.sha256(payload).hexdigest()
    with connection(one, other, version) as (a, b):
        for source, sink in ((a, b), (b, a)):
            sender = threading.Thread(target=source.sendall, args=(payload,))
            sender.start()
            digest, left = hashlib.sha256(), size
            while left and (data := sink.recv(min(left, 1 << 18))):
                digest.update(data)
                left -= len(data)
            sender.join()
            assert digest.hexdigest() == wanted, f"TCP over IPv{version}: {left} bytes missing"


def bulk_udp(one: Host, other: Host, version: int, size: int) -> None:
    """One super-frame of datagrams (UDP_SEGMENT), each way: every one arrives as it was cut."""
    count = 60_000 // size
    wanted = [pattern(size, number) for number in range(count)]
    with one.socket(version, socket.SOCK_DGRAM) as a, other.socket(version, socket.SOCK_DGRAM) as b:
        a.bind((one.address(version), PORT))
        b.bind((other.address(version), PORT))
        for source, sink, to in ((a, b, other), (b, a, one)):
            source.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, size)
            source.sendto(b"".join(wanted), (to.address(version), PORT))
            assert [sink.recv(1 << 16) for _ in wanted] == wanted, f"{count} datagrams over IPv{version}"


# -- a stream that must not lose anything ------------------------------------------------------------


class Stream:
    """Numbered datagrams, one every `interval` seconds until `stop`; `lost` is what did not arrive."""

    def __init__(
        self, source: socket.socket, sink: socket.socket, to: tuple[str, int], interval: float
    ) -> None:
        self._source, self._sink, self._to, self._interval = source, sink, to, interval
        self.sent = 0
        self.received: list[int] = []
        self._end = threading.Event()
        self._threads = [threading.Thread(target=work) for work in (self._send, self._receive)]
        for thread in self._threads:
            thread.start()

    def _send(self) -> None:
        while not self._end.wait(self._interval):
            self._source.sendto(struct.pack("!I", self.sent), self._to)
            self.sent += 1
        self._source.sendto(b"end", self._to)

    def _receive(self) -> None:
        with contextlib.suppress(TimeoutError):
            while (data := self._sink.recv(64)) != b"end":
                self.received.append(*struct.unpack("!I", data))

    def wait_more(self, count: int = 50) -> None:
        """Let that many more datagrams arrive."""
        target = len(self.received) + count
        wait_until(lambda: len(self.received) >= target, f"{count} more datagrams")

    def stop(self) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def check(self) -> None:
        """Everything arrived once, in order; call it after `stop`."""
        assert self.received == list(range(self.sent))


@contextlib.contextmanager
def stream(source: Host, to: Host, interval: float = 0.001) -> Iterator[Stream]:
    """A steady stream from one host to another; stopped and checked when the block ends.

    One datagram goes ahead of the numbered ones: while a host's kernel resolves the neighbour, those that wait for
    the answer leave on the CPU that took it in, and a later one can pass them on another.
    """
    with source.socket(4, socket.SOCK_DGRAM) as a, to.socket(4, socket.SOCK_DGRAM) as b:
        b.bind((to.ip, PORT))
        a.sendto(b"ahead", (to.ip, PORT))
        assert b.recv(64) == b"ahead"
        running = Stream(a, b, (to.ip, PORT), interval)
        try:
            running.wait_more(1)
            yield running
        finally:
            running.stop()
        running.check()


# -- on the wire -------------------------------------------------------------------------------------


class Seen(NamedTuple):
    """A frame on a wire: bytes without the tag that the kernel took out, and that tag (TPID, TCI)."""

    data: bytes
    tag: tuple[int, int] | None


def seen_until(wire: Wire, last: bytes) -> list[Seen]:
    """Every frame that comes before the frame with these bytes (padding aside), which ends the wait."""
    seen: list[Seen] = []
    while True:
        frame = wire.wait()
        if frame.data.rstrip(b"\0") == last.rstrip(b"\0"):
            return seen
        seen.append(Seen(frame.data, frame.tag))
