"""Snooping of the daemon beside that of the Linux bridge: the same frames, and every difference declared with its rule.

A router on port r asked for members (IGMP and MLD), b reported, and both bridges prune. Then one frame after the other;
which ports it came out of is compared. Where the kernel has no bridge, the daemon is held to what stands here alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from subprocess import run
from typing import NamedTuple

import pytest
from conformance.scenario import Port
from conformance.wired import WiredTarget, bridge_side
from helpers import frames
from helpers import memberships as messages
from helpers.daemon import Daemon, link
from helpers.memberships import BLOCK, TO_EX, TO_IN
from helpers.net import Net, wait_until

pytestmark = [pytest.mark.root, pytest.mark.slow]

NAMES = ("a", "b", "c", "r")
GROUP, GROUP6 = "239.1.1.1", "ff05::1:1"
A, B, C, R = (frames.host(number) for number in (1, 2, 3, 9))
ADDRESSES = {"a": A, "b": B, "c": C, "r": R}
BAD = messages.join(C, "239.8.8.8")[:-20] + b"\xff" + messages.join(C, "239.8.8.8")[-19:]


class Case(NamedTuple):
    """A frame from a port, who gets it from us, and from Linux, if that differs: with the rule that decides."""

    name: str
    port: str
    frame: bytes
    ours: str
    linux: str | None = None
    rule: str = ""


SOLICITATION = messages.ipv6(A, "ff02::1:ff00:7", b"\x87" + bytes(23), hop_by_hop=b"")
CASES = [
    Case("a registered group", "a", messages.data(A, GROUP), "b r"),
    Case("a registered group of IPv6", "a", messages.data(A, GROUP6), "b r"),
    Case("an unregistered group", "a", messages.data(A, "239.7.7.7"), "r"),
    Case("another group with the same address", "a", messages.data(A, "238.129.1.1"), "r"),
    Case("VRRP", "a", messages.data(A, "224.0.0.18"), "b c r"),
    Case("mDNS", "a", messages.data(A, "224.0.0.251"), "b c r"),
    Case("all nodes", "a", messages.data(A, "ff02::1"), "b c r"),
    Case(
        "mDNS of IPv6", "a", messages.data(A, "ff02::fb"), "b c r", "r", "M4: hosts use it without a report"
    ),
    Case(
        "VRRP of IPv6", "a", messages.data(A, "ff02::12"), "b c r", "r", "M4: hosts use it without a report"
    ),
    Case(
        "a solicitation nobody reported",
        "a",
        SOLICITATION,
        "b c r",
        "r",
        "M4: neighbour discovery must not die",
    ),
    Case("no IP at an address of a group", "a", frames.ethernet(messages.mac(GROUP), A), "b c r"),
    Case("a report", "c", messages.join(C, "239.2.2.2"), "r"),
    Case("what was reported", "a", messages.data(A, "239.2.2.2"), "c r"),
    Case(
        "a report of version 3",
        "c",
        messages.v3(C, [(TO_EX, "239.3.3.3", [])]),
        "r",
        "a b r",
        "M7: no report goes to hosts",
    ),
    Case("what was reported so", "a", messages.data(A, "239.3.3.3"), "c r"),
    Case(
        "a report of MLDv2",
        "c",
        messages.mld2(C, [(TO_EX, "ff05::3", [])]),
        "r",
        "a b r",
        "M7: no report goes to hosts",
    ),
    Case("what was reported in IPv6", "a", messages.data(A, "ff05::3"), "c r"),
    Case(
        "a record with auxiliary data, and one behind it",
        "c",
        messages.v3(C, [messages.record(TO_EX, "239.4.4.4", (), bytes(4)), (TO_EX, "239.4.4.5", [])]),
        "r",
        "a b r",
        "M7: no report goes to hosts",
    ),
    Case(
        "what stood behind it", "a", messages.data(A, "239.4.4.5"), "c r", "r", "M8: its length is in words"
    ),
    Case(
        "a block of what nobody reported",
        "c",
        messages.v3(C, [(BLOCK, "239.5.5.5", ["10.0.0.7"])]),
        "r",
        "a b r",
        "M7: no report goes to hosts",
    ),
    Case("what was blocked", "a", messages.data(A, "239.5.5.5"), "r"),
    Case(
        "a leave of what nobody reported",
        "c",
        messages.v3(C, [(TO_IN, "239.6.6.6", [])]),
        "r",
        "a b r",
        "M7: no report goes to hosts",
    ),
    Case("a damaged report", "c", BAD, "a b r", "", "M8: flooded as data, not dropped"),
    Case("what it was to report", "a", messages.data(A, "239.8.8.8"), "r"),
    Case("broadcast", "a", frames.ethernet(frames.BROADCAST, A), "b c r"),
    Case("from the router", "r", messages.data(R, GROUP), "b"),
]


class Snooping(WiredTarget):
    """A bridge with four access ports."""

    def begin(self) -> None:
        """Have it prune: the router asks, b answers."""
        self.open_wires()
        for name in NAMES:
            self.wait_port(name, True)
        self.settle()
        self.send("r", [messages.query(R, "10.0.0.9", tenths=10), messages.mld_query(R, milliseconds=1000)])
        self.send("b", [messages.join(B, GROUP), messages.join(B, GROUP6)])
        for group in (GROUP, GROUP6):
            data = messages.data(A, group)
            wait_until(lambda data=data: self.reached("a", data) == "b r", f"{self.title} to prune")

    def reached(self, port: str, frame: bytes) -> str:
        """Ports that a frame came out of; Linux cuts padding off, and we add it."""
        sent = self.send(port, [frame])
        bare = frame.rstrip(b"\0")
        return " ".join(
            sorted(name for name, found in sent.items() if bare in [one.rstrip(b"\0") for one in found])
        )


class Ours(Snooping):
    name, title = "link", "framebridge"

    def __init__(self, net: Net, start: Callable[..., Daemon]) -> None:
        super().__init__(net, {name: Port({"access": 10}) for name in NAMES})
        self.make_veths()
        table = '[multicast]\nsnooping = "on"\nquerier = false\nunregistered = "routers"\n'
        ports = [link(name, bridge_side(name), access=10) for name in NAMES]
        self.daemon = start(self.middle, *ports, table)
        self.begin()

    def fdb(self) -> set[tuple[int, bytes, str]]:
        return set()

    def wait_port(self, port: str, up: bool) -> None:
        self.daemon.wait_state(port, "up" if up else "down")


class Linux(Snooping):
    name, title = "linux", "Linux bridge"

    def __init__(self, net: Net) -> None:
        super().__init__(net, {name: Port({"access": 10}) for name in NAMES})
        command = [
            "ip",
            "link",
            "add",
            "br0",
            "type",
            "bridge",
            "mcast_snooping",
            "1",
            "mcast_igmp_version",
            "3",
        ]
        done = self.middle.run(run, command, capture_output=True, text=True, timeout=60)
        if done.returncode:
            pytest.skip(f"Linux bridge: {done.stderr.strip()}")
        self.make_veths()
        for name in NAMES:
            self._run("ip", "link", "set", bridge_side(name), "master", "br0")
        self._run("ip", "link", "set", "br0", "up")
        self.begin()

    def _run(self, *command: str) -> str:
        done = self.middle.run(run, command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
        return str(done.stdout)

    def fdb(self) -> set[tuple[int, bytes, str]]:
        return set()

    def wait_port(self, port: str, up: bool) -> None:
        show = ("ip", "-j", "-d", "link", "show", "dev", bridge_side(port))

        def is_forwarding() -> bool:
            return bool(
                json.loads(self._run(*show))[0]["linkinfo"]["info_slave_data"]["state"] == "forwarding"
            )

        wait_until(is_forwarding, f"port {port} forwarding")


def test_the_daemon_gives_groups_to_whom_they_belong(net: Net, start: Callable[..., Daemon]) -> None:
    ours = Ours(net, start)
    assert {case.name: ours.reached(case.port, case.frame) for case in CASES} == {
        case.name: case.ours for case in CASES
    }
    ours.daemon.check_books()


def test_the_linux_bridge_differs_where_it_is_declared(net: Net) -> None:
    linux = Linux(net)
    assert {case.name: linux.reached(case.port, case.frame) for case in CASES} == {
        case.name: case.ours if case.linux is None else case.linux for case in CASES
    }


def test_differences_have_a_rule() -> None:
    for case in CASES:
        assert (case.linux is None) == (not case.rule), case.name
        assert case.linux != case.ours, case.name
