"""Numbered frames, sent steadily, and what became of each: lost, twice, out of order, and how long none came.

Job: one sender thread and one receiver thread a host, with sockets in its namespace. Every frame says which stream it
is of, its number, and when it was sent. A gap is what was lost in a row, by the times of sending: from the last frame
before it to the first one after it; so a receiver or a sender that is late is no gap. Thread: the caller's, and these.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from bridge.lab import netns

ETHERTYPE = 0x88B6  # the other one of IEEE 802-2014 clause 9.2.3
BODY = struct.Struct("!4sHIQ")  # magic, stream, number, time of sending in ns
MAGIC = b"FBNF"
BROADCAST = b"\xff" * 6
ETH_P_ALL = 3
SOL_PACKET, PACKET_IGNORE_OUTGOING = 263, 23


@dataclass(frozen=True)
class Stream:
    """From one host to another, or (`to` is all) to everybody, heard at `heard_at`."""

    name: str
    number: int
    sender: str
    target: bytes  # MAC address
    heard_at: str


class Loss(NamedTuple):
    """What became of a stream."""

    sent: int
    lost: int
    gap: float  # seconds, the longest
    duplicated: int
    reordered: int
    began: int  # when the last frame before the gap was sent, ns; 0: there was none
    ended: int  # when the first one after it was


@dataclass
class _Log:
    sent: list[int] = field(default_factory=list)  # times, by number
    came: list[int] = field(default_factory=list)  # numbers


class Traffic:
    """The streams that flow while the block runs; `results` after it."""

    def __init__(self, devices: dict[str, str], streams: Sequence[Stream], interval: float) -> None:
        """`devices`: by namespace of the hosts."""
        self._devices = devices
        self._streams = {stream.number: stream for stream in streams}
        self._interval = interval
        self._logs = {stream.number: _Log() for stream in streams}
        self._stop = threading.Event()
        self._deaf = threading.Event()

    @contextlib.contextmanager
    def flowing(self) -> Iterator[None]:
        """Send and receive until the block ends, and receive for a little longer."""
        work = [
            threading.Thread(target=self._receive, args=(self._open(where), where)) for where in self._devices
        ]
        senders: dict[str, list[Stream]] = {}
        for stream in self._streams.values():
            senders.setdefault(stream.sender, []).append(stream)
        sending = [
            threading.Thread(target=self._send, args=(self._open(where), where, streams))
            for where, streams in senders.items()
        ]
        for thread in work + sending:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in sending:
                thread.join()
            time.sleep(0.2)  # what is under way
            self._deaf.set()
            for thread in work:
                thread.join()

    def results(self) -> dict[str, Loss]:
        """Tell of each stream by name."""
        return {stream.name: _judge(self._logs[number]) for number, stream in self._streams.items()}

    def _open(self, where: str) -> socket.socket:
        def work() -> socket.socket:
            sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            sock.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            sock.bind((self._devices[where], ETHERTYPE))
            sock.settimeout(0.05)
            return sock

        return netns.run_in(where, work)

    def _send(self, sock: socket.socket, where: str, streams: Sequence[Stream]) -> None:
        source = sock.getsockname()[4]
        heads = [(one, one.target + source + ETHERTYPE.to_bytes(2, "big")) for one in streams]
        due = time.monotonic()
        with sock:
            while not self._stop.is_set():
                for stream, head in heads:
                    times, now = self._logs[stream.number].sent, time.monotonic_ns()
                    body = BODY.pack(MAGIC, stream.number, len(times), now)
                    times.append(now)
                    with contextlib.suppress(OSError):
                        sock.send(head + body.ljust(46, b"\0"))
                due += self._interval
                time.sleep(max(0.0, due - time.monotonic()))

    def _receive(self, sock: socket.socket, where: str) -> None:
        with sock:
            while not self._deaf.is_set():
                try:
                    frame = sock.recv(2048)
                except TimeoutError:
                    continue
                except OSError:
                    continue
                if len(frame) < 14 + BODY.size:
                    continue
                magic, number, place, _ = BODY.unpack_from(frame, 14)
                if magic == MAGIC and number in self._streams and self._streams[number].heard_at == where:
                    self._logs[number].came.append(place)


def _judge(log: _Log) -> Loss:
    counted = Counter(log.came)
    duplicated = sum(counted.values()) - len(counted)
    reordered = sum(later < earlier for earlier, later in pairwise(log.came))
    came = sorted(counted)
    gaps = [
        (log.sent[after] - log.sent[before], log.sent[before], log.sent[after])
        for before, after in pairwise(came)
        if after > before + 1
    ]
    gap, began, ended = max(gaps, default=(0, 0, 0))
    if came and came[-1] < len(log.sent) - 1:  # it never came back
        gap, began, ended = max(
            (gap, began, ended), (log.sent[-1] - log.sent[came[-1]], log.sent[came[-1]], 0)
        )
    return Loss(len(log.sent), len(log.sent) - len(counted), gap / 1e9, duplicated, reordered, began, ended)
