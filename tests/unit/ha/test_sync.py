"""The FDB of the member that forwards, as frames, and what the other one makes of them: after a whole cycle both know
the same stations, whatever was lost before; what nobody with the secret sent changes nothing."""

from __future__ import annotations

import socket
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import pytest
from helpers.aio import story
from hypothesis import given
from hypothesis import strategies as st

from bridge.fdb.known import Change, make_key
from bridge.ha import sync as syncing
from bridge.ha.sync import ENTRIES, GONE, BadMessageError, Message, Peers, Sync, Who, read, write

SECRET = b"k" * 32
ONE, OTHER = Who(7, 1, 100, SECRET), Who(7, 2, 200, SECRET)
PORTS = {0: "guests", 1: "uplink"}

macs = st.integers(1, 2**48 - 1)
keys = st.builds(make_key, st.integers(1, 4094), macs)
messages = st.builds(
    Message,
    st.sampled_from([ENTRIES, GONE]),
    st.integers(1, 2**63),
    st.integers(0, 2**63),
    st.sampled_from(["", "uplink", "x" * 32]),
    st.lists(keys, min_size=1, max_size=syncing.FRAME_ENTRIES).map(tuple),
    st.just(0),
)


@given(message=messages)
def test_what_is_written_is_read_and_fits_a_frame(message: Message) -> None:
    frame = write(message, ONE, 0x020000000001)
    assert len(frame) <= 1514
    assert frame[:14] == bytes.fromhex("0346424c5001 020000000001 88b5")
    assert read(frame, 7, SECRET) == (1, 100, message._replace(n=len(message.keys)))


@given(message=messages, place=st.integers(14 + 5), bit=st.integers(0, 7))
def test_one_bit_changed_is_forged(message: Message, place: int, bit: int) -> None:
    frame = bytearray(write(message, ONE, 1 << 41))
    frame[place % (len(frame) - 19) + 19] ^= 1 << bit
    with pytest.raises(BadMessageError, match="forged"):
        read(bytes(frame), 7, SECRET)


@given(frame=st.binary(max_size=200))
def test_noise_is_refused(frame: bytes) -> None:
    with pytest.raises(BadMessageError):
        read(frame, 7, SECRET)


@dataclass
class Entry:
    port: int
    kind: str = "dynamic"


class Known:
    def __init__(self) -> None:
        self.entries: dict[int, Entry] = {}

    @staticmethod
    def port_name(index: int) -> str | None:
        return PORTS.get(index)


class Table:
    """What `Store` does, on a dictionary."""

    def __init__(self, known: Known) -> None:
        self.known = known

    def adopt(self, port: str, keys: Collection[int]) -> int:
        index = next((index for index, name in PORTS.items() if name == port), None)
        if index is None:
            return len(keys)
        self.known.entries.update({key: Entry(index) for key in keys})
        return 0

    def withdraw(self, keys: Iterable[int]) -> None:
        for key in keys:
            self.known.entries.pop(key, None)

    def dynamic_keys(self) -> set[int]:
        return {key for key, entry in self.known.entries.items() if entry.kind == "dynamic"}


class Side:
    def __init__(self, who: Who, path: socket.socket, peers: Peers) -> None:
        self.known = Known()
        self.peers = peers
        self.sync = Sync(self.known, Table(self.known), lambda: self.peers)  # type: ignore[arg-type]
        self.sync.use([path], who, who.member)

    def learn(self, key: int, port: int) -> None:
        self.known.entries[key] = Entry(port)
        self.sync.fdb_changed(Change("added", key >> 48, key & 2**48 - 1, port, "dynamic"))

    def forget(self, key: int) -> None:
        del self.known.entries[key]
        self.sync.fdb_changed(Change("removed", key >> 48, key & 2**48 - 1, 0, "dynamic"))


class Two:
    """Two members over a socket pair; `one` forwards."""

    def __init__(self) -> None:
        left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        for end in (left, right):
            end.setblocking(False)
        self.one = Side(ONE, left, Peers(True, {2: 200}, {}))
        self.other = Side(OTHER, right, Peers(False, {1: 100}, {1: 100}))
        self._right = right

    async def exchange(self) -> None:
        await self.one.sync.serve()
        self.other.sync._receive(self._right)

    def close(self) -> None:
        self.one.sync.close()
        self.other.sync.close()


@story
async def test_a_table_then_changes_then_a_cycle_that_mends_what_was_lost() -> None:
    two = Two()
    try:
        for number in range(400):
            two.one.learn(make_key(10, number + 1), number % 2)
        two.other.known.entries[make_key(10, 999)] = Entry(0)  # of a time before
        two.other.known.entries[make_key(10, 998)] = Entry(0, "static")
        await two.exchange()
        assert two.other.known.entries.pop(make_key(10, 998)).kind == "static"
        assert two.other.known.entries == two.one.known.entries
        assert two.other.sync.completed is not None
        two.one.learn(make_key(20, 1), 1)
        two.one.learn(make_key(10, 1), 1)
        two.one.forget(make_key(10, 2))
        await two.exchange()
        assert two.other.known.entries == two.one.known.entries
        two.other.known.entries.pop(make_key(20, 1))
        two.other.known.entries[make_key(10, 2)] = Entry(0)
        two.one.sync.fdb_reset()
        await two.exchange()
        assert two.other.known.entries == two.one.known.entries
    finally:
        two.close()


@story
async def test_a_cycle_that_lost_a_frame_removes_nobody() -> None:
    two = Two()
    try:
        keys = [make_key(10, number + 1) for number in range(400)]
        for key in keys:
            two.one.learn(key, 0)
        two.other.known.entries.update({key: Entry(0) for key in keys})
        await two.one.sync.serve()
        two._right.recv(2048)  # lost
        two.other.sync._receive(two._right)
        assert two.other.known.entries == two.one.known.entries
        assert two.other.sync.completed is None
    finally:
        two.close()


@story
async def test_only_the_session_of_a_member_that_forwards_is_heard_and_each_frame_once() -> None:
    two = Two()
    try:
        message = Message(ENTRIES, 5, 0, "uplink", (make_key(10, 1),))
        frame = write(message, ONE, 1)
        for who in (
            ONE._replace(session=99),
            ONE._replace(member=3),
            ONE._replace(secret=b"z" * 32),
            ONE._replace(pair=8),
        ):
            two.one.sync._paths[0].send(write(message, who, 1))
        two.other.sync._receive(two._right)
        assert two.other.known.entries == {}
        assert dict(two.other.sync.counters) == {"stranger": 2, "forged": 1, "foreign": 1}
        for _ in range(2):
            two.one.sync._paths[0].send(frame)
        two.other.sync._receive(two._right)
        assert (two.other.sync.counters["taken"], two.other.sync.counters["again"]) == (1, 1)
        two.other.peers = Peers(True, {1: 100}, {1: 100})
        two.other.sync.look()
        two.one.sync._paths[0].send(write(message._replace(kind=GONE, sequence=6), ONE, 1))
        two.other.sync._receive(two._right)
        assert make_key(10, 1) in two.other.known.entries  # who forwards takes nothing
    finally:
        two.close()


@story
async def test_nothing_is_sent_where_nobody_listens() -> None:
    two = Two()
    try:
        two.one.peers = Peers(True, {}, {})
        two.one.learn(make_key(10, 1), 0)
        await two.one.sync.serve()
        assert two.one.sync.counters["sent"] == 0
    finally:
        two.close()
