"""An attachment: one configured port, and the device it is attached to, if that is there.

Job: the state of a port and of its device; its MTU, its filter in the kernel, what it is in a snapshot. kinds.py opens
devices. Thread: control. Refuses, as PortError: an MTU that the device refuses.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

from bridge.config.port import PortConfig
from bridge.core._core import Port, Snapshot
from bridge.core.values import PortPlace, PortRow
from bridge.devices import stray
from bridge.devices.counters import Odometer
from bridge.devices.device import Device, DeviceError
from bridge.devices.devices import Devices
from bridge.devices.netlink import set_persist
from bridge.errors import PortError
from bridge.mac import stable_mac
from bridge.ports import lane, vlan_filter
from bridge.ports.vlan_filter import Program
from bridge.protect.security import secure

log = logging.getLogger(__package__)

T = TypeVar("T")

MEMORY_MTU = 1500
TAG_LEN = 4
MTU_MIN, MTU_MAX = 68, 65535  # what a snapshot takes


class Offered(NamedTuple):
    """A port of another process, whose descriptors are ours as well: its device, and where reading has got to."""

    attachment: tuple[str, str, str | None]
    home: tuple[int, int]
    ifindex: int
    place: PortPlace
    claim: int  # a descriptor, or -1
    is_made: bool
    is_stray: bool
    own_mtu: int | None


@dataclass(slots=True)
class Attachment:
    """One port of the configuration and what it is attached to."""

    config: PortConfig
    index: int
    bridge: str = ""  # what tells it from others of this machine
    offered: Offered | None = None  # to be taken over instead of opened
    was_adopted: bool = False  # it was, and another process has not stopped yet
    port: Port | None = None  # None: not attached
    device: Device | None = None  # the device as last seen; None: missing, or a memory port
    made: Device | None = None  # a device made for this port that does not vanish with it
    own_mtu: int | None = None  # of the device, from before the configuration set one
    ready: bool = False  # attached for good, and not leaving
    broken: bool = False  # to be detached: the device went away or failed
    failed: Device | None = None  # the device that failed last, not to be tried before `retry_at`
    retry_at: float = 0.0
    filter: Program | None = None  # in the kernel; None: every frame reaches the port
    filter_refused: Program | None = None  # what the kernel did not take
    has_lane: bool = False  # heartbeats may have a socket of their own
    lane: Program | None = None  # which frames go there
    lane_ports: tuple[frozenset[int], frozenset[int]] | None = (
        None  # as last asked for; None: no lane is wanted
    )
    judge: Callable[[int], None] | None = None  # of a port that is judged: puts the program on a socket
    judged: bool = False  # the socket has a program of the offload, which holds back what the filter would
    trouble: str = ""  # why it could not be attached, as last told
    state_reported: str = ""
    blocked: str = ""  # why it is out of forwarding for a time
    home: tuple[int, int] | None = None  # the namespace it was attached in, as netns(7) tells them apart
    is_stray: bool = False  # a tap that was moved to another namespace since
    claim: socket.socket | None = None  # keeps other daemons from a link
    dropped: Odometer | None = None  # of an attached tap: frames the kernel dropped in front of it
    is_gone: bool = False  # the device attached is gone, and `dropped` is its last word

    @property
    def guest_address(self) -> int:
        """The address of an interface that is made for a guest: as configured, or the same after each start."""
        return self.config.mac or stable_mac(self.bridge, self.config.name)

    @property
    def state(self) -> str:
        """Give up: attached, enabled, device up with carrier; blocked: but for that; missing: no device; down: else."""
        if self.config.can.has_device and self.device is None:
            return "missing"
        carrier = self.device is None or (self.device.up and self.device.carrier)
        if not (self.ready and self.config.admin_up and carrier):
            return "down"
        return "blocked" if self.blocked else "up"

    @property
    def mtu(self) -> int:
        """Layer-3 bytes: as configured, or the device's own."""
        own = self.device.mtu if self.device else MEMORY_MTU
        return min(max(self.config.mtu or own, MTU_MIN), MTU_MAX)

    def mtu_of(self, vid: int) -> int:
        """Layer-3 bytes that frames of a VLAN may have: a second tag of theirs is payload (R2)."""
        is_double = any(one.inner for one in self.config.translations if one.vid == vid)
        return self.mtu - TAG_LEN if is_double else self.mtu

    @property
    def filter_state(self) -> str | None:
        """Give on: the kernel holds back frames of other VLANs; off: it does not; None: it cannot."""
        if not self.config.can.takes_filter or self.port is None:
            return None
        return "off" if self.filter is None else "on"

    @property
    def identity(self) -> tuple[tuple[int, int], int] | None:
        """The device attached, as no other has it: namespace and index. None: there is none, or it is elsewhere."""
        if self.port is None or self.device is None or self.home is None or self.is_stray:
            return None
        return self.home, self.device.index

    def is_of_index(self, ifindex: int) -> bool:
        """Tell whether the device last seen has this number."""
        return self.device is not None and self.device.index == ifindex

    def is_of(self, device: Device) -> bool:
        """Check whether this is the device last seen, and not another one of its name."""
        return self.device is not None and self.device.index == device.index

    async def find(self, devices: Devices) -> Device | None:
        """Look for the device: the one attached, whatever it is called and, if we hold it, wherever it is now.

        While none is attached, the one of the name. None: it or its namespace is missing.
        """
        try:
            if self.port is None or self.device is None:
                return await devices.get(*self.config.place)
            netns = self.config.place[1]
            if not self.is_stray and await devices.identify(netns) == self.home:
                found = await devices.get_index(self.device.index, netns)
                if found is not None:
                    return found
        except DeviceError:
            pass
        return await self._follow() if self.port is not None else None

    async def _follow(self) -> Device | None:
        """Find a tap that was moved to another namespace, by its descriptor."""
        if not self.config.can.is_held or self.port is None:
            return None
        found = await asyncio.to_thread(stray.look, self.port.fd)
        if found is None or (self.home == found.namespace and not self.is_stray):
            return None  # it, or the name of its namespace, is gone
        self.is_stray = found.namespace != self.home
        if found.device is None and self.device is not None:  # nobody may look: it is taken to be up
            return replace(self.device, name=found.name, up=True, carrier=True)
        if self.dropped is not None and found.device is not None:
            self.dropped.read(found.device.tx_dropped)
            self.is_gone = self.is_stray
        return found.device

    def release(self) -> None:
        """Let go of what a port holds besides its descriptors; it is detached."""
        self.dropped, self.is_stray = None, False
        if self.claim is not None:
            self.claim.close()
            self.claim = None

    def holds(self, port: PortConfig) -> bool:
        """Check whether the device of this port is attached here."""
        return self.port is not None and self.config.attachment == port.attachment

    def read_dropped(self, tables: Callable[[str | None], Mapping[str, int]]) -> int:
        """Count the frames that the kernel dropped in front of an attached tap; `tables` by namespace."""
        if self.dropped is None:
            return 0
        name = self.device.name if self.device else self.config.device
        count = None if self.is_gone else tables(self.config.netns).get(name)
        return self.dropped.passed if count is None else self.dropped.read(count)

    def note_gone(self, device: Device) -> None:
        """Take the last word of the kernel about the device attached, which is another's name now or nobody's."""
        if self.dropped is not None and not self.is_gone:
            self.dropped.read(device.tx_dropped)
            self.is_gone = True

    async def remove_device(self, devices: Devices) -> None:
        """Remove the device if it was made for this port and is still the same; raises DeviceError."""
        made, self.made = self.made, None
        if made is not None:
            await devices.delete(made.name, self.config.place[1], made.index)

    async def configure_made(self, devices: Devices, wanted: PortConfig) -> None:
        """Give a device that we make another address, and say whether it stays; raises PortError."""
        if not self.config.can.is_made or self.port is None:
            return
        before, after = self.config, wanted
        if after.persist != before.persist:
            if self.config.can.is_held:
                set_persist(self.port.fd, after.persist)
            else:
                self.made = None if after.persist else self.device
        if after.mac == before.mac or self.is_stray:
            return
        device = self.config.device if self.config.can.is_pair or self.device is None else self.device.name
        try:
            await devices.set_mac(device, self.config.netns, after.mac or stable_mac(self.bridge, after.name))
        except DeviceError as error:
            raise PortError(self.config.name, str(error)) from error

    async def configure_mtu(self, devices: Devices, mtu: int | None) -> None:
        """Give the device the MTU configured, or back its own, if the kind does so; raises PortError.

        A device that is gone gets its MTU when it is attached again; in another namespace it is its owner's.
        """
        if not self.config.can.sets_mtu or mtu == self.config.mtu or self.device is None or self.is_stray:
            return
        if self.config.mtu is None:
            self.own_mtu = self.device.mtu
        if (wanted := mtu or self.own_mtu) is None:
            return
        try:
            await devices.set_mtu(self.device.name, self.config.place[1], wanted)
            if self.config.can.is_pair:
                await devices.set_mtu(self.config.device, self.config.netns, wanted)
        except DeviceError as error:
            if await self.find(devices) is not None:
                raise PortError(self.config.name, str(error)) from error
        self.device = await self.find(devices)

    def lift_filter(self) -> None:
        """Take a filter that the configuration no longer asks for out of the kernel; before a snapshot.

        Until `set_filter` every frame reaches the port, so that a change loses none the port carries.
        """
        if self.judged:
            return
        if self.port is not None and self.filter not in (None, vlan_filter.program(self.config)):
            for fd in self.sockets:
                vlan_filter.detach(fd)
            self.filter = None

    @property
    def sockets(self) -> list[int]:
        """The sockets that frames come by."""
        if self.port is None:
            return []
        return [self.port.fd, self.port.lane_fd] if self.has_lane else [self.port.fd]

    def set_lane(self, ports: tuple[frozenset[int], frozenset[int]] | None) -> None:
        """Have heartbeats come by the lane, if it can be had: those to these UDP ports, and broadcasts to those.

        None: no lane is wanted. After `set_filter`.
        """
        self.lane_ports = ports
        if self.port is None or self.port.lane_fd < 0 or (ports is None and not self.has_lane):
            return
        try:
            if not self.has_lane:
                lane.join(self.port.fd, self.port.lane_fd)
                self.has_lane = True
                self._filter_lane()
            main = lane.MAIN if self.port.spare_fd >= 0 else lane.SPARE
            program = lane.nowhere(main) if ports is None else lane.program(*ports, main)
            if program != self.lane and lane.is_joined(self.port.fd):
                lane.direct(self.port.lane_fd, program)
                self.lane = program
        except OSError as error:  # the device is down, or the kernel has no such groups
            log.debug("port %s: no lane for heartbeats: %s", self.config.name, error.strerror)

    def _filter_lane(self) -> None:
        """Put what the port's socket has on that of the lane, which let nothing pass before."""
        assert self.port is not None
        if self.judge is not None:
            self.judge(self.port.lane_fd)
        elif self.filter is not None:
            vlan_filter.attach(self.port.lane_fd, self.filter)
        else:
            with contextlib.suppress(OSError):  # there was none, of a port that was taken over
                vlan_filter.detach(self.port.lane_fd)

    def set_filter(self) -> None:
        """Have the kernel hold back what the snapshot now in force would drop; a kernel that cannot is logged."""
        if self.port is None:
            return
        wanted = vlan_filter.program(self.config)
        if self.judged:
            self.filter = wanted
            return
        if wanted in (None, self.filter, self.filter_refused):
            return
        try:
            for fd in self.sockets:
                vlan_filter.attach(fd, wanted)
            self.filter = wanted
        except OSError as error:
            self.filter_refused = wanted
            message = "port %s: no filter in the kernel: %s; frames of other VLANs are dropped by the bridge"
            log.warning(message, self.config.name, error.strerror)

    def renew_filter(self) -> None:
        """Have the filter that is wanted on the socket that receives now, which may be another than a moment ago."""
        self.set_lane(self.lane_ports)
        if self.judged:
            return  # the program is on each socket
        if self.port is not None and self.config.can.takes_filter:
            for fd in self.sockets:
                with contextlib.suppress(OSError):  # there was none
                    vlan_filter.detach(fd)
            self.filter = None
            self.set_filter()

    def add_to(self, snapshot: Snapshot, port: Port) -> None:
        """Write the port into a snapshot; `port` is its own, or the one that stands in for it in a rehearsal."""
        config = self.config
        own: dict[str, Any] = {"mtu": self.mtu, "up": self.state == "up", "blocked": self.state == "blocked"}
        if config.mode == "mirror":  # to the data plane: of no VLAN, and sends only
            own |= {"mode": "trunk", "direction": "egress"}
        configured = {name: getattr(config, name) for name in PortRow._fields if hasattr(config, name)}
        snapshot.add_port(port, PortRow(**configured | own))
        secure(snapshot, port, config.security)


def mtu_mismatches(attachments: Iterable[Attachment]) -> dict[tuple[str, int, str, int], int]:
    """Find attached ports that do not take the same frames as a trunk of a VLAN of theirs.

    Keys are port, its MTU, trunk, its MTU; values the VLAN they have in common, of which there is one at most.
    """
    attached = [attachment for attachment in attachments if attachment.port is not None]
    found = {}
    for attachment in attached:
        for trunk in attached:
            is_pair = trunk.config.mode == "trunk" and attachment.config.mode != "trunk"
            if not is_pair or (attachment.mtu == trunk.mtu and not trunk.config.translations):
                continue
            for vid in attachment.config.members & trunk.config.members:
                if attachment.mtu != trunk.mtu_of(vid):
                    found[attachment.config.name, attachment.mtu, trunk.config.name, trunk.mtu_of(vid)] = vid
    return found
