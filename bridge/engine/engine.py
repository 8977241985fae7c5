"""The engine: one bridge as it runs. Ports open, close, change, vanish, return; a configuration is in force.

Job: carry out plans, wholly or not at all; begin and end everything a bridge has; keep what has to be done again and
again going. Owner of the data plane (`bridge.core._core.Bridge`) and of all objects around it (parts.py):

    PortTable        ports and their attachments, and which of them to reconcile
    PortReconciler   opens, changes, closes ports; follows their devices
    DataPlane        snapshots               DataThread   forwards
    CoreEvents       hands events to owners  Learning     the FDB
    Protection       loops, moves            Ledger       counters
    Meter            the bill                Auditor      findings
    Member           the pair                Actions      what each action of a plan does
    Snooping         members of groups       Status       answers

Threads: everything here runs in one asyncio loop, except the data thread and the threads of `Devices`. Whatever changes
ports takes turns under one lock (`turns`); what has begun is finished even if its caller is cancelled, so no change is
ever left half done. An action changes ports or what is in force beside them, and `DataPlane.commit` puts all of it into
one snapshot: a change is one, at most one more before static entries, and two for all ports that leave.

Refuses: a start or a change that cannot be carried out in full (PortError, ApplyError); it undoes all of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import replace
from typing import Any, TypeVar, Unpack

from bridge.audit.rules import Finding
from bridge.clock import Clock, SystemClock
from bridge.config.actions import Action, batches, newly_attached
from bridge.config.group_address import Group
from bridge.config.plan import plan
from bridge.config.static_entry import StaticEntry
from bridge.config.whole import Config
from bridge.core._core import Port
from bridge.devices.devices import Devices
from bridge.engine import takeover
from bridge.engine.actions import Actions
from bridge.engine.parts import Parts
from bridge.engine.rehearsal import Outcome, Rehearsal, at_the_gate
from bridge.engine.takeover import Message, Offer, State
from bridge.errors import ApplyError, FramebridgeError, MissingError, PortError
from bridge.events import Subscription
from bridge.fdb.file import SAVE_EVERY
from bridge.fdb.rows import Filters
from bridge.ha.member import Member
from bridge.mac import format_mac
from bridge.multicast.snooping import Snooping
from bridge.offload.offload import Offload
from bridge.ports.kinds import check_all

log = logging.getLogger(__package__)

HOUSEKEEPING = 1.0  # seconds between rounds
DEFERRED = ("add_mirror", "set_metrics")  # files and addresses that only one process can have

T = TypeVar("T")


async def _finish(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end; a cancellation of the caller is passed on only then."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait((task,))
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("nobody waits for this any more: %s", error)
        raise


class Engine:
    """One bridge. `status` answers questions, `cost` those about the bill."""

    def __init__(self, config: Config, *, clock: Clock | None = None, devices: Devices | None = None) -> None:
        self.faults: asyncio.Future[Any]  # from start on; gets the exception if the data thread dies
        self._parts = parts = Parts(config, clock or SystemClock(), devices or Devices())
        self._actions = Actions(parts)
        self._tasks: list[asyncio.Task[None]] = []
        self._deferred: list[Action] = []
        self._fdb_given = b""  # as it was when it was given away
        self._is_given = False  # another process has the bridge
        self._is_borrowing = False  # from another process, which has it still
        self.status = parts.status
        self.cost = parts.cost

    @property
    def offload(self) -> Offload:
        """What the kernel forwards."""
        return self._parts.offload

    @property
    def member(self) -> Member:
        """What the bridge is in a pair."""
        return self._parts.member

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self._parts.config

    # -- life --------------------------------------------------------------------------------------

    async def start(self, *, strict: bool = False) -> None:
        """Open the ports and forward; raises with everything undone.

        A port whose device is missing is attached when that appears; `strict`: it is refused.
        """
        await self.prepare(strict=strict)
        self.begin()

    async def prepare(self, *, strict: bool = False, offer: Offer | None = None, fdb: bytes = b"") -> None:
        """Open the ports, but do not forward yet; raises with everything undone.

        `offer`: ports of another process, which are taken over as far as the configuration has them; `fdb`: its FDB.
        """
        ports = self._parts.ports
        if offer is not None:
            self._is_borrowing = True
            ports.offered = dict(offer.ports)
            names = [port.name for port in self.config.ports if port.name in offer.indexes]
            ports.former = {name: offer.indexes[name] for name in names}
        tolerate = None if strict else MissingError
        loop = asyncio.get_running_loop()
        self.faults = loop.create_future()
        try:
            await _finish(self._parts.devices.open())
            async with self._parts.turns:
                actions = plan(None, self.config)
                self._deferred = [one for one in actions if offer is not None and one.kind in DEFERRED]
                for batch in batches(one for one in actions if one not in self._deferred):
                    await _finish(self._actions.carry_out(batch, tolerate=tolerate))
                self._parts.data_plane.commit()
                await self._actions.settle()
                self._parts.fdb_file.open(read=offer is None)
                self._parts.core.fdb_load(fdb)
        except BaseException:
            self._is_given = self._is_borrowing
            await self.stop()
            raise

    def begin(self) -> None:
        """Forward."""
        loop = asyncio.get_running_loop()
        self._parts.thread.start(self.faults)
        work = (
            self._keep_house(),
            self._attend(),
            self._parts.auditor.keep(self._parts.current_config),
            self._keep_fdb_file(),
            self._parts.protection.keep_probing(),
            self._parts.member.keep(),
        )
        self._tasks = [loop.create_task(one) for one in work]
        self._parts.auditor.is_open = True

    # -- from one process to another (takeover.py)

    @contextlib.asynccontextmanager
    async def giving(self) -> AsyncIterator[tuple[Message, list[int], bytes]]:
        """Offer the ports and the FDB to another process; nobody changes anything meanwhile.

        The kernel gives its share back first.
        """
        async with self._parts.turns:
            is_on = self._parts.offload.is_on
            await self._parts.offload.configure("off")
            try:
                self._fdb_given = self._parts.core.fdb_raw()
                yield *takeover.make_offer(self._parts), self._parts.core.fdb_dump()
            finally:
                if is_on and not self._is_given:
                    await self._parts.offload.configure(self.config.bridge.offload)

    def freeze(self) -> tuple[Message, bytes]:
        """Stop forwarding at once, and say where; `thaw` or `give_up` follows, whatever happens."""
        self._parts.thread.freeze()
        return takeover.make_state(self._parts, self._fdb_given)

    def thaw(self) -> None:
        """Forward again after `freeze`."""
        self._parts.thread.thaw()

    def give_up(self) -> None:
        """Note that another process has the bridge: `stop` leaves everything as it is."""
        self._is_given = True

    def give_back(self) -> None:
        """Leave what was taken over to the process that has it still: `stop` ends the rest."""
        self._parts.thread.freeze()
        self._is_given = True

    def go_on(self, state: State) -> int:
        """Forward where another process stopped; returns how many FDB entries are new. Raises TakeOverError."""
        restored = takeover.restore(self._parts, state)
        self.begin()
        return restored

    async def take_rest(self, state: State) -> None:
        """Take over what no frame waits for, and do what two processes cannot do at once."""
        for trouble in takeover.restore_rest(self._parts, state):
            log.warning("%s", trouble)
        self._is_borrowing = False
        deferred, self._deferred = self._deferred, []
        async with self._parts.turns:
            for batch in batches(deferred):
                await _finish(self._actions.carry_out(batch))
            self._parts.data_plane.commit()

    async def stop(self) -> None:
        """Stop forwarding, close all ports, remove what was made; idempotent."""
        await _finish(self._stop())

    async def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        self._parts.auditor.is_open = False
        async with self._parts.turns:
            await self._parts.metrics.close()
            self._parts.member.close()
            if self._is_given:
                for attachment in self._parts.ports:
                    if self._is_borrowing and not attachment.was_adopted:
                        await attachment.remove_device(self._parts.devices)
                await self._parts.data_plane.mirrors.close()
                await self._parts.devices.close()
                self._parts.events.close()
                return
            await self._parts.thread.stop()
            await self._parts.fdb_file.save()
            await self._parts.reconciler.close(self._parts.ports.port_names)
            await self._parts.data_plane.mirrors.close()
            await self._parts.offload.close()
            await self._parts.devices.close()
        self._parts.events.close()

    # -- change ------------------------------------------------------------------------------------

    async def apply(self, new: Config) -> tuple[Action, ...]:
        """Put another configuration into force; on failure the old one is again, and ApplyError raised."""
        return await _finish(self._apply(new))

    async def _apply(self, new: Config) -> tuple[Action, ...]:
        async with self._parts.turns:
            actions = plan(self.config, new)
            done: list[Action] = []
            try:
                await check_all(newly_attached(actions), self._parts.devices)
                for batch in batches(actions):
                    await self._actions.carry_out(batch, done)
                self._parts.data_plane.commit()
            except Exception as error:
                await self._roll_back(done)
                await self._actions.settle()
                raise ApplyError(f"{error}; the configuration before is in force again") from error
            self._parts.config = new
            if actions:
                await self._actions.settle()
        if actions:
            self._parts.events.emit("reload", actions=len(actions))
        return actions

    async def attach_missing(self) -> list[tuple[str, str]]:
        """Try now to attach every port that is missing; returns each with what is in its way, or nothing."""
        async with self._parts.turns:
            return await _finish(self._parts.reconciler.attach_missing())

    async def _roll_back(self, done: Sequence[Action]) -> None:
        for batch in batches([action.inverse for action in reversed(done)]):
            try:
                await self._actions.carry_out(batch, tolerate=FramebridgeError)
            except Exception:
                log.exception("cannot carry out: %s", "; ".join(map(str, batch)))
        self._parts.data_plane.commit()

    # -- again and again -----------------------------------------------------------------------------

    async def _attend(self) -> None:
        """Reconcile every port that was marked."""
        while True:
            await self._parts.ports.wait_dirty()
            async with self._parts.turns:
                await _finish(self._reconcile_ports())

    async def _reconcile_ports(self) -> None:
        await self._parts.reconciler.reconcile(self._parts.ports.take_dirty())
        await self._parts.offload.settle()
        await self._parts.member.settle()
        self._parts.auditor.ports_changed()

    async def _keep_house(self) -> None:
        """Let time pass for the FDB, and try again what failed."""
        while True:
            await self._parts.clock.sleep(HOUSEKEEPING)
            for what, work in (
                ("ageing", self._parts.learning.tick),
                ("the bill", self.cost.sample),
                ("protection", self._parts.protection.tick),
                ("snooping", self._parts.snooping.tick),
                ("states", self._parts.state_log.tick),
                ("budgets", self.status.budgets),  # so that their end is reported when nothing comes any more
            ):
                try:
                    work()
                except Exception:
                    log.exception("%s", what)
                # Each may take a tenth of a second: events and clients come in between.
                await asyncio.sleep(0)
            self._parts.ports.mark_idle_dirty()

    async def _keep_fdb_file(self) -> None:
        """Keep the file of the FDB up to date."""
        while True:
            await self._parts.clock.sleep(SAVE_EVERY)
            try:
                await self._parts.fdb_file.save()
            except Exception:
                log.exception("the file of the FDB")

    # -- for others ----------------------------------------------------------------------------------

    @property
    def progress(self) -> int:
        """Turns of the data thread's loop so far."""
        return self._parts.core.progress

    @property
    def thread_number(self) -> int | None:
        """Number of the data thread, as in /proc/PID/task; None: it does not run."""
        return self._parts.thread.number

    def wake(self) -> None:
        """Make the data thread take a turn."""
        self._parts.core.wake()

    def subscribe(self) -> Subscription:
        """Listen to events."""
        return self._parts.events.subscribe()

    async def audit(self, config: Config) -> list[Finding]:
        """Judge the ports of a configuration, in force or not, and their devices as they are now."""
        return await self._parts.auditor.audit(config)

    def port(self, name: str) -> Port | None:
        """Give the data plane's port; None: its device is missing."""
        return self._parts.ports[name].port

    @property
    def snooping(self) -> Snooping:
        """Members of groups."""
        return self._parts.snooping

    def unblock(self, port: str) -> bool:
        """Let a blocked port forward again; False: it is not blocked."""
        return self._parts.protection.blocks.unblock(port)

    @property
    def own_address(self) -> int:
        """The bridge's own MAC address."""
        return self._parts.protection.own_address

    async def rehearse(self, port: str, frame: bytes) -> Outcome:
        """Tell what would become of a frame that came in by a port, without sending it."""
        parts = self._parts
        async with parts.turns:
            rehearsal = Rehearsal(parts.core, parts.ports, parts.data_plane, parts.snooping, port, frame)
        outcome = await asyncio.to_thread(rehearsal.play)
        member = parts.member
        if member.is_on and member.state != "active":
            return outcome._replace(steps=[at_the_gate(member.state), *outcome.steps])
        return outcome

    # -- the FDB -----------------------------------------------------------------------------------

    async def fdb_add(self, vlan: int, mac: int, port: str, kind: str) -> None:
        """Add or replace an entry: static, sticky, drop (no port), or dynamic: what was asked for."""
        if mac == self.own_address:
            raise FramebridgeError(f"{format_mac(mac)} is the bridge's own address, which never has an entry")
        async with self._parts.turns:
            if port and vlan not in self._parts.ports[port].config.members:
                raise PortError(port, f"it does not carry VLAN {vlan}; add that to the port first")
            entry = StaticEntry(vlan, mac, kind, port)
            if kind == "dynamic":
                self._parts.learning.authorise(vlan, mac, self._parts.ports.index(port or None))
            else:
                self._parts.learning.static.add(entry)
            self._take_over(vlan, mac, entry)

    async def fdb_delete(self, vlan: int, mac: int) -> bool:
        """Remove an entry of any kind; False: there was none."""
        async with self._parts.turns:
            self._take_over(vlan, mac)
            return self._parts.learning.delete(vlan, mac)

    def mdb_flush(self, port: str | None, vlan: int | None, group: Group | None) -> int:
        """Forget learned members that fit every filter given, and ask who is one; returns how many they were."""
        return self._parts.snooping.flush(vlan, self._parts.ports.index(port), group)

    def _take_over(self, vlan: int, mac: int, entry: StaticEntry | None = None) -> None:
        """Note that an entry of the file is not in force any more: a reload finds it missing and puts it back."""
        kept = tuple(one for one in self.config.entries if (one.vid, one.mac) != (vlan, mac) or one == entry)
        self._parts.config = replace(self.config, entries=kept)

    async def fdb_flush(
        self, port: str | None = None, vlan: int | None = None, **more: Unpack[Filters]
    ) -> int:
        """Forget learned and sticky entries that fit every filter given; returns how many."""
        async with self._parts.turns:
            return self._parts.learning.flush(self._parts.ports.index(port), vlan, **more)
