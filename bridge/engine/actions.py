"""Actions of a plan, carried out on the parts of a running bridge.

Job: what each kind of action (config/actions.py) does, and to let go afterwards of what no port needs any more. Thread:
control, one call at a time (the engine's lock). Refuses, with the exceptions of the parts: an action that cannot be
carried out; nothing is left of it then.
"""

from __future__ import annotations

from collections.abc import Sequence

from bridge.account.views import Price
from bridge.config.actions import Action
from bridge.config.bridge import BridgeConfig
from bridge.config.budget import BudgetConfig
from bridge.config.cost import CostConfig
from bridge.config.group import GroupConfig
from bridge.config.heartbeats import HeartbeatConfig
from bridge.config.loop_detection import LoopDetectionConfig
from bridge.config.metrics import MetricsConfig
from bridge.config.mirror import MirrorConfig
from bridge.config.move_guard import MoveGuardConfig
from bridge.config.multicast import MulticastConfig
from bridge.config.pair import PairConfig
from bridge.config.port import PortConfig
from bridge.config.static_entry import StaticEntry
from bridge.config.vlan import VlanConfig
from bridge.engine.data_thread import check_cpus
from bridge.engine.parts import Parts
from bridge.errors import FramebridgeError

PAIRED = "a bridge of a pair: its gate would not hold back what the kernel forwards"


class Actions:
    """Carries out the actions of one bridge."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def carry_out(
        self,
        batch: Sequence[Action],
        done: list[Action] | None = None,
        *,
        tolerate: type[FramebridgeError] | None = None,
    ) -> None:
        """Carry out actions that may share a snapshot; each that is done goes to `done`.

        `tolerate`: errors with which a port is left without its device until that can be had.
        """
        done = [] if done is None else done
        if batch[0].kind == "close_port":
            names = [action.subject for action in batch]
            await self._parts.reconciler.close(names)
            self._parts.data_plane.report_removed(names)
            done += batch
            return
        for action in batch:
            await self._perform(action, tolerate)
            done.append(action)

    async def _perform(self, action: Action, tolerate: type[FramebridgeError] | None) -> None:
        """Carry out one action, wholly or not at all.

        `refresh` notes that the data plane does not know of it yet; the next `DataPlane.commit` applies it.
        """
        match action.kind, action.before, action.after:
            case "open_port", None, PortConfig() as after:
                await self._parts.reconciler.open(after, tolerate)
            case "set_port", PortConfig(), PortConfig() as after:
                await self._parts.reconciler.change(after)
            case "set_vlan", before, VlanConfig() as after:
                self._parts.data_plane.vlans[after.vid] = after
                self._parts.data_plane.refresh()
            case "set_vlan", VlanConfig() as before, None:
                del self._parts.data_plane.vlans[before.vid]
                self._parts.data_plane.refresh()
            case "set_bridge", _, BridgeConfig() as after:
                check_cpus(after.cpu)
                await self._parts.offload.configure(after.offload)
                self._parts.thread.allow_cpus(after.cpu)
                self._parts.data_plane.bridge = after
                self._parts.learning.configure(after)
                self._parts.member.sync.configure(after)
                self._parts.data_plane.refresh()
            case "set_cost", _, CostConfig() as after:
                self._parts.cost.price = Price(after.price_per_core_hour, after.currency)
            case "set_metrics", _, MetricsConfig() as after:
                await self._parts.metrics.configure(after)
            case "set_move_guard", _, MoveGuardConfig() as after:
                self._parts.protection.guard_moves(after)
            case "set_loop_detection", _, LoopDetectionConfig() as after:
                self._parts.protection.detect_loops(after)
            case "set_multicast", _, MulticastConfig() as after:
                self._parts.snooping.configure(after)
                self._parts.data_plane.refresh()
            case "set_group", _, GroupConfig() as after:
                self._parts.snooping.set_group(after)
            case "delete_group", GroupConfig() as before, None:
                self._parts.snooping.remove_group(before)
            case "set_heartbeats", _, HeartbeatConfig() as after:
                self._parts.data_plane.heartbeats = after
                self._parts.data_plane.refresh()
            case "set_pair", _, PairConfig() as after:
                await self._set_pair(after)
            case "add_budget" | "set_budget", _, BudgetConfig() as after:
                await self._parts.cost.calibrate()
                self._parts.data_plane.budgets.set(after)
                self._parts.data_plane.refresh()
            case "delete_budget", BudgetConfig() as before, None:
                self._parts.data_plane.budgets.remove(before.name)
                self._parts.data_plane.refresh()
            case "add_mirror" | "set_mirror", _, MirrorConfig() as after:
                await self._parts.cost.calibrate()
                await self._parts.data_plane.mirrors.set(
                    after, strict=tolerate is None and self._parts.thread.is_running
                )
                self._parts.data_plane.refresh()
            case "delete_mirror", MirrorConfig() as before, None:
                self._parts.data_plane.mirrors.remove(before.name)
                self._parts.data_plane.refresh()
            case "add_entry", None, StaticEntry() as after:
                self._parts.data_plane.commit()  # the FDB has to know its port
                self._parts.learning.static.add(after)
            case "delete_entry", StaticEntry() as before, None:
                self._parts.learning.static.remove(before.vid, before.mac)
            case _:
                raise ValueError(f"not an action: {action!r}")

    async def _set_pair(self, after: PairConfig) -> None:
        offload = self._parts.offload
        if after.id and not self._parts.member.is_on:
            await offload.forbid(PAIRED)
        try:
            await self._parts.member.configure(after)
        finally:
            self._parts.protection.set_paired(self._parts.member.is_on)
            if not self._parts.member.is_on:
                await offload.forbid("")

    async def settle(self) -> None:
        """Let go of what no port of the configuration needs any more."""
        for name in self._parts.ports.forget_former():
            self._parts.cost.retire(name)
            self._parts.data_plane.budgets.limit_storms(name, ())
            self._parts.protection.blocks.forget(name)
        await self._parts.data_plane.mirrors.settle()
        for name in self._parts.ledger.names:
            if name not in self._parts.ports:
                self._parts.ledger.close(name)
        self._parts.learning.static.keep(self._parts.ports.port_names)
        await self._parts.offload.settle()
        await self._parts.member.settle()
        await self._parts.devices.keep(self._parts.ports.namespaces)
        self._parts.auditor.ports_changed()
