"""Targets whose ports are network devices, and how one knows that they are done with a frame.

    hosts namespace:   A    B    T      one device per port; packet sockets of the test send and listen here
                       |    |    |      veth pairs, or the two sides of a tap
    bridge namespace:  A.br B.br T.br   what is bridged

Job: send, and collect everything that comes out because of it, without a guess how long that takes. After the
frames, *fences* are sent: broadcasts with a mark, told apart and left out. A fence from the same port is behind the
frames on its way in; a second one, sent when the first has come out, is behind everything the bridge did with the
batch of the first. Ports that a fence from there cannot reach get one from a port that reaches them. Whatever came
out of a port before its last fence is the result. A port keeps frames in order, so nothing can be missed. No fence
enters by a port that does not receive, nor leaves by one that does not send: the fences of the others stand for theirs.

A fence must not change what is tested: its source is a station nobody else uses (FENCE and above), which `fdb` leaves
out. Where one more station matters (a port or a bridge with a limit), it is the address the port spoke from last. It is
a broadcast, or another kind of flood where those are not flooded or storm control limits them. The thread stays on one
CPU while it sends and collects: then veth's queues (one per CPU) are in order, too. Bursts longer than CHUNK are sent
in pieces, each with its fences: no target has to queue more than that.
"""

from __future__ import annotations

import itertools
import struct
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from helpers import frames
from helpers.net import DEADLINE, Namespace, Net, PacketSocket, one_cpu

from conformance.scenario import Entry, Mirror, Port
from conformance.target import Ports, Target

FENCE = 0xF00000  # stations from here on are fences
FENCE_TYPE = 0x88B6  # IEEE 802 local experimental 2
MARK = struct.Struct("!H4sI")
MAGIC = b"FNCE"
CHUNK = 128

# a destination that port flags treat as each of these
DESTINATIONS = {
    "broadcast": frames.BROADCAST,
    "multicast": frames.group(FENCE),
    "unknown": frames.host(FENCE + 0xFFFF),
}


class Route(NamedTuple):
    """How a fence gets from a port to others: in which VLAN, as which kind of flood."""

    vid: int
    kind: str


