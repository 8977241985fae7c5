"""Groups with real hosts: kernels that report, answer queries and leave, and a daemon that asks them."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from helpers import frames
from helpers import memberships as messages
from helpers.daemon import Daemon, link, tap
from helpers.hosts import Host, host
from helpers.net import Net

pytestmark = pytest.mark.root

GROUP, OTHER = "239.192.51.1", "239.192.51.2"
QUICK = "query_interval = 2\nresponse_time = 0.5\nlast_member_time = 0.2\nquerier = true"


class Lan:
    """Guests a, b, c on taps and a trunk, all in VLAN 10."""

    def __init__(
        self, net: Net, start: Callable[..., Daemon], multicast: str, **keys: dict[str, Any]
    ) -> None:
        self.spaces = {name: net.namespace() for name in (*"abc", "middle", "outside")}
        net.veth("eth1", "eth0", self.spaces["middle"], self.spaces["outside"])
        taps = [tap(name, self.spaces[name], access=10, **keys.get(name, {})) for name in "abc"]
        table = f"[multicast]\n{multicast}\n"
        self.bridge = start(self.spaces["middle"], *taps, link("uplink", "eth1", trunk=[10]), table)
        for name in (*"abc", "uplink"):
            self.bridge.wait_state(name, "up")
        self.wires = {
            name: net.packet_socket("eth0" if name == "outside" else "tap0", self.spaces[name])
            for name in (*"abc", "outside")
        }

    def guest(self, name: str, number: int) -> Host:
        return host(self.spaces[name], "tap0", 10, number)

    def wait_pruning(self) -> None:
        self.bridge.wait(
            lambda: {row["state"] for row in self.bridge.ask("MdbQueriers")} == {"pruning"},
            "the VLAN to prune",
        )

    def members(self, group: str) -> set[str]:
        rows = self.bridge.ask("MdbShow", group=group, kind="learned")
        return {row["port"] for row in rows}

    def wait_members(self, group: str, ports: set[str]) -> None:
        self.bridge.wait(lambda: self.members(group) == ports, f"members of {group}: {ports}")

    def reached(self, group: str) -> set[str]:
        """Guests that a frame from a to a group reaches; a broadcast behind it tells when it would be there."""
        wires = self.wires
        for wire in wires.values():
            wire.waiting()
        sent = messages.data(frames.host(1), group)
        last = frames.ethernet(frames.BROADCAST, frames.host(1))
        wires["a"].send(sent)
        wires["a"].send(last)
        found = set()
        for name in ("b", "c", "outside"):
            while (data := wires[name].wait()[0])[:12] != last[:12]:
                if data[6:] == sent[6:]:
                    found.add(name)
        return found


@contextlib.contextmanager
def joined(node: Host, *groups: str) -> Iterator[None]:
    """A socket that is a member of groups while the block runs."""
    with contextlib.ExitStack() as stack:
        for group in groups:
            version = 6 if ":" in group else 4
            sock = stack.enter_context(node.socket(version, socket.SOCK_DGRAM))
            index = node.space.run(socket.if_nametoindex, node.device)
            if version == 4:
                membership = struct.pack("=4s4si", socket.inet_aton(group), socket.inet_aton(node.ip), index)
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
            else:
                membership = socket.inet_pton(socket.AF_INET6, group) + struct.pack("=I", index)
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, membership)
        yield


def test_a_kernel_is_a_member_for_as_long_as_it_says_so(net: Net, start: Callable[..., Daemon]) -> None:
    """It reports at once, answers queries for many intervals, and is gone when its socket is."""
    lan = Lan(net, start, f'snooping = "on"\n{QUICK}')
    with joined(lan.guest("b", 2), GROUP):
        lan.wait_members(GROUP, {"b"})
        lan.wait_pruning()
        assert lan.reached(GROUP) == {"b"}
        assert lan.reached(OTHER) == {"b", "c", "outside"}
        assert lan.reached("224.0.0.18") == lan.reached("ff02::12") == {"b", "c", "outside"}
        before = lan.bridge.stats("b")["igmp_reports"]
        lan.bridge.wait(lambda: lan.bridge.stats("b")["igmp_reports"] >= before + 3, "three more reports")
        assert lan.members(GROUP) == {"b"}
        row = next(row for row in lan.bridge.rows("mdb", "show", "group", GROUP))
        assert (row["state"], row["version"], row["mac"]) == ("member", "IGMPv3", "01:00:5e:40:33:01")
    lan.wait_members(GROUP, set())
    lan.bridge.check_books()


def test_a_guest_that_loses_its_carrier_is_asked_when_it_is_back(
    net: Net, start: Callable[..., Daemon]
) -> None:
    lan = Lan(net, start, 'snooping = "on"\nquerier = true\nresponse_time = 0.5')
    with joined(lan.guest("b", 2), GROUP):
        lan.wait_members(GROUP, {"b"})
        lan.spaces["b"].set_link("tap0", state="down")
        lan.bridge.wait_state("b", "down")
        assert lan.members(GROUP) == set()
        lan.spaces["b"].set_link("tap0", state="up")
        lan.bridge.wait_state("b", "up")
        lan.wait_members(GROUP, {"b"})


def test_watch_changes_no_frame_and_tells_what_on_would_spare(net: Net, start: Callable[..., Daemon]) -> None:
    lan = Lan(net, start, f'snooping = "watch"\n{QUICK}')
    with joined(lan.guest("b", 2), GROUP):
        lan.wait_members(GROUP, {"b"})
        lan.wait_pruning()
        spared = lan.bridge.stats("c")["mcast_spared"]
        assert lan.reached(GROUP) == lan.reached(OTHER) == {"b", "c", "outside"}
        stats = lan.bridge.stats("c")
        assert stats["mcast_spared"] > spared
        assert lan.bridge.stats("a")["mcast_pruned"] == 0
        rows = lan.bridge.rows("cost", "show", "--saved")
        assert [(row["mode"], row["vlan"]) for row in rows if row["measure"] == "snooping"] == [("watch", 10)]
        assert rows[0]["copies"] > 0
        assert OTHER in {row["group"] for row in rows if row["measure"] == "unregistered"}


def test_groups_by_hand_come_and_go_by_command_and_reload(net: Net, start: Callable[..., Daemon]) -> None:
    lan = Lan(net, start, f'snooping = "on"\nunregistered = "routers"\n{QUICK}')
    lan.wait_pruning()
    assert lan.reached(OTHER) == set()
    (done,) = lan.bridge.rows("mdb", "add", OTHER, "vlan", "10", "port", "b,c")
    assert done["action"] == "set_group"
    assert lan.reached(OTHER) == {"b", "c"}
    lan.bridge.rows("mdb", "del", OTHER, "vlan", "10", "port", "c")
    assert lan.reached(OTHER) == {"b"}
    lan.bridge.ask("Reload")
    assert lan.reached(OTHER) == set()
    assert "not VLAN 11" in lan.bridge.refused("mdb", "add", OTHER, "vlan", "11", "port", "b")
    assert "never pruned" in lan.bridge.refused("mdb", "add", "224.0.0.18", "vlan", "10", "port", "b")
    assert "not set by hand" in lan.bridge.refused("mdb", "del", OTHER, "vlan", "10")
