"""The FDB of the member that forwards, kept by the other one: at a takeover it is warm, and nothing is to be installed.

Job: `serve` sends what the FDB has while this member forwards; what comes in while it does not is put into its own
table. Thread: control; not the one that keeps the lease.

Theory of operation. Frames travel by the paths of beacons, are authenticated as beacons are, and repeat themselves
instead of being acknowledged: changes are sent as they happen, a burst of them together; the whole table each `CYCLE`
seconds, and at once when a member is heard that has none, or many entries changed at a time. After a cycle that came in
whole the receiver has exactly the stations that the sender had, so whatever was lost on the way is mended by then.
Entries go by the name of their port, which has to be the same on both members; of a port that this one does not have
they are counted and left out. Only dynamic entries travel: the rest is in the configuration.

    destination, source, EtherType as of beacons | "FBHF" | version 1 | kind | n | pair | sender | session | sequence |
    generation | port (length and name) | n times (VLAN, address) | tag (16 bytes)

Refuses, counted: frames with another tag, pair or version; of a member that does not forward, or of another session
than its beacons have; older than one that was taken.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import logging
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from bridge.config.bridge import BridgeConfig
from bridge.fdb.known import Change, KnownEntries, make_key, split_key
from bridge.fdb.store import Store
from bridge.ha.paths import ETHERTYPE, GROUP, SYNC

log = logging.getLogger(__package__)

VERSION = 1
ENTRIES, GONE, END = range(3)

CYCLE = 10.0  # seconds between two times that the whole table is sent
LOOK = 0.25  # seconds between two looks for members that have none
GATHER = 0.02  # seconds in which changes are sent together
FRAME_ENTRIES = 160  # of a frame: some 1400 bytes
BURST = 8  # frames between two rests of REST seconds
REST = 0.002
TAKEN = 64  # frames of a path at one look

ETHER = GROUP.to_bytes(6, "big"), ETHERTYPE.to_bytes(2, "big")
HEADER = struct.Struct("!IBBHQQQQQ")
ENTRY = struct.Struct("!H6s")
TAG_LEN = 16
NAME_MAX = 32


class Who(NamedTuple):
    """A member as it signs what it sends."""

    pair: int
    member: int
    session: int
    secret: bytes


class Message(NamedTuple):
    """One frame, but for who sent it. `n`: entries, or (END) frames of the generation."""

    kind: int
    sequence: int
    generation: int  # 0: a change
    port: str
    keys: tuple[int, ...]
    n: int = 0


class BadMessageError(ValueError):
    """Why a frame is not taken: a name of what is counted."""


def write(message: Message, who: Who, source: int) -> bytes:
    """Write a frame."""
    name = message.port.encode()
    head = HEADER.pack(
        *(SYNC, VERSION, message.kind, message.n or len(message.keys)),
        *(who.pair, who.member, who.session, message.sequence, message.generation),
    )
    entries = b"".join(ENTRY.pack(vid, mac.to_bytes(6, "big")) for vid, mac in map(split_key, message.keys))
    body = head + bytes((len(name),)) + name + entries
    return ETHER[0] + source.to_bytes(6, "big") + ETHER[1] + body + _tag(body, who.secret)


def _tag(body: bytes, secret: bytes) -> bytes:
    return hashlib.blake2s(body, key=secret, digest_size=TAG_LEN).digest()


def read(frame: bytes, pair: int, secret: bytes) -> tuple[int, int, Message]:
    """Give sender, session and what a frame says; BadMessageError."""
    body, tag = frame[14:-TAG_LEN], frame[-TAG_LEN:]
    if len(body) <= HEADER.size:
        raise BadMessageError("forged")
    magic, version, kind, n, its_pair, sender, session, sequence, generation = HEADER.unpack_from(body)
    if magic != SYNC or version != VERSION:
        raise BadMessageError("other_version")
    if not hmac.compare_digest(tag, _tag(body, secret)):
        raise BadMessageError("forged")
    if its_pair != pair:
        raise BadMessageError("foreign")
    end = HEADER.size + 1 + body[HEADER.size]
    name, entries = body[HEADER.size + 1 : end].decode(errors="replace"), body[end:]
    keys = tuple(make_key(vid, int.from_bytes(mac, "big")) for vid, mac in ENTRY.iter_unpack(entries))
    return sender, session, Message(kind, sequence, generation, name, keys, n)


class Peers(NamedTuple):
    """What the data thread knows: whether this member forwards, and the sessions of the others, by id."""

    forwards: bool
    sessions: dict[int, int]  # of those that were heard lately
    forwarding: dict[int, int]  # of them, that forward


NOBODY = Peers(False, {}, {})


class Cycle:
    """What came in of one generation."""

    def __init__(self, sender: int, generation: int) -> None:
        self.place = sender, generation
        self.frames = 0
        self.keys: set[int] = set()


class Sync:
    """Both directions of one member."""

    def __init__(self, known: KnownEntries, store: Store, look: Callable[[], Peers]) -> None:
        """`look` asks the data thread who forwards."""
        self._look = look
        self.counters: Counter[str] = Counter()
        self.completed: float | None = None  # when a whole cycle had come in, by time.monotonic()
        self.who: Who | None = None
        self.peers = NOBODY
        self._known = known
        self._store = store
        self._paths: list[socket.socket] = []
        self._source = 0
        self._sequence = 0
        self._generation = 0
        self._pending: dict[int, None] = {}
        self._is_whole_due = False
        self._sent_to: dict[int, int] = {}
        self._cycle_due = 0.0
        self._taken: dict[
            int, tuple[int, int]
        ] = {}  # session and sequence of the last frame taken, by sender
        self._cycle: Cycle | None = None
        self._work = asyncio.Event()
        self._period = CYCLE

    # -- paths

    def use(self, paths: Sequence[socket.socket], who: Who, source: int) -> None:
        """Send and receive by these sockets from now on, which are closed by `close`, or the next time."""
        self.close()
        if self.who != who:
            self._sequence = 0
        self.who, self._source, self._paths = who, source, [*paths]
        loop = asyncio.get_running_loop()
        for path in self._paths:
            loop.add_reader(path, self._receive, path)

    def close(self) -> None:
        """Let go of the sockets; idempotent."""
        paths, self._paths = self._paths, []
        for path in paths:
            asyncio.get_running_loop().remove_reader(path)
            path.close()

    def configure(self, bridge: BridgeConfig) -> None:
        """Keep what the other member has younger than it may become."""
        self._period = min(CYCLE, bridge.ageing_time / 3) if bridge.ageing_time else CYCLE

    def look(self) -> None:
        """See who forwards, and who listens."""
        self.peers = self._look()
        if not self.peers.forwards:
            self._pending.clear()
            self._sent_to = {}

    # -- sending

    def fdb_changed(self, change: Change) -> None:
        """Have a change sent."""
        if self.peers.forwards and self.who is not None:
            self._pending[make_key(change.vid, change.mac)] = None
            self._work.set()

    def fdb_reset(self) -> None:
        """Have the whole table sent."""
        if self.peers.forwards:
            self._is_whole_due = True
            self._work.set()

    async def serve(self) -> None:
        """Send what is due: call it when `wait` returns, or to have everything sent."""
        self.look()
        if not (self.peers.forwards and self.peers.sessions and self._paths):
            return
        now = time.monotonic()
        is_new = bool(self.peers.sessions.items() - self._sent_to.items())
        if is_new or self._is_whole_due or now >= self._cycle_due:
            self._is_whole_due, self._cycle_due = False, now + self._period
            self._sent_to = dict(self.peers.sessions)
            self._pending.clear()
            await self._send_table()
        elif self._pending:
            keys, self._pending = [*self._pending], {}
            await self._send_all(self._frames(keys, 0))

    async def wait(self) -> None:
        """Wait until something may be due; changes are gathered."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK):
                await self._work.wait()
                await asyncio.sleep(GATHER)
        self._work.clear()

    async def _send_table(self) -> None:
        self._generation += 1
        sent = await self._send_all(self._frames([*self._known.entries], self._generation))
        self._send(Message(END, self._next(), self._generation, "", (), sent))

    def _frames(self, keys: Sequence[int], generation: int) -> Iterator[Message]:
        """Write messages of entries as they are when each is sent: what changes later is sent later."""
        for first in range(0, len(keys), FRAME_ENTRIES):
            some = keys[first : first + FRAME_ENTRIES]
            by_port = sorted((self._port_of(key), key) for key in some)
            for name, group in groupby(by_port, key=lambda item: item[0]):
                found = tuple(key for _, key in group)
                if name:
                    yield Message(ENTRIES, self._next(), generation, name, found)
                elif not generation:
                    yield Message(GONE, self._next(), generation, "", found)

    def _port_of(self, key: int) -> str:
        """Name the port of a dynamic entry; "": there is none."""
        known = self._known.entries.get(key)
        if known is None or known.kind != "dynamic":
            return ""
        return self._known.port_name(known.port) or ""

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence

    async def _send_all(self, messages: Iterable[Message]) -> int:
        n = 0
        for n, message in enumerate(messages, 1):
            self._send(message)
            if n % BURST == 0:
                await asyncio.sleep(REST)
        return n

    def _send(self, message: Message) -> None:
        if self.who is None:
            return
        frame = write(message, self.who, self._source)
        for path in self._paths:
            try:
                path.send(frame)
                self.counters["sent"] += 1
            except OSError:  # no carrier, or its queue is full: there are other paths, and the next cycle
                self.counters["send_failed"] += 1

    # -- receiving

    def _receive(self, path: socket.socket) -> None:
        for _ in range(TAKEN):
            try:
                frame = path.recv(2048)
            except OSError:
                return
            if self.who is None:
                continue
            try:
                self._take(*read(frame, self.who.pair, self.who.secret))
            except (BadMessageError, struct.error) as error:
                self.counters[str(error) if isinstance(error, BadMessageError) else "forged"] += 1

    def _take(self, sender: int, session: int, message: Message) -> None:
        if self.who is None or sender == self.who.member or self.peers.forwards:
            return  # our own, or of a time before this member forwarded
        if self.peers.forwarding.get(sender) != session:
            self.look()
        if self.peers.forwards or self.peers.forwarding.get(sender) != session:
            raise BadMessageError("stranger")
        if (session, message.sequence) <= self._taken.get(sender, (0, 0)):
            self.counters["again"] += 1  # by a second path
            return
        self._taken[sender] = session, message.sequence
        self.counters["taken"] += 1
        if message.kind == GONE:
            self._store.withdraw(message.keys)
        elif message.kind == ENTRIES:
            self.counters["left_out"] += self._store.adopt(message.port, message.keys)
        self._note(sender, message)

    def _note(self, sender: int, message: Message) -> None:
        """Follow a generation, and after its end forget what it did not have."""
        if message.generation and (self._cycle is None or self._cycle.place != (sender, message.generation)):
            self._cycle = Cycle(sender, message.generation)
        cycle = self._cycle
        if cycle is None:
            return
        if message.kind == GONE:
            cycle.keys.difference_update(message.keys)
        elif message.kind == ENTRIES:
            cycle.keys.update(message.keys)
            cycle.frames += message.generation != 0
        elif cycle.frames == message.n:
            self._store.withdraw(self._store.dynamic_keys() - cycle.keys)
            self.completed, self._cycle = time.monotonic(), None
