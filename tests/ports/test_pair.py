"""Two bridges as a pair, on real sockets: one forwards; when it ends, dies or loses its carrier, the other does.

Both data threads run in this process, so what is asked is order and outcome, not time: benchmarks measure that.
"""

from __future__ import annotations

import socket
import threading

import pytest
from helpers import frames
from helpers.net import DEADLINE, HERE, Net, open_packet_socket, wait_until

from bridge.core import _core, _ha
from bridge.core.values import PortRow

pytestmark = pytest.mark.root

SECRET = b"a secret of the pair"
INTERVAL = 20_000_000
FRAME = frames.ethernet(frames.BROADCAST, frames.host(1))


class Member:
    """A bridge between two memory ports, whose beacons travel by a veth."""

    def __init__(
        self, net: Net, device: str, number: int, *, secret: bytes = SECRET, priority: int = 100
    ) -> None:
        self.core = _core.Bridge(burst=8)
        self.ports = [self.core.open_memory(index) for index in range(2)]
        snapshot = _core.Snapshot()
        for port in self.ports:
            snapshot.add_port(port, PortRow(mode="access", pvid=1))
        self.core.apply(snapshot)
        _ha.set_gate(self.core, True)
        self.path = open_packet_socket(device)
        _ha.start_pair(
            self.core,
            pair=7,
            member=number,
            session=_ha.boot_clock(),
            interval=INTERVAL,
            secret=secret,
            source=frames.number(frames.host(number)),
            paths=[self.path.detach()],
            priority=priority,
        )
        self._thread = threading.Thread(target=self.core.run)
        self._thread.start()
        net.callback(self.end)

    def drive(self, verb: str) -> _core.PairState:
        return _ha.drive_pair(self.core, verb)  # type: ignore[arg-type]

    @property
    def state(self) -> str:
        return self.drive("read").state

    def forwards(self) -> bool:
        before = self.core.counters().ports[0].values["rx_frames"]
        self.ports[0].inject([FRAME])
        self.core.wake()
        wait_until(lambda: self.core.counters().ports[0].values["rx_frames"] > before, "the frame is taken")
        return bool(self.ports[1].drain())

    def end(self) -> None:
        if self._thread.is_alive():
            self.core.stop()
            self._thread.join()
            _ha.stop_pair(self.core)


def pair(net: Net) -> tuple[Member, Member]:
    net.veth("a", "b")
    one, two = Member(net, "a", 1), Member(net, "b", 2, priority=90)
    one.drive("healthy")
    two.drive("healthy")
    wait_until(lambda: one.state == "active", "the better one forwards")
    wait_until(lambda: two.drive("read").peers, "the other hears it")
    return one, two


def test_one_forwards(net: Net) -> None:
    one, two = pair(net)
    assert (one.forwards(), two.forwards()) == (True, False)
    assert two.core.counters().ports[0].rx_drops["standby"] == 1
    state = two.drive("read")
    assert (state.state, state.peers[0].member, state.peers[0].forwards, state.peers[0].hears) == (
        "standby",
        1,
        True,
        True,
    )
    assert _ha.read_gate(one.core)[0] > _ha.read_gate(two.core)[0] == 0


def test_who_ends_hands_over(net: Net) -> None:
    one, two = pair(net)
    one.end()
    wait_until(lambda: two.state == "active", "the other forwards")
    assert two.forwards()


def test_who_falls_silent_is_replaced(net: Net) -> None:
    """Its data thread ends without a word, as when it is killed; its gate is closed by the time the other's opens."""
    one, two = pair(net)
    one.core.stop()
    wait_until(lambda: two.state == "active", "the other forwards")
    assert _ha.read_gate(one.core)[0] < _ha.boot_clock()
    assert "lost" in [
        name
        for event in two.core.events()[0]
        if event.kind == "pair"
        for bit, (name, _) in enumerate(_ha.PAIR_STEPS)
        if event.errno >> bit & 1
    ]


def test_carrier_hold_and_switch(net: Net) -> None:
    one, two = pair(net)
    one.drive("sick")
    wait_until(lambda: two.state == "active", "the carrier is gone")
    one.drive("healthy")
    two.drive("switch")
    wait_until(lambda: one.state == "active", "a planned switch")
    with pytest.raises(OSError, match="Operation not permitted"):
        two.drive("switch")
    two.drive("hold")
    wait_until(lambda: not one.drive("read").peers[0].eligible, "the peer is held")
    with pytest.raises(OSError, match="Link has been severed"):
        one.drive("switch")


def test_another_secret_is_no_member(net: Net) -> None:
    net.veth("a", "b")
    one, other = Member(net, "a", 1), Member(net, "b", 2, secret=b"another secret of 24 b..")
    one.drive("healthy")
    other.drive("healthy")
    wait_until(lambda: one.drive("read").counters["forged"], "its beacons are counted")
    assert one.drive("read").peers == ()


def test_a_flood_of_forged_and_recorded_beacons_changes_nothing(net: Net) -> None:
    one, two = pair(net)
    with open_packet_socket("b", ignore_outgoing=False) as eavesdropper:
        eavesdropper.settimeout(DEADLINE)
        recorded = eavesdropper.recv(200)
        epoch = two.drive("read").epoch, one.drive("read").epoch
        for n in range(2000):
            eavesdropper.send(recorded if n % 2 else recorded[:-1] + bytes([n & 0xFF ^ recorded[-1] ^ 1]))
    wait_until(lambda: one.drive("read").counters["forged"], "the forged ones are counted")
    assert (two.drive("read").epoch, one.drive("read").epoch) == epoch
    assert (one.state, two.state) == ("active", "standby")


def test_paths_are_refused_before_anything_begins(net: Net) -> None:
    core = _core.Bridge(burst=8)
    own, other = socket.socketpair()
    how = {"pair": 1, "member": 1, "session": 1, "interval": INTERVAL, "secret": SECRET, "source": 1 << 41}
    with own, other:
        with pytest.raises(OSError, match="Operation not permitted"):
            _ha.start_pair(core, paths=[own.fileno()], **how)  # type: ignore[arg-type]
        _ha.set_gate(core, True)
        with pytest.raises(ValueError, match="number of paths"):
            _ha.start_pair(core, paths=[], **how)  # type: ignore[arg-type]
        with pytest.raises(OSError, match="Bad file descriptor"):
            _ha.start_pair(core, paths=[10**6], **how)  # type: ignore[arg-type]
        with pytest.raises(ProcessLookupError):
            _ha.drive_pair(core)
        assert HERE.run(lambda: own.fileno()) >= 0  # still the caller's
