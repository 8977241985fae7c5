"""Protection of the bridge from loops and moving addresses: follows the FDB and the probes, decides, and acts.

Job: judge moves of addresses (a listener of the FDB) and probes that come back by the rules of `[move_guard]` and
`[loop_detection]`, and do what they allow: emit an event, hold an address where it was, block a port. Owner of the
blocked ports and of the loop probes.
Thread: control. Invariants: of the two ends of a loop one is blocked at most; what is done ends by itself after the
recovery time, unless that is 0; events of before that are still under way change nothing that was decided.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable, Mapping
from typing import Protocol

from bridge.clock import Clock
from bridge.config.loop_detection import OF_A_PAIR, LoopDetectionConfig
from bridge.config.move_guard import MoveGuardConfig
from bridge.config.port import PortConfig
from bridge.core._core import Bridge, probe_frame
from bridge.events import Emit
from bridge.fdb.known import Change
from bridge.mac import format_mac
from bridge.protect.blocking import Blocks
from bridge.protect.loop_detection import MoveStorms, Prober, weaker
from bridge.protect.move_guard import MoveGuard

log = logging.getLogger(__package__)

REPORTED_MAX = (
    32  # flapping addresses that are reported in a second, each by its name; the others are counted
)


class Holder(Protocol):
    """Whoever can keep an address where it is: Learning."""

    def hold(self, vid: int, mac: int, port: int) -> bool:
        """Keep an address on a port; False: it was set by hand, or the port is gone."""

    def is_held(self, vid: int, mac: int) -> bool:
        """Check whether it is kept: no longer, when its entry aged, was flushed, or replaced."""

    def release(self, vid: int, mac: int) -> None:
        """Let it move again."""


class Protection:
    """The guard of one bridge. `own_address` is the source of its probes."""

    def __init__(
        self,
        core: Bridge,
        clock: Clock,
        emit: Emit,
        own_address: int,
        changed: Callable[[str], None],
        holder: Holder,
    ) -> None:
        """`changed(port)` has a port looked at again that was blocked or let back."""
        self.blocks = Blocks(clock, emit, changed)
        self.own_address = own_address
        self.instance = secrets.randbits(64)
        self._core = core
        self._clock = clock
        self._emit = emit
        self._holder = holder
        self._guard = MoveGuard(clock)
        self._held: dict[tuple[int, int], float | None] = {}  # until when
        self._flapping_reported = 0  # since the last tick
        self._detection = LoopDetectionConfig()
        self._configured = self._detection
        self._is_paired = False
        self._prober = Prober()
        self._storms = MoveStorms(clock)
        self._reported: set[tuple[int, int, int]] = set()  # loops, since the last round
        self._ports: dict[int, PortConfig] = {}
        self._switched = asyncio.Event()

    def guard_moves(self, config: MoveGuardConfig) -> None:
        """Put `[move_guard]` in force. What was done under the rules of before stays until its time is over."""
        self._guard.configure(config)

    def detect_loops(self, config: LoopDetectionConfig) -> None:
        """Put `[loop_detection]` in force."""
        self._configured = config
        self._choose_detection()

    def set_paired(self, is_paired: bool) -> None:
        """Look for loops also where the configuration does not say so: two members that forward at once are one."""
        self._is_paired = is_paired
        self._choose_detection()

    def _choose_detection(self) -> None:
        is_implied = self._is_paired and not self._configured.interval
        self._detection = OF_A_PAIR if is_implied else self._configured
        self._switched.set()

    def set_ports(self, ports: Mapping[int, PortConfig]) -> None:
        """Take over the ports that carry traffic, in the order they were added."""
        self._ports = dict(ports)

    # -- what happened

    def fdb_changed(self, change: Change) -> None:
        """Judge a move of an address from one port to another."""
        if change.what != "moved":
            return
        _, vid, mac, port, _, old_port = change
        if self._guard.moved(vid, mac):
            self._flapping(vid, mac, port, old_port)
        threshold = self._detection.moving_addresses if self._detection.interval else 0
        if threshold and self._storms.moved(vid, mac, port, old_port, threshold):
            self._found("loop-suspected", (port, vid), (old_port, vid))

    def fdb_reset(self) -> None:
        """Nothing: moves are reported one by one."""

    def probed(self, vid: int, nonce: int, port: int) -> None:
        """Judge a probe of this bridge that came back."""
        origin = self._prober.origin(nonce)
        if origin is None or not self._detection.interval:
            return  # of long ago, or an invention
        pair = min(port, origin[0]), max(port, origin[0]), vid
        if pair not in self._reported:
            self._reported.add(pair)
            self._found("loop", (port, vid), origin)

    def _flapping(self, vid: int, mac: int, port: int, old_port: int) -> None:
        """Act on an address that moved too often."""
        name, old_name = self._name(port), self._name(old_port)
        rules = self._guard.config
        what = f"{format_mac(mac)} in VLAN {vid} moved {rules.moves} times within {rules.window:g} s"
        if rules.action != "log":
            self._guard.forget(vid, mac)  # what comes after the recovery is counted anew
        if name in self.blocks or old_name in self.blocks or self._holder.is_held(vid, mac):
            return  # dealt with: this is an event of before
        self._flapping_reported += 1
        if self._flapping_reported <= REPORTED_MAX:
            log.warning("%s, last from port %s to port %s: %s", what, old_name, name, rules.action)
            self._emit("mac-moving", mac=mac, vlan=vid, port=name, old_port=old_name, action=rules.action)
        if rules.action == "hold" and self._holder.hold(vid, mac, old_port):
            self._held[vid, mac] = self._clock.now() + rules.recovery if rules.recovery else None
        elif rules.action == "block" and name is not None:
            self.blocks.block(name, what, rules.recovery)

    def _found(self, event: str, here: tuple[int, int], there: tuple[int, int]) -> None:
        """Report a loop between two ports, given as index and VLAN, and block one of them."""
        (port, vid), (other, other_vid) = here, there
        name, other_name = self._name(port), self._name(other)
        if name is None or other_name is None or name in self.blocks or other_name in self.blocks:
            return  # it is broken already: this is an event of before
        blocked = None
        if self._detection.action == "block":
            blocked = self._name(weaker(self._ports, port, other))
        what = f"{event}: port {name} VLAN {vid} and port {other_name} VLAN {other_vid}"
        log.warning("%s", what)
        self._emit(event, port=name, vlan=vid, other_port=other_name, other_vlan=other_vid, blocked=blocked)
        if blocked is not None:
            self.blocks.block(blocked, what, self._detection.recovery)

    def _name(self, index: int) -> str | None:
        port = self._ports.get(index)
        return port.name if port else None

    # -- time

    def tick(self) -> None:
        """Let go of what has been held or blocked long enough: call it once a second."""
        self.blocks.expire()
        if self._flapping_reported > REPORTED_MAX:
            log.warning(
                "%d more addresses moved too often: %s",
                self._flapping_reported - REPORTED_MAX,
                self._guard.config.action,
            )
        self._flapping_reported = 0
        now = self._clock.now()
        for (vid, mac), until in [*self._held.items()]:
            if not self._holder.is_held(vid, mac):
                del self._held[vid, mac]
            elif until is not None and until <= now:
                del self._held[vid, mac]
                self._holder.release(vid, mac)
                self._emit("mac-released", mac=mac, vlan=vid)

    def probe(self) -> None:
        """Send one round of probes."""
        self._reported.clear()
        probes = self._prober.round(self._ports)
        self._core.originate(
            (
                probe.port,
                probe.vid,
                probe_frame(
                    source=self.own_address,
                    instance=self.instance,
                    nonce=probe.nonce,
                    port=probe.port,
                    vid=probe.vid,
                    sequence=probe.sequence,
                ),
            )
            for probe in probes
        )

    async def keep_probing(self) -> None:
        """Send a round each interval, for as long as detection is on."""
        while True:
            self._switched.clear()
            if not self._detection.interval:
                await self._switched.wait()
                continue
            try:
                self.probe()
            except Exception:
                log.exception("loop probes")
            await self._pause(self._detection.interval)

    async def _pause(self, seconds: float) -> None:
        """Wait, but not if the rules change meanwhile."""
        waits = [
            asyncio.ensure_future(self._clock.sleep(seconds)),
            asyncio.ensure_future(self._switched.wait()),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(*waits, return_exceptions=True)
