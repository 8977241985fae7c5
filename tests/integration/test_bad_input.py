"""Bad input of every kind: a refusal that names place and remedy, a daemon unharmed, nothing half-applied."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import socket
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from helpers import frames
from helpers.control import Wire
from helpers.daemon import COMMAND, NOBODY, Daemon, daemon, document, link, port, run_command, tap
from helpers.hosts import host, stream
from helpers.net import Namespace, Net

from bridge.mac import format_mac

pytestmark = pytest.mark.root

Start = Callable[..., Daemon]
CONFIG = """\
[bridge]
control_socket = "{socket}"

[[port]]
name = "guests"
kind = "tap"
device = "tap0"
vlan = {{ access = 10 }}

[[port]]
name = "uplink"
kind = "link"
device = "eth1"
vlan = {{ trunk = [10] }}
"""


# -- configuration files -----------------------------------------------------------------------------


class Live(NamedTuple):
    """A daemon that runs while files are refused, and the namespace it runs in."""

    bridge: Daemon
    space: Namespace


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    """A daemon of CONFIG, audited when all have been refused."""
    with Net() as net, tempfile.TemporaryDirectory(prefix="fb-") as path:
        middle, outside = net.namespace(), net.namespace()
        net.veth("eth1", "eth0", middle, outside)
        live_socket = Path(path, "live.sock")
        text = CONFIG.format(socket=live_socket)
        with daemon(Path(path), middle, text, live_socket) as bridge:
            yield Live(bridge, middle)
            bridge.finish()
        assert middle.devices() == {"lo", "eth1"}


ONE_DEVICE = "a device is one port, which vlan = { trunk = [...] } lets carry several VLANs"
BAD_FILES = {
    "malformed TOML": ("[10]", "[10", "line 14: not valid TOML: Unclosed array (at line 14, column 22)"),
    "unknown key": (
        "vlan = {{ trunk",
        "mac_limt = 5\nvlan = {{ trunk",
        "line 14: port[1].mac_limt: unknown key; did you mean 'mac_limit'?",
    ),
    "unknown table": ("[bridge]", "[[prot]]\n[bridge]", "line 1: prot: unknown key; did you mean 'port'?"),
    "VID 0": (
        "access = 10",
        "access = 0",
        "line 8: port[0].vlan.access: expected a VLAN ID from 1 to 4094, got 0",
    ),
    "VID 4095": (
        "[10]",
        "[10, 4095]",
        "line 14: port[1].vlan.trunk[1]: expected a VLAN ID from 1 to 4094, got 4095",
    ),
    "a range that runs backwards": (
        "[10]",
        '["10-5"]',
        "line 14: port[1].vlan.trunk[0]: the range '10-5' runs backwards; write '5-10'",
    ),
    "duplicate device": (
        '"eth1"',
        '"tap0"',
        f"line 13: port[1].device: already taken by port[0] (line 4); {ONE_DEVICE}",
    ),
    "two access ports on one device": (
        '"eth1"\nvlan = {{ trunk = [10] }}',
        '"tap0"\nvlan = {{ access = 20 }}',
        f"line 13: port[1].device: already taken by port[0] (line 4); {ONE_DEVICE}",
    ),
    "long device name": (
        '"eth1"',
        f'"{"n" * 128}"',
        f"line 13: port[1].device: '{'n' * 40}...' has 128 bytes; a device name has at most 127, shorten it",
    ),
}


@pytest.mark.parametrize(("old", "new", "message"), BAD_FILES.values(), ids=list(BAD_FILES))
def test_a_bad_file_starts_nothing_and_changes_nothing(
    live: Live, directory: Path, old: str, new: str, message: str
) -> None:
    """Neither as a new daemon nor as a reload of a living one; in both the file says it all at once."""
    assert CONFIG.count(old) == 1
    changed = CONFIG.replace(old, new).replace('"guests"', '"renamed"')
    file = directory / "bad.toml"
    file.write_text(changed.format(socket=directory / "bad.sock"))
    before = live.bridge.ask("PortShow")

    started = run_command("run", str(file), space=live.space)

    assert started == (1, "", f"framebridge: {file}: {message}\n")
    assert live.bridge.refused("reload", str(file)) == started.err
    assert live.bridge.ask("PortShow") == before
    assert live.space.devices() == {"lo", "eth1", "tap0"}
    assert [path.name for path in directory.iterdir()] == ["bad.toml"]


def test_every_mistake_of_a_file_is_told_at_once(directory: Path) -> None:
    file = directory / "bad.toml"
    text = CONFIG.replace("[10]", '[0, "10-5"]').replace("access = 10", "access = 4095")
    file.write_text(text.format(socket="here.sock") + 'colour = "red"\n')

    status, out, err = run_command("check", str(file))

    places = [line.removeprefix(f"framebridge: {file}: ").split(": ")[:2] for line in err.splitlines()]
    assert (status, out, places) == (
        1,
        "",
        [
            ["line 2", "bridge.control_socket"],
            ["line 8", "port[0].vlan.access"],
            ["line 14", "port[1].vlan.trunk[0]"],
            ["line 14", "port[1].vlan.trunk[1]"],
            ["line 15", "port[1].colour"],
        ],
    )


def test_a_file_that_cannot_be_read(directory: Path) -> None:
    binary = directory / "binary.toml"
    binary.write_bytes(b"[bridge]\nname = \xff")
    missing = directory / "missing.toml"

    said = [run_command("run", str(path)) for path in (missing, directory, binary)]

    assert said == [
        (1, "", f"framebridge: {missing}: no such file; check the path\n"),
        (1, "", f"framebridge: {directory}: is a directory; name the TOML file in it\n"),
        (1, "", f"framebridge: {binary}: line 2: byte 0xff is not UTF-8; save the file as UTF-8\n"),
    ]


# -- devices -----------------------------------------------------------------------------------------


def refused_start(space: Namespace, directory: Path, *ports: str, command: Sequence[str] = COMMAND) -> str:
    """What `run --strict` says when it cannot start; it leaves no device and no socket."""
    devices = space.devices()
    file = directory / "bad.toml"
    file.write_text(document(directory / "bad.sock", *ports))
    status, out, err = run_command("run", "--strict", str(file), space=space, command=command)
    said = "".join(line for line in err.splitlines(True) if line.startswith("framebridge: "))
    assert (status, out) == (1, "")
    assert "Traceback" not in err
    assert space.devices() == devices
    assert not (directory / "bad.sock").exists()
    return said


def test_a_missing_device(net: Net, directory: Path) -> None:
    """The tap that was made before the mistake was found is gone again."""
    said = refused_start(
        net.namespace(), directory, port("a", "tap", "tap0", access=10), link("up", "eth7", trunk=[10])
    )

    assert said == (
        "framebridge: port 'up': device 'eth7': cannot use it: No such device; "
        "create the device first, or correct `device` and `netns`\n"
    )


def test_a_missing_namespace(net: Net, directory: Path) -> None:
    said = refused_start(net.namespace(), directory, tap("a", Namespace("fb-no-such"), access=10))

    assert said == (
        "framebridge: port 'a': namespace 'fb-no-such': there is none of that name; "
        "`ip netns add fb-no-such` makes it\n"
    )


def test_a_device_that_is_no_tap(net: Net, directory: Path) -> None:
    space = net.namespace()
    net.veth("eth1", "eth2", space, space)

    said = refused_start(space, directory, port("a", "tap", "eth1", access=10))

    why = 'it is no tap but veth; bridge it with kind = "link"'
    assert said == f"framebridge: port 'a': device 'eth1': {why}\n"


def test_a_missing_device_is_refused_by_a_living_daemon_too(live: Live) -> None:
    before = live.bridge.ask("PortShow")

    said = live.bridge.refused("port", "add", "x", "kind", "link", "device", "eth7", "access", "10")

    assert said == (
        "framebridge: port 'x': device 'eth7': cannot use it: No such device; create the device first, "
        "or correct `device` and `netns`; the configuration before is in force again\n"
    )
    assert live.bridge.ask("PortShow") == before


BAD_WORDS = {
    "port add x kind tap device sixteen-bytes-00 access 10": "port.device: 'sixteen-bytes-00' has 16 bytes",
    "port add x kind tap device tap0 access 10": "port.x.device: already taken by port.guests",
    "port add guests kind memory access 10": "already taken by port.guests; give each port its own name",
    "port set guests access 0": "port.vlan.access: expected a VLAN ID from 1 to 4094, got 0",
    "port set uplink trunk 10-5": "port.vlan.trunk[0]: the range '10-5' runs backwards; write '5-10'",
    "port set gusets mtu 1400": "no port 'gusets'; there are: guests, uplink",
    "fdb add 01:00:5e:00:00:01 vlan 10 port guests": "is a group address; an FDB entry needs the address of",
    "fdb add 02:00:00:00:00:01 vlan 20 port guests": "port 'guests': it does not carry VLAN 20; add that to",
    "fdb add 02:00:00:00:00:01 vlan 4095 port guests": "'vlan': expected a VLAN ID from 1 to 4094, got 4095",
    "fdb del 02:00:00:00:00:01 vlan 10": "no FDB entry 02:00:00:00:00:01 in VLAN 10",
}


def test_bad_words_of_live_verbs_change_nothing(live: Live) -> None:
    before = live.bridge.ask("PortShow"), live.bridge.fdb()

    said = {words: live.bridge.refused(*words.split()) for words in BAD_WORDS}

    assert {words: message for words, message in BAD_WORDS.items() if message not in said[words]} == {}
    assert (live.bridge.ask("PortShow"), live.bridge.fdb()) == before


# -- MTU ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("guest_mtu", "trunk_mtu"), [(9000, 1500), (1500, 9000)])
def test_an_mtu_mismatch_is_warned_of_counted_and_never_truncates(
    net: Net, start: Start, guest_mtu: int, trunk_mtu: int
) -> None:
    """A frame that is too long for the other side ends as a whole; the others pass as a whole."""
    middle, guest, outside = net.namespace(), net.namespace(), net.namespace()
    net.veth("eth1", "eth0", middle, outside, mtu=trunk_mtu)
    ports = (tap("guest", guest, access=10, mtu=guest_mtu), link("uplink", "eth1", trunk=[10]))
    bridge = start(middle, *ports)
    bridge.wait_log(
        f"WARNING .*MTU differs in VLAN 10: {guest_mtu} on port guest, {trunk_mtu} on port uplink; "
        "frames that are too long for a port are dropped as oversize"
    )
    near, far = net.packet_socket("tap0", guest), net.packet_socket("eth0", outside)
    source, sink = (near, far) if guest_mtu > trunk_mtu else (far, near)
    tag = () if source is near else (frames.tag(10),)

    for size in (1500, 1501, 9000, 1499):
        source.send(frames.sized(frames.BROADCAST, frames.host(1), size, *tag))

    received = [sink.wait().data for _ in range(2)]
    assert received == [frames.sized(frames.BROADCAST, frames.host(1), size) for size in (1500, 1499)]
    assert bridge.drops() == {("uplink" if source is near else "guest", "tx", "oversize"): 2}


# -- permission --------------------------------------------------------------------------------------


@pytest.fixture
def public(directory: Path) -> Path:
    """A directory that nobody may write."""
    directory.chmod(0o777)
    return directory


@pytest.mark.parametrize(("mode", "why"), [(0o600, errno.EACCES), (0o666, errno.EPERM)], ids=["0600", "0666"])
def test_nobody_may_not_open_devices(net: Net, public: Path, mode: int, why: int) -> None:
    """/dev/net/tun has the one mode or the other on the systems there are; here it has what the test says."""
    tun = public / "tun"
    os.mknod(tun, stat.S_IFCHR | mode, Path("/dev/net/tun").stat().st_rdev)
    tun.chmod(mode)
    place = 'mount --bind "$0" /dev/net/tun && exec "$@"'
    nobody = ("unshare", "--mount", "sh", "-c", place, str(tun), *NOBODY)
    middle, guest = net.namespace(), net.namespace()
    net.veth("eth1", "eth0", middle, guest)
    unit = "start it as root or as the unit framebridge@.service does"
    needs = f"framebridge lacks the capabilities CAP_NET_ADMIN and CAP_NET_RAW: {unit}"
    ports = {
        port(
            "a", "tap", "tap0", access=10
        ): f"device 'tap0': cannot set the tap up: {os.strerror(why)}; {needs}",
        link("a", "eth1", access=10): "device 'eth1': cannot attach a link port: Operation not permitted; "
        + needs,
        tap("a", guest, access=10): f"namespace '{guest.name}': cannot enter it: Operation not permitted; "
        f"framebridge lacks the capability CAP_SYS_ADMIN: {unit}",
    }

    said = [refused_start(middle, public, table, command=nobody) for table in ports]

    assert said == [f"framebridge: port 'a': {message}\n" for message in ports.values()]


def test_nobody_may_not_use_the_socket_and_only_look_through_an_open_one(live: Live) -> None:
    words = ("-s", str(live.bridge.socket), "-j", "port", "show")
    live.bridge.socket.parent.chmod(0o755)
    why = f"not allowed to use {live.bridge.socket}: be root or join the group of the socket"
    assert run_command(*words, command=NOBODY) == (1, "", f"framebridge: {why}\n")

    live.bridge.socket.chmod(0o666)
    try:
        seen = run_command(*words, command=NOBODY)
        refused = run_command("-s", str(live.bridge.socket), "port", "del", "guests", command=NOBODY)
    finally:
        live.bridge.socket.chmod(0o660)

    assert (seen.status, json.loads(seen.out)) == (0, live.bridge.rows("port", "show"))
    assert refused == (1, "", "framebridge: you may look, but not change anything\n")


# -- the path of the socket --------------------------------------------------------------------------


def test_a_socket_path_that_cannot_be_used(net: Net, public: Path) -> None:
    """Something else is there, it cannot be written, its directory cannot be made."""
    space = net.namespace()
    file, taken, closed = public / "bad.toml", public / "taken", public / "closed"
    taken.write_text("precious")
    closed.mkdir(mode=0o755)
    remedy = "run as root, or set bridge.control_socket to a path you may write"
    said = {}
    for path in (taken, closed / "x.sock", taken / "x.sock"):
        file.write_text(document(path, port("a", "tap", "tap0", access=10)))
        said[path] = run_command("run", str(file), space=space, command=NOBODY)

    place = "framebridge: bridge.control_socket"
    assert said == {
        taken: (1, "", f"{place}: {taken} is there and no socket; remove it or choose another path\n"),
        closed / "x.sock": (
            *(1, ""),
            f"{place}: cannot make {closed / 'x.sock'}: Permission denied; {remedy}\n",
        ),
        taken / "x.sock": (*(1, ""), f"{place}: cannot make {taken / 'x.sock'}: File exists; {remedy}\n"),
    }
    assert taken.read_text() == "precious"
    assert space.devices() == {"lo"}


def test_a_socket_somebody_else_listens_on(net: Net, directory: Path) -> None:
    """It is no framebridge, but it lives: it stays, and is named."""
    path = directory / "other.sock"
    file = directory / "bad.toml"
    file.write_text(document(path, port("a", "tap", "tap0", access=10)))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.bind(str(path))
        other.listen()

        status, out, err = run_command("run", str(file), space=net.namespace())

    assert (status, out) == (1, "")
    assert f"already running (pid {os.getpid()}): a daemon holds {path}; stop it or choose" in err
    assert path.is_socket()


# -- the control socket ------------------------------------------------------------------------------


@pytest.fixture
def busy(net: Net, start: Start) -> Iterator[Daemon]:
    """A daemon with a steady stream through it, of which nothing may be lost while clients misbehave."""
    middle, one, other = (net.namespace() for _ in range(3))
    bridge = start(middle, tap("one", one, access=10), tap("other", other, access=10))
    with stream(host(one, "tap0", 10, 1), host(other, "tap0", 10, 2)) as running:
        yield bridge
        running.wait_more()


GARBAGE = {
    "noise": random.Random(1).randbytes(4096).replace(b"{", b"}") + b"\0",
    "no object": b"[1, 2]\0",
    "no method": b'{"parameters": {}}\0',
    "half a line of HTTP": b"GET / HTTP/1.1\r\n\r\n\0",
    "an endless message": b"x" * (1 << 21),
    "nesting without end": b'{"method": ' + b"[" * 100_000 + b"\0",
    "an empty message": b"\0",
}


def bad_message(bridge: Daemon, data: bytes) -> tuple[str, bool]:
    """The error that answers some bytes, and whether the connection is closed after it."""
    with Wire(str(bridge.socket)) as wire:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            wire.socket.sendall(data)
        reply = wire.receive() or {}
        return reply.get("error", ""), wire.receive() is None


def test_garbage_on_the_control_socket_harms_nobody(busy: Daemon) -> None:
    shape = busy.rows("vlan", "show")
    with Wire(str(busy.socket)) as bystander:
        answers = {name: bad_message(busy, data) for name, data in GARBAGE.items()}

        assert answers == dict.fromkeys(GARBAGE, ("org.framebridge.BadMessage", True))
        assert bystander.call("Version")["parameters"]["rows"][0]["pid"] == busy.pid
    assert busy.rows("vlan", "show")[0]["tagged"] == shape[0]["tagged"]


def test_bad_calls_are_answered_by_name_and_the_connection_goes_on(busy: Daemon) -> None:
    with Wire(str(busy.socket)) as wire:
        replies = [
            wire.call("NoSuchMethod"),
            wire.call("PortShow", prot="one"),
            wire.call("PortShow", port=7),
            wire.call("PortDel"),
            wire.call("PortDel", port="nobody"),
            wire.call("PortAdd", port={"name": "x"}),
            wire.call("Reload", toml="[bridge"),
            wire.call("Monitor"),
        ]
        assert [reply["error"].rpartition(".")[2] for reply in replies] == [
            *("MethodNotFound", "InvalidParameter", "InvalidParameter", "InvalidParameter"),
            *("NoSuchPort", "ConfigInvalid", "ConfigInvalid", "ExpectedMore"),
        ]
        assert all(reply["parameters"]["message"] for reply in replies)
        assert [row["port"] for row in wire.call("PortShow")["parameters"]["rows"]] == ["one", "other"]


def test_a_half_sent_message_ends_only_its_own_connection(busy: Daemon) -> None:
    """After five seconds, or at once when the sender hangs up; others are served meanwhile."""
    half = b'{"method": "org.framebridge.PortDel", "parameters": {"port": "one"}}'
    with Wire(str(busy.socket)) as waiting, Wire(str(busy.socket)) as leaving:
        for wire in (waiting, leaving):
            wire.socket.sendall(half)
        leaving.socket.shutdown(socket.SHUT_WR)
        left = leaving.receive()
        assert len(busy.rows("port", "show")) == 2
        late = waiting.receive()

    assert [reply and reply["error"] for reply in (left, late)] == ["org.framebridge.BadMessage"] * 2
    assert left["parameters"]["message"] == "the connection ended in the middle of a message"  # type: ignore[index]
    assert "no end of the message within 5 s" in late["parameters"]["message"]  # type: ignore[index]
    assert [row["port"] for row in busy.rows("port", "show")] == ["one", "other"]


def test_a_monitor_that_stops_reading_misses_events_and_is_told_how_many(net: Net, start: Start) -> None:
    """Others hear everything meanwhile; when it reads again, what it saw and what it lost add up."""
    middle, guest = net.namespace(), net.namespace()
    bridge = start(middle, tap("guest", guest, access=10))
    wire, count, burst = net.packet_socket("tap0", guest), 9000, 500
    with listening(bridge) as lazy, listening(bridge) as keen:
        for first in range(1, count + 1, burst):
            for number in range(first, first + burst):
                wire.send(frames.ethernet(frames.BROADCAST, frames.host(number)))
            heard = [next_event(keen)["mac"] for _ in range(burst)]
            assert heard == [format_mac(number + (2 << 40)) for number in range(first, first + burst)]
        seen = lost = 0
        while seen + lost < count:
            event = next_event(lazy)
            seen += event["event"] == "fdb-learned"
            lost += event.get("lost", 0)

    assert lost > 0
    assert seen + lost == count
    assert len(bridge.fdb()) == count


@contextlib.contextmanager
def listening(bridge: Daemon) -> Iterator[Wire]:
    """A connection that monitors."""
    with Wire(str(bridge.socket)) as wire:
        wire.send({"method": "org.framebridge.Monitor", "more": True})
        assert wire.receive() == {"parameters": {"rows": []}, "continues": True}
        yield wire


def next_event(wire: Wire) -> dict[str, Any]:
    reply = wire.receive()
    assert reply is not None, "the daemon hung up"
    return dict(reply["parameters"]["rows"][0])
