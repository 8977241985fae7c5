"""The engine: one bridge as it runs. Ports open, close, change, vanish, return; a configuration is in force.

Job: carry out plans, wholly or not at all; begin and end everything a bridge has; keep what has to be done again and
again going. Owner of the data plane (`bridge.core._core.Bridge`) and of all objects around it:

    PortTable        ports and their attachments, and which of them to reconcile
    PortReconciler   opens, changes, closes ports; follows their devices
    DataPlane        snapshots               DataThread   forwards
    CoreEvents       hands events to owners  Learning     the FDB
    Protection       loops, moves            Ledger       counters
    Meter            the bill                Auditor      findings
    Status           answers

Threads: everything here runs in one asyncio loop, except the data thread and the threads of `Devices`. Whatever changes
ports takes turns under one lock (`_turns`); what has begun is finished even if its caller is cancelled, so no change is
ever left half done. An action changes ports or what is in force beside them, and `DataPlane.commit` puts all of it into
one snapshot: a change is one, at most one more before static entries, and two for all ports that leave.

Refuses: a start or a change that cannot be carried out in full (PortError, ApplyError); it undoes all of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from typing import Any, TypeVar, Unpack

from bridge.account.ledger import Ledger
from bridge.account.meter import Meter
from bridge.account.views import Price
from bridge.audit.auditor import Auditor
from bridge.audit.rules import Finding
from bridge.clock import Clock, SystemClock
from bridge.config.actions import Action, batches, newly_attached
from bridge.config.bridge import BridgeConfig
from bridge.config.budget import BudgetConfig
from bridge.config.cost import CostConfig
from bridge.config.loop_detection import LoopDetectionConfig
from bridge.config.metrics import MetricsConfig
from bridge.config.mirror import MirrorConfig
from bridge.config.move_guard import MoveGuardConfig
from bridge.config.plan import plan
from bridge.config.port import PortConfig
from bridge.config.static_entry import StaticEntry
from bridge.config.vlan import VlanConfig
from bridge.config.whole import Config
from bridge.core._core import HISTOGRAM_BOUNDS, Bridge, Port, cycles_now
from bridge.devices.devices import Devices
from bridge.engine.data_plane import DataPlane
from bridge.engine.data_thread import DataThread
from bridge.engine.events import CoreEvents
from bridge.engine.reconcile import PortReconciler
from bridge.engine.status import Status
from bridge.errors import ApplyError, FramebridgeError, PortError
from bridge.events import Events, Subscription
from bridge.fdb.file import SAVE_EVERY, FdbFile
from bridge.fdb.learning import Learning
from bridge.fdb.rows import Filters
from bridge.mac import format_mac
from bridge.metrics.server import MetricsServer
from bridge.mirror.mirrors import Mirrors
from bridge.ports.kinds import check_all
from bridge.ports.table import PortTable
from bridge.protect.own_address import own_address
from bridge.protect.protection import Protection

log = logging.getLogger(__package__)

EVENTS_MIN = 16384  # of the ring
HOUSEKEEPING = 1.0  # seconds between rounds

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
        self.config = config  # in force
        self.faults: asyncio.Future[Any]  # from start on; gets the exception if the data thread dies
        self._clock = clock = clock or SystemClock()
        self._devices = devices or Devices()
        size = config.bridge.fdb_size
        # The ring of events has room for a table that is learned anew at once.
        self._core = core = Bridge(fdb_capacity=size, events=max(EVENTS_MIN, size))
        self._events = Events()
        emit = self._events.emit
        self._turns = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self._ports = PortTable(clock)
        self._core_events = CoreEvents(core, emit)
        self._learning = learning = Learning(core, clock, self._events, self._core_events.drain)
        self._protection = Protection(
            core, clock, emit, own_address(config.bridge), self._ports.mark_dirty, learning
        )
        learning.known.on_change(self._protection)
        self._fdb_file = FdbFile(learning.store, lambda: self.config)
        self._ledger = Ledger(core, lambda: self._ports.dropped(self._devices.tx_dropped))
        self.cost = Meter(
            core,
            clock,
            self._ports.names,
            lambda: self._ledger.egress(self._ports.attached_indexes()),
            cycles_now,
            HISTOGRAM_BOUNDS,
        )
        self._data_plane = DataPlane(
            core,
            config.bridge,
            self._ports,
            emit=emit,
            learning=self._learning,
            protection=self._protection,
            mirrors=Mirrors(self._mirror_changed),
            ledger=self._ledger,
            cost=self.cost,
            restore=self._fdb_file.restore,
        )
        self._core_events.connect(
            fdb=learning, protection=self._protection, budgets=self._data_plane.budgets, ports=self._ports
        )
        self._reconciler = PortReconciler(
            core, self._devices, clock, self._ports, self._data_plane, self._protection.blocks
        )
        self._auditor = Auditor(
            self._devices, clock, self._ports, emit, self._turns, is_stopped=lambda: not self._tasks
        )
        self.status = Status(core, self._ports, self._data_plane, self._learning, self._ledger, self.cost)
        self._metrics = MetricsServer(self.status.state)
        self._thread = DataThread(core, self._core_events.take)

    # -- life --------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open all ports and forward; raises with everything undone."""
        loop = asyncio.get_running_loop()
        self.faults = loop.create_future()
        self._devices.watch(self._ports.device_changed)
        try:
            await _finish(self._devices.open())
            async with self._turns:
                for batch in batches(plan(None, self.config)):
                    await _finish(self._carry_out(batch))
                self._data_plane.commit()
                await self._settle()
                self._fdb_file.open()
        except BaseException:
            await self.stop()
            raise
        self._thread.start(self.faults)
        work = (
            self._keep_house(),
            self._attend(),
            self._auditor.keep(lambda: self.config),
            self._keep_fdb_file(),
            self._protection.keep_probing(),
        )
        self._tasks = [loop.create_task(one) for one in work]

    async def stop(self) -> None:
        """Stop forwarding, close all ports, remove what was made; idempotent."""
        await _finish(self._stop())

    async def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        async with self._turns:
            await self._metrics.close()
            await self._thread.stop()
            await self._fdb_file.save()
            await self._reconciler.close(self._ports.port_names)
            await self._data_plane.mirrors.close()
            await self._devices.close()
        self._events.close()

    # -- change ------------------------------------------------------------------------------------

    async def apply(self, new: Config) -> tuple[Action, ...]:
        """Put another configuration into force; on failure the old one is again, and ApplyError raised."""
        return await _finish(self._apply(new))

    async def _apply(self, new: Config) -> tuple[Action, ...]:
        async with self._turns:
            actions = plan(self.config, new)
            done: list[Action] = []
            try:
                await check_all(newly_attached(actions), self._devices)
                for batch in batches(actions):
                    await self._carry_out(batch, done)
                self._data_plane.commit()
            except Exception as error:
                await self._roll_back(done)
                await self._settle()
                raise ApplyError(f"{error}; the configuration before is in force again") from error
            self.config = new
            if actions:
                await self._settle()
        if actions:
            self._events.emit("reload", actions=len(actions))
        return actions

    async def _roll_back(self, done: Sequence[Action]) -> None:
        for batch in batches([action.inverse for action in reversed(done)]):
            try:
                await self._carry_out(batch, strict=False)
            except Exception:
                log.exception("cannot carry out: %s", "; ".join(map(str, batch)))
        self._data_plane.commit()

    async def _settle(self) -> None:
        """Let go of what no port of the configuration needs any more."""
        for name in self._ports.forget_former():
            self.cost.retire(name)
            self._data_plane.budgets.limit_storms(name, ())
            self._protection.blocks.forget(name)
        await self._data_plane.mirrors.settle()
        for name in self._ledger.names:
            if name not in self._ports:
                self._ledger.close(name)
        self._learning.static.keep(self._ports.port_names)
        await self._devices.keep(self._ports.namespaces)
        self._auditor.ports_changed()

    async def _carry_out(
        self, batch: Sequence[Action], done: list[Action] | None = None, *, strict: bool = True
    ) -> None:
        """Carry out actions that may share a snapshot; each that is done goes to `done`."""
        done = [] if done is None else done
        if batch[0].kind == "close_port":
            names = [action.subject for action in batch]
            await self._reconciler.close(names)
            self._data_plane.report_removed(names)
            done += batch
            return
        for action in batch:
            await self._perform(action, strict=strict)
            done.append(action)

    async def _perform(self, action: Action, *, strict: bool = True) -> None:
        """Carry out one action, wholly or not at all. Not `strict`: a port may be left without its device.

        `refresh` notes that the data plane does not know of it yet; the next `DataPlane.commit` applies it.
        """
        match action.kind, action.before, action.after:
            case "open_port", None, PortConfig() as after:
                await self._reconciler.open(after, strict=strict)
            case "set_port", PortConfig(), PortConfig() as after:
                await self._reconciler.change(after)
            case "set_vlan", before, VlanConfig() as after:
                self._data_plane.vlans[after.vid] = after
                self._data_plane.refresh()
            case "set_vlan", VlanConfig() as before, None:
                del self._data_plane.vlans[before.vid]
                self._data_plane.refresh()
            case "set_bridge", _, BridgeConfig() as after:
                self._data_plane.bridge = after
                self._learning.configure(after)
                self._data_plane.refresh()
            case "set_cost", _, CostConfig() as after:
                self.cost.price = Price(after.price_per_core_hour, after.currency)
            case "set_metrics", _, MetricsConfig() as after:
                await self._metrics.configure(after)
            case "set_move_guard", _, MoveGuardConfig() as after:
                self._protection.guard_moves(after)
            case "set_loop_detection", _, LoopDetectionConfig() as after:
                self._protection.detect_loops(after)
            case "add_budget" | "set_budget", _, BudgetConfig() as after:
                await self.cost.calibrate()
                self._data_plane.budgets.set(after)
                self._data_plane.refresh()
            case "delete_budget", BudgetConfig() as before, None:
                self._data_plane.budgets.remove(before.name)
                self._data_plane.refresh()
            case "add_mirror" | "set_mirror", _, MirrorConfig() as after:
                await self.cost.calibrate()
                await self._data_plane.mirrors.set(after, strict=strict and self._thread.is_running)
                self._data_plane.refresh()
            case "delete_mirror", MirrorConfig() as before, None:
                self._data_plane.mirrors.remove(before.name)
                self._data_plane.refresh()
            case "add_entry", None, StaticEntry() as after:
                self._data_plane.commit()  # the FDB has to know its port
                self._learning.static.add(after)
            case "delete_entry", StaticEntry() as before, None:
                self._learning.static.remove(before.vid, before.mac)
            case _:
                raise ValueError(f"not an action: {action!r}")

    # -- again and again -----------------------------------------------------------------------------

    async def _attend(self) -> None:
        """Reconcile every port that was marked."""
        while True:
            await self._ports.wait_dirty()
            async with self._turns:
                await _finish(self._look_at_ports())

    async def _look_at_ports(self) -> None:
        await self._reconciler.reconcile(self._ports.take_dirty())
        self._auditor.ports_changed()

    async def _keep_house(self) -> None:
        """Let time pass for the FDB, and try again what failed."""
        while True:
            await self._clock.sleep(HOUSEKEEPING)
            for what, work in (
                ("ageing", self._learning.tick),
                ("the bill", self.cost.sample),
                ("protection", self._protection.tick),
                ("budgets", self.status.budgets),  # so that their end is told when nothing comes any more
            ):
                try:
                    work()
                except Exception:
                    log.exception("%s", what)
                # Each may take a tenth of a second: events and clients come in between.
                await asyncio.sleep(0)
            self._ports.mark_idle_dirty()

    async def _keep_fdb_file(self) -> None:
        """Keep the file of the FDB up to date."""
        while True:
            await self._clock.sleep(SAVE_EVERY)
            try:
                await self._fdb_file.save()
            except Exception:
                log.exception("the file of the FDB")

    def _mirror_changed(self, name: str, state: str, reason: str) -> None:
        level = logging.INFO if state == "closed" else logging.WARNING
        log.log(level, "mirror %s: %s", name, f"{state}: {reason}" if reason else state)
        self._events.emit(f"mirror-{state}", mirror=name, **({"reason": reason} if reason else {}))

    # -- for others ----------------------------------------------------------------------------------

    @property
    def progress(self) -> int:
        """Turns of the data thread's loop so far."""
        return self._core.progress

    def wake(self) -> None:
        """Make the data thread take a turn."""
        self._core.wake()

    def subscribe(self) -> Subscription:
        """Listen to events."""
        return self._events.subscribe()

    async def audit(self, config: Config) -> list[Finding]:
        """Judge the ports of a configuration, in force or not, and their devices as they are now."""
        return await self._auditor.audit(config)

    def port(self, name: str) -> Port | None:
        """Give the data plane's port; None: its device is missing."""
        return self._ports[name].port

    def unblock(self, port: str) -> bool:
        """Let a blocked port forward again; False: it is not blocked."""
        return self._protection.blocks.unblock(port)

    @property
    def own_address(self) -> int:
        """The bridge's own MAC address."""
        return self._protection.own_address

    # -- the FDB -----------------------------------------------------------------------------------

    async def fdb_add(self, vlan: int, mac: int, port: str, kind: str) -> None:
        """Add or replace an entry: static, sticky, drop (no port), or dynamic: what was asked for."""
        if mac == self.own_address:
            raise FramebridgeError(f"{format_mac(mac)} is the bridge's own address, which never has an entry")
        async with self._turns:
            if port and vlan not in self._ports[port].config.members:
                raise PortError(port, f"it does not carry VLAN {vlan}; add that to the port first")
            entry = StaticEntry(vlan, mac, kind, port)
            if kind == "dynamic":
                self._learning.authorise(vlan, mac, self._ports.index(port or None))
            else:
                self._learning.static.add(entry)
            self._take_over(vlan, mac, entry)

    async def fdb_delete(self, vlan: int, mac: int) -> bool:
        """Remove an entry of any kind; False: there was none."""
        async with self._turns:
            self._take_over(vlan, mac)
            return self._learning.delete(vlan, mac)

    def _take_over(self, vlan: int, mac: int, entry: StaticEntry | None = None) -> None:
        """Note that an entry of the file is not in force any more: a reload finds it missing and puts it back."""
        kept = tuple(one for one in self.config.entries if (one.vid, one.mac) != (vlan, mac) or one == entry)
        self.config = replace(self.config, entries=kept)

    async def fdb_flush(
        self, port: str | None = None, vlan: int | None = None, **more: Unpack[Filters]
    ) -> int:
        """Forget learned and sticky entries that fit every filter given; returns how many."""
        async with self._turns:
            return self._learning.flush(self._ports.index(port), vlan, **more)
