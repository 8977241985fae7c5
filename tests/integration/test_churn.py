"""Everything changes all the time while traffic flows: settings, files, links, devices, namespaces.

    a (10) ═╗                                      noise: frames of every kind on every wire of a, b, c and outside
    b (10) ═╬═ framebridge ═ eth1 ── veth ── eth0  the pair d, e (VLAN 40) is touched by nobody
    c (20) ═╝ ╚═ d (40), e (40)

After every change the books balance; the pair loses nothing; in the end everything is as it was, and the daemon
holds no more descriptors, threads and memory than half way through. Changes come from a seed; a failing run tells
which. FRAMEBRIDGE_CHURN_ROUNDS changes (`make test-overload`: more).
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from helpers import frames
from helpers.daemon import Daemon, check_balance, link, tap
from helpers.hosts import host, stream
from helpers.kernel import VNET_GSO_TCPV4, VNET_NEEDS_CSUM, VnetHeader
from helpers.lan import Lan
from helpers.net import Namespace, Net, open_packet_socket, wait_until
from pyroute2.netlink.exceptions import NetlinkError

from bridge.errors import ControlError

pytestmark = [pytest.mark.root, pytest.mark.storm, pytest.mark.timeout(600)]

ROUNDS = int(os.environ.get("FRAMEBRIDGE_CHURN_ROUNDS", "60"))
STATES = ("a", "b", "c", "uplink", "d", "e")
SANITIZED = "libasan" in os.environ.get("LD_PRELOAD", "")  # it keeps what was freed
MEMORY_KB = 1 << 20 if SANITIZED else 8192  # how much the daemon may have grown in the second half
PLACES = [("a", "tap0"), ("b", "tap0"), ("c", "tap0"), ("outside", "eth0")]


class Noise:
    """Frames of every kind on some wires, as fast as one thread sends; devices may come and go meanwhile."""

    def __init__(self, seed: int, spaces: dict[str, Namespace]) -> None:
        self._random = random.Random(seed)
        self._spaces = spaces
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.sent: Counter[str] = Counter()

    def __enter__(self) -> Noise:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._end.is_set():
            for name, device in PLACES:
                with contextlib.suppress(OSError):  # no such device, or it is down
                    self._shout(name, device)

    def _shout(self, name: str, device: str) -> None:
        """A burst from one place."""
        with self._spaces[name].run(open_packet_socket, device, vnet=True) as sock:
            for _ in range(100):
                sock.send(self._frame(name))
                self.sent[name] += 1

    def _frame(self, name: str) -> bytes:
        """From one of a few stations to another, to a group or to nobody; plain, tagged, long or a super-frame."""
        chance = self._random
        source = frames.host(
            PLACES.index((name, "eth0" if name == "outside" else "tap0")) * 16 + chance.randrange(8)
        )
        to = chance.choice([frames.host(chance.randrange(64)), frames.BROADCAST, frames.group(1)])
        tags = (
            [frames.tag(chance.choice([10, 20, 30, 999]))]
            if chance.random() < (name == "outside") * 0.9
            else []
        )
        if chance.random() < 0.2:
            one = LONG[len(tags)]
            vnet = VnetHeader(
                VNET_NEEDS_CSUM, VNET_GSO_TCPV4, one.hdr_len, 1000, one.csum_start, one.csum_offset
            )
            return vnet.pack() + to + source + b"".join(tags) + one.data[12 + 4 * len(tags) :]
        return VnetHeader().pack() + frames.ethernet(
            to, source, *tags, payload=chance.choice([46, 400, 1500])
        )


LONG = [frames.tcp(bytes(6), bytes(6), *[frames.tag(1)] * n, payload_len=30_000) for n in (0, 1)]


class Churn:
    """Changes, one after the other. What needs undoing is undone by `restore`."""

    def __init__(self, net: Net, lan: Lan, seed: int) -> None:
        self._net, self._lan = net, lan
        self._bridge = lan.bridge
        self._random = random.Random(seed)
        self.done: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()

    def round(self) -> None:
        """One change of any kind; refused is fine as long as it is said, unforeseen is not."""
        change = self._random.choice(
            [self.set, self.reload, self.carrier, self.delete_trunk, self.delete_tap, self.guest, self.fdb]
        )
        try:
            change()
            self.done[change.__name__] += 1
        except ControlError:
            self.refused[change.__name__] += 1

    def set(self) -> None:
        """A setting of one port."""
        changes: list[dict[str, Any]] = [
            {"enabled": False},
            {"enabled": True},
            {"isolated": True},
            {"isolated": None},
            {"learning": False},
            {"learning": None},
            {"mtu": 1400},
            {"mtu": 9000},
            {"mtu": None},
            {"mac_limit": 3},
            {"mac_limit": None},
            {"flood": ["broadcast"]},
            {"flood": None},
        ]
        name = self._random.choice(["a", "b", "c", "uplink"])
        if name != "uplink":
            vlans = [{"access": 10}, {"access": 20}, {"trunk": [10, 20, 30]}, {"tunnel": 10}]
            changes += [{"vlan": vlan} for vlan in vlans]
        self._bridge.ask("PortSet", port=name, changes=self._random.choice(changes))

    def reload(self) -> None:
        """A file with some ports left out, changed, or as they were."""
        spaces = self._lan.spaces
        forms = {
            "a": [None, tap("a", spaces["a"], access=20, isolated=True)],
            "b": [None, tap("b", spaces["b"], trunk=[10, 20], native=10, mtu=9000)],
            "c": [None, tap("c", spaces["c"], tunnel=20)],
            "uplink": [link("uplink", "eth1", trunk=[10], tpid="802.1ad")],
        }
        chosen = self._random.sample(sorted(forms), self._random.randint(0, 3))
        self._lan.rewrite(**{name: self._random.choice(forms[name]) for name in chosen})
        self._bridge.ask("Reload")

    def carrier(self) -> None:
        """A link goes down, or up again."""
        name, device = self._random.choice([*PLACES, ("middle", "eth1")])
        state = self._random.choice(["down", "up"])
        with contextlib.suppress(OSError):  # there is none at the moment
            self._lan.spaces[name].set_link(device, state=state)

    def delete_trunk(self) -> None:
        """The trunk vanishes; a new one comes."""
        with contextlib.suppress(OSError):
            self._lan.spaces["middle"].delete_link("eth1")
        self.make_trunk()

    def make_trunk(self) -> None:
        if "eth1" not in self._lan.spaces["middle"].devices():
            self._net.veth("eth1", "eth0", self._lan.spaces["middle"], self._lan.spaces["outside"])

    def delete_tap(self) -> None:
        """The device of a guest vanishes; somebody makes another."""
        space = self._lan.spaces[self._random.choice("abc")]
        with contextlib.suppress(OSError):
            space.delete_link("tap0")
        if self._random.random() < 0.5:
            self.make_tap(space)

    def make_tap(self, space: Namespace) -> None:
        if "tap0" not in space.devices():
            with contextlib.suppress(NetlinkError):  # the daemon was faster
                space.netlink(lambda ipr: ipr.link("add", ifname="tap0", kind="tuntap", mode="tap"))

    def guest(self) -> None:
        """A guest comes, and its namespace goes before its port does."""
        space = self._net.namespace()
        port = {"name": "late", "kind": "tap", "device": "tap0", "netns": space.name, "vlan": {"access": 10}}
        self._bridge.ask("PortAdd", port=port)
        space.remove()
        self._bridge.ask("PortDel", port="late")

    def fdb(self) -> None:
        """Entries by hand, and flushes."""
        mac, port = f"02:00:00:00:00:{self._random.randrange(64):02x}", self._random.choice("abc")
        calls: list[Callable[[], object]] = [
            lambda: self._bridge.ask("FdbAdd", mac=mac, vlan=10, port=port, kind="static"),
            lambda: self._bridge.ask("FdbAdd", mac=mac, vlan=10, kind="drop"),
            lambda: self._bridge.ask("FdbDel", mac=mac, vlan=10),
            lambda: self._bridge.ask("FdbFlush", port=port),
            lambda: self._bridge.ask("FdbFlush"),
        ]
        self._random.choice(calls)()

    def restore(self) -> None:
        """The file as it was, every device there and up."""
        self.make_trunk()
        self._lan.rewrite()
        self._bridge.ask("Reload")
        for name in "abc":
            self.make_tap(self._lan.spaces[name])
        for name, device in [*PLACES, ("middle", "eth1")]:
            self._lan.spaces[name].set_link(device, state="up")
        for name in STATES:
            self._bridge.wait_state(name, "up")


class Held(NamedTuple):
    """What a process holds; memory in KB."""

    descriptors: int
    threads: int
    memory: int


def held(bridge: Daemon) -> Held:
    process = Path(f"/proc/{bridge.pid}")
    status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    return Held(len([*(process / "fd").iterdir()]), int(status["Threads"]), int(status["VmRSS"].split()[0]))


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_breaks_and_nothing_is_left(net: Net, lan: Lan, seed: int) -> None:
    pair = {name: net.namespace() for name in "de"}
    lan.ports |= {name: tap(name, space, access=40) for name, space in pair.items()}
    lan.rewrite()
    lan.bridge.ask("Reload")
    one, other = (host(space, "tap0", 40, number) for number, space in enumerate(pair.values(), 1))
    shape = [row | {"index": 0} for row in lan.shape()]
    churn = Churn(net, lan, seed)
    with Noise(seed, lan.spaces) as noise, stream(one, other), stream(other, one):
        for half in range(2):
            for _ in range(ROUNDS // 2):
                churn.round()
                check_balance(lan.bridge.ask("StatsShow"))
            churn.restore()
            if half == 0:
                before = held(lan.bridge)

    assert [row | {"index": 0} for row in lan.shape()] == shape  # who left and came back may sit elsewhere
    wait_until(
        lambda: held(lan.bridge).descriptors <= before.descriptors, f"no more descriptors than {before}"
    )
    after = held(lan.bridge)
    assert after.threads <= before.threads
    assert after.memory < before.memory + MEMORY_KB
    assert min(noise.sent.values()) > 0
    print(
        f"done {dict(churn.done)}, refused {dict(churn.refused)}, noise {dict(noise.sent)}, {before}, {after}"
    )


def test_a_port_opened_with_an_mtu_gives_it_back(lan: Lan) -> None:
    """A reload without the key leads where a restart would: the tap is as it is when it was just made."""
    lan.rewrite(b=None)
    lan.bridge.ask("Reload")
    for table, mtu in ((tap("b", lan.spaces["b"], access=10, mtu=9000), 9000), (lan.ports["b"], 1500)):
        lan.rewrite(b=table)
        lan.bridge.ask("Reload")
        assert (lan.spaces["b"].link("tap0") or {})["mtu"] == lan.bridge.port("b")["mtu"] == mtu