class WiredTarget(Target):
    """The traffic half of a target; subclasses make the bridge and its devices."""

    def __init__(
        self,
        net: Net,
        ports: Ports,
        mirrors: tuple[Mirror, ...] = (),
        *,
        is_tight: bool = False,
        spaces: tuple[Namespace, Namespace] | None = None,
    ) -> None:
        """`is_tight`: one more station would matter, wherever it is. `spaces`: for the hosts and for the bridge."""
        self.net = net
        self.ports = dict(ports)
        self.mirrors = mirrors
        self.hosts, self.middle = spaces or (net.namespace(), net.namespace())
        self.down: set[str] = set()
        self.wires: dict[str, PacketSocket] = {}
        self._is_tight = is_tight
        self._serial = itertools.count(1)
        self._last: dict[str, bytes] = {}  # source of the last frame sent to a port

    def make_veths(self) -> None:
        for name, port in self.ports.items():
            self.net.veth(bridge_side(name), host_side(name), self.middle, self.hosts, mtu=port.mtu)

    def open_wires(self) -> None:
        """Listen at every port; call it when the devices are there and up."""
        for name in self.ports:
            self.wires[name] = self.net.packet_socket(host_side(name), self.hosts)

    # -- traffic

    def send(self, port: str, frames: Sequence[bytes]) -> dict[str, list[bytes]]:
        seen: dict[str, list[bytes]] = {name: [] for name in self.watched}
        with one_cpu():
            for first in range(0, max(len(frames), 1), CHUNK):
                self._send_piece(port, frames[first : first + CHUNK], seen)
        self.converge()
        return seen

    def _send_piece(self, port: str, frames: Sequence[bytes], seen: dict[str, list[bytes]]) -> None:
        for data in frames:
            self.wires[port].send(data)
            self._last[port] = data[6:12]
        reached = self._fence(port, self.watched, seen)
        if self.ports[port].receives:
            assert reached, f"nothing can tell when port {port} is done: no port shares a VLAN with it"
            self._fence(port, reached, seen)
        for other in sorted(self.watched - reached - self._mute):
            source = next((name for name in self._witnesses() if self._route(name, other)), None)
            assert source, f"port {other} cannot be watched: no port reaches it"
            self._fence(source, {other}, seen)
        for other in sorted(self._mute):
            seen[other] += [received.inline for received in self.wires[other].waiting()]

    def converge(self) -> None:
        """Return when what was learned holds for the next frame; most bridges need no time for that."""

    @property
    def watched(self) -> set[str]:
        return set(self.ports) - self.down

    @property
    def _mute(self) -> set[str]:
        """Ports that no fence comes out of."""
        return {name for name in self.watched if not self.ports[name].sends}

    def settle(self) -> None:
        """Return when frames from every port come out; whatever came out meanwhile is forgotten.

        A locked port would end fences, so it gets entries for them.
        """
        for name, port in self.ports.items():
            if port.keys.get("locked"):
                self.add([(vid, self._fence_address(name), name, "static") for vid in sorted(port.members)])
        for port in self._witnesses():
            if not self._is_full(port):
                self.send(port, [])

    def _is_full(self, port: str) -> bool:
        return self._is_tight or "mac_limit" in self.ports[port].keys

    def _witnesses(self) -> list[str]:
        """Ports to send fences from, those that may learn as they like first."""
        able = [name for name in self.watched if self.ports[name].members and self.ports[name].receives]
        return sorted(able, key=lambda name: (self._is_full(name), name))

    def _fence(self, source: str, targets: Iterable[str], seen: dict[str, list[bytes]]) -> set[str]:
        """Send fences towards those targets that can be reached; returns them, collected up to the fence."""
        routes: dict[str, Route] = {}
        for name in targets:
            if route := self._route(source, name):
                routes[name] = route
        serials = {route: next(self._serial) for route in set(routes.values())}
        for route, serial in serials.items():
            self.wires[source].send(self._fence_frame(source, route, serial))
        for name in sorted(routes):
            seen[name] += self._collect(name, serials[routes[name]])
        return set(routes)

    def _collect(self, name: str, serial: int) -> list[bytes]:
        """Everything that comes out of a port before a fence."""
        collected: list[bytes] = []
        end = time.monotonic() + DEADLINE
        while True:
            left = end - time.monotonic()
            assert left > 0, f"{self.title}: fence {serial} did not come out of {name}, but {collected}"
            data = self.wires[name].wait_inline(left)
            found = fence_serial(data)
            if found == serial:
                return collected
            if not found:
                collected.append(data)

    def _route(self, source: str, target: str) -> Route | None:
        one, other = self.ports[source], self.ports[target]
        shared = one.members & other.members
        if other.mode == "mirror":
            return next(
                (Route(vid, "broadcast") for vid in sorted(one.members) if self._copied(source, target, vid)),
                None,
            )
        if source == target or not shared or not (one.receives and other.sends):
            return None
        if (one.isolated and other.isolated) or (one.horizon and one.horizon == other.horizon):
            return None
        kinds = [kind for kind in DESTINATIONS if kind in other.flood and kind not in one.limited]
        return Route(min(shared), kinds[0]) if kinds else None

    def _copied(self, source: str, target: str, vid: int) -> bool:
        """Whether a broadcast from `source` is copied to a port that takes copies."""
        leaves_by = [name for name in self.watched - {source} if vid in self.ports[name].members]
        return any(
            mirror.to_port == target
            and (
                mirror.copies("rx", source, vid) or any(mirror.copies("tx", port, vid) for port in leaves_by)
            )
            for mirror in self.mirrors
        )

    def _fence_frame(self, source: str, route: Route, serial: int) -> bytes:
        port = self.ports[source]
        tags = [frames.tag(vid, tpid=tpid) for vid, tpid in port.tags(route.vid)]
        address = self._fence_address(source)
        if self._is_full(source):
            address = self._last.get(source, address)
        body = MARK.pack(FENCE_TYPE, MAGIC, serial).ljust(48, b"\0")
        return DESTINATIONS[route.kind] + address + b"".join(tags) + body

    def _fence_address(self, source: str) -> bytes:
        return frames.host(FENCE + list(self.ports).index(source))

    # -- what needs the devices only

    def carrier(self, port: str, up: bool) -> None:
        if up:
            self.hosts.set_link(host_side(port), state="up")
            self.hosts.wait_carrier(host_side(port))
            self.wait_port(port, up)
            self.wires[port].clear_error()  # ENETDOWN
            self.down.discard(port)
        else:
            self.down.add(port)
            self.hosts.set_link(host_side(port), state="down")
            self.wait_port(port, up)

    def wait_port(self, port: str, up: bool) -> None:
        """Return when the bridge knows of a changed carrier."""
        raise NotImplementedError

    def merge(self, port: str, to: Mapping[str, Any]) -> Port:
        self.ports[port] = self.ports[port].changed(to)
        return self.ports[port]


def host_side(port: str) -> str:
    return f"p{port}"


def bridge_side(port: str) -> str:
    return f"{port}.br"


def is_fence(mac: bytes) -> bool:
    return mac[0] == 2 and frames.number(mac) - frames.number(frames.host(0)) >= FENCE


def without_fences(entries: Iterable[Entry]) -> set[Entry]:
    return {entry for entry in entries if not is_fence(entry[1])}


def fence_serial(data: bytes) -> int:
    """The number of a fence, whatever tags it has by now; 0: it is none."""
    at = data.find(MAGIC, 14, 40)
    return MARK.unpack_from(data, at - 2)[2] if at > 0 else 0
