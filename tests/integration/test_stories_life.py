"""Start and end: signals, what is left behind (nothing), a stale socket, a second instance."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.daemon import COMMAND, Daemon, document, link, run_command, tap
from helpers.hosts import host, stream
from helpers.lan import Lan
from helpers.net import Net, wait_until

pytestmark = pytest.mark.root

Start = Callable[..., Daemon]


@pytest.mark.smoke
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_the_middle_of_traffic(net: Net, lan: Lan, directory: Path, number: int) -> None:
    guest, external = lan.guest("a", 1), lan.external(10)
    flood = net.program(["ping", "-f", "-q", external.ip], guest.space)
    lan.bridge.wait(lambda: lan.bridge.stats("a")["rx_frames"] > 100, "the ping flood")

    assert lan.bridge.end(number) == 0

    flood.stop()
    assert {name: lan.spaces[name].devices() for name in "abc"} == {name: {"lo"} for name in "abc"}
    assert "eth1" in lan.spaces["middle"].devices()
    assert [path.name for path in directory.iterdir()] == ["d0.toml"]
    assert lan.bridge.log.splitlines()[-1].endswith("INFO bridge.daemon: stopped")


def test_a_killed_daemon_leaves_no_tap_and_the_next_one_starts(lan: Lan, start: Start) -> None:
    assert lan.bridge.end(signal.SIGKILL) == -signal.SIGKILL
    assert lan.bridge.socket.is_socket()
    taps = {name: lan.spaces[name] for name in "abc"}
    wait_until(lambda: all(space.devices() == {"lo"} for space in taps.values()), "the taps to vanish")
    message = f"framebridge: no daemon answers on {lan.bridge.socket}: start it with 'framebridge run FILE'"
    assert lan.bridge.refused("port", "show").startswith(message)

    again = start(lan.spaces["middle"], *lan.ports.values(), socket=lan.bridge.socket)

    assert lan.guest("a", 1).ping(lan.external(10)) == (3, 3)
    assert [row["state"] for row in again.rows("port", "show")] == ["up"] * 4


def test_a_second_daemon_on_the_same_socket_is_refused(lan: Lan) -> None:
    """It names the first one, which does not notice; also with another file, and started anywhere."""
    guest, external = lan.guest("a", 1), lan.external(10)
    shape = lan.shape()
    with stream(guest, external), stream(external, guest):
        status, out, err = run_command("run", str(lan.bridge.file), space=lan.spaces["middle"])

    assert (status, out) == (1, "")
    assert err == (
        f"framebridge: bridge.control_socket: already running (pid {lan.bridge.pid}): "
        f"a daemon holds {lan.bridge.socket}; stop it or choose another path\n"
    )
    assert lan.shape() == shape


def test_a_second_daemon_on_the_same_taps_is_refused(lan: Lan, directory: Path) -> None:
    """Another socket, but a device the first one owns: the second undoes what it had opened already."""
    newcomer, middle = lan.spaces["outside"], lan.spaces["middle"]
    ports = (tap("new", newcomer, "tap9", access=10), tap("stolen", lan.spaces["a"], access=10))
    file = directory / "second.toml"
    file.write_text(document(directory / "second.sock", *ports))
    guest, external = lan.guest("a", 1), lan.external(10)
    with stream(guest, external), stream(external, guest):
        status, out, err = run_command("run", str(file), space=middle)

    assert (status, out) == (1, "")
    assert f"port 'stolen': device 'tap0' in namespace '{lan.spaces['a'].name}'" in err
    assert 'busy; another program owns it: stop that program, or bridge its tap with kind = "link"' in err
    assert "tap9" not in newcomer.devices()
    assert not (directory / "second.sock").exists()


def test_two_daemons_side_by_side_on_one_lan(net: Net, start: Start) -> None:
    """A trunk between two bridges, each with its guest; each ends on its own."""
    left, right, one, two = (net.namespace() for _ in range(4))
    net.veth("to-right", "to-left", left, right)
    first = start(left, tap("guest", one, access=10), link("trunk", "to-right", trunk=[10]), name="left")
    second = start(right, tap("guest", two, access=10), link("trunk", "to-left", trunk=[10]), name="right")

    assert host(one, "tap0", 10, 1).ping(host(two, "tap0", 10, 2)) == (3, 3)
    assert [one.rows("version")[1]["bridge"] for one in (first, second)] == ["left", "right"]
    assert (first.end(), second.end()) == (0, 0)


def test_it_ends_while_a_client_is_connected_and_a_monitor_listens(net: Net, lan: Lan) -> None:
    monitor = net.program([*COMMAND, "-s", str(lan.bridge.socket), "monitor"])
    while "port-changed" not in monitor.output:
        lan.bridge.rows("port", "set", "a", "isolated", "on")
        lan.bridge.rows("port", "set", "a", "isolated", "off")

    assert lan.bridge.end() == 0
    assert monitor.wait_exit() == 0
