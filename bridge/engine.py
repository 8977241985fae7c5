"""The engine: one bridge as it runs. Ports open, close, change, vanish, return; a configuration is in force.

Job: carry out plans, keep every port in the state its device allows, run the data thread, answer questions
with rows. Owner of the data plane (`bridge._core.Bridge`), of the devices it made, and of `Learning`.

Threads: everything here runs in one asyncio loop, except the data thread (`Bridge.run`) and the threads of
`Links`. Whatever changes ports takes turns under one lock; what has begun is finished even if its caller is
cancelled, so no change is ever left half done.

Theory of operation. The wanted state is a set of berths; `_commit` writes it down as a snapshot, applies it,
and then tells `Learning` which ports carry traffic. An action changes berths and says by `_refresh` that there is
something to commit: a change of many ports and VLANs is one snapshot, at most one more before static entries, and two
for all ports that leave. These do so in two steps: a snapshot in which they are down makes their counters final, the
next one does not name them. Devices are looked after by level, not by edge: an event of a link only says *look*;
`_reconcile` compares what is there with what is attached.

* up: attached, enabled, device up with carrier. down: anything less. missing: no such device.
* A port keeps its index and its counters for as long as its name is in the configuration.
* Devices made here (taps, VLAN interfaces) go with their port; others are left as they are.

Refuses: a start or a change that cannot be carried out in full (PortError, ApplyError); it undoes all of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar, Unpack

from bridge import __version__, engine_rows, guards
from bridge._core import HISTOGRAM_BOUNDS, PORTS_MAX, Bridge, Port, Snapshot, cycles_now
from bridge.audit import Finding, audit, collect
from bridge.berth import Berth, mtu_mismatches
from bridge.budgets import BudgetConfig, Budgets
from bridge.clock import Clock, SystemClock
from bridge.config import BridgeConfig, Config, CostConfig, MetricsConfig, StaticEntry, VlanConfig
from bridge.config_port import PortConfig
from bridge.cost import Egress
from bridge.cost_meter import Meter
from bridge.cost_views import Price
from bridge.errors import ApplyError, FramebridgeError, PortError
from bridge.events import Events, Subscription
from bridge.fdb_file import SAVE_EVERY, FdbFile
from bridge.fdb_view import Filters
from bridge.learning import Learning
from bridge.ledger import Ledger, Row
from bridge.links import Link, LinkError, Links
from bridge.loop_detection import LoopDetectionConfig
from bridge.mac import format_mac
from bridge.metrics import State
from bridge.metrics_server import MetricsServer
from bridge.mirrors import MirrorConfig, Mirrors
from bridge.move_guard import MoveGuardConfig
from bridge.own_address import own_address
from bridge.plan import Action, plan
from bridge.protection import Protection
from bridge.storm_control import storm_budgets

log = logging.getLogger(__name__)

NOMINAL_HZ = 1e9  # cycles per second where they cannot be told
EVENTS_MIN = 16384  # of the ring
HOUSEKEEPING = 1.0  # seconds between rounds; also the pause before a port that failed is tried again
TOLD_AS_STATE = ("down", "carrier")  # checks whose findings are events of the port anyway
JOIN_TIMEOUT = 10.0  # seconds the data thread has to end

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


def _runs(actions: Iterable[Action]) -> list[list[Action]]:
    """Split actions into runs of a kind; each port that is opened is a run of its own, for it takes its time."""
    runs: list[list[Action]] = []
    for action in actions:
        if runs and runs[-1][0].kind == action.kind != "open_port":
            runs[-1].append(action)
        else:
            runs.append([action])
    return runs


class Engine:
    """One bridge."""

    def __init__(self, config: Config, *, clock: Clock | None = None, links: Links | None = None) -> None:
        self.config = config  # in force
        self.faults: asyncio.Future[Any]  # from start on; gets the exception if the data thread dies
        self._clock = clock or SystemClock()
        self._links = links or Links()
        size = config.bridge.fdb_size
        self._core = Bridge(
            fdb_capacity=size, events=max(EVENTS_MIN, size)
        )  # all may be learned anew at once
        self._events = Events()
        self._protection = Protection(
            self._core, self._clock, self._events.emit, own_address(config.bridge), self._mark
        )
        self._learning = Learning(
            self._core,
            self._clock,
            self._events.emit,
            self._port_failed,
            self._budget_changed,
            lambda: self._events.has_audience,
            moved=lambda *move: self._protection.moved(self._learning, *move),
            probed=self._protection.probed,
        )
        self._fdb_file = FdbFile(self._learning, lambda: self.config)
        self._budgets = Budgets()
        self._mirrors = Mirrors(self._mirror_changed)
        self._ledger = Ledger(self._core)
        self.cost = Meter(self._core, self._clock, self._names, self._egress, cycles_now, HISTOGRAM_BOUNDS)
        self._metrics = MetricsServer(self._state)
        self._bridge = config.bridge
        self._vlans: dict[int, VlanConfig] = {}
        self._berths: dict[str, Berth] = {}
        self._former: dict[str, int] = {}  # indexes of ports closed in the change under way
        self._is_due = False  # the data plane does not know everything yet
        self._news: list[tuple[str, str]] = []  # events with their ports, to be told when it does
        self._mismatches: set[tuple[str, int, str, int]] = set()
        self._changing = asyncio.Lock()
        self._dirty: set[str] = set()
        self._look = asyncio.Event()
        self._audit_due = asyncio.Event()
        self._found: set[Finding] = set()  # by the last audit
        self._tasks: list[asyncio.Task[None]] = []
        self._thread: threading.Thread | None = None
        self._stopping = False

    # -- life --------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open all ports and forward; raises with everything undone."""
        loop = asyncio.get_running_loop()
        self.faults = loop.create_future()
        self._links.watch(self._link_changed)
        try:
            await _finish(self._links.open())
            async with self._changing:
                for run in _runs(plan(None, self.config)):
                    await _finish(self._carry_out(run))
                self._commit()
                await self._settle()
                self._fdb_file.open()
        except BaseException:
            await self.stop()
            raise
        self._thread = threading.Thread(
            target=self._forward, args=(loop,), name="framebridge-data", daemon=True
        )
        self._thread.start()
        loop.add_reader(self._core.event_fd, self._learning.take)
        work = (
            self._keep_house(),
            self._attend(),
            self._keep_audit(),
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
        async with self._changing:
            await self._metrics.close()
            await self._stop_forwarding()
            await self._fdb_file.save()
            await self._remove([*self._berths])
            await self._mirrors.close()
            await self._links.close()
        self._events.close()

    async def _stop_forwarding(self) -> None:
        thread, self._thread = self._thread, None
        if thread is None:
            return
        asyncio.get_running_loop().remove_reader(self._core.event_fd)
        self._stopping = True
        self._core.stop()
        await asyncio.to_thread(thread.join, JOIN_TIMEOUT)
        if thread.is_alive():
            log.critical("the data thread does not end")
        if self.faults.done():
            self.faults.exception()  # taken note of, by whoever waits for it or here

    def _forward(self, loop: asyncio.AbstractEventLoop) -> None:
        """Be the data thread."""
        try:
            self._core.run()
            failure: BaseException = FramebridgeError("it ended without being told to")
        except BaseException as error:
            failure = error
        if not self._stopping:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
                loop.call_soon_threadsafe(self._fault, failure)

    def _fault(self, failure: BaseException) -> None:
        log.critical("the data thread died: %s", failure)
        if not self.faults.done():
            self.faults.set_exception(failure)

    @property
    def progress(self) -> int:
        """Turns of the data thread's loop so far."""
        return self._core.progress

    def wake(self) -> None:
        """Make the data thread take a turn."""
        self._core.wake()

    # -- change ------------------------------------------------------------------------------------

    async def apply(self, new: Config) -> tuple[Action, ...]:
        """Put another configuration into force; on failure the old one is again, and ApplyError raised."""
        return await _finish(self._apply(new))

    async def _apply(self, new: Config) -> tuple[Action, ...]:
        async with self._changing:
            actions = plan(self.config, new)
            done: list[Action] = []
            try:
                for run in _runs(actions):
                    await self._carry_out(run, done)
                self._commit()
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
        for run in _runs([action.inverse for action in reversed(done)]):
            try:
                await self._carry_out(run, strict=False)
            except Exception:
                log.exception("cannot carry out: %s", "; ".join(map(str, run)))
        self._commit()

    async def _settle(self) -> None:
        """Let go of what no port of the configuration needs any more."""
        for name in self._former.keys() - self._berths.keys():
            self.cost.retire(name)
            self._budgets.limit_storms(name, ())
            self._protection.blocks.forget(name)
        self._former.clear()
        await self._mirrors.settle()
        for name in self._ledger.names:
            if name not in self._berths:
                self._ledger.close(name)
        self._learning.keep_pins(self._berths)
        await self._keep_namespaces()
        self._check_mtu()
        self._audit_due.set()

    async def _keep_namespaces(self) -> None:
        await self._links.keep({None, *(berth.config.netns for berth in self._berths.values())})

    async def _carry_out(
        self, run: Sequence[Action], done: list[Action] | None = None, *, strict: bool = True
    ) -> None:
        """Carry out actions that may share a snapshot; each that is done goes to `done`."""
        done = [] if done is None else done
        if run[0].kind == "close_port":
            names = [action.subject for action in run]
            await self._remove(names)
            untold = {port for event, port in self._news if event == "port-added"}
            self._news = [news for news in self._news if news[1] not in names]
            for name in names:
                if name not in untold:  # else nobody heard that it came
                    self._events.emit("port-removed", port=name)
            done += run
            return
        for action in run:
            await self._perform(action, strict=strict)
            done.append(action)

    async def _perform(self, action: Action, *, strict: bool = True) -> None:
        """Carry out one action, wholly or not at all. Not `strict`: a port may be left without its device.

        What the data plane has to know it is told by the next `_commit`; `_refresh` says that there is something.
        """
        match action.kind, action.before, action.after:
            case "open_port", None, PortConfig() as after:
                await self._open(after, strict)
            case "set_port", PortConfig() as before, PortConfig() as after:
                await self._set_port(before, after)
            case "set_vlan", before, VlanConfig() as after:
                self._vlans[after.vid] = after
                self._refresh()
            case "set_vlan", VlanConfig() as before, None:
                del self._vlans[before.vid]
                self._refresh()
            case "set_bridge", _, BridgeConfig() as after:
                self._bridge = after
                self._learning.configure(after)
                self._refresh()
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
                self._budgets.set(after)
                self._refresh()
            case "delete_budget", BudgetConfig() as before, None:
                self._budgets.remove(before.name)
                self._refresh()
            case "add_mirror" | "set_mirror", _, MirrorConfig() as after:
                await self.cost.calibrate()
                await self._mirrors.set(after, strict=strict and self._thread is not None)
                self._refresh()
            case "delete_mirror", MirrorConfig() as before, None:
                self._mirrors.remove(before.name)
                self._refresh()
            case "add_entry", None, StaticEntry() as after:
                self._commit()  # the FDB has to know its port
                self._learning.pin(after)
            case "delete_entry", StaticEntry() as before, None:
                self._learning.unpin(before.vid, before.mac)
            case _:
                raise ValueError(f"not an action: {action!r}")

    async def _open(self, config: PortConfig, strict: bool) -> None:
        berth = self._berths[config.name] = Berth(config, self._choose_index(config.name))
        try:
            await berth.attach(self._core, self._links, create=True)
            await self._limit_storms(config)
        except BaseException as error:
            if strict or not isinstance(error, FramebridgeError):
                await self._remove([config.name])
                raise
            log.error("%s; it will be attached when that is over", error)
            berth.link = await berth.find(self._links)
        self._refresh("port-added", config.name)

    def _choose_index(self, name: str) -> int:
        """Choose the index a port had, or the lowest that is free and, if possible, was nobody's."""
        if name in self._former:
            return self._former[name]
        free = set(range(PORTS_MAX)) - {berth.index for berth in self._berths.values()}
        return min((free - set(self._former.values())) or free)

    async def _remove(self, names: Sequence[str]) -> None:
        """Close ports and remove the devices that were made for them."""
        berths = [self._berths[name] for name in names]
        self._detach(berths)
        for berth in berths:
            name = berth.config.name
            del self._berths[name]
            self._dirty.discard(name)
            self._former[name] = berth.index
        for berth in berths:
            try:
                await berth.remove_device(self._links)
            except LinkError as error:
                log.warning("port %s: %s", berth.config.name, error)

    async def _set_port(self, before: PortConfig, after: PortConfig) -> None:
        berth = self._berths[after.name]
        await berth.configure_mtu(self._links, after.mtu)
        await self._limit_storms(after)
        berth.config = after
        self._refresh("port-changed", after.name)

    async def _limit_storms(self, port: PortConfig) -> None:
        if port.storm_control.limits:
            await self.cost.calibrate()
        budgets = storm_budgets(port.name, port.storm_control, self.cost.hz or NOMINAL_HZ)
        self._budgets.limit_storms(port.name, budgets)

    # -- the data plane ------------------------------------------------------------------------------

    def _detach(self, berths: Sequence[Berth]) -> None:
        """Take ports out of the data plane and close their devices; entries vanish, counters stay."""
        leaving = [berth for berth in berths if berth.port is not None]
        if not leaving:
            return
        for berth in leaving:
            berth.ready = False
        self._write()
        self._ledger.carry({berth.config.name: berth.index for berth in leaving})
        ports = [berth.port for berth in leaving if berth.port is not None]
        for berth in leaving:
            berth.port, berth.broken = None, False
        self._write()
        self.cost.carry({berth.index: berth.config.name for berth in leaving})
        for port in ports:
            self._core.close_port(port)

    def _refresh(self, event: str = "", port: str = "") -> None:
        """Note that the data plane is to be told of a change, and the world of an event when that is done."""
        self._is_due = True
        if event:
            self._news.append((event, port))

    def _commit(self) -> None:
        """Bring the data plane, the FDB and the world up to date with the berths, if there is anything new."""
        if not self._is_due:
            return
        self._write()
        self._is_due = False
        for berth in self._berths.values():
            self._tell_state(berth)
        news, self._news = self._news, []
        for event, port in news:
            state = {"state": self._berths[port].state} if event == "port-added" else {}
            self._events.emit(event, port=port, **state)

    def _write(self) -> None:
        """Apply a snapshot of the berths as they are."""
        for name, berth in self._berths.items():
            berth.blocked = self._protection.blocks.reason(name)
            berth.lift_filter()
        self._core.apply(self._snapshot())
        for berth in self._berths.values():
            berth.set_filter()
        carrying = {berth.index: berth.config for berth in self._berths.values() if berth.state == "up"}
        self._learning.set_ports(carrying)
        self._protection.set_ports(carrying)
        self._fdb_file.restore()

    def _snapshot(self) -> Snapshot:
        snapshot = Snapshot(
            reserved_pass=self._bridge.reserved,
            static_move=self._bridge.static_move,
            controlled=self._bridge.learning == "controlled",
            age_ticks=self._learning.age_ticks,
            heartbeat_ports=self._bridge.heartbeat_ports,
            waiting=self._bridge.waiting,
            full_table=self._bridge.full_table,
            mac_limit=self._bridge.mac_limit,
            vrrp_aware=self._bridge.vrrp_aware,
            local_first=self._bridge.local_first,
            own_address=self._protection.own_address,
            instance=self._protection.instance,
        )
        for vlan in self._vlans.values():
            if vlan.mac_limit:
                snapshot.set_vlan_mac_limit(vlan.vid, vlan.mac_limit)
            if not vlan.learning:
                snapshot.set_vlan_learning(vlan.vid, False)
        for berth in self._berths.values():
            berth.add_to(snapshot)
        indexes = {name: berth.index for name, berth in self._berths.items()}
        attached = {name: index for name, index in indexes.items() if self._berths[name].port is not None}
        if self._budgets:
            self._budgets.add_to(snapshot, indexes, attached, self.cost.hz or NOMINAL_HZ)
        if self._mirrors:
            targets = {name for name in attached if self._berths[name].config.mode == "mirror"}
            self._mirrors.add_to(snapshot, attached, targets, self.cost.hz or NOMINAL_HZ, self._core)
        return snapshot

    def _tell_state(self, berth: Berth) -> None:
        state = berth.state
        if state != berth.state_told:
            berth.state_told = state
            if state == "blocked":
                return  # told with its reason
            log.log(
                logging.INFO if state == "up" else logging.WARNING, "port %s is %s", berth.config.name, state
            )
            self._events.emit(f"port-{state}", port=berth.config.name)

    # -- looking after devices -----------------------------------------------------------------------

    def _link_changed(self, netns: str | None, link: Link, present: bool) -> None:
        for name, berth in self._berths.items():
            if (berth.config.netns, berth.config.device) == (netns, link.name):
                berth.broken = berth.broken or (not present and berth.is_of(link))
                self._mark(name)

    def _port_failed(self, index: int, errno: int) -> None:
        for name, berth in self._berths.items():
            if berth.index == index and berth.port is not None:
                log.warning("port %s failed: %s", name, os.strerror(errno))
                berth.broken, berth.failed = True, berth.link
                berth.retry_at = self._clock.now() + HOUSEKEEPING
                self._mark(name)

    def _budget_changed(self, kind: str, place: int) -> None:
        if (budget := self._budgets.at(place)) is None:
            return
        log.log(logging.WARNING if kind == "budget_over" else logging.INFO, "%s: %s", kind, budget.name)
        if budget.floods:
            event = "storm-begin" if kind == "budget_over" else "storm-end"
            self._events.emit(event, port=budget.port, flood=budget.floods[0])
        else:
            self._events.emit(kind.replace("_", "-"), budget=budget.name)

    def _mirror_changed(self, name: str, state: str, reason: str) -> None:
        level = logging.INFO if state == "closed" else logging.WARNING
        log.log(level, "mirror %s: %s", name, f"{state}: {reason}" if reason else state)
        self._events.emit(f"mirror-{state}", mirror=name, **({"reason": reason} if reason else {}))

    def _mark(self, name: str) -> None:
        self._dirty.add(name)
        self._look.set()

    async def _attend(self) -> None:
        """Look at every port something was heard of."""
        while True:
            await self._look.wait()
            self._look.clear()
            async with self._changing:
                dirty, self._dirty = self._dirty, set()
                await _finish(self._reconcile([self._berths[name] for name in dirty & self._berths.keys()]))

    async def _reconcile(self, berths: Sequence[Berth]) -> None:
        """Make what is attached fit what is there."""
        for berth in berths:
            try:
                await self._look_at(berth)
            except Exception:  # a port in trouble must not leave the others alone
                log.exception("port %s", berth.config.name)
        try:
            self._commit()
        except OSError:
            log.exception("the data plane refuses the ports as they are")
        self._check_mtu()
        self._audit_due.set()

    async def _look_at(self, berth: Berth) -> None:
        """Attach or detach a port as its device wants it, block it or let it back."""
        if berth.blocked != self._protection.blocks.reason(berth.config.name):
            self._refresh()
        if berth.config.kind == "memory":
            return
        before = berth.port, berth.link
        link = await berth.find(self._links)
        lost = berth.port is not None and (berth.broken or link is None or not berth.is_of(link))
        if lost:
            self._detach([berth])
        berth.link, berth.broken = link, False
        if lost:
            self._tell_state(berth)  # also if its device, or another one, is attached at once
        if link is None:
            berth.made = None  # somebody else removed it
        elif berth.port is None and not self._must_wait(berth, link):
            await self._attach_again(berth)
        if (berth.port, berth.link) != before:
            self._refresh()

    def _must_wait(self, berth: Berth, link: Link) -> bool:
        """Tell whether this device failed a moment ago: one that fails at once must not keep us busy."""
        is_same = berth.failed is not None and berth.failed.index == link.index
        return is_same and self._clock.now() < berth.retry_at

    async def _attach_again(self, berth: Berth) -> None:
        try:
            await berth.attach(self._core, self._links, create=False)
            berth.trouble = ""
        except PortError as error:
            if str(error) != berth.trouble:
                berth.trouble = str(error)
                log.warning("%s; trying again every %g s", error, HOUSEKEEPING)
            berth.link = await berth.find(self._links)

    async def _keep_house(self) -> None:
        """Let time pass for the FDB, and try again what failed."""
        while True:
            await self._clock.sleep(HOUSEKEEPING)
            for what, work in (
                ("ageing", self._learning.tick),
                ("the bill", self.cost.sample),
                ("protection", lambda: self._protection.tick(self._learning)),
                ("budgets", self.budget_rows),  # so that their end is told when nothing comes any more
            ):
                try:
                    work()
                except Exception:
                    log.exception("%s", what)
                await asyncio.sleep(
                    0
                )  # each may take a tenth of a second: events and clients come in between
            for name, berth in self._berths.items():
                if berth.port is None and berth.link is not None:
                    self._mark(name)

    async def _keep_fdb_file(self) -> None:
        """Keep the file of the FDB up to date."""
        while True:
            await self._clock.sleep(SAVE_EVERY)
            try:
                await self._fdb_file.save()
            except Exception:
                log.exception("the file of the FDB")

    def _check_mtu(self) -> None:
        """Warn of trunks and other ports of a common VLAN that do not take the same frames."""
        found = mtu_mismatches(self._berths.values())
        for key in found.keys() - self._mismatches:
            name, mtu, trunk_name, trunk_mtu = key
            message = (
                f"MTU differs in VLAN {found[key]}: {mtu} on port {name}, {trunk_mtu} on port {trunk_name}; "
                "frames that are too long for a port are dropped as oversize"
            )
            log.warning("%s", message)
            self._events.emit("warning", message=message, port=name, vlan=found[key])
        self._mismatches = {*found}

    async def _keep_audit(self) -> None:
        """Audit after whatever may have changed the verdict, and tell each finding once."""
        while True:
            await self._audit_due.wait()
            self._audit_due.clear()
            try:
                found = await self.audit(self.config)
            except Exception:
                log.exception("audit")
                continue
            for finding in found:
                if finding not in self._found and finding.check not in TOLD_AS_STATE:
                    log.warning("%s", finding)
                    self._events.emit("warning", message=str(finding), port=finding.port)
            self._found = {*found}
            await self._clock.sleep(HOUSEKEEPING)

    async def audit(self, config: Config) -> list[Finding]:
        """Judge the ports of a configuration, in force or not, and their devices as they are now."""
        subjects = []
        for port in config.ports:
            async with self._changing:  # no change may let go of a namespace meanwhile
                if not self._tasks:  # stopped: nothing may be opened any more
                    return []
                berth = self._berths.get(port.name)
                subjects.append(await collect(self._links, port, attached=bool(berth and berth.holds(port))))
        async with self._changing:
            await self._keep_namespaces()
        return audit([subject for subject in subjects if subject])

    # -- questions ---------------------------------------------------------------------------------

    def subscribe(self) -> Subscription:
        """Listen to events."""
        return self._events.subscribe()

    def port(self, name: str) -> Port | None:
        """Give the data plane's port; None: its device is missing."""
        return self._berth(name).port

    def _berth(self, name: str) -> Berth:
        if name not in self._berths:
            raise PortError(name, f"there is none of that name, only {', '.join(self._berths) or 'no ports'}")
        return self._berths[name]

    def _chosen(self, name: str | None) -> list[Berth]:
        if name is not None:
            return [self._berth(name)]
        return sorted(self._berths.values(), key=lambda berth: berth.config.name)

    def _indexes(self, name: str | None = None) -> dict[str, int | None]:
        chosen = self._chosen(name)
        return {berth.config.name: berth.index if berth.port is not None else None for berth in chosen}

    def port_rows(self, name: str | None = None) -> list[Row]:
        """One row per port: configuration, state, totals."""
        tallies = self._ledger.tallies(self._indexes(name))
        return engine_rows.port_rows(self._chosen(name), tallies, self._learning.count_by_port())

    def guard_rows(self, name: str | None = None) -> list[Row]:
        """One row per port that is locked, guarded or keeps a list: what it allows, how often something else came."""
        tallies = self._ledger.tallies(self._indexes(name))
        ports = [berth.config for berth in self._chosen(name)]
        return [guards.row(port, tallies[port.name].rx_drops) for port in ports if guards.has_row(port)]

    def vlan_rows(self) -> list[Row]:
        """One row per VLAN that a port carries or the configuration names."""
        return engine_rows.vlan_rows(self._chosen(None), self._vlans, self._learning.count_by_vlan())

    def fdb_stream(
        self, port: str | None = None, vlan: int | None = None, **more: Unpack[Filters]
    ) -> Iterator[Row]:
        """One row per FDB entry that fits every filter given; `older`: silent for so many seconds or more.

        The table is read now; each row is made when it is asked for.
        """
        return self._learning.rows(self._index(port), vlan, **more)

    def fdb_rows(
        self, port: str | None = None, vlan: int | None = None, **more: Unpack[Filters]
    ) -> list[Row]:
        """Give all rows of `fdb_stream`."""
        return [*self.fdb_stream(port, vlan, **more)]

    def stats_rows(self, name: str | None = None) -> list[Row]:
        """One row per port with every counter, and for all ports the total with its balance, which is 0."""
        rows = self._ledger.stats_rows(self._indexes(name))
        return rows if name is None else rows[:1]

    def drops_rows(self, all: bool = False) -> list[Row]:  # noqa: A002
        """One row per port, direction and reason that has a count; `all`: every reason."""
        return self._ledger.drops_rows(self._indexes(), every=all)

    def budget_rows(self) -> list[Row]:
        """One row per budget: what it limits and what became of it."""
        return self._budgets.rows(self._core)

    def mirror_rows(self) -> list[Row]:
        """One row per mirror: what it copies and what became of the copies."""
        return self._mirrors.rows(self._core)

    def storm_rows(self, port: str | None = None) -> list[Row]:
        """One row per limit of storm control: what became of it."""
        return self._budgets.storm_rows(self._core, port)

    def unblock(self, port: str) -> bool:
        """Let a blocked port forward again; False: it is not blocked."""
        return self._protection.blocks.unblock(port)

    @property
    def own_address(self) -> int:
        """The bridge's own MAC address."""
        return self._protection.own_address

    def _names(self) -> dict[int, str]:
        """Ports by index, also those that are closed in the change under way."""
        former = {index: name for name, index in self._former.items()}
        return former | {berth.index: name for name, berth in self._berths.items()}

    def _egress(self) -> dict[str, Egress]:
        tallies = self._ledger.tallies(self._indexes())
        return {
            name: Egress(tally.values["offered"], tally.values["tx_cycles"])
            for name, tally in tallies.items()
        }

    def _state(self, metrics: MetricsConfig) -> State:
        """Read everything the metrics tell: the counters at one batch boundary, the bill at the next."""
        counters = self._core.counters()
        return State(
            version=__version__,
            bridge=self.config.bridge.name,
            ports=engine_rows.port_states(self._chosen(None), self._learning.count_by_port()),
            tallies=self._ledger.tallies(self._indexes(), counters),
            thread=counters.thread,
            fdb=counters.fdb,
            bill=self.cost.read(stations=False),
            hz=self.cost.hz,
            limits=metrics,
            budgets=self._budgets.rows(self._core),
        )

    # -- the FDB -----------------------------------------------------------------------------------

    def _index(self, port: str | None) -> int | None:
        return None if port is None else self._berth(port).index

    async def fdb_add(self, vlan: int, mac: int, port: str, kind: str) -> None:
        """Add or replace an entry: static, sticky, drop (no port), or dynamic: what was asked for."""
        if mac == self.own_address:
            raise FramebridgeError(f"{format_mac(mac)} is the bridge's own address, which never has an entry")
        async with self._changing:
            if port and vlan not in self._berth(port).config.members:
                raise PortError(port, f"it does not carry VLAN {vlan}; add that to the port first")
            entry = StaticEntry(vlan, mac, kind, port)
            if kind == "dynamic":
                self._learning.authorise(vlan, mac, self._index(port or None))
            else:
                self._learning.pin(entry)
            self._take_over(vlan, mac, entry)

    async def fdb_delete(self, vlan: int, mac: int) -> bool:
        """Remove an entry of any kind; False: there was none."""
        async with self._changing:
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
        async with self._changing:
            return self._learning.flush(self._index(port), vlan, **more)
