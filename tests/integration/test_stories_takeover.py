"""One process takes the bridge of another over: no frame is lost, doubled or late, no guest loses its carrier."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from collections.abc import Callable, Iterator

import pytest
from helpers import net as nets
from helpers.daemon import COMMAND, Daemon, is_answered, link, port, tap
from helpers.hosts import host, stream
from helpers.net import Net, Program

from bridge.daemon import takeover
from bridge.daemon.takeover import Wire
from bridge.engine.takeover import TakeOverError

pytestmark = pytest.mark.root

Start = Callable[..., Daemon]


class Site:
    """A bridge with a guest on a tap, one on a veth, and a host outside."""

    def __init__(self, net: Net, start: Start) -> None:
        self.middle, self.one, self.two, outside = (net.namespace() for _ in range(4))
        net.veth("eth1", "eth0", self.middle, outside)
        self.ports = (
            tap("one", self.one, access=10),
            port("two", "veth", "eth0", self.two, access=10),
            link("far", "eth1", access=10),
        )
        self.bridge = start(self.middle, *self.ports)
        self.guest, self.pod = host(self.one, "tap0", 10, 1), host(self.two, "eth0", 10, 2)
        self.far = host(outside, "eth0", 10, 9)

    @contextlib.contextmanager
    def successor(self) -> Iterator[Program]:
        command = [*COMMAND, "run", "--take-over", str(self.bridge.file)]
        with nets.program(command, self.middle) as program:
            yield program

    def interfaces(self) -> list[tuple[int, int]]:
        """Index and carrier changes of the guests' interfaces."""
        spaces = ((self.one, "tap0"), (self.two, "eth0"))
        return [
            space.netlink(lambda ipr, device=device: _identity(next(iter(ipr.link("get", ifname=device)))))
            for space, device in spaces
        ]


def _identity(message: dict[str, object]) -> tuple[int, int]:
    return message["index"], message.get("carrier_changes")  # type: ignore[attr-defined, return-value]


@pytest.fixture
def site(net: Net, start: Start) -> Site:
    return Site(net, start)


@pytest.mark.smoke
def test_a_take_over_loses_nothing(site: Site) -> None:
    """Numbered streams both ways cross it, twice; ports, FDB, counters, entries by hand are there; then a clean end."""
    bridge = site.bridge
    bridge.rows("fdb", "add", "02:00:00:00:00:77", "vlan", "10", "port", "far", "static")
    assert site.guest.ping(site.far) == (3, 3)
    assert site.pod.ping(site.far) == (3, 3)
    before, fdb, interfaces = bridge.stats("one"), bridge.fdb(), site.interfaces()
    shown = {row["port"]: (row["index"], row["mtu"], row["state"]) for row in bridge.ask("PortShow")}
    with contextlib.ExitStack() as stack:
        with stream(site.guest, site.far), stream(site.far, site.pod), stream(site.pod, site.guest):
            first = stack.enter_context(site.successor())
            _check_taken(bridge, bridge.program, first)
            last = stack.enter_context(site.successor())
            _check_taken(bridge, first, last)
            rows = bridge.ask("PortShow")
            assert {row["port"]: (row["index"], row["mtu"], row["state"]) for row in rows} == shown
            assert (bridge.fdb(), site.interfaces()) == (fdb, interfaces)
            assert bridge.stats("one")["rx_frames"] > before["rx_frames"]
            bridge.check_books()
        bridge.check_books()
        assert site.pod.ping(site.guest) == (3, 3)
        last.signal(signal.SIGTERM)
        assert last.wait_exit() == 0
        for text in (bridge.log, first.output, last.output):
            assert "Traceback" not in text
    assert (site.one.devices(), site.two.devices()) == ({"lo"}, {"lo"})
    assert not bridge.socket.exists()


def _check_taken(bridge: Daemon, before: Program, after: Program) -> None:
    after.wait_output("ready: ")
    assert before.wait_exit() == 0, before.output
    after.wait_ready(lambda: is_answered(bridge.socket), "the successor to answer")
    assert bridge.ask("Version")[0]["pid"] == after.pid


