"""A data thread that waits: every frame wakes it under every setting, an idle one sleeps, and no read is in vain."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers import frames
from helpers.bridge import SECRET, check_conservation
from helpers.net import HERE, Net, PacketSocket, wait_until

from bridge.core import _core
from bridge.core.values import PortRow

pytestmark = pytest.mark.root

BURST = 8
WAITINGS = [name for name, _ in _core.WAITINGS]
A, B = frames.host(1), frames.host(2)
FOREVER = 0xFFFFFFFF  # the timeout of epoll_wait(2), as an unsigned int


class Thread:
    """A bridge between a tap and a link, forwarding in a thread of its own."""

    def __init__(self, net: Net, waiting: str) -> None:
        net.veth("a", "b")
        self.bridge = _core.Bridge(burst=BURST, secret=SECRET)
        self.ports = [self.bridge.open_tap(0, "t"), self.bridge.open_link(1, "a", slots=1024)]
        HERE.set_link("t", state="up")
        self.guest = net.packet_socket("t")
        self.outside = net.packet_socket("b")
        self.set_waiting(waiting)
        self._thread = threading.Thread(target=self.bridge.run)
        net.callback(self._end)
        self._thread.start()

    def set_waiting(self, waiting: str) -> None:
        snapshot = _core.Snapshot(waiting=waiting)
        for port in self.ports:
            snapshot.add_port(port, PortRow(mode="access", pvid=1))
        self.bridge.apply(snapshot)

    def _end(self) -> None:
        self.bridge.stop()
        self._thread.join()
        check_conservation(self.bridge.counters().ports)
        self.bridge.apply(_core.Snapshot())
        for port in self.ports:
            self.bridge.close_port(port)

    def look(self, file: str) -> str:
        """What /proc says of the data thread."""
        return Path(f"/proc/self/task/{self.bridge.thread_id}/{file}").read_text()

    @property
    def sleeps(self) -> bool:
        """Whether it is in a system call that waits without a timeout."""
        words = self.look("syscall").split()
        return len(words) > 4 and int(words[4], 16) & FOREVER == FOREVER

    def wait_asleep(self) -> None:
        wait_until(lambda: self.sleeps, "the data thread to sleep")

    @contextlib.contextmanager
    def counted_reads(self) -> Iterator[Callable[[], int]]:
        """Count read(2) of the data thread, in vain or not; needs task I/O accounting."""
        try:
            before = self.reads()
        except (FileNotFoundError, PermissionError):
            pytest.skip("no /proc/PID/task/TID/io: the kernel has no task I/O accounting")
        yield lambda: self.reads() - before

    def reads(self) -> int:
        fields = dict(line.split(": ") for line in self.look("io").splitlines())
        return int(fields["syscr"])

    def cross(self, source: PacketSocket, target: PacketSocket, *numbers: int) -> None:
        """Send frames one after the other and want them, in order."""
        sent = [frames.padded(frames.ethernet(B, A, payload=i.to_bytes(4, "big"))) for i in numbers]
        for frame in sent:
            assert source.send(frame) == len(frame)
        for frame in sent:
            assert target.wait()[0] == frame


@pytest.fixture(params=WAITINGS)
def thread(request: pytest.FixtureRequest, net: Net) -> Thread:
    return Thread(net, request.param)


@pytest.fixture
def balanced(net: Net) -> Thread:
    return Thread(net, "balanced")


def test_a_setting_nobody_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="waiting must be one of latency, balanced, throughput, not 'slow'"):
        _core.Snapshot(waiting="slow")


@pytest.mark.parametrize("n", [1, 2, BURST - 1, BURST, BURST + 1, 5 * BURST])
def test_every_burst_wakes_it_both_ways(thread: Thread, n: int) -> None:
    for start in range(0, 4 * n, n):
        thread.wait_asleep()
        thread.cross(thread.guest, thread.outside, *range(start, start + n))
        thread.wait_asleep()
        thread.cross(thread.outside, thread.guest, *range(start, start + n))


def test_a_long_train_keeps_its_order(thread: Thread) -> None:
    """Long enough for frames to be gathered, where the setting does that."""
    for start in range(0, 3000, 10):
        thread.cross(thread.guest, thread.outside, *range(start, start + 10))


def test_idle_it_sleeps_without_a_timeout(thread: Thread) -> None:
    thread.wait_asleep()
    thread.cross(thread.guest, thread.outside, 1, 2, 3)
    thread.wait_asleep()
    turns = thread.bridge.progress
    assert thread.sleeps
    assert thread.bridge.progress == turns


def test_the_setting_changes_under_traffic(balanced: Thread) -> None:
    for i in range(0, 60, 2):
        balanced.set_waiting(WAITINGS[i // 2 % len(WAITINGS)])
        balanced.cross(balanced.guest, balanced.outside, i, i + 1)
        balanced.cross(balanced.outside, balanced.guest, i, i + 1)


def test_a_lone_frame_costs_one_read(balanced: Thread) -> None:
    """That nothing follows is left to epoll, which is asked anyway."""
    balanced.cross(balanced.guest, balanced.outside, 0)
    balanced.wait_asleep()
    with balanced.counted_reads() as reads:
        for i in range(1, 11):
            balanced.cross(balanced.guest, balanced.outside, i)
            balanced.wait_asleep()
        assert reads() == 10


def test_stopping_ends_every_way_to_wait(thread: Thread) -> None:
    thread.cross(thread.guest, thread.outside, 1)
    thread.bridge.stop()
    wait_until(lambda: not thread.bridge.running, "the end of the data thread")
