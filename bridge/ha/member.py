"""A bridge as a member of a pair: the gate in front of it, its paths, its health, and what becomes of it.

Job: put `[pair]` in force and out of it (`configure`); open paths as ports and devices come and go (`settle`); tell the
data thread whether all carriers are there, at once when one goes (`device_changed`); hand what it reports to the world,
to the announcer and to the sync (`stepped`, `keep`). What a member decides is csrc/ha/pair.h, and the data thread does
it; nothing here can open the gate.
Thread: control; sockets are opened in the threads of their namespaces.

Theory of operation. The gate is closed before the first port of a bridge opens, and stays in front of it until the pair
is left. A member joins as soon as there is a path. A change of what members agree on (id, secret, interval, priority)
makes it leave, which hands the gate over, and join again; everything else is changed in place.

Refuses, as ConfigError: a secret that is none; as DeviceError: a control device that is not there, unless the pair was
in force already.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import logging
import os
import socket
import time
from typing import Literal, NamedTuple

from bridge.config.pair import NO_PAIR, PairConfig
from bridge.core._core import Bridge, Event
from bridge.core._ha import (
    PAIR_STATES,
    PAIR_STEPS,
    boot_clock,
    drive_pair,
    gate_fd,
    read_gate,
    set_gate,
    set_pair_paths,
    start_pair,
    stop_pair,
)
from bridge.core.values import PairPeer, PairState
from bridge.devices.device import Device, DeviceError, explain
from bridge.devices.devices import Devices
from bridge.errors import FramebridgeError
from bridge.events import Emit
from bridge.fdb.learning import Learning
from bridge.ha.announce import Announcer
from bridge.ha.paths import BEACON, SYNC, open_path
from bridge.ha.secret import read_secret
from bridge.ha.sync import NOBODY, Peers, Sync, Who
from bridge.ha.witness import Witness
from bridge.mac import format_mac
from bridge.ports.attachment import Attachment
from bridge.ports.table import PortTable

log = logging.getLogger(__package__)

Row = dict[str, object]
Verb = Literal["read", "healthy", "sick", "hold", "resume", "switch"]

NS = 1_000_000_000
TOLD_EVERY = 10.0  # seconds between two warnings of the same kind

_TOLD = {  # what a step tells of: event, and the words for the log
    "conflict": (
        "pair-conflict",
        "another member forwards, too: the one with the lesser epoch or priority gives way",
    ),
    "deaf": ("peer-deaf", "a member forwards that does not hear this one: this one gives way"),
    "lost": ("peer-lost", "a member fell silent"),
    "crowd": (
        "pair-crowd",
        "more than two members, or two with one id: set [bridge] address, or correct [pair] id",
    ),
}
_REFUSED = {
    errno.EPERM: "this member does not forward, so it has nothing to hand over; ask the other one",
    errno.ENOLINK: "no other member could forward that hears this one; see `framebridge pair show`",
}


class Place(NamedTuple):
    """Where a path is; `ifindex` tells a device from another one of its name."""

    netns: str | None
    device: str
    ifindex: int


class Member:
    """The membership of one bridge."""

    def __init__(
        self,
        core: Bridge,
        devices: Devices,
        ports: PortTable,
        own_address: int,
        emit: Emit,
        learning: Learning,
        socket_path: str,
    ) -> None:
        self.config = NO_PAIR
        self.state = "none"  # as last reported
        self.announcer = Announcer(core, learning.known)
        self.sync = Sync(learning.known, learning.store, self._look)
        self.witness = Witness(socket_path)
        self._joining = asyncio.Event()
        self._core = core
        self._devices = devices
        self._ports = ports
        self._own_address = own_address
        self._emit = emit
        self._secret = b""
        self._session = 0
        self._joined = False
        self._held = False
        self._places: tuple[Place, ...] = ()
        self._seen: dict[tuple[str | None, int], Device | None] = {}  # as last heard of, by index
        self._is_healthy: bool | None = None  # as the data thread was told
        self._warned: dict[str, float] = {}

    @property
    def is_on(self) -> bool:
        """Whether the bridge is in a pair."""
        return bool(self.config.id)

    @property
    def pair_id(self) -> int:
        """The pair, as beacons name it."""
        return int.from_bytes(hashlib.blake2s(self.config.id.encode(), digest_size=8).digest(), "big")

    @property
    def member_id(self) -> int:
        """Name this member as beacons do: the bridge's own address."""
        return self._own_address

    # -- in force, and out of it

    async def configure(self, config: PairConfig) -> None:
        """Put `[pair]` in force; `settle` does the rest."""
        before = self.config
        if config == before:
            return
        secret = await asyncio.to_thread(read_secret, config.secret_file) if config.id else b""
        for device in config.control if config.id else ():
            if await self._devices.get(device) is None:
                raise DeviceError(
                    device, None, "there is no such device; create it, or take it out of [pair] control"
                )
        if config.id and not before.id:
            set_gate(self._core, True)
            self.witness.listen()
        if not config.id or self._agreed(config, secret) != self._agreed(before, self._secret):
            self._leave()
        self.config, self._secret, self._places = config, secret, ()
        if before.id and not config.id:
            set_gate(self._core, False)
            self.witness.close()
            self._set_state("none")
            log.warning("this bridge is in no pair any more, and forwards whatever others do")

    @staticmethod
    def _agreed(config: PairConfig, secret: bytes) -> tuple[object, ...]:
        return config.id, config.interval, config.priority, config.preempt_delay, secret

    def close(self) -> None:
        """Hand the gate over and leave; the gate stays closed. Idempotent."""
        self._leave()
        self.witness.close()

    def _leave(self) -> None:
        self.witness.dismiss()
        if self._joined:
            stop_pair(self._core)
        self.announcer.end()
        self.sync.close()
        self._joining.clear()
        self._joined, self._is_healthy = False, None

    async def settle(self) -> None:
        """Use the paths that there are by now."""
        if not self.is_on:
            return
        places = await self._find_places()
        if places and (places != self._places or not self._joined):
            paths = await self._open(places, BEACON)
            last = [path.dup() for path in paths]
            if paths and self._use(paths):
                self._places = places
                self.sync.use(await self._open(places, SYNC), self._who, self._own_address)
                await asyncio.to_thread(self._start_witness, [path.detach() for path in last])
                self._joining.set()
        self._tell_health()

    def _start_witness(self, paths: list[int]) -> None:
        self.witness.tell(
            gate_fd(self._core),
            paths,
            pair=self.pair_id,
            member=self.member_id,
            session=self._session,
            priority=self.config.priority,
            secret=self._secret.hex(),
            hang=self.config.hang,
        )
        self.witness.start()

    @property
    def _who(self) -> Who:
        return Who(self.pair_id, self.member_id, self._session, self._secret)

    async def keep(self) -> None:
        """Send the other member what the FDB has, for as long as there is a pair."""
        while True:
            await self._joining.wait()
            await self.sync.wait()
            try:
                if not self.witness.is_there:
                    await asyncio.to_thread(self.witness.start)
                await self.sync.serve()
            except Exception:
                log.exception("the sync of the FDB")

    def _look(self) -> Peers:
        """See who forwards, and who listens."""
        if (found := self.read()) is None:
            return NOBODY
        peers = [peer for peer in found.peers if not peer.lost]
        sessions = {peer.member: peer.session for peer in peers}
        forwarding = {peer.member: peer.session for peer in peers if peer.forwards}
        return Peers(found.state == "active", sessions, forwarding)

    async def _find_places(self) -> tuple[Place, ...]:
        found = [
            Place(one.config.place[1], one.device.name, one.device.index)
            for one in self._links()
            if one.port is not None and one.device is not None
        ]
        for name in self.config.control:
            if (device := await self._devices.get(name)) is not None:
                found.append(Place(None, device.name, device.index))
        return tuple(found)

    async def _open(self, places: tuple[Place, ...], magic: int) -> list[socket.socket]:
        paths = []
        for place in places:
            try:
                paths.append(await self._devices.run_in(place.netns, open_path, place.device, magic))
            except OSError as error:  # it went away meanwhile, which will be heard of
                log.warning("%s", explain(error, place.device, place.netns, "send beacons there"))
        return paths

    def _use(self, paths: list[socket.socket]) -> bool:
        """Join, or go on, with these paths; they are the data thread's then."""
        fds = [path.fileno() for path in paths]
        try:
            if self._joined:
                set_pair_paths(self._core, fds)
            else:
                self._join(fds)
        except OSError as error:
            log.error("cannot use the paths of the pair: %s", os.strerror(error.errno or 0))
            for path in paths:
                path.close()
            return False
        for path in paths:
            path.detach()
        return True

    def _join(self, fds: list[int]) -> None:
        self._session = max(time.time_ns(), self._session + 1)
        start_pair(
            self._core,
            pair=self.pair_id,
            member=self.member_id,
            session=self._session,
            interval=round(self.config.interval * NS),
            preempt=round(self.config.preempt_delay * NS),
            priority=self.config.priority,
            secret=self._secret,
            source=self._own_address,
            paths=fds,
        )
        self._joined, self._is_healthy = True, None
        if self._held:
            self._drive("hold")
        self._set_state("ineligible")

    # -- health

    def _links(self) -> list[Attachment]:
        return [one for one in self._ports if self.config.is_path(one.config)]

    def troubles(self) -> list[str]:
        """Say why this member may not forward, as far as its ports and an operator go."""
        if not self.is_on:
            return []
        found = ["held by `pair hold`"] if self._held else []
        found += [] if self._joined else ["no path that beacons could take"]
        return found + [trouble for one in self._links() if (trouble := self._trouble(one))]

    def _trouble(self, attachment: Attachment) -> str:
        config = attachment.config
        device = attachment.device
        if device is not None:
            device = self._seen.get((config.place[1], device.index), device)
        if attachment.port is None or not attachment.ready or device is None:
            return f"port {config.name} is missing its device"
        if not config.admin_up:
            return f"port {config.name} is disabled"
        if not device.up or not device.carrier:
            return f"port {config.name} has no carrier"
        return ""

    def device_changed(self, netns: str | None, device: Device, present: bool) -> None:
        """Hear of a device; a carrier that went is told at once, not when its port is looked at."""
        if not self.is_on:
            return
        if any(one.config.place[1] == netns and one.is_of(device) for one in self._links()):
            self._seen[netns, device.index] = device if present else None
            self._tell_health()

    def _tell_health(self) -> None:
        if not self._joined:
            return
        is_healthy = not any(map(self._trouble, self._links()))
        if is_healthy != self._is_healthy:
            self._is_healthy = is_healthy
            self._drive("healthy" if is_healthy else "sick")

    # -- commands

    def read(self) -> PairState | None:
        """Give what is the case; None: no member at work."""
        return self._drive("read") if self._joined else None

    async def switch(self) -> None:
        """Hand the gate to the other member; FramebridgeError: there is none that could take it.

        It knows all stations by then: what changed a moment ago is sent before the gate closes.
        """
        if not self._joined:
            raise FramebridgeError("; ".join(self.troubles()) or "this bridge is in no pair; see [pair]")
        await self.sync.serve()
        try:
            self._drive("switch")
        except OSError as error:
            raise FramebridgeError(_REFUSED.get(error.errno or 0, os.strerror(error.errno or 0))) from None

    def hold(self, held: bool) -> None:
        """Let this member not forward, whatever happens, or let it again. It lasts until the daemon ends."""
        if not self.is_on:
            raise FramebridgeError("this bridge is in no pair; see [pair]")
        self._held = held
        if self._joined:
            self._drive("hold" if held else "resume")

    def _drive(self, verb: Verb) -> PairState:
        return drive_pair(self._core, verb)

    # -- telling

    def stepped(self, event: Event) -> None:
        """Hear what the data thread did, or saw another member do."""
        state = PAIR_STATES[event.port][0]
        steps = frozenset(name for bit, (name, _) in enumerate(PAIR_STEPS) if event.errno >> bit & 1)
        for step, (name, words) in _TOLD.items():
            if step in steps:
                self._emit(name, epoch=event.mac)
                self._warn(step, words)
        self._set_state(state, event.mac)
        self.sync.look()
        if state != "active":
            self.announcer.end()
        elif "announce" in steps:
            self.announcer.begin(self.config.announce)

    def _set_state(self, state: str, epoch: int = 0) -> None:
        if state == self.state:
            return
        self.state = state
        if state == "none":
            return
        found = self.read()
        more: Row = {}
        if state == "active" and found is not None and found.gap:
            more["gap_ms"] = round(found.gap / 1e6, 1)
        if state == "ineligible":
            more["reason"] = "; ".join(self.troubles()) or None
        log.info("pair %s: this member is %s%s", self.config.id, state, f", epoch {epoch}" if epoch else "")
        self._emit(f"pair-{state}", epoch=epoch, **more)

    def _warn(self, kind: str, words: str) -> None:
        now = time.monotonic()
        if now - self._warned.get(kind, -TOLD_EVERY) >= TOLD_EVERY:
            self._warned[kind] = now
            log.warning("pair %s: %s", self.config.id, words)

    def rows(self) -> list[Row]:
        """One row for this member, and one for each other that was heard; none: the bridge is in no pair."""
        if not self.is_on:
            return []
        found = self.read()
        now = boot_clock()
        return [self._own_row(found, now), *(_peer_row(peer, now) for peer in (found.peers if found else ()))]

    def _own_row(self, found: PairState | None, now: int) -> Row:
        until, epoch, _ = read_gate(self._core)
        return {
            "member": format_mac(self.member_id),
            "who": "self",
            "pair": self.config.id,
            "state": found.state if found else "ineligible",
            "priority": self.config.priority,
            "epoch": found.epoch if found else epoch,
            "gate": "open" if until > now else "closed",
            "lease_ms": max(until - now, 0) // 1_000_000 if until > now else None,
            "eligible": bool(found and found.healthy and not found.held),
            "hears": None,
            "heard_ms": None,
            "since": round((now - found.since) / 1e9, 1) if found else None,
            "gap_ms": round(found.gap / 1e6, 1) if found and found.gap else None,
            "synced": self._synced(),
            "reason": "; ".join(self.troubles()) or None,
        }

    def _synced(self) -> float | None:
        """Say how many seconds ago this member had all that the other one knew; None: it forwards, or never had."""
        at = self.sync.completed
        return None if at is None or self.state == "active" else round(time.monotonic() - at, 1)

    async def announce(self, vid: int | None = None) -> int:
        """Tell switches once where stations are; returns how many frames left."""
        return await self.announcer.announce(self.config.announce, vid)

    def counters(self) -> dict[str, int]:
        """Count beacons, by what became of them; none: no member at work."""
        found = self.read()
        return dict(found.counters) if found else {}


def _peer_row(peer: PairPeer, now: int) -> Row:
    state = (
        "lost" if peer.lost else "active" if peer.forwards else "standby" if peer.eligible else "ineligible"
    )
    return {
        "member": format_mac(peer.member),
        "who": "peer",
        "pair": None,
        "state": state,
        "priority": peer.priority,
        "epoch": peer.epoch,
        "gate": None,
        "lease_ms": None,
        "eligible": peer.eligible,
        "hears": peer.hears,
        "heard_ms": (now - peer.heard) // 1_000_000,
        "since": None,
        "gap_ms": None,
        "synced": None,
        "reason": None,
    }
