"""The toolkit of namespaces that the lab, the benchmarks and the tests share."""

from __future__ import annotations

import os
import socket
import subprocess

import pytest
from helpers.net import make_name

from bridge.lab import netns

pytestmark = pytest.mark.root


def identity() -> int:
    return os.stat("/proc/thread-self/ns/net").st_ino  # noqa: PTH116


def test_a_namespace_is_made_entered_joined_and_gone() -> None:
    left, right = make_name(), make_name()
    with netns.namespace(left, ipv6=False), netns.namespace(right, ipv6=False):
        assert netns.named(left) == [left]
        netns.connect(left, "a", right, "b", mtu=1400)
        netns.add_address(right, "b", "10.0.0.2", 24)
        assert {name for _, name in netns.run_in(left, socket.if_nameindex)} >= {"lo", "a"}
        assert netns.run_in(left, identity) != identity() == netns.run_in(None, identity)
        (link,) = netns.netlink(right, lambda ipr: ipr.link("get", index=netns.find_index(ipr, "b")))
        assert (link.get("mtu"), link["flags"] & 1) == (1400, 1)
        netns.delete_link(left, "a")
        with pytest.raises(OSError, match="No such device"):
            netns.netlink(right, lambda ipr: netns.find_index(ipr, "b"))
    assert netns.named(left) == netns.named(right) == []


def test_what_is_raised_inside_is_raised_here_and_the_namespace_goes_all_the_same() -> None:
    name = make_name()
    with pytest.raises(ZeroDivisionError), netns.namespace(name):
        netns.run_in(name, lambda: 1 / 0)
    assert netns.named(name) == []
    netns.remove(name)  # once more does no harm


def test_programs_inside_are_found_and_end_with_it() -> None:
    name = make_name()
    with netns.namespace(name):
        program = netns.run_in(name, subprocess.Popen, ["sleep", "600"])
        try:
            assert netns.programs(name) == [program.pid]
            netns.remove(name, with_programs=True)
            assert program.wait(10) == -9
        finally:
            program.kill()
            program.wait()
    assert netns.named(name) == []


def test_waiting_ends_with_what_is_waited_for_or_says_what_it_was() -> None:
    looks = iter([0, None, "", 7])
    assert netns.wait_until(lambda: next(looks), "seven", 10) == 7
    with pytest.raises(netns.NotInTimeError, match=r"not within 0 s: the impossible"):
        netns.wait_until(lambda: False, "the impossible", 0)
