"""The kernel's share of one bridge: programs come and go with ports, which are open to them where nothing forbids it.

Job: `configure` begins and ends all of it; `settle` makes what is attached fit what ports there are; `closed` is what a
change of the data plane happens under: ports and VLANs of which something changes are closed to the kernel before, and
opened, as they are then, after it. Thread: control; programs are attached in the thread of their namespace.

Theory of operation. The FDB is one table for both forwarders (csrc/offload/shared.h), so learning, moves, ageing and
flushes need nothing here. What is left is what is true of ports: where they are, what they carry, whom they reach, and
whether every frame has to pass userspace (bridge.offload.policy).

Refuses, as OffloadError, only where the configuration says `require`: what makes it impossible. Else the bridge runs as
ever, and says why.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from bridge.core._core import Bridge, Snapshot
from bridge.devices.device import DeviceError
from bridge.devices.devices import Devices
from bridge.offload.counts import Counts
from bridge.offload.libbpf import OffloadError
from bridge.offload.policy import (
    Closing,
    Plan,
    closed_vlans,
    vlan_members,
    why_closed,
    why_never,
)
from bridge.offload.program import PortProgram, Programs
from bridge.ports import vlan_filter
from bridge.ports.attachment import Attachment
from bridge.ports.table import PortTable

log = logging.getLogger(__package__)

ALONE = "no other port that the kernel could forward to is in its namespace"


@dataclass(slots=True)
class Attached:
    """One port with its programs."""

    attachment: Attachment
    program: PortProgram
    ifindex: int
    plan: Plan | None = None  # as the programs see it; None: closed, and nothing is known of it


class Offload:
    """The kernel's share of one bridge. `reason`: why there is none."""

    def __init__(self, core: Bridge, devices: Devices, ports: PortTable, counts: Counts) -> None:
        self.mode = "off"
        self.reason = ""
        self.since = 0.0  # seconds since the epoch
        self._core = core
        self._devices = devices
        self._ports = ports
        self._counts = counts
        self._programs: Programs | None = None
        self._attached: dict[str, Attached] = {}
        self._refused: dict[str, str] = {}  # why a port has no programs, as last reported
        self._closings: list[Closing] = []
        self._vlans: dict[int, tuple[frozenset[int], bool]] = {}  # who carries it, and whether it is open
        self._heartbeat: tuple[int, ...] = ()
        self._snapshot: Snapshot | None = None
        self._hindrance = ""  # why there may be none, whatever the configuration says

    @property
    def is_on(self) -> bool:
        """Whether programs may forward."""
        return self._programs is not None

    @property
    def state(self) -> str:
        """Give on, off, or why it is not on."""
        return "on" if self.is_on else self.reason or "off"

    # -- beginning and ending

    async def configure(self, mode: str) -> None:
        """Put `[bridge] offload` in force; `settle` does the rest. Raises OffloadError for `require`."""
        if mode == "off":
            await self._end()
        elif self._programs is None and not self._hindrance:
            self._begin(strict=mode == "require")
        self.mode = mode
        self.reason = self._hindrance if self._hindrance and mode != "off" else self.reason

    async def forbid(self, hindrance: str) -> None:
        """Let the kernel forward nothing, whatever the configuration says, or ("") again what it says."""
        self._hindrance = hindrance
        await self._end()
        await self.configure(self.mode)

    def _begin(self, *, strict: bool) -> None:
        try:
            self._programs = Programs(self._core)
        except (OffloadError, OSError) as error:
            if strict:
                raise OffloadError(f'offload = "require", but the kernel cannot help: {error}') from error
            if str(error) != self.reason:
                log.warning("no offload to the kernel, all frames pass userspace: %s", error)
            self.reason = str(error)
            return
        self.reason, self.since = "", time.time()
        self._counts.begin(self._programs)

    async def _end(self) -> None:
        for name in [*self._attached]:
            await self._detach(name)
        programs, self._programs = self._programs, None
        if programs is not None:
            self._counts.end()
            programs.close(self._core)
        self._vlans, self._heartbeat, self._refused, self.reason = {}, (), {}, ""

    async def close(self) -> None:
        """End all of it; ports may be gone already."""
        await self._end()

    # -- programs of ports

    async def settle(self) -> None:
        """Attach and detach programs as the ports there are want it."""
        if self._programs is None:
            return
        wanted = self._wanted()
        for name, one in [*self._attached.items()]:
            if wanted.get(name) is not one.attachment or not one.attachment.is_of_index(one.ifindex):
                await self._detach(name)
        for name, attachment in wanted.items():
            if name not in self._attached:
                await self._attach(name, attachment)
        with self.closed(self._snapshot):
            pass

    def _wanted(self) -> dict[str, Attachment]:
        able: dict[str | None, dict[str, Attachment]] = {}
        for attachment in self._ports:
            if (
                attachment.port is not None
                and attachment.device is not None
                and not attachment.is_stray
                and not why_never(attachment.config)
            ):
                able.setdefault(attachment.config.place[1], {})[attachment.config.name] = attachment
        return {
            name: attachment
            for group in able.values()
            if len(group) > 1
            for name, attachment in group.items()
        }

    async def _attach(self, name: str, attachment: Attachment) -> None:
        assert self._programs is not None
        assert attachment.device is not None
        assert attachment.port is not None
        ifindex = attachment.device.index
        program = None
        try:
            program = self._programs.load(attachment.index, attachment.config.can.offloads)
            await self._devices.run_in(attachment.config.place[1], program.attach, ifindex)
            if attachment.config.can.offloads == "socket":
                for fd in {attachment.port.spare_fd, *attachment.sockets} - {-1}:
                    program.filter(fd)
                attachment.judged, attachment.judge = True, program.filter
        except (OffloadError, DeviceError, OSError) as error:
            if program is not None:
                program.close()
            if self._refused.get(name) != str(error):
                log.warning("port %s: no offload to the kernel: %s", name, error)
            self._refused[name] = str(error)
            return
        self._refused.pop(name, None)
        self._attached[name] = Attached(attachment, program, ifindex)
        self._counts.watch_port(attachment.index)

    async def _detach(self, name: str) -> None:
        """Take the programs from a port that stays."""
        one = self._attached.pop(name)
        attachment = one.attachment
        self._close_port(one)
        with contextlib.suppress(DeviceError, OSError):
            await self._devices.run_in(attachment.config.place[1], one.program.detach, one.ifindex)
        one.program.close()
        if attachment.judged and attachment.port is not None:
            attachment.judged, attachment.judge = False, None
            for fd in {attachment.port.spare_fd, *attachment.sockets} - {-1}:
                with contextlib.suppress(OSError):
                    vlan_filter.detach(fd)
            attachment.filter = None
            attachment.set_filter()

    def leave(self, attachments: Iterable[Attachment]) -> None:
        """Ports leave the data plane: their programs go before their devices do."""
        for attachment in attachments:
            if (one := self._attached.pop(attachment.config.name, None)) is not None:
                self._close_port(one)
                one.program.close()
                attachment.judged, attachment.judge = False, None

    def _close_port(self, one: Attached) -> None:
        one.plan = None
        if self._programs is not None:
            self._programs.shared.close_port(one.attachment.index)

    # -- open and closed

    def set_closings(self, closings: Iterable[Closing], heartbeat: tuple[int, ...]) -> None:
        """Say what is closed for other reasons than a port's own; in force with the next `closed`."""
        self._closings = [*closings]
        if self._programs is not None and heartbeat != self._heartbeat:
            self._programs.shared.set_heartbeat(heartbeat)
            self._heartbeat = heartbeat

    @contextlib.contextmanager
    def closed(self, snapshot: Snapshot | None) -> Iterator[None]:
        """Have everything that another snapshot changes closed to the kernel while the body applies it."""
        self._snapshot = snapshot or self._snapshot
        if self._programs is None or snapshot is None:
            yield
            return
        vlans = self._vlan_plans()
        plans = {name: self._plan(one, snapshot, vlans) for name, one in self._attached.items()}
        before = {name: one.plan for name, one in self._attached.items()}
        changed = [name for name, plan in plans.items() if plan != before[name]]
        for name in changed:
            self._programs.shared.close_port(self._attached[name].attachment.index)
        try:
            yield
        except BaseException:
            self._open({name: before[name] for name in changed}, self._vlans)
            raise
        self._open({name: plans[name] for name in changed if name in self._attached}, vlans)

    def _open(
        self, plans: Mapping[str, Plan | None], vlans: Mapping[int, tuple[frozenset[int], bool]]
    ) -> None:
        if self._programs is None:
            return
        shared = self._programs.shared
        nobody: tuple[frozenset[int], bool] = (frozenset(), False)
        for vid in self._vlans.keys() | vlans.keys():
            members, is_open = vlans.get(vid, nobody)
            if self._vlans.get(vid, nobody) != (members, is_open):
                shared.set_vlan(vid, members, is_open)
        self._vlans = dict(vlans)
        for name, plan in plans.items():
            one = self._attached[name]
            one.plan = plan
            if plan is not None:
                shared.open_port(one.attachment.index, **plan.opening())

    def _vlan_plans(self) -> dict[int, tuple[frozenset[int], bool]]:
        closed = closed_vlans(self._closings)
        members = vlan_members(
            {attachment.index: attachment.config for attachment in self._ports if attachment.port is not None}
        )
        return {vid: (indexes, vid not in closed) for vid, indexes in members.items()}

    def _plan(
        self, one: Attached, snapshot: Snapshot, vlans: Mapping[int, tuple[frozenset[int], bool]]
    ) -> Plan:
        config, index = one.attachment.config, one.attachment.index
        takes, gives = why_closed(config, one.attachment.state, self._closings)
        others = [
            other.attachment
            for other in self._attached.values()
            if other is not one and other.attachment.config.place[1] == config.place[1]
        ]
        return Plan(
            takes=not takes,
            gives=not gives,
            filters=vlan_filter.program(config) is not None,
            trunk=config.mode == "trunk",
            ifindex=one.ifindex,
            mtu=one.attachment.mtu,
            pvid=config.pvid,
            bare=config.untagged,
            tpid=config.tpid,
            default_pcp=config.default_pcp,
            delivery="ingress" if config.can.offloads == "queue" else "egress",
            peer_mac=b"",
            reaches=frozenset(other.index for other in others if snapshot.reaches(index, other.index)),
            vids=frozenset(vid for vid in config.members if vlans[vid][1]),
        )

    # -- telling

    def why(self, attachment: Attachment) -> tuple[list[str], list[str]]:
        """Say why frames that come in by a port, or leave by it, are not forwarded by the kernel."""
        reason = self._why_not_at_all(attachment)
        if reason:
            return [reason], [reason]
        takes, gives = why_closed(attachment.config, attachment.state, self._closings)
        closed = closed_vlans(self._closings)
        vids = [vid for vid in sorted(attachment.config.members) if vid in closed]
        words = [f"VLAN {vid}: {closed[vid]}" for vid in vids]
        return takes + words, gives + words

    def _why_not_at_all(self, attachment: Attachment) -> str:
        name = attachment.config.name
        if self._programs is None:
            return self.reason or 'the bridge has offload = "off"'
        if name in self._attached:
            return ""
        if attachment.port is None:
            return f"the port is {attachment.state}"
        return why_never(attachment.config) or self._refused.get(name) or ALONE

    def way(self, name: str) -> str:
        """Say how the programs of a port are attached: tcx, clsact, "" not at all."""
        return self._attached[name].program.way if name in self._attached else ""

    def usage(self) -> tuple[int, int]:
        """Count the FDB entries the kernel uses, and those that wait."""
        return self._programs.shared.usage() if self._programs is not None else (0, 0)