def test_whoever_takes_over_and_dies_or_talks_nonsense_takes_nothing(site: Site) -> None:
    """At each step of the conversation: a death, garbage, a wrong step; the bridge goes on, and can be taken."""
    bridge = site.bridge
    assert site.guest.ping(site.far) == (3, 3)
    fdb, interfaces = bridge.fdb(), site.interfaces()

    def hang_up(_: Wire) -> None:
        """Die."""

    def nonsense(wire: Wire) -> None:
        wire._socket.sendall(b"\0garbage" * 100)

    def wrong_step(wire: Wire) -> None:
        wire.send(takeover.RUNNING)

    with stream(site.guest, site.far), stream(site.far, site.guest):
        for last_words, most in (
            (hang_up, 3),
            (nonsense, 3),
            (wrong_step, 2),
        ):  # after STATE it is the right one
            for steps in range(most):
                tried = bridge.log.count("was not taken over")
                _talk(bridge, steps, last_words)
                bridge.wait(lambda tried=tried: bridge.log.count("was not taken over") > tried, "the refusal")
                assert bridge.ask("Version")[0]["pid"] == bridge.pid
    assert (bridge.fdb(), site.interfaces()) == (fdb, interfaces)
    assert site.guest.ping(site.far) == (3, 3)
    with site.successor() as successor:
        _check_taken(bridge, bridge.program, successor)
        assert site.guest.ping(site.far) == (3, 3)
        successor.signal(signal.SIGTERM)
        assert successor.wait_exit() == 0


def _talk(bridge: Daemon, steps: int, last_words: Callable[[Wire], None]) -> None:
    """Take part in the conversation for some steps, then say something else and hang up."""
    wire = takeover.ask(str(bridge.socket))
    assert wire is not None
    try:
        descriptors: list[int] = []
        if steps >= 1:
            descriptors = wire.receive_offer()[1]
            wire.receive(takeover.FDB)
        takeover.close_all(descriptors)
        if steps == 2:
            wire.send(takeover.PREPARED, b"{}")
            wire.receive_message(takeover.STATE)
            wire.receive(takeover.FDB)
        last_words(wire)
    finally:
        wire.close()


def test_an_offer_that_does_not_fit_is_refused_whole(site: Site, net: Net) -> None:
    """An old process lies about descriptors, versions, names, ports: the new one ends, and has touched nothing."""
    bridge = site.bridge
    wire = takeover.ask(str(bridge.socket))
    assert wire is not None
    offer, descriptors = wire.receive_offer()
    path = bridge.socket.with_name("liar.sock")
    text = bridge.file.read_text().replace(str(bridge.socket), str(path))
    file = bridge.file.with_name("liar.toml")
    file.write_text(text)
    read, write = os.pipe()
    lies: list[tuple[str, dict[str, object], list[int]]] = [
        ("offers version 2", {**offer, "version": 2}, descriptors),
        ("it is the bridge 'other'", {**offer, "bridge": "other"}, descriptors),
        ("makes no sense", {**offer, "ports": [{"name": "one"}]}, descriptors),
        ("makes no sense", {**offer, "ports": 7}, descriptors),
        ("descriptors too many", {**offer, "ports": []}, descriptors),
        ("cannot be taken over", offer, [*descriptors[:2], *([read] * (len(descriptors) - 2))]),
        ("a port twice", {**offer, "ports": [{"name": "one", "index": 1}] * 2}, descriptors[:2]),
    ]
    for expected, lie, given in lies:
        with socket.socket(socket.AF_UNIX) as listener:
            path.unlink(missing_ok=True)
            listener.bind(str(path))
            listener.listen()
            with nets.program([*COMMAND, "run", "--take-over", str(file)], site.middle) as program:
                accepted, _ = listener.accept()
                _read_call(accepted)
                accepted.sendall(b'{"parameters": {"rows": []}}\0')
                liar = Wire(accepted)
                with contextlib.suppress(TakeOverError):
                    liar.send_offer({key: item for key, item in lie.items() if key != "descriptors"}, given)
                    liar.send(takeover.FDB)
                assert program.wait_exit() == 1, expected
                liar.close()
                assert expected in program.output
                assert "Traceback" not in program.output
    os.close(read)
    os.close(write)
    takeover.close_all(descriptors)
    assert site.guest.ping(site.far) == (3, 3)
    bridge.finish()  # though somebody is in the middle of a conversation
    wire.close()


def _read_call(accepted: socket.socket) -> None:
    call = b""
    while not call.endswith(b"\0"):
        call += accepted.recv(4096)
    assert json.loads(call[:-1])["method"] == "org.framebridge.TakeOver"


def test_without_a_daemon_it_is_a_start(net: Net, start: Start) -> None:
    """Nothing answers on the socket: --take-over starts as usual."""
    space = net.namespace()
    bridge = start(net.namespace(), tap("one", space, access=10))
    assert bridge.end(signal.SIGKILL) == -signal.SIGKILL
    with nets.program([*COMMAND, "run", "--take-over", str(bridge.file)]) as program:
        program.wait_output("ready: ")
        program.signal(signal.SIGTERM)
        assert program.wait_exit() == 0
